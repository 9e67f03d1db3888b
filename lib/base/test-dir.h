/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For tests that need files: a directory of the test's own, and a shell for what is shorter there. */

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "base/test.h"

#define TEST_DIR_SIZE 64

/* Makes a fresh directory below `where`; path is its name. */
static inline void test_dir_make_in(const char *where, char path[static TEST_DIR_SIZE]) {
        int n = snprintf(path, TEST_DIR_SIZE - 6, "%s/cgd-test-", where);

        assert_in_range(n, 1, TEST_DIR_SIZE - 7);
        /* What mkdtemp(3) wants to find and replace. */
        memset(path + n, 'X', 6);
        path[n + 6] = '\0';
        assert_non_null(mkdtemp(path));
}

static inline void test_dir_make(char path[static TEST_DIR_SIZE]) {
        test_dir_make_in(P_tmpdir, path);
}

static inline int test_dir_remove_one(const char *path, const struct stat *st _unused_, int flag _unused_,
                                      struct FTW *f _unused_) {
        return remove(path);
}

/* With all that is in it. */
static inline void test_dir_remove(const char *path) {
        assert_int_equal(nftw(path, test_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* mkdir -p of dir/path; path begins with a slash. */
static inline void test_dir_add(const char *dir, const char *path) {
        char buf[512];

        assert_in_range(snprintf(buf, sizeof(buf), "%s%s", dir, path), 1, sizeof(buf) - 1);
        for (char *p = buf + strlen(dir) + 1; *p; p++)
                if (*p == '/') {
                        *p = '\0';
                        (void) mkdir(buf, 0755);
                        *p = '/';
                }
        assert_true(mkdir(buf, 0755) == 0 || errno == EEXIST);
}

static inline void test_sh(const char *format, ...) _printf_(1, 2);
static inline void test_sh(const char *format, ...) {
        char command[1024];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(command, sizeof(command), format, ap);
        va_end(ap);
        assert_in_range(n, 1, sizeof(command) - 1);
        assert_int_equal(system(command), 0);
}
