/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Incidents about which nothing is or can be done while their alarm stays up: who comes then is found, and it costs little. */

#include "engine/state.h"
#include "engine/test-scenario.h"

/* A service whose own requests are slow has its alarm raised for hours, and nobody is to blame; a flood beside it is seen all the same. */
static void flood_beside_a_standing_alarm(uint64_t slow_usec, bool credited) {
        int flood, web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        uint64_t began;

        w.c[web].operations = 100;
        w.c[web].io_bytes = 4096;
        w.c[web].slow_usec = slow_usec;
        w.credited = credited;
        flood = world_add(&w, "/sideload.slice/flood.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run(&w, 5 * USEC_PER_MINUTE);
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        /* It is not found because it is time to look anyway. */
        for (int k = 0; k < 300 && w.engine->open[0].recheck_usec < w.now + 8 * USEC_PER_SEC; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.engine->open[0].recheck_usec >= w.now + 8 * USEC_PER_SEC);
        world_run(&w, USEC_PER_SEC);
        w.c[flood].operations = 2000;
        w.c[flood].io_bytes = 4096;
        /* Of a reader the tests' credit says that nobody waits for him longer than for himself. */
        w.c[flood].writes = credited;
        began = w.now;
        for (int k = 0; k < 1500 && w.c[flood].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[flood].touched > 0);
        assert_true(w.now - began <= 2 * USEC_PER_SEC);
        world_assert_only_touched(&w, flood);
}

static void test_flood_beside_a_standing_alarm(void **state _unused_) {
        flood_beside_a_standing_alarm(4 * USEC_PER_MSEC, false);
}

/* It waits all the time as it is: no stall can be more. */
static void test_flood_beside_a_full_stall(void **state _unused_) {
        flood_beside_a_standing_alarm(12 * USEC_PER_MSEC, true);
}

/* One whose trouble comes and goes by itself is not looked at closely all the time for that. */
static void test_standing_alarm_costs_little(void **state _unused_) {
        int web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        uint64_t before = 0;

        w.c[web].operations = 100;
        w.c[web].io_bytes = 4096;
        for (unsigned k = 0; k < 120; k++) {
                if (k == 60)
                        before = w.engine->samples;
                w.c[web].slow_usec = (k % 2 ? 4 : 8) * USEC_PER_MSEC;
                world_run(&w, 2 * USEC_PER_SEC);
        }
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        assert_true(w.engine->samples - before <= 120 * 3);
}

/* Nor where the machine has just started, and everything with it. */
static void test_standing_alarm_costs_little_after_boot(void **state _unused_) {
        int web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        uint64_t before = 0;

        w.now = USEC_PER_SEC;
        w.c[web].operations = 100;
        w.c[web].io_bytes = 4096;
        for (unsigned k = 0; k < 60; k++) {
                if (k == 30)
                        before = w.engine->samples;
                w.c[web].slow_usec = (k % 2 ? 4 : 8) * USEC_PER_MSEC;
                world_run(&w, 2 * USEC_PER_SEC);
        }
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        assert_true(w.engine->samples - before <= 60 * 3);
}

/* What waits for calm moments must not wait for hours. */
static void test_standing_alarm_is_no_trouble(void **state _unused_) {
        int web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        unsigned trouble = 0;

        w.c[web].operations = 100;
        w.c[web].io_bytes = 4096;
        w.c[web].slow_usec = 4 * USEC_PER_MSEC;
        world_run(&w, USEC_PER_MINUTE);
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        for (unsigned k = 0; k < 600; k++) {
                world_run(&w, 100 * USEC_PER_MSEC);
                trouble += w.plan.trouble;
                assert_true(w.plan.sample_cgroups);
        }
        assert_true(trouble > 0 && trouble <= 60);
}

/* What cannot be done is not tried again and again because the alarm is up. */
static void test_refused_that_comes_and_goes(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);
        uint64_t before = 0;

        w.c[world_find(&w, "/workload.slice/web.service")].slow_usec = 4 * USEC_PER_MSEC;
        w.refuse_writes = true;
        world_run(&w, 5 * USEC_PER_MINUTE);
        before = w.c[flood].touched;
        assert_true(before > 0);
        for (int k = 0; k < 30; k++) {
                w.c[flood].operations = k % 2 ? 5000 : 0;
                world_run(&w, 20 * USEC_PER_SEC);
        }
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        assert_true(w.c[flood].touched - before <= 11);
}

static void test_refused_is_tried_seldom(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);
        uint64_t before;

        w.refuse_writes = true;
        world_run(&w, 5 * USEC_PER_MINUTE);
        before = w.c[flood].touched;
        assert_true(before > 0);
        world_run(&w, 10 * USEC_PER_MINUTE);
        assert_true(w.c[flood].touched > before);
        assert_true(w.c[flood].touched - before <= 11);
}

/* So many of them, 20 s each. *ret: how often something was tried in ten minutes. */
static void refused_that_take_turns(unsigned n, uint64_t *ret) {
        int first = world_flood(&w, "/sideload.slice/first.service", 5000, 4096);
        uint64_t before = 0;

        *ret = 0;
        w.refuse_writes = true;
        for (unsigned i = 1; i < n; i++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "/sideload.slice/other%u.service", i);
                w.c[world_add(&w, path, CGROUP_KIND_UNIT, 10 * MIB)].io_bytes = 4096;
        }
        for (unsigned k = 0; k < 45; k++) {
                for (unsigned i = 0; i < n; i++) {
                        w.c[first + (int) i].operations = i == k % n ? 5000 : 0;
                        before += k == 15 ? w.c[first + (int) i].touched : 0;
                }
                world_run(&w, 20 * USEC_PER_SEC);
        }
        assert_true(before > 0);
        for (unsigned i = 0; i < n; i++)
                *ret += w.c[first + (int) i].touched;
        *ret -= before;
}

/* Nor is it because it is another each time. */
static void test_refused_that_take_turns(void **state _unused_) {
        uint64_t tried;

        refused_that_take_turns(2, &tried);
        assert_true(tried <= 2 * 11);
}

/* One try at each is what it comes to where there are many. */
static void test_many_refused_that_take_turns(void **state _unused_) {
        uint64_t tried;

        refused_that_take_turns(10, &tried);
        assert_true(tried <= 30);
}

/* What cannot be done about one is no reason not to look who came after him. *ret: how long that took. */
static void another_beside_a_refused(bool goes_on, uint64_t *ret) {
        int first = world_flood(&w, "/sideload.slice/first.service", 2000, 4096);
        int second = world_add(&w, "/sideload.slice/second.service", CGROUP_KIND_UNIT, 10 * MIB);
        uint64_t began, tried;

        w.c[world_find(&w, "/workload.slice/web.service")].slow_usec = 4 * USEC_PER_MSEC;
        w.c[first].refuses = true;
        world_run(&w, 5 * USEC_PER_MINUTE);
        if (!goes_on) {
                w.c[first].operations = 0;
                world_run(&w, USEC_PER_MINUTE);
        }
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        tried = w.c[first].touched;
        assert_true(tried > 0);
        /* It is not found because it is time to look anyway. */
        for (int k = 0; k < 300 && w.engine->open[0].recheck_usec < w.now + 8 * USEC_PER_SEC; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.c[second].operations = 10000;
        w.c[second].io_bytes = 4096;
        began = w.now;
        for (int k = 0; k < 1500 && w.c[second].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[second].touched > 0);
        assert_true(w.c[first].touched <= tried + 1);
        *ret = w.now - began;
}

/* The service has waited all the time since the first one came: it does not wait more for the second. */
static void test_another_beside_a_refused(void **state _unused_) {
        uint64_t usec;

        another_beside_a_refused(true, &usec);
        assert_true(usec <= 11 * USEC_PER_SEC);
}

static void test_another_after_a_refused(void **state _unused_) {
        uint64_t usec;

        another_beside_a_refused(false, &usec);
        assert_true(usec <= 2 * USEC_PER_SEC);
}

/* How long one is not tried anew for that is nothing to another, who was let go because his policy came to forbid it. */
static void test_allowed_again_beside_a_refused(void **state _unused_) {
        int first = world_flood(&w, "/sideload.slice/first.service", 2000, 4096);
        int second = world_add(&w, "/sideload.slice/second.service", CGROUP_KIND_UNIT, 10 * MIB);
        uint64_t before;

        w.c[world_find(&w, "/workload.slice/web.service")].slow_usec = 4 * USEC_PER_MSEC;
        w.c[first].refuses = true;
        world_run(&w, USEC_PER_MINUTE);
        w.c[first].operations = 0;
        w.c[second].operations = 10000;
        w.c[second].io_bytes = 4096;
        for (int k = 0; k < 400 && w.c[second].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[second].touched > 0);
        w.engine->open[0].refused[0].usec = w.now + USEC_PER_MINUTE;
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "sideload", MODE_MONITOR), 0);
        world_run(&w, 5 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "sideload", _MODE_MAX), 0);
        before = w.c[second].touched;
        for (int k = 0; k < 220 && w.c[second].touched == before; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[second].touched > before);
}

/* What has become usual is no news. */
static void test_standing_alarm_that_grew_costs_little(void **state _unused_) {
        int web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        uint64_t before;

        w.c[web].operations = 100;
        w.c[web].io_bytes = 4096;
        w.c[web].slow_usec = 4 * USEC_PER_MSEC;
        world_run(&w, USEC_PER_MINUTE);
        w.c[web].slow_usec = 8 * USEC_PER_MSEC;
        world_run(&w, 2 * USEC_PER_MINUTE);
        before = w.engine->samples;
        world_run(&w, 2 * USEC_PER_MINUTE);
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_QUIET);
        assert_true(w.engine->samples - before <= 120 * 16 / 10);
}

/* One that waits for its memory a fifth of the time, for so long. */
static void thrash(int web, uint64_t usec) {
        for (uint64_t k = 0; k < usec; k += 50 * USEC_PER_MSEC) {
                w.c[web].stall += 10 * USEC_PER_MSEC;
                w.c[world_find(&w, "/workload.slice")].stall += 10 * USEC_PER_MSEC;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
}

static void test_hog_beside_a_standing_alarm(void **state _unused_) {
        int hog, web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        uint64_t began;

        world_without_host_alarm(&w);
        hog = world_add(&w, "/sideload.slice/hog.service", CGROUP_KIND_UNIT, 10 * MIB);
        thrash(web, USEC_PER_MINUTE);
        for (int k = 0; k < 40 && world_incident(&w, "memory")->state != INCIDENT_QUIET; k++)
                thrash(web, 50 * USEC_PER_MSEC);
        assert_int_equal(world_incident(&w, "memory")->state, INCIDENT_QUIET);
        /* It is not found because it is time to look anyway. */
        w.engine->open[0].recheck_usec = w.now + USEC_PER_MINUTE;
        w.c[hog].rate = 200 * MIB;
        for (int k = 0; k < 400 && w.stolen == 0; k++)
                thrash(web, 50 * USEC_PER_MSEC);
        assert_true(w.stolen > 0);
        assert_int_equal(w.c[hog].touched, 0);
        began = w.now;
        for (int k = 0; k < 100 && w.c[hog].touched == 0; k++)
                thrash(web, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].touched > 0);
        assert_true(w.now - began <= 2 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_flood_beside_a_standing_alarm),
                T(test_flood_beside_a_full_stall),
                T(test_standing_alarm_costs_little),
                T(test_standing_alarm_costs_little_after_boot),
                T(test_standing_alarm_is_no_trouble),
                T(test_refused_that_comes_and_goes),
                T(test_refused_is_tried_seldom),
                T(test_refused_that_take_turns),
                T(test_many_refused_that_take_turns),
                T(test_another_beside_a_refused),
                T(test_another_after_a_refused),
                T(test_allowed_again_beside_a_refused),
                T(test_standing_alarm_that_grew_costs_little),
                T(test_hog_beside_a_standing_alarm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
