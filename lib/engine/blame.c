/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Blame. For memory see track_intake(). For io it is the time that the victim's requests waited for those of others,
 * where the kernel's own count of that is to be had (waits.c) and they waited at all. Else it is the work done on the
 * devices that the victim uses: bytes, and a fixed weight for each operation. That says who keeps a disk busy, not who
 * makes the victim wait, and is marked as of low confidence.
 *
 * Rates, not bytes, are compared, because a cgroup that was looked at for the first time some ticks ago has a shorter
 * window than its siblings.
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
#include "policy/policy.h"

/* A child that holds this much of what its level holds is where the descent goes on (design.md, Blame). */
#define DESCEND_PERMYRIAD 6000
/* What its parent took in itself, or in children that are gone, is not the child's. */
#define EXPLAINED_PERMYRIAD 5000
/* With less than this it does not matter whom the root's slot stands for. */
#define ROOT_PERMYRIAD 2000

const CgroupSample *sample_find(const Sample *s, uint64_t id) {
        for (size_t i = 0; i < s->n_cgroups; i++)
                if (s->cgroups[i].id == id)
                        return &s->cgroups[i];
        return NULL;
}

static uint64_t device_weight(const BlameScope *scope, const IoLine *device) {
        for (size_t i = 0; i < scope->n_devices; i++)
                if (io_same_device(&scope->devices[i], device))
                        return scope->weight[i];
        return scope->n_devices == 0 ? PERMYRIAD : 0;
}

static bool io_intake(const Tracks *t, const Track *track, const CgroupSample *c, TrackWindow w, const BlameScope *scope,
                      Intake *ret) {
        const TrackPoint from = track_since(track, w), *to = &track->last;
        uint64_t usec, work = 0, bytes = 0, written = 0, operations = 0, sent, back;
        IoLine lines[IO_DEVICES_MAX];
        size_t n;

        if (!track_io(t, track, w, lines, &n, &usec))
                return false;
        for (size_t i = 0; i < n; i++) {
                uint64_t weight = device_weight(scope, &lines[i]), b = lines[i].v[IO_READ_BYTES] + lines[i].v[IO_WRITE_BYTES],
                         o = lines[i].v[IO_READS] + lines[i].v[IO_WRITES];

                bytes += mul_div_u64(b, weight, PERMYRIAD);
                written += mul_div_u64(lines[i].v[IO_WRITE_BYTES], weight, PERMYRIAD);
                operations += mul_div_u64(o, weight, PERMYRIAD);
        }
        /* The flusher sends off much at once, and io.stat counts it then; the disk is busy with it long after. */
        sent = track_writeback(t, track);
        bytes += sent > written ? sent - written : 0;
        work = bytes + operations * IO_OPERATION_BYTES;
        if (scope->victim && path_within(c->path, scope->victim) && from.have_stat && to->have_stat && to->activate > from.activate) {
                back = to->activate - from.activate;
                work -= MIN(work, back * (scope->page_bytes + IO_OPERATION_BYTES));
        }
        *ret = (Intake) {
                .bytes = bytes,
                .operations = operations,
                .usec = usec,
                .rate = mul_div_u64(work, USEC_PER_SEC, usec),
        };
        return true;
}

static bool lies_in(const CgroupSample *c, const CgroupSample *slice) {
        return slice && path_within(c->path, slice->path);
}

static bool is_above_limit(const CgroupSample *c, const BlameScope *scope) {
        return scope->at_limit && c != scope->at_limit && lies_in(scope->at_limit, c);
}

/* What one takes from himself at a limit that the victim lies below as well, he takes from the victim. */
static IntakeMeasure row_measure(const CgroupSample *c, const BlameScope *scope) {
        return lies_in(c, scope->at_limit) ? INTAKE_ALL : scope->measure;
}

static bool row_intake(const Tracks *t, const CgroupSample *c, TrackWindow w, const BlameScope *scope, Intake *ret) {
        const Track *track = tracks_find(t, c->id);

        if (!track)
                return false;
        if (scope->resource == RESOURCE_MEMORY)
                return track_intake(track, row_measure(c, scope), w, scope->page_bytes, ret);
        if (!scope->credit)
                return io_intake(t, track, c, w, scope, ret);
        if (!io_intake(t, track, c, w, scope, ret))
                *ret = (Intake) {};
        ret->usec = scope->waits.usec;
        ret->waited_usec = waits_for(&scope->waits, scope->credit, c->path);
        ret->rate = mul_div_u64(ret->waited_usec, USEC_PER_SEC, ret->usec);
        return true;
}

/* What a slice took in, at least what the largest one in it did: its own growth is that of those who live, less
 * what those who died in it gave back. Not the sum of all in it, for a hundred who breathe would be a leak. */
static bool node_intake(const Tracks *t, const CgroupSample *c, TrackWindow w, const BlameScope *scope, Intake *ret) {
        if (!row_intake(t, c, w, scope, ret))
                return false;
        if (scope->resource == RESOURCE_MEMORY && c->kind == CGROUP_KIND_SLICE) {
                Intake below = track_below(tracks_find(t, c->id), row_measure(c, scope), w), limited;

                /* One above the slice at that limit took in what that did. */
                if (is_above_limit(c, scope) && node_intake(t, scope->at_limit, w, scope, &limited) && limited.rate > below.rate)
                        below = limited;
                if (below.rate > ret->rate) {
                        ret->bytes = below.bytes;
                        ret->rate = below.rate;
                }
        }
        return true;
}

/* Where the descent begins. */
static const CgroupSample *top_of(const Sample *s, const BlameScope *scope) {
        for (size_t i = 0; scope->within && i < s->n_cgroups; i++)
                if (streq(s->cgroups[i].path, scope->within))
                        return &s->cgroups[i];
        return s->cgroups;
}

/* Children of rows[parent] follow it, but not necessarily at once: the walk is depth first. */
static const CgroupSample *largest_child(const Tracks *t, const Sample *s, const CgroupSample *parent, TrackWindow w,
                                         const BlameScope *scope, Intake *ret_largest, Intake *ret_sum) {
        const CgroupSample *largest = NULL;
        Intake best = {}, sum = {};

        for (const CgroupSample *c = parent + 1; c < s->cgroups + s->n_cgroups; c++) {
                Intake in;

                if (c->parent_id != parent->id || !node_intake(t, c, w, scope, &in))
                        continue;
                sum.rate += in.rate;
                sum.bytes += in.bytes;
                sum.operations += in.operations;
                if (!largest || in.rate > best.rate || (in.rate == best.rate && c->id < largest->id)) {
                        largest = c;
                        best = in;
                }
        }
        if (parent == top_of(s, scope) && scope->resource == RESOURCE_MEMORY) {
                uint64_t bytes, rate;

                tracks_buried(t, row_measure(parent, scope), w, parent->id, s->usec, &bytes, &rate);
                sum.bytes += bytes;
                sum.rate += rate;
        }
        *ret_largest = best;
        *ret_sum = sum;
        return largest;
}

/* A unit is the smallest thing acted on, but for a cgroup inside it that wants to die as one. */
static bool may_stand_alone(const CgroupSample *c) {
        return c->kind != CGROUP_KIND_INNER || (c->flags & CGROUP_OOM_GROUP);
}

bool sample_is_leaf(const Sample *s, const CgroupSample *c) {
        if (c->kind == CGROUP_KIND_UNIT)
                return true;
        if (c->kind == CGROUP_KIND_INNER || c->kind == CGROUP_KIND_ROOT)
                return false;
        /* The walk is depth first. */
        return c + 1 == s->cgroups + s->n_cgroups || c[1].parent_id != c->id;
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

static void candidates_add(Blame *b, const CgroupSample *c, const Intake *in, unsigned share) {
        size_t i = b->n_candidates;
        Candidate n = { .cgroup_id = c->id, .intake_bytes = in->bytes, .operations = in->operations, .waited_usec = in->waited_usec,
                        .share_permyriad = share, .verdict = VERDICT_SMALL_SHARE };

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

/* What noise is measured against. */
static uint64_t whole_of(const BlameScope *scope, const Intake *sum) {
        if (scope->credit)
                return UINT64_MAX; /* waits_shares() has seen to it */
        return scope->resource == RESOURCE_IO ? sum->bytes + sum->operations * IO_OPERATION_BYTES : sum->bytes;
}

void blame_find(const Tracks *t, const Sample *s, TrackWindow w, unsigned share_min_permyriad, uint64_t noise,
                const BlameScope *scope, Blame *ret) {
        const CgroupSample *node, *top;
        Intake in, sum;
        uint64_t parent_rate;
        unsigned share = PERMYRIAD;

        *ret = (Blame) { .window = w };
        if (s->n_cgroups == 0)
                return;

        top = top_of(s, scope);
        node = largest_child(t, s, top, w, scope, &in, &sum);
        if (!node)
                return;
        /* With it what the kernel itself made wait for, and who has no place in the tree. */
        if (scope->credit)
                sum.rate = MAX(sum.rate, mul_div_u64(scope->waits.whole_usec, USEC_PER_SEC, scope->waits.usec));
        ret->whole_rate = sum.rate;
        ret->whole_waited_usec = scope->credit ? scope->waits.whole_usec : 0;
        ret->whole_bytes = sum.bytes;
        ret->whole_operations = sum.operations;
        ret->measured = true;
        ret->usec = in.usec;

        for (size_t i = 1; i < s->n_cgroups; i++)
                if (sample_is_leaf(s, &s->cgroups[i]) && path_within(s->cgroups[i].path, top->path) && row_intake(t, &s->cgroups[i], w, scope, &in) && (in.bytes > 0 || in.rate > 0))
                        candidates_add(ret, &s->cgroups[i], &in, share_of(in.rate, ret->whole_rate));

        ret->noise = whole_of(scope, &sum) < noise;
        if (ret->noise)
                return;

        /* From the top down, as long as one child holds most of its level and enough of the whole. */
        node = top;
        parent_rate = ret->whole_rate;
        for (;;) {
                const CgroupSample *child =
                        largest_child(t, s, node, w, scope, &in, &sum);

                if (child && share_of(sum.rate, parent_rate) < EXPLAINED_PERMYRIAD) {
                        ret->unexplained = true;
                        break;
                }
                if (!child || share_of(in.rate, sum.rate) < DESCEND_PERMYRIAD ||
                    share_of(in.rate, parent_rate) < EXPLAINED_PERMYRIAD)
                        break;
                share = (unsigned) mul_div_u64(share, share_of(in.rate, sum.rate), PERMYRIAD);
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

/* Much was waited for the root's slot, and who does most of the work was counted there until a moment ago. */
static bool worker_is_new(const Tracks *t, const Sample *s, const BlameScope *scope) {
        Blame b;

        if (waits_for_root(&scope->waits, s->credit) < mul_div_u64(scope->waits.whole_usec, ROOT_PERMYRIAD, PERMYRIAD))
                return false;
        blame_find(t, s, WINDOW_LAST, EXPLAINED_PERMYRIAD, 0, scope, &b);
        return b.culprit && (b.culprit->kind == CGROUP_KIND_SLICE || !waits_settled(s->credit, b.culprit->id));
}

void blame_scope(BlameScope *ret, IncidentResource r, const Tracks *t, const Waits *w, const Sample *s, const char *victim,
                 uint64_t page_bytes) {
        *ret = (BlameScope) { .resource = r, .page_bytes = page_bytes, .stall_usec = UINT64_MAX };
        if (r != RESOURCE_IO || streq(victim, "/"))
                return;
        ret->victim = victim;
        waits_shares(w, s->credit, victim, &ret->waits);
        for (size_t i = 0; i < s->n_cgroups; i++) {
                const Track *track = streq(s->cgroups[i].path, victim) ? tracks_find(t, s->cgroups[i].id) : NULL;
                uint64_t usec, sum = 0;

                if (track)
                        ret->stall_usec = track_io_stall(track, WINDOW_RECENT);
                /* One that stands still now still uses the disks that it used a moment ago. */
                if (!track || !track_io(t, track, WINDOW_LONG, ret->devices, &ret->n_devices, &usec))
                        continue;
                for (size_t k = 0; k < ret->n_devices; k++)
                        sum += ret->devices[k].v[IO_READS] + ret->devices[k].v[IO_WRITES];
                for (size_t k = 0; k < ret->n_devices; k++)
                        ret->weight[k] = sum == 0 ? 0 : mul_div_u64(ret->devices[k].v[IO_READS] + ret->devices[k].v[IO_WRITES],
                                                                    PERMYRIAD, sum);
                if (sum == 0)
                        ret->n_devices = 0;
        }
        if (ret->waits.known && !worker_is_new(t, s, ret))
                ret->credit = s->credit;
}

unsigned blame_share(const Tracks *t, const Sample *s, TrackWindow w, uint64_t cgroup_id, uint64_t noise,
                     const BlameScope *scope) {
        const CgroupSample *c = sample_find(s, cgroup_id);
        Intake largest, own, sum;

        if (!c || !row_intake(t, c, w, scope, &own) || !largest_child(t, s, top_of(s, scope), w, scope, &largest, &sum) ||
            whole_of(scope, &sum) < noise)
                return 0;
        return share_of(own.rate, sum.rate);
}
