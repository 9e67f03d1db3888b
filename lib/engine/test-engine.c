/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The engine on scenarios: who is contained, when, how far, and that all is given back. */

#include "engine/state.h"
#include "engine/test-scenario.h"

static unsigned told(const Incident *i, IncidentEntryType type) {
        unsigned n = 0;

        for (size_t k = 0; k < i->n_entries; k++)
                n += i->entries[k].type == type;
        return n;
}

static void test_leak_is_held_then_killed(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        const Incident *i;

        world_run(&w, 10 * USEC_PER_SEC);
        assert_true(w.c[hog].touched > 0);
        assert_true(w.c[hog].high < LIMIT_MAX);
        i = engine_incident(w.engine, 0);
        assert_non_null(i);
        assert_string_equal(i->culprit, "/sideload.slice/hog.service");
        assert_int_equal(i->candidates[0].verdict, VERDICT_CULPRIT);
        assert_int_equal(i->first_step_usec, w.first_touch);
        assert_int_equal(i->threshold, 2 * USEC_PER_SEC);
        assert_true(i->measured <= i->threshold);

        world_run(&w, 60 * USEC_PER_SEC);
        assert_int_equal(w.kills, 1);
        assert_true(w.c[hog].gone);
        world_assert_only_touched(&w, hog);
        assert_true(world_clean(&w));
        i = engine_incident_by_id(w.engine, 1);
        assert_int_equal(i->state, INCIDENT_OVER);
        assert_int_equal(i->result, RESULT_KILLED);
}

static void test_leak_that_stops_gets_all_back(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);

        for (int k = 0; k < 1000 && w.c[hog].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[hog].touched > 0);
        /* Pinned at what it uses: nothing is taken from it, and little more given. */
        assert_int_equal(w.c[hog].swap, 0);
        assert_true(w.c[hog].high <= w.c[hog].current * 9 / 8);
        assert_true(w.c[hog].swap_high <= 8 * MIB);
        w.c[hog].rate = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        assert_int_equal(w.kills, 0);
        world_assert_only_touched(&w, hog);
        assert_int_equal(engine_incident(w.engine, 0)->result, RESULT_RECOVERED);
}

static void test_sibling_is_held_never_killed(void **state _unused_) {
        int hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB);

        world_run(&w, 90 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        assert_int_equal(w.kills, 0);
        world_assert_only_touched(&w, hog);
        w.c[hog].rate = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

/* A sample that comes late begins the recent window anew and says nothing of the last moments. */
static void test_late_samples_raise_nothing(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        uint64_t held;

        world_run_until_held(&w, hog);
        held = w.c[hog].high;
        w.lag_usec = 700 * USEC_PER_MSEC;
        world_run(&w, 8 * USEC_PER_SEC);
        assert_int_equal(w.c[hog].high, held);
}

/* Without swap a cgroup creeps past its limit, which is no reason to raise it to where it stands; nor is it one that the
 * kernel's throttle makes it look content, or that it is busy with what it has. */
static void no_rise_without_room(uint64_t rate, int64_t past_limit) {
        int hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB), web = world_find(&w, "/workload.slice/web.service");
        uint64_t held;

        w.swap_free = 0;
        world_run_until_held(&w, hog);
        held = w.c[hog].high;
        w.c[hog].rate = rate;
        w.c[hog].current = held + (uint64_t) past_limit;
        w.c[web].current = 1024 * MIB - 64 * MIB - 100 * MIB - w.c[hog].current;
        for (int k = 0; k < 160; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[hog].high <= held);
        }
}

static void test_no_rise_for_who_creeps(void **state _unused_) {
        no_rise_without_room(100 * MIB, 30 * MIB);
}

static void test_no_rise_for_who_looks_content(void **state _unused_) {
        no_rise_without_room(0, 30 * MIB);
}

static void test_no_rise_for_who_is_busy(void **state _unused_) {
        no_rise_without_room(0, -5 * (int64_t) MIB);
}

/* A leak that goes on into swap has had its share of what the host can spare. */
static void test_swap_is_part_of_a_rise(void **state _unused_) {
        int hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB);
        uint64_t held;

        world_run_until_held(&w, hog);
        held = w.c[hog].high;
        w.c[hog].swap += 150 * MIB;
        w.swap_free -= 150 * MIB;
        w.c[world_find(&w, "/workload.slice/web.service")].current -= 150 * MIB;
        world_run(&w, 8 * USEC_PER_SEC);
        assert_true(w.c[hog].high <= held);
}

/* A leak that was held a second ago; the services will go on waiting for a while, and one of them breathes. */
static int held_beside_a_breather(void) {
        int heavy = world_add(&w, "/workload.slice/heavy.service", CGROUP_KIND_UNIT, 10 * MIB), hog;

        world_without_host_alarm(&w);
        w.c[heavy].breath = 24 * MIB;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.ache_usec = 8 * USEC_PER_SEC;
        world_run_until_held(&w, hog);
        world_run(&w, USEC_PER_SEC);
        return hog;
}

/* The leak is gone and its neighbours still wait: that is laid on nobody who took in a little meanwhile. */
static void test_who_is_gone_is_remembered(void **state _unused_) {
        int hog = held_beside_a_breather();

        w.c[hog].gone = true;
        w.vanished = w.c[hog].id;
        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
}

/* Between the end of a process and the removal of its cgroup there is time, seconds of it on a busy machine. */
static void test_who_has_died_and_is_not_yet_gone(void **state _unused_) {
        int hog = held_beside_a_breather();

        w.c[hog].rate = 0;
        w.swap_free += w.c[hog].swap;
        w.c[hog].current = w.c[hog].swap = 0;
        world_run(&w, 2 * USEC_PER_SEC);
        w.c[hog].gone = true;
        w.vanished = w.c[hog].id;
        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
}

/* A leak that stood at its limit for long has taken in little of late, and a service takes back what it lost to it. */
static void test_what_is_taken_back_is_nobodys(void **state _unused_) {
        int web, hog;

        world_without_host_alarm(&w);
        hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB);
        web = world_find(&w, "/workload.slice/web.service");
        world_run_until_held(&w, hog);
        world_run(&w, 25 * USEC_PER_SEC);
        w.stolen += 20000;
        world_run(&w, 100 * USEC_PER_MSEC);
        w.c[hog].gone = true;
        w.vanished = w.c[hog].id;
        w.c[web].rate = 150 * MIB;
        w.c[web].until = w.c[web].current + 200 * MIB;
        w.ache_until = w.now + 5 * USEC_PER_SEC;
        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
}

/* The last moments show a slice that grows and nothing in it that does: who grew before is in there. */
static void test_slice_that_nobody_explains(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);

        while (w.c[hog].current < 350 * MIB)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.c[hog].shown = w.c[hog].current;
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].touched > 0);
        world_assert_only_touched(&w, hog);
}

/* A task in the kernel's throttle sleeps on when its limit is raised: that is no sign that it has enough, even where
 * reclaim has taken from it meanwhile. */
static void test_sleeper_is_not_let_go(void **state _unused_) {
        int hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB);

        world_run_until_held(&w, hog);
        w.c[hog].current -= 200 * MIB;
        w.c[hog].swap += 200 * MIB;
        w.c[hog].nap_until = w.now + 6 * USEC_PER_SEC;
        for (int k = 0; k < 400; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[hog].high < LIMIT_MAX);
        }
}

/* The kernel lets a leak through its throttle now and then, a little farther past its limit each time: that is no progress
 * for which it would be spared. */
static void test_gasping_is_no_progress(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);

        w.c[hog].gasps = true;
        world_run_until_held(&w, hog);
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(w.kills, 1);
        world_assert_only_touched(&w, hog);
}

/* The service goes on waiting, for its pages to come back from a disk that more squeezing would only fill. */
static void no_squeeze(uint64_t slice_high) {
        int hog;

        world_without_host_alarm(&w);
        w.c[world_find(&w, "/workload.slice")].high = slice_high;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.ache_usec = 8 * USEC_PER_SEC;
        world_run_until_held(&w, hog);
        for (int k = 0; k < 160; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[hog].high >= 300 * MIB);
        }
        assert_true(w.c[hog].swap > 0);
}

static void test_no_squeeze_where_there_is_room(void **state _unused_) {
        no_squeeze(LIMIT_MAX);
}

static void test_no_squeeze_where_a_limit_is_far(void **state _unused_) {
        no_squeeze(600 * MIB);
}

static void test_squeeze_where_a_limit_is_near(void **state _unused_) {
        int hog;

        world_without_host_alarm(&w);
        w.c[world_find(&w, "/workload.slice")].high = 300 * MIB;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.ache_usec = 8 * USEC_PER_SEC;
        world_run_until_held(&w, hog);
        world_run(&w, 8 * USEC_PER_SEC);
        assert_true(w.c[hog].high < 300 * MIB);
}

/* The host has room, the slice has none: a rise would only fill it again. */
static void test_no_rise_where_a_slice_is_full(void **state _unused_) {
        int hog, slice = world_find(&w, "/workload.slice");
        uint64_t held;

        world_without_host_alarm(&w);
        w.c[slice].high = 500 * MIB;
        hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB);
        world_run_until_held(&w, hog);
        world_run(&w, 200 * USEC_PER_MSEC);
        held = w.c[hog].high;
        for (int k = 0; k < 160; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[hog].high <= held);
        }
}

/* Page cache fills a limit, and makes room as soon as somebody wants it. */
static void test_cache_at_a_limit_is_no_shortage(void **state _unused_) {
        int web;

        world_with_limit_alarm(&w);
        w.c[world_find(&w, "/workload.slice")].high = 300 * MIB;
        web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 10 * MIB);
        w.c[web].rate = 8 * MIB;
        w.c[web].until = 295 * MIB;
        for (int k = 0; k < 1200; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                w.c[web].cache = w.c[web].current - 10 * MIB;
        }
        assert_null(engine_incident(w.engine, 0));
}

static void test_monitor_only_tells(void **state _unused_) {
        int hog = world_hog(&w, "/system.slice/leaky.service", 100 * MIB);
        const Incident *i;

        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, -1);
        i = engine_incident_by_id(w.engine, 1);
        assert_non_null(i);
        assert_string_equal(i->domain, "host");
        assert_string_equal(i->culprit, w.c[hog].path);
        assert_int_equal(i->candidates[0].verdict, VERDICT_MODE_MONITOR);
        assert_int_equal(told(i, ENTRY_WOULD), 1);
        assert_int_equal(i->result, RESULT_MONITORED);
}

/* In Exclude=, marked by its owner, or one of those that nobody contains, wherever it lies. */
static void test_excluded_and_omitted_are_left(void **state) {
        static const struct {
                const char *unit;
                CgroupFlags flags;
                Verdict verdict;
        } cases[] = {
                { "/sideload.slice/backup.service", 0, VERDICT_EXCLUDED },
                { "/sideload.slice/other.service", CGROUP_OMIT, VERDICT_OMIT },
                { "/sideload.slice/dbus.service", CGROUP_PROTECTED, VERDICT_PROTECTED },
                { "/elsewhere", 0, VERDICT_NO_DOMAIN },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const Incident *incident;

                w.c[world_hog(&w, cases[i].unit, 100 * MIB)].flags = cases[i].flags;
                world_run(&w, 20 * USEC_PER_SEC);
                world_assert_only_touched(&w, -1);
                incident = engine_incident_by_id(w.engine, 1);
                assert_string_equal(incident->culprit, cases[i].unit);
                assert_int_equal(incident->candidates[0].verdict, cases[i].verdict);
                assert_string_equal(incident->culprit_domain, cases[i].flags & CGROUP_PROTECTED || cases[i].unit[1] == 'e' ? "" : "sideload");
                assert_int_equal(told(incident, ENTRY_NOT_ALLOWED), 1);
                world_teardown(state);
                world_setup(state);
        }
}

/* Held, and then excluded or marked: it is let go at once, before it comes to a kill. */
static void let_go(int held, int marked, bool by_policy) {
        static char *exclude[] = { (char *) "late.service", NULL };
        uint64_t touched;

        world_run_until_held(&w, held);
        if (by_policy)
                w.policy.domains[1].contain.exclude = exclude;
        else
                w.c[marked].flags |= CGROUP_OMIT;
        world_run(&w, USEC_PER_SEC);
        assert_true(world_clean(&w));
        touched = w.c[held].touched;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(w.c[held].touched, touched);
        assert_int_equal(w.kills, 0);
}

static void test_excluded_while_held(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/late.service", 100 * MIB);

        let_go(hog, hog, true);
}

static void test_omitted_while_held(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/late.service", 100 * MIB);

        let_go(hog, hog, false);
}

/* Nobody is hurt any more when it is freed: that is how it ended, and not that it may not be touched. */
static void test_excluded_when_all_is_calm(void **state _unused_) {
        static char *exclude[] = { (char *) "late.service", NULL };
        int hog = world_hog(&w, "/sideload.slice/late.service", 100 * MIB);

        world_run_until_held(&w, hog);
        w.c[hog].rate = 0;
        world_run(&w, 500 * USEC_PER_MSEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        w.policy.domains[1].contain.exclude = exclude;
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        assert_int_equal(engine_incident_by_id(w.engine, 1)->state, INCIDENT_OVER);
        assert_int_equal(engine_incident_by_id(w.engine, 1)->result, RESULT_RECOVERED);
}

/* The service stalls all the while, and somebody has memory taken from others. */
static void trouble(uint64_t usec) {
        int web = world_find(&w, "/workload.slice/web.service"), slice = world_find(&w, "/workload.slice");

        for (uint64_t end = w.now + usec; w.now < end; world_run(&w, 50 * USEC_PER_MSEC)) {
                w.c[web].stall += 15 * USEC_PER_MSEC;
                w.c[slice].stall += 15 * USEC_PER_MSEC;
                w.stolen += 5000;
        }
}

/* That one may not be touched is looked at less and less often; another one is not waited for as long. */
static void test_wait_is_of_one_culprit(void **state _unused_) {
        int first, second, third;

        world_done(&w);
        world_init(&w, 16384 * MIB, 1024 * MIB);
        world_without_host_alarm(&w);
        (void) world_add(&w, "/other.slice", CGROUP_KIND_SLICE, 0);
        first = world_add(&w, "/other.slice/first.service", CGROUP_KIND_UNIT, 10 * MIB);
        second = world_hog(&w, "/sideload.slice/second.service", 0);
        third = world_add(&w, "/sideload.slice/third.service", CGROUP_KIND_UNIT, 10 * MIB);
        w.c[first].rate = 40 * MIB;
        trouble(70 * USEC_PER_SEC);
        world_assert_only_touched(&w, -1);
        assert_int_equal(engine_incident_by_id(w.engine, 1)->candidates[0].verdict, VERDICT_NO_DOMAIN);
        w.c[first].rate = 0;
        w.c[second].rate = 60 * MIB;
        for (int k = 0; k < 140 && w.c[second].touched == 0; k++)
                trouble(500 * USEC_PER_MSEC);
        assert_true(w.c[second].touched > 0);
        w.c[second].gone = true;
        w.vanished = w.c[second].id;
        trouble(8 * USEC_PER_SEC);
        w.c[third].rate = 60 * MIB;
        trouble(8 * USEC_PER_SEC);
        assert_true(w.c[third].touched > 0);
}

static void test_cache_stream_is_found(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/stream.service", 0);

        /* Fills the rest of the machine, then turns over; a leak of a victim's own would be smaller. */
        w.c[hog].rate = 0;
        w.c[hog].stream = 200 * MIB;
        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, hog);
        assert_true(w.c[hog].touched > 0);
}

/* One is held, for its domain may not be killed in, and keeps pushing; then a second one begins. */
static void test_second_leak_is_found(void **state _unused_) {
        int first, second;

        world_without_host_alarm(&w);
        first = world_hog(&w, "/workload.slice/first.service", 100 * MIB);
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(w.c[first].high < LIMIT_MAX && w.c[first].killed == 0);
        second = world_add(&w, "/sideload.slice/second.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run(&w, USEC_PER_SEC);
        w.c[second].rate = 60 * MIB;
        world_run(&w, 20 * USEC_PER_SEC);
        assert_true(w.c[second].touched > 0);
}

/* The first is killed, and the second may not be touched: that is said of the second. */
static void test_second_that_may_not_be_touched_is_named(void **state _unused_) {
        int first, second, web, slice = world_find(&w, "/workload.slice");
        const IncidentEntry *found = NULL;
        const Incident *i;

        world_without_host_alarm(&w);
        first = world_hog(&w, "/sideload.slice/first.service", 100 * MIB);
        web = world_find(&w, "/workload.slice/web.service");
        second = world_add(&w, "/system.slice/second.service", CGROUP_KIND_UNIT, 10 * MIB);
        for (int k = 0; k < 3000 && !found; k++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                if (w.c[first].high < LIMIT_MAX || w.kills > 0) {
                        w.c[web].stall += 15 * USEC_PER_MSEC;
                        w.c[slice].stall += 15 * USEC_PER_MSEC;
                }
                if (w.kills > 0)
                        w.c[second].rate = 60 * MIB;
                i = engine_incident_by_id(w.engine, 1);
                found = i ? world_entry(i, ENTRY_NOT_ALLOWED, 0) : NULL;
        }
        assert_non_null(found);
        assert_int_equal(found->cgroup_id, w.c[second].id);
        assert_string_equal(incident_path_of(i, w.c[second].id), w.c[second].path);
        assert_string_equal(incident_path_of(i, w.c[first].id), w.c[first].path);
}

/* What would have been done about one is told; and who that was, also when later nobody is found. */
static void test_who_was_told_of_keeps_his_name(void **state _unused_) {
        const IncidentEntry *found;
        const Incident *i;
        int hog;

        world_without_host_alarm(&w);
        w.policy.domains[1].contain.mode = MODE_MONITOR;
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.ache_usec = 120 * USEC_PER_SEC;
        for (int k = 0; k < 600 && (!(i = engine_incident_by_id(w.engine, 1)) || told(i, ENTRY_WOULD) == 0); k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.c[hog].rate = 0;
        for (int k = 0; k < 2000 && told(i, ENTRY_NO_CULPRIT) == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        world_run(&w, 40 * USEC_PER_SEC);
        assert_int_equal(told(i, ENTRY_NO_CULPRIT), 1);
        assert_int_equal(i->culprit_id, 0);
        assert_string_equal(i->culprit, "");
        found = world_entry(i, ENTRY_WOULD, 0);
        assert_int_equal(found->cgroup_id, w.c[hog].id);
        assert_non_null(incident_path_of(i, found->cgroup_id));
        assert_string_equal(incident_path_of(i, found->cgroup_id), w.c[hog].path);
}

/* The first one is killed when the incident is about the second already: that is not how the second ended. */
static void test_end_of_the_first_is_not_the_seconds(void **state _unused_) {
        int first, second;

        world_without_host_alarm(&w);
        w.policy.domains[1].contain.kill_after_usec = 40 * USEC_PER_SEC;
        first = world_hog(&w, "/sideload.slice/first.service", 100 * MIB);
        world_run_until_held(&w, first);
        world_run(&w, 20 * USEC_PER_SEC);
        second = world_add(&w, "/workload.slice/second.service", CGROUP_KIND_UNIT, 10 * MIB);
        /* More than there is room for in the list of those who were considered. */
        for (int k = 0; k < 10; k++) {
                char path[64];

                (void) snprintf(path, sizeof(path), "/system.slice/small%d.service", k);
                w.c[world_add(&w, path, CGROUP_KIND_UNIT, 0)].rate = MIB / 64;
        }
        world_run(&w, USEC_PER_SEC);
        w.c[second].rate = 60 * MIB;
        for (int k = 0; k < 2000 && w.c[first].killed == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[first].killed > 0);
        assert_string_equal(engine_incident_by_id(w.engine, 1)->culprit, w.c[second].path);
        assert_string_equal(incident_path_of(engine_incident_by_id(w.engine, 1), w.c[first].id), w.c[first].path);
        world_run(&w, 500 * USEC_PER_MSEC);
        assert_string_equal(engine_incident_by_id(w.engine, 1)->culprit, w.c[second].path);
        assert_int_not_equal(engine_incident_by_id(w.engine, 1)->result, RESULT_KILLED);
}

/* Two domains ask for help because of one, until that is held and this long after. Returns it. */
static int held_for_two(uint64_t usec) {
        int other, slice = world_find(&w, "/system.slice"), hog;

        world_without_host_alarm(&w);
        w.policy.domains[2].alarms = w.policy.domains[3].alarms;
        w.policy.domains[2].n_alarms = 1;
        other = world_add(&w, "/system.slice/other.service", CGROUP_KIND_UNIT, 10 * MIB);
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.ache_usec = 20 * USEC_PER_SEC;
        for (uint64_t held = 0; w.kills == 0 && held < usec; world_run(&w, 50 * USEC_PER_MSEC)) {
                if (w.c[hog].high == LIMIT_MAX)
                        continue;
                held += 50 * USEC_PER_MSEC;
                w.c[other].stall += 15 * USEC_PER_MSEC;
                w.c[slice].stall += 15 * USEC_PER_MSEC;
        }
        return hog;
}

/* Somebody else's limit is left alone for both of them, and both say so. */
static void test_drift_is_the_end_of_both(void **state _unused_) {
        int hog = held_for_two(3 * USEC_PER_SEC);

        w.c[hog].high = w.c[hog].current + 48 * MIB;
        for (EngineStatus status = { .contained = 1 }; status.contained > 0; engine_status(w.engine, &status))
                world_run(&w, 50 * USEC_PER_MSEC);
        for (uint64_t id = 1; id <= 2; id++) {
                const Incident *i = engine_incident_by_id(w.engine, id);

                assert_non_null(i);
                assert_string_equal(i->culprit, w.c[hog].path);
                assert_int_equal(i->candidates[0].verdict, VERDICT_FOREIGN_LIMIT);
                assert_int_equal(i->state, INCIDENT_QUIET);
        }
}

/* Whoever asked for help because of it learns how it ended. */
static void test_kill_is_the_end_of_both(void **state _unused_) {
        int hog = held_for_two(60 * USEC_PER_SEC);

        assert_true(w.c[hog].killed > 0);
        world_run(&w, 500 * USEC_PER_MSEC);
        for (uint64_t id = 1; id <= 2; id++) {
                const Incident *i = engine_incident_by_id(w.engine, id);

                assert_non_null(i);
                assert_string_equal(i->culprit, w.c[hog].path);
                assert_int_equal(i->result, RESULT_KILLED);
        }
}

/* One of the domain is held and stalls nearly always; what another one stalls at the same time adds next to nothing to the slice's. */
static void stall_beside_one_who_is_held(void) {
        int hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB), web = world_find(&w, "/workload.slice/web.service"),
            slice = world_find(&w, "/workload.slice");

        world_run_until_held(&w, hog);
        world_run(&w, 3 * USEC_PER_SEC);
        assert_null(world_incident(&w, "memory"));
        for (int k = 0; k < 60; k++) {
                w.c[web].stall += 25 * USEC_PER_MSEC;
                w.c[slice].stall += USEC_PER_MSEC;
                w.c[web].full += 25 * USEC_PER_MSEC;
                w.c[slice].full += 25 * USEC_PER_MSEC;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
}

static void test_stall_beside_one_who_is_held(void **state _unused_) {
        stall_beside_one_who_is_held();
        assert_non_null(world_incident(&w, "memory"));
}

/* That none of them works is the doing of whoever holds the one. */
static void test_full_stall_beside_one_who_is_held(void **state _unused_) {
        w.policy.domains[3].alarms[0].conditions[0].full = true;
        stall_beside_one_who_is_held();
        w.policy.domains[3].alarms[0].conditions[0].full = false;
        assert_null(world_incident(&w, "memory"));
}

static void test_who_breathes_is_no_leak(void **state _unused_) {
        int heavy = world_add(&w, "/workload.slice/heavy.service", CGROUP_KIND_UNIT, 10 * MIB);
        int other = world_add(&w, "/sideload.slice/heavy.service", CGROUP_KIND_UNIT, 10 * MIB), hog;

        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 250 * MIB);
        w.c[heavy].breath = 24 * MIB;
        w.c[other].breath = 16 * MIB;
        world_run(&w, 25 * USEC_PER_SEC);
        for (uint64_t rate = 10; rate <= 160; rate *= 2) {
                hog = world_add(&w, "/sideload.slice/hog.service", CGROUP_KIND_UNIT, 10 * MIB);
                w.c[hog].rate = rate * MIB;
                world_run(&w, 1000 * USEC_PER_SEC / rate);
                assert_true(w.c[hog].touched > 0);
                w.c[hog].gone = true;
                world_run(&w, 60 * USEC_PER_SEC);
                for (int i = 0; i < w.n; i++)
                        if (!strstr(w.c[i].path, "/hog.service"))
                                assert_int_equal(w.c[i].touched, 0);
        }
}

/* The services wait, for pages of their own, and one breathes: it takes what is free, and from nobody. */
static void test_free_memory_is_nobodys(void **state _unused_) {
        int heavy = world_add(&w, "/workload.slice/heavy.service", CGROUP_KIND_UNIT, 10 * MIB);
        const Incident *i;

        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 250 * MIB);
        w.c[heavy].breath = 24 * MIB;
        world_run(&w, 25 * USEC_PER_SEC);
        w.ache_until = w.now + 20 * USEC_PER_SEC;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(w.c[heavy].touched, 0);
        i = engine_incident(w.engine, 0);
        assert_non_null(i);
        assert_int_equal(i->result, RESULT_NO_CULPRIT);
        assert_string_equal(i->candidates[0].path, "/workload.slice/heavy.service");
        assert_int_equal(i->candidates[0].verdict, VERDICT_FREE_MEMORY);
}

/* What happened in the two minutes before is no reason to wait. */
static void test_squeeze_after_a_long_calm(void **state _unused_) {
        uint64_t held;
        int hog;

        world_without_host_alarm(&w);
        hog = world_hog(&w, "/workload.slice/leaky.service", 100 * MIB);
        w.c[hog].gasps = true;
        world_run_until_held(&w, hog);
        world_run(&w, 120 * USEC_PER_SEC);
        held = w.c[hog].high;
        w.ache_until = w.now + 3 * USEC_PER_SEC;
        world_run(&w, 3 * USEC_PER_SEC);
        assert_true(w.c[hog].high < held);
}

/* The last service in it stops, and with it goes the slice that asked for help; then both come again. */
static void test_victim_comes_again(void **state _unused_) {
        int hog, slice, web;

        world_without_host_alarm(&w);
        hog = world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        w.policy.domains[1].contain.steps[STEP_KILL] = false;
        slice = world_find(&w, "/workload.slice");
        web = world_find(&w, "/workload.slice/web.service");
        world_run_until_held(&w, hog);
        world_run(&w, 2 * USEC_PER_SEC);
        w.c[slice].gone = w.c[web].gone = true;
        /* Until a look at every cgroup says so. */
        world_run(&w, 11 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        w.c[web].current = 10 * MIB;
        w.c[slice].gone = w.c[web].gone = false;
        world_run(&w, 5 * USEC_PER_SEC);
        assert_true(w.c[hog].high < LIMIT_MAX);
        world_assert_only_touched(&w, hog);
}

static void test_rest_is_rest(void **state _unused_) {
        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 250 * MIB);
        for (int k = 0; k < 3600; k += 60) {
                EngineStatus s;

                world_run(&w, 60 * USEC_PER_SEC);
                engine_status(w.engine, &s);
                assert_true(s.samples <= (uint64_t) (k + 60) / 10 + 2);
        }
        assert_null(engine_incident(w.engine, 0));
        world_assert_only_touched(&w, -1);
}

/* Nor does it look again and again for one that it does not find. */
static void test_rest_where_one_is_overlooked(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 0);
        EngineStatus before, after;

        w.overlooked = true;
        engine_status(w.engine, &before);
        world_run(&w, 60 * USEC_PER_SEC);
        engine_status(w.engine, &after);
        assert_true(after.samples - before.samples <= 7);
        assert_true(w.plan.next_usec > w.now);
        w.c[hog].rate = 100 * MIB;
        world_run_until_held(&w, hog);
        assert_false(w.plan.sample_all);
}

static void test_growth_after_an_hour_of_calm(void **state _unused_) {
        int hog = world_hog(&w, "/sideload.slice/hog.service", 0);

        world_run(&w, 3600 * USEC_PER_SEC);
        w.c[hog].rate = 20 * MIB;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(w.c[hog].touched > 0);
        world_assert_only_touched(&w, hog);
}

/* One who takes and gives back, and one who reads all the time within what the disk does. */
static void test_an_hour_beside_the_harmless(void **state _unused_) {
        int breather = world_hog(&w, "/sideload.slice/batch.service", 0), reader = world_add(&w, "/sideload.slice/reader.service",
                                                                                             CGROUP_KIND_UNIT, 10 * MIB);

        w.c[breather].breath = 120 * MIB;
        w.c[reader].operations = 300;
        w.c[world_find(&w, "/workload.slice/web.service")].operations = 100;
        w.c[reader].io_bytes = w.c[world_find(&w, "/workload.slice/web.service")].io_bytes = 4096;
        world_run(&w, 3600 * USEC_PER_SEC);
        assert_null(engine_incident(w.engine, 0));
        world_assert_only_touched(&w, -1);
}

/* -.slice counts as 1000. */
static void test_highest_rank_is_left_by_the_host(void **state _unused_) {
        w.policy.domains[1].rank = 1000;
        (void) world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        world_run(&w, 10 * USEC_PER_SEC);
        world_assert_only_touched(&w, -1);
        assert_int_equal(engine_incident_by_id(w.engine, 1)->candidates[0].verdict, VERDICT_RANK);
}

/* Nothing comes before a kill that is not allowed itself. */
static void test_kill_alone_is_no_step(void **state _unused_) {
        w.policy.domains[1].contain.steps[STEP_HOLD] = w.policy.domains[1].contain.steps[STEP_SQUEEZE] = false;
        (void) world_hog(&w, "/sideload.slice/hog.service", 100 * MIB);
        world_run(&w, 20 * USEC_PER_SEC);
        world_assert_only_touched(&w, -1);
        assert_int_equal(w.kills, 0);
        assert_int_equal(engine_incident_by_id(w.engine, 1)->candidates[0].verdict, VERDICT_NO_STEP);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_leak_is_held_then_killed),
                T(test_highest_rank_is_left_by_the_host),
                T(test_kill_alone_is_no_step),
                T(test_leak_that_stops_gets_all_back),
                T(test_sibling_is_held_never_killed),
                T(test_late_samples_raise_nothing),
                T(test_no_rise_for_who_creeps),
                T(test_no_rise_for_who_looks_content),
                T(test_no_rise_for_who_is_busy),
                T(test_swap_is_part_of_a_rise),
                T(test_who_is_gone_is_remembered),
                T(test_who_has_died_and_is_not_yet_gone),
                T(test_what_is_taken_back_is_nobodys),
                T(test_slice_that_nobody_explains),
                T(test_sleeper_is_not_let_go),
                T(test_gasping_is_no_progress),
                T(test_no_squeeze_where_there_is_room),
                T(test_no_squeeze_where_a_limit_is_far),
                T(test_squeeze_where_a_limit_is_near),
                T(test_no_rise_where_a_slice_is_full),
                T(test_cache_at_a_limit_is_no_shortage),
                T(test_monitor_only_tells),
                T(test_excluded_and_omitted_are_left),
                T(test_excluded_while_held),
                T(test_omitted_while_held),
                T(test_excluded_when_all_is_calm),
                T(test_wait_is_of_one_culprit),
                T(test_cache_stream_is_found),
                T(test_second_leak_is_found),
                T(test_second_that_may_not_be_touched_is_named),
                T(test_who_was_told_of_keeps_his_name),
                T(test_end_of_the_first_is_not_the_seconds),
                T(test_drift_is_the_end_of_both),
                T(test_kill_is_the_end_of_both),
                T(test_stall_beside_one_who_is_held),
                T(test_full_stall_beside_one_who_is_held),
                T(test_who_breathes_is_no_leak),
                T(test_free_memory_is_nobodys),
                T(test_squeeze_after_a_long_calm),
                T(test_victim_comes_again),
                T(test_rest_is_rest),
                T(test_rest_where_one_is_overlooked),
                T(test_growth_after_an_hour_of_calm),
                T(test_an_hour_beside_the_harmless),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
