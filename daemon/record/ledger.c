/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ledger.
 *
 * Invariant: fixed size. When it is full the pair that waited least gives way: what is asked for is who was worst.
 * By name and not by id, for who is asked about may be gone. */

#include "base/macro.h"
#include "base/units.h"
#include "record/ledger.h"

/* A pair with less is not worth a line. */
#define NOISE_USEC 100
#define LATENCY_USEC (30 * USEC_PER_SEC)

static uint64_t minute_of(uint64_t usec) {
        return usec / (60 * USEC_PER_SEC);
}

static uint64_t pair_sum(const LedgerPair *p, uint64_t first, uint64_t last) {
        uint64_t sum = 0;

        for (size_t i = 0; i < LEDGER_MINUTES; i++)
                if (p->minute[i] >= first && p->minute[i] <= last)
                        sum += p->usec[i];
        return sum;
}

/* Whoever has no slot of his own stands in that of his domain: "/a.slice" means the others in it. The root is the kernel's
 * own threads, and who lies outside of everything. */
static const char *name_of(const IoCredit *c, size_t slot) {
        return c->slots[slot].cgroup_id && c->slots[slot].path ? c->slots[slot].path : "/";
}

static void shown(char dest[static SHOWN_PATH_MAX], const char *path) {
        (void) snprintf(dest, SHOWN_PATH_MAX, "%s", path);
}

static LedgerPair *pair_find(Ledger *l, const char *victim, const char *culprit, uint64_t now_minute) {
        uint64_t first = now_minute >= LEDGER_MINUTES ? now_minute - LEDGER_MINUTES + 1 : 0, least = UINT64_MAX;
        char v[SHOWN_PATH_MAX], c[SHOWN_PATH_MAX];
        LedgerPair *worst = NULL;

        shown(v, victim);
        shown(c, culprit);
        for (size_t i = 0; i < LEDGER_PAIRS; i++) {
                LedgerPair *p = &l->pairs[i];
                uint64_t sum;

                if (streq(p->victim, v) && streq(p->culprit, c))
                        return p;
                sum = *p->victim ? pair_sum(p, first, now_minute) : 0;
                if (sum < least) {
                        least = sum;
                        worst = p;
                }
        }
        *worst = (LedgerPair) {};
        memcpy(worst->victim, v, sizeof v);
        memcpy(worst->culprit, c, sizeof c);
        return worst;
}

void ledger_add(Ledger *l, const IoCredit *c) {
        uint64_t minute;

        if (!c) {
                l->last.usec = 0;
                return;
        }
        minute = minute_of(c->usec);
        for (size_t v = 1; l->last.usec > 0 && v < IO_SLOTS; v++)
                for (size_t k = 0; k < IO_SLOTS; k++) {
                        uint64_t before = l->last.wait_usec[v][k], now = c->wait_usec[v][k];
                        size_t at = minute % LEDGER_MINUTES;
                        LedgerPair *p;

                        /* One of the two slots has another owner since. */
                        if (now < before + NOISE_USEC || c->slots[v].since_usec > l->last.usec ||
                            c->slots[k].since_usec > l->last.usec || !c->slots[v].cgroup_id)
                                continue;
                        p = pair_find(l, name_of(c, v), name_of(c, k), minute);
                        if (p->minute[at] != minute) {
                                p->minute[at] = minute;
                                p->usec[at] = 0;
                        }
                        p->usec[at] += now - before;
                }
        if (l->last.usec == 0 || l->older.usec == 0)
                l->older = l->newer = *c;
        else if (c->usec - l->newer.usec >= LATENCY_USEC) {
                l->older = l->newer;
                l->newer = *c;
        }
        l->last = *c;
}

bool ledger_latency(const Ledger *l, size_t i, const char **ret_cgroup, uint64_t *ret_requests, uint64_t *ret_p50_usec,
                    uint64_t *ret_p99_usec) {
        __u64 window[LATENCY_BUCKETS];
        uint64_t n = 0;

        if (i >= IO_SLOTS || l->last.usec <= l->older.usec || !l->last.slots[i].cgroup_id ||
            l->last.slots[i].since_usec > l->older.usec)
                return false;
        for (size_t k = 0; k < LATENCY_BUCKETS; k++) {
                /* The kernel's counts are of 32 bits, and come round. */
                window[k] = (uint32_t) (l->last.latency[i][k] - l->older.latency[i][k]);
                n += window[k];
        }
        *ret_cgroup = l->last.slots[i].path;
        *ret_requests = n;
        *ret_p50_usec = latency_percentile(window, 50) / 1000;
        *ret_p99_usec = latency_percentile(window, 99) / 1000;
        return n > 0;
}

bool ledger_pair(const Ledger *l, size_t i, uint64_t since_usec, const char **ret_victim, const char **ret_culprit,
                 uint64_t *ret_usec) {
        for (size_t k = 0; k < LEDGER_PAIRS; k++) {
                uint64_t last = minute_of(l->last.usec), sum;

                if (!*l->pairs[k].victim)
                        continue;
                sum = pair_sum(&l->pairs[k], MAX(minute_of(since_usec), last >= LEDGER_MINUTES ? last - LEDGER_MINUTES + 1 : 0),
                               UINT64_MAX);
                if (sum == 0 || i-- > 0)
                        continue;
                *ret_victim = l->pairs[k].victim;
                *ret_culprit = l->pairs[k].culprit;
                *ret_usec = sum;
                return true;
        }
        return false;
}
