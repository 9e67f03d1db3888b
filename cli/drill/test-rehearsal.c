/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A rehearsal that is to end, whatever ends it, ends in order: what is set up is taken down by what comes after it. And that
 * those outside it are seen to wait. */

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test-dir.h"
#include "cli.h"
#include "drill/drill.h"

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

/* A slice that goes had waited more than those that stay will, and what these wait is seen all the same. */
static void test_others_wait_while_a_slice_goes(void **state _unused_) {
        char dir[TEST_DIR_SIZE];
        uint64_t before, then;

        test_dir_make(dir);
        set_stall(dir, "system.slice", "memory.pressure", 1000);
        set_stall(dir, "system.slice", "io.pressure", 500);
        set_stall(dir, "machine.slice", "memory.pressure", 4000000);
        set_stall(dir, DRILL_SLICE, "memory.pressure", 70000);
        before = drill_others_stall(dir);
        set_stall(dir, "machine.slice", "memory.pressure", 4000200);
        set_stall(dir, DRILL_SLICE, "memory.pressure", 90000);
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signals),
                cmocka_unit_test(test_nobody_reads_what_it_says),
                cmocka_unit_test(test_nohup),
                cmocka_unit_test(test_what_clears_up_is_not_interrupted),
                cmocka_unit_test(test_report_is_waited_for_no_longer),
                cmocka_unit_test(test_others_wait_while_a_slice_goes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
