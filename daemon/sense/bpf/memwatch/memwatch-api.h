/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* What the watch's program and its loader share. */

#include <linux/types.h>

#define MEMWATCH_NODES_MAX 64

typedef struct MemwatchConfig {
        __u32 n_nodes;                  /* NUMA nodes that may be there */
        __u32 page_bytes;
        __u64 total_pages;
} MemwatchConfig;

/* What the program that starts it returns; a negative errno of bpf_timer_init() and its like. */
typedef enum MemwatchStart {
        MEMWATCH_STARTED,
        MEMWATCH_NO_CONTROLLER,         /* no memory controller in the unified hierarchy */
        MEMWATCH_NO_NODE,               /* no memory node was found */
} MemwatchStart;
