/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Small files: whole or not at all. */

#include <fcntl.h>
#include <unistd.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "sys/small-file.h"

static int dir_fd = -EBADF;
static char dir_path[TEST_DIR_SIZE];

static int setup(void **state) {
        (void) state;
        test_dir_make(dir_path);
        dir_fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return dir_fd < 0 ? -1 : 0;
}

static int teardown(void **state) {
        (void) state;
        dir_fd = safe_close(dir_fd);
        test_dir_remove(dir_path);
        return 0;
}

static void put(const char *data, size_t n) {
        _cleanup_close_ int fd = openat(dir_fd, "f", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, n), n);
}

static void test_read(void **state) {
        char buf[8];

        (void) state;
        put("1234567", 7);
        assert_int_equal(file_read_at(dir_fd, "f", buf, sizeof buf), 7);
        assert_string_equal(buf, "1234567");
        put("12345678", 8);
        assert_int_equal(file_read_at(dir_fd, "f", buf, sizeof buf), -ENOBUFS);
        put("", 0);
        assert_int_equal(file_read_at(dir_fd, "f", buf, sizeof buf), 0);
        assert_string_equal(buf, "");
        assert_int_equal(file_read_at(dir_fd, "absent", buf, sizeof buf), -ENOENT);
        assert_int_equal(file_read_at(dir_fd, ".", buf, sizeof buf), -EISDIR);
}

static void test_limit(void **state) {
        static const struct {
                const char *text;
                size_t n;
                int r;
                uint64_t value;
        } table[] = {
                { "max\n", 4, 0, LIMIT_MAX },
                { "0\n", 2, 0, 0 },
                { "4096", 4, 0, 4096 },
                { "18446744073709551615\n", 21, 0, UINT64_MAX },
                { "18446744073709551616\n", 21, -EINVAL, 0 },
                { "", 0, -EINVAL, 0 },
                { "\n", 1, -EINVAL, 0 },
                { "-1\n", 3, -EINVAL, 0 },
                { " 1\n", 3, -EINVAL, 0 },
                { "1 2\n", 4, -EINVAL, 0 },
                { "1\n2\n", 4, -EINVAL, 0 },
                { "12\0" "3", 4, -EINVAL, 0 },
                { "maximum\n", 8, -EINVAL, 0 },
                { "00000000000000000000000000000000000001\n", 39, -EINVAL, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                uint64_t v = 77;

                put(table[i].text, table[i].n);
                assert_int_equal(file_read_limit_at(dir_fd, "f", &v), table[i].r);
                assert_true(v == (table[i].r == 0 ? table[i].value : 77));
        }
}

static void test_write(void **state) {
        char buf[32];
        uint64_t v;

        (void) state;
        put("something longer\n", 17);
        assert_int_equal(file_write_limit_at(dir_fd, "f", 12288), 0);
        assert_int_equal(file_read_at(dir_fd, "f", buf, sizeof buf), 6);
        assert_string_equal(buf, "12288\n");
        assert_int_equal(file_write_limit_at(dir_fd, "f", LIMIT_MAX), 0);
        assert_int_equal(file_read_limit_at(dir_fd, "f", &v), 0);
        assert_true(v == LIMIT_MAX);
        assert_int_equal(file_write_at(dir_fd, "absent", "1"), -ENOENT);
}

static void test_lock(void **state) {
        int fd;

        (void) state;
        fd = file_lock_at(dir_fd, "lock");
        assert_true(fd >= 0);
        assert_int_equal(file_lock_at(dir_fd, "lock"), -EBUSY);
        close(fd);
        fd = file_lock_at(dir_fd, "lock");
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(file_lock_at(dir_fd, "absent/lock"), -ENOENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_read),
                cmocka_unit_test(test_limit),
                cmocka_unit_test(test_write),
                cmocka_unit_test(test_lock),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
