/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Leaks and floods in the tests' world, of one or of two at once: what is cured by memory and what by caps, and one that is both held
 * and capped. */

#include "engine/state.h"
#include "engine/test-scenario.h"

/* A leak that goes into swap makes io too: it is one culprit, and it is cured by its memory. */
static void test_swap_traffic_is_the_leak(void **state _unused_) {
        int leak = world_flood(&w, "/sideload.slice/leak.service", 0, 4096);

        w.c[leak].swaps = true;
        world_run(&w, 10 * USEC_PER_SEC);
        assert_non_null(world_incident(&w, "io"));
        assert_string_equal(world_incident(&w, "io")->culprit, "/sideload.slice/leak.service");
        world_assert_only_touched(&w, leak);
        assert_true(w.c[leak].high < LIMIT_MAX);
        assert_int_equal(memcmp(w.c[leak].io_max, w.c[leak].original_io_max, sizeof(w.c[leak].io_max)), 0);
        w.c[leak].swaps = false;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

/* The leak takes the other one's pages, which are written to swap in his name: it is held, and he is not the culprit. */
static void held_for_driving_out(int leak, int other) {
        w.c[other].swaps = true;
        w.c[other].taken_by = leak;
        world_run(&w, 10 * USEC_PER_SEC);
        assert_non_null(world_incident(&w, "io"));
        world_assert_only_touched(&w, leak);
        assert_true(w.c[leak].high < LIMIT_MAX);
}

static void test_driven_out_is_no_culprit(void **state _unused_) {
        int other = world_add(&w, "/sideload.slice/other.service", CGROUP_KIND_UNIT, 700 * MIB),
            leak = world_flood(&w, "/sideload.slice/leak.service", 0, 4096);

        held_for_driving_out(leak, other);
        w.c[other].swaps = false;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

/* Nor is he where the leak itself did some io, long ago or beside it; its domain may forbid that to be capped. */
static void leak_with_io(uint64_t operations) {
        int other = world_add(&w, "/sideload.slice/other.service", CGROUP_KIND_UNIT, 700 * MIB),
            leak = world_flood(&w, "/sideload.slice/leak.service", 20, 100 << 10);

        w.policy.domains[1].contain.steps[STEP_IO_CAP] = operations == 0;
        w.c[leak].writes = true;
        world_run(&w, 3 * USEC_PER_SEC);
        w.c[leak].operations = operations;
        world_run(&w, 3 * USEC_PER_SEC);
        held_for_driving_out(leak, other);
        assert_true(w.c[leak].io_max[0].v[IO_WRITE_BYTES] == LIMIT_MAX);
}

static void test_driven_out_by_who_did_io_once(void **state _unused_) {
        leak_with_io(0);
}

static void test_driven_out_by_who_may_not_be_capped(void **state _unused_) {
        leak_with_io(20);
}

/* The same within the domain that complains: its io alarm limits nobody in it. */
static void test_driven_out_of_its_own(void **state _unused_) {
        int other = world_add(&w, "/workload.slice/other.service", CGROUP_KIND_UNIT, 700 * MIB),
            leak = world_flood(&w, "/workload.slice/leak.service", 0, 4096);

        w.c[other].swaps = true;
        w.c[other].taken_by = leak;
        world_run(&w, 4 * USEC_PER_SEC);
        assert_non_null(world_incident(&w, "io"));
        world_assert_only_touched(&w, -1);
}

/* The other way round: a leak into swap is found beside a flood that is capped. */
static void test_flood_and_a_leak(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 4000, 4096), leak;

        leak = world_add(&w, "/sideload.slice/leak.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run(&w, 15 * USEC_PER_SEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] < LIMIT_MAX);
        w.c[leak].swaps = true;
        for (int k = 0; k < 80 && w.c[leak].high == LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[leak].high < LIMIT_MAX);
        w.c[leak].swaps = false;
        w.c[flood].operations = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

/* Each of two is found beside the other one, who is held. */
static void test_two_leaks(void **state _unused_) {
        int first = world_flood(&w, "/sideload.slice/first.service", 0, 4096),
            second = world_add(&w, "/sideload.slice/second.service", CGROUP_KIND_UNIT, 10 * MIB);

        w.swap_total = w.swap_free = 4096 * MIB;
        world_run(&w, 15 * USEC_PER_SEC);
        w.c[first].swaps = true;
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[first].touched > 0);
        w.c[second].swaps = true;
        world_run(&w, 30 * USEC_PER_SEC);
        /* Of 80 MiB a second. */
        assert_true(w.c[first].swap + w.c[second].swap < 30 * 30 * MIB);
}

static void test_leak_and_flood_in_one(void **state _unused_) {
        int hog = world_flood(&w, "/sideload.slice/hog.service", 0, 4096);

        w.c[hog].rate = 60 * MIB;
        for (int k = 0; k < 1000 && w.c[hog].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        w.c[hog].operations = 4000;
        world_run(&w, USEC_PER_SEC);
        /* Held and capped, by one containment. */
        assert_true(w.c[hog].high < LIMIT_MAX);
        assert_true(w.c[hog].io_max[0].v[IO_READS] <= 400);
        w.c[hog].rate = w.c[hog].operations = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
        assert_true(world_clean(&w));
}

/* It was held, and that was given back while its io stayed capped; the next hold is a first step again. */
static void test_second_hold_that_fails_is_made_again(void **state _unused_) {
        int hog = world_flood(&w, "/sideload.slice/hog.service", 4000, 4096);
        uint64_t touched;

        world_run(&w, 3 * USEC_PER_SEC);
        w.c[hog].rate = 60 * MIB;
        for (int k = 0; k < 1000 && w.c[hog].high == LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        w.c[hog].rate = 0;
        for (int k = 0; k < 1000 && w.c[hog].high < LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high == LIMIT_MAX && w.c[hog].io_max[0].v[IO_READS] < LIMIT_MAX);
        w.policy.domains[1].contain.steps[STEP_SQUEEZE] = false;
        w.refuse_writes = true;
        touched = w.c[hog].touched;
        w.c[hog].rate = 60 * MIB;
        for (int k = 0; k < 200 && w.c[hog].touched == touched; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.refuse_writes = false;
        world_run(&w, 1600 * USEC_PER_MSEC);
        assert_int_equal(w.kills, 0);
        assert_true(w.c[hog].high < LIMIT_MAX);
}

static void test_flood_and_leak_in_one(void **state _unused_) {
        int hog = world_flood(&w, "/sideload.slice/hog.service", 4000, 4096);

        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].io_max[0].v[IO_READS] < LIMIT_MAX);
        assert_true(w.c[hog].high == LIMIT_MAX);
        w.c[hog].rate = 60 * MIB;
        for (int k = 0; k < 400 && w.c[hog].high == LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        w.c[hog].rate = w.c[hog].operations = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
        assert_true(world_clean(&w));
}

/* Capped and held, and then let go again of the one of the two, while the other goes on. */
static int capped_and_held(void) {
        int hog = world_flood(&w, "/sideload.slice/hog.service", 4000, 4096);

        w.total = 4096 * MIB;
        w.policy.domains[1].contain.steps[STEP_KILL] = false;
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].io_max[0].v[IO_READS] < LIMIT_MAX);
        w.c[hog].rate = 400 * MIB;
        for (int k = 0; k < 400 && w.c[hog].high == LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        return hog;
}

static int capped_that_was_held(void) {
        int hog = capped_and_held();

        w.c[hog].rate = 0;
        w.c[hog].current = 300 * MIB;
        for (int k = 0; k < 400 && w.c[hog].high != LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high == LIMIT_MAX && w.c[hog].io_max[0].v[IO_READS] < LIMIT_MAX);
        assert_true(w.c[hog].swap_high == LIMIT_MAX);
        return hog;
}

/* The incident of then is still there, for he is capped. */
static void test_leak_of_who_was_let_go(void **state _unused_) {
        int hog = capped_that_was_held();

        world_run(&w, 10 * USEC_PER_SEC);
        assert_int_equal(world_incident(&w, "exhaustion")->state, INCIDENT_LIFTING);
        w.c[hog].rate = 400 * MIB;
        for (int k = 0; k < 400 && w.c[hog].high == LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        /* Before anybody stalls. */
        assert_true(w.c[hog].current < 3200 * MIB);
        world_assert_only_touched(&w, hog);
}

/* It begins within seconds of a rise of then, which is no reason to give him more. */
static void test_leak_soon_after_a_rise(void **state _unused_) {
        int hog = capped_that_was_held();
        uint64_t held;

        w.c[hog].current = 2000 * MIB;
        w.c[hog].rate = 1000 * MIB;
        for (int k = 0; k < 40 && w.c[hog].high == LIMIT_MAX; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        held = w.c[hog].high;
        assert_true(held < LIMIT_MAX);
        world_run(&w, 500 * USEC_PER_MSEC);
        assert_true(w.c[hog].high <= held);
}

static void test_flood_of_who_was_let_go(void **state _unused_) {
        int hog = capped_and_held();

        w.c[hog].operations = 0;
        world_run(&w, 20 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX && w.c[hog].io_max[0].v[IO_READS] == LIMIT_MAX);
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_LIFTING);
        w.c[hog].operations = 4000;
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].io_max[0].v[IO_READS] < LIMIT_MAX);
        world_assert_only_touched(&w, hog);
}

/* Its caps are begun at whatever moment, that in which a change of memory.high is under way among them. */
static void test_caps_beside_a_squeeze(void **state _unused_) {
        for (unsigned delay = 0; delay < 40; delay++) {
                int hog = world_flood(&w, "/sideload.slice/hog.service", 0, 4096);

                w.c[hog].rate = 60 * MIB;
                while (w.c[hog].high == LIMIT_MAX)
                        world_run(&w, 50 * USEC_PER_MSEC);
                world_run(&w, delay * 50 * USEC_PER_MSEC);
                w.c[hog].operations = 4000;
                world_run(&w, 2 * USEC_PER_SEC);
                assert_true(w.c[hog].high < LIMIT_MAX);
                assert_true(w.c[hog].io_max[0].v[IO_READS] < LIMIT_MAX);
                world_done(&w);
                world_init(&w, 1024 * MIB, 1024 * MIB);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_swap_traffic_is_the_leak),
                T(test_driven_out_is_no_culprit),
                T(test_driven_out_by_who_did_io_once),
                T(test_driven_out_by_who_may_not_be_capped),
                T(test_driven_out_of_its_own),
                T(test_flood_and_a_leak),
                T(test_two_leaks),
                T(test_leak_and_flood_in_one),
                T(test_second_hold_that_fails_is_made_again),
                T(test_flood_and_leak_in_one),
                T(test_leak_of_who_was_let_go),
                T(test_leak_soon_after_a_rise),
                T(test_flood_of_who_was_let_go),
                T(test_caps_beside_a_squeeze),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
