/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Account: what an incident's public record says of whom it found, and of whom it considered. */

#include "base/macro.h"
#include "engine/state.h"

static bool is_told_of(const Incident *i, uint64_t id) {
        for (size_t k = 0; k < i->n_entries; k++)
                if (i->entries[k].cgroup_id == id)
                        return true;
        return false;
}

/* Room in the list of those considered: at its end, or in place of one before *last, neither the culprit nor told of. */
static Candidate *candidate_place(Incident *i, size_t *last) {
        if (i->n_candidates < INCIDENT_CANDIDATES_MAX)
                return &i->candidates[i->n_candidates++];
        for (; *last > 0; (*last)--) {
                uint64_t id = i->candidates[*last - 1].cgroup_id;

                if (id != i->culprit_id && !is_told_of(i, id))
                        return &i->candidates[--*last];
        }
        return NULL;
}

void account_list(Incident *i, uint64_t id, const char *path, Verdict verdict) {
        size_t last = i->n_candidates;
        Candidate *place = incident_path_of(i, id) ? NULL : candidate_place(i, &last);

        if (!place)
                return;
        *place = (Candidate) { .cgroup_id = id, .verdict = verdict };
        path_shown(place->path, path);
}

Verdict account_verdict(const Incident *i, uint64_t id) {
        for (size_t k = 0; k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == id)
                        return i->candidates[k].verdict;
        return VERDICT_CULPRIT;
}

/* Whoever is contained for this incident, or told of, stays in the list though he does little now: it has his name. */
static void keep_told(Engine *e, Incident *i, const Candidate *old, size_t n_old) {
        size_t last = i->n_candidates;

        for (int told = 0; told < 2; told++)
                for (size_t k = 0; k < n_old; k++) {
                        const Containment *c = containment_find(e, old[k].cgroup_id);
                        Candidate *place;

                        if (incident_path_of(i, old[k].cgroup_id) ||
                            (told ? !is_told_of(i, old[k].cgroup_id) : !c || c->incident_id != i->id))
                                continue;
                        place = candidate_place(i, &last);
                        if (!place)
                                return;
                        *place = (Candidate) { .cgroup_id = old[k].cgroup_id };
                        place->verdict = told ? old[k].verdict : VERDICT_TAKEN;
                        memcpy(place->path, old[k].path, sizeof(place->path));
                }
}

static void account_blame(Engine *e, const Domain *victim, Incident *i, const Blame *b) {
        const Domain *d;

        i->window_usec = b->usec;
        i->whole_bytes = b->whole_bytes;
        i->whole_operations = b->whole_operations;
        i->whole_waited_usec = b->whole_waited_usec;
        i->low_confidence = i->resource == RESOURCE_IO && b->whole_waited_usec == 0;
        i->n_candidates = b->n_candidates;
        memcpy(i->candidates, b->candidates, sizeof(i->candidates));
        for (size_t k = 0; k < i->n_candidates; k++) {
                const CgroupSample *c = sample_find(e->sample, i->candidates[k].cgroup_id);

                if (i->candidates[k].share_permyriad >= victim->blame_share_min_permyriad && c) {
                        i->candidates[k].verdict = contain_verdict(e, victim, i->resource, c, &d);
                        if (i->candidates[k].verdict == VERDICT_CULPRIT && c != b->culprit)
                                i->candidates[k].verdict = VERDICT_SMALL_SHARE;
                }
        }
}

void account_culprit(Engine *e, const Domain *victim, Incident *i, const Blame *b, Verdict verdict, const Domain *d) {
        Candidate old[INCIDENT_CANDIDATES_MAX];
        size_t n_old = i->n_candidates;

        memcpy(old, i->candidates, sizeof(old));
        account_blame(e, victim, i, b);
        i->culprit_id = b->culprit->id;
        path_shown(i->culprit, b->culprit->path);
        path_shown(i->culprit_domain, d ? d->name : "");
        path_shown(i->contract_file, d && d->contain.mode_span.file ? d->contain.mode_span.file : "");
        i->contract_line = d ? d->contain.mode_span.line : 0;

        /* A slice is no leaf: enter it as the candidate that it is. */
        if (i->n_candidates == 0 || i->candidates[0].cgroup_id != b->culprit->id) {
                bool listed = false;

                for (size_t k = 0; k < i->n_candidates; k++)
                        listed = listed || i->candidates[k].cgroup_id == b->culprit->id;
                if (!listed) {
                        i->n_candidates = MIN(i->n_candidates + 1, (size_t) INCIDENT_CANDIDATES_MAX);
                        memmove(i->candidates + 1, i->candidates, (i->n_candidates - 1) * sizeof(Candidate));
                        i->candidates[0] = (Candidate) {
                                .cgroup_id = b->culprit->id,
                                .intake_bytes = mul_div_u64(b->whole_bytes, b->share_permyriad, PERMYRIAD),
                                .operations = mul_div_u64(b->whole_operations, b->share_permyriad, PERMYRIAD),
                                .share_permyriad = b->share_permyriad,
                                .verdict = verdict };
                        path_shown(i->candidates[0].path, b->culprit->path);
                }
        }
        for (size_t k = 0; k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == i->culprit_id)
                        i->candidates[k].verdict = verdict;
        keep_told(e, i, old, n_old);
}

void account_nobody(Engine *e, const Domain *victim, Incident *i, const Blame *b, Verdict harmless) {
        Candidate old[INCIDENT_CANDIDATES_MAX];
        size_t n_old = i->n_candidates;

        memcpy(old, i->candidates, sizeof(old));
        account_blame(e, victim, i, b);
        i->culprit_id = 0;
        i->culprit[0] = i->culprit_domain[0] = i->contract_file[0] = '\0';
        i->contract_line = 0;
        for (size_t k = 0; b->culprit && k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == b->culprit->id)
                        i->candidates[k].verdict = harmless;
                else if (harmless == VERDICT_OWN_LIMIT && i->candidates[k].verdict == VERDICT_SMALL_SHARE &&
                         i->candidates[k].share_permyriad >= victim->blame_share_min_permyriad)
                        i->candidates[k].verdict = VERDICT_FREE_MEMORY;
        keep_told(e, i, old, n_old);
}
