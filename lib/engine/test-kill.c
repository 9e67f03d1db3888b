/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kills: when it comes to one, who it is, and how many there may be. */

#include "engine/state.h"
#include "engine/test-scenario.h"

/* Another leak, for so long. */
static int leak(const char *path, uint64_t usec) {
        int hog = world_add(&w, path, CGROUP_KIND_UNIT, 10 * MIB);

        w.c[hog].rate = 100 * MIB;
        world_run(&w, usec);
        return hog;
}

/* The budget is spent: one more is held and not killed, which is told once, and a reload gives nobody another. When the first kill
 * was long enough ago, one more may be. */
static void test_budget(void **state _unused_) {
        unsigned told = 0;
        const Incident *i;
        Policy again;
        int hog;

        w.policy.domains[1].contain.kill_budget = 2;
        (void) world_hog(&w, "/sideload.slice/first.service", 100 * MIB);
        world_run(&w, 100 * USEC_PER_SEC);
        (void) leak("/sideload.slice/second.service", 100 * USEC_PER_SEC);
        assert_int_equal(w.kills, 2);
        again = w.policy;
        engine_step(w.engine, &again, &(EngineInput) { .now_usec = w.now }, &w.plan);
        hog = leak("/sideload.slice/third.service", 300 * USEC_PER_SEC);
        assert_int_equal(w.kills, 2);
        assert_true(w.c[hog].high < LIMIT_MAX);
        i = engine_incident(w.engine, 0);
        for (size_t k = 0; k < i->n_entries; k++)
                told += i->entries[k].type == ENTRY_BUDGET;
        assert_int_equal(told, 1);
        world_run(&w, 200 * USEC_PER_SEC);
        assert_int_equal(w.kills, 3);
        assert_true(w.c[hog].killed > 0);
}

static Domain domain(const char *name, unsigned budget) {
        return (Domain) { .name = (char *) name, .contain = { .kill_budget = budget, .kill_budget_usec = 600 * USEC_PER_SEC } };
}

/* A tick under these domains. */
static void tick(Policy *p, Domain *domains, size_t n) {
        *p = (Policy) { .domains = domains, .n_domains = n };
        engine_step(w.engine, p, &(EngineInput) { .now_usec = w.now }, &w.plan);
}

/* Of each domain by itself, and however many there were before. */
static void test_budgets_are_counted_for_long(void **state _unused_) {
        Domain both[] = { domain("one", 3), domain("other", 3) };
        Policy policy;

        for (unsigned kill = 0; kill < 60; kill++) {
                /* Three of them in twenty seconds, ten minutes apart. */
                w.now += kill % 3 == 0 ? 600 * USEC_PER_SEC : 10 * USEC_PER_SEC;
                tick(&policy, both, 2);
                assert_true(kill_budget_left(w.engine, &both[0]));
                kill_budget_spend(w.engine, &both[0]);
                assert_int_equal(kill_budget_left(w.engine, &both[0]), kill % 3 != 2);
                assert_true(kill_budget_left(w.engine, &both[1]));
        }
        /* As many as a policy may allow. */
        both[1].contain.kill_budget = 16;
        for (unsigned kill = 0; kill < 16; kill++) {
                assert_true(kill_budget_left(w.engine, &both[1]));
                kill_budget_spend(w.engine, &both[1]);
        }
        assert_false(kill_budget_left(w.engine, &both[1]));
}

/* There are as many places as domains: whoever is none any more leaves his to a new one, and what he had spent is not the new one's. */
static void test_budget_where_domains_come_and_go(void **state _unused_) {
        static char names[POLICY_DOMAINS_MAX][8];
        static Domain old[POLICY_DOMAINS_MAX];
        Domain now[] = { {}, domain("new", 2) };
        Policy before, policy;

        for (int i = 0; i < POLICY_DOMAINS_MAX; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "old%d", i);
                old[i] = domain(names[i], 1);
        }
        tick(&before, old, POLICY_DOMAINS_MAX);
        for (int i = 0; i < POLICY_DOMAINS_MAX; i++)
                kill_budget_spend(w.engine, &old[i]);
        now[0] = old[0];
        tick(&policy, now, 2);
        kill_budget_spend(w.engine, &now[1]);
        assert_true(kill_budget_left(w.engine, &now[1]));
        kill_budget_spend(w.engine, &now[1]);
        assert_false(kill_budget_left(w.engine, &now[1]));
        assert_false(kill_budget_left(w.engine, &now[0]));
}

/* Three of a slice that only together leak, beside one that stands still, or turns over what its own limit leaves: the slice is
 * held. Then it comes to a kill. */
static const struct SliceCase {
        uint64_t mib[3], swap_mib, cache_mib;   /* of the second one */
        CgroupFlags flags;              /* … which it gets when the slice is held already */
        bool domain;                    /* it lies in a domain of its own */
        bool unread;                    /* it takes in too little to be looked at closely */
        uint64_t stream;                /* of the one that only looks busy */
        char killed;
} slice_cases[] = {
        /* The largest, what it has in swap among it. */
        { { 10, 20, 60 }, .killed = 'c' },
        { { 60, 20, 10 }, .killed = 'a' },
        { { 60, 20, 10 }, .swap_mib = 100, .killed = 'b' },
        /* Page cache can be had without a kill. */
        { { 20, 90, 30 }, .cache_mib = 80, .killed = 'c' },
        { { 20, 90, 30 }, .cache_mib = 80, .unread = true, .killed = 'c' },
        { { 10, 20, 60 }, .stream = 100 * MIB, .killed = 'c' },
        /* One that is to be avoided only where there is nobody else, one that is left out never, nor one of another domain. */
        { { 20, 60, 10 }, .swap_mib = 100, .flags = CGROUP_AVOID, .killed = 'a' },
        { { 20, 60, 10 }, .flags = CGROUP_OMIT, .killed = 'a' },
        { { 20, 60, 10 }, .domain = true, .killed = 'a' },
};

static void killed_of_slice(const struct SliceCase *c) {
        int job[3], slice = world_find(&w, "/sideload.slice"), inner = world_add(&w, "/sideload.slice/sideload-b.slice", CGROUP_KIND_SLICE, 0);
        int idle = world_add(&w, "/sideload.slice/idle.service", CGROUP_KIND_UNIT, 200 * MIB);

        /* When nobody has taken anything in for long, and all wait for room; or before a look at all of them has the slice let go. */
        w.policy.domains[1].contain.kill_after_usec = (c->flags & CGROUP_OMIT ? 3 : 15) * USEC_PER_SEC;
        if (c->domain) {
                w.policy.domains[2].cgroup = w.c[inner].path;
                w.policy.domains[2].rank = 10;
                w.policy.domains[2].contain.mode = MODE_ENFORCE;
        }
        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 200 * MIB);
        job[0] = world_add(&w, "/sideload.slice/a.service", CGROUP_KIND_UNIT, c->mib[0] * MIB);
        job[1] = world_add(&w, "/sideload.slice/sideload-b.slice/b.service", CGROUP_KIND_UNIT, c->mib[1] * MIB);
        job[2] = world_add(&w, "/sideload.slice/c.service", CGROUP_KIND_UNIT, c->mib[2] * MIB);
        w.c[idle].high = w.c[idle].original_high = 200 * MIB;
        w.c[idle].stream = c->stream;
        w.c[job[1]].swap = c->swap_mib * MIB;
        w.c[job[1]].cache = c->cache_mib * MIB;
        w.c[job[1]].unread = c->unread;
        w.swap_free -= c->swap_mib * MIB;
        world_run(&w, 25 * USEC_PER_SEC);
        for (int i = 0; i < 3; i++)
                w.c[job[i]].rate = 20 * MIB;
        world_run_until_held(&w, slice);
        w.c[job[1]].flags = c->flags;
        for (int k = 0; k < 600 && w.kills == 0; k++) {
                w.c[slice].full += 45 * USEC_PER_MSEC;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        assert_string_equal(engine_incident_by_id(w.engine, 1)->culprit, "/sideload.slice");
        assert_int_equal(w.kills, 1);
        assert_true(w.c[job[c->killed - 'a']].killed);
        assert_false(w.c[idle].killed);
}

static void test_who_is_killed_of_a_slice(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(slice_cases); i++) {
                killed_of_slice(&slice_cases[i]);
                world_teardown(state);
                world_setup(state);
        }
}

/* Held and pushing on, or hurting at the last level that Steps= allows: for KillAfterSec= it is not killed, and then it is. */
static void killed_after(uint64_t sec, bool stream) {
        uint64_t held;
        int hog;

        if (stream)
                world_without_host_alarm(&w);
        w.policy.domains[1].contain.kill_after_usec = sec * USEC_PER_SEC;
        w.policy.domains[1].contain.steps[STEP_SQUEEZE] = false;
        hog = world_hog(&w, "/sideload.slice/hog.service", stream ? 0 : 100 * MIB);
        w.c[hog].stream = stream ? 200 * MIB : 0;
        w.ache_until = stream ? w.now + 600 * USEC_PER_SEC : 0;
        world_run_until_held(&w, hog);
        held = w.now;
        for (int k = 0; k < 2000 && w.kills == 0; k++) {
                w.stolen += stream ? 1000 : 0;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        assert_true(w.c[hog].killed);
        /* That it makes no progress is counted from the look before. */
        assert_in_range(w.now - held, (sec - 1) * USEC_PER_SEC, (sec + 3) * USEC_PER_SEC);
}

static void test_killed_after(void **state) {
        for (unsigned i = 0; i < 4; i++) {
                killed_after(i % 2 ? 10 : 30, i / 2);
                world_teardown(state);
                world_setup(state);
        }
}

/* Whose memory is page cache lives with less of it, however much he reads and whoever goes on to suffer: a kill would free nothing more. */
static void test_page_cache_is_no_reason(void **state _unused_) {
        const Incident *i;
        unsigned told = 0;
        int hog;

        world_without_host_alarm(&w);
        w.policy.domains[1].contain.steps[STEP_SQUEEZE] = false;
        hog = world_hog(&w, "/sideload.slice/hog.service", 0);
        w.c[hog].stream = 200 * MIB;
        w.ache_until = w.now + 600 * USEC_PER_SEC;
        world_run_until_held(&w, hog);
        for (int k = 0; k < 1200; k++) {
                w.stolen += 1000;
                w.c[hog].cache = w.c[hog].current * 3 / 4;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        assert_int_equal(w.kills, 0);
        assert_true(w.c[hog].high < LIMIT_MAX);
        i = engine_incident(w.engine, 0);
        for (size_t k = 0; k < i->n_entries; k++)
                if (i->entries[k].type == ENTRY_SPARED) {
                        told++;
                        assert_true(i->entries[k].after < i->entries[k].before / 2 && i->entries[k].after > 0);
                }
        assert_int_equal(told, 1);
        /* Which is no place to hide in. */
        for (int k = 0; k < 400 && w.kills == 0; k++) {
                w.stolen += 1000;
                w.c[hog].cache = w.c[hog].current / 4;
                world_run(&w, 50 * USEC_PER_MSEC);
        }
        assert_true(w.c[hog].killed);
}

/* One at a time on the host: what the first one frees may be all that was lacking. */
static void test_one_kill_at_a_time(void **state _unused_) {
        uint64_t held;
        int first, second;

        w.kill_takes_usec = 20 * USEC_PER_SEC;
        w.policy.domains[1].contain.kill_after_usec = 20 * USEC_PER_SEC;
        first = world_hog(&w, "/sideload.slice/first.service", 100 * MIB);
        world_run_until_held(&w, first);
        w.c[world_find(&w, "/workload.slice/web.service")].current = 50 * MIB;
        world_run(&w, 6 * USEC_PER_SEC);
        second = leak("/sideload.slice/second.service", 0);
        world_run_until_held(&w, second);
        held = w.now;
        while (w.kills == 0)
                world_run(&w, 50 * USEC_PER_MSEC);
        world_run(&w, 19 * USEC_PER_SEC);
        assert_true(w.now > held + 20 * USEC_PER_SEC);
        assert_int_equal(w.kills, 1);
        world_run(&w, 3 * USEC_PER_SEC);
        assert_int_equal(w.kills, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_budget),
                T(test_budgets_are_counted_for_long),
                T(test_budget_where_domains_come_and_go),
                T(test_who_is_killed_of_a_slice),
                T(test_killed_after),
                T(test_page_cache_is_no_reason),
                T(test_one_kill_at_a_time),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
