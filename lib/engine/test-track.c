/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tracks: who stands still costs little, and is measured as everybody else as soon as it moves. */

#include "base/test.h"
#include "base/units.h"
#include "engine/test-world.h"
#include "engine/track.h"

#define PAGE 4096

static Tracks tracks;

static int setup(void **state _unused_) {
        return tracks_init(&tracks);
}

static int teardown(void **state _unused_) {
        tracks_done(&tracks);
        return 0;
}

/* A slice with two services in it, as of so many milliseconds. */
static void look(uint64_t msec, uint64_t one, uint64_t other) {
        RowValues values[3];
        CgroupSample rows[3] = {
                { .id = 1, .path = "/a.slice", .kind = CGROUP_KIND_SLICE, .use = values[0].use },
                { .id = 2, .parent_id = 1, .path = "/a.slice/one.service", .kind = CGROUP_KIND_UNIT, .use = values[1].use },
                { .id = 3, .parent_id = 1, .path = "/a.slice/other.service", .kind = CGROUP_KIND_UNIT, .use = values[2].use },
        };

        cgroup_sample_set(&rows[0], CGROUP_MEMORY_CURRENT, one + other);
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, one);
        cgroup_sample_set(&rows[2], CGROUP_MEMORY_CURRENT, other);
        tracks_update(&tracks, &(Sample) { .usec = msec * USEC_PER_MSEC, .cgroups = rows, .n_cgroups = 3, .complete = true },
                      false, PAGE);
}

static uint64_t taken(uint64_t id, TrackWindow w) {
        Intake in;

        assert_true(track_intake(tracks_find(&tracks, id), INTAKE_ALL, w, PAGE, &in));
        return in.bytes;
}

static void test_still_until_it_moves(void **state _unused_) {
        for (uint64_t t = 1000; t <= 7000; t += 100)
                look(t, 100 * MIB, 50 * MIB);
        assert_int_equal(tracks.n_moves_slots, 0);
        assert_int_equal(taken(2, WINDOW_LONG), 0);

        look(7100, 108 * MIB, 50 * MIB);
        look(7200, 116 * MIB, 50 * MIB);
        assert_int_equal(taken(2, WINDOW_RECENT), 16 * MIB);
        assert_int_equal(taken(2, WINDOW_LONG), 16 * MIB);
        assert_int_equal(taken(3, WINDOW_LONG), 0);
        assert_int_equal(taken(1, WINDOW_LONG), 16 * MIB);
        assert_null(tracks_find(&tracks, 3)->moves);

        /* The anchors are where they would be otherwise: the longer one between five and ten seconds ago. */
        assert_true(track_since(tracks_find(&tracks, 2), WINDOW_LONG).usec <= 2200 * USEC_PER_MSEC);
        assert_int_equal(track_since(tracks_find(&tracks, 2), WINDOW_LONG).current, 100 * MIB);
        assert_int_equal(track_since(tracks_find(&tracks, 3), WINDOW_LONG).usec, track_since(tracks_find(&tracks, 2), WINDOW_LONG).usec);
}

/* What it cost is given back, and used again. */
static void test_still_again(void **state _unused_) {
        for (uint64_t t = 1000; t < 60000; t += 100)
                look(t, 100 * MIB + (t % 20000 < 2000 ? t * PAGE : 0), 50 * MIB);
        look(60000, 100 * MIB, 50 * MIB);
        assert_null(tracks_find(&tracks, 2)->moves);
        assert_int_equal(tracks.n_free_moves, tracks.n_moves_slots);
        assert_int_equal(tracks.n_moves_slots, 2);
}

/* One gives what another takes: the slice stands still, and what the largest in it took in is known. */
static void test_a_slice_that_stands_still(void **state _unused_) {
        look(1000, 100 * MIB, 50 * MIB);
        look(1200, 90 * MIB, 60 * MIB);
        assert_int_equal(taken(1, WINDOW_RECENT), 0);
        assert_int_equal(track_below(tracks_find(&tracks, 1), INTAKE_ALL, WINDOW_RECENT).bytes, 10 * MIB);
        look(1300, 90 * MIB, 60 * MIB);
        assert_int_equal(track_below(tracks_find(&tracks, 1), INTAKE_ALL, WINDOW_RECENT).bytes, 10 * MIB);
        for (uint64_t t = 1400; t < 20000; t += 500)
                look(t, 90 * MIB, 60 * MIB);
        assert_int_equal(track_below(tracks_find(&tracks, 1), INTAKE_ALL, WINDOW_RECENT).bytes, 0);
        assert_int_equal(tracks.n_free_moves, tracks.n_moves_slots);
}

/* Of a thousand that are made while nobody looks, and of some that are looked at closely for the first time, nothing moves. */
static void test_empty_ones_are_born_still(void **state _unused_) {
        RowValues values = {};
        CgroupSample rows[3] = { { .id = 1, .path = "/", .kind = CGROUP_KIND_SLICE, .use = values.use },
                                 { .id = 2, .parent_id = 1, .path = "/a.service", .kind = CGROUP_KIND_UNIT, .use = values.use,
                                   .detail = values.detail },
                                 /* without the memory controller */
                                 { .id = 3, .parent_id = 1, .path = "/b.service", .kind = CGROUP_KIND_UNIT, .use = values.use } };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = rows, .n_cgroups = 1, .complete = true };

        tracks_update(&tracks, &s, false, PAGE);
        s.usec += 10 * USEC_PER_SEC;
        s.n_cgroups = 3;
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, 0);
        cgroup_sample_set(&rows[1], CGROUP_PGSTEAL, 0);
        cgroup_sample_set(&rows[1], CGROUP_CACHE, 0);
        tracks_update(&tracks, &s, false, PAGE);
        s.usec += USEC_PER_SEC;
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_SOME, 500);
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_FULL, 400);
        tracks_update(&tracks, &s, false, PAGE);
        assert_int_equal(tracks.n_moves_slots, 0);
}

/* One who has 30 MiB has a row for the first time, in the second of two samples that are five seconds apart. */
static void first_seen(Sample *s, CgroupSample rows[static 2], RowValues *values, bool late) {
        rows[0] = (CgroupSample) { .id = 1, .path = "/", .kind = CGROUP_KIND_SLICE, .use = values->use };
        rows[1] = (CgroupSample) { .id = 2, .parent_id = 1, .path = "/a.service", .kind = CGROUP_KIND_UNIT, .late = late,
                                   .use = values->use };
        *s = (Sample) { .usec = USEC_PER_SEC, .cgroups = rows, .n_cgroups = 1, .complete = true };
        tracks_update(&tracks, s, false, PAGE);
        s->usec += 5 * USEC_PER_SEC;
        s->n_cgroups = 2;
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, 30 * MIB);
        tracks_update(&tracks, s, false, PAGE);
}

/* What one has when it is first seen it took in since it was born, and what was stolen from it as well. */
static void test_born_with_something(void **state _unused_) {
        RowValues values = {};
        CgroupSample rows[2];
        Sample s;

        first_seen(&s, rows, &values, false);
        assert_int_equal(taken(2, WINDOW_LONG), 30 * MIB);
        s.usec += 200 * USEC_PER_MSEC;
        cgroup_sample_set(&rows[1], CGROUP_PGSTEAL, 10 * MIB / PAGE);
        tracks_update(&tracks, &s, false, PAGE);
        assert_int_equal(taken(2, WINDOW_LONG), 40 * MIB);
        assert_int_equal(taken(2, WINDOW_RECENT), 0);
}

/* Of what one has who was born since the last look page cache is no more kept than that of others. */
static void test_born_with_page_cache(void **state _unused_) {
        RowValues values = {};
        CgroupSample rows[2];
        Intake in;
        Sample s;

        first_seen(&s, rows, &values, false);
        s.usec += 200 * USEC_PER_MSEC;
        cgroup_sample_set(&rows[1], CGROUP_CACHE, 20 * MIB);
        tracks_update(&tracks, &s, false, PAGE);
        assert_true(track_intake(tracks_find(&tracks, 2), INTAKE_KEPT, WINDOW_LONG, PAGE, &in));
        assert_int_equal(in.bytes, 10 * MIB);
}

/* Of one that found no row before it is not known since when it has what it has. */
static void test_late_with_something(void **state _unused_) {
        RowValues values = {};
        CgroupSample rows[2];
        Sample s;

        first_seen(&s, rows, &values, true);
        assert_int_equal(track_below(tracks_find(&tracks, 1), INTAKE_ALL, WINDOW_LONG).bytes, 0);
        s.usec += 5 * USEC_PER_SEC;
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, 32 * MIB);
        tracks_update(&tracks, &s, false, PAGE);
        assert_int_equal(taken(2, WINDOW_LONG), 2 * MIB);
        assert_int_equal(track_below(tracks_find(&tracks, 1), INTAKE_ALL, WINDOW_LONG).bytes, 2 * MIB);
}

static void look_at(const uint64_t *ids, size_t n) {
        CgroupSample rows[4];
        RowValues values[4];

        for (size_t i = 0; i < n; i++) {
                rows[i] = (CgroupSample) { .id = ids[i], .path = "/x.service", .kind = CGROUP_KIND_UNIT, .use = values[i].use };
                cgroup_sample_set(&rows[i], CGROUP_MEMORY_CURRENT, ids[i]);
        }
        tracks_update(&tracks, &(Sample) { .usec = USEC_PER_SEC, .cgroups = rows, .n_cgroups = n, .complete = true }, false, PAGE);
}

static bool has(uint64_t id) {
        const Track *t = tracks_find(&tracks, id);

        return t && t->id == id && t->last.current == id;
}

/* Those that share a bucket are told apart, whoever of them goes; the place of one that is gone is used again. */
static void test_who_goes_is_forgotten(void **state _unused_) {
        enum { A = 7, B = A + TRACKS_MAX, C = B + TRACKS_MAX, D = C + TRACKS_MAX };

        look_at((uint64_t[]) { A, B, C }, 3);
        assert_true(has(A) && has(B) && has(C));
        look_at((uint64_t[]) { A, C }, 2);
        assert_true(has(A) && !has(B) && has(C));
        look_at((uint64_t[]) { A, D }, 2);
        assert_true(has(A) && !has(C) && has(D));
        look_at((uint64_t[]) { D }, 1);
        assert_true(!has(A) && has(D));
        look_at((uint64_t[]) { A, B, D }, 3);
        assert_true(has(A) && has(B) && has(D));
        assert_int_equal(tracks.n_slots, 3);
}

/* A thousand new cgroups in a unit with each look, none of them complete: a service that starts meanwhile is seen; and what is in a
 * unit and was forgotten for that took in nothing when it is seen again. */
static void test_who_makes_many_keeps_nobody_out(void **state _unused_) {
        enum { PART = 1000, UNIT = 1, OLD, SERVICE, FIRST };
        static CgroupSample rows[PART + 2];
        static RowValues values;
        RowValues old = {}, service = {};
        Sample s = { .usec = USEC_PER_SEC, .cgroups = rows, .complete = true };
        uint64_t id = FIRST;

        rows[0] = (CgroupSample) { .id = UNIT, .path = "/a.service", .kind = CGROUP_KIND_UNIT, .use = values.use };
        rows[1] = (CgroupSample) { .id = OLD, .parent_id = UNIT, .path = "/a.service/old", .kind = CGROUP_KIND_INNER, .use = old.use };
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, 50 * MIB);
        s.n_cgroups = 2;
        tracks_update(&tracks, &s, false, PAGE);
        s.complete = false;
        s.n_cgroups = PART;
        for (unsigned i = 0; i <= TRACKS_MAX / PART; i++) {
                s.usec += 100 * USEC_PER_MSEC;
                for (unsigned k = 1; k < PART; k++)
                        rows[k] = (CgroupSample) { .id = id++, .parent_id = UNIT, .path = "/a.service/x", .kind = CGROUP_KIND_INNER,
                                                   .use = values.use };
                tracks_update(&tracks, &s, false, PAGE);
        }
        rows[1] = (CgroupSample) { .id = OLD, .parent_id = UNIT, .path = "/a.service/old", .kind = CGROUP_KIND_INNER, .use = old.use };
        cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, 50 * MIB);
        rows[PART] = (CgroupSample) { .id = SERVICE, .path = "/b.service", .kind = CGROUP_KIND_UNIT, .use = service.use };
        cgroup_sample_set(&rows[PART], CGROUP_MEMORY_CURRENT, 30 * MIB);
        s.n_cgroups = PART + 1;
        s.usec += 100 * USEC_PER_MSEC;
        tracks_update(&tracks, &s, false, PAGE);
        assert_int_equal(tracks.dropped, 0);
        assert_non_null(tracks_find(&tracks, SERVICE));
        assert_int_equal(taken(SERVICE, WINDOW_LONG), 30 * MIB);
        s.usec += 100 * USEC_PER_MSEC;
        tracks_update(&tracks, &s, false, PAGE);
        assert_int_equal(taken(OLD, WINDOW_LONG), 0);
}

/* As many as there are places for do some io in a unit; so does then a service that had done none. */
static void test_io_of_many_keeps_nobody_out(void **state _unused_) {
        static CgroupSample rows[IO_TRACKS_MAX + 1];
        static RowValues values;
        IoLine line = { 8, 0, { [IO_READ_BYTES] = 4096, [IO_READS] = 1 } }, done[IO_DEVICES_MAX];
        Sample s = { .usec = USEC_PER_SEC, .cgroups = rows, .n_cgroups = ARRAY_SIZE(rows), .complete = true };
        uint64_t usec;
        size_t n;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                rows[i] = (CgroupSample) { .id = i + 1, .path = "/a.service/x", .kind = CGROUP_KIND_INNER, .use = values.use, .io = &line,
                                           .n_io = i < IO_TRACKS_MAX };
        rows[IO_TRACKS_MAX].kind = CGROUP_KIND_UNIT;
        tracks_update(&tracks, &s, false, PAGE);
        s.usec += 200 * USEC_PER_MSEC;
        rows[IO_TRACKS_MAX].n_io = 1;
        tracks_update(&tracks, &s, false, PAGE);
        assert_true(track_io(&tracks, tracks_find(&tracks, IO_TRACKS_MAX + 1), WINDOW_RECENT, done, &n, &usec));
        assert_int_equal(n, 1);
        assert_int_equal(done[0].v[IO_READ_BYTES], 4096);
}

/* Every tenth of a second a service turns over 20 MiB of page cache and takes in 5 more, and from others in its slice 10 MiB are
 * stolen, as from those outside of it. */
typedef struct Turn {
        uint64_t high, max;             /* limit of the service; 0 = none */
        uint64_t slice_high;            /* … of the slice */
        uint64_t times;                 /* that either ran into it in between */
        bool held;                      /* the service's is our own */
        bool inner;                     /* it is a cgroup in a service */
        uint64_t rest_usec;             /* the look is the first after so much rest */
} Turn;

static void turn(const Turn *f, unsigned look_number) {
        static const char *const paths[] = { "/", "/a.slice", "/a.slice/stream.service" };
        RowValues values[3];
        CgroupSample rows[3];

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                bool own = i == 2 ? f->high || f->max : i == 1 && f->slice_high;
                const CgroupKind kinds[] = { CGROUP_KIND_ROOT, CGROUP_KIND_SLICE, f->inner ? CGROUP_KIND_INNER : CGROUP_KIND_UNIT };

                rows[i] = (CgroupSample) { .id = i + 1, .parent_id = i, .path = paths[i], .use = values[i].use, .detail = values[i].detail,
                                           .kind = kinds[i] };
                cgroup_sample_set(&rows[i], CGROUP_MEMORY_CURRENT, (1000 + 5 * look_number) * MIB);
                cgroup_sample_set(&rows[i], CGROUP_PGSTEAL, (1000 + look_number * (40 - 10 * i)) * MIB / PAGE);
                cgroup_sample_set(&rows[i], CGROUP_CACHE, 50 * MIB);
                cgroup_sample_set(&rows[i], CGROUP_MEMORY_HIGH, (i == 2 ? f->high : i == 1 ? f->slice_high : 0) ?: LIMIT_MAX);
                cgroup_sample_set(&rows[i], CGROUP_MEMORY_MAX, (i == 2 ? f->max : 0) ?: LIMIT_MAX);
                cgroup_sample_set(&rows[i], CGROUP_EVENTS_HIGH, own && !f->max ? look_number * f->times : 0);
                cgroup_sample_set(&rows[i], CGROUP_EVENTS_MAX, own && f->max ? look_number * f->times : 0);
        }
        if (f->held)
                tracks_hold(&tracks, 3);
        tracks_update(&tracks, &(Sample) { .usec = (look_number + 10) * USEC_PER_SEC / 10 + f->rest_usec, .cgroups = rows,
                                            .n_cgroups = 3, .complete = true }, f->rest_usec > 0, PAGE);
}

/* Of each of its three, MiB in a tenth of a second. */
static void assert_intake(uint64_t id, uint64_t from_others, uint64_t all, uint64_t kept) {
        const uint64_t mib[] = { [INTAKE_FROM_OTHERS] = from_others, [INTAKE_ALL] = all, [INTAKE_KEPT] = kept };
        Intake in;

        for (int m = 0; m < _INTAKE_MEASURE_MAX; m++) {
                assert_true(track_intake(tracks_find(&tracks, id), (IntakeMeasure) m, WINDOW_RECENT, PAGE, &in));
                assert_int_equal(in.bytes, mib[m] * MIB * (in.usec * 10 / USEC_PER_SEC));
        }
}

static void assert_turned(const Turn *f, uint64_t service, uint64_t slice, uint64_t root) {
        for (unsigned looks = 2; looks < 14; looks++) {
                assert_int_equal(tracks_init(&tracks), 0);
                for (unsigned i = 0; i < looks; i++)
                        turn(f, i);
                assert_intake(1, root, 45, 5);
                assert_intake(2, slice, 35, 5);
                assert_intake(3, service, 25, 5);
                assert_int_equal(track_turns_over(tracks_find(&tracks, 2)), f->slice_high > 0);
                tracks_done(&tracks);
        }
}

static void test_turned_over_at_a_limit(void **state _unused_) {
        assert_turned(&(Turn) {}, 25, 35, 45);
        assert_turned(&(Turn) { .high = 1060 * MIB, .times = 3 }, 5, 15, 25);
        assert_turned(&(Turn) { .max = 1060 * MIB, .times = 3 }, 5, 15, 25);
        assert_turned(&(Turn) { .slice_high = 1060 * MIB, .times = 3 }, 5, 5, 15);
        assert_turned(&(Turn) { .slice_high = 1060 * MIB, .high = 1060 * MIB, .times = 3 }, 5, 5, 15);
        /* It did not run into it, or is far from it: others stole it. */
        assert_turned(&(Turn) { .high = 1060 * MIB }, 25, 35, 45);
        assert_turned(&(Turn) { .high = 2000 * MIB, .times = 3 }, 25, 35, 45);
        /* It took from others what we hold it at; and a limit in a unit is set by whoever has it. */
        assert_turned(&(Turn) { .high = 1060 * MIB, .times = 3, .inner = true }, 25, 35, 45);
        assert_turned(&(Turn) { .high = 1060 * MIB, .times = 3, .held = true }, 25, 35, 45);
        assert_turned(&(Turn) { .high = 1060 * MIB, .max = 1061 * MIB, .times = 3, .held = true }, 25, 35, 45);
        /* We hold it higher than its own limit is. */
        assert_turned(&(Turn) { .high = 1061 * MIB, .max = 1060 * MIB, .times = 3, .held = true }, 5, 15, 25);
}

/* What was turned over at rest is no sign that the limit is reached now. */
static void test_turned_over_before_rest(void **state _unused_) {
        for (unsigned i = 0; i < 4; i++)
                turn(&(Turn) { .slice_high = 1060 * MIB, .times = 3, .rest_usec = i == 3 ? 10 * USEC_PER_SEC : 0 }, i);
        assert_false(track_turns_over(tracks_find(&tracks, 2)));
}

/* What a service fetches back from swap is not taken in, whether its place there stays taken or not; nor is page cache kept, nor what
 * was fetched back of that. */
static void test_kept(void **state _unused_) {
        static const struct {
                uint64_t current, swap, file, swapcached, activate, kept;       /* MiB, at the second look; 100, 40, 50, 10 and 0 at the first */
        } cases[] = {
                { 120, 40, 50, 10, 0, 20 },
                { 120, 40, 70, 10, 0, 0 },
                { 120, 40, 30, 10, 0, 40 },
                { 100, 60, 50, 10, 0, 20 },
                { 90, 60, 50, 10, 0, 10 },
                { 120, 40, 50, 30, 20, 0 },
                { 120, 20, 50, 10, 20, 0 },
                { 180, 0, 50, 0, 60, 50 },
                /* It leaks into swap, and works on what is there. */
                { 100, 60, 50, 10, 35, 20 },
                { 100, 95, 50, 45, 35, 20 },
                /* It leaks, and reads the same file again and again. */
                { 120, 40, 50, 10, 500, 20 },
        };
        RowValues v;
        Intake in;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(tracks_init(&tracks), 0);
                for (unsigned k = 0; k < 2; k++) {
                        CgroupSample c = { .id = 3, .path = "/a.service", .kind = CGROUP_KIND_UNIT, .use = v.use };

                        cgroup_sample_set(&c, CGROUP_MEMORY_CURRENT, (k ? cases[i].current : 100) * MIB);
                        cgroup_sample_set(&c, CGROUP_SWAP_CURRENT, (k ? cases[i].swap : 40) * MIB);
                        cgroup_sample_set(&c, CGROUP_CACHE, (k ? cases[i].file + cases[i].swapcached : 60) * MIB);
                        cgroup_sample_set(&c, CGROUP_PGSTEAL, 0);
                        cgroup_sample_set(&c, CGROUP_WORKINGSET_ACTIVATE, (k ? cases[i].activate : 0) * MIB / PAGE);
                        tracks_update(&tracks, &(Sample) { .usec = (10 + k) * USEC_PER_SEC / 10, .cgroups = &c, .n_cgroups = 1, .complete = true },
                                      false, PAGE);
                }
                assert_true(track_intake(tracks_find(&tracks, 3), INTAKE_KEPT, WINDOW_RECENT, PAGE, &in));
                assert_int_equal(in.bytes, cases[i].kept * MIB);
                tracks_done(&tracks);
        }
}

/* What one had reclaimed at its own limit and fetched back again it did not give to anybody: it hides no growth, here nor in swap. */
static void test_thrashing_at_a_limit_hides_nothing(void **state _unused_) {
        for (unsigned swaps = 0; swaps < 2; swaps++) {
                RowValues v;
                Intake in;

                assert_int_equal(tracks_init(&tracks), 0);
                for (unsigned k = 0; k < 4; k++) {
                        CgroupSample c = { .id = 3, .path = "/a.service", .kind = CGROUP_KIND_UNIT, .use = v.use, .detail = v.detail };

                        cgroup_sample_set(&c, CGROUP_MEMORY_CURRENT, (1000 + (swaps ? 0 : 5 * k)) * MIB);
                        cgroup_sample_set(&c, CGROUP_SWAP_CURRENT, (100 + (swaps ? 5 * k : 0)) * MIB);
                        cgroup_sample_set(&c, CGROUP_PGSTEAL, 20 * k * MIB / PAGE);
                        cgroup_sample_set(&c, CGROUP_WORKINGSET_ACTIVATE, 20 * k * MIB / PAGE);
                        cgroup_sample_set(&c, CGROUP_MEMORY_HIGH, 1010 * MIB);
                        cgroup_sample_set(&c, CGROUP_MEMORY_MAX, LIMIT_MAX);
                        cgroup_sample_set(&c, CGROUP_EVENTS_HIGH, 9 * k);
                        cgroup_sample_set(&c, CGROUP_EVENTS_MAX, 0);
                        cgroup_sample_set(&c, CGROUP_MEMORY_SOME, 0);
                        cgroup_sample_set(&c, CGROUP_MEMORY_FULL, 0);
                        tracks_update(&tracks, &(Sample) { .usec = (10 + k) * USEC_PER_SEC / 10, .cgroups = &c, .n_cgroups = 1, .complete = true },
                                      false, PAGE);
                }
                assert_true(track_intake(tracks_find(&tracks, 3), INTAKE_FROM_OTHERS, WINDOW_RECENT, PAGE, &in));
                assert_int_equal(in.bytes, 15 * MIB);
                tracks_done(&tracks);
        }
}

/* Whoever has a delegated tree can have any number turn over much at limits of their own, and go: what a leak took in that died is
 * remembered all the same. */
static void test_buried_leak_beside_streams_that_go(void **state _unused_) {
        enum { N = BURIED_MAX + 3, LEAK = N };
        uint64_t bytes, rate;
        CgroupSample rows[N + 1];
        RowValues values[N + 1];
        Sample s = { .cgroups = rows, .n_cgroups = N + 1, .complete = true };

        for (unsigned k = 0; k < 4; k++) {
                for (unsigned i = 0; i < N + 1; i++) {
                        bool stream = i > 0 && i < LEAK;

                        rows[i] = (CgroupSample) { .id = i + 1, .parent_id = i ? 1 : 0, .path = i ? "/a.service" : "/", .use = values[i].use,
                                                   .detail = values[i].detail, .kind = i ? CGROUP_KIND_UNIT : CGROUP_KIND_ROOT };
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_CURRENT, (10 + (i == LEAK ? 50 * k : 0)) * MIB);
                        cgroup_sample_set(&rows[i], CGROUP_PGSTEAL, stream ? 500 * k * MIB / PAGE : 0);
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_HIGH, stream ? 10 * MIB : LIMIT_MAX);
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_MAX, LIMIT_MAX);
                        cgroup_sample_set(&rows[i], CGROUP_EVENTS_HIGH, stream ? 9 * k : 0);
                        cgroup_sample_set(&rows[i], CGROUP_EVENTS_MAX, 0);
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_SOME, 0);
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_FULL, 0);
                }
                s.usec = (10 + k) * USEC_PER_SEC / 10;
                tracks_update(&tracks, &s, false, PAGE);
        }
        for (uint64_t i = 1; i <= N; i++)
                tracks_bury(&tracks, i + 1, s.usec, PAGE);
        tracks_buried(&tracks, INTAKE_FROM_OTHERS, WINDOW_LONG, 1, s.usec, &bytes, &rate);
        assert_int_equal(bytes, 150 * MIB);
        /* There is room for some of the others. */
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, s.usec, &bytes, &rate);
        assert_int_equal(bytes, (150 + (BURIED_MAX - 1) * 1500) * MIB);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_still_until_it_moves, setup, teardown),
                cmocka_unit_test_setup_teardown(test_still_again, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_slice_that_stands_still, setup, teardown),
                cmocka_unit_test_setup_teardown(test_empty_ones_are_born_still, setup, teardown),
                cmocka_unit_test_setup_teardown(test_born_with_something, setup, teardown),
                cmocka_unit_test_setup_teardown(test_born_with_page_cache, setup, teardown),
                cmocka_unit_test_setup_teardown(test_late_with_something, setup, teardown),
                cmocka_unit_test_setup_teardown(test_who_goes_is_forgotten, setup, teardown),
                cmocka_unit_test_setup_teardown(test_who_makes_many_keeps_nobody_out, setup, teardown),
                cmocka_unit_test_setup_teardown(test_io_of_many_keeps_nobody_out, setup, teardown),
                cmocka_unit_test_setup_teardown(test_buried_leak_beside_streams_that_go, setup, teardown),
                cmocka_unit_test(test_turned_over_at_a_limit),
                cmocka_unit_test_setup_teardown(test_turned_over_before_rest, setup, teardown),
                cmocka_unit_test(test_thrashing_at_a_limit_hides_nothing),
                cmocka_unit_test(test_kept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
