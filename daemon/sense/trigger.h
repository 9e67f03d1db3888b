/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Triggers: the kernel wakes us when a domain's tasks stall on memory or io. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "model/event.h"
#include "policy/policy.h"
#include "sense/sense.h"

typedef struct Triggers Triggers;

typedef enum TriggerState {
        TRIGGER_ARMED,
        TRIGGER_COARSE,                 /* armed, in windows of 2 s */
        TRIGGER_MISSING,                /* no such cgroup yet, or no more: waited for, and tried again */
        TRIGGER_REFUSED,
        TRIGGER_OFF,
} TriggerState;

typedef struct Trigger {
        Triggers *owner;
        EventType type;                 /* EVENT_PRESSURE, EVENT_STIR or EVENT_IO_STIR */
        unsigned domain, alarm, condition;
        bool full, io;
        uint64_t threshold_usec, window_usec;
        char *cgroup;                   /* NULL = the whole host */
        TriggerState state;
        int fd;
        sd_event_source *source;
        sd_event_source *appears;       /* MISSING: something is made in the nearest directory above it that is there … */
        uint64_t appears_id;            /* … which is this one; 0 = not known */
} Trigger;

struct Triggers {
        sd_event *event;
        SensorHandler handler;
        void *userdata;
        int root_fd;                    /* borrowed: the hierarchy's root */
        char *host_file, *host_io_file; /* "/proc/pressure/memory", "/proc/pressure/io" */
        Trigger **list;
        size_t n;
};

/* root_fd is borrowed and must outlive this; event's reference is taken. 0 or -ENOMEM. */
int triggers_init(Triggers *t, sd_event *event, int root_fd, const char *proc, SensorHandler handler, void *userdata);
void triggers_done(Triggers *t);

/* Replaces all triggers by those of the policy (NULL: the host's only). 0, or -ENOMEM with the old ones
 * kept. */
int triggers_set(Triggers *t, const Policy *policy);

/* Tries those again whose cgroup was not there, or had no pressure. */
void triggers_retry(Triggers *t);
bool triggers_are_missing(const Triggers *t);

PsiState triggers_state(const Triggers *t);
