/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A command before a kill: an actor on a tree of ordinary files, against a systemd of the test's own. The
 * kill is made when cgroup.kill has its 1; nobody empties the cgroup but the test. */

#include <fcntl.h>
#include <unistd.h>

#include "act/act.h"
#include "act/test-spin.h"
#include "act/worker.h"
#include "base/test-dir.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/test-systemd.h"

#define HOG "/sideload.slice/hog.service"
#define SYSTEMD "org.freedesktop.systemd1"
#define UNIT "cgd-pre-kill-3-1.service"

static char base[TEST_DIR_SIZE], root[96], lease_file[96];
static sd_event *event;
static FakeSystemd fake;
static Actor *actor;
static int hog_fd = -EBADF;
static uint64_t hog_id, action_id;
static Outcome outcome;
static int n_outcomes;
static char said[8][512];
static bool said_failed[8];
static int n_said;

static void on_outcome(const Outcome *o, void *userdata) {
        (void) userdata;
        outcome = *o;
        n_outcomes++;
}

static void on_say(const Action *a, bool failed, const char *what, void *userdata) {
        (void) userdata;
        assert_true(n_said < 8 && a->cgroup_id == hog_id);
        said_failed[n_said] = failed;
        (void) snprintf(said[n_said++], sizeof said[0], "%s", what);
}

static int say_job(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        (void) f;
        (void) call;
        (void) line;
        return sd_bus_message_append(reply, "o", "/job/7");
}

static int setup(void **state) {
        int fd;

        (void) state;
        test_dir_make(base);
        (void) snprintf(root, sizeof root, "%s/cgroup", base);
        (void) snprintf(lease_file, sizeof lease_file, "%s/leases", base);
        test_sh("mkdir -p '%s%s' && cd '%s%s' && echo max >memory.high && "
                "echo 'populated 1' >cgroup.events && echo 1 >cgroup.procs && : >cgroup.kill",
                root, HOG, root, HOG);
        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        hog_fd = cgroup_open(fd, HOG);
        close(fd);
        assert_true(hog_fd >= 0);
        assert_int_equal(cgroup_id(hog_fd, &hog_id), 0);
        assert_true(sd_event_new(&event) >= 0);
        fake = (FakeSystemd) { .answer = say_job };
        fake_systemd_start(&fake, event);
        n_outcomes = n_said = 0;
        action_id = 0;
        assert_int_equal(actor_new(event, root, lease_file, on_outcome, NULL, &actor), 0);
        actor_set_bus(actor, fake.client);
        return 0;
}

static int teardown(void **state) {
        (void) state;
        actor = actor_free(actor);
        fake_systemd_stop(&fake);
        event = sd_event_unref(event);
        hog_fd = safe_close(hog_fd);
        test_dir_remove(base);
        return 0;
}

static bool killed(void) {
        char text[16];

        return file_read_at(hog_fd, "cgroup.kill", text, sizeof text) > 0;
}

static void submit(uint64_t timeout_usec) {
        /* Its own memory, gone when this returns: as a policy that is replaced meanwhile. */
        char program[] = "/bin/dump", unit[] = "hog.service", money[] = "$HOME";
        char *argv[] = { program, unit, money, NULL };
        Action a = { .id = ++action_id, .type = ACTION_KILL, .step = STEP_KILL, .incident_id = 3,
                     .cgroup_id = hog_id, .path = HOG };

        assert_int_equal(actor_submit_kill(actor, &a, hog_fd, argv, timeout_usec, on_say), 0);
        memset(program, 'x', sizeof program - 1);
        memset(unit, 'x', sizeof unit - 1);
}

/* The one outcome, once the kernel has done its part. */
static void assert_outcome(OutcomeResult result) {
        assert_int_equal(file_write_at(hog_fd, "cgroup.events", "populated 0\n"), 0);
        event_spin_until(event, n_outcomes > 0);
        assert_int_equal(n_outcomes, 1);
        assert_int_equal(outcome.result, result);
        assert_true(outcome.action_id == 1 && outcome.type == ACTION_KILL);
}

static void job_removed(const char *sender, const char *unit, const char *result) {
        sd_bus_message *m = NULL;

        assert_true(sd_bus_message_new_signal(fake.server, &m, "/org/freedesktop/systemd1",
                                              SYSTEMD ".Manager", "JobRemoved") >= 0);
        assert_true(sd_bus_message_append(m, "uoss", 7, "/job/7", unit, result) >= 0);
        assert_true(sd_bus_message_set_sender(m, sender) >= 0);
        assert_true(sd_bus_send(fake.server, m, NULL) >= 0);
        sd_bus_message_unref(m);
        event_spin(event, 50 * USEC_PER_MSEC);
}

static void test_runs(void **state) {
        _cleanup_free_ char *log = NULL;

        (void) state;
        submit(2 * USEC_PER_SEC);
        assert_int_equal(n_said, 1);
        assert_false(said_failed[0]);
        assert_string_equal(said[0], "running /bin/dump first, for up to 2s, as " UNIT);
        event_spin_until(event, fake.log.length > 0);
        log = fake_log(&fake);
        assert_string_equal(log, "StartTransientUnit " UNIT " fail "
                                 "[(Description [cgd] PreKillExec= in incident 3) (Slice system.slice) "
                                 "(CollectMode inactive-or-failed) "
                                 "(ExecStart [(/bin/dump [/bin/dump hog.service $$HOME] b:0)]) "
                                 "(Type oneshot) (TimeoutStartUSec t:2000000) (TimeoutStopUSec t:2000000)] []\n");
        assert_false(killed());
        /* Somebody else's job, and somebody else's word. */
        job_removed(SYSTEMD, "other.service", "done");
        job_removed("org.example", UNIT, "done");
        assert_false(killed());
        job_removed(SYSTEMD, UNIT, "done");
        event_spin_until(event, killed());
        assert_outcome(OUTCOME_DONE);
        assert_true(outcome.before == 1);
        /* Once: neither the timer nor the job's end comes back to it. */
        job_removed(SYSTEMD, UNIT, "done");
        event_spin(event, 2 * USEC_PER_SEC);
        assert_int_equal(n_outcomes, 1);
        assert_int_equal(n_said, 1);
}

static void test_fails(void **state) {
        (void) state;
        submit(5 * USEC_PER_SEC);
        event_spin_until(event, fake.log.length > 0);
        job_removed(SYSTEMD, UNIT, "failed");
        event_spin_until(event, killed());
        assert_int_equal(n_said, 2);
        assert_true(said_failed[1]);
        assert_string_equal(said[1], "/bin/dump failed; 'journalctl -u " UNIT "' tells why");
        assert_true(killed());
        assert_outcome(OUTCOME_DONE);
}

static void test_refused(void **state) {
        (void) state;
        fake.answer = fake_refuse;
        submit(5 * USEC_PER_SEC);
        event_spin_until(event, killed());
        assert_int_equal(n_said, 2);
        assert_string_equal(said[1], "/bin/dump was not run: " UNIT
                                     ": cannot start it in system.slice: The test says -22.");
        assert_true(killed());
        assert_outcome(OUTCOME_DONE);
}

static void test_times_out(void **state) {
        uint64_t begin = now_monotonic_usec();

        (void) state;
        submit(300 * USEC_PER_MSEC);
        event_spin_until(event, killed());
        assert_true(now_monotonic_usec() - begin >= 300 * USEC_PER_MSEC);
        assert_int_equal(n_said, 2);
        assert_true(said_failed[1]);
        assert_string_equal(said[1], "/bin/dump was not over within 300ms");
        /* Its end, which comes now, is nobody's business any more. */
        job_removed(SYSTEMD, UNIT, "failed");
        assert_outcome(OUTCOME_DONE);
        assert_int_equal(n_said, 2);
}

static void test_no_bus(void **state) {
        (void) state;
        actor_set_bus(actor, NULL);
        submit(5 * USEC_PER_SEC);
        event_spin_until(event, killed());
        assert_int_equal(n_said, 1);
        assert_true(said_failed[0]);
        assert_string_equal(said[0], "/bin/dump was not run: the system bus is not connected");
        assert_true(killed());
        assert_outcome(OUTCOME_DONE);
}

/* The command was promised its time, and has it; what became of it nobody can tell us. */
static void test_bus_lost(void **state) {
        uint64_t begin = now_monotonic_usec();

        (void) state;
        submit(400 * USEC_PER_MSEC);
        actor_set_bus(actor, NULL);
        event_spin_until(event, killed());
        assert_true(now_monotonic_usec() - begin >= 400 * USEC_PER_MSEC);
        assert_int_equal(n_said, 2);
        assert_outcome(OUTCOME_DONE);
}

static void test_gone(void **state) {
        (void) state;
        submit(5 * USEC_PER_SEC);
        event_spin_until(event, fake.log.length > 0);
        test_sh("rm -r '%s%s'", root, HOG);
        job_removed(SYSTEMD, UNIT, "done");
        event_spin_until(event, n_outcomes > 0);
        assert_int_equal(n_outcomes, 1);
        assert_int_equal(outcome.result, OUTCOME_GONE);
}

/* Nobody waits for a command that has lost its object: the host has one kill at a time. */
static void test_gone_is_noticed(void **state) {
        Action hold = { .id = 9, .type = ACTION_SET_MEMORY_HIGH, .step = STEP_HOLD, .cgroup_id = hog_id,
                        .value = 1 << 20, .expect = LIMIT_MAX, .original = LIMIT_MAX,
                        .lease_usec = USEC_PER_MINUTE };

        (void) state;
        assert_int_equal(actor_submit(actor, &hold, hog_fd, HOG), 0);
        event_spin_until(event, n_outcomes == 1);
        submit(20 * USEC_PER_SEC);
        event_spin(event, 50 * USEC_PER_MSEC);
        /* Held meanwhile. */
        assert_non_null(actor_lease(actor, 0));
        test_sh("rm -r '%s%s'", root, HOG);
        event_spin_until(event, n_outcomes == 2 && !actor_lease(actor, 0));
        assert_int_equal(outcome.result, OUTCOME_GONE);
        /* The next one has the hook to itself. */
        submit(USEC_PER_SEC);
        assert_false(said_failed[n_said - 1]);
}

/* One kill, one command at a time; a second kill is not held up for it. */
static void test_two(void **state) {
        (void) state;
        submit(5 * USEC_PER_SEC);
        submit(5 * USEC_PER_SEC);
        assert_int_equal(n_said, 2);
        assert_string_equal(said[1], "/bin/dump was not run: another one runs");
        event_spin_until(event, killed());
        job_removed(SYSTEMD, UNIT, "done");
        assert_int_equal(file_write_at(hog_fd, "cgroup.events", "populated 0\n"), 0);
        event_spin_until(event, n_outcomes == 2);
}

static void test_called_off(void **state) {
        (void) state;
        actor_call_off_kill(actor);
        assert_null(actor_waiting_kill(actor));
        submit(300 * USEC_PER_MSEC);
        assert_true(actor_waiting_kill(actor)->id == 1);
        actor_call_off_kill(actor);
        assert_null(actor_waiting_kill(actor));
        event_spin(event, 500 * USEC_PER_MSEC);
        job_removed(SYSTEMD, UNIT, "done");
        assert_false(killed());
        assert_outcome(OUTCOME_FAILED);
        assert_int_equal(outcome.error, -ECANCELED);
        assert_int_equal(n_said, 1);
}

/* cgd that leaves kills nobody, and every action has its outcome. */
static void test_leaving(void **state) {
        (void) state;
        submit(5 * USEC_PER_SEC);
        event_spin(event, 50 * USEC_PER_MSEC);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_false(killed());
        assert_int_equal(n_outcomes, 1);
        assert_int_equal(outcome.result, OUTCOME_FAILED);
        assert_int_equal(outcome.error, -ECANCELED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_runs),   TEST(test_fails),    TEST(test_refused), TEST(test_times_out),
                TEST(test_no_bus), TEST(test_bus_lost), TEST(test_gone),    TEST(test_gone_is_noticed),
                TEST(test_two),    TEST(test_leaving),  TEST(test_called_off),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
