/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each directive against what `systemctl set-property` of systemd 252 sends for it. */

#include "base/test-dir.h"
#include "base/units.h"
#include "sys/test-systemd.h"
#include "sys/unit-property.h"

static sd_event *event;
static FakeSystemd fake;

static int setup(void **state) {
        (void) state;
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

static int convert(const char *key, const char *value, char **ret) {
        sd_bus_message *m = NULL;
        Str s = {};
        int r;

        assert_true(sd_bus_message_new_method_call(fake.client, &m, "a.b", "/", "a.b", "C") >= 0);
        assert_true(sd_bus_message_open_container(m, 'a', "(sv)") >= 0);
        r = unit_property_append(m, key, value);
        if (r >= 0) {
                assert_true(sd_bus_message_close_container(m) >= 0);
                assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
                assert_true(sd_bus_message_rewind(m, true) >= 0);
                fake_dump(&s, m);
                assert_int_equal(str_finish(&s, ret), 0);
        }
        sd_bus_message_unref(m);
        return r;
}

static void test_table(void **state) {
        static const struct {
                const char *key, *value, *want;
        } table[] = {
                { "MemoryLow", "64M", "[(MemoryLow t:67108864)]" },
                { "MemoryLow", "infinity", "[(MemoryLow t:18446744073709551615)]" },
                { "MemoryLow", "", "[(MemoryLow t:0)]" },
                { "MemoryMin", NULL, "[(MemoryMin t:0)]" },
                { "MemoryHigh", "", "[(MemoryHigh t:18446744073709551615)]" },
                { "MemoryMax", "1.5G", "[(MemoryMax t:1610612736)]" },
                { "MemorySwapMax", "0", "[(MemorySwapMax t:0)]" },
                { "MemoryLow", "101%", NULL },
                { "MemoryLow", "much", NULL },
                { "TasksMax", "500", "[(TasksMax t:500)]" },
                { "TasksMax", "5K", NULL },
                { "CPUWeight", "500", "[(CPUWeight t:500)]" },
                { "CPUWeight", "idle", "[(CPUWeight t:0)]" },
                { "CPUWeight", "", "[(CPUWeight t:18446744073709551615)]" },
                { "CPUWeight", "0", NULL },
                { "IOWeight", "10001", NULL },
                { "IOWeight", "idle", NULL },
                { "CPUQuota", "150%", "[(CPUQuotaPerSecUSec t:1500000)]" },
                { "CPUQuota", "0.5%", "[(CPUQuotaPerSecUSec t:5000)]" },
                { "CPUQuota", "", "[(CPUQuotaPerSecUSec t:18446744073709551615)]" },
                { "CPUQuota", "0%", NULL },
                { "CPUQuotaPeriodSec", "10ms", "[(CPUQuotaPeriodUSec t:10000)]" },
                { "CPUAccounting", "yes", "[(CPUAccounting b:1)]" },
                { "IOAccounting", "off", "[(IOAccounting b:0)]" },
                { "IOAccounting", "maybe", NULL },
                { "AllowedCPUs", "0-3 8", "[(AllowedCPUs [0f 01])]" },
                { "AllowedCPUs", "1,2", "[(AllowedCPUs [06])]" },
                { "AllowedCPUs", "", "[(AllowedCPUs [])]" },
                { "AllowedCPUs", "3-1", NULL },
                { "AllowedCPUs", "9999", NULL },
                { "AllowedMemoryNodes", "0", "[(AllowedMemoryNodes [01])]" },
                { "IOReadBandwidthMax", "/dev/sda 1M", "[(IOReadBandwidthMax [(/dev/sda t:1000000)])]" },
                { "IOReadBandwidthMax", "/dev/sda infinity",
                  "[(IOReadBandwidthMax [(/dev/sda t:18446744073709551615)])]" },
                { "IOReadBandwidthMax", "/my disk infinity", NULL },
                { "IOWriteIOPSMax", "/dev/sda 2K", "[(IOWriteIOPSMax [(/dev/sda t:2000)])]" },
                { "IOWriteIOPSMax", "", "[(IOWriteIOPSMax [])]" },
                { "IOWriteIOPSMax", "/dev/sda", NULL },
                { "IODeviceWeight", "/dev/sda 200", "[(IODeviceWeight [(/dev/sda t:200)])]" },
                { "IODeviceWeight", "/dev/sda 0", NULL },
                { "IODeviceLatencyTargetSec", "/dev/sda 25ms",
                  "[(IODeviceLatencyTargetUSec [(/dev/sda t:25000)])]" },
                { "IODeviceLatencyTargetSec", "/dev/sda 1ms 500us",
                  "[(IODeviceLatencyTargetUSec [(/dev/sda t:1500)])]" },
                { "ManagedOOMSwap", "kill", "[(ManagedOOMSwap kill)]" },
                { "ManagedOOMMemoryPressureLimit", "60%", "[(ManagedOOMMemoryPressureLimit u:2576980377)]" },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *text = NULL;
                int r = convert(table[i].key, table[i].value, &text);

                if (!table[i].want) {
                        assert_true(r < 0);
                        continue;
                }
                assert_int_equal(r, 0);
                assert_string_equal(text, table[i].want);
        }
}

/* All there is, and in a container no more than it may have. */
static void test_memory(void **state) {
        uint64_t all = (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE);
        char dir[TEST_DIR_SIZE];

        (void) state;
        test_dir_make(dir);
        assert_int_equal(unit_property_memory(dir), all);
        test_sh("echo max >%s/memory.max", dir);
        assert_int_equal(unit_property_memory(dir), all);
        test_sh("echo 16777216 >%s/memory.max", dir);
        assert_int_equal(unit_property_memory(dir), 16777216);
        test_sh("echo 9223372036854771712 >%s/memory.max", dir);
        assert_int_equal(unit_property_memory(dir), all);
        test_dir_remove(dir);
}

/* Of tasks as well. */
static void test_tasks(void **state) {
        char dir[TEST_DIR_SIZE];
        uint64_t all, v;

        (void) state;
        test_dir_make(dir);
        assert_int_equal(unit_property_tasks(dir, &all), 0);
        assert_true(all > 100);
        test_sh("echo max >%s/pids.max", dir);
        assert_int_equal(unit_property_tasks(dir, &v), 0);
        assert_int_equal(v, all);
        test_sh("echo 100 >%s/pids.max", dir);
        assert_int_equal(unit_property_tasks(dir, &v), 0);
        assert_int_equal(v, 100);
        test_dir_remove(dir);
}

/* A share becomes what systemd 252 makes of it in a unit file: whole pages, of all the memory there is. */
static void test_shares(void **state) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE), pages = unit_property_memory("/sys/fs/cgroup") / page;
        static const struct {
                const char *value;
                uint64_t scale;
        } table[] = { { "40%", 1717986918 }, { "100%", UINT32_MAX }, { "12.5%", 536870912 }, { "0%", 0 } };
        _cleanup_free_ char *tasks = NULL;
        uint64_t v;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *text = NULL;
                char want[64];

                (void) snprintf(want, sizeof want, "[(MemoryLow t:%" PRIu64 ")]",
                                mul_div_u64(pages, table[i].scale, UINT32_MAX) * page);
                assert_int_equal(convert("MemoryLow", table[i].value, &text), 0);
                assert_string_equal(text, want);
        }
        assert_int_equal(convert("TasksMax", "10%", &tasks), 0);
        assert_int_equal(sscanf(tasks, "[(TasksMax t:%" SCNu64 ")]", &v), 1);
        assert_true(v > 0 && v < (UINT64_C(1) << 22));
}

static void test_unknown(void **state) {
        char *text;

        (void) state;
        assert_int_equal(convert("MemoryHih", "1", &text), -EOPNOTSUPP);
        assert_true(unit_property_is_list("IODeviceWeight"));
        assert_true(unit_property_is_list("IODeviceLatencyTargetSec"));
        assert_false(unit_property_is_list("MemoryLow"));
        assert_false(unit_property_is_list("AllowedCPUs"));
}

/* What systemd says it has already. */
static void test_there(void **state) {
        static const struct {
                const char *key, *value;
                bool is;
        } table[] = {
                { "MemoryLow", "1M", true },            { "MemoryLow", "2M", false },
                { "MemoryHigh", "1M", false },          { "CPUAccounting", "yes", true },
                { "CPUAccounting", "no", false },       { "ManagedOOMSwap", "kill", true },
                { "ManagedOOMSwap", "", false },        { "ManagedOOMMemoryPressureLimit", "60%", true },
                { "ManagedOOMMemoryPressureLimit", "61%", false },
                { "AllowedCPUs", "1-2", true },         { "AllowedCPUs", "1-2 8", false },
                { "AllowedCPUs", "", false },           { "AllowedMemoryNodes", "", true },
                { "IOWriteIOPSMax", "", true },         { "IOWriteIOPSMax", "/a 1", false },
                { "IOReadIOPSMax", "", false },         { "IOReadIOPSMax", "/a 1", true },
                { "IOReadIOPSMax", "/a 2", false },     { "IOReadIOPSMax", "/b 1", false },
                { "IOReadBandwidthMax", "/a 1", false },
        };
        static const unsigned char cpus[] = { 0x06, 0x00 };
        sd_bus_message *m = NULL;

        (void) state;
        assert_true(sd_bus_message_new_method_call(fake.client, &m, "a.b", "/", "a.b", "C") >= 0);
        assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
        assert_true(sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}",
                                          "MemoryLow", "t", UINT64_C(1048576), "CPUAccounting", "b", 1,
                                          "ManagedOOMSwap", "s", "kill",
                                          "ManagedOOMMemoryPressureLimit", "u", UINT32_C(2576980377),
                                          "AllowedMemoryNodes", "ay", 0, "IOWriteIOPSMax", "a(st)", 0,
                                          "IOReadIOPSMax", "a(st)", 1, "/a", UINT64_C(1),
                                          "IOReadBandwidthMax", "a(st)", 2, "/b", UINT64_C(2000000), "/a",
                                          UINT64_C(1000000)) >= 0);
        assert_true(sd_bus_message_open_container(m, 'e', "sv") >= 0);
        assert_true(sd_bus_message_append(m, "s", "AllowedCPUs") >= 0);
        assert_true(sd_bus_message_open_container(m, 'v', "ay") >= 0);
        assert_true(sd_bus_message_append_array(m, 'y', cpus, sizeof cpus) >= 0);
        for (int i = 0; i < 3; i++)
                assert_true(sd_bus_message_close_container(m) >= 0);
        assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (unit_property_is(m, table[i].key, table[i].value) != table[i].is)
                        fail_msg("%s=%s", table[i].key, table[i].value);
        assert_true(unit_property_list_has(m, "IOReadBandwidthMax", "/a 1M", 2));
        assert_true(unit_property_list_has(m, "IOReadBandwidthMax", "/b 2M", 2));
        assert_false(unit_property_list_has(m, "IOReadBandwidthMax", "/c 2M", 2));
        assert_false(unit_property_list_has(m, "IOReadBandwidthMax", "/a 1M", 1));
        sd_bus_message_unref(m);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_table, setup, teardown),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_tasks),
                cmocka_unit_test_setup_teardown(test_shares, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
                cmocka_unit_test_setup_teardown(test_there, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
