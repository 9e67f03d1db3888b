/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Page cache, and leaks beside those who turn it over: what counts as taken from others. */

#include "engine/test-scenario.h"

/* A backup that turns over the page cache that a limit of its own leaves it takes nothing from anybody, however much it reads. */
static void stream_beside_a_leak(uint64_t high, uint64_t max) {
        int stream = world_add(&w, "/sideload.slice/stream.service", CGROUP_KIND_UNIT, 100 * MIB), hog;

        w.c[stream].high = w.c[stream].original_high = high;
        w.c[stream].max = max;
        w.c[stream].stream = 300 * MIB;
        hog = world_hog(&w, "/sideload.slice/hog.service", 60 * MIB);
        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
        assert_true(w.c[hog].touched > 0);
}

static void test_stream_at_its_high_beside_a_leak(void **state _unused_) {
        world_without_host_alarm(&w);
        stream_beside_a_leak(100 * MIB, LIMIT_MAX);
}

static void test_stream_at_its_max_beside_a_leak(void **state _unused_) {
        world_without_host_alarm(&w);
        stream_beside_a_leak(LIMIT_MAX, 100 * MIB);
}

/* A service beside the victim that reads a little at a limit of its own changes nothing about that: the victim does not lie below it. */
static void test_stream_beside_a_service_at_its_own_limit(void **state _unused_) {
        int reader;

        world_without_host_alarm(&w);
        reader = world_add(&w, "/workload.slice/reader.service", CGROUP_KIND_UNIT, 20 * MIB);
        w.c[reader].max = 20 * MIB;
        w.c[reader].stream = 2 * MIB;
        stream_beside_a_leak(100 * MIB, LIMIT_MAX);
}

/* Who turns over what the limit of the slice leaves that the services lie in takes it from them, whatever somebody outside takes in, or
 * turns over below a limit that they do not lie below. */
static void stream_below_the_limit_of_the_victim(uint64_t rate, uint64_t stream_outside) {
        int stream, other, slice = world_find(&w, "/workload.slice");

        world_without_host_alarm(&w);
        w.c[slice].high = w.c[slice].original_high = 300 * MIB;
        stream = world_add(&w, "/workload.slice/stream.service", CGROUP_KIND_UNIT, 200 * MIB);
        other = world_hog(&w, "/sideload.slice/other.service", 0);
        w.c[stream].stream = 300 * MIB;
        w.c[other].rate = rate;
        w.c[other].stream = stream_outside;
        if (stream_outside > 0)
                w.c[other].max = 10 * MIB;
        w.ache_until = w.now + 20 * USEC_PER_SEC;
        for (int k = 0; k < 200 && w.c[stream].touched == 0; k++) {
                w.stolen += 1000;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        world_assert_only_touched(&w, stream);
        assert_true(w.c[stream].touched > 0);
}

static void test_stream_below_the_limit_of_the_victim(void **state _unused_) {
        stream_below_the_limit_of_the_victim(40 * MIB, 0);
}

static void test_stream_inside_and_outside_the_limit_of_the_victim(void **state _unused_) {
        stream_below_the_limit_of_the_victim(0, 900 * MIB);
}

/* A service that thrashes, its slice stalls for it, and the kernel steals so many pages from another one in there each 50 ms; it
 * reclaims page cache all the time, as on a machine that has read more than there is room for, and one outside reads a little.
 * filled: taken by others. unread: what it uses stands still, so a look that goes by that does not read what was stolen from it. */
static void thrashing(uint64_t pages, uint64_t max, uint64_t filled, bool unread, int *ret_other) {
        int thrash = world_add(&w, "/workload.slice/thrash.service", CGROUP_KIND_UNIT, 100 * MIB), slice = world_find(&w, "/workload.slice");

        world_without_host_alarm(&w);
        w.c[thrash].max = max;
        w.c[thrash].unread = unread;
        (void) world_add(&w, "/system.slice/large.service", CGROUP_KIND_UNIT, filled);
        *ret_other = world_hog(&w, "/sideload.slice/other.service", 0);
        w.c[thrash].stream = max < LIMIT_MAX ? 10 * MIB : 0;
        w.c[*ret_other].stream = 30 * MIB;
        w.c[*ret_other].until = 60 * MIB;
        for (int k = 0; k < 400; k++) {
                w.stolen += 1000;
                w.c[world_find(&w, "/workload.slice/web.service")].pgsteal += pages;
                w.c[thrash].stall += 20 * USEC_PER_MSEC;
                w.c[slice].stall += 20 * USEC_PER_MSEC;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
}

/* That is no reason to lay it on whoever reads. */
static void thrashing_is_no_others_fault(bool shut, bool cold, bool unread) {
        const IncidentEntry *told;
        const Incident *i;
        int other;

        w.c[world_find(&w, "/workload.slice")].shut = shut;
        w.c[world_find(&w, "/workload.slice")].cold = cold;
        thrashing(unread ? 0 : 10, 100 * MIB, 0, unread, &other);
        world_assert_only_touched(&w, -1);
        i = world_incident(&w, "memory");
        assert_int_equal(i->state, INCIDENT_QUIET);
        assert_int_equal(i->result, RESULT_SELF);
        told = world_entry(i, ENTRY_SELF, ACTION_SET_MEMORY_HIGH);
        assert_string_equal(incident_path_of(i, told->cgroup_id), "/workload.slice/thrash.service");
        for (size_t k = 0; k < i->n_candidates; k++)
                assert_int_equal(i->candidates[k].verdict,
                                 i->candidates[k].cgroup_id == w.c[other].id  ? VERDICT_FREE_MEMORY :
                                 i->candidates[k].cgroup_id == told->cgroup_id ? VERDICT_OWN_LIMIT : VERDICT_SMALL_SHARE);
}

static void test_thrashing_at_a_limit_of_its_own(void **state _unused_) {
        thrashing_is_no_others_fault(false, false, false);
}

static void test_thrashing_where_nobody_looks(void **state _unused_) {
        thrashing_is_no_others_fault(true, false, false);
}

/* What comes back at once is taken in by nobody, so it is not looked at closely though its slice is gone into. */
static void test_thrashing_that_is_cold(void **state _unused_) {
        thrashing_is_no_others_fault(false, true, false);
}

static void test_thrashing_that_is_cold_and_stands_still(void **state _unused_) {
        thrashing_is_no_others_fault(false, true, true);
}

/* Nor, where it grew to its limit a moment ago, and some of that went into swap, is it held for that: it cannot grow more. */
static void test_grown_to_a_limit_of_its_own(void **state _unused_) {
        int web = world_hog(&w, "/workload.slice/thrash.service", 0), slice = world_find(&w, "/workload.slice");

        w.c[web].max = 200 * MIB;
        w.c[web].stream = 30 * MIB;
        for (int k = 0; k < 400; k++) {
                w.stolen += 1000;
                if (w.c[web].current == w.c[web].max) {
                        w.c[web].swap = MIN(w.c[web].swap + MIB, 10 * MIB);
                        w.c[web].stall += 20 * USEC_PER_MSEC;
                        w.c[slice].stall += 20 * USEC_PER_MSEC;
                }
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        world_assert_only_touched(&w, -1);
        assert_int_equal(world_incident(&w, "memory")->result, RESULT_SELF);
}

/* But where it has none, more is stolen from others of its slice, or the machine has no room, it is. */
static void test_thrashing_without_a_limit(void **state _unused_) {
        int other;

        thrashing(10, LIMIT_MAX, 0, false, &other);
        assert_true(w.c[other].touched > 0);
}

static void test_thrashing_beside_those_that_are_stolen_from(void **state _unused_) {
        int other;

        thrashing(150, 100 * MIB, 0, false, &other);
        assert_true(w.c[other].touched > 0);
        world_assert_only_touched(&w, other);
}

static void test_thrashing_where_there_is_no_room(void **state _unused_) {
        int other;

        thrashing(10, 100 * MIB, 450 * MIB, false, &other);
        assert_true(w.c[other].touched > 0);
        world_assert_only_touched(&w, other);
}

/* Nor does one that turns over what its limit leaves, and does not wait for that, keep a stream outside from being held: it steals less
 * than that from the others of the slice, but it is they who stall. */
static void stream_beside_one_that_does_not_stall(bool shut, bool cold) {
        int ship = world_add(&w, "/workload.slice/ship.service", CGROUP_KIND_UNIT, 100 * MIB), web, other;

        world_without_host_alarm(&w);
        w.c[world_find(&w, "/workload.slice")].shut = shut;
        w.c[world_find(&w, "/workload.slice")].cold = cold;
        w.c[ship].max = 100 * MIB;
        other = world_hog(&w, "/sideload.slice/other.service", 0);
        web = world_find(&w, "/workload.slice/web.service");
        w.c[ship].stream = 10 * MIB;
        w.c[other].stream = 100 * MIB;
        w.c[other].until = 60 * MIB;
        for (int k = 0; k < 400 && w.c[other].touched == 0; k++) {
                w.stolen += 1000;
                w.c[web].pgsteal += 64;
                w.c[web].activate += 64;
                w.c[web].stall += 20 * USEC_PER_MSEC;
                w.c[world_find(&w, "/workload.slice")].stall += 20 * USEC_PER_MSEC;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        assert_true(w.c[other].touched > 0);
        world_assert_only_touched(&w, other);
}

static void test_stream_beside_one_that_does_not_stall(void **state) {
        stream_beside_one_that_does_not_stall(false, false);
        world_teardown(state);
        world_setup(state);
        stream_beside_one_that_does_not_stall(true, false);
        world_teardown(state);
        world_setup(state);
        stream_beside_one_that_does_not_stall(false, true);
}

/* For so many steps of 50 ms; the slice stalls as long, and the kernel reclaims. */
static void stall_for(int unit, unsigned steps, uint64_t usec) {
        for (unsigned k = 0; k < steps; k++) {
                w.stolen += 1000;
                w.c[unit].stall += usec;
                w.c[world_find(&w, "/workload.slice")].stall += usec;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
}

/* What a limit of its own keeps out of memory goes on into swap, where there is no end of it: so much each 50 ms. */
static void leak_into_swap_at_a_limit_of_its_own(uint64_t bytes) {
        int web = world_hog(&w, "/workload.slice/leak.service", 0);

        world_without_host_alarm(&w);
        w.c[web].high = w.c[web].original_high = 200 * MIB;
        w.c[web].rate = 100 * MIB;
        w.c[web].stream = 30 * MIB;
        w.c[web].until = 200 * MIB;
        for (int k = 0; k < 600 && w.c[web].touched == 0; k++) {
                bool full = w.c[web].current == w.c[web].high;

                w.c[web].swap += full ? bytes : 0;
                stall_for(web, 1, full ? 20 * USEC_PER_MSEC : 0);
        }
        world_assert_only_touched(&w, web);
        assert_true(w.c[web].touched > 0);
}

static void test_leak_into_swap_at_a_limit_of_its_own(void **state _unused_) {
        leak_into_swap_at_a_limit_of_its_own(2 * MIB);
}

/* Half a second shows little of it. */
static void test_slow_leak_into_swap_at_a_limit_of_its_own(void **state _unused_) {
        leak_into_swap_at_a_limit_of_its_own(MIB / 32);
}

/* Who leaks below a limit that others lie below as well takes it from them. */
static void test_leak_below_a_limit_of_several(void **state _unused_) {
        int slice, leak, other;

        world_without_host_alarm(&w);
        slice = world_add(&w, "/workload.slice/jobs.slice", CGROUP_KIND_SLICE, 0);
        w.c[slice].high = w.c[slice].original_high = 400 * MIB;
        other = world_add(&w, "/workload.slice/jobs.slice/other.service", CGROUP_KIND_UNIT, 350 * MIB);
        leak = world_add(&w, "/workload.slice/jobs.slice/leak.service", CGROUP_KIND_UNIT, 45 * MIB);
        world_run(&w, 25 * USEC_PER_SEC);
        for (int k = 0; k < 100 && w.c[leak].touched == 0; k++) {
                /* The watch sees it. */
                world_event(&w, &(Event) { .type = EVENT_STIR, .usec = w.now });
                w.c[leak].current += 2 * MIB;
                w.c[leak].pgsteal += 10;
                w.c[other].current -= 2 * MIB;
                w.c[other].pgsteal += 2 * MIB / 4096;
                w.c[slice].stall += 20 * USEC_PER_MSEC;
                w.c[slice].events_high++;
                stall_for(other, 1, 20 * USEC_PER_MSEC);
        }
        world_assert_only_touched(&w, leak);
        assert_true(w.c[leak].touched > 0);
}

/* The kernel's trigger tells of it when it has stalled for a moment, and another hardly ever does. */
static void test_thrashing_begins(void **state _unused_) {
        int thrash = world_add(&w, "/workload.slice/thrash.service", CGROUP_KIND_UNIT, 100 * MIB), other;

        world_without_host_alarm(&w);
        w.c[thrash].max = 100 * MIB;
        other = world_hog(&w, "/sideload.slice/other.service", 0);
        w.c[thrash].stream = 200 * MIB;
        w.c[other].stream = 30 * MIB;
        w.c[other].until = 60 * MIB;
        for (unsigned k = 0; k < 400; k++) {
                if (k == 4)
                        world_event(&w, &(Event) { .type = EVENT_PRESSURE, .usec = w.now, .domain = 3, .alarm = 0 });
                w.c[world_find(&w, "/workload.slice/web.service")].stall += USEC_PER_MSEC;
                stall_for(thrash, 1, 20 * USEC_PER_MSEC);
        }
        world_assert_only_touched(&w, -1);
        assert_int_equal(world_incident(&w, "memory")->result, RESULT_SELF);
}

/* Nor are those in its slice who fetch back what was stolen from them, though it fetches back nothing: that is a leak's doing, here for
 * the host's alarm. */
static void test_leak_beside_a_stream_and_those_that_are_stolen_from(void **state _unused_) {
        int stream, hog, web;
        Domain d[8];

        memcpy(d, w.policy.domains, w.policy.n_domains * sizeof(Domain));
        d[0].alarms = d[3].alarms;
        d[0].n_alarms = 1;
        d[3].n_alarms = 0;
        w.policy.domains = d;
        stream = world_add(&w, "/workload.slice/stream.service", CGROUP_KIND_UNIT, 48 * MIB);
        w.c[stream].max = 48 * MIB;
        w.c[stream].stream = 100 * MIB;
        hog = world_hog(&w, "/sideload.slice/hog.service", 15 * MIB);
        web = world_find(&w, "/workload.slice/web.service");
        for (unsigned k = 0; k < 400 && w.c[hog].touched == 0; k++) {
                w.c[web].pgsteal += 200;
                w.c[web].activate += 200;
                w.host_stall += 20 * USEC_PER_MSEC;
                stall_for(web, 1, 20 * USEC_PER_MSEC);
        }
        world_assert_only_touched(&w, hog);
        assert_true(w.c[hog].touched > 0);
}

/* One that has read all that it wanted at its own limit is no reason for what is stolen from others after that. */
static void test_stream_after_one_at_a_limit_of_its_own(void **state _unused_) {
        int job = world_add(&w, "/workload.slice/job.service", CGROUP_KIND_UNIT, 48 * MIB), stream, web;
        uint64_t began;

        world_without_host_alarm(&w);
        w.c[job].max = 48 * MIB;
        stream = world_hog(&w, "/sideload.slice/stream.service", 0);
        web = world_find(&w, "/workload.slice/web.service");
        w.c[world_find(&w, "/workload.slice")].shut = true;
        w.c[job].stream = 200 * MIB;
        world_run(&w, 9 * USEC_PER_SEC);
        w.c[job].stream = 0;
        w.c[stream].stream = 60 * MIB;
        w.c[stream].until = 200 * MIB;
        began = w.now;
        for (unsigned k = 0; k < 200 && w.c[stream].touched == 0; k++) {
                if (k == 4)
                        world_event(&w, &(Event) { .type = EVENT_PRESSURE, .usec = w.now, .domain = 3, .alarm = 0 });
                w.c[web].pgsteal += 384;
                w.c[web].activate += 384;
                stall_for(web, 1, 20 * USEC_PER_MSEC);
        }
        world_assert_only_touched(&w, stream);
        assert_true(w.c[stream].touched > 0);
        assert_true(w.now - began <= 2 * USEC_PER_SEC);
}

/* The use of a slice has its page cache in it, and who stalls may do so for page cache: where an alarm asks for these, alone or one
 * after the other, who fills the slice with it is who is looked for. */
static void test_page_cache_fills_a_slice(void **state) {
        static Condition both[] = {
                { .type = CONDITION_MEMORY_USED, .threshold_permyriad = 8000, .active = true, .text = (char *) "MemoryUsedAbove=80%",
                  .span = { "workload.policy", 30, 1 } },
                { .type = CONDITION_MEMORY_PRESSURE, .threshold_permyriad = 1000, .window_usec = USEC_PER_SEC, .active = true,
                  .text = (char *) "MemoryPressureAbove=some 10% over 1s", .span = { "workload.policy", 31, 1 } },
        };
        Alarm alarm = { .name = (char *) "used", .conditions = both };

        for (alarm.n_conditions = 1; alarm.n_conditions <= ARRAY_SIZE(both); alarm.n_conditions++) {
                Domain d[8];
                int stream, slice = world_find(&w, "/workload.slice");

                memcpy(d, w.policy.domains, w.policy.n_domains * sizeof(Domain));
                d[0].n_alarms = 0;
                d[3].alarms = &alarm;
                d[3].n_alarms = 1;
                w.policy.domains = d;
                w.c[slice].high = w.c[slice].original_high = 400 * MIB;
                stream = world_add(&w, "/workload.slice/stream.service", CGROUP_KIND_UNIT, 20 * MIB);
                (void) world_hog(&w, "/sideload.slice/other.service", 0);
                w.c[stream].stream = 300 * MIB;
                w.ache_until = w.now + 20 * USEC_PER_SEC;
                for (int k = 0; k < 400 && w.c[stream].touched == 0; k++) {
                        w.stolen += 1000;
                        w.c[stream].cache = w.c[stream].current - 20 * MIB;
                        world_run(&w, 50 * USEC_PER_MSEC);
                }
                world_assert_only_touched(&w, stream);
                assert_true(w.c[stream].touched > 0);
                world_teardown(state);
                world_setup(state);
        }
}

/* A backup fills free memory with page cache faster than a leak takes it: that is not why there will be none. */
static void test_cache_beside_a_leak_is_no_exhaustion(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 30 * MIB), backup;

        backup = world_add(&w, "/sideload.slice/dump.service", CGROUP_KIND_UNIT, 10 * MIB);
        w.c[backup].rate = 70 * MIB;
        for (int k = 0; k < 400 && w.c[hog].touched == 0; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                w.c[backup].cache = w.c[backup].current - 10 * MIB;
        }
        world_assert_only_touched(&w, hog);
        assert_true(w.c[hog].touched > 0);
        assert_non_null(world_incident(&w, "exhaustion"));
}

/* Nor is it a second leak beside one who is held: what he has besides is little. */
static void test_cache_beside_one_who_is_held(void **state _unused_) {
        int first, reader;

        w.policy.domains[3].n_alarms = 0;
        first = world_hog(&w, "/workload.slice/first.service", 100 * MIB);
        reader = world_add(&w, "/sideload.slice/reader.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run_until_held(&w, first);
        world_run(&w, 15 * USEC_PER_SEC);
        w.c[reader].rate = 40 * MIB;
        for (int k = 0; k < 400; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                w.c[reader].cache = (w.c[reader].current - 10 * MIB) * 7 / 8;
        }
        world_assert_only_touched(&w, first);
}

/* What is still to be written cannot be dropped: who fills a slice with that is who takes what its limit leaves, not one who takes a
 * little. */
static void test_dirt_at_a_limit(void **state _unused_) {
        int writer, web;

        world_with_limit_alarm(&w);
        w.total = 8192 * MIB;
        w.c[world_find(&w, "/workload.slice")].high = w.c[world_find(&w, "/workload.slice")].original_high = 3000 * MIB;
        web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 2800 * MIB);
        writer = world_add(&w, "/workload.slice/writer.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run(&w, 25 * USEC_PER_SEC);
        w.c[web].rate = 10 * MIB;
        w.c[writer].rate = 40 * MIB;
        for (int k = 0; k < 1200 && w.c[writer].touched == 0; k++) {
                /* The watch sees it. */
                world_event(&w, &(Event) { .type = EVENT_STIR, .usec = w.now });
                world_run(&w, 50 * USEC_PER_MSEC);
                w.c[writer].backlog = (w.c[writer].current - 10 * MIB) / 2;
        }
        assert_non_null(world_incident(&w, "limit"));
        world_assert_only_touched(&w, writer);
        assert_true(w.c[writer].touched > 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_stream_at_its_high_beside_a_leak),
                T(test_stream_at_its_max_beside_a_leak),
                T(test_stream_beside_a_service_at_its_own_limit),
                T(test_stream_below_the_limit_of_the_victim),
                T(test_thrashing_at_a_limit_of_its_own),
                T(test_grown_to_a_limit_of_its_own),
                T(test_thrashing_without_a_limit),
                T(test_thrashing_where_nobody_looks),
                T(test_thrashing_that_is_cold),
                T(test_thrashing_that_is_cold_and_stands_still),
                T(test_thrashing_beside_those_that_are_stolen_from),
                T(test_thrashing_where_there_is_no_room),
                T(test_stream_beside_one_that_does_not_stall),
                T(test_leak_into_swap_at_a_limit_of_its_own),
                T(test_slow_leak_into_swap_at_a_limit_of_its_own),
                T(test_leak_below_a_limit_of_several),
                T(test_thrashing_begins),
                T(test_leak_beside_a_stream_and_those_that_are_stolen_from),
                T(test_stream_after_one_at_a_limit_of_its_own),
                T(test_page_cache_fills_a_slice),
                T(test_stream_inside_and_outside_the_limit_of_the_victim),
                T(test_cache_beside_a_leak_is_no_exhaustion),
                T(test_cache_beside_one_who_is_held),
                T(test_dirt_at_a_limit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
