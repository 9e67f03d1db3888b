/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Forecast. MemAvailable (proc_meminfo(5)) is the kernel's own estimate of what can be had without swapping;
 * where it is nearly used up, free swap is what is left, and its slope counts. Of a slice it is what its limit leaves, and
 * its clean page cache (cgroup-v2.rst, "memory.stat": active_file and inactive_file, for tmpfs is in "file" as well).
 * A straight line through two points: a leak is a straight line, and what is done on a forecast can be undone. */

#include "base/macro.h"
#include "engine/forecast.h"

#define ANCHOR_USEC (500 * USEC_PER_MSEC)
#define SPAN_MIN_USEC (300 * USEC_PER_MSEC)
/* Looks that are farther apart are those of rest: what was then says how it went until now, and nothing of what begins. */
#define REST_USEC (3 * ANCHOR_USEC)

/* What lasts so long is not on its way out. No policy asks for more than half of it (MemoryExhaustionWithin=). */
#define CALM_LASTS_USEC (20 * USEC_PER_MINUTE)

/* Of it all: so little that free swap counts as what is left, and that nobody may take it at once. */
#define LITTLE(total) ((total) / 16)

/* Time until `left` is gone at the rate of (before - left) in usec. */
static uint64_t time_left(uint64_t before, uint64_t left, uint64_t usec, uint64_t noise) {
        if (before <= left || before - left < noise)
                return USEC_INFINITY;
        return mul_div_u64(left, usec, before - left);
}

static void forecast_add(Forecast *f, const ForecastPoint *p) {
        ForecastPoint from;
        uint64_t usec, noise;
        bool rest = f->last.usec + REST_USEC < p->usec;

        f->last = *p;
        if (f->older.usec == 0) {
                f->older = f->newer = *p;
                f->calm_available = p->available;
                f->exhaustion_usec = USEC_INFINITY;
                return;
        }
        /* The younger one, as soon as it is old enough: who has just begun was not there before. */
        from = p->usec - f->newer.usec >= SPAN_MIN_USEC ? f->newer : f->older;
        usec = p->usec - from.usec;
        if (usec >= SPAN_MIN_USEC) {
                /* A fifth of a percent of it all is what ordinary starts and stops move. */
                noise = f->total / 512;
                f->exhaustion_usec = time_left(from.available, p->available, usec, noise);
                if (f->have_swap && p->available < LITTLE(f->total))
                        f->exhaustion_usec = MIN(f->exhaustion_usec, time_left(from.swap_free, p->swap_free, usec, noise));
        }
        if (usec >= SPAN_MIN_USEC && time_left(from.available, p->available, usec, 0) >= CALM_LASTS_USEC)
                f->calm_available = p->available;
        if (rest)
                f->older = f->newer = *p;
        else if (p->usec - f->newer.usec >= ANCHOR_USEC) {
                f->older = f->newer;
                f->newer = *p;
        }
}

void forecast_host(Forecast *f, const Sample *s) {
        ForecastPoint p = { .usec = s->usec };

        if (!sample_host_get(s, HOST_MEMORY_AVAILABLE, &p.available) ||
            !sample_host_get(s, HOST_MEMORY_TOTAL, &f->total) || f->total == 0)
                return;
        f->have_swap = sample_host_get(s, HOST_SWAP_FREE, &p.swap_free) &&
                       sample_host_get(s, HOST_SWAP_TOTAL, &f->swap_total) && f->swap_total > 0;

        p.have_stolen = sample_host_get(s, HOST_PGSTEAL, &p.stolen);
        /* Somebody gave a lot back, as who dies does: the shortage that was is no evidence of one that is. */
        if (f->last.usec != 0 && p.available > f->last.available + f->total / 64)
                f->older.stolen = f->newer.stolen = p.stolen;
        forecast_add(f, &p);
}

void forecast_slice(Forecast *f, const Sample *s, const CgroupSample *row, uint64_t limit) {
        ForecastPoint p = { .usec = s->usec };
        uint64_t used, cache, dirty, writeback;

        if (limit == LIMIT_MAX || limit == 0) {
                *f = (Forecast) FORECAST_NONE;
                return;
        }
        if (!cgroup_sample_get(row, CGROUP_MEMORY_CURRENT, &used) || !cgroup_sample_get(row, CGROUP_CACHE, &cache) ||
            !cgroup_sample_get(row, CGROUP_FILE_DIRTY, &dirty) || !cgroup_sample_get(row, CGROUP_FILE_WRITEBACK, &writeback))
                return;
        /* What somebody did to the limit is no trend. */
        if (f->total != limit)
                *f = (Forecast) { .total = limit, .exhaustion_usec = USEC_INFINITY };
        used -= MIN(cache - MIN(dirty + writeback, cache), used);
        p.available = limit - MIN(used, limit);
        forecast_add(f, &p);
}

bool forecast_is_believed(const Forecast *f) {
        return f->last.available <= f->calm_available * 3 / 5 || f->last.available < LITTLE(f->total);
}

bool forecast_reclaims(const Forecast *f, uint64_t pages) {
        return !f->last.have_stolen || !f->older.have_stolen || f->last.stolen < f->older.stolen ||
               f->last.stolen - f->older.stolen >= pages;
}
