/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Percentiles: of whose requests, over which window. */

#include "base/test.h"
#include "base/units.h"
#include "engine/latency.h"

enum { SLOT_ROOT = 1, SLOT_WEB, SLOT_HOG };

static Latencies latencies;
static IoCredit credit;
static Sample sample;

static int setup(void **state _unused_) {
        latencies = (Latencies) {};
        credit = (IoCredit) { .usec = USEC_PER_SEC };
        credit.slots[SLOT_ROOT].cgroup_id = 1;
        credit.slots[SLOT_ROOT].path = "/";
        credit.slots[SLOT_WEB].cgroup_id = 2;
        credit.slots[SLOT_WEB].path = "/a.slice/web.service";
        credit.slots[SLOT_HOG].cgroup_id = 3;
        credit.slots[SLOT_HOG].path = "/b.slice/hog.service";
        sample = (Sample) { .credit = &credit };
        latencies_update(&latencies, &sample);
        return 0;
}

static void ended(size_t slot, uint64_t usec, uint64_t n) {
        credit.latency[slot][latency_bucket(usec * 1000)] += n;
}

/* A look 100 ms later, or -1 where it is not known. */
static int64_t look(const char *slice, unsigned percentile) {
        uint64_t usec;

        credit.usec += 100 * USEC_PER_MSEC;
        latencies_update(&latencies, &sample);
        return latencies_percentile(&latencies, 7, &credit, slice, USEC_PER_SEC, percentile, &usec) ? (int64_t) usec : -1;
}

static void test_percentiles(void **state _unused_) {
        assert_int_equal(look("/a.slice", 99), -1);
        ended(SLOT_WEB, 1000, 98);
        ended(SLOT_WEB, 60000, 2);
        ended(SLOT_HOG, 900000, 1000);
        assert_in_range(look("/a.slice", 99), 60000, 75000);
        assert_in_range(look("/a.slice", 98), 1000, 1250);
        assert_in_range(look("/a.slice", 1), 1000, 1250);
}

static void test_all_of_them(void **state _unused_) {
        (void) look("/", 50);
        ended(SLOT_WEB, 1000, 20);
        ended(SLOT_HOG, 900000, 1000);
        assert_in_range(look("/", 50), 900000, 1125000);
}

static void test_few(void **state _unused_) {
        (void) look("/a.slice", 99);
        ended(SLOT_WEB, 60000, LATENCY_REQUESTS_MIN - 1);
        assert_int_equal(look("/a.slice", 99), -1);
        ended(SLOT_WEB, 60000, 1);
        assert_true(look("/a.slice", 99) > 0);
}

/* What ended more than two windows ago is forgotten. */
static void test_window(void **state _unused_) {
        (void) look("/a.slice", 99);
        ended(SLOT_WEB, 500000, 1000);
        assert_true(look("/a.slice", 99) >= 500000);
        for (int i = 0; i < 25; i++) {
                ended(SLOT_WEB, 1000, 10);
                (void) look("/a.slice", 99);
        }
        assert_in_range(look("/a.slice", 99), 1000, 1250);
        assert_true(latencies_since(&latencies, 7) >= credit.usec - 2 * USEC_PER_SEC);
        latencies_forget(&latencies);
        assert_int_equal(latencies_since(&latencies, 7), 0);
}

/* What the owner before had is not his, and what was missed is not made up for. */
static void test_slot_changes(void **state _unused_) {
        (void) look("/a.slice", 99);
        ended(SLOT_WEB, 500000, 1000);
        credit.slots[SLOT_WEB].since_usec = credit.usec + 50 * USEC_PER_MSEC;
        assert_int_equal(look("/a.slice", 99), -1);
        sample.credit = NULL;
        latencies_update(&latencies, &sample);
        sample.credit = &credit;
        ended(SLOT_WEB, 500000, 1000);
        assert_int_equal(look("/a.slice", 99), -1);
        ended(SLOT_WEB, 1000, 1000);
        assert_in_range(look("/a.slice", 99), 1000, 1250);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_percentiles, setup),
                cmocka_unit_test_setup(test_all_of_them, setup),
                cmocka_unit_test_setup(test_few, setup),
                cmocka_unit_test_setup(test_window, setup),
                cmocka_unit_test_setup(test_slot_changes, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
