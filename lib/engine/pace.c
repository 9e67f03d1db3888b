/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pace. Means, not percentiles: one late request of a hundred is most of what a mean of a hundred gains, and the histograms are
 * not kept by the moment. Requests that were queued before a change are still under way for a while and tell of what was. */

#include "base/macro.h"
#include "base/units.h"
#include "engine/pace.h"

#define SETTLE_USEC (300 * USEC_PER_MSEC)

bool pace_look(PaceWatch *w, const IoCredit *credit, const char *victim, uint64_t changed_usec, uint64_t enough, Pace *ret) {
        Pace now;

        if (!credit)
                return false;
        if (w->since_usec < changed_usec + SETTLE_USEC || !waits_pace(credit, victim, w->since_usec, &now)) {
                w->since_usec = waits_pace(credit, victim, credit->usec, &w->since) ? credit->usec : 0;
                return false;
        }
        *ret = (Pace) {
                .requests = now.requests - MIN(w->since.requests, now.requests),
                .usec = now.usec - MIN(w->since.usec, now.usec),
                .others_usec = now.others_usec - MIN(w->since.others_usec, now.others_usec),
        };
        return ret->requests >= MAX(enough, UINT64_C(1));
}

static uint64_t mean_nsec(uint64_t usec, const Pace *p) {
        return mul_div_u64(usec, 1000, p->requests);
}

void pace_keep(Pace *shortest, const Pace *p) {
        if (shortest->requests == 0 || mean_nsec(p->usec, p) < mean_nsec(shortest->usec, shortest))
                *shortest = *p;
}

bool pace_is_worse(const Pace *p, const Pace *before, unsigned permyriad) {
        return before->requests > 0 && mean_nsec(p->others_usec, p) > mean_nsec(before->others_usec, before) +
                                                                              mul_div_u64(mean_nsec(before->usec, before), permyriad, PERMYRIAD);
}
