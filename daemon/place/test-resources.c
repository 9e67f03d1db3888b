/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The [Resources] of slices: what is set, what is put back, and what is the administrator's. */

#include "place/test-place.h"

static int answer_properties(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        if (startswith(line, "GetAll"))
                return sd_bus_message_append(reply, "a{sv}", 3, "MemoryLow", "t", UINT64_C(1048576),
                                             "CPUWeight", "t", UINT64_C(500), "Slice", "s", "x");
        return answer(f, call, line, reply);
}

/* What systemd has already is not set again. */
static void test_resources_there(void **state) {
        (void) state;
        fake.answer = answer_properties;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_log("GetAll org.freedesktop.systemd1.Slice\n"
                   "Get workload_2eslice org.freedesktop.systemd1.Unit DropInPaths\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [])]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [(/dev/a t:1000000)])]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [(/dev/b t:2000000)])]\n");
}

static void test_resources(void **state) {
        Policy *other, *old;

        (void) state;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        assert_int_equal(seen.calls, 0);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_log("GetAll org.freedesktop.systemd1.Slice\n"
                   "Get workload_2eslice org.freedesktop.systemd1.Unit DropInPaths\n"
                   "SetUnitProperties workload.slice b:1 [(MemoryLow t:1048576)]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [])]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [(/dev/a t:1000000)])]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [(/dev/b t:2000000)])]\n"
                   "SetUnitProperties workload.slice b:1 [(CPUWeight t:500)]\n");
        /* The next policy says less: what it leaves out goes back to its default. */
        other = compile_good("[Resources]\nMemoryLow=64M\n");
        assert_int_equal(placer_set_policy(placer, other), 0);
        old = policy;
        policy = other;
        policy_free(old);
        world.refuse = true;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(2);
        assert_true(seen.r < 0);
        assert_string_equal(seen.message, "workload.slice: cannot set MemoryLow=64M: The test says -1.");
        assert_log("GetAll org.freedesktop.systemd1.Slice\n"
                   "Get workload_2eslice org.freedesktop.systemd1.Unit DropInPaths\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [])]\n"
                   "SetUnitProperties workload.slice b:1 [(CPUWeight t:18446744073709551615)]\n"
                   "SetUnitProperties workload.slice b:1 [(MemoryLow t:67108864)]\n");
}

/* What is not known to be nobody else's is not set: what the administrator assigned would be taken from him. */
static void test_resources_silence(void **state) {
        static const char *const calls[] = { "GetAll", "Get workload_2eslice" };

        (void) state;
        fake.answer = answer_silence;
        for (int i = 0; i < (int) ARRAY_SIZE(calls); i++) {
                char *log;

                world.silent = calls[i];
                assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
                await(i + 1);
                assert_true(seen.r < 0);
                assert_non_null(strstr(seen.message, "workload.slice: its resources stay as they are"));
                log = fake_log(&fake);
                assert_null(strstr(log, "SetUnitProperties"));
                free(log);
        }
}

/* What the policy before set is put back also where that was interrupted, and once. */
static void test_resources_interrupted(void **state) {
        Policy *old = policy;
        char *log;

        (void) state;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(1);
        policy = compile_good("[Resources]\nMemoryLow=1M\n");
        assert_int_equal(placer_set_policy(placer, policy), 0);
        policy_free(old);
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        assert_int_equal(placer_set_policy(placer, policy), 0);
        assert_int_equal(seen.r, -ECANCELED);
        free(fake_log(&fake));
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(3);
        log = fake_log(&fake);
        assert_non_null(strstr(log, "[(IOReadBandwidthMax [])]"));
        assert_non_null(strstr(log, "[(CPUWeight t:18446744073709551615)]"));
        free(log);
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(4);
        log = fake_log(&fake);
        assert_null(strstr(log, "CPUWeight"));
        free(log);
}

/* What systemd will not put back is told of once, not at each reload: it may never have had it. */
static void test_resources_refused_back(void **state) {
        Policy *old = policy;
        char *log;

        (void) state;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(1);
        policy = compile_good("[Resources]\nCPUWeight=500\n");
        assert_int_equal(placer_set_policy(placer, policy), 0);
        policy_free(old);
        world.refuse = true;
        free(fake_log(&fake));
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(2);
        assert_true(seen.r < 0);
        log = fake_log(&fake);
        assert_non_null(strstr(log, "MemoryLow"));
        free(log);
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(3);
        assert_int_equal(seen.r, 0);
        log = fake_log(&fake);
        assert_null(strstr(log, "MemoryLow"));
        free(log);
}

static int answer_dropins(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        if (startswith(line, "Get workload_2eslice")) {
                static const char *const names[] = { "etc/10-a.conf", "etc/40-cgd.conf", "etc/50-MemoryLow.conf",
                                                     "run/system.control/workload.slice.d/50-CPUWeight.conf",
                                                     "etc/gone.conf", "etc/override.conf" };
                char path[160];

                if (sd_bus_message_open_container(reply, 'v', "as") < 0 ||
                    sd_bus_message_open_container(reply, 'a', "s") < 0)
                        return -EIO;
                for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                        (void) snprintf(path, sizeof path, "%s/%s", base, names[i]);
                        if (sd_bus_message_append(reply, "s", path) < 0)
                                return -EIO;
                }
                return sd_bus_message_close_container(reply) < 0 ? -EIO : sd_bus_message_close_container(reply);
        }
        return answer(f, call, line, reply);
}

/* What the administrator assigns, by what is read after the generator's file, stays as it is. */
static void test_resources_of_administrator(void **state) {
        (void) state;
        fake.answer = answer_dropins;
        test_sh("cd %s && mkdir -p etc run/system.control/workload.slice.d && "
                "printf '[Slice]\nCPUWeight=1\n' | tee etc/10-a.conf etc/40-cgd.conf "
                ">run/system.control/workload.slice.d/50-CPUWeight.conf && "
                "printf '[Slice]\nMemoryLow=5M\n' >etc/50-MemoryLow.conf && "
                "printf '# [Slice]\n[Unit]\nCPUWeight=2\n[Slice]\n#CPUWeight=3\n IOReadBandwidthMax = \\\n"
                "CPUWeight=4\n' >etc/override.conf", base);
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_log("GetAll org.freedesktop.systemd1.Slice\n"
                   "Get workload_2eslice org.freedesktop.systemd1.Unit DropInPaths\n"
                   "SetUnitProperties workload.slice b:1 [(CPUWeight t:500)]\n");
}

static int answer_devices(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        if (startswith(line, "GetAll"))
                return sd_bus_message_append(reply, "a{sv}", 3, "MemoryLow", "t", UINT64_C(1048576), "CPUWeight", "t",
                                             UINT64_C(500), "IOReadBandwidthMax", "a(st)", 2, "/dev/b",
                                             UINT64_C(2000000), "/dev/a", UINT64_C(1000000));
        return answer(f, call, line, reply);
}

/* A list that is there as a whole is not made again; one of which a part is, is, and nothing in between is. */
static void test_resources_devices(void **state) {
        Policy *old = policy;

        (void) state;
        fake.answer = answer_devices;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_log("GetAll org.freedesktop.systemd1.Slice\n");
        policy = compile_good("[Resources]\nIOReadBandwidthMax=/dev/a 1M\nCPUWeight=500\nMemoryLow=1M\n"
                              "IOReadBandwidthMax=/dev/c 2M\n");
        assert_int_equal(placer_set_policy(placer, policy), 0);
        policy_free(old);
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(2);
        assert_int_equal(seen.r, 0);
        assert_log("GetAll org.freedesktop.systemd1.Slice\n"
                   "Get workload_2eslice org.freedesktop.systemd1.Unit DropInPaths\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [])]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [(/dev/a t:1000000)])]\n"
                   "SetUnitProperties workload.slice b:1 [(IOReadBandwidthMax [(/dev/c t:2000000)])]\n");
}

/* The host is no slice of systemd's to be limited. */
static void test_resources_host(void **state) {
        _cleanup_diagnostics_ Diagnostics d = {};
        Policy *host = NULL;

        (void) state;
        assert_int_equal(compile_text("[Domain]\nSlice=-.slice\n[Resources]\nTasksMax=500\n", &d, &host), 0);
        assert_int_equal(placer_set_policy(placer, host), 0);
        policy_free(policy);
        policy = host;
        assert_int_equal(place_apply_resources(placer, on_done, NULL), 0);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_log("");
}

/* Two tables know the directives, for sys/ stands below policy/: what one takes the other can send. */
static void test_every_directive(void **state) {
        static const char *const examples[_VALUE_TYPE_MAX] = {
                [VALUE_R_BOOLEAN] = "yes",          [VALUE_R_MEMORY] = "40%",
                [VALUE_R_WEIGHT] = "500",           [VALUE_R_CPU_WEIGHT] = "idle",
                [VALUE_R_QUOTA] = "150%",           [VALUE_R_USEC] = "10ms",
                [VALUE_R_INDICES] = "0-3 5",        [VALUE_R_TASKS] = "10%",
                [VALUE_R_WORD] = "auto",            [VALUE_R_PERCENT] = "60%",
                [VALUE_R_DEVICE_WEIGHT] = "/a 100", [VALUE_R_DEVICE_LIMIT] = "/a 5M",
                [VALUE_R_DEVICE_USEC] = "/a 25ms",
        };
        size_t n = 0;

        (void) state;
        for (size_t i = 0; i < schema_n_keys; i++) {
                const Key *k = &schema_keys[i];
                sd_bus_message *m = NULL;

                if (!streq(k->section, "Resources"))
                        continue;
                n++;
                assert_non_null(examples[k->type]);
                assert_true(sd_bus_message_new_method_call(fake.client, &m, "a.b", "/", "a.b", "C") >= 0);
                assert_true(sd_bus_message_open_container(m, 'a', "(sv)") >= 0);
                if (unit_property_append(m, k->name, examples[k->type]) < 0 ||
                    unit_property_append(m, k->name, "") < 0)
                        fail_msg("%s= cannot be sent", k->name);
                sd_bus_message_unref(m);
        }
        assert_true(n > 20);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_resources),
                TEST(test_resources_there),
                TEST(test_resources_of_administrator),
                TEST(test_resources_devices),
                TEST(test_resources_host),
                TEST(test_resources_interrupted),
                TEST(test_resources_refused_back),
                TEST(test_resources_silence),
                TEST(test_every_directive),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
