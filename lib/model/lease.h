/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Lease: one change that is to be undone: written down before it is made. */

#include <stdbool.h>
#include <stdint.h>

#include "model/plan.h"

typedef struct Lease {
        uint64_t cgroup_id;
        uint64_t incident_id;
        Step step;
        uint64_t original;      /* memory.high before cgd, bytes or LIMIT_MAX */
        uint64_t value;         /* memory.high as cgd set it last */
        uint64_t swap_original, swap_value;     /* memory.swap.high likewise; equal = never touched */
        bool io_only;           /* memory.high was never written; the four above mean nothing */
        IoCap io[IO_DEVICES_MAX];       /* io.max likewise: original, value, and the value before as .expect */
        size_t n_io;
        uint64_t taken_usec;    /* CLOCK_MONOTONIC */
        uint64_t expires_usec;
        bool handed_over;       /* systemd holds it too (SetUnitProperties, runtime) */
        char path[4096];        /* whole path from the hierarchy's root */
} Lease;
