/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names of units from paths, drop-ins, and calls against a systemd of the test's own. */

#include <fcntl.h>
#include <sys/stat.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "sys/test-systemd.h"
#include "sys/unit.h"

static void test_names(void **state) {
        static const struct {
                const char *path, *unit, *slice, *label;
        } table[] = {
                { "/a.slice/x.service", "x.service", "a.slice", "x.service" },
                { "/a.slice/a\\x2db@c:1_.service", "a\\x2db@c:1_.service", "a.slice", "a\\x2db@c:1_.service" },
                { "/a.slice/-rm x;$y\x1b.service", "-rm x;$y\x1b.service", "a.slice",
                  "\\x2drm\\x20x\\x3b\\x24y\\x1b.service" },
                { "/lxc/\xff%", NULL, "-.slice", "\\xff\\x25" },
                { "/a.slice/a-b.slice/x.scope", "x.scope", "a-b.slice" },
                { "/a.slice/a-b.slice", "a-b.slice", "a-b.slice" },
                { "/init.scope", "init.scope", "-.slice" },
                { "/a.slice/_cpu.service", "cpu.service", "a.slice", "cpu.service" },
                { "/_cpu.slice", "cpu.slice", "cpu.slice", "cpu.slice" },
                { "/_cpu.slice/cpu-b.slice/_io.service", "io.service", "cpu-b.slice", "io.service" },
                { "/__b.slice/x.service", "x.service", "_b.slice" },
                { "/a.slice/_.slice/x.scope", "x.scope", "a.slice" },
                { "/a.slice/x.service/inner.scope", NULL, "a.slice", "inner.scope" },
                { "/user.slice/user-1.slice/user@1.service/app.slice/y.service", NULL, "user-1.slice" },
                { "/", NULL, "-.slice" },
                { "", NULL, "-.slice", "" },
                { "/lxc", NULL, "-.slice" },
                { "/.slice/x.service", NULL, "-.slice" },
                { "/.service", NULL, "-.slice" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                char unit[UNIT_NAME_SIZE], slice[UNIT_NAME_SIZE], label[UNIT_LABEL_SIZE];
                int r = unit_of_cgroup(table[i].path, unit);

                assert_int_equal(r, table[i].unit ? 0 : -ENXIO);
                if (table[i].unit)
                        assert_string_equal(unit, table[i].unit);
                slice_of_cgroup(table[i].path, slice);
                assert_string_equal(slice, table[i].slice);
                unit_label_of_cgroup(table[i].path, label);
                if (table[i].label)
                        assert_string_equal(label, table[i].label);
        }
}

static void test_complete(void **state) {
        static const char *const table[][2] = {
                { "nginx", "nginx.service" },
                { "php8.2-fpm", "php8.2-fpm.service" },
                { "postgresql@15-main", "postgresql@15-main.service" },
                { "nginx.service", "nginx.service" },
                { "a-b.slice", "a-b.slice" },
                { "session-1.scope", "session-1.scope" },
                { "apt-daily.timer", "apt-daily.timer" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *complete = unit_name_complete(table[i][0]);

                assert_string_equal(complete, table[i][1]);
        }
}

static void test_dropin(void **state) {
        static const struct {
                const char *text;
                int r;
        } table[] = {
                { "# made by systemd\n# Do not edit.\n[Service]\nMemoryHigh=4096\n", 0 },
                { "[Slice]\nMemoryHigh=infinity\n", 0 },
                { "[Service]\nMemoryHigh=4097\n", 1 },
                { "[Service]\nMemoryHigh=4096\nMemoryMax=1\n", 1 },
                { "[Service]\n", 1 },
                { "", 1 },
        };
        static const uint64_t values[] = { 4096, LIMIT_MAX };
        char dir[TEST_DIR_SIZE], path[256], unit_dir[128];

        (void) state;
        test_dir_make(dir);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *place = i % 2 ? "transient" : "system.control";
                int fd;

                (void) snprintf(path, sizeof path, "%s/%s", dir, place);
                assert_true(mkdir(path, 0755) >= 0 || errno == EEXIST);
                (void) snprintf(unit_dir, sizeof unit_dir, "%s/%s/x.service.d", dir, place);
                assert_int_equal(mkdir(unit_dir, 0755), 0);
                (void) snprintf(path, sizeof path, "%s/50-MemoryHigh.conf", unit_dir);
                assert_false(unit_memory_high_dropin_exists(dir, "x.service"));
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
                assert_int_equal(write(fd, table[i].text, strlen(table[i].text)), strlen(table[i].text));
                close(fd);
                assert_true(unit_memory_high_dropin_exists(dir, "x.service"));
                assert_int_equal(unit_memory_high_dropin_remove(dir, "x.service", values, 2), table[i].r);
                assert_int_equal(access(path, F_OK), table[i].r == 0 ? -1 : 0);
                (void) unlink(path);
                (void) rmdir(unit_dir);
        }
        test_dir_remove(dir);
}

static sd_event *event;
static FakeSystemd fake;
static struct {
        int r, calls;
        char message[256];
} seen;

static void on_reply(int r, const char *message, void *userdata) {
        (void) userdata;
        seen.r = r;
        seen.calls++;
        (void) snprintf(seen.message, sizeof seen.message, "%s", message ? message : "");
}

static int n_names;
static void on_list(int r, const char *message, char *const *names, void *userdata) {
        on_reply(r, message, userdata);
        for (n_names = 0; r >= 0 && names[n_names]; n_names++)
                ;
}

static void await(int calls) {
        while (seen.calls < calls)
                assert_true(sd_event_run(event, 10 * USEC_PER_SEC) > 0);
}

static int setup(void **state) {
        (void) state;
        fake = (FakeSystemd) {};
        seen.calls = 0;
        assert_true(sd_event_new(&event) >= 0);
        fake_systemd_start(&fake, event);
        return 0;
}

static int teardown(void **state) {
        (void) state;
        fake_systemd_stop(&fake);
        event = sd_event_unref(event);
        return 0;
}

static int say_words(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        (void) f;
        (void) call;
        if (startswith(line, "Get"))
                return sd_bus_message_append(reply, "v", "s", "the value");
        if (startswith(line, "List"))
                return sd_bus_message_append(reply, "a(ssssssouso)", 2, "a.service", "d", "l", "active",
                                             "running", "", "/a", 0, "", "/", "b.service", "d", "l",
                                             "active", "running", "", "/b", 0, "", "/");
        return sd_bus_message_append(reply, "o", "/job/7");
}

static void test_calls(void **state) {
        _cleanup_free_ char *log = NULL;
        uint32_t pids[] = { 7, 8 };
        UnitTransient scope = {
                .name = "s.scope", .description = "d", .slice = "x.slice", .pids = pids, .n_pids = 2
        };
        UnitTransient service = {
                .name = "s.service",
                .slice = "x.slice",
                .argv = (char *[]){ (char *) "/bin/a", (char *) "b c", (char *) "$a${b}", NULL },
                .environment = (char *[]){ (char *) "A=b", NULL },
                .directory = "/tmp",
                .uid = 1000,
                .gid = UINT32_MAX,
        };

        (void) state;
        fake.answer = say_words;
        assert_int_equal(unit_set_memory_high(fake.client, "a.service", 4096, on_reply, NULL, NULL), 0);
        assert_int_equal(unit_set_property(fake.client, "x.slice", "MemoryLow", "1M", on_reply, NULL, NULL),
                         0);
        assert_int_equal(unit_set_property(fake.client, "x.slice", "MemoryLow", "x", on_reply, NULL, NULL),
                         -EINVAL);
        await(2);
        assert_int_equal(unit_restart(fake.client, "a.service", on_reply, NULL, NULL), 0);
        await(3);
        assert_string_equal(seen.message, "/job/7");
        assert_int_equal(
                unit_get_string(fake.client, "a.service", NULL, "ControlGroup", on_reply, NULL, NULL), 0);
        await(4);
        assert_int_equal(seen.r, 0);
        assert_string_equal(seen.message, "the value");
        assert_int_equal(unit_list_running(fake.client, (char *[]){ (char *) "*.service", NULL }, on_list,
                                           NULL, NULL),
                         0);
        await(5);
        assert_int_equal(n_names, 2);
        assert_int_equal(unit_start_transient(fake.client, &scope, on_reply, NULL, NULL), 0);
        assert_int_equal(unit_start_transient(fake.client, &service, on_reply, NULL, NULL), 0);
        await(7);
        log = fake_log(&fake);
        assert_string_equal(
                log,
                "SetUnitProperties a.service b:1 [(MemoryHigh t:4096)]\n"
                "SetUnitProperties x.slice b:1 [(MemoryLow t:1048576)]\n"
                "RestartUnit a.service replace\n"
                "Get a_2eservice org.freedesktop.systemd1.Service ControlGroup\n"
                "ListUnitsByPatterns [active reloading activating deactivating] [*.service]\n"
                "StartTransientUnit s.scope fail [(Description d) (Slice x.slice) "
                "(CollectMode inactive-or-failed) "
                "(PIDs [u:7 u:8])] []\n"
                "StartTransientUnit s.service fail [(Slice x.slice) "
                "(CollectMode inactive-or-failed) "
                "(ExecStart [(/bin/a [/bin/a b c $$a$${b}] b:0)]) (Environment [A=b]) "
                "(WorkingDirectory /tmp) (User 1000)] []\n");
}

static void test_errors(void **state) {
        sd_bus_slot *slot;

        (void) state;
        fake.answer = fake_refuse;
        assert_int_equal(unit_set_memory_high(NULL, "a.service", 4096, on_reply, NULL, NULL), -ENOTCONN);
        assert_int_equal(unit_set_memory_high(fake.client, "a.service", 4096, on_reply, NULL, NULL), 0);
        await(1);
        assert_true(seen.r < 0);
        assert_string_equal(seen.message, "a.service: cannot set MemoryHigh=: The test says -22.");
        assert_int_equal(unit_list_running(fake.client, (char *[]) { NULL }, on_list, NULL, NULL), 0);
        await(2);
        assert_true(seen.r < 0);
        /* A call that its owner dropped is never heard of again. */
        assert_int_equal(unit_set_memory_high(fake.client, "a.service", 4096, on_reply, NULL, &slot), 0);
        sd_bus_slot_unref(slot);
        for (int i = 0; i < 5; i++)
                assert_true(sd_event_run(event, 10000) >= 0);
        assert_int_equal(seen.calls, 2);
}

static int broker_says;
static int answer_of_broker(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        (void) f;
        (void) call;
        (void) line;
        (void) reply;
        return broker_says;
}

/* What the broker says is no answer of systemd's; and one that is there but slow is not said to be away. */
static void test_broker(void **state) {
        (void) state;
        fake.answer = answer_of_broker;
        broker_says = -EHOSTUNREACH;
        assert_int_equal(unit_set_memory_high(fake.client, "a.service", 4096, on_reply, NULL, NULL), 0);
        await(1);
        assert_true(unit_is_silence(seen.r));
        assert_string_equal(seen.message, "a.service: cannot set MemoryHigh=: systemd is not on the bus");
        broker_says = -ENOBUFS;
        assert_int_equal(unit_set_memory_high(fake.client, "a.service", 4096, on_reply, NULL, NULL), 0);
        await(2);
        assert_true(unit_is_silence(seen.r));
        assert_string_equal(seen.message, "a.service: cannot set MemoryHigh=: "
                                          "too many calls wait for systemd's answer; is PID 1 busy reloading?");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_complete),
                cmocka_unit_test(test_dropin),
                cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
                cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_broker, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
