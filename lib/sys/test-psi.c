/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pressure text and triggers. */

#include <fcntl.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "sys/psi.h"

static void test_parse(void **state) {
        PsiTotals t;

        (void) state;
        assert_int_equal(psi_parse("some avg10=1.20 avg60=0.00 avg300=0.00 total=12345\n"
                                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=678\n", &t), 0);
        assert_true(t.have_some && t.have_full);
        assert_int_equal(t.some_usec, 12345);
        assert_int_equal(t.full_usec, 678);

        /* cpu.pressure of older kernels has one line. */
        assert_int_equal(psi_parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", &t), 0);
        assert_true(t.have_some && !t.have_full);

        /* Cut off in the number: 1 is not 12. */
        assert_int_equal(psi_parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
                                   "full avg10=0.00 avg60=0.00 avg300=0.00 total=1", &t), 0);
        assert_true(t.have_some && !t.have_full);

        t.some_usec = 77;
        assert_int_equal(psi_parse("", &t), -EINVAL);
        assert_int_equal(psi_parse("some avg10=0.00\nfull total=x\n", &t), -EINVAL);
        assert_int_equal(psi_parse("some total=18446744073709551616\n", &t), -EINVAL);
        assert_int_equal(psi_parse("something total=1\n", &t), -EINVAL);
        assert_int_equal(psi_parse("some total=\n", &t), -EINVAL);
        assert_int_equal(t.some_usec, 77);
}

static void test_coarsen(void **state) {
        uint64_t threshold = 100 * USEC_PER_MSEC, window = USEC_PER_SEC;

        (void) state;
        psi_coarsen(&threshold, &window);
        assert_int_equal(window, 2 * USEC_PER_SEC);
        assert_int_equal(threshold, 200 * USEC_PER_MSEC);

        threshold = 3 * USEC_PER_SEC, window = 3 * USEC_PER_SEC;
        psi_coarsen(&threshold, &window);
        assert_int_equal(window, 4 * USEC_PER_SEC);
        assert_int_equal(threshold, window);

        threshold = 1, window = 9 * USEC_PER_SEC;
        psi_coarsen(&threshold, &window);
        assert_int_equal(window, 10 * USEC_PER_SEC);
        assert_int_equal(threshold, 1);
}

static void test_trigger_refusals(void **state) {
        char dir[TEST_DIR_SIZE];
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        uint64_t sec = USEC_PER_SEC;

        (void) state;
        assert_int_equal(psi_trigger_open(AT_FDCWD, "/nope", false, 1, sec / 4, &fd), -EINVAL);
        assert_int_equal(psi_trigger_open(AT_FDCWD, "/nope", false, 1, 11 * sec, &fd), -EINVAL);
        assert_int_equal(psi_trigger_open(AT_FDCWD, "/nope", false, 0, sec, &fd), -EINVAL);
        assert_int_equal(psi_trigger_open(AT_FDCWD, "/nope", false, sec + 1, sec, &fd), -EINVAL);
        assert_int_equal(psi_trigger_open(AT_FDCWD, "/nope", false, 1, sec, &fd), PSI_TRIGGER_OFF);

        test_dir_make(dir);
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(psi_trigger_open(dir_fd, "memory.pressure", false, 1, sec, &fd), PSI_TRIGGER_GONE);
        safe_close(openat(dir_fd, "cgroup.controllers", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_int_equal(psi_trigger_open(dir_fd, "memory.pressure", false, 1, sec, &fd), PSI_TRIGGER_OFF);
        assert_int_equal(fd, -EBADF);
        test_dir_remove(dir);
}

static void test_trigger(void **state) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        (void) state;
        r = psi_trigger_open(AT_FDCWD, "/proc/pressure/memory", false, 100 * USEC_PER_MSEC, USEC_PER_SEC, &fd);
        if (r == PSI_TRIGGER_REFUSED || r == PSI_TRIGGER_OFF) {
                print_message("no PSI trigger to be had here (%d)\n", r);
                skip();
        }
        assert_true(r == PSI_TRIGGER_FULL || r == PSI_TRIGGER_COARSE);
        assert_true(fd >= 0);
}

/* Whatever bytes come: no read past the end (sanitizers watch), and only what the grammar allows is taken. */
static void test_any_bytes(void **state) {
        static const char alphabet[] = "some full avg10=total=total= 0123456789\n\n";
        unsigned seed = 1;

        (void) state;
        for (unsigned i = 0; i < 20000; i++) {
                size_t n = (size_t) rand_r(&seed) % 96;
                char *text = malloc(n + 1);
                PsiTotals t;

                assert_non_null(text);
                for (size_t k = 0; k < n; k++)
                        text[k] = rand_r(&seed) % 8 ? alphabet[(size_t) rand_r(&seed) % (sizeof alphabet - 1)]
                                                    : (char) (rand_r(&seed) % 255 + 1);
                text[n] = 0;
                if (psi_parse(text, &t) == 0)
                        assert_non_null(strstr(text, " total="));
                free(text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_coarsen),
                cmocka_unit_test(test_trigger_refusals),
                cmocka_unit_test(test_trigger),
                cmocka_unit_test(test_any_bytes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
