/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Cgroup files and directories: whole values or none, identity, no way out of the tree. */

#include <fcntl.h>
#include <sys/stat.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "sys/cgroup.h"

static char root[TEST_DIR_SIZE];
static int root_fd = -EBADF;

static int setup(void **state) {
        (void) state;
        test_dir_make(root);
        root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return root_fd < 0 ? -1 : 0;
}

static int teardown(void **state) {
        (void) state;
        root_fd = safe_close(root_fd);
        test_dir_remove(root);
        return 0;
}

static void touch(const char *name) {
        int fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        safe_close(fd);
}

static void test_keyed(void **state) {
        static const char text[] =
                "anon 4096\n"
                "anon_thp 8192\n"
                "pgsteal 18446744073709551615\n"
                "pgscan 18446744073709551616\n"
                "negative -1\n"
                "words one\n"
                "empty \n"
                "bare\n"
                "two 1 2\n"
                "cut 12";
        static const char *const keys[] = { "anon", "absent", "pgsteal", "cut" };
        uint64_t v = 77, values[4] = { 77, 77, 77, 77 };

        (void) state;
        assert_true(cgroup_keyed_get(text, "anon", &v));
        assert_int_equal(v, 4096);
        assert_true(cgroup_keyed_get(text, "anon_thp", &v));
        assert_int_equal(v, 8192);
        assert_true(cgroup_keyed_get(text, "pgsteal", &v));
        assert_true(v == UINT64_MAX);

        v = 77;
        for (const char *const *k = (const char *const[]) { "pgscan", "negative", "words", "empty", "bare", "two",
                                                            "cut", "ano", "anon 4096", "", NULL };
             *k; k++) {
                assert_false(cgroup_keyed_get(text, *k, &v));
                assert_int_equal(v, 77);
        }
        assert_false(cgroup_keyed_get("", "anon", &v));

        assert_int_equal(cgroup_keyed_scan(text, keys, 4, values), 1 | 1 << 2);
        assert_int_equal(values[0], 4096);
        assert_int_equal(values[1], 77);
        assert_true(values[2] == UINT64_MAX);
        assert_int_equal(values[3], 77);
}

/* Cut at every byte, a file never yields another number than it holds. */
static void test_keyed_truncated(void **state) {
        static const char text[] = "low 1\nhigh 22\nmax 333\noom 4444\n";
        static const char *const keys[] = { "low", "high", "max", "oom" };
        static const uint64_t right[] = { 1, 22, 333, 4444 };

        (void) state;
        for (size_t n = 0; n < sizeof text; n++) {
                char buf[sizeof text];
                uint64_t values[4];
                uint32_t have;

                memcpy(buf, text, n);
                buf[n] = 0;
                have = cgroup_keyed_scan(buf, keys, 4, values);
                for (size_t i = 0; i < 4; i++)
                        if (have & (UINT32_C(1) << i))
                                assert_int_equal(values[i], right[i]);
        }
}

static void test_limit(void **state) {
        uint64_t v = 77;

        (void) state;
        for (const char *const *t = (const char *const[]) { "", "\n", "12", "max", "ma\n", "-1\n", "1 2\n", "1\n2\n",
                                                            "18446744073709551616\n", NULL };
             *t; t++) {
                assert_int_equal(cgroup_limit_parse(*t, &v), -EINVAL);
                assert_int_equal(v, 77);
        }
        assert_int_equal(cgroup_limit_parse("0\n", &v), 0);
        assert_int_equal(v, 0);
        assert_int_equal(cgroup_limit_parse("max\n", &v), 0);
        assert_true(v == LIMIT_MAX);
        assert_int_equal(cgroup_limit_parse("4096\n", &v), 0);
        assert_int_equal(v, 4096);
}

static void test_open(void **state) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t id, other;

        (void) state;
        assert_int_equal(mkdirat(root_fd, "a", 0700), 0);
        touch("a/cgroup.controllers");
        assert_int_equal(symlinkat("/", root_fd, "a/link"), 0);

        assert_int_equal(cgroup_open(root_fd, "/.."), -EINVAL);
        assert_int_equal(cgroup_open(root_fd, "/a/../a"), -EINVAL);
        assert_int_equal(cgroup_open(root_fd, ".."), -EINVAL);
        assert_int_equal(cgroup_open(root_fd, "/b"), -ENOENT);
        assert_int_equal(cgroup_open(root_fd, "/a/link"), -ENOENT);
        assert_int_equal(cgroup_open(root_fd, "/a/cgroup.controllers"), -ENOENT);

        fd = cgroup_open(root_fd, "/");
        assert_true(fd >= 0);
        assert_int_equal(cgroup_id(fd, &other), 0);
        safe_close(fd);

        fd = cgroup_open(root_fd, "/a");
        assert_true(fd >= 0);
        assert_int_equal(cgroup_id(fd, &id), 0);
        assert_true(id != other);
        assert_true(cgroup_is_alive(fd, id));
        assert_false(cgroup_is_alive(fd, other));

        assert_int_equal(unlinkat(root_fd, "a/cgroup.controllers", 0), 0);
        assert_int_equal(unlinkat(root_fd, "a/link", 0), 0);
        assert_int_equal(unlinkat(root_fd, "a", AT_REMOVEDIR), 0);
        assert_false(cgroup_is_alive(fd, id));

        /* Another one under the same name is another one. */
        assert_int_equal(mkdirat(root_fd, "a", 0700), 0);
        assert_false(cgroup_is_alive(fd, id));
        assert_int_equal(unlinkat(root_fd, "a", AT_REMOVEDIR), 0);
}

static void test_hierarchy(void **state) {
        char path[sizeof root + 16];
        CgroupHierarchy h;

        (void) state;
        (void) snprintf(path, sizeof path, "%s/a", root);
        assert_int_equal(cgroup_hierarchy(path, &h), 0);
        assert_int_equal(h, HIERARCHY_NONE);

        assert_int_equal(mkdirat(root_fd, "a", 0700), 0);
        assert_int_equal(cgroup_hierarchy(path, &h), 0);
        assert_int_equal(h, HIERARCHY_NONE);
        assert_int_equal(mkdirat(root_fd, "a/memory", 0700), 0);
        assert_int_equal(cgroup_hierarchy(path, &h), 0);
        assert_int_equal(h, HIERARCHY_LEGACY);
        assert_int_equal(mkdirat(root_fd, "a/unified", 0700), 0);
        touch("a/unified/cgroup.controllers");
        assert_int_equal(cgroup_hierarchy(path, &h), 0);
        assert_int_equal(h, HIERARCHY_HYBRID);
        touch("a/cgroup.controllers");
        assert_int_equal(cgroup_hierarchy(path, &h), 0);
        assert_int_equal(h, HIERARCHY_UNIFIED);

        assert_int_equal(unlinkat(root_fd, "a/unified/cgroup.controllers", 0), 0);
        assert_int_equal(unlinkat(root_fd, "a/unified", AT_REMOVEDIR), 0);
        assert_int_equal(unlinkat(root_fd, "a/memory", AT_REMOVEDIR), 0);
        assert_int_equal(unlinkat(root_fd, "a/cgroup.controllers", 0), 0);
        assert_int_equal(unlinkat(root_fd, "a", AT_REMOVEDIR), 0);
}

static void test_io_lines(void **state) {
        static const char stat[] = "254:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n"
                                   "254:0 \n"
                                   "8:0 rbytes=1 wbytes=2 rios=3 wios=4 cost.usage=9\n"
                                   "8:16 rbytes=1 wbytes=2 rios=3\n"
                                   "8:32 rbytes=1 wbytes=2 rios=3 wios=x\n"
                                   "loop rbytes=1 wbytes=2 rios=3 wios=4\n"
                                   "0:0 rbytes=1 wbytes=2 rios=3 wios=4\n"
                                   "8:48 rbytes=1 wbytes=2 rios=3 wios=4";
        static const char max[] = "254:16 rbps=2097152 wbps=max riops=max wiops=120\n";
        IoLine l[4];

        (void) state;
        /* A line that is not whole is absent, not zero. */
        assert_int_equal(cgroup_io_stat_parse(stat, l, 4), 2);
        assert_int_equal(l[0].major, 254);
        assert_int_equal(l[0].minor, 16);
        assert_int_equal(l[0].v[IO_READ_BYTES], 1459200);
        assert_int_equal(l[0].v[IO_WRITE_BYTES], 314773504);
        assert_int_equal(l[0].v[IO_READS], 192);
        assert_int_equal(l[0].v[IO_WRITES], 353);
        assert_int_equal(l[1].major, 8);
        assert_int_equal(l[1].v[IO_WRITES], 4);
        assert_int_equal(cgroup_io_stat_parse(stat, l, 1), 1);
        assert_int_equal(cgroup_io_stat_parse("", l, 4), 0);
        assert_int_equal(cgroup_io_stat_parse("7:7 7:6 7:5 7:4 rbytes=28672 wbytes=0 rios=5 wios=0 dbytes=0 dios=0\n7:3 8:0 \n", l, 4), 1);
        assert_int_equal(l[0].minor, 4);
        assert_int_equal(l[0].v[IO_READ_BYTES], 28672);
        assert_int_equal(cgroup_io_stat_parse(max, l, 4), 0);

        assert_int_equal(cgroup_io_max_parse(max, l, 4), 1);
        assert_int_equal(l[0].v[IO_READ_BYTES], 2097152);
        assert_true(l[0].v[IO_WRITE_BYTES] == LIMIT_MAX);
        assert_true(l[0].v[IO_READS] == LIMIT_MAX);
        assert_int_equal(l[0].v[IO_WRITES], 120);
        assert_non_null(io_line_find(l, 1, &(IoLine) { .major = 254, .minor = 16 }));
        assert_null(io_line_find(l, 1, &(IoLine) { .major = 254 }));
        assert_null(io_line_find(l, 1, &(IoLine) {}));
}

/* Whatever bytes come: no read past the end (sanitizers watch), and only what the grammar allows is taken. */
static void test_any_bytes(void **state) {
        static const char alphabet[] = "lowhigh  12max\n\n:=rbpsios";
        unsigned seed = 1;

        (void) state;
        for (unsigned i = 0; i < 20000; i++) {
                size_t n = (size_t) rand_r(&seed) % 96;
                char *text = malloc(n + 1);
                static const char *const keys[] = { "low", "high", "", "w" };
                uint64_t values[4], v;
                IoLine lines[2];

                assert_non_null(text);
                for (size_t k = 0; k < n; k++)
                        text[k] = rand_r(&seed) % 8 ? alphabet[(size_t) rand_r(&seed) % (sizeof alphabet - 1)]
                                                    : (char) (rand_r(&seed) % 255 + 1);
                text[n] = 0;
                (void) cgroup_keyed_scan(text, keys, 4, values);
                (void) cgroup_io_stat_parse(text, lines, 2);
                (void) cgroup_io_max_parse(text, lines, 2);
                if (cgroup_limit_parse(text, &v) == 0)
                        assert_int_equal(text[n - 1], '\n');
                free(text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_keyed),
                cmocka_unit_test(test_keyed_truncated),
                cmocka_unit_test(test_limit),
                cmocka_unit_test(test_open),
                cmocka_unit_test(test_hierarchy),
                cmocka_unit_test(test_io_lines),
                cmocka_unit_test(test_any_bytes),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
