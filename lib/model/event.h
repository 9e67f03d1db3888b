/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Event: what the kernel or systemd told us between two ticks. Events never act; they are queued and
 * wake the tick, and reach the engine only as part of its input. */

#include <stdint.h>

typedef enum EventType {
        EVENT_PRESSURE,         /* a PSI trigger fired: .domain, .alarm, .condition index the policy */
        EVENT_STIR,             /* the host's early trigger: somebody stalls on memory; look closer */
        EVENT_IO_STIR,          /* a domain is half way to an alarm about io: look closer */
        EVENT_OOM,              /* the kernel kills .pid for want of memory: look closer */
        EVENT_CGROUP_GONE,      /* .cgroup_id, held or hot, was removed */
        EVENT_RELOADED,         /* systemd reloaded or re-executed: raw writes may have been reset */
        _EVENT_TYPE_MAX,
} EventType;

typedef struct Event {
        EventType type;
        uint64_t usec;          /* CLOCK_MONOTONIC when it was read */
        uint64_t cgroup_id;
        uint32_t pid;
        unsigned domain, alarm, condition;
} Event;
