/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A rehearsal that is to end, whatever ends it, ends in order: what is set up is taken down by what comes after it. */

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signals),
                cmocka_unit_test(test_nobody_reads_what_it_says),
                cmocka_unit_test(test_nohup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
