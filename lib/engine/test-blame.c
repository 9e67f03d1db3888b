/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Blame on samples whose rows do not fit each other: they are never read at one moment. */

#include "base/test.h"
#include "base/units.h"
#include "engine/blame.h"

#define MIB (UINT64_C(1) << 20)
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

/* Two looks, 180 ms apart; each row has grown by so many MiB meanwhile. */
static void blame_growth(const uint64_t grown_mib[static N_ROWS], Blame *ret) {
        static const struct {
                const char *path;
                CgroupKind kind;
                uint64_t parent;
        } rows[N_ROWS] = {
                [ROOT] = { "/", CGROUP_KIND_ROOT, 0 },
                [SIDELOAD] = { "/sideload.slice", CGROUP_KIND_SLICE, ROOT + 1 },
                [HOG] = { "/sideload.slice/hog.service", CGROUP_KIND_UNIT, SIDELOAD + 1 },
                [WORKLOAD] = { "/workload.slice", CGROUP_KIND_SLICE, ROOT + 1 },
                [WEB] = { "/workload.slice/web.service", CGROUP_KIND_UNIT, WORKLOAD + 1 },
        };
        static CgroupSample table[N_ROWS];
        Sample s = { .usec = USEC_PER_SEC, .cgroups = table, .n_cgroups = N_ROWS, .complete = true };

        for (size_t i = 0; i < N_ROWS; i++) {
                table[i] = (CgroupSample) { .id = i + 1, .parent_id = rows[i].parent, .path = rows[i].path,
                                            .kind = rows[i].kind };
                cgroup_sample_set(&table[i], CGROUP_MEMORY_CURRENT, 100 * MIB);
        }
        tracks_update(&tracks, &s, true);
        s.usec += 180 * USEC_PER_MSEC;
        for (size_t i = 0; i < N_ROWS; i++)
                cgroup_sample_set(&table[i], CGROUP_MEMORY_CURRENT, (100 + grown_mib[i]) * MIB);
        tracks_update(&tracks, &s, false);
        blame_find(&tracks, &s, WINDOW_RECENT, SHARE_MIN, MIB, &(BlameScope) { .page_bytes = PAGE }, ret);
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

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_child_read_late),
                T(test_growth_of_the_slice_itself),
                T(test_shares_of_levels_multiply),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
