/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/test.h"
#include "base/units.h"
#include "engine/pace.h"

static IoCredit credit;

/* The victim in slot 1, somebody else in slot 2; so many requests more, each of which took so long for itself and so long for the
 * other. */
static void serve(uint64_t usec, uint64_t requests, uint64_t own, uint64_t others) {
        credit.usec += usec;
        credit.done[1][0].v[IO_READS] += requests;
        credit.wait_usec[1][1] += requests * own;
        credit.wait_usec[1][2] += requests * others;
}

static int setup(void **state _unused_) {
        credit = (IoCredit) { .usec = USEC_PER_SEC, .n_devices = 1 };
        credit.slots[1].cgroup_id = 11;
        credit.slots[1].path = "/workload.slice/web.service";
        credit.slots[2].cgroup_id = 12;
        credit.slots[2].path = "/sideload.slice/flood.service";
        return 0;
}

static bool look(PaceWatch *w, uint64_t changed, uint64_t enough, Pace *ret) {
        return pace_look(w, &credit, "/workload.slice", changed, enough, ret);
}

static void test_counts_from_after_the_change(void **state _unused_) {
        uint64_t changed = credit.usec;
        PaceWatch w = {};
        Pace p;

        /* What was queued before the change. */
        serve(100 * USEC_PER_MSEC, 50, 1000, 90000);
        assert_false(look(&w, changed, 10, &p));
        serve(300 * USEC_PER_MSEC, 30, 1000, 30000);
        assert_false(look(&w, changed, 10, &p));
        serve(100 * USEC_PER_MSEC, 9, 1000, 500);
        assert_false(look(&w, changed, 10, &p));
        serve(100 * USEC_PER_MSEC, 1, 1000, 500);
        assert_true(look(&w, changed, 10, &p));
        assert_int_equal(p.requests, 10);
        assert_int_equal(p.usec, 15000);
        assert_int_equal(p.others_usec, 5000);
        /* Changed again. */
        assert_false(look(&w, credit.usec, 1, &p));
}

static void test_a_slot_that_was_given_away(void **state _unused_) {
        PaceWatch w = {};
        Pace p;

        credit.usec += USEC_PER_SEC;
        assert_false(look(&w, USEC_PER_SEC, 1, &p));
        credit.usec += USEC_PER_SEC;
        credit.slots[1].since_usec = credit.usec;
        serve(USEC_PER_SEC, 100, 1000, 0);
        /* It may have been another's before. */
        assert_false(look(&w, USEC_PER_SEC, 1, &p));
        serve(USEC_PER_SEC, 100, 1000, 0);
        assert_true(look(&w, USEC_PER_SEC, 1, &p));
        assert_int_equal(p.requests, 100);
        assert_false(pace_look(&w, NULL, "/workload.slice", USEC_PER_SEC, 1, &p));
}

static void test_worse_is_what_others_are_to_blame_for(void **state _unused_) {
        Pace before = { .requests = 100, .usec = 100000, .others_usec = 20000 }, slow = { 50, 500000, 10000 },
             worse = { 100, 160000, 71000 }, none = {}, kept = {};

        /* The disk takes ten times as long, and nobody else is in its way. */
        assert_false(pace_is_worse(&slow, &before, PERMYRIAD / 2));
        assert_true(pace_is_worse(&worse, &before, PERMYRIAD / 2));
        assert_false(pace_is_worse(&worse, &before, PERMYRIAD));
        assert_false(pace_is_worse(&worse, &none, PERMYRIAD));
        pace_keep(&kept, &worse);
        pace_keep(&kept, &before);
        pace_keep(&kept, &slow);
        assert_int_equal(kept.usec, before.usec);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_counts_from_after_the_change, setup),
                cmocka_unit_test_setup(test_a_slot_that_was_given_away, setup),
                cmocka_unit_test_setup(test_worse_is_what_others_are_to_blame_for, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
