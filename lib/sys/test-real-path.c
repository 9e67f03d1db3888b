/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What paths lead to. A file system that hangs is in the scenarios (70-faults). */

#include <stdio.h>
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

/* Whichever of the two leaves first. */
static void test_too_late(void **state) {
        char *paths[] = { (char *) "/", (char *) "/proc", (char *) "/", NULL };

        (void) state;
        for (unsigned i = 0; i < 500; i++) {
                _cleanup_strv_ char **found = NULL;

                assert_int_equal(real_paths(paths, i % 100, &found), 0);
                assert_true(strv_length(found) <= 3);
                assert_true(!found || streq(found[0], "/"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_links),
                cmocka_unit_test(test_none),
                cmocka_unit_test(test_too_late),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
