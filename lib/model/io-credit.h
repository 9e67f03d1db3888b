/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Io credit: who waited for whom at the disks, and how long requests took, as measured in the kernel
 * (daemon/sense/bpf/iocredit). Only of some cgroups: those that have a slot. */

#include <stdint.h>

#include "model/io.h"
#include "model/latency.h"

/* The first stands for all who have none. */
#define IO_SLOTS 16
/* Disks of the machine that are told apart; those that are used. */
#define IO_CREDIT_DEVICES 16

typedef struct IoCredit {
        uint64_t usec;                          /* CLOCK_MONOTONIC when it was read */
        struct {
                uint64_t cgroup_id;             /* 0 = nobody's; with it all below that have no slot of their own */
                const char *path;               /* borrowed */
                uint64_t since_usec;            /* whose counts before that were another's */
        } slots[IO_SLOTS];
        uint64_t wait_usec[IO_SLOTS][IO_SLOTS]; /* [who waited][for whom], ever, at all disks together */
        uint64_t latency[IO_SLOTS][LATENCY_BUCKETS];    /* requests, ever */
        /* What was done, ever, by device; in io.stat it stands as soon as it is asked for. A place is one device's as long as
         * that is looked at; then it is nobody's (0:0), or another's, who goes on from what was counted there. */
        IoLine done[IO_SLOTS][IO_CREDIT_DEVICES];
        uint64_t busy_usec[IO_CREDIT_DEVICES];  /* with a request under way, ever, likewise */
        size_t n_devices;                       /* places that were anybody's */
} IoCredit;
