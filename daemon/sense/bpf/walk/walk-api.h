/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* What the walk's program and the daemon share: the record of a cgroup, and the program's control block.
 * Both lie in maps that the daemon has mapped, so a walk copies nothing. */

#include <linux/types.h>

/* Counts of memory are in pages, times in nanoseconds, as the kernel keeps them. */
typedef enum WalkField {
        WALK_MEMORY_CURRENT,
        WALK_SWAP_CURRENT,
        WALK_MEMORY_HIGH,
        WALK_SWAP_HIGH,
        WALK_MEMORY_MAX,
        WALK_MEMORY_LOW,
        WALK_MEMORY_MIN,
        WALK_EVENTS_LOW,
        WALK_EVENTS_HIGH,
        WALK_EVENTS_MAX,
        WALK_EVENTS_OOM,
        WALK_EVENTS_OOM_KILL,
        WALK_IO_SOME,                   /* in the order of the kernel's psi_states */
        WALK_IO_FULL,
        WALK_MEMORY_SOME,
        WALK_MEMORY_FULL,
        WALK_CPU_SOME,
        WALK_CPU_FULL,
        WALK_CPU_USAGE,
        WALK_POPULATED,
        WALK_FROZEN,
        WALK_STAT_FIRST,                /* from here on: sums of memory.stat's counters, see WalkTerm */
        WALK_ANON = WALK_STAT_FIRST,
        WALK_CACHE,
        WALK_FILE_DIRTY,
        WALK_FILE_WRITEBACK,
        WALK_FAULTS,
        WALK_MAJOR_FAULTS,
        WALK_REFAULT,
        WALK_ACTIVATE,
        WALK_PGSCAN,
        WALK_PGSTEAL,
        _WALK_FIELD_MAX,
} WalkField;

typedef struct WalkRecord {
        __u64 id, parent_id;
        __u64 have;                     /* 1 << WalkField */
        __u64 value[_WALK_FIELD_MAX];
} WalkRecord;

/* state[] and events[] of the kernel's memcg_vmstats, one after the other, as words from its beginning. */
#define WALK_WORDS_MAX 128
#define WALK_TERMS_MAX 32
/* On a machine with more, pressure is read from files. */
#define WALK_CPUS_MAX 512

#define WALK_STATS (_WALK_FIELD_MAX - WALK_STAT_FIRST)

/* value[WALK_STAT_FIRST + stat] += words[word] */
typedef struct WalkTerm {
        __u16 stat, word;
} WalkTerm;

/* Who sums up what the CPUs counted. What the program does not flush, reading the root's memory.stat does, as
 * far as the kernel thinks it worth while. */
typedef enum WalkFlush {
        WALK_FLUSH_NONE,
        WALK_FLUSH_CPU,
        WALK_FLUSH_ALL,
} WalkFlush;

typedef struct WalkControl {
        /* from the loader */
        __u64 tick_nsec;                /* 1 / HZ */
        __u32 flush;                    /* WalkFlush */
        __u32 n_cpus;

        /* from the daemon */
        __u32 n_terms, unused;
        WalkTerm terms[WALK_TERMS_MAX];
        __u64 stat_have;                /* 1 << WalkField: those that the terms make up */
        __u64 probe_id;                 /* the cgroup whose words are kept in probe[] */

        /* to the daemon */
        __u64 n_records;                /* all there are; those beyond the map's size have no record */
        __u64 n_words;                  /* 0: this kernel's words cannot be read */
        __u64 probe[WALK_WORDS_MAX];

        /* the program's own */
        __s64 clock_offset;             /* sched_clock() less ktime */
        __u64 clock_nsec;               /* ktime of the last walk; 0: that clock cannot be had, there is no pressure */
        __u64 scratch, landmark;
        __u64 n_cpus_found;             /* 0: per-CPU memory cannot be found, there is no pressure */
        __u64 cpu_offset[WALK_CPUS_MAX];
        __u64 words[WALK_WORDS_MAX];
        __u64 cpu[32];                  /* a psi_group_cpu */
        __u64 psi_sum[8];
} WalkControl;

_Static_assert(sizeof(WalkRecord) == 24 + 8 * _WALK_FIELD_MAX, "no padding");
_Static_assert(sizeof(WalkTerm) == 4, "no padding");
_Static_assert(_WALK_FIELD_MAX <= 64, "have is a mask of 64");
