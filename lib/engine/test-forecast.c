/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/test.h"
#include "base/units.h"
#include "engine/forecast.h"
#include "engine/test-world.h"

static void look(Forecast *f, uint64_t msec, uint64_t available) {
        Sample s = { .usec = msec * USEC_PER_MSEC };

        sample_host_set(&s, HOST_MEMORY_TOTAL, 1024 * MIB);
        sample_host_set(&s, HOST_MEMORY_AVAILABLE, available);
        forecast_host(f, &s);
}

/* n looks after msec, each so long after the one before and with so much less available. */
static void looks(Forecast *f, uint64_t msec, uint64_t n, uint64_t apart_msec, uint64_t available, uint64_t taken) {
        for (uint64_t i = 1; i <= n; i++)
                look(f, msec + apart_msec * i, available - taken * i);
}

static void look_at_slice(Forecast *f, uint64_t msec, uint64_t current, uint64_t file, uint64_t dirty, uint64_t limit) {
        Sample s = { .usec = msec * USEC_PER_MSEC };
        RowValues values;
        CgroupSample row = { .use = values.use };

        cgroup_sample_set(&row, CGROUP_MEMORY_CURRENT, current);
        cgroup_sample_set(&row, CGROUP_CACHE, file);
        cgroup_sample_set(&row, CGROUP_FILE_DIRTY, dirty);
        cgroup_sample_set(&row, CGROUP_FILE_WRITEBACK, 0);
        forecast_slice(f, &s, &row, limit);
}

/* What was between two heartbeats says nothing of the pace of what has just begun. */
static void test_from_rest(void **state _unused_) {
        Forecast f = FORECAST_NONE;

        look(&f, 10000, 800 * MIB);
        look(&f, 20000, 800 * MIB);
        look(&f, 29000, 780 * MIB);
        /* 200 MiB a second from here on. */
        looks(&f, 29000, 2, 100, 780 * MIB, 20 * MIB);
        assert_true(f.exhaustion_usec > 10 * USEC_PER_SEC);
        look(&f, 29300, 720 * MIB);
        assert_int_equal(f.exhaustion_usec / USEC_PER_MSEC, 3600);
}

/* The time before it began does not count for long. */
static void test_just_begun(void **state _unused_) {
        Forecast f = FORECAST_NONE;

        looks(&f, 9900, 10, 100, 800 * MIB, 0);
        looks(&f, 10900, 4, 100, 800 * MIB, 40 * MIB);
        assert_int_equal(f.exhaustion_usec / USEC_PER_MSEC, 1600);
}

/* A slow one is seen by the heartbeats alone. */
static void test_across_rest(void **state _unused_) {
        Forecast f = FORECAST_NONE;

        look(&f, 10000, 800 * MIB);
        look(&f, 20000, 700 * MIB);
        assert_int_equal(f.exhaustion_usec / USEC_PER_SEC, 70);
        look(&f, 30000, 600 * MIB);
        assert_int_equal(f.exhaustion_usec / USEC_PER_SEC, 60);
}

/* About as much again as was taken must be feared, and not more: what was there when it began counts, not all there ever was. */
static void test_what_is_believed(void **state _unused_) {
        Forecast f = FORECAST_NONE;

        looks(&f, 9900, 10, 100, 400 * MIB, 0);
        looks(&f, 10900, 3, 100, 400 * MIB, 50 * MIB);
        assert_true(f.exhaustion_usec < 2 * USEC_PER_SEC);
        assert_false(forecast_is_believed(&f));
        look(&f, 11300, 200 * MIB);
        assert_true(forecast_is_believed(&f));

        /* It pauses, and what it took before is no evidence any more. */
        looks(&f, 11400, 12, 100, 200 * MIB, 0);
        assert_false(forecast_is_believed(&f));
        look(&f, 12700, 130 * MIB);
        assert_false(forecast_is_believed(&f));

        /* Hardly anything is left: whoever takes that. */
        looks(&f, 12700, 12, 100, 110 * MIB, 0);
        look(&f, 14000, 60 * MIB);
        assert_true(forecast_is_believed(&f));
}

/* A slow leak is looked at seldom, and believed all the same where somebody wants to know half a minute before. */
static void test_slow_is_believed(void **state _unused_) {
        Forecast f = FORECAST_NONE;

        looks(&f, 0, 5, 10000, 800 * MIB, 0);
        looks(&f, 50000, 7, 2000, 800 * MIB, 40 * MIB);
        assert_false(forecast_is_believed(&f));
        look(&f, 66000, 480 * MIB);
        assert_int_equal(f.exhaustion_usec / USEC_PER_SEC, 24);
        assert_true(forecast_is_believed(&f));
}

static void test_of_a_slice(void **state _unused_) {
        Forecast f = FORECAST_NONE;

        look_at_slice(&f, 1000, 100 * MIB, 0, 0, 300 * MIB);
        look_at_slice(&f, 1400, 140 * MIB, 0, 0, 300 * MIB);
        assert_int_equal(f.exhaustion_usec / USEC_PER_MSEC, 1600);
        /* Page cache makes room, as long as it is clean. */
        look_at_slice(&f, 1500, 200 * MIB, 60 * MIB, 0, 300 * MIB);
        assert_true(f.exhaustion_usec > 1600 * USEC_PER_MSEC);
        look_at_slice(&f, 1600, 200 * MIB, 60 * MIB, 60 * MIB, 300 * MIB);
        assert_true(f.exhaustion_usec < 1600 * USEC_PER_MSEC);
        /* Another limit: there is nothing to compare with yet. And none. */
        look_at_slice(&f, 1700, 200 * MIB, 0, 0, 250 * MIB);
        assert_int_equal(f.exhaustion_usec, USEC_INFINITY);
        look_at_slice(&f, 1800, 200 * MIB, 0, 0, LIMIT_MAX);
        assert_int_equal(f.total, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_from_rest),
                cmocka_unit_test(test_just_begun),
                cmocka_unit_test(test_across_rest),
                cmocka_unit_test(test_what_is_believed),
                cmocka_unit_test(test_slow_is_believed),
                cmocka_unit_test(test_of_a_slice),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
