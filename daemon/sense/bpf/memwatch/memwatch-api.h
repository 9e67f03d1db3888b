/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* What the watch's program and its loader share. */

#include <linux/types.h>

#define MEMWATCH_NODES_MAX 64
/* Slices with a limit of their own that are watched. */
#define MEMWATCH_SLICES_MAX 32

typedef struct MemwatchConfig {
        __u32 n_nodes;                  /* NUMA nodes that may be there */
        __u32 page_bytes;
        __u64 total_pages;
} MemwatchConfig;

typedef enum MemwatchNews {
        MEMWATCH_FALLS,                 /* memory would be gone within seconds */
        MEMWATCH_OOM,                   /* the kernel kills a process for want of memory */
} MemwatchNews;

/* A message of the ring. */
typedef struct MemwatchMessage {
        __u32 news;                     /* MemwatchNews */
        __u32 pid;                      /* MEMWATCH_OOM: of the process, as the initial namespace counts */
} MemwatchMessage;

/* The argument of the program that has a slice watched. */
typedef struct MemwatchFollow {
        __u32 place;                    /* below MEMWATCH_SLICES_MAX; who had it is watched no longer */
        __s32 fd;                       /* the caller's, of the cgroup's directory; negative: nobody */
        __u64 cgroup_id;
} MemwatchFollow;

/* What it returns. */
typedef enum MemwatchFollowed {
        MEMWATCH_FOLLOWED,
        MEMWATCH_NO_SUCH_CGROUP,        /* the descriptor is of something else */
        MEMWATCH_NO_MEMORY,             /* it has no memory controller */
} MemwatchFollowed;

_Static_assert(sizeof(MemwatchFollow) == 16, "no padding");

/* What the program that starts it returns; a negative errno of bpf_timer_init() and its like. */
typedef enum MemwatchStart {
        MEMWATCH_STARTED,
        MEMWATCH_NO_CONTROLLER,         /* no memory controller in the unified hierarchy */
        MEMWATCH_NO_NODE,               /* no memory node was found */
} MemwatchStart;
