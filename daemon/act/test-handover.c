/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handing over, against a systemd of the test's own that keeps drop-ins as the real one does. */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/handover.h"
#include "act/test-spin.h"
#include "act/worker.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sys/test-systemd.h"

#define DROPIN "system.control/hog.service.d/50-MemoryHigh.conf"

static char base[TEST_DIR_SIZE], file[96], dropin[192];
static sd_event *event;
static FakeSystemd fake;
static Leases *leases;
static Handover *handover;
static int lost;

static int answer(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        const char *value = strstr(line, "MemoryHigh t:");
        char command[512];

        (void) f;
        (void) call;
        (void) reply;
        assert_non_null(value);
        (void) snprintf(
                command, sizeof command,
                "mkdir -p %s/system.control/hog.service.d && "
                "printf '# by systemd\\n[Service]\\nMemoryHigh=%%s\\n' "
                "%s >%s",
                base, strstr(value, "18446744073709551615") ? "infinity" : "4096", dropin);
        assert_int_equal(system(command), 0);
        return 0;
}

static void on_lost(HeldLease *l, void *userdata) {
        (void) l;
        (void) userdata;
        lost++;
}

static int setup(void **state) {
        (void) state;
        test_dir_make(base);
        (void) snprintf(file, sizeof file, "%s/leases", base);
        (void) snprintf(dropin, sizeof dropin, "%s/" DROPIN, base);
        fake = (FakeSystemd) { .answer = answer };
        lost = 0;
        assert_true(sd_event_new(&event) >= 0);
        fake_systemd_start(&fake, event);
        assert_int_equal(leases_new(file, &leases), 0);
        assert_int_equal(handover_new(event, base, leases, on_lost, NULL, &handover), 0);
        handover_set_bus(handover, fake.client);
        return 0;
}

static int teardown(void **state) {
        (void) state;
        handover = handover_free(handover);
        leases = leases_free(leases);
        fake_systemd_stop(&fake);
        event = sd_event_unref(event);
        test_dir_remove(base);
        return 0;
}

static HeldLease *take(const char *path, uint64_t age_usec) {
        Lease lease = { .cgroup_id = 5, .original = LIMIT_MAX, .value = 4096,
                        .taken_usec = now_monotonic_usec() - age_usec };
        HeldLease *h;

        strcpy(lease.path, path);
        assert_int_equal(leases_take(leases, &lease, LIMIT_MAX, &h), 0);
        handover_wake(handover);
        return h;
}

static void assert_log(const char *want) {
        char *log;

        event_spin_until(event, !*want || fake.log.length >= strlen(want));
        log = fake_log(&fake);
        assert_string_equal(log, want);
        free(log);
}

#define SET_4096 "SetUnitProperties hog.service b:1 [(MemoryHigh t:4096)]\n"
#define SET_8192 "SetUnitProperties hog.service b:1 [(MemoryHigh t:8192)]\n"
#define SET_MAX "SetUnitProperties hog.service b:1 [(MemoryHigh t:18446744073709551615)]\n"

static void test_whole_way(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 1500 * USEC_PER_MSEC);

        (void) state;
        event_spin(event, 300 * USEC_PER_MSEC);
        assert_log("");
        assert_log(SET_4096);
        event_spin_until(event, h->lease.handed_over && !h->calling);
        assert_true(h->handed_value == 4096 && !h->had_dropin);
        assert_int_equal(access(dropin, F_OK), 0);
        assert_int_equal(leases_set(leases, h, 8192, LIMIT_MAX, STEP_HOLD, 0), 0);
        handover_wake(handover);
        /* PID 1 is not told more often than once a second. */
        assert_log(SET_8192);
        event_spin_until(event, h->handed_value == 8192 && !h->calling);
        handover_end(handover, h, true);
        assert_null(leases_find(leases, 5));
        assert_non_null(leases_find_ended(leases, 5));
        assert_log(SET_MAX);
        event_spin_until(event, !leases_find_ended(leases, 5));
        assert_int_equal(access(dropin, F_OK), -1);
}

static void test_theirs_stays(void **state) {
        char command[512];
        HeldLease *h;

        (void) state;
        (void) snprintf(command, sizeof command, "mkdir -p %s/system.control/hog.service.d && echo >%s",
                        base, dropin);
        assert_int_equal(system(command), 0);
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        assert_log(SET_4096);
        event_spin_until(event, h->lease.handed_over && !h->calling);
        assert_true(h->had_dropin);
        handover_end(handover, h, true);
        assert_log(SET_MAX);
        event_spin_until(event, !leases_find_ended(leases, 5));
        assert_int_equal(access(dropin, F_OK), 0);
}

static void test_drift(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);

        (void) state;
        assert_log(SET_4096);
        event_spin_until(event, h->lease.handed_over && !h->calling);
        /* Nothing is said to systemd of a value that is somebody else's. */
        handover_end(handover, h, false);
        event_spin_until(event, !leases_find_ended(leases, 5));
        assert_log("");
        assert_int_equal(access(dropin, F_OK), -1);
}

static void test_not_systemds(void **state) {
        HeldLease *h = take("/lxc/box", 3 * USEC_PER_SEC);

        (void) state;
        event_spin(event, 300 * USEC_PER_MSEC);
        assert_log("");
        assert_false(h->lease.handed_over);
        handover_end(handover, h, true);
        assert_null(leases_find_ended(leases, 5));
}

static void test_taken_again(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);

        (void) state;
        event_spin_until(event, h->lease.handed_over && !h->calling);
        handover_end(handover, h, true);
        /* The call is on its way: sent, not answered. */
        for (int i = 0; i < 50 && !h->calling; i++)
                assert_true(sd_event_run(event, 5000) >= 0);
        assert_true(h->calling);
        h->ended = false;
        assert_int_equal(leases_set(leases, h, 8192, LIMIT_MAX, STEP_HOLD, 0), 0);
        assert_log(SET_4096 SET_MAX SET_8192);
        assert_int_equal(lost, 1);
        event_spin_until(event, h->handed_value == 8192 && !h->calling);
        assert_int_equal(access(dropin, F_OK), 0);
}

static void test_no_bus(void **state) {
        HeldLease *h;

        (void) state;
        handover_set_bus(handover, NULL);
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_false(h->lease.handed_over);
        handover_set_bus(handover, fake.client);
        assert_log(SET_4096);
        event_spin_until(event, h->lease.handed_over && !h->calling);
        handover_set_bus(handover, NULL);
        handover_end(handover, h, true);
        event_spin(event, 100 * USEC_PER_MSEC);
        assert_non_null(leases_find_ended(leases, 5));
        /* On the way out the file goes even if nobody can be told. */
        handover_finish(handover, now_monotonic_usec() + USEC_PER_SEC);
        assert_null(leases_find_ended(leases, 5));
        leases_remove_if_empty(leases);
        assert_int_equal(access(file, F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_whole_way),    TEST(test_theirs_stays), TEST(test_drift),
                TEST(test_not_systemds), TEST(test_taken_again),  TEST(test_no_bus),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
