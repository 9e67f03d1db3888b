/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What paths lead to. A file system that hangs is in the scenarios (70-faults). */

#include <dirent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/str.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sys/real-path.h"

static void test_links(void **state) {
        char dir[TEST_DIR_SIZE], link[TEST_DIR_SIZE + 8], gone[TEST_DIR_SIZE + 8], *paths[] = { link, gone, (char *) "/", NULL };
        _cleanup_strv_ char **found = NULL;

        (void) state;
        test_dir_make(dir);
        (void) snprintf(link, sizeof(link), "%s/link", dir);
        (void) snprintf(gone, sizeof(gone), "%s/gone", dir);
        assert_int_equal(symlink("/proc", link), 0);
        assert_int_equal(real_paths(paths, 60 * USEC_PER_SEC, &found), 0);
        assert_int_equal(strv_length(found), 3);
        assert_string_equal(found[0], "/proc");
        assert_string_equal(found[1], "");
        assert_string_equal(found[2], "/");
        test_dir_remove(dir);
}

static void test_none(void **state) {
        char **found;

        (void) state;
        assert_int_equal(real_paths(NULL, 0, &found), 0);
        assert_null(found);
}

static size_t count_threads(void) {
        DIR *d = opendir("/proc/self/task");
        size_t n = 0;

        assert_non_null(d);
        for (const struct dirent *e; (e = readdir(d));)
                n += e->d_name[0] != '.';
        (void) closedir(d);
        return n;
}

/* Until all but this one have ended: the next call starts one again. */
static void wait_for_threads(void) {
        while (count_threads() > 1)
                (void) usleep(100);
}

/* Whichever of the two leaves first. */
static void test_too_late(void **state) {
        char *paths[] = { (char *) "/", (char *) "/proc", (char *) "/", NULL };

        (void) state;
        for (unsigned i = 0; i < 500; i++) {
                _cleanup_strv_ char **found = NULL;

                assert_int_equal(real_paths(paths, i % 100, &found), 0);
                assert_true(strv_length(found) <= 3);
                assert_true(!found || streq(found[0], "/"));
                wait_for_threads();
        }
}

/* A file system whose server does not answer: however often it is asked, one thread waits. */
static void test_hangs(void **state) {
        char dir[TEST_DIR_SIZE], hangs[TEST_DIR_SIZE + 8], options[64], *paths[] = { (char *) "/", hangs, NULL };
        _cleanup_strv_ char **found = NULL;
        int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

        (void) state;
        test_dir_make(dir);
        (void) snprintf(hangs, sizeof(hangs), "%s/x", dir);
        (void) snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
        if (fd < 0 || mount("test", dir, "fuse", 0, options) < 0) {
                test_dir_remove(dir);
                print_message("needs root and FUSE\n");
                skip();
        }
        assert_int_equal(real_paths(paths, 100 * USEC_PER_MSEC, &found), 0);
        assert_int_equal(strv_length(found), 1);
        for (int i = 0; i < 3; i++) {
                char **again;

                assert_int_equal(real_paths(paths, 100 * USEC_PER_MSEC, &again), 0);
                assert_null(again);
        }
        assert_int_equal(count_threads(), 2);

        /* It is over: they are followed again. */
        (void) close(fd);
        wait_for_threads();
        found = strv_free(found);
        assert_int_equal(real_paths(paths, 60 * USEC_PER_SEC, &found), 0);
        assert_int_equal(strv_length(found), 2);
        assert_string_equal(found[1], "");
        assert_int_equal(umount2(dir, MNT_DETACH), 0);
        test_dir_remove(dir);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_links),
                cmocka_unit_test(test_none),
                cmocka_unit_test(test_too_late),
                cmocka_unit_test(test_hangs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
