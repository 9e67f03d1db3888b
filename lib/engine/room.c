/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Room: the memory that may be given away, on the host and below the limits of slices. */

#include "base/macro.h"
#include "engine/state.h"

uint64_t slice_limit(const Engine *e, const CgroupSample *slice) {
        const Containment *own = containment_find((Engine *) e, slice->id);
        uint64_t high = LIMIT_MAX, max = LIMIT_MAX;

        (void) cgroup_sample_get(slice, CGROUP_MEMORY_HIGH, &high);
        (void) cgroup_sample_get(slice, CGROUP_MEMORY_MAX, &max);
        return MIN(own ? own->original : high, max);
}

/* What is left below the limit of a slice that path is in, the least of all, less a share of that limit; UINT64_MAX where
 * none has one. A limit of our own making says nothing of what there is. */
static uint64_t slice_room(const Engine *e, const char *path, uint64_t share) {
        uint64_t least = UINT64_MAX;

        for (size_t k = 0; k < e->sample->n_cgroups; k++) {
                const CgroupSample *s = &e->sample->cgroups[k];
                uint64_t max, used;

                if (s->kind != CGROUP_KIND_SLICE || !path_within(path, s->path) || (max = slice_limit(e, s)) == LIMIT_MAX)
                        continue;
                if (!cgroup_sample_get(s, CGROUP_MEMORY_CURRENT, &used))
                        used = max;
                used += max / share;
                least = MIN(least, max - MIN(used, max));
        }
        return least;
}

bool slice_is_full(const Engine *e, const char *path) {
        return slice_room(e, path, 5) == 0;
}

uint64_t room_on_host(const Engine *e) {
        uint64_t reserve = e->forecast.total / 10, available = e->forecast.last.available;

        return available - MIN(available, reserve);
}

uint64_t room_for(const Engine *e, const char *path) {
        return MIN(room_on_host(e), slice_room(e, path, 10));
}
