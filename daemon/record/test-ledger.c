/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ledger: what is added up, what is forgotten, who gives way. */

#include "base/test.h"
#include "base/units.h"
#include "record/ledger.h"

#define MINUTE (60 * USEC_PER_SEC)

enum { SLOT_HOG = 2, SLOT_WEB };

static int setup(void **state) {
        static Ledger ledger;
        static IoCredit credit;
        static void *both[] = { &ledger, &credit };

        ledger = (Ledger) {};
        credit = (IoCredit) { .usec = 100 * MINUTE };
        credit.slots[1].cgroup_id = 1;
        credit.slots[1].path = "/";
        credit.slots[SLOT_HOG].cgroup_id = 2;
        credit.slots[SLOT_HOG].path = "/b.slice/hog.service";
        credit.slots[SLOT_WEB].cgroup_id = 3;
        credit.slots[SLOT_WEB].path = "/a.slice/web.service";
        *state = both;
        ledger_add(&ledger, &credit);
        return 0;
}

static uint64_t sum(const Ledger *l, uint64_t since, const char *victim, const char *culprit) {
        const char *v, *c;
        uint64_t usec;

        for (size_t i = 0; ledger_pair(l, i, since, &v, &c, &usec); i++)
                if (streq(v, victim) && streq(c, culprit))
                        return usec;
        return 0;
}

static void waits(void **state, uint64_t usec) {
        IoCredit *c = ((void **) *state)[1];

        c->wait_usec[SLOT_WEB][SLOT_HOG] += usec;
        ledger_add(((void **) *state)[0], c);
}

static void test_minutes(void **state) {
        const Ledger *l = ((void **) *state)[0];
        IoCredit *c = ((void **) *state)[1];

        waits(state, 2000);
        c->usec += 10 * MINUTE;
        waits(state, 5000);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/hog.service"), 7000);
        assert_int_equal(sum(l, 105 * MINUTE, "/a.slice/web.service", "/b.slice/hog.service"), 5000);
        assert_int_equal(sum(l, 0, "/b.slice/hog.service", "/a.slice/web.service"), 0);
        /* The first is more than a quarter of an hour old, and its place is taken. */
        c->usec += 5 * MINUTE;
        waits(state, 1000);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/hog.service"), 6000);
        /* What was for himself is there to compare with; a little does not count. */
        c->wait_usec[SLOT_WEB][SLOT_WEB] += 9000;
        c->wait_usec[SLOT_WEB][1] += 99;
        ledger_add((Ledger *) l, c);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/a.slice/web.service"), 9000);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/"), 0);
}

/* What was another's is not laid on who has the slot now, and what was missed is not made up for. */
static void test_changes(void **state) {
        Ledger *l = ((void **) *state)[0];
        IoCredit *c = ((void **) *state)[1];

        c->usec += USEC_PER_SEC;
        c->slots[SLOT_HOG].since_usec = c->usec;
        waits(state, 4000);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/hog.service"), 0);
        c->usec += USEC_PER_SEC;
        waits(state, 3000);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/hog.service"), 3000);
        ledger_add(l, NULL);
        c->usec += USEC_PER_SEC;
        waits(state, 8000);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/hog.service"), 3000);
}

static void test_full(void **state) {
        Ledger *l = ((void **) *state)[0];
        IoCredit *c = ((void **) *state)[1];
        char path[64];

        waits(state, 50000);
        for (int i = 0; i < 2 * LEDGER_PAIRS; i++) {
                (void) snprintf(path, sizeof path, "/b.slice/%d.service", i);
                c->slots[SLOT_HOG].path = path;
                waits(state, 1000 + (uint64_t) i);
        }
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/hog.service"), 50000);
        assert_true(sum(l, 0, "/a.slice/web.service", path) > 0);
        assert_int_equal(sum(l, 0, "/a.slice/web.service", "/b.slice/0.service"), 0);
}

static void test_latency(void **state) {
        Ledger *l = ((void **) *state)[0];
        IoCredit *c = ((void **) *state)[1];
        uint64_t n, p50, p99;
        const char *cgroup;

        assert_false(ledger_latency(l, SLOT_WEB, &cgroup, &n, &p50, &p99));
        c->usec += USEC_PER_SEC;
        c->latency[SLOT_WEB][latency_bucket(1000000)] += 98;
        c->latency[SLOT_WEB][latency_bucket(60000000)] += 2;
        ledger_add(l, c);
        assert_true(ledger_latency(l, SLOT_WEB, &cgroup, &n, &p50, &p99));
        assert_string_equal(cgroup, "/a.slice/web.service");
        assert_int_equal(n, 100);
        assert_in_range(p50, 1000, 1250);
        assert_in_range(p99, 60000, 75000);
        assert_false(ledger_latency(l, SLOT_HOG, &cgroup, &n, &p50, &p99));
        /* Another owner; and a minute later it is forgotten. */
        c->slots[SLOT_WEB].since_usec = c->usec;
        ledger_add(l, c);
        assert_false(ledger_latency(l, SLOT_WEB, &cgroup, &n, &p50, &p99));
        for (int i = 0; i < 3; i++) {
                c->usec += MINUTE;
                ledger_add(l, c);
        }
        assert_false(ledger_latency(l, SLOT_WEB, &cgroup, &n, &p50, &p99));
        c->latency[SLOT_WEB][3] += 1;
        ledger_add(l, c);
        assert_true(ledger_latency(l, SLOT_WEB, &cgroup, &n, &p50, &p99));
}

/* The kernel's program counts in 32 bits, which a fast disk fills within days. */
static void test_latency_wraps(void **state) {
        Ledger *l = ((void **) *state)[0];
        IoCredit *c = ((void **) *state)[1];
        uint64_t n, p50, p99;
        const char *cgroup;

        for (int i = 0; i < 3; i++) {
                c->usec += MINUTE;
                c->latency[SLOT_WEB][3] = UINT32_MAX;
                ledger_add(l, c);
        }
        c->latency[SLOT_WEB][3] = 4;
        ledger_add(l, c);
        assert_true(ledger_latency(l, SLOT_WEB, &cgroup, &n, &p50, &p99));
        assert_int_equal(n, 5);
        assert_int_equal(p99, 4);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_minutes, setup),
                cmocka_unit_test_setup(test_changes, setup),
                cmocka_unit_test_setup(test_full, setup),
                cmocka_unit_test_setup(test_latency, setup),
                cmocka_unit_test_setup(test_latency_wraps, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
