/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Latencies.
 *
 * Invariant: only requests that ended between two samples in which their slot had one owner count. Sums are made for each
 * condition anew and not kept for each slot, for slots change hands and domains do not.
 *
 * A device that answers nothing at all ends no request and has no latency: that is for IOPressureAbove= to tell. */

#include "base/macro.h"
#include "base/units.h"
#include "engine/latency.h"
#include "policy/policy.h"

void latencies_update(Latencies *l, const Sample *s) {
        const IoCredit *c = s->credit;

        if (!c) {
                l->usec = 0;
                return;
        }
        for (size_t i = 0; i < IO_SLOTS; i++)
                for (size_t k = 0; k < LATENCY_BUCKETS; k++) {
                        bool known = l->usec > 0 && c->slots[i].since_usec <= l->usec;

                        l->fresh[i][k] = known ? (uint32_t) (c->latency[i][k] - MIN(l->ever[i][k], c->latency[i][k])) : 0;
                        l->ever[i][k] = c->latency[i][k];
                }
        l->usec = c->usec;
}

void latencies_forget(Latencies *l) {
        memset(l->of, 0, sizeof(l->of));
}

static Latency *find(Latencies *l, uint64_t key) {
        for (size_t i = 0; i < POLICY_LATENCIES_MAX; i++)
                if (l->of[i].key == key || l->of[i].key == 0) {
                        l->of[i].key = key;
                        return &l->of[i];
                }
        return NULL;
}

bool latencies_percentile(Latencies *l, uint64_t key, const IoCredit *credit, const char *slice, uint64_t window_usec,
                          unsigned percentile, uint64_t *ret_usec) {
        Latency *x = find(l, key);
        __u64 window[LATENCY_BUCKETS];
        uint64_t n = 0;

        if (!x || !credit || credit->usec != l->usec)
                return false;
        if (x->total.usec != l->usec) {
                for (size_t i = 1; i < IO_SLOTS; i++)
                        if (credit->slots[i].cgroup_id != 0 && path_within(credit->slots[i].path, slice))
                                for (size_t k = 0; k < LATENCY_BUCKETS; k++)
                                        x->total.requests[k] += l->fresh[i][k];
                x->total.usec = l->usec;
                if (x->older.usec == 0)
                        x->older = x->newer = x->total;
                else if (l->usec - x->newer.usec >= window_usec) {
                        x->older = x->newer;
                        x->newer = x->total;
                }
        }
        for (size_t k = 0; k < LATENCY_BUCKETS; k++) {
                window[k] = x->total.requests[k] - x->older.requests[k];
                n += window[k];
        }
        if (n < LATENCY_REQUESTS_MIN)
                return false;
        *ret_usec = latency_percentile(window, percentile) / 1000;
        return true;
}

uint64_t latencies_since(const Latencies *l, uint64_t key) {
        for (size_t i = 0; i < POLICY_LATENCIES_MAX; i++)
                if (l->of[i].key == key)
                        return l->of[i].older.usec;
        return 0;
}
