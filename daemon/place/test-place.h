/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of placing share: a systemd of their own and a fake /proc. */

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
        const char *silent;             /* calls that begin like this are not answered, of answer_silence() */
        bool refuse;
        int start_error, start_errors;  /* so many starts of a unit end with it */
} world;

static inline int answer(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
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

static inline int setup(void **state) {
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

static inline int teardown(void **state) {
        (void) state;
        placer = placer_free(placer);
        policy = policy_free(policy);
        fake_systemd_stop(&fake);
        event = sd_event_unref(event);
        test_dir_remove(base);
        return 0;
}

static inline void on_done(int r, const char *message, void *userdata) {
        (void) userdata;
        seen.r = r;
        seen.calls++;
        (void) snprintf(seen.message, sizeof seen.message, "%s", message ? message : "");
}

static inline void on_moves(int r, const char *message, const PlaceMove *moves, size_t n, void *userdata) {
        on_done(r, message, userdata);
        seen.moves[0] = 0;
        for (size_t i = 0; i < n; i++)
                (void) snprintf(seen.moves + strlen(seen.moves), sizeof seen.moves - strlen(seen.moves),
                                "%s %s %s %s\n", moves[i].unit, moves[i].from, moves[i].to, moves[i].domain);
}

static inline void await(int calls) {
        for (int i = 0; i < 1000 && seen.calls < calls; i++)
                assert_true(sd_event_run(event, 10 * USEC_PER_SEC) >= 0);
        assert_int_equal(seen.calls, calls);
}

static inline uint64_t now(void) {
        uint64_t usec;

        assert_true(sd_event_now(event, CLOCK_MONOTONIC, &usec) >= 0);
        return usec;
}

static inline void assert_log(const char *want) {
        char *log = fake_log(&fake);

        assert_string_equal(log, want);
        free(log);
}

static inline int answer_silence(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        if (startswith(line, world.silent))
                return -ETIMEDOUT;
        return answer(f, call, line, reply);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
