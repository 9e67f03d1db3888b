/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kill: who is killed of what is contained, and how often that may be (KillBudget=). When it comes to that, contain.c says. */

#include "base/macro.h"
#include "engine/state.h"

/* KillBudget=: the last kills in this domain. */
static KillTimes *kill_times(Engine *e, const char *domain) {
        for (size_t i = 0; i < POLICY_DOMAINS_MAX; i++)
                if (streq(e->kills[i].domain, domain))
                        return &e->kills[i];
        return NULL;
}

bool kill_budget_left(Engine *e, const Domain *d) {
        const KillTimes *k = kill_times(e, d->name);
        unsigned spent = 0;

        for (size_t i = 0; k && i < k->n; i++)
                spent += e->now - k->usec[i] < d->contain.kill_budget_usec;
        return spent < MIN(d->contain.kill_budget, (unsigned) KILL_TIMES_MAX);
}

void kill_budget_spend(Engine *e, const Domain *d) {
        KillTimes *k = kill_times(e, d->name);

        if (strlen(d->name) >= sizeof(k->domain))
                return;
        /* As many places as domains: one is free, or somebody's who is no domain any more. */
        for (size_t i = 0; !k && i < POLICY_DOMAINS_MAX; i++)
                if (!policy_find(e->policy, e->kills[i].domain))
                        k = &e->kills[i];
        if (!k)
                return;
        if (!streq(k->domain, d->name))
                k->n = 0;
        strcpy(k->domain, d->name);
        if (k->n == KILL_TIMES_MAX)
                memmove(k->usec, k->usec + 1, --k->n * sizeof(k->usec[0]));
        k->usec[k->n++] = e->now;
}

/* Neither took anything in lately nor waits for room now, however large it is. */
static bool is_bystander(const Engine *e, uint64_t id) {
        const Track *t = tracks_find(&e->tracks, id);
        unsigned some, full;
        Intake in;

        return !t || !((track_intake(t, INTAKE_FROM_OTHERS, WINDOW_LONG, e->config.page_bytes, &in) && in.bytes > 0) ||
                       (track_stall(t, &some, &full) && some >= PUSHING_PERMYRIAD));
}

bool kill_frees(const Engine *e, const CgroupSample *row, uint64_t *ret_all, uint64_t *ret_kept) {
        const Track *t = tracks_find(&e->tracks, row->id);
        uint64_t memory, swap = 0;

        if (!t || !cgroup_sample_get(row, CGROUP_MEMORY_CURRENT, &memory))
                return false;
        (void) cgroup_sample_get(row, CGROUP_SWAP_CURRENT, &swap);
        *ret_all = memory + swap;
        *ret_kept = memory + swap - MIN(t->last.cache * e->config.page_bytes, memory);
        return true;
}

/* What a kill would free that cannot be had without; 0 where that is less than half. */
static uint64_t kept(const Engine *e, const CgroupSample *row) {
        uint64_t all, kept;

        return kill_frees(e, row, &all, &kept) && kept > all / 2 ? kept : 0;
}

/* With a unit in Exclude= in it, a slice is not held (verdict.c). */
const CgroupSample *kill_victim(const Engine *e, const Containment *c, const CgroupSample *row, const Domain *d) {
        const CgroupSample *largest = NULL;
        uint64_t most = 0;

        if (row->kind != CGROUP_KIND_SLICE)
                return kept(e, row) > 0 ? row : NULL;
        for (const CgroupSample *u = row + 1; u < e->sample->cgroups + e->sample->n_cgroups; u++) {
                uint64_t bytes = kept(e, u);

                if (!path_within(u->path, c->path) || u->kind != CGROUP_KIND_UNIT ||
                    (u->flags & (CGROUP_PROTECTED | CGROUP_OMIT)) || policy_domain_of(e->policy, u->path) != d ||
                    bytes == 0 || is_bystander(e, u->id))
                        continue;
                /* avoid ranks last: only where there is nothing else. */
                if (u->flags & CGROUP_AVOID)
                        bytes = 0;
                if (!largest || bytes > most) {
                        largest = u;
                        most = bytes;
                }
        }
        return largest;
}
