/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Census: every cgroup's record in one call into the kernel (level 2), where it lets us. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "sense/bpf/walk/walk-api.h"
#include "sense/loading.h"

typedef struct Census Census;

struct Census {
        char *root;
        Loading loading;
        size_t asked;                   /* records that it was asked for */

        int link_fd;                    /* -EBADF = there is no program: see census_reason() */
        WalkControl *control;
        const WalkRecord *records;
        size_t n_max;                   /* that have room in the map */
        size_t n;                       /* of the last census_take() */
        uint64_t cost_usec;             /* of the last one */
        uint64_t longest_usec;          /* … of all */
        uint64_t usual_usec;            /* … of the last few: one that was interrupted says little */
        char failed[256];               /* the last pass did; "" = it did not */
        int (*pass)(Census *c);         /* has the program write its records; tests write them themselves */
};

/* root: the hierarchy. loader: the program that loads ours, cgd-bpf. Both are copied, event's reference is
 * taken. Nothing is started yet. */
int census_init(Census *c, sd_event *event, const char *root, const char *loader);
void census_done(Census *c);

/* Has the program loaded, with room for so many records, in the background; what was loaded before works on
 * until then. Only failures to start are returned. */
int census_load(Census *c, size_t n_records);

/* Why there is no program, or the last walk failed; "" = all is well. */
const char *census_reason(const Census *c);

/* One walk. False where there is no program or it failed: census_reason() says why. Then records[0 .. n) are all
 * cgroups, parents first; or the first n, where census_is_cut(). They stay until the next one. */
bool census_take(Census *c);
bool census_is_cut(const Census *c);

/* Memory of the two maps, which is the kernel's and mapped by us. */
size_t census_bytes(const Census *c);
