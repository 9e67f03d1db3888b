/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Blame on samples whose rows do not fit each other: they are never read at one moment. */

#include "base/test.h"
#include "base/units.h"
#include "engine/blame.h"
#include "engine/test-world.h"

#define PAGE 4096
#define SHARE_MIN 5000

enum { ROOT, SIDELOAD, HOG, WORKLOAD, WEB, N_ROWS };

static Tracks tracks;

static int setup(void **state _unused_) {
        return tracks_init(&tracks);
}

static int teardown(void **state _unused_) {
        tracks_done(&tracks);
        return 0;
}

typedef struct Row {
        const char *path;
        uint64_t parent;                /* its row, from 1 */
        uint64_t mib[2];                /* at the first and the second look; UINT64_MAX = not there */
} Row;

/* Two looks at the rows, so many milliseconds apart. */
static void blame_rows(const Row *rows, size_t n, uint64_t msec, TrackWindow w, Blame *ret) {
        static RowValues values[8];
        static CgroupSample table[8];
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .complete = true };

        for (int look = 0; look < 2; look++) {
                s.n_cgroups = 0;
                for (size_t i = 0; i < n; i++) {
                        CgroupSample *c = &table[s.n_cgroups];

                        if (rows[i].mib[look] == UINT64_MAX)
                                continue;
                        *c = (CgroupSample) { .id = i + 1, .parent_id = rows[i].parent, .path = rows[i].path,
                                              .kind = i == 0 ? CGROUP_KIND_ROOT : endswith(rows[i].path, ".slice") ?
                                                              CGROUP_KIND_SLICE : CGROUP_KIND_UNIT,
                                              .use = values[s.n_cgroups].use };
                        cgroup_sample_set(c, CGROUP_MEMORY_CURRENT, rows[i].mib[look] * MIB);
                        s.n_cgroups++;
                }
                tracks_update(&tracks, &s, false, PAGE);
                if (look == 0)
                        s.usec += msec * USEC_PER_MSEC;
        }
        blame_find(&tracks, &s, w, SHARE_MIN, MIB, &(BlameScope) { .page_bytes = PAGE }, ret);
}

/* 180 ms apart; each row has grown by so many MiB meanwhile. */
static void blame_growth(const uint64_t grown_mib[static N_ROWS], Blame *ret) {
        Row rows[N_ROWS] = { [ROOT] = { "/" },
                             [SIDELOAD] = { "/sideload.slice", ROOT + 1 },
                             [HOG] = { "/sideload.slice/hog.service", SIDELOAD + 1 },
                             [WORKLOAD] = { "/workload.slice", ROOT + 1 },
                             [WEB] = { "/workload.slice/web.service", WORKLOAD + 1 } };

        for (size_t i = 0; i < N_ROWS; i++) {
                rows[i].mib[0] = 100;
                rows[i].mib[1] = 100 + grown_mib[i];
        }
        blame_rows(rows, N_ROWS, 180, WINDOW_RECENT, ret);
}

/* The hog was first read late and grew by half of what its slice grew by: it is still the hog. */
static void test_child_read_late(void **state _unused_) {
        Blame b;

        blame_growth((uint64_t[N_ROWS]) { [SIDELOAD] = 40, [HOG] = 21, [WORKLOAD] = 4, [WEB] = 4 }, &b);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/sideload.slice/hog.service");
        assert_int_equal(b.share_permyriad, 9090);
        assert_false(b.unexplained);
        assert_string_equal(b.candidates[0].path, "/sideload.slice/hog.service");
        assert_int_equal(b.candidates[0].share_permyriad, b.share_permyriad);
}

/* Swap in compressed memory (zram), of what hardly compresses: of three pages that are driven out of the neighbour two are used
 * up for it, in nobody's name, so thrice of what the hog takes in goes to swap. It is the hog's doing all the same. */
static void test_leak_beside_zram(void **state _unused_) {
        uint64_t in = 40 * MIB, out = 3 * in;
        RowValues values[3] = {};
        CgroupSample rows[3] = {
                { .id = 1, .path = "/", .kind = CGROUP_KIND_ROOT, .use = values[0].use },
                { .id = 2, .parent_id = 1, .path = "/hog.service", .kind = CGROUP_KIND_UNIT, .use = values[1].use },
                { .id = 3, .parent_id = 1, .path = "/idle.service", .kind = CGROUP_KIND_UNIT, .use = values[2].use },
        };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = rows, .n_cgroups = ARRAY_SIZE(rows), .complete = true };
        Blame b;

        for (uint64_t look = 0; look < 2; look++, s.usec += USEC_PER_SEC / 2) {
                sample_host_set(&s, HOST_MEMORY_TOTAL, 4096 * MIB);
                sample_host_set(&s, HOST_MEMORY_AVAILABLE, 100 * MIB + look * (out - out * 2 / 3 - in));
                sample_host_set(&s, HOST_SWAP_TOTAL, 4096 * MIB);
                sample_host_set(&s, HOST_SWAP_FREE, 4096 * MIB - look * out);
                cgroup_sample_set(&rows[1], CGROUP_MEMORY_CURRENT, 1000 * MIB + look * in);
                cgroup_sample_set(&rows[2], CGROUP_MEMORY_CURRENT, 1000 * MIB - look * out);
                cgroup_sample_set(&rows[2], CGROUP_SWAP_CURRENT, look * out);
                tracks_update(&tracks, &s, false, PAGE);
        }
        s.usec -= USEC_PER_SEC / 2;
        blame_find(&tracks, &s, WINDOW_RECENT, SHARE_MIN, MIB, &(BlameScope) { .page_bytes = PAGE }, &b);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/hog.service");
}

/* What a slice took in itself, or in services that are gone again, is not laid on the one that is there. */
static void test_growth_of_the_slice_itself(void **state _unused_) {
        Blame b;

        blame_growth((uint64_t[N_ROWS]) { [SIDELOAD] = 40, [HOG] = 5 }, &b);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/sideload.slice");
        assert_true(b.unexplained);
}

/* Two that share it: neither holds enough. */
static void test_shares_of_levels_multiply(void **state _unused_) {
        Blame b;

        blame_growth((uint64_t[N_ROWS]) { [SIDELOAD] = 11, [HOG] = 11, [WORKLOAD] = 9, [WEB] = 9 }, &b);
        assert_null(b.culprit);
        assert_int_equal(b.n_candidates, 2);
}

/* One in the slice took most of what the slice took, and not half of the whole: nobody, and not all in the slice. */
static void test_slice_is_not_to_blame_for_one(void **state _unused_) {
        const Row rows[] = { { "/" }, { "/a.slice", 1, { 100, 164 } }, { "/a.slice/x.service", 2, { 50, 99 } },
                             { "/a.slice/y.service", 2, { 50, 65 } }, { "/b.slice", 1, { 100, 136 } },
                             { "/b.slice/z.service", 4, { 100, 136 } } };
        Blame b;

        blame_rows(rows, ARRAY_SIZE(rows), 250, WINDOW_RECENT, &b);
        assert_true(b.measured);
        assert_null(b.culprit);
        assert_int_equal(b.candidates[0].cgroup_id, 3);
}

/* It leaks where one was that died: the slice has no more than before. */
static void test_successor_of_a_leak(void **state _unused_) {
        const Row rows[] = { { "/" }, { "/a.slice", 1, { 600, 590 } }, { "/a.slice/old.service", 2, { 560, UINT64_MAX } },
                             { "/a.slice/new.service", 2, { UINT64_MAX, 550 } }, { "/b.slice", 1, { 100, 124 } },
                             { "/b.slice/z.service", 5, { 100, 124 } } };
        Blame b;

        blame_rows(rows, ARRAY_SIZE(rows), 8000, WINDOW_LONG, &b);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/a.slice/new.service");
}

/* So many looks, half a second apart, at a victim in a slice at its limit, whose page cache is turned over a little; beside that slice,
 * in the one that both lie in, a reader that turns over much at a limit of its own; and a leak elsewhere. */
enum { TOP, ORG, APP, APP_WEB, READER, SIDE, LEAK, N_LIMITED };

static void look_at_limits(uint64_t looks, RowValues values[static N_LIMITED], CgroupSample rows[static N_LIMITED], Sample *s) {
        static const struct {
                const char *path;
                uint64_t parent, grown, stolen, limit;  /* in MiB a look */
        } figures[N_LIMITED] = {
                [TOP] = { "/", 0, 0, 0, 0 },
                [ORG] = { "/org.slice", TOP + 1, 0, 82, 0 },
                [APP] = { "/org.slice/org-app.slice", ORG + 1, 0, 2, 100 },
                [APP_WEB] = { "/org.slice/org-app.slice/web.service", APP + 1, 0, 2, 0 },
                [READER] = { "/org.slice/reader.service", ORG + 1, 0, 80, 100 },
                [SIDE] = { "/sideload.slice", TOP + 1, 30, 0, 0 },
                [LEAK] = { "/sideload.slice/leak.service", SIDE + 1, 30, 0, 0 },
        };

        *s = (Sample) { .usec = USEC_PER_SEC / 2, .cgroups = rows, .n_cgroups = N_LIMITED, .complete = true };
        for (uint64_t look = 1; look <= looks; look++) {
                s->usec += USEC_PER_SEC / 2;
                for (size_t i = 0; i < N_LIMITED; i++) {
                        rows[i] = (CgroupSample) { .id = i + 1, .parent_id = figures[i].parent, .path = figures[i].path,
                                                   .kind = i == TOP ? CGROUP_KIND_ROOT : endswith(figures[i].path, ".slice") ?
                                                                   CGROUP_KIND_SLICE : CGROUP_KIND_UNIT,
                                                   .use = values[i].use, .detail = values[i].detail };
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_CURRENT, (100 + look * figures[i].grown) * MIB);
                        cgroup_sample_set(&rows[i], CGROUP_PGSTEAL, look * figures[i].stolen * MIB / PAGE);
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_HIGH, figures[i].limit ? figures[i].limit * MIB : LIMIT_MAX);
                        cgroup_sample_set(&rows[i], CGROUP_MEMORY_MAX, LIMIT_MAX);
                        cgroup_sample_set(&rows[i], CGROUP_EVENTS_HIGH, figures[i].limit ? look : 0);
                        cgroup_sample_set(&rows[i], CGROUP_EVENTS_MAX, 0);
                }
                tracks_update(&tracks, s, false, PAGE);
        }
}

static void test_slice_above_the_limit(void **state _unused_) {
        RowValues values[N_LIMITED] = {};
        CgroupSample rows[N_LIMITED];
        Sample s;
        Blame b;

        look_at_limits(2, values, rows, &s);
        blame_find(&tracks, &s, WINDOW_RECENT, SHARE_MIN, MIB, &(BlameScope) { .page_bytes = PAGE, .at_limit = &rows[APP] }, &b);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/sideload.slice/leak.service");
        assert_true(b.whole_bytes == 32 * MIB);
        /* What the reader turned over he took from nobody when he is gone, either. */
        tracks_bury(&tracks, READER + 1, s.usec, PAGE);
        blame_find(&tracks, &s, WINDOW_RECENT, SHARE_MIN, MIB, &(BlameScope) { .page_bytes = PAGE, .at_limit = &rows[APP] }, &b);
        assert_true(b.whole_bytes == 32 * MIB);
}

static void assert_buried(uint64_t mib) {
        uint64_t bytes, rate, now = 0;

        for (size_t i = 0; i < BURIED_MAX; i++)
                now = MAX(now, tracks.buried[i].usec);
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, now, &bytes, &rate);
        assert_true(bytes == mib * MIB);
        assert_true((rate > 0) == (mib > 0));
}

/* A service that goes with its slice took in once what both show. */
static void test_buried_once(void **state _unused_) {
        Blame b;

        blame_growth((uint64_t[N_ROWS]) { [SIDELOAD] = 40, [HOG] = 38, [WORKLOAD] = 4, [WEB] = 4 }, &b);
        tracks_bury(&tracks, HOG + 1, USEC_PER_SEC + 200 * USEC_PER_MSEC, PAGE);
        assert_buried(38);
        tracks_bury(&tracks, HOG + 1, USEC_PER_SEC + 200 * USEC_PER_MSEC, PAGE);
        assert_buried(38);
        tracks_bury(&tracks, SIDELOAD + 1, USEC_PER_SEC + 200 * USEC_PER_MSEC, PAGE);
        assert_buried(40);
}

/* Who lay in another slice took nothing of what this one's limit leaves. */
static void test_buried_elsewhere(void **state _unused_) {
        uint64_t sampled = USEC_PER_SEC + 200 * USEC_PER_MSEC, bytes, rate;
        Blame b;

        blame_growth((uint64_t[N_ROWS]) { [SIDELOAD] = 40, [HOG] = 38, [WORKLOAD] = 4, [WEB] = 4 }, &b);
        tracks_bury(&tracks, HOG + 1, sampled, PAGE);
        tracks_bury(&tracks, WEB + 1, sampled, PAGE);
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, WORKLOAD + 1, sampled, &bytes, &rate);
        assert_true(bytes == 4 * MIB);
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, SIDELOAD + 1, sampled, &bytes, &rate);
        assert_true(bytes == 38 * MIB);
}

/* One is buried as of the step, the other as of the step's sample, which was taken before. */
static void test_buried_by_an_event(void **state _unused_) {
        uint64_t sampled = USEC_PER_SEC + 200 * USEC_PER_MSEC, bytes, rate;
        Blame b;

        blame_growth((uint64_t[N_ROWS]) { [SIDELOAD] = 40, [HOG] = 38, [WORKLOAD] = 4, [WEB] = 4 }, &b);
        tracks_bury(&tracks, HOG + 1, sampled + 3 * USEC_PER_MSEC, PAGE);
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, sampled, &bytes, &rate);
        assert_true(bytes == 38 * MIB);
        tracks_bury(&tracks, WEB + 1, sampled, PAGE);
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, sampled, &bytes, &rate);
        assert_true(bytes == 42 * MIB);
}

/* Many small ones that come and go do not make it forget the large one. */
static void test_large_ones_stay_buried(void **state _unused_) {
        enum { N = 2 * BURIED_MAX };
        RowValues values[N + 1];
        CgroupSample table[N + 1] = { { .id = 1, .path = "/", .kind = CGROUP_KIND_ROOT } };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .n_cgroups = N + 1, .complete = true };
        uint64_t bytes, rate;

        for (uint64_t i = 1; i <= N; i++) {
                table[i] = (CgroupSample) { .id = i + 1, .parent_id = 1, .path = "/x.service", .kind = CGROUP_KIND_UNIT,
                                            .use = values[i].use };
                cgroup_sample_set(&table[i], CGROUP_MEMORY_CURRENT, 100 * MIB);
        }
        tracks_update(&tracks, &s, true, PAGE);
        s.usec += 180 * USEC_PER_MSEC;
        cgroup_sample_set(&table[1], CGROUP_MEMORY_CURRENT, 600 * MIB);
        for (size_t i = 2; i <= N; i++)
                cgroup_sample_set(&table[i], CGROUP_MEMORY_CURRENT, 101 * MIB);
        tracks_update(&tracks, &s, false, PAGE);
        for (uint64_t i = 1; i <= N; i++)
                tracks_bury(&tracks, i + 1, s.usec, PAGE);
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, s.usec, &bytes, &rate);
        assert_true(bytes == (500 + BURIED_MAX - 1) * MIB);
        /* Who comes after them counts more and more. */
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, s.usec + 5 * USEC_PER_SEC, &bytes, &rate);
        assert_true(bytes == (500 + BURIED_MAX - 1) * MIB / 2);
        /* What the window no longer reaches back to is over. */
        tracks_buried(&tracks, INTAKE_ALL, WINDOW_LONG, 1, s.usec + 11 * USEC_PER_SEC, &bytes, &rate);
        assert_true(bytes == 0 && rate == 0);
}

/* One service, looked at every 100 ms: what it has, and what was stolen from it so far; UINT64_MAX = unreadable. */
static void one_unit(const uint64_t mib[], const uint64_t stolen_mib[], size_t n) {
        RowValues values;
        CgroupSample table[] = { { .id = 1, .path = "/", .kind = CGROUP_KIND_ROOT },
                                 { .id = 2, .parent_id = 1, .path = "/x.service", .kind = CGROUP_KIND_UNIT, .use = values.use } };
        Sample s = { .usec = tracks.complete_usec + 100 * USEC_PER_MSEC, .cgroups = table, .n_cgroups = 2, .complete = true };

        for (size_t i = 0; i < n; i++, s.usec += 100 * USEC_PER_MSEC) {
                table[1].have = 0;
                if (mib[i] != UINT64_MAX)
                        cgroup_sample_set(&table[1], CGROUP_MEMORY_CURRENT, mib[i] * MIB);
                cgroup_sample_set(&table[1], CGROUP_PGSTEAL, stolen_mib[i] * MIB / PAGE);
                tracks_update(&tracks, &s, false, PAGE);
        }
}

/* Its process ends, which takes a moment, and its cgroup is still there. */
static void test_dead_are_buried(void **state _unused_) {
        one_unit((uint64_t[]) { 10, 200, 400, 300, 220, 150, 90, 0 }, (uint64_t[8]) {}, 8);
        assert_buried(390);
}

/* It lives and takes in again. */
static void test_who_breathes_is_not_buried(void **state _unused_) {
        one_unit((uint64_t[]) { 10, 200, 400, 0 }, (uint64_t[4]) {}, 4);
        assert_buried(390);
        one_unit((uint64_t[]) { 40, 100 }, (uint64_t[2]) {}, 2);
        assert_buried(0);
}

/* What was stolen from it, and what could not be read, is not what it gave back. */
static void test_squeezed_are_not_buried(void **state _unused_) {
        one_unit((uint64_t[]) { 10, 200, 400, 300, 60, 60 }, (uint64_t[]) { 0, 0, 0, 100, 340, 340 }, 6);
        assert_buried(0);
}

static void test_unread_are_not_buried(void **state _unused_) {
        one_unit((uint64_t[]) { 10, 200, 400, UINT64_MAX, UINT64_MAX }, (uint64_t[5]) {}, 5);
        assert_buried(0);
}

/* Io: who keeps the disk busy, and for whom the victim waits. */

enum { SLOT_REST, SLOT_ROOT, SLOT_HOG, SLOT_STREAM, SLOT_WEB, SLOT_SIDELOAD };

static IoCredit credit;

static void credit_wait(size_t victim, size_t culprit, uint64_t msec) {
        credit.wait_usec[victim][culprit] += msec * USEC_PER_MSEC;
}

/* Two looks 100 ms apart: a stream moves 50 MiB in the shade, the hog does 40 small operations, and the service waited
 * for them as `waits` says. */
static void blame_io(void (*waits)(void), Blame *ret, BlameScope *ret_scope) {
        static const char *const paths[] = { "/", "/sideload.slice", "/sideload.slice/hog.service",
                                             "/sideload.slice/stream.service", "/workload.slice",
                                             "/workload.slice/web.service" };
        static const uint64_t parents[] = { 0, 1, 2, 2, 1, 5 };
        static const uint64_t mib[] = { 0, 51, 1, 50, 1, 1 }, ios[] = { 0, 90, 40, 50, 10, 10 };
        static CgroupSample table[ARRAY_SIZE(paths)];
        static IoLine lines[ARRAY_SIZE(paths)];
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .n_cgroups = ARRAY_SIZE(paths), .complete = true,
                     .credit = &credit };
        Waits w = {};

        credit.slots[SLOT_ROOT].cgroup_id = 1;
        credit.slots[SLOT_ROOT].path = "/";
        credit.slots[SLOT_HOG].cgroup_id = 3;
        credit.slots[SLOT_HOG].path = paths[2];
        credit.slots[SLOT_STREAM].cgroup_id = 4;
        credit.slots[SLOT_STREAM].path = paths[3];
        credit.slots[SLOT_SIDELOAD].cgroup_id = 2;
        credit.slots[SLOT_SIDELOAD].path = paths[1];
        credit.slots[SLOT_WEB].cgroup_id = 6;
        credit.slots[SLOT_WEB].path = paths[5];
        for (int look = 0; look < 2; look++) {
                for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                        lines[i] = (IoLine) { .major = 254, .v = { [IO_READ_BYTES] = look * mib[i] * MIB, [IO_READS] = look * ios[i] } };
                        table[i] = (CgroupSample) { .id = i + 1, .parent_id = parents[i], .path = paths[i],
                                                    .kind = i == 0 ? CGROUP_KIND_ROOT : endswith(paths[i], ".slice") ?
                                                                    CGROUP_KIND_SLICE : CGROUP_KIND_UNIT,
                                                    .io = &lines[i], .n_io = 1, .io_usec = s.usec };
                }
                credit.usec = s.usec;
                tracks_update(&tracks, &s, false, PAGE);
                waits_update(&w, &s, false);
                if (look == 0) {
                        s.usec += 100 * USEC_PER_MSEC;
                        waits();
                }
        }
        blame_scope(ret_scope, RESOURCE_IO, &tracks, &w, &s, "/workload.slice", PAGE);
        blame_find(&tracks, &s, WINDOW_LAST, SHARE_MIN, MIB, ret_scope, ret);
}

static void waits_hog(void) {
        credit_wait(SLOT_WEB, SLOT_HOG, 70);
        credit_wait(SLOT_WEB, SLOT_STREAM, 10);
        credit_wait(SLOT_WEB, SLOT_WEB, 20);            /* for itself */
        credit_wait(SLOT_STREAM, SLOT_WEB, 900);        /* and others' waiting: neither is asked for */
}

static void waits_hardly(void) {
        credit_wait(SLOT_WEB, SLOT_HOG, 3);
}

static void waits_for_itself(void) {
        credit_wait(SLOT_WEB, SLOT_WEB, 80);
        credit_wait(SLOT_WEB, SLOT_HOG, 20);
}

static void waits_for_nobody(void) {
        credit_wait(SLOT_WEB, SLOT_WEB, 80);
}

static void waits_kernel(void) {
        credit_wait(SLOT_WEB, SLOT_HOG, 10);
        credit_wait(SLOT_WEB, SLOT_ROOT, 70);
}

/* Who does most of the work has no slot, and was counted there. */
static void waits_newcomer(void) {
        waits_kernel();
        credit.slots[SLOT_STREAM].since_usec = USEC_PER_SEC;
}

static void waits_slice(void) {
        credit_wait(SLOT_WEB, SLOT_HOG, 20);
        credit_wait(SLOT_WEB, SLOT_SIDELOAD, 50);
}

static int setup_credit(void **state) {
        credit = (IoCredit) {};
        return setup(state);
}

static void test_who_makes_wait(void **state _unused_) {
        BlameScope scope;
        Blame b;

        blame_io(waits_hog, &b, &scope);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/sideload.slice/hog.service");
        assert_int_equal(b.share_permyriad, 8750);
        assert_int_equal(b.whole_waited_usec, 80 * USEC_PER_MSEC);
        assert_int_equal(b.candidates[0].waited_usec, 70 * USEC_PER_MSEC);
}

/* It waits for something else, a journal maybe, or for itself: then the share of the work is all there is. */
static void test_hardly_waits(void **state _unused_) {
        BlameScope scope;
        Blame b;

        blame_io(waits_for_itself, &b, &scope);
        assert_int_equal(b.whole_waited_usec, 0);
        assert_int_equal(scope.waits.own_usec, 80 * USEC_PER_MSEC);
        tracks_done(&tracks);
        (void) setup_credit(NULL);
        blame_io(waits_for_nobody, &b, &scope);
        assert_int_equal(scope.waits.own_usec, 80 * USEC_PER_MSEC);
        tracks_done(&tracks);
        (void) setup_credit(NULL);
        blame_io(waits_hardly, &b, &scope);
        assert_non_null(b.culprit);
        assert_string_equal(b.culprit->path, "/sideload.slice/stream.service");
        assert_int_equal(b.whole_waited_usec, 0);
        assert_int_equal(scope.waits.own_usec, 0);
        assert_true(scope.stall_usec == UINT64_MAX);
}

static void test_waits_for_the_kernel(void **state _unused_) {
        BlameScope scope;
        Blame b;

        blame_io(waits_kernel, &b, &scope);
        assert_null(b.culprit);
        assert_int_equal(b.whole_waited_usec, 80 * USEC_PER_MSEC);
}

/* The kernel, or who does most of the work and has had no slot for long: the waits do not tell. */
static void test_waits_for_a_newcomer(void **state _unused_) {
        BlameScope scope;
        Blame b;

        blame_io(waits_newcomer, &b, &scope);
        assert_int_equal(b.whole_waited_usec, 0);
        assert_string_equal(b.culprit->path, "/sideload.slice/stream.service");
}

/* Somebody in it has no slot yet: not a word on who it is. */
static void test_waits_for_a_slice(void **state _unused_) {
        BlameScope scope;
        Blame b;

        blame_io(waits_slice, &b, &scope);
        assert_int_equal(b.whole_waited_usec, 0);
        assert_string_equal(b.culprit->path, "/sideload.slice/stream.service");
}

/* In the few milliseconds between two looks one request ends, or two. */
static void test_waits_of_a_short_moment(void **state _unused_) {
        static const uint64_t apart[] = { 0, 100 * USEC_PER_MSEC, 15 * USEC_PER_MSEC };
        Sample s = { .usec = USEC_PER_SEC, .credit = &credit };
        WaitShares shares;
        Waits w = {};

        credit.slots[SLOT_WEB].cgroup_id = 6;
        credit.slots[SLOT_WEB].path = "/workload.slice/web.service";
        for (size_t look = 0; look < ARRAY_SIZE(apart); look++) {
                s.usec += apart[look];
                credit.usec = s.usec;
                if (look > 0)
                        credit_wait(SLOT_WEB, look == 1 ? SLOT_HOG : SLOT_STREAM, look == 1 ? 70 : 6);
                waits_update(&w, &s, false);
        }
        waits_shares(&w, &credit, "/workload.slice", &shares);
        assert_true(shares.known);
        assert_int_equal(shares.usec, 115 * USEC_PER_MSEC);
        assert_int_equal(shares.slot_usec[SLOT_HOG], 70 * USEC_PER_MSEC);
        assert_int_equal(shares.slot_usec[SLOT_STREAM], 6 * USEC_PER_MSEC);
}

/* What the slot counted before it was the hog's is another's. */
static void test_slot_changed_hands(void **state _unused_) {
        BlameScope scope;
        Blame b;

        credit.slots[SLOT_HOG].since_usec = USEC_PER_SEC + 50 * USEC_PER_MSEC;
        blame_io(waits_hog, &b, &scope);
        assert_int_equal(b.whole_waited_usec, 0);
}

/* A slot that was given a moment ago lacks what was on its way when it was; all together it is known what was done. */
static void test_done_of_a_new_slot(void **state _unused_) {
        CgroupSample table[] = { { .id = 1, .path = "/" }, { .id = 3, .parent_id = 1, .path = "/hog.service" } };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .n_cgroups = ARRAY_SIZE(table), .credit = &credit };
        IoLine lines[IO_DEVICES_MAX], disk = { .major = 254 }, all;
        Waits w = {};
        size_t n;

        credit.n_devices = 1;
        for (size_t k = 0; k < IO_SLOTS; k++)
                credit.done[k][0].major = 254;
        credit.slots[SLOT_HOG].cgroup_id = 3;
        credit.slots[SLOT_HOG].path = "/hog.service";
        credit.slots[SLOT_HOG].since_usec = s.usec;
        for (int look = 0; look < 40; look++, s.usec += 100 * USEC_PER_MSEC) {
                credit.usec = s.usec;
                waits_update(&w, &s, look == 10);
                /* After a rest it is known again when there are two looks. */
                assert_int_equal(waits_device_done(&w, &credit, &disk, WINDOW_LAST, &all), look != 0);
                assert_int_equal(waits_device_done(&w, &credit, &disk, WINDOW_RECENT, &all), look != 0 && look != 10);
                if (look > 10)
                        assert_int_equal(all.v[IO_WRITE_BYTES], 50 * MIB);
                assert_int_equal(waits_done(&w, &credit, &table[1], WINDOW_LAST, lines, &n), look > 10);
                if (look > 10)
                        assert_int_equal(lines[0].v[IO_WRITE_BYTES], 50 * MIB);
                /* What was on its way at first is counted under who had the slot before. */
                credit.done[look < 10 ? SLOT_REST : SLOT_HOG][0].v[IO_WRITE_BYTES] += 5 * MIB;
        }
        /* What was done in a long time says nothing of the last moment. */
        s.usec += USEC_PER_SEC;
        credit.usec = s.usec;
        waits_update(&w, &s, false);
        assert_false(waits_device_done(&w, &credit, &disk, WINDOW_LAST, &all));
}

/* A device that comes again by the number of one that went counts from nothing. */
static void test_device_comes_anew(void **state _unused_) {
        static const uint64_t reads[] = { 1000, 1010, 0, 5, 105, 205, 5000 }, last[] = { 0, 10, 0, 5, 100, 100, 4795 };
        CgroupSample row = { .id = 1, .path = "/" };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = &row, .n_cgroups = 1, .complete = true };
        IoLine line = { .major = 252 }, ret[IO_DEVICES_MAX];
        uint64_t usec;
        size_t n;

        for (size_t i = 0; i < ARRAY_SIZE(reads); i++, s.usec += 100 * USEC_PER_MSEC) {
                line.v[IO_READS] = reads[i];
                row.io = &line;
                /* It has no line while it is gone. */
                row.n_io = reads[i] > 0;
                row.io_usec = s.usec;
                tracks_update(&tracks, &s, false, PAGE);
                if (i == 0)
                        continue;
                assert_true(track_io(&tracks, tracks_find(&tracks, 1), WINDOW_LAST, ret, &n, &usec));
                assert_int_equal(n, row.n_io);
                if (n > 0)
                        assert_int_equal(ret[0].v[IO_READS], last[i]);
        }
        assert_true(track_io(&tracks, tracks_find(&tracks, 1), WINDOW_LONG, ret, &n, &usec));
        assert_int_equal(ret[0].v[IO_READS], 5000);
}

/* Of many devices others are looked at than before: what was done there is counted from then on. */
static void test_other_devices_are_chosen(void **state _unused_) {
        IoLine lines[] = { { .major = 252, .v[IO_READS] = 100 }, { .major = 253, .v[IO_READS] = 1000000 } }, ret[IO_DEVICES_MAX];
        CgroupSample row = { .id = 1, .path = "/", .io = &lines[0], .n_io = 1, .io_chosen = true };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = &row, .n_cgroups = 1, .complete = true };
        uint64_t usec;
        size_t n;

        for (int look = 0; look < 20; look++, s.usec += 100 * USEC_PER_MSEC) {
                row.io = &lines[look >= 10];
                lines[0].v[IO_READS] += 10;
                lines[1].v[IO_READS] += 20;
                row.io_usec = s.usec;
                tracks_update(&tracks, &s, false, PAGE);
                for (int window = 0; look > 0 && window < _WINDOW_MAX; window++) {
                        if (!track_io(&tracks, tracks_find(&tracks, 1), (TrackWindow) window, ret, &n, &usec))
                                continue;
                        assert_int_equal(n, 1);
                        assert_int_equal(ret[0].major, row.io->major);
                        assert_true(ret[0].v[IO_READS] <= 200);
                        assert_int_equal(ret[0].v[IO_READS] > 0, look != 10);
                }
        }
}

/* A machine of many disks: of a cgroup those are shown where it does most. */
static void test_done_on_many_devices(void **state _unused_) {
        CgroupSample table[] = { { .id = 1, .path = "/" }, { .id = 3, .parent_id = 1, .path = "/hog.service" } };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .n_cgroups = ARRAY_SIZE(table), .credit = &credit };
        IoLine lines[IO_DEVICES_MAX], disk = { .major = 8, .minor = 16 }, unknown = { .major = 9 };
        Waits w = {};
        size_t n;

        credit.n_devices = IO_DEVICES_MAX + 3;
        for (size_t k = 0; k < IO_SLOTS; k++)
                for (unsigned d = 0; d < credit.n_devices; d++)
                        credit.done[k][d] = (IoLine) { .major = 8, .minor = 16 * d };
        credit.slots[SLOT_HOG].cgroup_id = 3;
        credit.slots[SLOT_HOG].path = "/hog.service";
        credit.slots[SLOT_HOG].since_usec = 1;
        for (int look = 0; look < 40; look++, s.usec += 100 * USEC_PER_MSEC) {
                credit.usec = s.usec;
                waits_update(&w, &s, false);
                for (unsigned d = 0; d < credit.n_devices; d++)
                        credit.done[SLOT_HOG][d].v[IO_READS] += d;
        }
        assert_true(waits_done(&w, &credit, &table[1], WINDOW_LAST, lines, &n));
        assert_int_equal(n, IO_DEVICES_MAX);
        for (unsigned d = 0; d < credit.n_devices; d++) {
                IoLine device = { .major = 8, .minor = 16 * d };
                const IoLine *l = io_line_find(lines, n, &device);

                assert_int_equal(l != NULL, d >= 3);
                if (l)
                        assert_int_equal(l->v[IO_READS], 10 * d);
        }
        assert_true(waits_counted(&credit, &disk));
        assert_false(waits_counted(&credit, &unknown));
        assert_false(waits_counted(NULL, &disk));
}

/* A device is looked at no more, and another takes its place: nobody's rate is made of theirs. */
static void test_done_where_a_device_goes(void **state _unused_) {
        CgroupSample table[] = { { .id = 1, .path = "/" }, { .id = 3, .parent_id = 1, .path = "/hog.service" } };
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .n_cgroups = ARRAY_SIZE(table), .credit = &credit };
        IoLine lines[IO_DEVICES_MAX], disk = { .major = 8, .minor = 32 }, newcomer = { .major = 9 }, all;
        Waits w = {};
        size_t n;

        credit.n_devices = 3;
        credit.slots[SLOT_HOG].cgroup_id = 3;
        credit.slots[SLOT_HOG].path = "/hog.service";
        credit.slots[SLOT_HOG].since_usec = 1;
        credit.done[SLOT_HOG][1].v[IO_READS] = 1000000;
        for (int look = 0; look < 60; look++, s.usec += 100 * USEC_PER_MSEC) {
                for (size_t k = 0; k < IO_SLOTS; k++)
                        for (unsigned d = 0; d < credit.n_devices; d++) {
                                credit.done[k][d].major = d != 1 || look < 20 ? 8 : look < 40 ? 0 : 9;
                                credit.done[k][d].minor = credit.done[k][d].major == 8 ? 16 * d : 0;
                        }
                credit.usec = s.usec;
                waits_update(&w, &s, false);
                if (waits_done(&w, &credit, &table[1], WINDOW_RECENT, lines, &n)) {
                        assert_int_equal(n, look >= 20 && look < 40 ? 2 : 3);
                        assert_int_equal(io_line_find(lines, n, &disk)->v[IO_READS], 100);
                        for (size_t i = 0; i < n; i++)
                                assert_true(io_line_used(&lines[i]) && lines[i].v[IO_READS] <= 100);
                }
                for (unsigned d = 0; d < credit.n_devices; d++)
                        credit.done[SLOT_HOG][d].v[IO_READS] += d != 1 || look >= 40 ? 10 : 0;
        }
        assert_true(waits_device_done(&w, &credit, &newcomer, WINDOW_LAST, &all));
        assert_int_equal(all.v[IO_READS], 100);
}

/* Each bucket ends where the next begins, and none is wider than a quarter of where it lies. */
static void test_latency_buckets(void **state _unused_) {
        for (uint32_t i = 0; i + 1 < LATENCY_BUCKETS; i++) {
                assert_int_equal(latency_bucket(latency_bound(i) - 1), i);
                assert_int_equal(latency_bucket(latency_bound(i)), i + 1);
                if (i >= 4)
                        assert_true(latency_bound(i) - latency_bound(i - 1) <= latency_bound(i - 1) / 4);
        }
        assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
        assert_int_equal(latency_bucket(0), 0);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_child_read_late),
                T(test_leak_beside_zram),
                T(test_growth_of_the_slice_itself),
                T(test_shares_of_levels_multiply),
                T(test_slice_is_not_to_blame_for_one),
                T(test_successor_of_a_leak),
                T(test_slice_above_the_limit),
                T(test_buried_once),
                T(test_buried_by_an_event),
                T(test_buried_elsewhere),
                T(test_large_ones_stay_buried),
                T(test_dead_are_buried),
                T(test_who_breathes_is_not_buried),
                T(test_squeezed_are_not_buried),
                T(test_unread_are_not_buried),
                cmocka_unit_test_setup_teardown(test_who_makes_wait, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_hardly_waits, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_waits_for_the_kernel, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_waits_for_a_newcomer, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_waits_for_a_slice, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_waits_of_a_short_moment, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_slot_changed_hands, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_done_of_a_new_slot, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_device_comes_anew, setup, teardown),
                cmocka_unit_test_setup_teardown(test_other_devices_are_chosen, setup, teardown),
                cmocka_unit_test_setup_teardown(test_done_on_many_devices, setup_credit, teardown),
                cmocka_unit_test_setup_teardown(test_done_where_a_device_goes, setup_credit, teardown),
                cmocka_unit_test(test_latency_buckets),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
