/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Forecast: how long the memory of the host, or of a slice with a limit, lasts at the rate at which it shrinks. */

#include <stdbool.h>
#include <stdint.h>

#include "base/units.h"
#include "model/sample.h"

typedef struct ForecastPoint {
        uint64_t usec, available, swap_free;    /* bytes */
        uint64_t stolen;                        /* pages reclaimed for want of memory, ever */
        bool have_stolen;
} ForecastPoint;

typedef struct Forecast {
        ForecastPoint last, older, newer;       /* anchors as in track.h, of half a second */
        uint64_t calm_available;                /* of the last look before it began to shrink */
        bool have_swap;
        uint64_t total, swap_total;             /* total: the host's memory, or the slice's limit; 0 = nothing is known */
        uint64_t exhaustion_usec;               /* USEC_INFINITY: not shrinking */
} Forecast;

#define FORECAST_NONE { .exhaustion_usec = USEC_INFINITY }

/* True where two fifths of what there was are gone since it began to shrink, or hardly anything is left. How long a growth goes
 * on nobody knows beforehand, and about as long again as it did is the fair guess: one that took less was a service's start. */
bool forecast_is_believed(const Forecast *f);

/* True where at least so many pages were reclaimed within the last half to whole second, and since much became free at
 * once, because the host was short; or where that is not known. Without it, who took memory took what was free. */
bool forecast_reclaims(const Forecast *f, uint64_t pages);

void forecast_host(Forecast *f, const Sample *s);

/* The slice's row, and its limit in bytes; LIMIT_MAX: it has none, and there is no forecast. What of it is page cache that is
 * not dirty counts as available, and swap does not. */
void forecast_slice(Forecast *f, const Sample *s, const CgroupSample *row, uint64_t limit);
