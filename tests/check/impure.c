/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What purity must find: the time, hidden behind a function of our own. Built, never linked into anything. */

#include <time.h>

unsigned impure_tick(void);

unsigned impure_tick(void) {
        struct timespec t;

        return clock_gettime(CLOCK_MONOTONIC, &t) == 0 ? (unsigned) t.tv_nsec : 0;
}
