/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An actor on a tree of ordinary files, for its tests: no kernel answers here, so a file holds what was written last. */

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act/act.h"
#include "act/test-spin.h"
#include "act/leases.h"
#include "act/limit.h"
#include "act/worker.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"

#define MIB (UINT64_C(1) << 20)
#define HOG "/sideload.slice/hog.service"

_unused_ static char base[TEST_DIR_SIZE], root[96], run[96], lease_file[96], lock_file[96];
static sd_event *event;
static Actor *actor;
static int hog_fd = -EBADF;
static uint64_t hog_id, action_id;
static Outcome outcomes[64];
static size_t n_outcomes;

static inline void on_outcome(const Outcome *o, void *userdata) {
        (void) userdata;
        outcomes[n_outcomes++ % ARRAY_SIZE(outcomes)] = *o;
}

static inline void make_cgroup(const char *path) {
        test_sh("mkdir -p '%s%s' && cd '%s%s' && echo max >memory.high && echo 1048576 >memory.current && "
           "echo 'populated 1\nfrozen 0' >cgroup.events && echo '1\n2' >cgroup.procs && : >cgroup.kill && "
           "echo '8:0 rbps=4096 wbps=max riops=max wiops=max' >io.max",
           root, path, root, path);
}

static inline void start(void) {
        assert_int_equal(actor_new(event, root, lease_file, on_outcome, NULL, &actor), 0);
}

static inline int setup(void **state) {
        (void) state;
        test_dir_make(base);
        (void) snprintf(root, sizeof root, "%s/cgroup", base);
        (void) snprintf(run, sizeof run, "%s/run", base);
        (void) snprintf(lease_file, sizeof lease_file, "%s/leases", base);
        (void) snprintf(lock_file, sizeof lock_file, "%s/lock", base);
        make_cgroup(HOG);
        hog_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        {
                int fd = cgroup_open(hog_fd, HOG);

                close(hog_fd);
                hog_fd = fd;
        }
        assert_true(hog_fd >= 0);
        assert_int_equal(cgroup_id(hog_fd, &hog_id), 0);
        assert_true(sd_event_new(&event) >= 0);
        n_outcomes = 0;
        start();
        return 0;
}

static inline int teardown(void **state) {
        (void) state;
        actor = actor_free(actor);
        event = sd_event_unref(event);
        hog_fd = safe_close(hog_fd);
        test_dir_remove(base);
        return 0;
}

static inline const Outcome *await(size_t n) {
        uint64_t end = now_monotonic_usec() + 10 * USEC_PER_SEC;

        while (n_outcomes < n && now_monotonic_usec() < end)
                assert_true(sd_event_run(event, 100 * USEC_PER_MSEC) >= 0);
        assert_int_equal(n_outcomes, n);
        return &outcomes[n - 1];
}

static inline Action action(ActionType type, uint64_t value, uint64_t expect) {
        return (Action) {
                .id = ++action_id, .type = type, .step = STEP_HOLD, .incident_id = 3, .cgroup_id = hog_id,
                .value = value, .expect = expect, .original = LIMIT_MAX, .lease_usec = 15 * USEC_PER_SEC,
        };
}

static inline const Outcome *act(ActionType type, uint64_t value, uint64_t expect) {
        Action a = action(type, value, expect);
        size_t n = n_outcomes + 1;
        const Outcome *o;

        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        o = await(n);
        assert_true(o->action_id == a.id);
        assert_true(o->cgroup_id == hog_id);
        return o;
}

/* Asked while somebody may be writing it. */
static inline bool high_becomes(uint64_t bytes) {
        uint64_t v;

        return file_read_limit_at(hog_fd, "memory.high", &v) == 0 && v == bytes;
}

static inline uint64_t high(void) {
        uint64_t v;

        assert_int_equal(file_read_limit_at(hog_fd, "memory.high", &v), 0);
        return v;
}

static inline void set_high(uint64_t v) {
        assert_int_equal(file_write_limit_at(hog_fd, "memory.high", v), 0);
}

static size_t n_read;
static inline void count_reader(const HeldLease *h, void *userdata) {
        n_read++;
        if (userdata)
                *(HeldLease *) userdata = *h;
}

static inline size_t leases_in_file(HeldLease *ret) {
        n_read = 0;
        assert_int_equal(leases_read(lease_file, count_reader, ret), 0);
        return n_read;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
