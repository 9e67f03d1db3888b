/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* Latency: a log-linear histogram, four buckets to each power of two, so that a bucket's bounds are at most a quarter
 * apart. Shared with the BPF programs that fill it: only integers, no library.
 *
 * The unit is 1024 ns: bucket 0 to 3 are one unit wide; the last one holds all from two minutes on. */

#include <linux/types.h>

#define LATENCY_SHIFT 10
#define LATENCY_OCTAVES 26
#define LATENCY_BUCKETS (4 * LATENCY_OCTAVES)

static inline __attribute__((always_inline)) __u32 latency_bucket(__u64 nsec) {
        __u64 v = nsec >> LATENCY_SHIFT;
        __u32 log = 0;

        if (v < 4)
                return (__u32) v;
        if (v >> (LATENCY_OCTAVES + 1))
                return LATENCY_BUCKETS - 1;
        if (v >> 16) {
                log += 16;
                v >>= 16;
        }
        if (v >> 8) {
                log += 8;
                v >>= 8;
        }
        if (v >> 4) {
                log += 4;
                v >>= 4;
        }
        if (v >> 2) {
                log += 2;
                v >>= 2;
        }
        if (v >> 1)
                log += 1;
        /* The two digits after the first. */
        return (log - 1) * 4 + (__u32) ((nsec >> (LATENCY_SHIFT + log - 2)) & 3);
}

/* Nanoseconds below which all of a bucket lie. */
static inline __u64 latency_bound(__u32 bucket) {
        if (bucket < 4)
                return (__u64) (bucket + 1) << LATENCY_SHIFT;
        return ((__u64) (bucket % 4) + 5) << (bucket / 4 - 1 + LATENCY_SHIFT);
}

/* Nanoseconds within which so many percent of the requests ended; 0 where there is none. */
static inline __u64 latency_percentile(const __u64 requests[LATENCY_BUCKETS], unsigned int percentile) {
        __u64 n = 0, below = 0;

        for (__u32 i = 0; i < LATENCY_BUCKETS; i++)
                n += requests[i];
        for (__u32 i = 0; n > 0 && i < LATENCY_BUCKETS; i++) {
                below += requests[i];
                if (below * 100 >= n * percentile)
                        return latency_bound(i);
        }
        return 0;
}
