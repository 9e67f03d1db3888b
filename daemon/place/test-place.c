/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Units that are placed, released and run. */

#include "place/test-place.h"

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
        world.silent = "Get x";
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

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_would_move),
                TEST(test_unit),
                TEST(test_within),
                TEST(test_run),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
