/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Verdict: whether a cgroup may be contained for a victim, and if not why. By flags, policies and ranks alone; whether it is to blame
 * is asked elsewhere (blame.c).
 *
 * Invariant: what may not be done to something is not done to a slice that it lies in. */

#include "base/macro.h"
#include "engine/state.h"

/* The unit a path belongs to: its first component that is no slice. False for a slice. */
static bool path_unit(const char *path, char *buf, size_t size) {
        while (*path == '/') {
                const char *end = strchr(++path, '/');
                size_t n = end ? (size_t) (end - path) : strlen(path);

                if (n >= size)
                        return false;
                memcpy(buf, path, n);
                buf[n] = '\0';
                if (!endswith(buf, ".slice"))
                        return n > 0;
                path += n;
        }
        return false;
}

bool unit_is_excluded(const Engine *e, const char *path) {
        const Domain *d = policy_domain_of(e->policy, path);
        char unit[256];

        return d && path_unit(path, unit, sizeof(unit)) && domain_excludes(d, unit);
}

static uint32_t victim_rank(const Domain *victim) {
        return streq(victim->cgroup, "/") ? 1000 : victim->rank;
}

static Verdict mode_verdict(const Engine *e, const Domain *d) {
        switch (engine_mode(e, d)) {
        case MODE_OFF:
                return VERDICT_MODE_OFF;
        case MODE_MONITOR:
                return VERDICT_MODE_MONITOR;
        case MODE_CONTAIN:
        case MODE_ENFORCE:
        case _MODE_MAX:
                break;
        }
        return VERDICT_CULPRIT;
}

static CgroupFlags marks(const Engine *e, const CgroupSample *c) {
        const Track *t = tracks_find(&e->tracks, c->id);

        return c->flags | (t ? t->subtree_flags : 0);
}

/* What is done to a slice is done to all that lies in it: to the victim itself, to domains of their own, to units that are left out.
 * victim: NULL, whoever it is. */
static Verdict slice_verdict(const Engine *e, const Domain *victim, const CgroupSample *slice, const Domain *d) {
        if (victim && path_within(victim->cgroup, slice->path))
                return VERDICT_RANK;
        for (size_t i = 0; i < e->policy->n_domains; i++) {
                const Domain *below = &e->policy->domains[i];

                if (below == d || !path_within(below->cgroup, slice->path))
                        continue;
                if (!below->contain.present)
                        return VERDICT_NO_DOMAIN;
                if (victim && below->rank >= victim_rank(victim))
                        return VERDICT_RANK;
                if (mode_verdict(e, below) != VERDICT_CULPRIT)
                        return mode_verdict(e, below);
        }
        for (size_t i = 0; e->sample && i < e->sample->n_cgroups; i++) {
                const CgroupSample *u = &e->sample->cgroups[i];

                if (u->kind == CGROUP_KIND_UNIT && path_within(u->path, slice->path) && unit_is_excluded(e, u->path))
                        return VERDICT_EXCLUDED;
        }
        return VERDICT_CULPRIT;
}

Verdict contain_verdict(const Engine *e, const Domain *victim, IncidentResource r, const CgroupSample *c, const Domain **ret_domain) {
        const Domain *d = policy_domain_of(e->policy, c->path);
        CgroupFlags flags = marks(e, c);
        Verdict verdict;
        uint64_t v;

        *ret_domain = NULL;
        if (c->kind == CGROUP_KIND_ROOT || (flags & CGROUP_PROTECTED))
                return VERDICT_PROTECTED;
        if (!d || !d->contain.present)
                return VERDICT_NO_DOMAIN;
        *ret_domain = d;
        if (flags & CGROUP_OMIT)
                return VERDICT_OMIT;
        if (unit_is_excluded(e, c->path))
                return VERDICT_EXCLUDED;
        /* To hold all of a domain for its own sake helps nobody in it. */
        if (d == victim && streq(c->path, victim->cgroup))
                return VERDICT_RANK;
        /* Shares of the work cannot tell who of a domain makes whom wait, and most do it to themselves. */
        if (d == victim && r == RESOURCE_IO)
                return VERDICT_RANK;
        if (d != victim && d->rank >= victim_rank(victim))
                return VERDICT_RANK;
        verdict = mode_verdict(e, d);
        if (verdict == VERDICT_CULPRIT && c->kind == CGROUP_KIND_SLICE)
                verdict = slice_verdict(e, victim, c, d);
        if (verdict != VERDICT_CULPRIT)
                return verdict;
        if (r == RESOURCE_IO)
                return d->contain.steps[STEP_IO_CAP] && c->io ? VERDICT_CULPRIT : VERDICT_NO_STEP;
        /* To kill is no first step. */
        if (!d->contain.steps[STEP_HOLD] && !d->contain.steps[STEP_SQUEEZE])
                return VERDICT_NO_STEP;
        if (!cgroup_sample_get(c, CGROUP_MEMORY_HIGH, &v) || !cgroup_sample_get(c, CGROUP_MEMORY_CURRENT, &v))
                return VERDICT_NO_STEP;
        return VERDICT_CULPRIT;
}

bool engine_may_contain(const Engine *e, const char *path, Mode least) {
        const Domain *d = policy_domain_of(e->policy, path);

        return d && d->contain.present && engine_mode(e, d) >= least && !unit_is_excluded(e, path);
}

bool contain_goes_on(const Engine *e, const char *path, const CgroupSample *c) {
        if (!engine_may_contain(e, path, MODE_CONTAIN))
                return false;
        if (!c)
                return true;
        return !(marks(e, c) & (CGROUP_PROTECTED | CGROUP_OMIT)) &&
               (c->kind != CGROUP_KIND_SLICE || slice_verdict(e, NULL, c, policy_domain_of(e->policy, path)) == VERDICT_CULPRIT);
}
