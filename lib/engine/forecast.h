/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Forecast: how long the host's memory lasts at the rate at which it shrinks. */

#include <stdbool.h>
#include <stdint.h>

#include "model/sample.h"

typedef struct ForecastPoint {
        uint64_t usec, available, swap_free;
        uint64_t stolen;                        /* pages reclaimed for want of memory, ever */
        bool have_stolen;
} ForecastPoint;

typedef struct Forecast {
        ForecastPoint last, older, newer;       /* anchors as in track.h, of half a second */
        bool have_swap;
        uint64_t total, swap_total;
        uint64_t exhaustion_usec;               /* USEC_INFINITY: not shrinking */
        bool recent;                            /* measured over about a second or less, not between heartbeats */
} Forecast;

/* True where at least so many pages were reclaimed within the last half to whole second, and since much became free at
 * once, because the host was short; or where that is not known. Without it, who took memory took what was free. */
bool forecast_reclaims(const Forecast *f, uint64_t pages);

void forecast_update(Forecast *f, const Sample *s);
