/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When an alarm is raised, and when not; and what a reload, and a mode set by hand, change. */

#include "engine/test-scenario.h"

/* What a slice may have runs out while the host has plenty, and others take more of that: who takes it in there is held
 * before anybody stalls. */
static void limit_is_forecast(uint64_t high, uint64_t max) {
        int hog, slice = world_find(&w, "/workload.slice"), other;
        const Incident *i;

        world_with_limit_alarm(&w);
        w.total = 8192 * MIB;
        w.c[slice].high = w.c[slice].original_high = high;
        w.c[slice].max = max;
        other = world_add(&w, "/system.slice/large.service", CGROUP_KIND_UNIT, 100 * MIB);
        w.c[other].rate = 20 * MIB;
        hog = world_hog(&w, "/workload.slice/leaky.service", 8 * MIB);
        for (int k = 0; k < 1200 && w.c[hog].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        world_assert_only_touched(&w, hog);
        assert_true(w.c[hog].current + w.c[world_find(&w, "/workload.slice/web.service")].current >= 470 * MIB);
        assert_true(w.c[hog].current + w.c[world_find(&w, "/workload.slice/web.service")].current <= 490 * MIB);
        i = world_incident(&w, "limit");
        assert_non_null(i);
        assert_string_equal(i->culprit, "/workload.slice/leaky.service");
        /* Of what was taken in there. */
        assert_true(i->candidates[0].share_permyriad > 9000);
        w.c[hog].rate = 0;
        w.c[other].rate = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_int_equal(w.kills, 0);
        assert_true(world_clean(&w));
}

static void test_limit_is_forecast(void **state _unused_) {
        limit_is_forecast(500 * MIB, LIMIT_MAX);
}

static void test_hard_limit_is_forecast(void **state _unused_) {
        limit_is_forecast(600 * MIB, 500 * MIB);
}

/* A service that starts takes more than a quarter of all memory at a pace at which the rest would last less than two
 * seconds; nothing is done as long as half is left, and at once when it was a leak. */
static void test_start_is_no_leak(void **state _unused_) {
        int web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 10 * MIB), batch;

        world_run(&w, 25 * USEC_PER_SEC);
        world_event(&w, &(Event) { .type = EVENT_STIR, .usec = w.now });
        world_run(&w, USEC_PER_SEC);
        w.c[web].rate = 500 * MIB;
        w.c[web].until = 300 * MIB;
        world_run(&w, 5 * USEC_PER_SEC);
        assert_int_equal(w.c[web].current, 300 * MIB);
        assert_null(engine_incident(w.engine, 0));

        /* Nor is it one where less is left, and it takes a good part of that. */
        batch = world_add(&w, "/workload.slice/batch.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_event(&w, &(Event) { .type = EVENT_STIR, .usec = w.now });
        w.c[batch].rate = 400 * MIB;
        w.c[batch].until = 200 * MIB;
        world_run(&w, 5 * USEC_PER_SEC);
        assert_int_equal(w.c[batch].current, 200 * MIB);
        assert_null(engine_incident(w.engine, 0));

        world_event(&w, &(Event) { .type = EVENT_STIR, .usec = w.now });
        w.c[web].until = UINT64_MAX;
        world_run_until_held(&w, web);
        assert_true(w.c[web].current < 650 * MIB);
}

/* More than nothing. */
static void test_swap_that_nobody_uses(void **state _unused_) {
        static Condition any_swap = { .type = CONDITION_SWAP_USED, .active = true, .text = (char *) "SwapUsedAbove=0%" };
        static Alarm alarm = { .name = (char *) "swap", .conditions = &any_swap, .n_conditions = 1 };

        w.policy.domains[0].alarms = &alarm;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_null(world_incident(&w, "swap"));
        w.swap_free -= 64 * MIB;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_non_null(world_incident(&w, "swap"));
}

/* The same policy, or what is in it by now, read anew. */
static void reload(void) {
        static Policy again;

        again = w.policy;
        engine_step(w.engine, &again, &(EngineInput) { .now_usec = w.now }, &w.plan);
        engine_step(w.engine, &w.policy, &(EngineInput) { .now_usec = w.now }, &w.plan);
        w.due_usec = w.now;
}

/* What an operator sets at run time holds until he sets it anew, or a reload; for the domain that he names. */
static void test_set_mode(void **state _unused_) {
        const Domain *sideload = &w.policy.domains[1], *workload = &w.policy.domains[3];

        assert_int_equal(engine_set_mode(w.engine, &w.policy, "nobody", MODE_OFF), -ENOENT);
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "host", MODE_OFF), -ENOENT);
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "sideload", MODE_OFF), 0);
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "workload", MODE_MONITOR), 0);
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "workload", MODE_ENFORCE), 0);
        assert_int_equal(engine_mode(w.engine, sideload), MODE_OFF);
        assert_int_equal(engine_mode(w.engine, workload), MODE_ENFORCE);
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "sideload", _MODE_MAX), 0);
        assert_int_equal(engine_mode(w.engine, sideload), MODE_ENFORCE);
        assert_int_equal(engine_mode(w.engine, workload), MODE_ENFORCE);
        reload();
        assert_int_equal(engine_mode(w.engine, workload), MODE_CONTAIN);
}

/* Whoever is held stays so under the new policy, and is given all back once; whoever asked for help asks anew. */
static void test_reload_while_held(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        EngineStatus status;

        world_run_until_held(&w, hog);
        reload();
        engine_status(w.engine, &status);
        assert_int_equal(status.contained, 1);
        assert_int_equal(engine_incident(w.engine, 0)->state, INCIDENT_LIFTING);
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        assert_int_equal(engine_incident(w.engine, 0)->id, 2);
        assert_int_equal(engine_incident_by_id(w.engine, 1)->state, INCIDENT_LIFTING);
        w.c[hog].rate = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        world_assert_only_touched(&w, hog);
        engine_status(w.engine, &status);
        assert_int_equal(status.open_incidents, 0);
        assert_int_equal(engine_incident_by_id(w.engine, 1)->result, RESULT_RECOVERED);
}

static void reload_without_alarms(void) {
        for (size_t i = 0; i < w.policy.n_domains; i++)
                w.policy.domains[i].n_alarms = 0;
        reload();
}

/* Nobody asks for help any more: he is let go as when it is calm. */
static void test_reload_without_alarms_while_held(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        EngineStatus status;

        world_run_until_held(&w, hog);
        reload_without_alarms();
        w.c[hog].rate = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        engine_status(w.engine, &status);
        assert_int_equal(status.open_incidents, 0);
}

/* What was raised by them and nobody was contained for is over, and nothing new is raised. */
static void test_reload_without_alarms(void **state _unused_) {
        EngineStatus status;
        int hog = world_hog(&w, "/elsewhere", 100 * MIB);

        world_run(&w, 8 * USEC_PER_SEC);
        engine_status(w.engine, &status);
        assert_true(status.open_incidents > 0);
        reload_without_alarms();
        engine_status(w.engine, &status);
        assert_int_equal(status.open_incidents, 0);
        w.c[hog].rate = 0;
        w.c[world_add(&w, "/sideload.slice/other.service", CGROUP_KIND_UNIT, 0)].rate = 50 * MIB;
        world_run(&w, 20 * USEC_PER_SEC);
        engine_status(w.engine, &status);
        assert_int_equal(status.open_incidents, 0);
        world_assert_only_touched(&w, -1);
}

/* SwapUsedAbove= and MemoryUsedAbove=: of the machine, and of a slice, by the least of what limits it. */
static void used_alarm(size_t domain, ConditionType type, uint64_t web, uint64_t swap, uint64_t high, uint64_t max, bool raised) {
        static Condition condition = { .threshold_permyriad = 5000, .active = true, .text = (char *) "used", .span = { "x.policy", 1, 1 } };
        static Alarm alarm = { .name = (char *) "used", .conditions = &condition, .n_conditions = 1 };
        int slice = world_find(&w, "/workload.slice");

        for (size_t i = 0; i < w.policy.n_domains; i++)
                w.policy.domains[i].n_alarms = 0;
        condition.type = type;
        w.policy.domains[domain].alarms = &alarm;
        w.policy.domains[domain].n_alarms = 1;
        w.c[slice].high = high;
        w.c[slice].max = max;
        w.swap_free -= swap;
        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, web);
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(world_incident(&w, "used") != NULL, raised);
}

static void test_used_alarms(void **state) {
        static const struct {
                size_t domain;
                ConditionType type;
                uint64_t web_mib, swap_mib, high, max;
                bool raised;
        } cases[] = {
                { 0, CONDITION_MEMORY_USED, 380, 0, LIMIT_MAX, LIMIT_MAX, false },
                { 0, CONDITION_MEMORY_USED, 480, 0, LIMIT_MAX, LIMIT_MAX, true },
                { 0, CONDITION_SWAP_USED, 100, 500, LIMIT_MAX, LIMIT_MAX, false },
                { 0, CONDITION_SWAP_USED, 100, 520, LIMIT_MAX, LIMIT_MAX, true },
                { 3, CONDITION_MEMORY_USED, 500, 0, LIMIT_MAX, LIMIT_MAX, false },
                { 3, CONDITION_MEMORY_USED, 520, 0, LIMIT_MAX, LIMIT_MAX, true },
                { 3, CONDITION_MEMORY_USED, 90, 0, 200 * MIB, 400 * MIB, false },
                { 3, CONDITION_MEMORY_USED, 110, 0, 200 * MIB, 400 * MIB, true },
                { 3, CONDITION_MEMORY_USED, 110, 0, LIMIT_MAX, 200 * MIB, true },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                used_alarm(cases[i].domain, cases[i].type, cases[i].web_mib * MIB, cases[i].swap_mib * MIB, cases[i].high, cases[i].max,
                           cases[i].raised);
                world_teardown(state);
                world_setup(state);
        }
}

/* All lines of one alarm must hold, and for LastingSec=. */
static void test_alarm_of_two_lines(void **state _unused_) {
        static Condition conditions[2] = {
                { .type = CONDITION_MEMORY_USED, .threshold_permyriad = 5000, .active = true, .text = (char *) "used", .span = { "x.policy", 1, 1 } },
                { .type = CONDITION_SWAP_USED, .threshold_permyriad = 5000, .active = true, .text = (char *) "swap", .span = { "x.policy", 2, 1 } },
        };
        static Alarm alarm = { .name = (char *) "both", .conditions = conditions, .n_conditions = 2, .lasting_usec = 20 * USEC_PER_SEC };

        for (size_t i = 0; i < w.policy.n_domains; i++)
                w.policy.domains[i].n_alarms = 0;
        w.policy.domains[0].alarms = &alarm;
        w.policy.domains[0].n_alarms = 1;
        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 700 * MIB);
        world_run(&w, 60 * USEC_PER_SEC);
        assert_null(world_incident(&w, "both"));
        w.swap_free = 0;
        world_run(&w, 19 * USEC_PER_SEC);
        assert_null(world_incident(&w, "both"));
        /* A pause, and it is counted anew. */
        w.swap_free = w.swap_total;
        world_run(&w, 12 * USEC_PER_SEC);
        w.swap_free = 0;
        world_run(&w, 15 * USEC_PER_SEC);
        assert_null(world_incident(&w, "both"));
        world_run(&w, 16 * USEC_PER_SEC);
        assert_non_null(world_incident(&w, "both"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_limit_is_forecast),
                T(test_hard_limit_is_forecast),
                T(test_start_is_no_leak),
                T(test_swap_that_nobody_uses),
                T(test_set_mode),
                T(test_reload_while_held),
                T(test_reload_without_alarms_while_held),
                T(test_reload_without_alarms),
                T(test_used_alarms),
                T(test_alarm_of_two_lines),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
