/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Walk: from the registry, and from the census where there is one, to the rows of a sample. */

#include <stddef.h>
#include <stdint.h>

#include "model/sample.h"
#include "sense/census.h"
#include "sense/registry.h"
#include "sense/stat-search.h"
#include "sense/trial.h"

typedef struct Walk {
        Registry *registry;
        CgroupSample *rows;
        size_t n_rows, rows_size;
        uint64_t now_usec;
        uint64_t page_bytes;
        bool host_swapless;             /* no swap on this host: nobody has any */
        bool incomplete;                /* a cgroup found no row */
        bool io;                        /* the policy asks about io: else nothing of it is read */
        bool have_base;                 /* there was a complete walk */
        bool cooling;                   /* this walk gives up the fds of the last incident */
        unsigned number;                /* of this walk; drives the turns in very wide levels */
        uint64_t all_usec;              /* the last complete walk */
        uint64_t hot_usec;              /* the last hot walk; 0 = none since the fds were given up */
        uint64_t hot_cost_usec;         /* what the last one by files took; 0 = none yet */
        char text[KNOWN_TEXT_MAX];      /* one file at a time; not on the stack, which recursion multiplies */

        Census *census;                 /* borrowed; NULL = level 1 */
        StatSearch search;
        Trial trial;
        bool counted;                   /* the census of this walk is of every cgroup there is */
        bool counts_memory;             /* … and has what those use that have the memory controller */
        char root_stat[KNOWN_TEXT_MAX];
} Walk;

void walk_init(Walk *w, Registry *g, uint64_t page_bytes);
void walk_done(Walk *w);

/* Every cgroup; sets the mark that intake is measured from. */
void walk_all(Walk *w, uint64_t now_usec);

/* Top-down only where intake is, where the policy's slices are, and where somebody holds a cgroup. */
void walk_hot(Walk *w, uint64_t now_usec);
