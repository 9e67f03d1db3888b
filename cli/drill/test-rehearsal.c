/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A rehearsal that is to end, whatever ends it, ends in order: what is set up is taken down by what comes after it. And that
 * those outside it are seen to wait, and give way to none of it. */

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "cli.h"
#include "drill/drill.h"
#include "sys/policy-files.h"

void cli_error(const char *format, ...) {
        (void) format;
}

/* True: it lives on, and knows that it was stopped. */
static bool stops_in_order(bool (*happens)(void)) {
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                /* What the tests were started with is theirs. */
                for (int sig = 1; sig < NSIG; sig++)
                        (void) signal(sig, SIG_DFL);
                drill_stop_on_signals();
                _exit(!drill_was_stopped() && happens() && drill_was_stopped() ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool interrupted(void) {
        return raise(SIGINT) == 0;
}

static bool terminated(void) {
        return raise(SIGTERM) == 0;
}

static bool hung_up(void) {
        return raise(SIGHUP) == 0;
}

static bool told_nobody(void) {
        int fds[2];

        return pipe(fds) == 0 && close(fds[0]) == 0 && write(fds[1], "x", 1) < 0 && errno == EPIPE;
}

static void test_signals(void **state _unused_) {
        assert_true(stops_in_order(interrupted));
        assert_true(stops_in_order(terminated));
        assert_true(stops_in_order(hung_up));
}

/* As in `cgctl drill 2>&1 | tee log`, where the ^C takes tee first. */
static void test_nobody_reads_what_it_says(void **state _unused_) {
        assert_true(stops_in_order(told_nobody));
}

static bool hung_up_under_nohup(void) {
        (void) signal(SIGHUP, SIG_IGN);
        drill_stop_on_signals();
        return raise(SIGHUP) == 0;
}

static void test_nohup(void **state _unused_) {
        assert_false(stops_in_order(hung_up_under_nohup));
}

/* A ^C is for all who belong to the terminal, and what clears up is not to be among them. */
static bool interrupted_with_all(void) {
        pid_t pid;

        if (setpgid(0, 0) < 0 || (pid = fork()) < 0)
                return false;
        if (pid == 0) {
                (void) usleep(300000);
                (void) signal(SIGINT, SIG_IGN);
                (void) kill(0, SIGINT);
                _exit(0);
        }
        return drill_run((const char *[]){ "sleep", "1", NULL }, true) == 0 && waitpid(pid, NULL, 0) == pid;
}

static void test_what_clears_up_is_not_interrupted(void **state _unused_) {
        assert_true(stops_in_order(interrupted_with_all));
}

/* The service is there, and does not come to tell. */
int access(_unused_ const char *path, _unused_ int mode) {
        return 0;
}

static bool waits_no_longer(void) {
        time_t before = time(NULL);

        return raise(SIGINT) == 0 && !drill_victim_report(5) && time(NULL) < before + 3;
}

static void test_report_is_waited_for_no_longer(void **state _unused_) {
        assert_true(stops_in_order(waits_no_longer));
}

static void set_stall(const char *dir, const char *slice, const char *file, unsigned usec) {
        test_sh("mkdir -p %s/%s && echo some avg10=0.00 avg60=0.00 avg300=0.00 total=%u > %s/%s/%s", dir, slice, usec, dir, slice, file);
}

/* A slice that goes had waited more than those that stay will, and what these wait is seen all the same. The drill's own is none of them,
 * nor what cgd waits for as it squeezes. */
static void test_others_wait_while_a_slice_goes(void **state _unused_) {
        char dir[TEST_DIR_SIZE];
        uint64_t before, then;

        test_dir_make(dir);
        set_stall(dir, "system.slice", "memory.pressure", 1000);
        set_stall(dir, "system.slice", "io.pressure", 500);
        set_stall(dir, "machine.slice", "memory.pressure", 4000000);
        set_stall(dir, DRILL_SLICE, "memory.pressure", 70000);
        set_stall(dir, "cgd.slice", "io.pressure", 7000);
        before = drill_others_stall(dir);
        set_stall(dir, "machine.slice", "memory.pressure", 4000200);
        set_stall(dir, DRILL_SLICE, "memory.pressure", 90000);
        set_stall(dir, "cgd.slice", "io.pressure", 9000);
        then = drill_others_stall(dir);
        assert_int_equal(then - before, 200);
        /* One that comes has waited since it is there. */
        set_stall(dir, "user.slice", "io.pressure", 30);
        test_sh("rm -r %s/machine.slice", dir);
        set_stall(dir, "system.slice", "io.pressure", 1500);
        assert_int_equal(drill_others_stall(dir) - then, 1030);
        assert_int_equal(drill_others_stall(dir) - then, 1030);
        test_dir_remove(dir);
}

/* In the order of the shipped ones, below all of them. */
static void test_ranks(void **state _unused_) {
        static const char *const names[] = { DRILL_WHOLE, DRILL_VICTIM, DRILL_CULPRIT };
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_policy_sources_ PolicySources s = {};
        const Domain *whole, *victim, *culprit;
        char dir[TEST_DIR_SIZE];

        test_dir_make(dir);
        assert_int_equal(drill_policies_write(&(DrillStage) { .bound_bytes = 192 << 20 }, dir), 0);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char path[TEST_DIR_SIZE + 64];

                (void) snprintf(path, sizeof(path), "%s/%s.policy", dir, names[i]);
                assert_int_equal(policy_file_read(path, &d, &s), 0);
        }
        test_dir_remove(dir);
        assert_int_equal(policy_compile(s.items, s.n_items, &d, &p), 0);
        assert_int_equal(d.n_warnings, 0);
        assert_non_null(whole = policy_find(p, DRILL_WHOLE));
        assert_non_null(victim = policy_find(p, DRILL_VICTIM));
        assert_non_null(culprit = policy_find(p, DRILL_CULPRIT));
        assert_true(culprit->rank < victim->rank);
        assert_true(victim->rank < whole->rank);
        assert_true(whole->rank <= DRILL_RANK);
        assert_false(whole->contain.present);
}

static json_t *incident(const char *domain, const char *culprit, uint64_t started, uint64_t first_step, uint64_t ended) {
        json_t *j = json_pack("{s:s, s:s, s:{s:I}, s:n, s:n}", "domain", domain, "culprit", culprit, "started", "usec", (json_int_t) started,
                              "first_step", "ended");

        if (first_step != 0)
                assert_int_equal(json_object_set_new(j, "first_step", json_pack("{s:I}", "usec", (json_int_t) first_step)), 0);
        if (ended != 0)
                assert_int_equal(json_object_set_new(j, "ended", json_pack("{s:I}", "usec", (json_int_t) ended)), 0);
        return j;
}

static json_t *told_of(json_t *incidents) {
        json_t *run = json_object(), *touched = json_array();

        drill_tell_incidents(incidents, 100 * USEC_PER_SEC, run, touched);
        json_decref(touched);
        json_decref(incidents);
        return run;
}

#define CULPRIT "/" DRILL_SLICE "/" DRILL_CULPRIT_SLICE "/" DRILL_CULPRIT ".service"

static void test_incidents(void **state _unused_) {
        /* Newest first; the one about the service's start is over. */
        json_t *run = told_of(json_pack("[o, o, o, o]",
                                        incident(DRILL_VICTIM, CULPRIT, 103 * USEC_PER_SEC, 104 * USEC_PER_SEC, 0),
                                        incident(DRILL_VICTIM, CULPRIT, 101 * USEC_PER_SEC, 102 * USEC_PER_SEC, 103 * USEC_PER_SEC),
                                        incident("workload", "/sideload.slice/x.service", 101 * USEC_PER_SEC, 101 * USEC_PER_SEC, 0),
                                        incident(DRILL_VICTIM, "", 97 * USEC_PER_SEC, 0, 99 * USEC_PER_SEC)));

        assert_int_equal(json_integer_value(json_object_get(run, "alarm_ms")), 1000);
        assert_int_equal(json_integer_value(json_object_get(run, "first_step_ms")), 2000);
        assert_string_equal(json_string_value(json_object_get(run, "culprit")), CULPRIT);
        assert_int_equal(json_array_size(json_object_get(run, "others_touched")), 0);
        json_decref(run);
}

/* On a busy machine the service may have called for help in the calm already: who is contained for that is contained for the harm. */
static void test_incident_of_before(void **state _unused_) {
        json_t *run = told_of(json_pack("[o]", incident(DRILL_VICTIM, CULPRIT, 98 * USEC_PER_SEC, 101 * USEC_PER_SEC, 109 * USEC_PER_SEC)));

        assert_true(json_is_integer(json_object_get(run, "alarm_ms")));
        assert_int_equal(json_integer_value(json_object_get(run, "alarm_ms")), 0);
        assert_int_equal(json_integer_value(json_object_get(run, "first_step_ms")), 1000);
        assert_string_equal(json_string_value(json_object_get(run, "culprit")), CULPRIT);
        json_decref(run);
}

/* Two call for help, and who called later is helped sooner: first of all was whom that was done to. */
static void test_first_step_of_two(void **state _unused_) {
        json_t *run = told_of(json_pack("[o, o]", incident(DRILL_WHOLE, CULPRIT, 102 * USEC_PER_SEC, 103 * USEC_PER_SEC, 0),
                                        incident(DRILL_VICTIM, "/" DRILL_SLICE "/x.service", 101 * USEC_PER_SEC, 105 * USEC_PER_SEC, 0)));

        assert_int_equal(json_integer_value(json_object_get(run, "alarm_ms")), 1000);
        assert_int_equal(json_integer_value(json_object_get(run, "first_step_ms")), 3000);
        assert_string_equal(json_string_value(json_object_get(run, "culprit")), CULPRIT);
        assert_int_equal(json_array_size(json_object_get(run, "others_touched")), 1);
        json_decref(run);
}

static void test_others_touched(void **state _unused_) {
        json_t *run = told_of(json_pack("[o]", incident(DRILL_VICTIM, "/" DRILL_SLICE "/x.service", 101 * USEC_PER_SEC, 102 * USEC_PER_SEC, 0)));

        assert_int_equal(json_array_size(json_object_get(run, "others_touched")), 1);
        json_decref(run);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signals),
                cmocka_unit_test(test_nobody_reads_what_it_says),
                cmocka_unit_test(test_nohup),
                cmocka_unit_test(test_what_clears_up_is_not_interrupted),
                cmocka_unit_test(test_report_is_waited_for_no_longer),
                cmocka_unit_test(test_others_wait_while_a_slice_goes),
                cmocka_unit_test(test_ranks),
                cmocka_unit_test(test_incidents),
                cmocka_unit_test(test_incident_of_before),
                cmocka_unit_test(test_first_step_of_two),
                cmocka_unit_test(test_others_touched),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
