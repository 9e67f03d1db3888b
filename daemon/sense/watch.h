/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Watch: the kernel wakes us when the machine's memory, or what a slice's limit leaves, would be gone within seconds, and when
 * it kills somebody for want of memory, where it lets us ask for that.
 * Without it a fast leak is seen at a heartbeat or at the kernel's first stall. */

#include <systemd/sd-event.h>

#include "sense/bpf/memwatch/memwatch-api.h"
#include "sense/loading.h"
#include "sense/ring.h"
#include "sense/sense.h"

typedef struct Watch {
        Loading loading;
        int timer_fd, follow_fd, link_fd;
        uint64_t followed[MEMWATCH_SLICES_MAX];         /* ids of the cgroups that are watched; 0 = none */
        Ring ring;                      /* not open = there is none: see loading.reason */
        uint64_t woken, oom_kills;      /* times yet */
        SensorHandler handler;
        void *userdata;
} Watch;

/* loader: cgd-bpf. handler gets EVENT_STIR and EVENT_OOM. Nothing is started yet. -ENOMEM. */
int watch_init(Watch *w, sd_event *event, const char *loader, SensorHandler handler, void *userdata);
void watch_done(Watch *w);
/* Has the program loaded in the background. */
int watch_load(Watch *w);

/* Has a cgroup watched, in a place below MEMWATCH_SLICES_MAX and instead of who is there; id 0: nobody. fd: of its directory,
 * borrowed for the call. Nothing happens where it is watched there already. A negative errno of bpf(2), -ENOENT where the
 * descriptor is not the cgroup's, -EOPNOTSUPP where it has no memory controller: then nobody is watched there. */
int watch_follow(Watch *w, size_t place, uint64_t id, int fd);

static inline bool watch_works(const Watch *w) {
        return w->ring.source;
}

/* It works, or is refused. */
static inline bool watch_is_settled(const Watch *w) {
        return watch_works(w) || w->loading.refused;
}
