/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Caps: how far one cgroup's io is limited, device by device.
 *
 * A cap begins at half of the measured rate, of bytes and of operations: with one alone a program goes round it by
 * asking for more or for less at a time. It is halved while it hurts, never below IOCapFloor= and 64 operations, and
 * raised by a quarter while it does not.
 *
 * Writes that go through the page cache are different. A journal commit waits for them, so what is made to wait on its
 * way to the disk makes everybody wait who syncs. So first little may be dirty at a time (contain.c pins memory.high to
 * what is no page cache and a little room), and then they are limited, in bytes alone: the flusher sends large requests,
 * of which a limit on operations lets through too few. */

#include "base/macro.h"
#include "engine/state.h"

#define OPERATIONS_FLOOR 64
/* On such a device the victim does next to nothing, and nobody hurts it there. */
#define DEVICE_WEIGHT_MIN 500
/* A direction with less than this share of the work is no reason for a cap. */
#define DIRECTION_PERMYRIAD 1250
/* Work a second that is not worth a cap. */
#define RATE_NOISE (UINT64_C(1) << 20)
/* With so much of its data on the way to the disk it writes through the page cache. */
#define BUFFERED_BYTES (UINT64_C(1) << 20)
/* The ceiling stands for so many times the wait between calm and a rise, which doubles at each relapse. */
#define CEILING_WAITS 16

static const IoLine no_limit = { .v = { LIMIT_MAX, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };

static bool io_rates(const Engine *e, uint64_t cgroup_id, TrackWindow w, IoLine ret[IO_DEVICES_MAX], size_t *ret_n) {
        const Track *t = tracks_find(&e->tracks, cgroup_id);
        uint64_t usec;

        if (!t || !track_io(&e->tracks, t, w, ret, ret_n, &usec))
                return false;
        for (size_t i = 0; i < *ret_n; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        ret[i].v[k] = mul_div_u64(ret[i].v[k], USEC_PER_SEC, usec);
        return true;
}

static bool in_scope(const BlameScope *scope, const IoLine *device) {
        for (size_t i = 0; i < scope->n_devices; i++)
                if (io_same_device(&scope->devices[i], device))
                        return scope->weight[i] >= DEVICE_WEIGHT_MIN;
        return scope->n_devices == 0;
}

static uint64_t work_of(uint64_t bytes, uint64_t operations) {
        return bytes + operations * IO_OPERATION_BYTES;
}

bool caps_help(const Engine *e, const BlameScope *scope, const CgroupSample *c) {
        const Track *t = tracks_find(&e->tracks, c->id);
        IoLine lines[IO_DEVICES_MAX];
        uint64_t usec, written = 0, swapped;
        size_t n;

        if (!t || !track_io(&e->tracks, t, WINDOW_RECENT, lines, &n, &usec))
                return false;
        for (size_t i = 0; i < n; i++)
                if (in_scope(scope, &lines[i]))
                        written += work_of(lines[i].v[IO_READ_BYTES] + lines[i].v[IO_WRITE_BYTES], 0);
        swapped = t->last.swap > t->older[WINDOW_RECENT].swap ? t->last.swap - t->older[WINDOW_RECENT].swap : 0;
        return swapped < written / 2 || written == 0;
}

static uint64_t cap_floor(int key, const Domain *d) {
        return key == IO_READ_BYTES || key == IO_WRITE_BYTES ? d->contain.io_cap_floor_bytes : OPERATIONS_FLOOR;
}

/* One direction of one device. */
static void cap_direction(DeviceCap *cap, const IoLine *rate, IoKey bytes, IoKey operations, bool buffered, const Domain *d) {
        cap->level.v[bytes] = MIN(cap->original.v[bytes], MAX(rate->v[bytes] / 2, cap_floor(bytes, d)));
        if (!buffered)
                cap->level.v[operations] = MIN(cap->original.v[operations],
                                               MAX(rate->v[operations] / 2, cap_floor(operations, d)));
}

bool caps_buffered(const CgroupSample *row) {
        uint64_t dirty = 0, writeback = 0;

        (void) cgroup_sample_get(row, CGROUP_FILE_DIRTY, &dirty);
        (void) cgroup_sample_get(row, CGROUP_FILE_WRITEBACK, &writeback);
        return dirty + writeback >= BUFFERED_BYTES;
}

bool caps_begin(Engine *e, Containment *c, const BlameScope *scope, const CgroupSample *row, const Domain *d) {
        bool buffered = caps_buffered(row);
        IoLine rates[IO_DEVICES_MAX];
        size_t n;

        c->n_caps = 0;
        /* What it does now; a longer window would hold the time before it began. What goes through the page cache goes in
         * bursts, and has begun long before. */
        if (!io_rates(e, row->id, buffered ? WINDOW_RECENT : WINDOW_LAST, rates, &n) &&
            !io_rates(e, row->id, WINDOW_RECENT, rates, &n))
                return false;
        for (size_t i = 0; i < n; i++) {
                uint64_t reads = work_of(rates[i].v[IO_READ_BYTES], rates[i].v[IO_READS]),
                         writes = work_of(rates[i].v[IO_WRITE_BYTES], rates[i].v[IO_WRITES]);
                const IoLine *there = io_line_find(row->io_max, row->n_io_max, &rates[i]);
                DeviceCap *cap = &c->caps[c->n_caps];

                if (!in_scope(scope, &rates[i]) || reads + writes < RATE_NOISE)
                        continue;
                *cap = (DeviceCap) { .original = there ? *there : no_limit };
                cap->original.major = rates[i].major;
                cap->original.minor = rates[i].minor;
                cap->level = cap->written = cap->lower = cap->original;
                cap->measured = rates[i];
                /* It had what the victim lacked: with all of it again the disk would be full again. */
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        cap->ceiling.v[k] = rates[i].v[k] - rates[i].v[k] / 4;
                if (reads >= mul_div_u64(reads + writes, DIRECTION_PERMYRIAD, PERMYRIAD))
                        cap_direction(cap, &rates[i], IO_READ_BYTES, IO_READS, false, d);
                if (writes >= mul_div_u64(reads + writes, DIRECTION_PERMYRIAD, PERMYRIAD))
                        cap_direction(cap, &rates[i], IO_WRITE_BYTES, IO_WRITES, buffered, d);
                c->n_caps++;
        }
        c->cap_rise_usec = 0;
        c->cap_wait_usec = CALM_USEC;
        c->cap_ceiling_usec = e->now;
        c->cap_evidence_usec = c->cap_binds_usec = e->now;
        return c->n_caps > 0;
}

/* Ours where it is below what was there. */
static bool is_capped(const DeviceCap *cap, int key) {
        return cap->level.v[key] < cap->original.v[key];
}

bool caps_lower(Containment *c, const Domain *d) {
        bool lower = false;

        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++) {
                        uint64_t level = MAX(c->caps[i].level.v[k] / 2, cap_floor(k, d));

                        /* Not half of what it does now: who is held up at a cap does nothing for a while, and then much. */
                        if (!is_capped(&c->caps[i], k) || level >= c->caps[i].level.v[k])
                                continue;
                        c->caps[i].level.v[k] = level;
                        lower = true;
                }
        return lower;
}

/* A quarter more; up to the ceiling while it stands, and beyond it carefully, for a disk takes a moment to fill. */
static uint64_t cap_higher(const DeviceCap *cap, int key, bool ceiling) {
        uint64_t level = cap->level.v[key], top = cap->ceiling.v[key];

        if (top == 0 || level + level / 16 < top)
                return MIN(level + level / 4, top != 0 ? MAX(top, level) : LIMIT_MAX);
        return ceiling ? level : level + level / 8;
}

bool caps_raise(Engine *e, Containment *c) {
        bool ceiling = c->cap_ceiling_usec != 0 && e->now - c->cap_ceiling_usec < CEILING_WAITS * c->cap_wait_usec, any = false;

        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        any |= is_capped(&c->caps[i], k) && cap_higher(&c->caps[i], k, ceiling) > c->caps[i].level.v[k];
        if (!any)
                return false;
        for (size_t i = 0; i < c->n_caps; i++) {
                c->caps[i].lower = c->caps[i].level;
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        if (is_capped(&c->caps[i], k))
                                c->caps[i].level.v[k] = MIN(cap_higher(&c->caps[i], k, ceiling), c->caps[i].original.v[k]);
        }
        return true;
}

void caps_back(Engine *e, Containment *c, const Domain *d) {
        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++) {
                        DeviceCap *cap = &c->caps[i];
                        uint64_t back = cap->lower.v[k];

                        if (!is_capped(cap, k))
                                continue;
                        /* The level before may have been too much as well, and not yet have shown it. */
                        back -= back / 8;
                        if (cap->ceiling.v[k] != 0)
                                back = MIN(back, cap->ceiling.v[k]);
                        cap->ceiling.v[k] = cap->level.v[k] = MIN(MAX(back, cap_floor(k, d)), cap->level.v[k]);
                }
        c->cap_ceiling_usec = e->now;
}

void caps_lift(Containment *c) {
        for (size_t i = 0; i < c->n_caps; i++)
                c->caps[i].level = c->caps[i].original;
}

bool caps_differ(const Containment *c) {
        for (size_t i = 0; i < c->n_caps; i++)
                if (memcmp(c->caps[i].level.v, c->caps[i].written.v, sizeof(c->caps[i].level.v)) != 0)
                        return true;
        return false;
}

bool caps_pushing(const Engine *e, const Containment *c, bool *ret_pushing, bool *ret_binds) {
        IoLine rates[IO_DEVICES_MAX];
        bool pushing = false, binds = false;
        size_t n;

        if (!io_rates(e, c->cgroup_id, WINDOW_RECENT, rates, &n))
                return false;
        for (size_t i = 0; i < c->n_caps; i++) {
                const IoLine *rate = io_line_find(rates, n, &c->caps[i].level);

                for (int k = 0; rate && k < _IO_KEY_MAX; k++)
                        if (is_capped(&c->caps[i], k)) {
                                pushing |= rate->v[k] >= c->caps[i].level.v[k] - c->caps[i].level.v[k] / 8;
                                binds |= rate->v[k] >= c->caps[i].level.v[k] / 2;
                        }
        }
        *ret_pushing = pushing;
        *ret_binds = binds;
        return true;
}
