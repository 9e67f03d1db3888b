/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Latencies: of the io credit's histograms those of a domain, over the window of each condition that asks for it. */

#include <stdbool.h>
#include <stdint.h>

#include "model/sample.h"
#include "policy/policy.h"

/* Of fewer requests a percentile says nothing. */
#define LATENCY_REQUESTS_MIN 10

typedef struct LatencyPoint {
        uint64_t usec;                  /* 0 = none */
        uint32_t requests[LATENCY_BUCKETS];
} LatencyPoint;

/* The older of two anchors is between one and two windows old. */
typedef struct Latency {
        uint64_t key;                   /* whose it is; 0 = free */
        LatencyPoint total, older, newer;
} Latency;

typedef struct Latencies {
        uint64_t usec;                  /* of the last sample with histograms */
        uint64_t ever[IO_SLOTS][LATENCY_BUCKETS];
        uint32_t fresh[IO_SLOTS][LATENCY_BUCKETS];      /* since the sample before */
        Latency of[POLICY_LATENCIES_MAX];
} Latencies;

void latencies_update(Latencies *l, const Sample *s);
void latencies_forget(Latencies *l);

/* The percentile (1 to 99) of the requests of those in the slice ("/": of all) that ended in the window; the upper bound
 * of its bucket, in microseconds. key: not 0, the same for the same condition. False: not known, or too few. */
bool latencies_percentile(Latencies *l, uint64_t key, const IoCredit *credit, const char *slice, uint64_t window_usec,
                          unsigned percentile, uint64_t *ret_usec);

/* When the window of the last answer began; 0 = there was none. */
uint64_t latencies_since(const Latencies *l, uint64_t key);
