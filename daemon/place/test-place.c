/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Placing, against a systemd of the test's own and a fake /proc. */

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "place/place.h"
#include "policy/schema.h"
#include "policy/test-policy.h"
#include "sys/test-systemd.h"
#include "sys/unit.h"
#include "sys/unit-property.h"

static char base[TEST_DIR_SIZE], proc[96], run[96], hierarchy[96];
static sd_event *event;
static FakeSystemd fake;
static Placer *placer;
static Policy *policy;
static struct {
        int r, calls;
        char message[512], moves[512];
} seen;

/* What the test's systemd says of x.service. */
static struct {
        const char *cgroup, *slice, *cgroup_after;
        bool refuse;
        int start_error, start_errors;  /* so many starts of a unit end with it */
} world;

static int answer(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        (void) f;
        (void) call;
        if (startswith(line, "Get x_2eservice")) {
                if (strstr(line, "ControlGroup"))
                        return sd_bus_message_append(reply, "v", "s", world.cgroup);
                return sd_bus_message_append(reply, "v", "s", world.slice);
        }
        if (strstr(line, "DropInPaths"))
                return sd_bus_message_append(reply, "v", "as", 0);
        if (startswith(line, "Get y_2eservice"))
                return sd_bus_message_append(reply, "v", "s", "/workload.slice/y.service");
        if (startswith(line, "ListUnits"))
                return sd_bus_message_append(reply, "a(ssssssouso)", 3, "x.service", "d", "l", "active",
                                             "running", "", "/a", 0, "", "/", "y.service", "d", "l",
                                             "active", "running", "", "/b", 0, "", "/", "other.service", "d",
                                             "l", "active", "running", "", "/b", 0, "", "/");
        if (startswith(line, "Restart"))
                world.cgroup = world.cgroup_after;
        if (startswith(line, "SetUnitProperties") && world.refuse && strstr(line, "MemoryLow"))
                return -EPERM;
        if (startswith(line, "Start") && world.refuse)
                return -EPERM;
        if (startswith(line, "Start") && world.start_errors > 0) {
                world.start_errors--;
                return world.start_error;
        }
        if (startswith(line, "Restart") || startswith(line, "Start") || startswith(line, "Stop"))
                return sd_bus_message_append(reply, "o", "/job/1");
        return 0;
}

static const char workload_text[] =
        "[Match]\nUnit=x.service y.service\nExecutable=/usr/bin/ffmpeg\nUser=4242\n"
        "[Resources]\nMemoryLow=1M\nIOReadBandwidthMax=/dev/a 1M\nIOReadBandwidthMax=/dev/b 2M\n"
        "CPUWeight=500\n";

static int setup(void **state) {
        (void) state;
        memset(&seen, 0, sizeof seen);
        memset(&world, 0, sizeof world);
        test_dir_make(base);
        (void) snprintf(proc, sizeof proc, "%s/proc", base);
        (void) snprintf(run, sizeof run, "%s/run", base);
        (void) snprintf(hierarchy, sizeof hierarchy, "%s/cgroup", base);
        test_sh("mkdir -p %s %s/system %s", proc, run, hierarchy);
        fake = (FakeSystemd) { .answer = answer };
        assert_true(sd_event_new(&event) >= 0);
        fake_systemd_start(&fake, event);
        assert_int_equal(placer_new(event, proc, hierarchy, run, &placer), 0);
        placer_set_bus(placer, fake.client);
        policy = compile_good(workload_text);
        assert_int_equal(placer_set_policy(placer, policy), 0);
        return 0;
}

static int teardown(void **state) {
        (void) state;
        placer = placer_free(placer);
        policy = policy_free(policy);
        fake_systemd_stop(&fake);
        event = sd_event_unref(event);
        test_dir_remove(base);
        return 0;
}

static void on_done(int r, const char *message, void *userdata) {
        (void) userdata;
        seen.r = r;
        seen.calls++;
        (void) snprintf(seen.message, sizeof seen.message, "%s", message ? message : "");
}

static void on_moves(int r, const char *message, const PlaceMove *moves, size_t n, void *userdata) {
        on_done(r, message, userdata);
        seen.moves[0] = 0;
        for (size_t i = 0; i < n; i++)
                (void) snprintf(seen.moves + strlen(seen.moves), sizeof seen.moves - strlen(seen.moves),
                                "%s %s %s %s\n", moves[i].unit, moves[i].from, moves[i].to, moves[i].domain);
}

static void await(int calls) {
        for (int i = 0; i < 1000 && seen.calls < calls; i++)
                assert_true(sd_event_run(event, 10 * USEC_PER_SEC) >= 0);
        assert_int_equal(seen.calls, calls);
}

static uint64_t now(void) {
        uint64_t usec;

        assert_true(sd_event_now(event, CLOCK_MONOTONIC, &usec) >= 0);
        return usec;
}

static void assert_log(const char *want) {
        char *log = fake_log(&fake);

        assert_string_equal(log, want);
        free(log);
}

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

static int answer_silence(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        if (startswith(line, seen.moves))
                return -ETIMEDOUT;
        return answer(f, call, line, reply);
}

/* What is not known to be nobody else's is not set: what the administrator assigned would be taken from him. */
static void test_resources_silence(void **state) {
        static const char *const calls[] = { "GetAll", "Get workload_2eslice" };

        (void) state;
        fake.answer = answer_silence;
        for (int i = 0; i < (int) ARRAY_SIZE(calls); i++) {
                char *log;

                (void) snprintf(seen.moves, sizeof seen.moves, "%s", calls[i]);
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

static void test_would_move(void **state) {
        (void) state;
        world.cgroup = "/system.slice/x.service";
        world.slice = "workload.slice";
        assert_int_equal(place_would_move(placer, on_moves, NULL), 0);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_string_equal(seen.moves, "x.service system.slice workload.slice workload\n");
        world.cgroup = "/workload.slice/x.service";
        assert_int_equal(place_would_move(placer, on_moves, NULL), 0);
        await(2);
        assert_string_equal(seen.moves, "");
        /* Released, or somebody else's drop-in says otherwise: it would start where it is. */
        world.cgroup = "/system.slice/x.service";
        world.slice = "system.slice";
        assert_int_equal(place_would_move(placer, on_moves, NULL), 0);
        await(3);
        assert_int_equal(seen.r, 0);
        assert_string_equal(seen.moves, "");
        /* PID 1 is not waited for once a unit. */
        (void) snprintf(seen.moves, sizeof seen.moves, "Get x");
        fake.answer = answer_silence;
        assert_int_equal(place_would_move(placer, on_moves, NULL), 0);
        await(4);
        assert_int_equal(seen.r, -ETIMEDOUT);
        fake.answer = answer;
        /* A new policy, or the bus going away, ends what is under way. */
        assert_int_equal(place_would_move(placer, on_moves, NULL), 0);
        assert_int_equal(placer_set_policy(placer, policy), 0);
        assert_int_equal(seen.calls, 5);
        assert_int_equal(seen.r, -ECANCELED);
        placer_set_bus(placer, NULL);
        assert_int_equal(place_would_move(placer, on_moves, NULL), -ENOTCONN);
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), -ENOTCONN);
}

static void test_unit(void **state) {
        char path[160];

        (void) state;
        world.cgroup = "/system.slice/x.service";
        world.slice = "workload.slice";
        world.cgroup_after = "/workload.slice/x.service";
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), 0);
        await(1);
        assert_string_equal(seen.message, "x.service: restarted, now in workload.slice");
        assert_int_equal(seen.r, 0);
        assert_log("Get x_2eservice org.freedesktop.systemd1.Service ControlGroup\n"
                   "Reload\n"
                   "Get x_2eservice org.freedesktop.systemd1.Service Slice\n"
                   "RestartUnit x.service replace\n"
                   "Get x_2eservice org.freedesktop.systemd1.Service ControlGroup\n");
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), 0);
        await(2);
        assert_string_equal(seen.message, "x.service: is in workload.slice already");
        /* Undone: the generator's drop-in is masked, and taken up again by placing. */
        world.slice = "system.slice";
        world.cgroup_after = "/system.slice/x.service";
        assert_int_equal(place_release(placer, "x.service", on_done, NULL), 0);
        await(3);
        assert_string_equal(seen.message, "x.service: restarted, now in system.slice");
        (void) snprintf(path, sizeof path, "%s/system/x.service.d/50-cgd-slice.conf", run);
        {
                char target[32];

                assert_int_equal(readlink(path, target, sizeof target), strlen("/dev/null"));
        }
        /* It is where it would be started: it is not restarted for nothing. */
        free(fake_log(&fake));
        assert_int_equal(place_release(placer, "x.service", on_done, NULL), 0);
        await(4);
        assert_int_equal(seen.r, 0);
        assert_string_equal(seen.message, "x.service: stays in system.slice; not restarted");
        assert_log("Get x_2eservice org.freedesktop.systemd1.Service ControlGroup\n"
                   "Reload\n"
                   "Get x_2eservice org.freedesktop.systemd1.Service Slice\n");
        /* Nor where systemd would not move it. */
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), 0);
        await(5);
        assert_int_equal(seen.r, -EBADMSG);
        assert_log("Get x_2eservice org.freedesktop.systemd1.Service ControlGroup\n"
                   "Reload\n"
                   "Get x_2eservice org.freedesktop.systemd1.Service Slice\n");
        assert_int_equal(access(path, F_OK), -1);
        /* Not running: only its next start changes. */
        world.cgroup = "";
        world.slice = "workload.slice";
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), 0);
        await(6);
        assert_string_equal(seen.message, "x.service: not running; it will start in workload.slice");
        /* In no domain, and never. */
        assert_int_equal(place_unit(placer, "nobody.service", on_done, NULL), 0);
        assert_int_equal(seen.calls, 6);
        await(7);
        assert_int_equal(seen.r, -ENOENT);
        assert_int_equal(place_unit(placer, "dbus.service", on_done, NULL), 0);
        await(8);
        assert_int_equal(seen.r, -EPERM);
        /* No unit: of several that were asked for, which one is said. */
        assert_int_equal(place_unit(placer, "../x.service", on_done, NULL), 0);
        await(9);
        assert_int_equal(seen.r, -EINVAL);
        assert_string_equal(seen.message, "../x.service: not the name of a unit");
        {
                char name[UNIT_NAME_SIZE + 16];

                memset(name, 'x', sizeof name);
                name[sizeof name - 1] = 0;
                assert_int_equal(place_release(placer, name, on_done, NULL), 0);
                await(10);
                assert_int_equal(seen.r, -EINVAL);
        }
}

/* A domain's slice within another's is no place of that one's units. A slice that is nobody's is. */
static void test_within(void **state) {
        _cleanup_diagnostics_ Diagnostics d = {};
        Policy *old = policy;

        (void) state;
        assert_int_equal(compile_texts((Text[]) { { "workload", "w", workload_text }, { "workload-db", "d", "" } }, 2, &d, &policy), 0);
        assert_int_equal(placer_set_policy(placer, policy), 0);
        policy_free(old);
        world.cgroup = "/workload.slice/workload-db.slice/x.service";
        world.slice = "workload.slice";
        world.cgroup_after = "/workload.slice/x.service";
        assert_int_equal(place_would_move(placer, on_moves, NULL), 0);
        await(1);
        assert_string_equal(seen.moves, "x.service workload-db.slice workload.slice workload\n");
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), 0);
        await(2);
        assert_string_equal(seen.message, "x.service: restarted, now in workload.slice");
        world.cgroup = "/workload.slice/workload-web.slice/x.service";
        assert_int_equal(place_unit(placer, "x.service", on_done, NULL), 0);
        await(3);
        assert_string_equal(seen.message, "x.service: is in workload-web.slice already");
}

static void test_run(void **state) {
        uint32_t pid = 77;
        PlaceRun scope = { .domain = "workload",
                           .argv = (char *[]){ (char *) "make", (char *) "\033[1m", NULL },
                           .pids = &pid,
                           .n_pids = 1,
                           .uid = UINT32_MAX,
                           .gid = UINT32_MAX };
        PlaceRun service = { .domain = "workload",
                             .argv = (char *[]){ (char *) "/bin/true", NULL },
                             .uid = 1000,
                             .gid = UINT32_MAX };

        (void) state;
        /* The unit's name is made by the placer; the fake process is "moved" when it is known. */
        test_sh("mkdir %s/77 && echo 0::/user.slice >%s/77/cgroup", proc, proc);
        assert_int_equal(place_run(placer, &scope, on_done, NULL), 0);
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 10000) >= 0);
        assert_int_equal(seen.calls, 0);
        test_sh("echo 0::/workload.slice/cgd-run-77-1.scope >%s/77/cgroup", proc);
        await(1);
        assert_int_equal(seen.r, 0);
        assert_string_equal(seen.message, "cgd-run-77-1.scope");
        assert_log("StartTransientUnit cgd-run-77-1.scope fail [(Description [cgctl run] make \\x1b[1m) "
                   "(Slice workload.slice) (CollectMode inactive-or-failed) (PIDs [u:77])] []\n");
        assert_int_equal(place_run(placer, &service, on_done, NULL), 0);
        await(2);
        assert_int_equal(seen.r, 0);
        assert_non_null(endswith(seen.message, ".service"));
        scope.domain = "nobody";
        assert_int_equal(place_run(placer, &scope, on_done, NULL), -ENOENT);
        service.argv = (char *[]) { (char *) "true", NULL };
        assert_int_equal(place_run(placer, &service, on_done, NULL), -EINVAL);
        test_sh("rm -r %s/77", proc);
        scope.domain = "workload";
        assert_int_equal(place_run(placer, &scope, on_done, NULL), 0);
        await(3);
        assert_int_equal(seen.r, -ESRCH);
}

static void process(int pid, const char *executable, const char *cgroup, unsigned flags) {
        test_sh("mkdir %s/%d && ln -s %s %s/%d/exe && echo '0::%s' >%s/%d/cgroup && "
           "echo '%d (a) b) S 1 1 1 0 -1 %u 0 0 0 0 0 0 0 0 20 0 1 0 %d00 1 1' >%s/%d/stat",
           proc, pid, executable, proc, pid, cgroup, proc, pid, pid, flags, pid, proc, pid);
}

static void test_scan(void **state) {
        (void) state;
        process(1, "/usr/bin/ffmpeg", "/init.scope", 0);
        process(10, "/usr/bin/ffmpeg", "/user.slice/user-1.slice/session-3.scope", 0);
        process(11, "/usr/bin/ffmpeg", "/user.slice/user-1.slice/session-3.scope", 0);
        process(12, "/usr/bin/ffmpeg", "/system.slice/x.service", 0);
        process(13, "/usr/bin/ffmpeg", "/workload.slice/cgd-workload-13.scope", 0);
        process(14, "/usr/bin/ffmpeg", "/machine.slice/box.scope", 0);
        process(15, "/usr/bin/ffmpeg", "/user.slice/user-1.slice/user@1.service/app.slice/a.scope", 0);
        process(16, "/usr/bin/ffmpeg", "/", 0x00200000);
        process(17, "/usr/bin/vim", "/", 0);
        process(18, "/usr/bin/ffmpeg", "/", 0);
        /* A process that is going away. */
        test_sh("mkdir %s/19", proc);
        assert_int_equal(place_scan(placer, on_done, NULL), 3);
        for (int i = 0; i < 50; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
        assert_int_equal(seen.calls, 0);
        {
                char *log = fake_log(&fake);

                assert_non_null(strstr(log, "(PIDs [u:10 u:11])") ?: strstr(log, "(PIDs [u:11 u:10])"));
                assert_non_null(strstr(log, "StartTransientUnit cgd-workload-18-1800.scope fail"));
                assert_non_null(strstr(log, "(PIDs [u:18])"));
                free(log);
        }
        /* Refused: told, and not asked for again. */
        test_sh("rm -r %s/10 %s/11", proc, proc);
        world.refuse = true;
        assert_int_equal(place_scan(placer, on_done, NULL), 1);
        await(1);
        assert_true(seen.r < 0);
        assert_int_equal(place_scan(placer, on_done, NULL), 0);
}

static void procs_are(const char *cgroup, const char *want) {
        char path[256], text[64];
        FILE *f;

        (void) snprintf(path, sizeof path, "%s%s/cgroup.procs", hierarchy, cgroup);
        f = fopen(path, "re");
        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        (void) fclose(f);
        assert_string_equal(text, want);
}

/* As it starts: into the scope's cgroup by ourselves, then into the scope; back again where systemd refuses. */
static void test_exec(void **state) {
        const ExecEvent here = { .pid = 30 }, elsewhere = { .pid = 31 }, gone = { .pid = 32 };
        ExecFilter filter;

        (void) state;
        placer_exec_filter(placer, &filter);
        assert_int_equal(filter.n_uids, 1);
        assert_int_equal(filter.uids[0], 4242);
        assert_string_equal(filter.names[0], "ffmpeg");
        assert_null(filter.names[1]);
        assert_false(filter.all);

        process(30, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        process(31, "/usr/bin/ffmpeg", "/system.slice/x.service", 0);
        test_sh("cd %s && mkdir -p workload.slice/cgd-workload-30-3000.scope user.slice/session-3.scope && "
                "touch workload.slice/cgd-workload-30-3000.scope/cgroup.procs user.slice/session-3.scope/cgroup.procs", hierarchy);
        assert_int_equal(place_exec(placer, &elsewhere, true, on_done, NULL), 0);
        assert_int_equal(place_exec(placer, &gone, true, on_done, NULL), 0);
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 1);
        procs_are("/workload.slice/cgd-workload-30-3000.scope", "30");
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
        assert_int_equal(seen.calls, 0);
        {
                char *log = fake_log(&fake);

                assert_non_null(strstr(log, "StartTransientUnit cgd-workload-30-3000.scope fail"));
                free(log);
        }
        procs_are("/user.slice/session-3.scope", "");

        /* Back also where nobody is left who would hear of it, and to be asked for again. */
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 1);
        placer_set_bus(placer, NULL);
        assert_int_equal(seen.calls, 1);
        assert_int_equal(seen.r, -ECANCELED);
        procs_are("/user.slice/session-3.scope", "30");
        placer_set_bus(placer, fake.client);
        test_sh("cd %s && mkdir -p workload.slice/cgd-workload-30-3000.scope && : >workload.slice/cgd-workload-30-3000.scope/cgroup.procs && "
                ": >user.slice/session-3.scope/cgroup.procs", hierarchy);

        world.refuse = true;
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 1);
        await(2);
        procs_are("/user.slice/session-3.scope", "30");
        /* Not asked for again. */
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 0);
}

/* Where the hierarchy does not let us, systemd alone does it. */
static void test_exec_without_raw(void **state) {
        const ExecEvent here = { .pid = 30 };

        (void) state;
        process(30, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 1);
        test_sh("! ls %s/workload.slice 2>/dev/null", hierarchy);
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
        {
                char *log = fake_log(&fake);

                assert_non_null(strstr(log, "StartTransientUnit cgd-workload-30-3000.scope fail"));
                free(log);
        }
        placer_set_bus(placer, NULL);
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), -ENOTCONN);
}

static void run_loop(int turns) {
        for (int i = 0; i < turns; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
}

/* Programs end: who does before systemd moves him keeps nobody else from being moved, and is nothing to tell of. */
static void test_scan_gone(void **state) {
        (void) state;
        process(20, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        process(21, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        world.start_error = -ESRCH;
        world.start_errors = 1;
        assert_int_equal(place_scan(placer, on_done, NULL), 2);
        test_sh("rm -r %s/20", proc);
        run_loop(50);
        {
                char *log = fake_log(&fake);

                assert_non_null(strstr(log, "(PIDs [u:21])"));
                free(log);
        }
        /* All are: nothing more is asked. */
        world.start_errors = 1;
        assert_int_equal(place_scan(placer, on_done, NULL), 1);
        test_sh("rm -r %s/21", proc);
        run_loop(50);
        assert_int_equal(seen.calls, 0);
}

/* Who ends and leaves children in the cgroup that we made: they get the scope. */
static void test_exec_children(void **state) {
        const ExecEvent here = { .pid = 30 };
        char *log;

        (void) state;
        process(30, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        test_sh("cd %s && mkdir -p workload.slice/cgd-workload-30-3000.scope user.slice/session-3.scope && "
                "touch user.slice/session-3.scope/cgroup.procs && "
                "printf '30\n31\n' >workload.slice/cgd-workload-30-3000.scope/cgroup.procs", hierarchy);
        world.start_error = -ESRCH;
        world.start_errors = 1;
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 1);
        test_sh("printf '31\n' >%s/workload.slice/cgd-workload-30-3000.scope/cgroup.procs", hierarchy);
        run_loop(50);
        log = fake_log(&fake);
        assert_non_null(strstr(log, "StartTransientUnit cgd-workload-30-3000.scope fail [(Description Processes of domain workload) "
                                    "(Slice workload.slice) (CollectMode inactive-or-failed) (PIDs [u:31])] []\n"));
        free(log);
        assert_int_equal(seen.calls, 0);
        procs_are("/user.slice/session-3.scope", "");
}

/* No answer is no refusal: they go back, children too, and are asked for again. */
static void test_exec_silence(void **state) {
        const ExecEvent here = { .pid = 30 };

        (void) state;
        process(30, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        test_sh("cd %s && mkdir -p workload.slice/cgd-workload-30-3000.scope && "
                "printf '30\n31\n' >workload.slice/cgd-workload-30-3000.scope/cgroup.procs && "
                "mkdir -p user.slice/session-3.scope && touch user.slice/session-3.scope/cgroup.procs", hierarchy);
        world.start_error = -ETIMEDOUT;
        world.start_errors = 1;
        assert_int_equal(place_exec(placer, &here, true, on_done, NULL), 1);
        await(1);
        assert_int_equal(seen.r, -ETIMEDOUT);
        procs_are("/user.slice/session-3.scope", "31");
        assert_int_equal(place_scan(placer, on_done, NULL), 1);
        run_loop(50);
        assert_int_equal(seen.calls, 1);
}

/* A scope that was empty from its beginning would stay: systemd waits for it to become so. */
static void test_scan_empty(void **state) {
        char *log;

        (void) state;
        process(20, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        process(21, "/usr/bin/ffmpeg", "/user.slice/session-4.scope", 0);
        process(22, "/usr/bin/ffmpeg", "/user.slice/session-5.scope", 0);
        test_sh("cd %s && mkdir -p workload.slice/cgd-workload-20-2000.scope workload.slice/cgd-workload-21-2100.scope && "
                "echo populated 0 >workload.slice/cgd-workload-20-2000.scope/cgroup.events && "
                "echo populated 1 >workload.slice/cgd-workload-21-2100.scope/cgroup.events", hierarchy);
        assert_int_equal(place_scan(placer, on_done, NULL), 3);
        for (uint64_t end = now() + 3 * USEC_PER_SEC / 2; now() < end;)
                assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
        log = fake_log(&fake);
        assert_non_null(strstr(log, "StopUnit cgd-workload-20-2000.scope replace\n"));
        assert_null(strstr(log, "StopUnit cgd-workload-21"));
        assert_null(strstr(log, "StopUnit cgd-workload-22"));
        free(log);
        assert_int_equal(seen.calls, 0);
}

/* The dead who were not waited for can be moved by nobody; a program whose first thread alone has ended can. */
static void test_scan_dead(void **state) {
        char *log;

        (void) state;
        process(20, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        process(21, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
        test_sh("cd %s && sed -i 's/) S/) Z/' 20/stat 21/stat && sed -i 's/20 0 1 0/20 0 2 0/' 21/stat", proc);
        assert_int_equal(place_scan(placer, on_done, NULL), 1);
        run_loop(50);
        log = fake_log(&fake);
        assert_non_null(strstr(log, "(PIDs [u:21])"));
        free(log);
}

/* More than one look takes: it says so, to be called again soon. */
static void test_scan_many(void **state) {
        char cgroup[64];

        (void) state;
        for (int pid = 100; pid < 165; pid++) {
                (void) snprintf(cgroup, sizeof cgroup, "/user.slice/session-%d.scope", pid);
                process(pid, "/usr/bin/ffmpeg", cgroup, 0);
        }
        assert_int_equal(place_scan(placer, on_done, NULL), -EBUSY);
        test_sh("rm -r %s/1[0-5]?", proc);
        assert_int_equal(place_scan(placer, on_done, NULL), 5);
        run_loop(200);
}

/* Who starts programs without end does not make a scope each: what is too much is left to the next look. */
static void test_exec_burst(void **state) {
        int moved = 0, r = 0;

        (void) state;
        for (int pid = 100; pid < 180; pid++) {
                process(pid, "/usr/bin/ffmpeg", "/user.slice/session-3.scope", 0);
                r = place_exec(placer, &(ExecEvent) { .pid = (uint32_t) pid, .usec = USEC_PER_SEC }, false, on_done,
                               NULL);
                moved += r > 0;
        }
        assert_int_equal(moved, 64);
        assert_int_equal(r, -EBUSY);
        /* It comes back, at twenty a second. */
        for (moved = 0, r = 1; r > 0 && moved < 80; moved += r > 0)
                r = place_exec(placer, &(ExecEvent) { .pid = 179 - (uint32_t) moved, .usec = USEC_PER_SEC * 3 / 2 },
                               false, on_done, NULL);
        assert_int_equal(moved, 10);
        assert_int_equal(r, -EBUSY);
        for (int i = 0; i < 400; i++)
                assert_true(sd_event_run(event, 100) >= 0);
}

static void test_scan_user(void **state) {
        (void) state;
        process(20, "/usr/bin/make", "/user.slice/user-1.slice/session-3.scope", 0);
        process(21, "/usr/bin/make", "/user.slice/user-1.slice/session-3.scope", 0);
        if (chown(proc, 0, 0) < 0 || geteuid() != 0)
                skip();
        test_sh("chown -h 4242 %s/21 && chmod 755 %s %s", proc, base, proc);
        assert_int_equal(place_scan(placer, on_done, NULL), 1);
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
        {
                char *log = fake_log(&fake);

                assert_non_null(strstr(log, "(PIDs [u:21])"));
                free(log);
        }
}

/* /proc tells where the links lead, and that the file is no longer there. */
static void test_scan_links(void **state) {
        ExecFilter filter;
        char text[512], exe[160];

        (void) state;
        test_sh("mkdir %s/bin && cd %s/bin && touch tool-1.2 other && ln -s tool-1.2 tool && ln -s other both", base,
                base);
        (void) snprintf(text, sizeof text, "[Match]\nExecutable=%s/bin/tool %s/bin/both %s/bin/gone\n", base, base,
                        base);
        policy_free(policy);
        policy = compile_good(text);
        assert_int_equal(placer_set_policy(placer, policy), 0);
        (void) snprintf(exe, sizeof exe, "%s/bin/tool-1.2", base);
        process(20, exe, "/user.slice", 0);
        (void) snprintf(exe, sizeof exe, "'%s/bin/tool-1.2 (deleted)'", base);
        process(21, exe, "/user.slice", 0);
        (void) snprintf(exe, sizeof exe, "'%s/bin/gone (deleted)'", base);
        process(22, exe, "/user.slice", 0);
        (void) snprintf(exe, sizeof exe, "%s/bin/tool-1.3", base);
        process(23, exe, "/user.slice", 0);
        assert_int_equal(place_scan(placer, on_done, NULL), 3);
        placer_exec_filter(placer, &filter);
        assert_false(filter.all);
        assert_true(strv_contains(filter.names, "tool"));
        assert_true(strv_contains(filter.names, "tool-1.2"));
        assert_true(strv_contains(filter.names, "other"));
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
}

/* Who names the program itself goes before who names a link to it. */
static void test_scan_link_conflict(void **state) {
        _cleanup_diagnostics_ Diagnostics d = {};
        char by_link[160], by_name[160], exe[160];

        (void) state;
        test_sh("mkdir %s/bin && cd %s/bin && touch tool-1.2 && ln -s tool-1.2 tool", base, base);
        (void) snprintf(by_link, sizeof by_link, "[Match]\nExecutable=%s/bin/tool\n", base);
        (void) snprintf(by_name, sizeof by_name, "[Match]\nExecutable=%s/bin/tool-1.2\n", base);
        policy_free(policy);
        policy = NULL;
        assert_int_equal(compile_texts((Text[]) { { "a", "a", by_link }, { "b", "b", by_name } }, 2, &d, &policy),
                         0);
        assert_int_equal(placer_set_policy(placer, policy), 0);
        (void) snprintf(exe, sizeof exe, "%s/bin/tool-1.2", base);
        process(20, exe, "/user.slice", 0);
        assert_int_equal(place_scan(placer, on_done, NULL), 1);
        for (int i = 0; i < 20; i++)
                assert_true(sd_event_run(event, 2000) >= 0);
        {
                char *log = fake_log(&fake);

                assert_non_null(strstr(log, "StartTransientUnit cgd-b-20-2000.scope fail"));
                free(log);
        }
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
                TEST(test_would_move),
                TEST(test_unit),
                TEST(test_within),
                TEST(test_run),
                TEST(test_scan),
                TEST(test_exec),
                TEST(test_exec_without_raw),
                TEST(test_exec_burst),
                TEST(test_scan_gone),
                TEST(test_exec_children),
                TEST(test_exec_silence),
                TEST(test_scan_empty),
                TEST(test_scan_dead),
                TEST(test_scan_many),
                TEST(test_scan_user),
                TEST(test_scan_links),
                TEST(test_scan_link_conflict),
                TEST(test_every_directive),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
