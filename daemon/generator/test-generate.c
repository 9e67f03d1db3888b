/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The units that a policy becomes, on a tree in a temporary directory. */

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "base/str.h"
#include "base/test-dir.h"
#include "generator/generate.h"
#include "policy/compile.h"

static char root[TEST_DIR_SIZE];

static const char *at(const char *path) {
        static char buf[2][512];
        static unsigned i;

        i = !i;
        (void) snprintf(buf[i], sizeof(buf[i]), "%s%s", root, path);
        return buf[i];
}

static void touch(const char *path) {
        int fd = open(at(path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        (void) close(fd);
}

static int setup(void **state _unused_) {
        test_dir_make(root);
        test_dir_add(root, "/normal");
        test_dir_add(root, "/late");
        test_dir_add(root, "/etc/systemd/system/multi-user.target.wants");
        test_dir_add(root, "/etc/systemd/system/multi-user.target.upholds");
        test_dir_add(root, "/usr/lib/systemd/system");
        return 0;
}

static int teardown(void **state _unused_) {
        test_dir_remove(root);
        return 0;
}

static Policy *compile_set(const char *const (*texts)[2], size_t n) {
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        PolicySource s[8];
        Policy *p = NULL;

        for (size_t i = 0; i < n; i++)
                s[i] = (PolicySource) { (char *) texts[i][0], (char *) "/etc/cgd/policies/x.policy",
                                        (char *) texts[i][1], strlen(texts[i][1]) };
        if (policy_compile(s, n, &d, &p) < 0)
                fail_msg("%s", d.items[0].text);
        return p;
}

static int run(const Policy *p, char **failed) {
        char normal[128], late[128];

        (void) snprintf(normal, sizeof(normal), "%s/normal", root);
        (void) snprintf(late, sizeof(late), "%s/late", root);
        return generate(p, &(GeneratePaths) { root, normal, late }, failed);
}

static void assert_text(const char *path, const char *expected) {
        char buf[4096];
        int fd = open(at(path), O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                fail_msg("%s is not there", path);
        n = read(fd, buf, sizeof(buf) - 1);
        (void) close(fd);
        assert_true(n >= 0);
        buf[n] = '\0';
        assert_string_equal(buf, expected);
}

#define HEAD "# Made by cgd-generator from /etc/cgd/policies/x.policy\n"

static void test_slices(void **state _unused_) {
        static const char *const texts[][2] = {
                { "host", "[Domain]\nSlice=-.slice\n" },
                { "work", "[Domain]\nDescription=100% of it\nSlice=a-work.slice\n[Resources]\nMemoryLow=40%\n"
                          "IOReadBandwidthMax=/dev/sda 5M\nIOReadBandwidthMax=/dev/sdb 1M\n" },
                { "system", "[Resources]\nMemoryAccounting=no\n" },
        };
        _cleanup_(policy_freep) Policy *p = compile_set(texts, 3);
        _cleanup_free_ char *failed = NULL;

        assert_int_equal(run(p, &failed), 0);
        assert_text("/late/a-work.slice", HEAD "[Unit]\nDescription=100%% of it\nDocumentation=man:cgd.policy(5)\n");
        assert_text("/normal/a-work.slice.d/40-cgd.conf",
                    HEAD "[Slice]\nMemoryLow=40%\nIOReadBandwidthMax=/dev/sda 5M\nIOReadBandwidthMax=/dev/sdb 1M\n"
                         "MemoryAccounting=yes\n");
        assert_text("/normal/system.slice.d/40-cgd.conf", HEAD "[Slice]\nMemoryAccounting=no\n");
        assert_int_equal(access(at("/late/system.slice"), F_OK), -1);
        assert_int_equal(access(at("/late/-.slice"), F_OK), -1);
        assert_int_equal(access(at("/normal/-.slice.d"), F_OK), -1);
}

/* Of a domain with a fault cgd keeps the slice, for what lies in there. For systemd there is nothing to be said of it. */
static void test_left_out(void **state _unused_) {
        static const char text[] = "[Domain]\nSlice=b.slice\nRank=high\n";
        const PolicySource source = { (char *) "b", (char *) "/etc/cgd/policies/b.policy", (char *) text, sizeof(text) - 1 };
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_strv_ char **left_out = NULL;
        _cleanup_free_ char *failed = NULL;

        assert_int_equal(policy_compile_sound(&source, 1, &d, &p, &left_out), 0);
        assert_int_equal(p->n_domains, 1);
        assert_int_equal(run(p, &failed), 0);
        assert_int_equal(access(at("/late/b.slice"), F_OK), -1);
        assert_int_equal(access(at("/normal/b.slice.d"), F_OK), -1);
}

/* A unit that is there whose name leaves no room for that of a directory NAME.d: it stays where it is, and the others have theirs. */
static void test_long_name(void **state _unused_) {
        static const char *const texts[][2] = { { "work", "[Match]\nUnit=a*.service\n" } };
        _cleanup_(policy_freep) Policy *p = compile_set(texts, 1);
        _cleanup_free_ char *failed = NULL;
        char path[320] = "/etc/systemd/system/";
        size_t n = strlen(path);

        memset(path + n, 'a', 254 - strlen(".service"));
        (void) strcpy(path + n + 254 - strlen(".service"), ".service");
        touch(path);
        touch("/etc/systemd/system/ab.service");
        assert_int_equal(run(p, &failed), 0);
        assert_text("/normal/ab.service.d/50-cgd-slice.conf", HEAD "[Service]\nSlice=work.slice\n");
}

static void test_placement(void **state _unused_) {
        static const char *const texts[][2] = {
                { "work", "[Match]\nUnit=nginx.service pg@*.service nightly-*.service ci*.service x.socket\n" },
                { "side", "[Match]\nUnit=cib.service pg@ma*.service nightly-big-*.service\n" },
        };
        static const struct {
                const char *unit, *section, *slice;
        } placed[] = {
                { "nginx.service", "Service", "work.slice" },
                { "x.socket", "Socket", "work.slice" },
                { "pg@.service", "Service", "work.slice" },
                { "pg@main.service", "Service", "side.slice" },         /* enabled instance */
                { "pg@march.service", "Service", "side.slice" },        /* by UpheldBy= */
                { "nightly-.service", "Service", "work.slice" },
                { "nightly-@.service", "Service", "work.slice" },
                { "nightly-big-.service", "Service", "side.slice" },
                { "nightly-big-one.service", "Service", "side.slice" }, /* on disk: a file of its own */
                { "cia.service", "Service", "work.slice" },
                { "cib.service", "Service", "side.slice" },
        };
        static const char *const not_placed[] = { "cia.timer", "other.service", "dbus.service", "ci.service" };
        _cleanup_(policy_freep) Policy *p = compile_set(texts, 2);
        _cleanup_free_ char *failed = NULL;
        char path[128], text[256];

        touch("/usr/lib/systemd/system/cia.service");
        touch("/usr/lib/systemd/system/cia.timer");
        touch("/usr/lib/systemd/system/cib.service");
        touch("/usr/lib/systemd/system/other.service");
        touch("/usr/lib/systemd/system/dbus.service");
        touch("/usr/lib/systemd/system/pg@.service");
        touch("/etc/systemd/system/nightly-big-one.service");
        assert_int_equal(symlink("/usr/lib/systemd/system/pg@.service",
                                 at("/etc/systemd/system/multi-user.target.wants/pg@main.service")), 0);
        touch("/etc/systemd/system/multi-user.target.upholds/pg@march.service");

        assert_int_equal(run(p, &failed), 0);
        for (size_t i = 0; i < ARRAY_SIZE(placed); i++) {
                (void) snprintf(path, sizeof(path), "/normal/%s.d/50-cgd-slice.conf", placed[i].unit);
                (void) snprintf(text, sizeof(text), HEAD "[%s]\nSlice=%s\n", placed[i].section, placed[i].slice);
                assert_text(path, text);
        }
        for (size_t i = 0; i < ARRAY_SIZE(not_placed); i++) {
                (void) snprintf(path, sizeof(path), "/normal/%s.d", not_placed[i]);
                assert_int_equal(access(at(path), F_OK), -1);
        }

        /* Again, over what is there. */
        assert_int_equal(run(p, &failed), 0);
}

/* By no name of theirs is anything placed that is to stay where it is. */
static void test_aliases(void **state _unused_) {
        static const char *const texts[][2] = { { "work", "[Match]\nUnit=sessions.service bus*.service log*.service\n" } };
        _cleanup_(policy_freep) Policy *p = compile_set(texts, 1);
        _cleanup_free_ char *failed = NULL;

        touch("/usr/lib/systemd/system/systemd-logind.service");
        touch("/usr/lib/systemd/system/busy.service");
        assert_int_equal(symlink("systemd-logind.service", at("/usr/lib/systemd/system/sessions.service")), 0);
        assert_int_equal(symlink("/usr/lib/systemd/system/systemd-logind.service",
                                 at("/etc/systemd/system/bus-login.service")), 0);
        assert_int_equal(symlink("/usr/lib/systemd/system/busy.service", at("/etc/systemd/system/bus.service")), 0);
        /* A name of a name, which systemd looks for in every place, and two that lead nowhere. */
        assert_int_equal(symlink("sessions.service", at("/etc/systemd/system/logins.service")), 0);
        assert_int_equal(symlink("/etc/systemd/system/logins.service", at("/usr/lib/systemd/system/log.service")), 0);
        assert_int_equal(symlink("logo.service", at("/etc/systemd/system/logs.service")), 0);
        assert_int_equal(symlink("logs.service", at("/etc/systemd/system/logo.service")), 0);
        assert_int_equal(run(p, &failed), 0);
        assert_int_equal(access(at("/normal/busy.service.d"), F_OK), 0);
        assert_int_equal(access(at("/normal/bus.service.d"), F_OK), 0);
        assert_int_equal(access(at("/normal/sessions.service.d"), F_OK), -1);
        assert_int_equal(access(at("/normal/bus-login.service.d"), F_OK), -1);
        assert_int_equal(access(at("/normal/logins.service.d"), F_OK), -1);
        assert_int_equal(access(at("/normal/log.service.d"), F_OK), -1);
        assert_int_equal(access(at("/normal/logs.service.d"), F_OK), 0);
}

static void test_unwritable(void **state _unused_) {
        static const char *const texts[][2] = { { "work", "[Match]\nUnit=nginx.service\n" } };
        _cleanup_(policy_freep) Policy *p = compile_set(texts, 1);
        _cleanup_free_ char *failed = NULL;

        touch("/normal/work.slice.d");  /* a file where a directory is to be */
        assert_int_equal(run(p, &failed), -ENOTDIR);
        assert_non_null(failed);
        assert_non_null(endswith(failed, "/normal/work.slice.d/40-cgd.conf"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_slices, setup, teardown),
                cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
                cmocka_unit_test_setup_teardown(test_long_name, setup, teardown),
                cmocka_unit_test_setup_teardown(test_placement, setup, teardown),
                cmocka_unit_test_setup_teardown(test_aliases, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unwritable, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
