/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handing over, against a systemd of the test's own that keeps drop-ins as the real one does. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "act/handover.h"
#include "act/test-spin.h"
#include "act/worker.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/test-systemd.h"

#define DROPIN "system.control/hog.service.d/50-MemoryHigh.conf"

static char base[TEST_DIR_SIZE], file[96], dropin[192];
static sd_event *event;
static FakeSystemd fake;
static Leases *leases;
static Handover *handover;
static int lost, refused, cgroup_fd = -EBADF;
static uint64_t id;

static int answer(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        const char *value = strstr(line, "MemoryHigh t:");
        char command[512];

        (void) f;
        (void) call;
        (void) reply;
        assert_non_null(value);
        if (refused == -EINVAL || refused == -EHOSTUNREACH)
                return refused;
        (void) snprintf(
                command, sizeof command,
                "mkdir -p %s/system.control/hog.service.d && "
                "printf '# by systemd\\n[Service]\\nMemoryHigh=%%s\\n' "
                "%s >%s",
                base, strstr(value, "18446744073709551615") ? "infinity" : "4096", dropin);
        assert_int_equal(system(command), 0);
        /* Whoever says nothing does it nevertheless. */
        return refused;
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
        test_sh("mkdir '%s/cgroup' && touch '%s/cgroup/memory.high'", base, base);
        cgroup_fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        {
                int fd = cgroup_open(cgroup_fd, "/cgroup");

                close(cgroup_fd);
                cgroup_fd = fd;
        }
        assert_int_equal(cgroup_id(cgroup_fd, &id), 0);
        fake = (FakeSystemd) { .answer = answer };
        lost = refused = 0;
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
        cgroup_fd = safe_close(cgroup_fd);
        test_dir_remove(base);
        return 0;
}

static void set_high(uint64_t v) {
        assert_int_equal(file_write_limit_at(cgroup_fd, "memory.high", v), 0);
}

static HeldLease *take(const char *path, uint64_t age_usec) {
        Lease lease = { .cgroup_id = id, .original = LIMIT_MAX, .value = 4096,
                        .taken_usec = now_monotonic_usec() - age_usec };
        HeldLease *h;

        strcpy(lease.path, path);
        assert_int_equal(leases_take(leases, &lease, LIMIT_MAX, &h), 0);
        h->dir_fd = fcntl(cgroup_fd, F_DUPFD_CLOEXEC, 3);
        set_high(4096);
        handover_wake(handover);
        return h;
}

static void tell_now(HeldLease *h) {
        h->retry_usec = 0;
        handover_wake(handover);
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
        assert_null(leases_find(leases, id));
        assert_non_null(leases_find_ended(leases, id));
        assert_log(SET_MAX);
        event_spin_until(event, !leases_find_ended(leases, id));
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
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_int_equal(access(dropin, F_OK), 0);
}

/* … but not with our value in it, where systemd is told of the end nothing, or does not want to hear it. */
static void test_theirs_goes(void **state) {
        (void) state;
        for (int i = 0; i < 3; i++) {
                HeldLease *h;

                refused = 0;
                test_sh("mkdir -p '%s/system.control/hog.service.d' && echo >'%s'", base, dropin);
                h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
                event_spin_until(event, h->told);
                assert_true(h->had_dropin);
                if (i < 2) {
                        refused = -EINVAL;
                        handover_end(handover, h, i == 1);
                        event_spin_until(event, !leases_find_ended(leases, id));
                        assert_int_equal(access(dropin, F_OK), -1);
                        continue;
                }
                /* And without a daemon. */
                set_high(12288);
                test_sh("mkdir '%s/a.slice' && mv '%s/cgroup' '%s/a.slice/hog.service'", base, base, base);
                assert_int_equal(leases_release_file_at(base, base, file), 0);
                assert_int_equal(access(dropin, F_OK), -1);
        }
}

static void test_drift(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);

        (void) state;
        assert_log(SET_4096);
        event_spin_until(event, h->lease.handed_over && !h->calling);
        /* Nothing is said to systemd of a value that is somebody else's. */
        handover_end(handover, h, false);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_log("");
        assert_int_equal(access(dropin, F_OK), -1);
}

/* What is there is not ours any more when systemd is to be told. */
static void test_changed_before(void **state) {
        HeldLease *h;

        (void) state;
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        set_high(12288);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_log("");
        assert_false(h->lease.handed_over);
        /* Ours again, or that of before, which is still being written over. */
        set_high(LIMIT_MAX);
        tell_now(h);
        assert_log(SET_4096);
        event_spin_until(event, h->told);
        assert_int_equal(leases_set(leases, h, 8192, LIMIT_MAX, STEP_HOLD, 0), 0);
        set_high(12288);
        tell_now(h);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_log("");
        /* Nor the original, where it was changed after it was put back. */
        handover_end(handover, h, true);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_log("");
        assert_int_equal(access(dropin, F_OK), -1);
}

/* PID 1 is not made to reclaim for a hog: of one that is above its limit it is told late, and of a lower limit not at all as
 * long as it is, for what it was told before keeps the lease through a reload. */
static void test_above_the_limit(void **state) {
        HeldLease *h;

        (void) state;
        test_sh("echo 104857600 >'%s/cgroup/memory.current'", base);
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        assert_int_equal(leases_set(leases, h, 8192, LIMIT_MAX, STEP_HOLD, 0), 0);
        set_high(8192);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_log("");
        h->lease.taken_usec -= 10 * USEC_PER_SEC;
        tell_now(h);
        assert_log(SET_8192);
        event_spin_until(event, h->told);
        assert_int_equal(leases_set(leases, h, 4096, LIMIT_MAX, STEP_SQUEEZE, 0), 0);
        set_high(4096);
        tell_now(h);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_log("");
        test_sh("echo 4096 >'%s/cgroup/memory.current'", base);
        tell_now(h);
        assert_log(SET_4096);
        event_spin_until(event, h->told);
}

/* What it was told and did not hear it does not have: of a lower one it is told in haste then. */
static void test_above_the_limit_and_silence(void **state) {
        HeldLease *h;

        (void) state;
        test_sh("echo 104857600 >'%s/cgroup/memory.current'", base);
        refused = -EHOSTUNREACH;
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        assert_int_equal(leases_set(leases, h, 8192, LIMIT_MAX, STEP_HOLD, 0), 0);
        set_high(8192);
        h->lease.taken_usec -= 10 * USEC_PER_SEC;
        tell_now(h);
        assert_log(SET_8192);
        event_spin_until(event, !h->calling);
        refused = 0;
        assert_int_equal(leases_set(leases, h, 4096, LIMIT_MAX, STEP_SQUEEZE, 0), 0);
        set_high(4096);
        tell_now(h);
        assert_log(SET_4096);
        event_spin_until(event, h->told);
}

/* The unit was started again: its new cgroup gets nothing of the old one's limit, but what was told is undone. */
static void test_another_cgroup(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);

        (void) state;
        event_spin_until(event, h->told);
        assert_log(SET_4096);
        assert_int_equal(leases_set(leases, h, 8192, LIMIT_MAX, STEP_HOLD, 0), 0);
        test_sh("rm -r '%s/cgroup'", base);
        tell_now(h);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_log("");
        handover_end(handover, h, true);
        assert_log(SET_MAX);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_int_equal(access(dropin, F_OK), -1);
}

/* The drop-in that a call under way makes goes as well. */
static void test_drift_while_telling(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);

        (void) state;
        while (!h->calling)
                assert_true(sd_event_run(event, 5000) >= 0);
        handover_end(handover, h, false);
        assert_null(leases_find(leases, id));
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_log(SET_4096);
        assert_int_equal(access(dropin, F_OK), -1);
}

static void test_not_systemds(void **state) {
        HeldLease *h = take("/lxc/box", 3 * USEC_PER_SEC);

        (void) state;
        event_spin(event, 300 * USEC_PER_MSEC);
        assert_log("");
        assert_false(h->lease.handed_over);
        handover_end(handover, h, true);
        assert_null(leases_find_ended(leases, id));
}

/* A lease of which systemd was told the end, and did not answer yet, is taken anew. */
static HeldLease *take_again(void) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        Lease lease = h->lease;

        event_spin_until(event, h->lease.handed_over && !h->calling);
        handover_end(handover, h, true);
        /* The call is on its way: sent, not answered. */
        for (int i = 0; i < 50 && !h->calling; i++)
                assert_true(sd_event_run(event, 5000) >= 0);
        assert_true(h->calling);
        lease.value = 8192;
        assert_int_equal(leases_take_again(leases, h, &lease, LIMIT_MAX), 0);
        return h;
}

static void test_taken_again(void **state) {
        HeldLease *h = take_again();

        (void) state;
        assert_log(SET_4096 SET_MAX SET_8192);
        assert_int_equal(lost, 1);
        event_spin_until(event, h->handed_value == 8192 && !h->calling);
        assert_int_equal(access(dropin, F_OK), 0);
}

/* … and changed by somebody before the answer: the drop-in that the call makes goes. */
static void test_taken_again_and_drift(void **state) {
        HeldLease *h = take_again();

        (void) state;
        set_high(12288);
        handover_end(handover, h, false);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_log(SET_4096 SET_MAX);
        assert_int_equal(lost, 0);
        assert_int_equal(access(dropin, F_OK), -1);
}

/* … and cgd leaves before the answer: whoever reads the record knows which drop-in may be made. */
static void test_taken_again_and_drift_at_the_end(void **state) {
        HeldLease *h = take_again();

        (void) state;
        set_high(12288);
        handover_end(handover, h, false);
        assert_int_equal(handover_finish(handover, now_monotonic_usec() + USEC_PER_SEC), 1);
        event_spin(event, 50 * USEC_PER_MSEC);
        assert_log(SET_4096 SET_MAX);
        assert_int_equal(access(dropin, F_OK), 0);
        test_sh("mkdir '%s/a.slice' && mv '%s/cgroup' '%s/a.slice/hog.service'", base, base, base);
        assert_int_equal(leases_release_file_at(base, base, file), 0);
        assert_int_equal(access(dropin, F_OK), -1);
}

/* What was not answered is told again, in the beginning and at the end. */
static void test_no_answer(void **state) {
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);

        (void) state;
        refused = -ETIMEDOUT;
        assert_log(SET_4096);
        event_spin_until(event, h->lease.handed_over && !h->calling);
        assert_true(h->retry_usec > now_monotonic_usec());
        refused = 0;
        tell_now(h);
        assert_log(SET_4096);
        event_spin_until(event, h->told && !h->calling);
        tell_now(h);
        event_spin(event, 50 * USEC_PER_MSEC);
        assert_log("");
        refused = -ETIMEDOUT;
        handover_end(handover, h, true);
        assert_log(SET_MAX);
        event_spin_until(event, !h->calling);
        assert_ptr_equal(leases_find_ended(leases, id), h);
        assert_true(h->retry_usec > now_monotonic_usec());
        assert_int_equal(access(dropin, F_OK), 0);
        refused = 0;
        tell_now(h);
        assert_log(SET_MAX);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_int_equal(access(dropin, F_OK), -1);
        /* The broker's word that there is no systemd is none: it executes itself anew, and may have read the drop-in. */
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        event_spin_until(event, h->told);
        refused = -EHOSTUNREACH;
        handover_end(handover, h, true);
        assert_log(SET_4096 SET_MAX);
        event_spin_until(event, !h->calling);
        assert_ptr_equal(leases_find_ended(leases, id), h);
        refused = 0;
        tell_now(h);
        assert_log(SET_MAX);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_int_equal(access(dropin, F_OK), -1);
        /* A refusal is an answer. */
        h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        event_spin_until(event, h->told);
        refused = -EINVAL;
        handover_end(handover, h, true);
        event_spin_until(event, !leases_find_ended(leases, id));
        assert_int_equal(access(dropin, F_OK), -1);
}

static void count_reader(const HeldLease *h, void *userdata) {
        (void) h;
        (*(size_t *) userdata)++;
}

/* On the way out, from a systemd that is there and too busy, or executes itself anew: the drop-in goes, and the record stays. */
static void silence_at_the_end(bool listens) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        HeldLease *h = take("/a.slice/hog.service", 3 * USEC_PER_SEC);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint64_t begin;
        size_t n = 0;

        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/private", base);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
        if (listens)
                assert_int_equal(listen(fd, 1), 0);
        event_spin_until(event, h->told);
        handover_set_bus(handover, NULL);
        handover_end(handover, h, true);
        begin = now_monotonic_usec();
        assert_int_equal(handover_finish(handover, begin + 200 * USEC_PER_MSEC), 1);
        assert_true(now_monotonic_usec() - begin < USEC_PER_SEC);
        assert_int_equal(access(dropin, F_OK), -1);
        leases_remove_if_empty(leases);
        assert_int_equal(leases_read(file, count_reader, &n), 0);
        assert_int_equal(n, 1);
        close(fd);
}

static void test_silence_at_the_end(void **state) {
        (void) state;
        silence_at_the_end(true);
}

static void test_refused_at_the_end(void **state) {
        (void) state;
        silence_at_the_end(false);
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
        assert_non_null(leases_find_ended(leases, id));
        /* On the way out the file goes even if nobody can be told. */
        assert_int_equal(handover_finish(handover, now_monotonic_usec() + USEC_PER_SEC), 0);
        assert_null(leases_find_ended(leases, id));
        leases_remove_if_empty(leases);
        assert_int_equal(access(file, F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_whole_way),    TEST(test_theirs_stays), TEST(test_theirs_goes), TEST(test_drift),
                TEST(test_not_systemds), TEST(test_taken_again),  TEST(test_no_bus),
                TEST(test_changed_before), TEST(test_above_the_limit),
                TEST(test_above_the_limit_and_silence), TEST(test_another_cgroup), TEST(test_drift_while_telling),
                TEST(test_no_answer),    TEST(test_silence_at_the_end), TEST(test_refused_at_the_end),
                TEST(test_taken_again_and_drift), TEST(test_taken_again_and_drift_at_the_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
