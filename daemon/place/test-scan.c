/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Processes that are matched, as they start and by a look: who is moved, and what becomes of those who end meanwhile. */

#include "place/test-place.h"

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

int main(void) {
        const struct CMUnitTest tests[] = {
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
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
