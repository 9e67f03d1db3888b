/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Slices: when all that lie in one are held together, and what in it forbids that. */

#include "engine/state.h"
#include "engine/test-scenario.h"

/* He took it a moment ago, and nothing since: the looks after that do not go into his slice. */
static void test_burst_is_not_all_of_its_slice(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 0);

        (void) world_add(&w, "/sideload.slice/batch.service", CGROUP_KIND_UNIT, 50 * MIB);
        w.closes = true;
        world_run(&w, 25 * USEC_PER_SEC);
        w.c[hog].current += 300 * MIB;
        world_event(&w, &(Event) { .type = EVENT_STIR, .usec = w.now });
        world_run(&w, USEC_PER_SEC);
        w.ache_until = w.now + 3 * USEC_PER_SEC;
        for (int k = 0; k < 20; k++) {
                w.stolen += MIB / 4096 * 8;
                world_run(&w, 100 * USEC_PER_MSEC);
        }
        assert_true(w.c[hog].touched > 0);
        world_assert_only_touched(&w, hog);
        assert_false(w.plan.sample_all);
}

/* Jobs that only together take much, in a slice that is to be held for it. */
static void small_ones_leak(void) {
        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 250 * MIB);
        for (int k = 0; k < 100; k++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "/sideload.slice/job%d.service", k);
                (void) world_add(&w, path, CGROUP_KIND_UNIT, MIB / 2);
        }
        world_run(&w, 25 * USEC_PER_SEC);
        for (int k = 0; k < w.n; k++)
                if (strstr(w.c[k].path, "/job"))
                        w.c[k].rate = MIB;
        world_run(&w, 9 * USEC_PER_SEC);
        assert_string_equal(engine_incident(w.engine, 0)->culprit, "/sideload.slice");
}

static void test_hundred_small_ones_are_their_slice(void **state _unused_) {
        int slice = world_find(&w, "/sideload.slice");

        small_ones_leak();
        assert_true(w.c[slice].touched > 0);
        world_assert_only_touched(&w, slice);
}

/* Of a slice one is killed, and it is said which. */
static void test_one_of_a_slice_is_killed_by_name(void **state _unused_) {
        Containment *slice = NULL;
        const Incident *i;
        uint64_t job;

        small_ones_leak();
        job = w.c[world_find(&w, "/sideload.slice/job7.service")].id;
        slice = containment_find(w.engine, w.c[world_find(&w, "/sideload.slice")].id);
        assert_non_null(slice);
        slice->kill_target = job;
        slice->pending_action = 4711;
        containment_outcome(w.engine, &(Outcome) { .action_id = 4711, .type = ACTION_KILL, .cgroup_id = job, .before = 3 });
        i = engine_incident_by_id(w.engine, 1);
        assert_int_equal(world_entry(i, ENTRY_OUTCOME, ACTION_KILL)->cgroup_id, job);
}

static void test_slice_that_is_only_watched_is_left(void **state _unused_) {
        w.policy.domains[1].contain.mode = MODE_MONITOR;
        small_ones_leak();
        world_assert_only_touched(&w, -1);
        assert_int_equal(engine_incident(w.engine, 0)->candidates[0].verdict, VERDICT_MODE_MONITOR);
}

static void test_slice_with_an_excluded_unit_is_left(void **state _unused_) {
        (void) world_add(&w, "/sideload.slice/backup.service", CGROUP_KIND_UNIT, MIB);
        small_ones_leak();
        world_assert_only_touched(&w, -1);
        assert_int_equal(engine_incident(w.engine, 0)->candidates[0].verdict, VERDICT_EXCLUDED);
}

/* It is started in there while the slice is held. */
static void test_slice_with_an_excluded_unit_is_let_go(void **state _unused_) {
        int slice = world_find(&w, "/sideload.slice");

        small_ones_leak();
        assert_true(w.c[slice].high < LIMIT_MAX);
        (void) world_add(&w, "/sideload.slice/backup.service", CGROUP_KIND_UNIT, MIB);
        world_run(&w, USEC_PER_SEC);
        assert_true(world_clean(&w));
}

/* It stands still in a slice of its own in there, which looks do not go into. */
static void test_slice_with_an_excluded_unit_farther_down_is_left(void **state _unused_) {
        (void) world_add(&w, "/sideload.slice/sideload-quiet.slice", CGROUP_KIND_SLICE, 0);
        (void) world_add(&w, "/sideload.slice/sideload-quiet.slice/backup.service", CGROUP_KIND_UNIT, MIB);
        w.closes = true;
        small_ones_leak();
        world_assert_only_touched(&w, -1);
        assert_int_equal(engine_incident(w.engine, 0)->candidates[0].verdict, VERDICT_EXCLUDED);
        assert_false(w.plan.sample_all);
}

/* A domain of its own in there, which may only be watched, and outranks whoever asks. */
static void test_slice_with_another_domain_is_left(void **state _unused_) {
        int inner = world_add(&w, "/sideload.slice/sideload-inner.slice", CGROUP_KIND_SLICE, 0);

        w.policy.domains[2].cgroup = (char *) w.c[inner].path;
        w.policy.domains[2].rank = 10;
        small_ones_leak();
        world_assert_only_touched(&w, -1);
        assert_int_equal(engine_incident(w.engine, 0)->candidates[0].verdict, VERDICT_MODE_MONITOR);
}

/* Its own limit on a slice is no reason to keep it there when the host has room again. */
static void test_held_slice_rises(void **state _unused_) {
        int web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 550 * MIB);
        int slice = world_find(&w, "/sideload.slice");
        uint64_t held;

        for (int k = 0; k < 20; k++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "/sideload.slice/job%d.service", k);
                w.c[world_add(&w, path, CGROUP_KIND_UNIT, MIB)].rate = 4 * MIB;
        }
        world_run_until_held(&w, slice);
        world_run(&w, 200 * USEC_PER_MSEC);
        held = w.c[slice].high;
        w.c[web].current = 100 * MIB;
        for (int k = 0; k < 400 && w.c[slice].high <= held; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[slice].high > held && w.c[slice].high < LIMIT_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_burst_is_not_all_of_its_slice),
                T(test_hundred_small_ones_are_their_slice),
                T(test_one_of_a_slice_is_killed_by_name),
                T(test_slice_that_is_only_watched_is_left),
                T(test_slice_with_an_excluded_unit_is_left),
                T(test_slice_with_an_excluded_unit_is_let_go),
                T(test_slice_with_an_excluded_unit_farther_down_is_left),
                T(test_slice_with_another_domain_is_left),
                T(test_held_slice_rises),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
