/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* What the io credit's programs and the daemon share: one control block, which the daemon has mapped. */

#include <linux/types.h>

#include "model/latency.h"

/* Cgroups that are told apart; the first stands for all others. A request costs a step for each. */
#define CREDIT_SLOTS 16
#define CREDIT_REST 0
/* Disks; partitions count with theirs. */
#define CREDIT_DEVICES 16
/* Requests under way. On more the rest is not seen, and counted in `lost`. */
#define CREDIT_REQUESTS 4096
/* Places where one may stand. */
#define CREDIT_PROBES 4
/* Of cgroups between the one that does io and the one that has a slot. */
#define CREDIT_DEPTH 8
/* Waiting is counted in nanoseconds << this: the share of one among thousands in a device still counts. */
#define CREDIT_SHIFT 8

/* In the order of IoKey. */
typedef enum CreditDone {
        CREDIT_READ_BYTES,
        CREDIT_WRITE_BYTES,
        CREDIT_READS,
        CREDIT_WRITES,
        _CREDIT_DONE_MAX,
} CreditDone;

typedef struct CreditDevice {
        __u64 device;                           /* major << 32 | minor; 0 = free, and taken by the first to come */
        __u64 busy;                             /* nanoseconds with a request under way, as of the last that ended */
        __u64 wait[CREDIT_SLOTS][CREDIT_SLOTS]; /* [who waited][for whom], for ever */
        __u64 done[CREDIT_SLOTS][_CREDIT_DONE_MAX];     /* when it was done, not when it was asked for as in io.stat */
        __u32 latency[CREDIT_SLOTS][LATENCY_BUCKETS];   /* requests, from when they were queued to their end */
} CreditDevice;

typedef struct CreditControl {
        /* from the daemon */
        __u64 slots[CREDIT_SLOTS];              /* cgroup id; whoever has none counts with the nearest above that has */

        /* to the daemon */
        __u64 lost;                             /* requests that found no room */
        __u64 lost_device;                      /* … of devices that did not */
        CreditDevice devices[CREDIT_DEVICES];
} CreditControl;

_Static_assert(sizeof(CreditDevice) == 16 + 8 * CREDIT_SLOTS * (CREDIT_SLOTS + _CREDIT_DONE_MAX) + 4 * CREDIT_SLOTS * LATENCY_BUCKETS, "no padding");
