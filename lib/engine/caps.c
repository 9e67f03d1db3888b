/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Caps: how far one cgroup's io is limited, device by device.
 *
 * A cap begins at half of the measured rate, of bytes and of operations: with one alone a program goes round it by
 * asking for more or for less at a time. It is halved while it hurts, never below IOCapFloor= and 64 operations, and
 * raised by a quarter while it does not, up to what keeps the device's queue short: a queue's length goes with
 * 1 / (1 - busy) (Kleinrock, Queueing Systems, vol. 1), and a service is slow long before it stands still. When the alarm
 * came the device was full, so what all did to it then is what it can do; what the others do now is theirs; and of the
 * rest BUSY_PERMYRIAD keeps some free. The first moments may have flattered it, or not have been all: where the io credit
 * tells how long the victim's requests take (pace.c), a cap retreats at which they wait twice as long, and a writer's goes on
 * while they do not.
 *
 * Writes that go through the page cache are different. A journal commit waits for them, so what is made to wait on its
 * way to the disk makes everybody wait who syncs. So they are limited to a little less than the disk does, in bytes
 * alone (the flusher sends large requests, of which a limit on operations lets through too few), and then little may be
 * dirty at a time (contain.c pins memory.high to what is no page cache and a little room; that write waits for what is
 * dirty already). One without the other helps little: little dirt comes as fast as the disk takes it. */

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
/* A device that turned out to do less than was measured is believed to do so for so many times the wait between calm and
 * a rise, which doubles at each relapse. */
#define DISTRUST_WAITS 16
/* Five sixths: a request waits for two or three others there; at nineteen twentieths for ten. */
#define BUSY_PERMYRIAD 8333
/* Whoever else is at work, this much of a device is not taken from who is capped on this ground alone. */
#define LEFT_PERMYRIAD 1000
/* What was measured may have been too little: so long after the last change a rise goes beyond it, by an eighth; by a
 * sixteenth, and soon, where it can be seen how long the victim's requests take. */
#define PROBE_WAITS 60
/* So many of the victim's requests tell their mean well enough; so many, how it was on the way up. */
#define PACE_REQUESTS 150
#define PACE_REQUESTS_LOW 50
/* From half of what a device does to five sixths a queue grows by half and more, and without a bound where it turns out that
 * this is all it does: its first moments flatter one that takes bursts. */
#define PACE_FULL_PERMYRIAD PERMYRIAD
/* From five sixths of what a device does to nine tenths; at nineteen twentieths they take twice as long again. */
#define PACE_WORSE_PERMYRIAD (PERMYRIAD / 2)
/* Who asks for next to nothing is not harmed. */
#define PACE_WAIT_USEC (30 * USEC_PER_SEC)
/* Busy without a break. One that works on many requests at once is busy long before it is full. */
#define FULL_PERMYRIAD 9500
/* What is done is looked at for so long to see whether the device can do more, or twice that. */
#define LEARN_USEC (3 * USEC_PER_SEC)

static const IoLine no_limit = { .v = { LIMIT_MAX, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };

/* As the kernel counted it when it was done, where it did; else as it was asked for. */
static bool io_rates(const Engine *e, uint64_t cgroup_id, TrackWindow w, IoLine ret[IO_DEVICES_MAX], size_t *ret_n) {
        const CgroupSample *c = sample_find(e->sample, cgroup_id);
        const Track *t = tracks_find(&e->tracks, cgroup_id);
        bool counted = c && waits_done(&e->waits, e->sample->credit, c, w, ret, ret_n);
        IoLine asked[IO_DEVICES_MAX];
        uint64_t usec;
        size_t n;

        if (!counted)
                *ret_n = 0;
        if (!t || !track_io(&e->tracks, t, w, asked, &n, &usec))
                return counted;
        track_io_done(&e->tracks, t, w, asked, n);
        for (size_t i = 0; i < n; i++) {
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        asked[i].v[k] = mul_div_u64(asked[i].v[k], USEC_PER_SEC, usec);
                if (!counted || !waits_counted(e->sample->credit, &asked[i]))
                        io_lines_add(ret, ret_n, &asked[i]);
        }
        return true;
}

static bool in_scope(const BlameScope *scope, const IoLine *device) {
        for (size_t i = 0; i < scope->n_devices; i++)
                if (io_same_device(&scope->devices[i], device))
                        return scope->weight[i] >= DEVICE_WEIGHT_MIN;
        return scope->n_devices == 0;
}

static bool any_in_scope(const BlameScope *scope, const IoLine *lines, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (in_scope(scope, &lines[i]))
                        return true;
        return false;
}

/* The device that the victim uses most; NULL. */
static const IoLine *busiest_of(const BlameScope *scope) {
        size_t best = 0;

        for (size_t i = 1; i < scope->n_devices; i++)
                if (scope->weight[i] > scope->weight[best])
                        best = i;
        return scope->n_devices > 0 ? &scope->devices[best] : NULL;
}

static uint64_t work_of(uint64_t bytes, uint64_t operations) {
        return bytes + operations * IO_OPERATION_BYTES;
}

bool caps_help(const Engine *e, const BlameScope *scope, const CgroupSample *c) {
        const Track *t = tracks_find(&e->tracks, c->id);
        IoLine lines[IO_DEVICES_MAX];
        uint64_t usec, written = 0, swapped, before;
        size_t n;

        if (!t || !track_io(&e->tracks, t, WINDOW_RECENT, lines, &n, &usec))
                return false;
        for (size_t i = 0; i < n; i++)
                if (in_scope(scope, &lines[i]))
                        written += work_of(lines[i].v[IO_READ_BYTES] + lines[i].v[IO_WRITE_BYTES], 0);
        before = track_since(t, WINDOW_RECENT).swap;
        swapped = t->last.swap - MIN(before, t->last.swap);
        return swapped < written / 2 || written == 0;
}

bool caps_only_reads(const Engine *e, const BlameScope *scope, const CgroupSample *c) {
        const Track *t = tracks_find(&e->tracks, c->id);
        uint64_t usec, reads = 0, writes = 0;
        IoLine lines[IO_DEVICES_MAX];
        size_t n;

        if (!t || caps_buffered(c) || !track_io(&e->tracks, t, WINDOW_RECENT, lines, &n, &usec))
                return false;
        for (size_t i = 0; i < n; i++)
                if (in_scope(scope, &lines[i])) {
                        reads += work_of(lines[i].v[IO_READ_BYTES], lines[i].v[IO_READS]);
                        writes += work_of(lines[i].v[IO_WRITE_BYTES], lines[i].v[IO_WRITES]);
                }
        return writes < mul_div_u64(reads + writes, DIRECTION_PERMYRIAD, PERMYRIAD);
}

/* Work a second on one device, bytes and operations: of the whole machine, and of one cgroup in it. */
typedef struct DeviceUse {
        uint64_t all[2], own[2];
} DeviceUse;

static void device_use(const Engine *e, const IoLine *device, uint64_t cgroup_id, TrackWindow w, DeviceUse *ret) {
        uint64_t root = e->sample->n_cgroups > 0 ? e->sample->cgroups[0].id : 0;

        *ret = (DeviceUse) {};
        for (size_t i = 0; i < e->sample->n_cgroups; i++) {
                const CgroupSample *c = &e->sample->cgroups[i];
                IoLine rates[IO_DEVICES_MAX];
                const IoLine *r;
                size_t n;

                if ((c->parent_id != root && c->id != cgroup_id) || !io_rates(e, c->id, w, rates, &n) ||
                    !(r = io_line_find(rates, n, device)))
                        continue;
                for (int k = 0; k < 2; k++) {
                        uint64_t v = r->v[k ? IO_READS : IO_READ_BYTES] + r->v[k ? IO_WRITES : IO_WRITE_BYTES];

                        ret->all[k] += c->parent_id == root ? v : 0;
                        ret->own[k] += c->id == cgroup_id ? v : 0;
                }
        }
}

/* The share of a device that others use, who all together could do `full`. Each of the two, bytes and operations, may be
 * less than the device can do, for the other may have been what filled it: so it is the smaller share. */
static unsigned others_share(const DeviceUse *use, const uint64_t full[2]) {
        uint64_t share = PERMYRIAD;

        for (int k = 0; k < 2; k++)
                if (full[k] > 0)
                        share = MIN(share, mul_div_u64(use->all[k] - MIN(use->own[k], use->all[k]), PERMYRIAD, full[k]));
        return (unsigned) share;
}

/* What the others leave of the device, in what the cgroup did when it was full. LIMIT_MAX where that is not known. */
static uint64_t cap_room(const Engine *e, const Containment *c, const DeviceCap *cap, int key) {
        static const TrackWindow windows[] = { WINDOW_RECENT, WINDOW_LONG };
        unsigned others = 0;

        if (cap->share_permyriad == 0)
                return LIMIT_MAX;
        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
                DeviceUse use;

                device_use(e, &cap->level, c->cgroup_id, windows[i], &use);
                others = MAX(others, others_share(&use, cap->full));
        }
        return mul_div_u64(mul_div_u64(cap->measured.v[key], cap->trust_permyriad, PERMYRIAD),
                           MAX(BUSY_PERMYRIAD - MIN(others, BUSY_PERMYRIAD), LEFT_PERMYRIAD), cap->share_permyriad);
}

/* It hurt at this level: the device does less than was thought, at most so much that what is left is a little below. */
static void cap_distrust(const Engine *e, const Containment *c, DeviceCap *cap, int key, uint64_t level) {
        uint64_t room = cap_room(e, c, cap, key);

        level -= level / 8;
        if (room != LIMIT_MAX && room > level)
                cap->trust_permyriad = (unsigned) MAX(mul_div_u64(cap->trust_permyriad, level, room), UINT64_C(1));
}

static uint64_t cap_floor(int key, const Domain *d) {
        return key == IO_READ_BYTES || key == IO_WRITE_BYTES ? d->contain.io_cap_floor_bytes : OPERATIONS_FLOOR;
}

/* Ours where it is below what was there. */
static bool is_capped(const DeviceCap *cap, int key) {
        return cap->level.v[key] < cap->original.v[key];
}

/* Its requests are not counted, only its bytes: what a buffered writer had of the device at first is a poor measure. */
static bool is_capped_writer(const DeviceCap *cap) {
        return is_capped(cap, IO_WRITE_BYTES) && !is_capped(cap, IO_WRITES) && !is_capped(cap, IO_READS);
}

/* Never below this. A writer keeps half of what he was measured to do: less holds up the journal's commit, which waits for him,
 * and with it everybody who syncs, whom no alarm of a disk's queue would help. */
static uint64_t cap_least(const DeviceCap *cap, int key, const Domain *d) {
        return is_capped_writer(cap) ? MAX(cap_floor(key, d), cap->measured.v[key] / 2) : cap_floor(key, d);
}

/* One direction of one device. */
static void cap_direction(DeviceCap *cap, const IoLine *rate, IoKey bytes, IoKey operations, bool buffered, const Domain *d) {
        uint64_t level = buffered ? mul_div_u64(rate->v[bytes], BUSY_PERMYRIAD, PERMYRIAD) : rate->v[bytes] / 2;

        cap->level.v[bytes] = MIN(cap->original.v[bytes], MAX(level, cap_floor(bytes, d)));
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

/* Bytes of its that a device may have written over a window: sent off in it, or still on their way. */
static uint64_t sent_writes(const Engine *e, uint64_t cgroup_id, TrackWindow w, const IoLine *device) {
        const Track *t = tracks_find(&e->tracks, cgroup_id);
        IoLine lines[IO_DEVICES_MAX];
        const IoLine *l;
        uint64_t usec;
        size_t n;

        if (!t)
                return 0;
        l = track_io(&e->tracks, t, w, lines, &n, &usec) ? io_line_find(lines, n, device) : NULL;
        return (l ? l->v[IO_WRITE_BYTES] : 0) + track_writeback(&e->tracks, t);
}

/* What a writer got the device to write a second over a window. LIMIT_MAX where that is not known. */
static uint64_t writes_over(const Engine *e, const CgroupSample *c, TrackWindow w, const IoLine *device) {
        uint64_t own = sent_writes(e, c->id, w, device), all = 0;
        IoLine lines[IO_DEVICES_MAX], done;
        const IoLine *l;
        size_t n;

        if (waits_done(&e->waits, e->sample->credit, c, w, lines, &n) && (l = io_line_find(lines, n, device)))
                return l->v[IO_WRITE_BYTES];
        /* His share of what all got done, where his own is not known yet. */
        if (own > 0 && waits_device_done(&e->waits, e->sample->credit, device, w, &done)) {
                for (size_t i = 1; i < e->sample->n_cgroups; i++)
                        if (e->sample->cgroups[i].parent_id == e->sample->cgroups[0].id)
                                all += sent_writes(e, e->sample->cgroups[i].id, w, device);
                return mul_div_u64(done.v[IO_WRITE_BYTES], own, MAX(all, own));
        }
        if (io_rates(e, c->id, w, lines, &n) && (l = io_line_find(lines, n, device)))
                return l->v[IO_WRITE_BYTES];
        return LIMIT_MAX;
}

/* … while it was busy, for he may have begun within the window. The first moments flatter a device that takes bursts, or
 * has a cache; a few large requests are a poor measure, and count for half at least of what the longer window says. */
static uint64_t write_rate(const Engine *e, const CgroupSample *c, const IoLine *device) {
        static const TrackWindow windows[] = { WINDOW_RECENT, WINDOW_LAST };
        uint64_t rate = LIMIT_MAX;

        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
                uint64_t v = writes_over(e, c, windows[i], device);

                if (v == LIMIT_MAX)
                        continue;
                v = mul_div_u64(v, PERMYRIAD, MAX(waits_busy(&e->waits, e->sample->credit, device, windows[i]), LEFT_PERMYRIAD));
                rate = rate == LIMIT_MAX ? v : MIN(rate, MAX(v, rate / 2));
        }
        return rate == LIMIT_MAX ? 0 : rate;
}

/* What it has of the device, and all have. */
static void cap_measure(const Engine *e, DeviceCap *cap, uint64_t cgroup_id, TrackWindow w, const IoLine *rate) {
        uint64_t more;
        DeviceUse use;

        device_use(e, rate, cgroup_id, w, &use);
        more = rate->v[IO_READ_BYTES] + rate->v[IO_WRITE_BYTES];
        more -= MIN(use.own[0], more);
        use.own[0] += more;
        use.all[0] += more;
        cap->measured = *rate;
        memcpy(cap->full, use.all, sizeof(cap->full));
        cap->share_permyriad = PERMYRIAD - others_share(&use, use.all);
        cap->trust_permyriad = PERMYRIAD;
}

/* At one of its limits it would do less than it does. Who does as little as the floor allows keeps no disk busy. */
static bool cap_bites(const DeviceCap *cap, const IoLine *rate) {
        for (int k = 0; k < _IO_KEY_MAX; k++)
                if (cap->level.v[k] < MIN(cap->original.v[k], rate->v[k]))
                        return true;
        return false;
}

bool caps_begin(Engine *e, Containment *c, const BlameScope *scope, const CgroupSample *row, const Domain *d) {
        bool buffered = caps_buffered(row);
        /* What it does now; a longer window may hold the time before it began. */
        TrackWindow w = WINDOW_LAST;
        IoLine rates[IO_DEVICES_MAX];
        const IoLine *busiest;
        size_t n;

        c->n_caps = 0;
        if (!io_rates(e, row->id, w, rates, &n)) {
                w = WINDOW_RECENT;
                if (!io_rates(e, row->id, w, rates, &n))
                        return false;
        }
        /* What it first sent off stands in no io.stat until it is let in to the device's queue. */
        if (buffered && !any_in_scope(scope, rates, n) && n < IO_DEVICES_MAX && (busiest = busiest_of(scope)))
                rates[n++] = (IoLine) { .major = busiest->major, .minor = busiest->minor };
        for (size_t i = 0; buffered && i < n; i++)
                rates[i].v[IO_WRITE_BYTES] = write_rate(e, row, &rates[i]);
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
                cap_measure(e, cap, row->id, w, &rates[i]);
                if (reads >= mul_div_u64(reads + writes, DIRECTION_PERMYRIAD, PERMYRIAD))
                        cap_direction(cap, &rates[i], IO_READ_BYTES, IO_READS, false, d);
                if (writes >= mul_div_u64(reads + writes, DIRECTION_PERMYRIAD, PERMYRIAD))
                        cap_direction(cap, &rates[i], IO_WRITE_BYTES, IO_WRITES, buffered, d);
                c->n_caps += cap_bites(cap, &rates[i]);
        }
        c->cap_rise_usec = 0;
        c->cap_wait_usec = CALM_USEC;
        c->cap_hurt_usec = e->now;
        c->pace = (PaceWatch) {};
        c->cap_begun_usec = c->cap_evidence_usec = c->cap_binds_usec = e->now;
        return c->n_caps > 0;
}

bool caps_bite(Engine *e, const BlameScope *scope, const CgroupSample *row, const Domain *d) {
        static Containment trial;

        trial = (Containment) { .cgroup_id = row->id };
        return caps_begin(e, &trial, scope, row, d);
}

bool caps_lower(Engine *e, Containment *c, const Domain *d) {
        bool lower = false;

        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++) {
                        uint64_t level = MAX(c->caps[i].level.v[k] / 2, cap_least(&c->caps[i], k, d));

                        /* Not half of what it does now: who is held up at a cap does nothing for a while, and then much. */
                        if (!is_capped(&c->caps[i], k) || level >= c->caps[i].level.v[k])
                                continue;
                        cap_distrust(e, c, &c->caps[i], k, c->caps[i].level.v[k]);
                        c->caps[i].level.v[k] = level;
                        lower = true;
                }
        c->cap_hurt_usec = e->now;
        return lower;
}

bool caps_are_low(const Engine *e, const Containment *c) {
        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        if (is_capped(&c->caps[i], k) && c->caps[i].level.v[k] < cap_room(e, c, &c->caps[i], k) / 2)
                                return true;
        return false;
}

/* The device does so much a second, of bytes (k = 0) or operations, if that is more than was measured. */
static void cap_believe(DeviceCap *cap, int k, uint64_t rate) {
        int first = k ? IO_READS : IO_READ_BYTES, second = first + 1;

        if (cap->full[k] == 0 || rate <= cap->full[k])
                return;
        cap->measured.v[first] = mul_div_u64(cap->measured.v[first], rate, cap->full[k]);
        cap->measured.v[second] = mul_div_u64(cap->measured.v[second], rate, cap->full[k]);
        cap->full[k] = rate;
}

/* What a writer had on its way when he was capped goes to the device as fast as that takes it, and tells better than the first
 * tenth of a second. Half of it, for requests end many at a time. */
static void cap_learn_backlog(const Engine *e, DeviceCap *cap) {
        IoLine all;

        if (is_capped_writer(cap) && waits_busy(&e->waits, e->sample->credit, &cap->level, WINDOW_RECENT) >= FULL_PERMYRIAD &&
            waits_device_done(&e->waits, e->sample->credit, &cap->level, WINDOW_RECENT, &all))
                cap_believe(cap, 0, (all.v[IO_READ_BYTES] + all.v[IO_WRITE_BYTES]) / 2);
}

static bool caps_pace(const Engine *e, Containment *c, uint64_t enough, Pace *ret) {
        const OpenIncident *o = incident_state((Engine *) e, c->incident_id);
        const Domain *victim = o ? incident_victim(e, o) : NULL;

        return victim && pace_look(&c->pace, e->sample->credit, victim->cgroup, c->cap_usec, enough, ret);
}

/* A quarter more, up to what the others leave; and beyond it for a writer, as long as the victim does not mind, or long after
 * the last change. How busy a device is does not tell: one that is given so many requests a second, as a throttled one is,
 * takes no time for each, and idles by the clock when it is full. Of requests that were counted it is known what the device
 * does, and the last tenth of that fills its queue so slowly that the victim minds too late. */
static uint64_t cap_higher(const Engine *e, const Containment *c, const DeviceCap *cap, int key, bool paced) {
        uint64_t level = cap->level.v[key], room = cap_room(e, c, cap, key);

        if (level + level / 16 < room)
                return MIN(level + level / 4, room);
        if (paced && is_capped_writer(cap))
                return e->now >= c->pace.rest_until_usec ? level + level / 16 : level;
        return e->now - c->cap_usec >= PROBE_WAITS * c->cap_wait_usec ? level + level / 8 : level;
}

/* All that was measured is used. */
static bool caps_are_risen(const Engine *e, const Containment *c) {
        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        if (is_capped(&c->caps[i], k) && c->caps[i].level.v[k] + c->caps[i].level.v[k] / 16 < cap_room(e, c, &c->caps[i], k))
                                return false;
        return true;
}

/* A device that does more than was measured can do it. Requests end many at a time, so over seconds, not in a window. */
static void cap_learn(const Engine *e, DeviceCap *cap) {
        const IoCredit *credit = e->sample->credit;
        IoLine now, from = cap->learn;
        uint64_t usec;

        /* What was asked for proves nothing. */
        if (cap->share_permyriad == 0 || !credit || !waits_device_ever(credit, &cap->level, &now))
                return;
        usec = credit->usec - MIN(cap->learn_usec, credit->usec);
        if (usec < LEARN_USEC)
                return;
        cap->learn = now;
        cap->learn_usec = credit->usec;
        for (int k = 0; usec <= 2 * LEARN_USEC && k < 2; k++) {
                int first = k ? IO_READS : IO_READ_BYTES, second = first + 1;
                uint64_t sum = now.v[first] + now.v[second], before = from.v[first] + from.v[second];

                cap_believe(cap, k, mul_div_u64(sum - MIN(before, sum), USEC_PER_SEC, usec));
        }
}

/* It is busy all the time, most of that is his, and what all do together is less than his cap: so that is what it can do.
 * What was measured first may have been a burst, or have gone into a cache, or he had only just begun. */
static bool cap_calibrate(const Engine *e, const Containment *c, const CgroupSample *row, DeviceCap *cap) {
        IoLine all, rates[IO_DEVICES_MAX];
        const IoLine *rate;
        size_t n;

        if (cap->share_permyriad == 0 || waits_busy(&e->waits, e->sample->credit, &cap->level, WINDOW_RECENT) < FULL_PERMYRIAD ||
            !waits_device_done(&e->waits, e->sample->credit, &cap->level, WINDOW_RECENT, &all) ||
            !waits_done(&e->waits, e->sample->credit, row, WINDOW_RECENT, rates, &n) ||
            !(rate = io_line_find(rates, n, &cap->level)))
                return false;
        for (int k = 0; k < _IO_KEY_MAX; k++)
                if (is_capped(cap, k) && (all.v[k] >= cap->level.v[k] || rate->v[k] < all.v[k] / 2))
                        return false;
        cap_measure(e, cap, c->cgroup_id, WINDOW_RECENT, rate);
        return true;
}

bool caps_correct(Engine *e, Containment *c, const CgroupSample *row, const Domain *d) {
        bool lower = false;
        Pace pace;

        /* So that it is counted from soon after the last change. */
        (void) caps_pace(e, c, UINT64_MAX, &pace);
        /* The window must not reach back to before the last change. */
        if (e->waits.older.usec < c->cap_usec)
                return false;
        for (size_t i = 0; i < c->n_caps; i++) {
                DeviceCap *cap = &c->caps[i];

                cap_learn_backlog(e, cap);
                if (!cap_calibrate(e, c, row, cap))
                        continue;
                for (int k = 0; k < _IO_KEY_MAX; k++) {
                        uint64_t level = MAX(cap_room(e, c, cap, k), cap_least(cap, k, d));

                        if (!is_capped(cap, k) || level >= cap->level.v[k])
                                continue;
                        cap->level.v[k] = level;
                        lower = true;
                }
        }
        return lower;
}

/* What the last rise did to the victim, where it went beyond what was measured. True: it was too much, and the caps are as
 * they were before. */
static bool probe_ends(const Engine *e, Containment *c, bool paced, const Pace *pace) {
        c->pace.probing = false;
        if (!paced || !pace_is_worse(pace, &c->pace.best, PACE_WORSE_PERMYRIAD))
                return false;
        c->pace.rest_until_usec = e->now + PROBE_WAITS * c->cap_wait_usec;
        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        c->caps[i].level.v[k] = MIN(c->caps[i].level.v[k], c->caps[i].lower.v[k]);
        return true;
}

/* To an eighth below `from`, which is no longer believed to be what is left of the device. */
static void cap_retreat(Engine *e, Containment *c, DeviceCap *cap, int key, uint64_t from, uint64_t least, const Domain *d) {
        cap_distrust(e, c, cap, key, from);
        cap->level.v[key] = MIN(MAX(MAX(from - from / 8, least), cap_least(cap, key, d)), cap->level.v[key]);
}

/* The device does less than was measured; half of that it was seen to do, so there it ends. */
static CapsChange caps_retreat(Engine *e, Containment *c, const Domain *d) {
        CapsChange change = CAPS_STAY;

        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++) {
                        uint64_t before = c->caps[i].level.v[k];

                        if (!is_capped(&c->caps[i], k))
                                continue;
                        cap_retreat(e, c, &c->caps[i], k, before, c->caps[i].measured.v[k] / 2, d);
                        if (c->caps[i].level.v[k] < before)
                                change = CAPS_LOWERED;
                }
        c->cap_hurt_usec = e->now;
        c->pace.rest_until_usec = e->now + PROBE_WAITS * c->cap_wait_usec;
        return change;
}

CapsChange caps_raise(Engine *e, Containment *c, const Domain *d) {
        bool any = false, risen = caps_are_risen(e, c), trust, paced;
        IoLine before[IO_DEVICES_MAX];
        Pace pace;

        trust = e->now - c->cap_hurt_usec >= DISTRUST_WAITS * c->cap_wait_usec && e->now >= c->pace.rest_until_usec;
        paced = caps_pace(e, c, risen ? PACE_REQUESTS : PACE_REQUESTS_LOW, &pace);
        if (c->pace.probing) {
                if (!paced && e->sample->credit && e->now - c->cap_usec < PACE_WAIT_USEC)
                        return CAPS_STAY;
                if (probe_ends(e, c, paced, &pace))
                        return CAPS_LOWERED;
        }
        if (paced && !risen)
                pace_keep(&c->pace.low, &pace);
        else if (paced && pace_is_worse(&pace, &c->pace.low, PACE_FULL_PERMYRIAD))
                return caps_retreat(e, c, d);
        else if (paced)
                pace_keep(&c->pace.best, &pace);
        paced = paced && risen;
        /* An eighth of it comes back with each wait. */
        if (trust)
                c->cap_hurt_usec += c->cap_wait_usec;
        for (size_t i = 0; i < c->n_caps; i++) {
                DeviceCap *cap = &c->caps[i];

                before[i] = cap->level;
                cap_learn(e, cap);
                if (trust)
                        cap->trust_permyriad = MIN(cap->trust_permyriad + cap->trust_permyriad / 8 + 1, (unsigned) PERMYRIAD);
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        if (is_capped(cap, k)) {
                                uint64_t room = cap_room(e, c, cap, k);

                                cap->level.v[k] = MIN(cap_higher(e, c, cap, k, paced), cap->original.v[k]);
                                c->pace.probing |= cap->level.v[k] > before[i].v[k] && cap->level.v[k] > room;
                        }
                any |= memcmp(before[i].v, cap->level.v, sizeof(before[i].v)) != 0;
        }
        for (size_t i = 0; any && i < c->n_caps; i++)
                c->caps[i].lower = before[i];
        return any ? CAPS_RISEN : CAPS_STAY;
}

void caps_back(Engine *e, Containment *c, const Domain *d) {
        for (size_t i = 0; i < c->n_caps; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        /* The level before the rise may have been too much as well, and not yet have shown it. */
                        if (is_capped(&c->caps[i], k))
                                cap_retreat(e, c, &c->caps[i], k, c->caps[i].lower.v[k], 0, d);
        c->cap_hurt_usec = e->now;
        c->pace.probing = false;
        c->pace.rest_until_usec = e->now + DISTRUST_WAITS * c->cap_wait_usec;
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
        const Track *t = tracks_find(&e->tracks, c->cgroup_id);
        IoLine rates[IO_DEVICES_MAX];
        bool pushing = false, binds = false;
        size_t n;

        if (!t || !io_rates(e, c->cgroup_id, WINDOW_RECENT, rates, &n))
                return false;
        for (size_t i = 0; i < c->n_caps; i++) {
                const IoLine *rate = io_line_find(rates, n, &c->caps[i].level);

                for (int k = 0; rate && k < _IO_KEY_MAX; k++)
                        if (is_capped(&c->caps[i], k)) {
                                pushing |= rate->v[k] >= c->caps[i].level.v[k] - c->caps[i].level.v[k] / 8;
                                binds |= rate->v[k] >= c->caps[i].level.v[k] / 2;
                        }
        }
        /* At a low cap the kernel lets through in bursts, and less than it says. */
        *ret_pushing = pushing || (binds && track_io_waits(t));
        *ret_binds = binds;
        return true;
}
