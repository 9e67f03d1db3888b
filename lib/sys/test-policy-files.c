/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finding and judging policy files, on a tree in a temporary directory. */

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/test-dir.h"
#include "sys/policy-files.h"

static char root[TEST_DIR_SIZE];

static const char *at(const char *path) {
        static char buf[256];

        (void) snprintf(buf, sizeof(buf), "%s%s", root, path);
        return buf;
}

static void make_file(const char *path, const char *text, mode_t mode) {
        int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        assert_int_equal(fchmod(fd, mode), 0);
        (void) close(fd);
}

static int setup(void **state _unused_) {
        (void) umask(022);
        test_dir_make(root);
        (void) chmod(root, 0755);
        test_dir_add(root, "/etc/cgd/policies");
        test_dir_add(root, "/run/cgd/policies");
        test_dir_add(root, "/usr/lib/cgd/policies");
        return 0;
}

static int teardown(void **state _unused_) {
        test_dir_remove(root);
        return 0;
}

static PolicyPaths test_paths(void) {
        return (PolicyPaths) { .root = root, .places = policy_places, .owner = geteuid() };
}

static void test_precedence(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_policy_sources_ PolicySources s = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        const PolicyPaths paths = test_paths();

        make_file("/usr/lib/cgd/policies/b.policy", "[Domain]\nRank=1\n", 0644);
        make_file("/usr/lib/cgd/policies/a.policy", "[Domain]\nRank=2\n", 0644);
        make_file("/usr/lib/cgd/policies/masked.policy", "[Domain]\nRank=x\n", 0644);
        make_file("/usr/lib/cgd/policies/README", "no policy", 0666);
        make_file("/usr/lib/cgd/policies/.hidden.policy", "no policy", 0644);
        make_file("/etc/cgd/policies/a.policy", "[Domain]\nRank=3\n", 0600);
        assert_int_equal(symlink("/dev/null", at("/etc/cgd/policies/masked.policy")), 0);
        test_dir_add(root, "/etc/cgd/policies/b.policy.d");
        test_dir_add(root, "/usr/lib/cgd/policies/b.policy.d");
        make_file("/usr/lib/cgd/policies/b.policy.d/10-x.conf", "[Domain]\nRank=4\n", 0644);
        make_file("/usr/lib/cgd/policies/b.policy.d/30-z.conf", "[Domain]\nDescription=z\n", 0644);
        make_file("/usr/lib/cgd/policies/b.policy.d/40.conf", "[Domain]\nRank=nope\n", 0644);
        make_file("/etc/cgd/policies/b.policy.d/10-x.conf", "[Domain]\nRank=5\n", 0644);
        make_file("/etc/cgd/policies/b.policy.d/20-y.conf", "[Domain]\nRank=6\n", 0644);
        assert_int_equal(symlink("/dev/null", at("/etc/cgd/policies/b.policy.d/40.conf")), 0);

        assert_int_equal(policy_files_load(&paths, &d, &s), 0);
        assert_int_equal(d.n_items, 0);
        assert_int_equal(s.n_items, 5);
        assert_string_equal(s.items[0].file, "/etc/cgd/policies/a.policy");
        assert_string_equal(s.items[0].domain, "a");
        assert_string_equal(s.items[1].file, "/usr/lib/cgd/policies/b.policy");
        assert_string_equal(s.items[2].file, "/etc/cgd/policies/b.policy.d/10-x.conf");
        assert_string_equal(s.items[3].file, "/etc/cgd/policies/b.policy.d/20-y.conf");
        assert_string_equal(s.items[4].file, "/usr/lib/cgd/policies/b.policy.d/30-z.conf");

        assert_int_equal(policy_compile(s.items, s.n_items, &d, &p), 0);
        assert_int_equal(p->n_domains, 2);
        assert_int_equal(policy_find(p, "a")->rank, 3);
        assert_int_equal(policy_find(p, "b")->rank, 6);
        assert_string_equal(policy_find(p, "b")->description, "z");
}

static void test_lone_dropin(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources s = {};
        const PolicyPaths paths = test_paths();

        test_dir_add(root, "/etc/cgd/policies/typo.policy.d");
        make_file("/etc/cgd/policies/typo.policy.d/x.conf", "[Domain]\n", 0644);
        assert_int_equal(policy_files_load(&paths, &d, &s), 0);
        assert_int_equal(s.n_items, 0);
        assert_int_equal(d.n_warnings, 1);
        assert_non_null(strstr(d.items[0].text, "there is no typo.policy"));
}

/* Every file that may not be believed, each with the reason; and then nothing is compiled. */
static void test_refusals(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources s = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_free_ char *report = NULL, *big = calloc(1, (1 << 20) + 2);
        const PolicyPaths paths = test_paths();

        make_file("/etc/cgd/policies/good.policy", "[Domain]\n", 0644);
        make_file("/etc/cgd/policies/group.policy", "[Domain]\n", 0664);
        make_file("/etc/cgd/policies/world.policy", "[Domain]\n", 0646);
        assert_int_equal(mkfifo(at("/etc/cgd/policies/fifo.policy"), 0644), 0);
        test_dir_add(root, "/etc/cgd/policies/dir.policy");
        assert_int_equal(symlink("nowhere", at("/etc/cgd/policies/lost.policy")), 0);
        assert_int_equal(symlink("loop.policy", at("/etc/cgd/policies/loop.policy")), 0);
        memset(big, '#', (1 << 20) + 1);
        make_file("/etc/cgd/policies/big.policy", big, 0644);
        test_dir_add(root, "/etc/cgd/policies/good.policy.d");
        assert_int_equal(chmod(at("/etc/cgd/policies/good.policy.d"), 0777), 0);

        assert_int_equal(policy_files_load(&paths, &d, &s), 0);
        assert_int_equal(policy_compile(s.items, s.n_items, &d, &p), -EBADMSG);
        assert_null(p);
        assert_int_equal(d.n_errors, 8);
        assert_int_equal(diagnostics_format(&d, SEVERITY_ERROR, &report), 0);
        assert_non_null(strstr(report, "/etc/cgd/policies/group.policy:1:1: error: can be written by others than its owner (mode 0664)"));
        assert_non_null(strstr(report, "/etc/cgd/policies/world.policy:1:1: error: can be written by others"));
        assert_non_null(strstr(report, "/etc/cgd/policies/fifo.policy:1:1: error: is not a regular file"));
        assert_non_null(strstr(report, "/etc/cgd/policies/dir.policy:1:1: error: is not a regular file"));
        assert_non_null(strstr(report, "/etc/cgd/policies/lost.policy:1:1: error: cannot be read: No such file"));
        assert_non_null(strstr(report, "/etc/cgd/policies/loop.policy:1:1: error: cannot be read: "));
        assert_non_null(strstr(report, "/etc/cgd/policies/big.policy:1:1: error: the file is larger than 1 MiB"));
        assert_non_null(strstr(report, "/etc/cgd/policies/good.policy.d:1:1: error: can be written by others"));
}

static void test_foreign_owner(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources s = {};
        PolicyPaths paths = test_paths();

        make_file("/usr/lib/cgd/policies/a.policy", "[Domain]\n", 0644);
        paths.owner = geteuid() + 1;
        assert_int_equal(policy_files_load(&paths, &d, &s), 0);
        assert_int_equal(s.n_items, 0);
        assert_true(d.n_errors >= 1);
        assert_non_null(strstr(d.items[0].text, "is not owned by"));
}

/* What an administrator wrote in a directory that others can write is not believed; nor is what it was to replace or mask. */
static void test_untrusted_place(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources s = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_free_ char *report = NULL;
        _cleanup_strv_ char **left_out = NULL;
        const PolicyPaths paths = test_paths();

        make_file("/usr/lib/cgd/policies/a.policy", "[Domain]\n", 0644);
        make_file("/usr/lib/cgd/policies/kept.policy", "[Domain]\n", 0644);
        make_file("/usr/lib/cgd/policies/masked.policy", "[Domain]\n", 0644);
        make_file("/etc/cgd/policies/a.policy", "[Domain]\n", 0644);
        assert_int_equal(symlink("/dev/null", at("/etc/cgd/policies/masked.policy")), 0);
        assert_int_equal(chmod(at("/etc/cgd/policies"), 0775), 0);

        assert_int_equal(policy_files_load(&paths, &d, &s), 0);
        assert_int_equal(diagnostics_format(&d, SEVERITY_ERROR, &report), 0);
        assert_non_null(strstr(report, "/etc/cgd/policies:1:1: error: can be written by others than its owner (mode 0775): expected "
                                       "0755 or less"));
        assert_int_equal(policy_compile_sound(s.items, s.n_items, &d, &p, &left_out), 0);
        assert_int_equal(p->n_domains, 1);
        assert_non_null(policy_find(p, "kept"));
        assert_true(strv_contains(left_out, "a") && strv_contains(left_out, "masked"));
}

static void test_single(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources s = {};

        make_file("/run/x.policy", "[Domain]\n", 0666);
        test_dir_add(root, "/run/y.policy.d");
        make_file("/run/y.policy.d/1.conf", "[Domain]\n", 0666);
        make_file("/run/1.conf", "[Domain]\n", 0666);
        assert_int_equal(policy_file_read(at("/run/x.policy"), &d, &s), 0);
        assert_int_equal(policy_file_read(at("/run/1.conf"), &d, &s), 0);
        assert_int_equal(policy_file_read(at("/run/y.policy.d/1.conf"), &d, &s), 0);
        assert_int_equal(s.n_items, 3);
        assert_string_equal(s.items[0].domain, "x");
        assert_string_equal(s.items[1].domain, "x");
        assert_string_equal(s.items[2].domain, "y");
        assert_int_equal(policy_file_read(at("/run/none.policy"), &d, &s), -EBADMSG);
        assert_int_equal(d.n_errors, 1);
}

/* As a shell lists them: all policies, then all drop-ins. */
static void test_dropins_last(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources s = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        static const char *const order[] = { "/run/x.policy", "/run/y.policy", "/run/x.policy.d/1.conf", "/run/x.policy.d/2.conf",
                                             "/run/y.policy.d/1.conf" };

        test_dir_add(root, "/run/x.policy.d");
        test_dir_add(root, "/run/y.policy.d");
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                char text[32];

                (void) snprintf(text, sizeof(text), "[Domain]\nRank=%zu\n", i);
                make_file(order[i], text, 0644);
                assert_int_equal(policy_file_read(at(order[i]), &d, &s), 0);
        }
        assert_int_equal(policy_compile(s.items, s.n_items, &d, &p), 0);
        assert_int_equal(policy_find(p, "x")->rank, 3);
        assert_int_equal(policy_find(p, "y")->rank, 4);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_precedence, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lone_dropin, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
                cmocka_unit_test_setup_teardown(test_foreign_owner, setup, teardown),
                cmocka_unit_test_setup_teardown(test_untrusted_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_single, setup, teardown),
                cmocka_unit_test_setup_teardown(test_dropins_last, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
