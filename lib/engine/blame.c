/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Blame. Rates, not bytes, are compared, because a cgroup that was looked at for the first time some ticks
 * ago has a shorter window than its siblings.
 *
 * The rows of a sample are not read at one moment: on a busy machine a child is read tens of milliseconds after
 * its parent, and in a short window its rate is then a third too small or too large beside its parent's. So a
 * share is taken among siblings, which are read together, level by level, and the shares of the levels are
 * multiplied; the parent's own rate only has to be half explained by the child.
 *
 * Every choice between equals goes to the smaller id. */

#include "base/macro.h"
#include "base/units.h"
#include "engine/blame.h"

/* A child that holds this much of what its level holds is where the descent goes on (design.md, Blame). */
#define DESCEND_PERMYRIAD 6000
/* What its parent took in itself, or in children that are gone, is not the child's. */
#define EXPLAINED_PERMYRIAD 5000

static bool row_intake(const Tracks *t, const CgroupSample *c, TrackWindow w, uint64_t page_bytes, Intake *ret) {
        const Track *track = tracks_find(t, c->id);

        return track && track_intake(track, w, page_bytes, ret);
}

/* What a slice took in, at least what the largest one in it did: its own growth is that of those who live, less
 * what those who died in it gave back. Not the sum of all in it, for a hundred who breathe would be a leak. */
static bool node_intake(const Tracks *t, const CgroupSample *c, TrackWindow w, uint64_t page_bytes, Intake *ret) {
        const Track *track = tracks_find(t, c->id);

        if (!track || !track_intake(track, w, page_bytes, ret))
                return false;
        if (c->kind == CGROUP_KIND_SLICE && track->below[w].rate > ret->rate)
                *ret = track->below[w];
        return true;
}

/* Children of rows[parent] follow it, but not necessarily at once: the walk is depth first. */
static const CgroupSample *largest_child(const Tracks *t, const Sample *s, const CgroupSample *parent, TrackWindow w,
                                         uint64_t page_bytes, Intake *ret_largest, uint64_t *ret_sum_rate,
                                         uint64_t *ret_sum_bytes) {
        const CgroupSample *largest = NULL;
        Intake best = {};
        uint64_t rate = 0, bytes = 0;

        for (const CgroupSample *c = parent + 1; c < s->cgroups + s->n_cgroups; c++) {
                Intake in;

                if (c->parent_id != parent->id || !node_intake(t, c, w, page_bytes, &in))
                        continue;
                rate += in.rate;
                bytes += in.bytes;
                if (!largest || in.rate > best.rate || (in.rate == best.rate && c->id < largest->id)) {
                        largest = c;
                        best = in;
                }
        }
        if (parent == s->cgroups) {
                uint64_t buried_bytes, buried_rate;

                tracks_buried(t, w, s->usec, &buried_bytes, &buried_rate);
                bytes += buried_bytes;
                rate += buried_rate;
        }
        *ret_largest = best;
        *ret_sum_rate = rate;
        *ret_sum_bytes = bytes;
        return largest;
}

/* A unit is the smallest thing acted on, but for a cgroup inside it that wants to die as one. */
static bool may_stand_alone(const CgroupSample *c) {
        return c->kind != CGROUP_KIND_INNER || (c->flags & CGROUP_OOM_GROUP);
}

static bool is_leaf(const Sample *s, const CgroupSample *c) {
        if (c->kind == CGROUP_KIND_UNIT)
                return true;
        if (c->kind == CGROUP_KIND_INNER || c->kind == CGROUP_KIND_ROOT)
                return false;
        for (const CgroupSample *d = c + 1; d < s->cgroups + s->n_cgroups; d++)
                if (d->parent_id == c->id)
                        return false;
        return true;
}

void path_shown(char dest[SHOWN_PATH_MAX], const char *path) {
        size_t n = strlen(path);

        if (n < SHOWN_PATH_MAX)
                memcpy(dest, path, n + 1);
        else {
                memcpy(dest, "...", 3);
                memcpy(dest + 3, path + n - (SHOWN_PATH_MAX - 4), SHOWN_PATH_MAX - 3);
        }
}

static void candidates_add(Blame *b, const CgroupSample *c, uint64_t bytes, unsigned share) {
        size_t i = b->n_candidates;
        Candidate n = { .cgroup_id = c->id, .intake_bytes = bytes, .share_permyriad = share, .verdict = VERDICT_SMALL_SHARE };

        while (i > 0 && (b->candidates[i - 1].share_permyriad < share ||
                         (b->candidates[i - 1].share_permyriad == share && b->candidates[i - 1].cgroup_id > c->id)))
                i--;
        if (i == INCIDENT_CANDIDATES_MAX)
                return;
        if (b->n_candidates < INCIDENT_CANDIDATES_MAX)
                b->n_candidates++;
        memmove(b->candidates + i + 1, b->candidates + i, (b->n_candidates - 1 - i) * sizeof(Candidate));
        path_shown(n.path, c->path);
        b->candidates[i] = n;
}

static unsigned share_of(uint64_t part, uint64_t whole) {
        return whole == 0 ? 0 : (unsigned) MIN(mul_div_u64(part, PERMYRIAD, whole), PERMYRIAD);
}

void blame_find(const Tracks *t, const Sample *s, TrackWindow w, unsigned share_min_permyriad, uint64_t noise,
                uint64_t page_bytes, Blame *ret) {
        const CgroupSample *node;
        Intake in;
        uint64_t sum_rate, sum_bytes, parent_rate;
        unsigned share = PERMYRIAD;

        *ret = (Blame) { .window = w };
        if (s->n_cgroups == 0)
                return;

        node = largest_child(t, s, s->cgroups, w, page_bytes, &in, &ret->whole_rate, &ret->whole_bytes);
        if (!node)
                return;
        ret->measured = true;
        ret->usec = in.usec;

        for (size_t i = 1; i < s->n_cgroups; i++)
                if (is_leaf(s, &s->cgroups[i]) && row_intake(t, &s->cgroups[i], w, page_bytes, &in) && in.bytes > 0)
                        candidates_add(ret, &s->cgroups[i], in.bytes, share_of(in.rate, ret->whole_rate));

        if (ret->whole_bytes < noise)
                return;

        /* From the root down, as long as one child holds most of its level and enough of the whole. */
        node = s->cgroups;
        parent_rate = ret->whole_rate;
        for (;;) {
                const CgroupSample *child =
                        largest_child(t, s, node, w, page_bytes, &in, &sum_rate, &sum_bytes);

                if (child && share_of(sum_rate, parent_rate) < EXPLAINED_PERMYRIAD) {
                        ret->unexplained = true;
                        break;
                }
                if (!child || share_of(in.rate, sum_rate) < DESCEND_PERMYRIAD ||
                    share_of(in.rate, parent_rate) < EXPLAINED_PERMYRIAD)
                        break;
                share = (unsigned) mul_div_u64(share, share_of(in.rate, sum_rate), PERMYRIAD);
                /* Most of what the slice took, and too little of the whole: then it is not the slice either. */
                if (share < share_min_permyriad) {
                        if (may_stand_alone(child))
                                ret->culprit = NULL;
                        break;
                }
                node = child;
                parent_rate = in.rate;
                if (may_stand_alone(node)) {
                        ret->culprit = node;
                        ret->share_permyriad = share;
                }
        }

        for (size_t i = 0; ret->culprit && i < ret->n_candidates; i++)
                if (ret->candidates[i].cgroup_id == ret->culprit->id)
                        ret->candidates[i].share_permyriad = ret->share_permyriad;
}

unsigned blame_share(const Tracks *t, const Sample *s, TrackWindow w, uint64_t cgroup_id, uint64_t noise,
                     uint64_t page_bytes) {
        const Track *track = tracks_find(t, cgroup_id);
        Intake whole, own;
        uint64_t rate, bytes;

        if (s->n_cgroups == 0 || !track || !track_intake(track, w, page_bytes, &own) ||
            !largest_child(t, s, s->cgroups, w, page_bytes, &whole, &rate, &bytes) || bytes < noise)
                return 0;
        return share_of(own.rate, rate);
}
