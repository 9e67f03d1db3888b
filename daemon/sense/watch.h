/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Watch: the kernel wakes us when the machine's memory would be gone within seconds, where it lets us ask for that.
 * Without it a fast leak is seen at a heartbeat or at the kernel's first stall. */

#include <systemd/sd-event.h>

#include "sense/loading.h"
#include "sense/ring.h"
#include "sense/sense.h"

typedef struct Watch {
        Loading loading;
        int timer_fd;
        Ring wakes;                     /* not open = there is none: see loading.reason */
        uint64_t woken;                 /* times yet */
        SensorHandler handler;
        void *userdata;
} Watch;

/* loader: cgd-bpf. handler gets EVENT_STIR. Nothing is started yet. -ENOMEM. */
int watch_init(Watch *w, sd_event *event, const char *loader, SensorHandler handler, void *userdata);
void watch_done(Watch *w);
/* Has the program loaded in the background. */
int watch_load(Watch *w);

static inline bool watch_works(const Watch *w) {
        return w->wakes.source;
}

/* It works, or is refused. */
static inline bool watch_is_settled(const Watch *w) {
        return watch_works(w) || w->loading.refused;
}
