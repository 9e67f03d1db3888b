/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Ledger: who waited for whom at the disks in the last quarter of an hour, incident or not; and how long requests took in
 * the last minute. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/incident.h"
#include "model/io-credit.h"

#define LEDGER_MINUTES 15
#define LEDGER_PAIRS 96

typedef struct LedgerPair {
        char victim[SHOWN_PATH_MAX], culprit[SHOWN_PATH_MAX];   /* "" in victim = free */
        uint64_t minute[LEDGER_MINUTES];        /* number of the minute, on the monotonic clock, that usec[] is for */
        uint64_t usec[LEDGER_MINUTES];
} LedgerPair;

typedef struct Ledger {
        LedgerPair pairs[LEDGER_PAIRS];
        IoCredit last;                          /* usec 0 = none */
        IoCredit older, newer;                  /* anchors: the older is between half a minute and one old */
} Ledger;

/* Adds what came in since the last call; NULL: nothing is measured now. */
void ledger_add(Ledger *l, const IoCredit *c);

/* The i-th pair that waited (or was at work itself: then both are the same) in the minutes from since_usec on, in no order, and for how long. False past the last. */
bool ledger_pair(const Ledger *l, size_t i, uint64_t since_usec, const char **ret_victim, const char **ret_culprit,
                 uint64_t *ret_usec);

/* How long the requests of the cgroup in the i-th slot took. False where there were none, or it is not known. */
bool ledger_latency(const Ledger *l, size_t i, const char **ret_cgroup, uint64_t *ret_requests, uint64_t *ret_p50_usec,
                    uint64_t *ret_p99_usec);
