/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whoever is started again and again ends when his time is over, whenever he was started last. Argument: cgd-hog. */

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "load.h"

static const char *hog;

/* Runs until that time of CLOCK_MONOTONIC; ret_status as waitpid(2) has it. False: it lived on until `last`. */
static bool ends(uint64_t end, uint64_t last, int *ret_status) {
        char text[64];
        bool killed = false;
        pid_t pid;

        snprintf(text, sizeof(text), "--end=%" PRIu64, end);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                execl(hog, hog, "idle", "--seconds=60", text, NULL);
                _exit(127);
        }
        while (waitpid(pid, ret_status, WNOHANG) == 0) {
                if (!killed && now_usec() > last) {
                        (void) kill(pid, SIGKILL);
                        killed = true;
                }
                (void) sleep_until(now_usec() + 10 * USEC_PER_MSEC);
        }
        return !killed;
}

static void test_stays_away(void **state _unused_) {
        uint64_t now = now_usec();
        int status;

        assert_true(ends(now - 1, now + 30 * USEC_PER_SEC, &status));
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 76);
}

/* A computer that has no time for it may start it when the second is over already. */
static void test_ends_in_time(void **state _unused_) {
        uint64_t now = now_usec();
        int status;

        assert_true(ends(now + USEC_PER_SEC, now + 20 * USEC_PER_SEC, &status));
        assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) || (WIFEXITED(status) && WEXITSTATUS(status) == 76));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stays_away),
                cmocka_unit_test(test_ends_in_time),
        };

        if (argc != 2)
                return 2;
        hog = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
