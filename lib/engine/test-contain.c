/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is held: how it rises and is given back, also what a cgd before left, what somebody else changed, and what cannot be written. */

#include "engine/state.h"
#include "engine/test-scenario.h"

/* What a cgd before has left is given back, and told as the views know it: without a domain. */
static void test_left_from_before(void **state _unused_) {
        int hog = world_add(&w, "/sideload.slice/hog.service", CGROUP_KIND_UNIT, 300 * MIB);
        Lease l = { .cgroup_id = w.c[hog].id, .step = STEP_SQUEEZE, .original = LIMIT_MAX, .value = 310 * MIB,
                    .swap_original = LIMIT_MAX, .swap_value = LIMIT_MAX };
        const Incident *i;

        w.c[hog].high = l.value;
        world_run(&w, USEC_PER_SEC);
        assert_int_equal(engine_adopt(w.engine, w.now, &l, w.c[hog].path), 0);
        i = engine_incident(w.engine, 0);
        assert_string_equal(i->domain, "");
        assert_string_equal(i->alarm, "adopted");
        assert_string_equal(i->culprit, "/sideload.slice/hog.service");
        assert_int_equal(i->state, INCIDENT_LIFTING);
        assert_int_equal(i->entries[0].type, ENTRY_ALARM);
        /* By the usual rules, and not at once. */
        w.due_usec = w.now;
        world_run(&w, 500 * USEC_PER_MSEC);
        assert_int_equal(w.c[hog].high, l.value);
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        i = engine_incident(w.engine, 0);
        assert_int_equal(i->state, INCIDENT_OVER);
        assert_int_equal(i->result, RESULT_RECOVERED);
}

/* Of two resources the cgd before had given memory back already. */
static void test_half_left_from_before(void **state _unused_) {
        int hog = world_add(&w, "/sideload.slice/hog.service", CGROUP_KIND_UNIT, 300 * MIB);
        IoLine cap = { 8, 0, { 4 * MIB, LIMIT_MAX, 1000, LIMIT_MAX } };
        Lease l = { .cgroup_id = w.c[hog].id, .step = STEP_IO_CAP, .original = LIMIT_MAX, .value = LIMIT_MAX,
                    .swap_original = LIMIT_MAX, .swap_value = LIMIT_MAX, .n_io = 1 };

        l.io[0] = (IoCap) { .value = cap, .expect = cap, .original = w.c[hog].io_max[0] };
        w.c[hog].io_max[0] = cap;
        world_run(&w, USEC_PER_SEC);
        assert_int_equal(engine_adopt(w.engine, w.now, &l, w.c[hog].path), 0);
        for (int k = 0; k < 600; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_int_equal(w.c[hog].high, LIMIT_MAX);
        }
        assert_true(world_clean(&w));
        assert_int_equal(engine_incident(w.engine, 0)->state, INCIDENT_OVER);
}

/* Nothing is done about one more than cgd can keep account of, and it is said. */
static void test_no_room(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        const Incident *i = NULL;

        for (int k = 0; k < CONTAINMENTS_MAX; k++)
                w.engine->containments[k] = (Containment) { .cgroup_id = 1000000 + k, .phase = PHASE_RESTORING, .pending_action = 1 };
        for (int k = 0; k < 200 && !i; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                i = engine_incident(w.engine, 0);
                i = i && i->result == RESULT_NOT_ALLOWED ? i : NULL;
        }
        assert_non_null(i);
        assert_string_equal(i->culprit, "/sideload.slice/hog.service");
        assert_int_equal(i->candidates[0].verdict, VERDICT_NO_ROOM);
        assert_int_equal(w.c[hog].touched, 0);
}

static void test_drift_is_left_alone(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);

        world_run(&w, 8 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        w.c[hog].high = 900 * MIB;
        w.c[hog].rate = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(w.c[hog].high, 900 * MIB);
        assert_int_equal(w.kills, 0);
}

/* Also where the trouble was over in the moment when it was seen: what he takes until he is at their limit is theirs to give. */
static void drift_is_left_alone_for_a_while(uint64_t after) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        uint64_t theirs, until = 0;
        EngineStatus status;

        for (int k = 0; k < 400 && !(w.c[hog].high < LIMIT_MAX); k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        world_run(&w, after);
        theirs = w.c[hog].high = w.c[hog].current + 48 * MIB;
        for (int k = 0; k < 200; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                engine_status(w.engine, &status);
                assert_int_equal(w.c[hog].high, theirs);
                if (until == 0 && status.contained == 0)
                        until = w.now + 900 * USEC_PER_MSEC;
                if (w.now < until)
                        assert_int_equal(status.contained, 0);
        }
        assert_true(until > 0);
}

static void test_drift_is_left_alone_for_a_while(void **state) {
        /* Whether the alarm is up or down just then, and since when. */
        for (uint64_t after = 50 * USEC_PER_MSEC; after <= 3 * USEC_PER_SEC; after += 150 * USEC_PER_MSEC) {
                drift_is_left_alone_for_a_while(after);
                (void) world_teardown(state);
                (void) world_setup(state);
        }
}

static Lease lease_of(int i, uint64_t level) {
        return (Lease) { .cgroup_id = w.c[i].id, .step = STEP_SQUEEZE, .original = LIMIT_MAX, .value = level,
                         .swap_original = LIMIT_MAX, .swap_value = LIMIT_MAX };
}

static void adopt(int i, uint64_t level) {
        Lease l = lease_of(i, level);

        w.c[i].high = level;
        world_run(&w, USEC_PER_SEC);
        assert_int_equal(engine_adopt(w.engine, w.now, &l, w.c[i].path), 0);
}

/* A quarter of little is too little to be written; it rises all the same. */
static void test_small_limit_rises(void **state _unused_) {
        int hog = world_add(&w, "/sideload.slice/hog.service", CGROUP_KIND_UNIT, 8 * MIB);

        w.c[hog].rate = MIB;
        w.c[hog].until = 60 * MIB;
        adopt(hog, 8 * MIB);
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(w.kills, 0);
        assert_true(world_clean(&w));
}

/* Others' trouble drove half of it to swap, beyond its limit there: it took in nothing, and when they are done it is not left
 * in the kernel's throttle until it is killed. */
static void test_driven_out_of_a_limit_rises(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB), web = world_find(&w, "/workload.slice/web.service");
        const Incident *i;
        bool risen = false;

        world_run_until_held(&w, hog);
        w.c[hog].current -= 300 * MIB;
        w.c[hog].swap += 300 * MIB;
        w.swap_free -= 300 * MIB;
        w.c[web].current = 50 * MIB;
        w.c[hog].nap_until = w.now + 8 * USEC_PER_SEC;
        world_run(&w, 5 * USEC_PER_SEC);
        i = engine_incident_by_id(w.engine, 1);
        for (size_t k = 0; k < i->n_entries; k++)
                risen = risen || i->entries[k].type == ENTRY_RISE;
        assert_true(risen);
        assert_true(w.c[hog].swap_high > w.c[hog].swap);
        assert_int_equal(w.kills, 0);
}

/* Far above what it uses a limit does not bind a stream, which turns over what it has and takes in nothing more. */
static void test_stream_gets_all_back(void **state _unused_) {
        int hog;

        world_done(&w);
        world_init(&w, 8192 * MIB, 1024 * MIB);
        hog = world_add(&w, "/sideload.slice/stream.service", CGROUP_KIND_UNIT, 500 * MIB);
        w.c[hog].stream = 200 * MIB;
        w.c[hog].until = 500 * MIB;
        adopt(hog, 520 * MIB);
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        assert_int_equal(engine_incident(w.engine, 0)->state, INCIDENT_OVER);
}

/* Its own limit was as low as that: only its swap is held, and that is not forgotten where it cannot be given back at once. */
static void test_held_by_swap_alone(void **state _unused_) {
        int hog = world_add(&w, "/sideload.slice/hog.service", CGROUP_KIND_UNIT, 300 * MIB);
        Lease l = lease_of(hog, 300 * MIB);
        EngineStatus status;

        w.c[hog].high = w.c[hog].original_high = l.original = 300 * MIB;
        l.swap_value = 10 * MIB;
        world_run(&w, USEC_PER_SEC);
        assert_int_equal(engine_adopt(w.engine, w.now, &l, w.c[hog].path), 0);
        w.refuse_writes = true;
        world_run(&w, 20 * USEC_PER_SEC);
        engine_status(w.engine, &status);
        assert_int_equal(status.contained, 1);
        assert_true(w.c[hog].touched > 0);
        w.refuse_writes = false;
        world_run(&w, 2 * USEC_PER_SEC);
        engine_status(w.engine, &status);
        assert_int_equal(status.contained, 0);
}

/* News are of one step: what was told of the first is not told again with the second. */
static void test_adopted_one_by_one(void **state _unused_) {
        int a = world_add(&w, "/sideload.slice/a.service", CGROUP_KIND_UNIT, 30 * MIB),
            b = world_add(&w, "/sideload.slice/b.service", CGROUP_KIND_UNIT, 30 * MIB);
        const News *news;

        adopt(a, 40 * MIB);
        assert_int_equal(engine_news(w.engine, &news), 1);
        w.c[b].high = 40 * MIB;
        assert_int_equal(engine_adopt(w.engine, w.now, &(Lease) { .cgroup_id = w.c[b].id, .original = LIMIT_MAX, .value = 40 * MIB,
                                                                  .swap_original = LIMIT_MAX, .swap_value = LIMIT_MAX },
                                      w.c[b].path), 0);
        assert_int_equal(engine_news(w.engine, &news), 1);
}

/* What is told in `cgctl why` as done was done. */
static void test_every_entry_was_done(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        const Incident *i;

        w.c[hog].high = w.c[hog].original_high = 640 * MIB;
        while (w.c[hog].high == 640 * MIB)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.c[hog].rate = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        i = engine_incident_by_id(w.engine, 1);
        assert_int_equal(i->state, INCIDENT_OVER);
        for (size_t k = 0; k < i->n_entries; k++) {
                bool done = i->entries[k].type == ENTRY_OUTCOME || i->entries[k].action_id == 0;

                for (size_t j = k + 1; j < i->n_entries; j++)
                        done = done || i->entries[j].action_id == i->entries[k].action_id;
                assert_true(done);
        }
}

/* The one that asks for help ranks below who is held for another, and stalls on and on: nothing is done for him. */
static void test_lower_rank_is_not_helped_by_what_is_held(void **state _unused_) {
        int hog, low = world_add(&w, "/system.slice/low.service", CGROUP_KIND_UNIT, 10 * MIB), slice = world_find(&w, "/system.slice");
        uint64_t held;

        w.policy.domains[1].contain.steps[STEP_KILL] = false;
        w.policy.domains[2].rank = 50;
        w.policy.domains[2].alarms = w.policy.domains[3].alarms;
        w.policy.domains[2].n_alarms = 1;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        world_run_until_held(&w, hog);
        world_run(&w, USEC_PER_SEC);
        held = w.c[hog].high;
        for (int k = 0; k < 400; k++) {
                /* Not squeezed, and not below where it was held. */
                w.c[low].stall += 15 * USEC_PER_MSEC;
                w.c[slice].stall += 15 * USEC_PER_MSEC;
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[hog].high >= held);
        }
}

/* Once is not always: the first write that did not come off is made again. */
static void test_first_write_that_fails_is_made_again(void **state _unused_) {
        int hog;

        w.policy.domains[1].contain.steps[STEP_SQUEEZE] = false;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.refuse_writes = true;
        for (int k = 0; k < 1000 && w.c[hog].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.refuse_writes = false;
        world_run(&w, 2 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
}

/* What cannot be given back is tried once a second, however soon the answer comes. */
static void test_restore_that_fails_is_not_hurried(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        uint64_t touched;

        world_run_until_held(&w, hog);
        world_run(&w, USEC_PER_SEC);
        w.refuse_writes = true;
        touched = w.c[hog].touched;
        assert_int_equal(engine_set_mode(w.engine, &w.policy, "sideload", MODE_OFF), 0);
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].touched - touched <= 4);
        w.refuse_writes = false;
        world_run(&w, 2 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

static void test_writes_that_fail_are_given_up(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);

        w.refuse_writes = true;
        world_run(&w, 20 * USEC_PER_SEC);
        assert_true(w.c[hog].touched > 0);
        assert_true(w.c[hog].touched < 60);
        assert_int_equal(w.c[hog].high, LIMIT_MAX);
}

/* What was not held does not rise: to a level that is far below what it uses, where it had no limit. */
static void test_first_write_that_fails_limits_nothing(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);

        w.refuse_writes = true;
        for (int k = 0; k < 1000 && w.c[hog].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].touched > 0);
        w.refuse_writes = false;
        w.c[hog].rate = 0;
        for (int k = 0; k < 100; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_int_equal(w.c[hog].high, LIMIT_MAX);
        }
        assert_int_equal(engine_incident_by_id(w.engine, 1)->state, INCIDENT_OVER);
}

/* It hurts on and on, but for a moment now and then. Never less than `least`; 0 = than what it was held at,
 * LIMIT_MAX = than what it used then. */
static void hurts_on(uint64_t low, uint64_t min, bool squeeze, uint64_t least) {
        uint64_t level, changed, risen_from = 0;
        int hog;

        world_without_host_alarm(&w);
        w.policy.domains[1].contain.steps[STEP_KILL] = false;
        w.policy.domains[1].contain.steps[STEP_SQUEEZE] = squeeze;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.c[hog].low = low;
        w.c[hog].min = min;
        w.ache_usec = 60 * USEC_PER_SEC;
        world_run_until_held(&w, hog);
        level = w.c[hog].high;
        changed = w.now;
        least = least == LIMIT_MAX ? w.c[hog].current : least ?: level;
        w.c[world_find(&w, "/workload.slice")].max = w.c[world_find(&w, "/workload.slice/web.service")].current;
        for (int k = 0; k < 600; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                if (w.c[hog].high == level)
                        continue;
                if (w.c[hog].high > level) {
                        assert_true(w.c[hog].high <= level + level / 4);
                        risen_from = level;
                } else if (risen_from != 0) {
                        assert_int_equal(w.c[hog].high, risen_from);
                        risen_from = 0;
                } else {
                        /* A tenth of what it uses, and not before StepSec=. */
                        assert_true(w.c[hog].high >= level - level / 8);
                        assert_true(w.now - changed >= 500 * USEC_PER_MSEC);
                }
                level = w.c[hog].high;
                changed = w.now;
        }
        assert_int_equal(level, least);
        w.c[hog].rate = w.ache_until = w.ache_usec = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

static void test_hurts_on(void **state) {
        static const struct {
                uint64_t low, min;
                bool squeeze;
                uint64_t least;
        } cases[] = {
                /* SqueezeFloor=, MemoryLow=, MemoryMin=; these without end; and where Steps= has no squeeze. */
                { 0, 0, true, 64 * MIB },
                { 250 * MIB, 0, true, 250 * MIB },
                { 0, 200 * MIB, true, 200 * MIB },
                { LIMIT_MAX, 0, true, LIMIT_MAX },
                { 0, LIMIT_MAX, true, LIMIT_MAX },
                { 0, 0, false, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                hurts_on(cases[i].low, cases[i].min, cases[i].squeeze, cases[i].least);
                world_teardown(state);
                world_setup(state);
        }
}

/* Each time that it is given more the others are hurt again: it is back at once, and the patience with it is twice as long. */
static void test_relapse(void **state _unused_) {
        uint64_t level, back = 0;
        int hog, web;

        world_done(&w);
        world_init(&w, 4096 * MIB, 1024 * MIB);
        world_without_host_alarm(&w);
        w.policy.domains[1].contain.steps[STEP_KILL] = w.policy.domains[1].contain.steps[STEP_SQUEEZE] = false;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        web = world_find(&w, "/workload.slice/web.service");
        w.c[web].current = 2800 * MIB;
        w.ache_until = w.now + 10 * USEC_PER_SEC;
        world_run_until_held(&w, hog);
        w.ache_until = 0;
        w.c[web].current = 250 * MIB;
        level = w.c[hog].high;
        for (uint64_t wait = USEC_PER_SEC; wait <= 16 * USEC_PER_SEC; wait *= 2) {
                for (int k = 0; k < 1000 && w.c[hog].high == level; k++)
                        world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[hog].high > level);
                if (back != 0)
                        assert_in_range(w.now - back, wait, wait + 2 * USEC_PER_SEC);
                w.ache_until = w.now + 3 * USEC_PER_SEC;
                for (int k = 0; k < 60 && w.c[hog].high > level; k++) {
                        w.stolen += 5000;
                        world_run(&w, 50 * USEC_PER_MSEC);
                }
                assert_int_equal(w.c[hog].high, level);
                w.ache_until = 0;
                back = w.now;
        }
        assert_int_equal(w.kills, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_hurts_on),
                T(test_relapse),
                T(test_small_limit_rises),
                T(test_driven_out_of_a_limit_rises),
                T(test_stream_gets_all_back),
                T(test_held_by_swap_alone),
                T(test_adopted_one_by_one),
                T(test_every_entry_was_done),
                T(test_lower_rank_is_not_helped_by_what_is_held),
                T(test_first_write_that_fails_is_made_again),
                T(test_restore_that_fails_is_not_hurried),
                T(test_left_from_before),
                T(test_half_left_from_before),
                T(test_no_room),
                T(test_drift_is_left_alone),
                T(test_drift_is_left_alone_for_a_while),
                T(test_writes_that_fail_are_given_up),
                T(test_first_write_that_fails_limits_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
