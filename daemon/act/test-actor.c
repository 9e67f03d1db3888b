/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Holds, kills and leases of the actor; io is in test-actor-io.c. */

#include <sys/socket.h>
#include <sys/un.h>

#include "act/test-actor.h"

static void test_hold_and_restore(void **state) {
        const Outcome *o;
        HeldLease h;

        (void) state;
        o = act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX);
        assert_int_equal(o->result, OUTCOME_DONE);
        assert_true(o->before == LIMIT_MAX && o->after == 64 * MIB && high() == 64 * MIB);
        assert_true(o->finished_usec >= o->started_usec && o->started_usec > 0);
        assert_int_equal(leases_in_file(&h), 1);
        assert_true(h.lease.value == 64 * MIB && h.lease.original == LIMIT_MAX &&
                    h.lease.cgroup_id == hog_id);
        assert_string_equal(h.lease.path, HOG);
        assert_true(actor_lease(actor, 0)->value == 64 * MIB);
        assert_null(actor_lease(actor, 1));

        o = act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB);
        assert_int_equal(o->result, OUTCOME_DONE);
        assert_int_equal(leases_in_file(&h), 1);
        assert_true(h.lease.value == 32 * MIB && h.previous == 64 * MIB);

        o = act(ACTION_RESTORE, LIMIT_MAX, 32 * MIB);
        assert_int_equal(o->result, OUTCOME_DONE);
        assert_true(o->before == 32 * MIB && o->after == LIMIT_MAX && high() == LIMIT_MAX);
        assert_int_equal(leases_in_file(NULL), 0);
        assert_null(actor_lease(actor, 0));
}

static void test_drift(void **state) {
        const Outcome *o;

        (void) state;
        /* Before the first write: somebody's limit is there already. */
        set_high(100 * MIB);
        o = act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX);
        assert_int_equal(o->result, OUTCOME_DRIFTED);
        assert_true(o->after == 100 * MIB && high() == 100 * MIB);
        assert_int_equal(leases_in_file(NULL), 0);
        /* While held. */
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        set_high(50 * MIB);
        o = act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB);
        assert_int_equal(o->result, OUTCOME_DRIFTED);
        assert_true(high() == 50 * MIB);
        assert_null(actor_lease(actor, 0));
        /* At the giving back. */
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        set_high(50 * MIB);
        o = act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB);
        assert_int_equal(o->result, OUTCOME_DRIFTED);
        assert_true(o->after == 50 * MIB && high() == 50 * MIB);
        assert_int_equal(leases_in_file(NULL), 0);
        /* "max" by hand is a change too, unless systemd has just reloaded. */
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_DRIFTED);
        assert_true(high() == LIMIT_MAX);
}

int __real_file_read_limit_at(int dir_fd, const char *name, uint64_t *ret);
int __wrap_file_read_limit_at(int dir_fd, const char *name, uint64_t *ret);
/* Once: when the file shows `when`, somebody writes `late_value` in that moment. */
static uint64_t late_when, late_value;
static int late_error;          /* … or it cannot be read */
static atomic_bool *late_cancels;
int __wrap_file_read_limit_at(int dir_fd, const char *name, uint64_t *ret) {
        int r = __real_file_read_limit_at(dir_fd, name, ret);

        if (r >= 0 && late_when != 0 && *ret == late_when) {
                late_when = 0;
                if (late_error < 0)
                        return late_error;
                assert_int_equal(file_write_limit_at(dir_fd, name, late_value), 0);
                *ret = late_value;
                if (late_cancels)
                        atomic_store(late_cancels, true);
        }
        return r;
}

/* systemd was told of the value before, and writes it while ours is being written. */
static void test_told_late(void **state) {
        const Outcome *o;

        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        late_value = 64 * MIB;
        late_when = 32 * MIB;
        o = act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB);
        assert_int_equal(o->result, OUTCOME_DONE);
        assert_true(late_when == 0 && high() == 32 * MIB);
        /* What is nobody's of ours is drift, also then. */
        late_value = 50 * MIB;
        late_when = 16 * MIB;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 16 * MIB, 32 * MIB)->result, OUTCOME_DRIFTED);
        assert_true(high() == 50 * MIB);
}

/* Written, and cannot be looked at: it is given back in any case. */
static void test_no_look_after(void **state) {
        (void) state;
        late_when = 64 * MIB;
        late_error = -ENOMEM;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        late_error = 0;
        assert_true(high() == 64 * MIB);
        assert_int_equal(leases_in_file(NULL), 1);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_true(high() == LIMIT_MAX);
}

static uint64_t swap_high(void) {
        uint64_t v;

        assert_int_equal(file_read_limit_at(hog_fd, "memory.swap.high", &v), 0);
        return v;
}

/* A write that is inside the kernel while all is given back does not begin again. */
static void test_given_back_meanwhile(void **state) {
        static Job job;

        (void) state;
        test_sh("echo max >'%s%s/memory.swap.high'", root, HOG);
        for (int i = 0; i < 2; i++) {
                job = (Job) {
                        .action = action(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX), .dir_fd = hog_fd,
                        .accept = { LIMIT_MAX }, .n_accept = 1, .swap_accept = { LIMIT_MAX, LIMIT_MAX },
                };
                job.action.swap_value = 8 * MIB;
                late_cancels = &job.cancelled;
                late_when = 64 * MIB;
                /* Given back already, or about to be. */
                late_value = i == 0 ? LIMIT_MAX : 64 * MIB;
                limit_run_set(&job);
                assert_true(late_when == 0 && high() == late_value && swap_high() == LIMIT_MAX);
                assert_int_equal(job.outcome.result, OUTCOME_FAILED);
                assert_int_equal(job.outcome.error, -ECANCELED);
                set_high(LIMIT_MAX);
        }
        late_cancels = NULL;
}

/* A restore comes and goes after the look whether the set is still wanted and before memory.swap.high. */
static void test_swap_given_back_meanwhile(void **state) {
        static Job job;

        (void) state;
        test_sh("echo %d >'%s%s/memory.swap.high'", (int) (12 * MIB), root, HOG);
        job = (Job) {
                .action = action(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX), .dir_fd = hog_fd,
                .accept = { LIMIT_MAX }, .n_accept = 1, .swap_accept = { 12 * MIB, 12 * MIB },
        };
        job.action.swap_value = 8 * MIB;
        job.action.swap_original = 12 * MIB;
        late_cancels = &job.cancelled;
        late_when = late_value = 12 * MIB;
        limit_run_set(&job);
        late_cancels = NULL;
        assert_true(late_when == 0 && swap_high() == 12 * MIB);
        assert_int_equal(job.outcome.result, OUTCOME_FAILED);
        assert_int_equal(job.outcome.error, -ECANCELED);
}

/* Raised twice and told of twice, and what it was told first it writes last. */
static void test_told_twice(void **state) {
        Lease lease = { .cgroup_id = hog_id, .incident_id = 3, .path = HOG, .original = LIMIT_MAX, .value = 64 * MIB,
                        .swap_original = LIMIT_MAX, .swap_value = LIMIT_MAX };
        Leases *l;
        HeldLease *h;

        (void) state;
        actor = actor_free(actor);
        assert_int_equal(leases_new(lease_file, &l), 0);
        assert_int_equal(leases_take(l, &lease, LIMIT_MAX, &h), 0);
        for (uint64_t k = 1; k <= 4; k++) {
                assert_int_equal(leases_set(l, h, (64 + 16 * k) * MIB, LIMIT_MAX, STEP_HOLD, UINT64_MAX), 0);
                if (k % 2 == 0)
                        assert_int_equal(leases_hand_over(l, h, (64 + 16 * k) * MIB, false), 0);
        }
        leases_free(l);
        set_high(128 * MIB);
        start();
        set_high(96 * MIB);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 144 * MIB, 128 * MIB)->result, OUTCOME_DONE);
        assert_true(high() == 144 * MIB);
        set_high(96 * MIB);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 144 * MIB)->result, OUTCOME_DONE);
        assert_true(high() == LIMIT_MAX);
}

static Action swap_action(ActionType type, uint64_t value, uint64_t expect, uint64_t swap_value) {
        Action a = action(type, value, expect);

        a.swap_original = LIMIT_MAX;
        a.swap_value = swap_value;
        return a;
}

static OutcomeResult swap_act(ActionType type, uint64_t value, uint64_t expect, uint64_t swap_value) {
        Action a = swap_action(type, value, expect, swap_value);

        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        return await(n_outcomes + 1)->result;
}

/* memory.high was as low as that before, so only memory.swap.high is held: a step that fails is not the end of that. */
static void test_step_fails_where_swap_is_held(void **state) {
        Action a;

        (void) state;
        test_sh("echo max >'%s%s/memory.swap.high'", root, HOG);
        set_high(64 * MIB);
        a = swap_action(ACTION_SET_MEMORY_HIGH, 64 * MIB, 64 * MIB, 8 * MIB);
        a.original = 64 * MIB;
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(await(n_outcomes + 1)->result, OUTCOME_DONE);
        test_sh("cd '%s%s' && mv memory.high was && mkdir memory.high", root, HOG);
        a.value = 32 * MIB;
        a.swap_value = 4 * MIB;
        a.id++;
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(await(n_outcomes + 1)->result, OUTCOME_FAILED);
        assert_int_equal(leases_in_file(NULL), 1);
        test_sh("cd '%s%s' && rmdir memory.high && mv was memory.high", root, HOG);
        a.type = ACTION_RESTORE;
        a.value = a.expect = 64 * MIB;
        a.id++;
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(await(n_outcomes + 1)->result, OUTCOME_DONE);
        assert_true(swap_high() == LIMIT_MAX && high() == 64 * MIB);
        set_high(LIMIT_MAX);
}

int __real_cgroup_open(int root_fd, const char *path);
int __wrap_cgroup_open(int root_fd, const char *path);
static int open_error;          /* while it is not 0 */
int __wrap_cgroup_open(int root_fd, const char *path) {
        return open_error < 0 ? open_error : __real_cgroup_open(root_fd, path);
}

/* A cgroup that cannot be opened now is not one that is gone. */
static void test_cannot_be_opened(void **state) {
        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        open_error = -ENFILE;
        assert_int_equal(actor_new(event, root, lease_file, on_outcome, NULL, &actor), -ENFILE);
        assert_int_equal(leases_in_file(NULL), 1);
        assert_true(leases_release_file(root, lease_file, lock_file) < 0);
        assert_true(leases_in_file(NULL) == 1 && high() == 64 * MIB);
        open_error = 0;
        /* It cannot be read at the start. */
        late_when = 64 * MIB;
        late_error = -ENFILE;
        start();
        late_error = 0;
        assert_true(late_when == 0 && leases_in_file(NULL) == 1);
        actor = actor_free(actor);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
        assert_true(high() == LIMIT_MAX);
        start();
}

/* The files that the machine may have open are all open, in the moment when memory.swap.high is looked at. */
static void no_file_for_swap(void) {
        late_when = 8 * MIB;
        late_error = -ENFILE;
}

/* It is not told as given back, by whichever way, while the cgroup has it. */
static void test_swap_cannot_be_given_back(void **state) {
        (void) state;
        test_sh("echo max >'%s%s/memory.swap.high'", root, HOG);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        no_file_for_swap();
        assert_int_equal(swap_act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB, 0), OUTCOME_FAILED);
        assert_true(late_when == 0 && swap_high() == 8 * MIB && leases_in_file(NULL) == 1);
        assert_int_equal(swap_act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX, 0), OUTCOME_DONE);
        assert_true(swap_high() == LIMIT_MAX && leases_in_file(NULL) == 0);

        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        set_high(50 * MIB);
        no_file_for_swap();
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB, 4 * MIB), OUTCOME_FAILED);
        assert_true(late_when == 0 && swap_high() == 8 * MIB && leases_in_file(NULL) == 1);
        assert_int_equal(swap_act(ACTION_RESTORE, LIMIT_MAX, 32 * MIB, 0), OUTCOME_DRIFTED);
        assert_true(swap_high() == LIMIT_MAX && high() == 50 * MIB && leases_in_file(NULL) == 0);

        set_high(LIMIT_MAX);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        no_file_for_swap();
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 1);
        assert_true(late_when == 0 && swap_high() == 8 * MIB && leases_in_file(NULL) == 1);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_true(swap_high() == LIMIT_MAX);
        late_error = 0;
}

/* memory.swap.high goes and comes with memory.high, by whichever way the lease ends. */
static void test_swap(void **state) {
        (void) state;
        test_sh("echo max >'%s%s/memory.swap.high'", root, HOG);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        assert_true(swap_high() == 8 * MIB);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB, 4 * MIB), OUTCOME_DONE);
        assert_true(swap_high() == 4 * MIB);
        assert_int_equal(swap_act(ACTION_RESTORE, LIMIT_MAX, 32 * MIB, 0), OUTCOME_DONE);
        assert_true(swap_high() == LIMIT_MAX && high() == LIMIT_MAX);
        /* memory.high drifted: that is theirs, the swap limit still ours to give back. */
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        set_high(50 * MIB);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB, 4 * MIB), OUTCOME_DRIFTED);
        assert_true(swap_high() == LIMIT_MAX && high() == 50 * MIB);
        /* Died between the two writes of a giving back. */
        set_high(LIMIT_MAX);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        actor = actor_free(actor);
        set_high(LIMIT_MAX);
        start();
        assert_true(swap_high() == LIMIT_MAX);
        assert_int_equal(leases_in_file(NULL), 0);
        /* Theirs. */
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        test_sh("echo 12288 >'%s%s/memory.swap.high'", root, HOG);
        assert_int_equal(swap_act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB, 0), OUTCOME_DONE);
        assert_true(swap_high() == 12288 && high() == LIMIT_MAX);
        /* … whatever it is, where no lease is left. */
        test_sh("echo %d >'%s%s/memory.swap.high'", (int) (8 * MIB), root, HOG);
        assert_int_equal(swap_act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB, 0), OUTCOME_DONE);
        assert_true(swap_high() == 8 * MIB);
        /* Without a daemon. */
        test_sh("echo max >'%s%s/memory.swap.high'", root, HOG);
        assert_int_equal(swap_act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX, 8 * MIB), OUTCOME_DONE);
        actor = actor_free(actor);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
        assert_true(swap_high() == LIMIT_MAX && high() == LIMIT_MAX);
}

static void test_rounding(void **state) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);

        (void) state;
        assert_true(limit_round(2 * page + 1) == 2 * page);
        assert_true(limit_equal(2 * page, 2 * page + page - 1));
        assert_false(limit_equal(2 * page, 3 * page));
        assert_false(limit_equal(2 * page - 1, 2 * page));
        assert_true(limit_round(LIMIT_MAX) == LIMIT_MAX);
        assert_true(limit_round(INT64_MAX) == LIMIT_MAX);
        assert_true(limit_round(0) == 0);
        /* The file holds whole pages where the engine expects bytes. */
        set_high(2 * page);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, page, 2 * page + 17)->result, OUTCOME_DONE);
        set_high(3 * page);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 2 * page, page)->result, OUTCOME_DRIFTED);
}

static void test_gone(void **state) {
        Action a;

        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        test_sh("rm -r '%s%s'", root, HOG);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_GONE);
        assert_int_equal(leases_in_file(NULL), 0);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_GONE);
        assert_int_equal(act(ACTION_KILL, 0, 0)->result, OUTCOME_GONE);
        /* A cgroup that nobody has a descriptor of any more. */
        a = action(ACTION_RESTORE, LIMIT_MAX, 64 * MIB);
        assert_int_equal(actor_submit(actor, &a, -EBADF, HOG), 0);
        assert_int_equal(await(n_outcomes + 1)->result, OUTCOME_GONE);
        /* Another cgroup under the same name is another cgroup: the held descriptor is not it. */
        make_cgroup(HOG);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_GONE);
}

/* Nobody asks for the value back: the lease goes by itself. */
static void test_gone_unasked(void **state) {
        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        test_sh("rm -r '%s%s'", root, HOG);
        event_spin_until(event, !actor_lease(actor, 0));
        assert_int_equal(leases_in_file(NULL), 0);
}

static void test_no_controller(void **state) {
        const Outcome *o;

        (void) state;
        test_sh("rm '%s%s/memory.high'", root, HOG);
        o = act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX);
        assert_int_equal(o->result, OUTCOME_FAILED);
        assert_int_equal(o->error, -EOPNOTSUPP);
        assert_int_equal(leases_in_file(NULL), 0);
}

static void test_full_disk(void **state) {
        struct rlimit old, none;
        const Outcome *o;

        (void) state;
        (void) signal(SIGXFSZ, SIG_IGN);
        actor = actor_free(actor);
        /* The lease file cannot be made where there is no directory, and its writes fail with no room
         * left. */
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        none = old;
        none.rlim_cur = 0;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        start();
        o = act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(o->result, OUTCOME_FAILED);
        assert_true(o->error < 0);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        /* Giving back needs no room. */
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        o = act(ACTION_KILL, 0, 0); /* writes to a fake file fail too: only that there is an outcome */
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(o->result, OUTCOME_FAILED);
}

/* A lease is not taken that could not be given back. */
static void test_no_descriptor(void **state) {
        Action a = action(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX);
        struct rlimit old, none;
        int opened[1024], last = -1, fd = -1;
        size_t n = 0;

        (void) state;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        /* All up to the last one that is open are. */
        for (int i = 0; i < 1024; i++)
                last = fcntl(i, F_GETFD) >= 0 ? i : last;
        while (fd < last)
                fd = opened[n++] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        none = old;
        none.rlim_cur = (rlim_t) fd + 1;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        while (n > 0)
                close(opened[--n]);
        assert_int_equal(await(1)->result, OUTCOME_FAILED);
        assert_int_equal(outcomes[0].error, -EMFILE);
        assert_null(actor_lease(actor, 0));
        assert_true(high() == LIMIT_MAX);
}

static void test_kill(void **state) {
        const Outcome *o;
        char text[256];
        pid_t pid = fork();

        (void) state;
        /* What the kernel does some time after the write. */
        if (pid == 0) {
                for (;;) {
                        if (file_read_at(hog_fd, "cgroup.kill", text, sizeof text) > 0)
                                break;
                        usleep(1000);
                }
                usleep(50000);
                (void) file_write_at(hog_fd, "cgroup.events", "populated 0\nfrozen 0\n");
                _exit(0);
        }
        o = act(ACTION_KILL, 0, 0);
        assert_int_equal(o->result, OUTCOME_DONE);
        assert_true(o->before == 2 && o->after == 0);
        assert_true(o->finished_usec - o->started_usec >= 50000);
        assert_true(file_read_at(hog_fd, "cgroup.kill", text, sizeof text) > 0);
        assert_string_equal(text, "1");
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Of the Worker, for its time limit is not the Actor's business. */
static Job last_job;
static bool job_is_back;
static void on_job(Job *job, void *userdata) {
        (void) userdata;
        last_job.outcome = job->outcome;
        job_is_back = true;
}

static bool io_max_is(const char *rbps) {
        char text[128], want[128];

        (void) snprintf(want, sizeof want, "8:0 rbps=%s wbps=max riops=max wiops=max\n", rbps);
        return file_read_at(hog_fd, "io.max", text, sizeof text) > 0 && streq(text, want);
}

/* Waits for the outcome, which is last_job's. */
static void kill_by(Worker *w) {
        Job *job = worker_take(w, hog_fd);

        job->action = action(ACTION_KILL, 0, 0);
        job_is_back = false;
        worker_submit(w, job);
        while (!job_is_back)
                assert_true(sd_event_run(event, 100 * USEC_PER_MSEC) >= 0);
}

static void test_kill_timeout(void **state) {
        Worker *w;
        Job *job;

        (void) state;
        assert_int_equal(worker_new(event, on_job, NULL, &w), 0);
        worker_set_kill_timeout(w, 300 * USEC_PER_MSEC);
        kill_by(w);
        assert_int_equal(last_job.outcome.result, OUTCOME_TIMEOUT);
        assert_true(last_job.outcome.after == 2);
        assert_true(last_job.outcome.finished_usec - last_job.outcome.started_usec >= 300 * USEC_PER_MSEC);
        /* The cap is there still. */
        assert_true(io_max_is("4096"));
        test_sh("mv '%s%s/cgroup.kill' '%s'", root, HOG, base);
        kill_by(w);
        assert_int_equal(last_job.outcome.result, OUTCOME_FAILED);
        assert_true(io_max_is("4096"));
        test_sh("mv '%s/cgroup.kill' '%s%s'", base, root, HOG);
        /* One under way does not keep the daemon from leaving, nor puts a cap there that was given back. */
        worker_set_kill_timeout(w, 60 * USEC_PER_SEC);
        job = worker_take(w, hog_fd);
        job->action = action(ACTION_KILL, 0, 0);
        job->action.io[0] = (IoCap) {
                .value = { 8, 0, { 4096, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } },
                .original = { 8, 0, { LIMIT_MAX, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } },
        };
        job->action.n_io = 1;
        worker_submit(w, job);
        event_spin_until(event, io_max_is("max"));
        {
                uint64_t begin = now_monotonic_usec();

                (void) worker_quiesce(w, begin);
                worker_free(w);
                assert_true(now_monotonic_usec() - begin < 2 * USEC_PER_SEC);
        }
        assert_true(io_max_is("max"));
}

/* A set that hangs in the kernel, as in reclaim: its file is a FIFO that nobody reads. The restore of
 * another cgroup and a kill pass it. */
static void test_stuck_set(void **state) {
        Action a;
        char path[256];
        int fd;
        uint64_t other_id;
        size_t n;

        (void) state;
        make_cgroup("/stuck.service");
        test_sh("rm '%s/stuck.service/memory.high'; mkfifo '%s/stuck.service/memory.high'", root, root);
        (void) snprintf(path, sizeof path, "%s/stuck.service", root);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(cgroup_id(fd, &other_id), 0);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        a = action(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX);
        a.cgroup_id = other_id;
        n = n_outcomes;
        assert_int_equal(actor_submit(actor, &a, fd, "/stuck.service"), 0);
        usleep(50000);
        a = action(ACTION_RESTORE, LIMIT_MAX, 64 * MIB);
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_true(await(n + 1)->action_id == a.id);
        assert_int_equal(outcomes[n].result, OUTCOME_DONE);
        assert_true(high() == LIMIT_MAX);
        /* Let the stuck one go. */
        {
                int w = openat(fd, "memory.high", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

                assert_true(w >= 0);
                close(w);
        }
        assert_int_equal(await(n + 2)->result, OUTCOME_FAILED);
        close(fd);
}

static void test_queue_full(void **state) {
        size_t n = 0;
        Action a;

        (void) state;
        for (;;) {
                int r;

                a = action(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX);
                r = actor_submit(actor, &a, hog_fd, HOG);
                if (r == -ENOSPC)
                        break;
                assert_int_equal(r, 0);
                assert_true(++n <= 1000);
        }
        /* The loop has not run, so none of them could have become free. */
        assert_int_equal(n, 64);
        (void) await(64);
}

static void test_adoption(void **state) {
        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        start();
        assert_non_null(actor_lease(actor, 0));
        assert_true(actor_lease(actor, 0)->value == 64 * MIB);
        /* The next one asked for while one is under way would be a third value: refused, nothing changed. */
        {
                Action a = action(ACTION_SET_MEMORY_HIGH, 48 * MIB, 64 * MIB);
                Action b = action(ACTION_SET_MEMORY_HIGH, 40 * MIB, 64 * MIB);

                assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
                assert_int_equal(actor_submit(actor, &b, hog_fd, HOG), 0);
                (void) await(n_outcomes + 2);
                for (size_t i = n_outcomes - 2; i < n_outcomes; i++)
                        assert_int_equal(outcomes[i].result,
                                         outcomes[i].action_id == a.id ? OUTCOME_DONE : OUTCOME_FAILED);
                assert_true(high() == 48 * MIB);
                assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, 48 * MIB)->result, OUTCOME_DONE);
        }
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        /* The record was there and the write was not: the value before is ours just the same. */
        set_high(64 * MIB);
        start();
        assert_true(actor_lease(actor, 0)->value == 64 * MIB);
        actor = actor_free(actor);
        /* Given back by somebody: over. */
        set_high(LIMIT_MAX);
        start();
        assert_null(actor_lease(actor, 0));
        assert_int_equal(leases_in_file(NULL), 0);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        /* Changed by somebody: theirs. */
        set_high(99 * MIB);
        start();
        assert_null(actor_lease(actor, 0));
        assert_true(high() == 99 * MIB);
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        test_sh("rm -r '%s%s'", root, HOG);
        start();
        assert_null(actor_lease(actor, 0));
}

static void test_release_all(void **state) {
        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(access(lease_file, F_OK), -1);
}

/* A lease of which systemd has been told, and nobody left who holds it. */
static void die_after_telling(void) {
        Leases *l;

        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        assert_int_equal(leases_new(lease_file, &l), 0);
        assert_int_equal(leases_hand_over(l, leases_find(l, hog_id), 64 * MIB, false), 0);
        leases_free(l);
}

static void test_release_file(void **state) {
        char dropin[256];
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int lock_fd = file_lock_at(AT_FDCWD, lock_file), fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        /* Whose they are is alive. */
        assert_true(lock_fd >= 0);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), -EBUSY);
        assert_true(high() == 64 * MIB);
        assert_int_equal(leases_in_file(NULL), 1);
        close(lock_fd);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(access(lease_file, F_OK), -1);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);

        /* Drifted: left alone; and our drop-in goes, but no other. */
        start();
        die_after_telling();
        (void) snprintf(dropin, sizeof dropin, "%s/system.control/hog.service.d/50-MemoryHigh.conf", run);
        test_sh("mkdir -p '%s/system.control/hog.service.d' && "
           "printf '# made by systemd\\n[Service]\\nMemoryHigh=%d\\n' >'%s'",
           run, (int) (64 * MIB), dropin);
        set_high(65 * MIB);
        assert_int_equal(leases_release_file_at(root, run, lease_file), 0);
        assert_true(high() == 65 * MIB);
        assert_int_equal(access(dropin, F_OK), -1);
        *strrchr(dropin, '/') = 0;
        assert_int_equal(access(dropin, F_OK), -1);

        /* systemd is there and does not answer: what it has not been told of stays written down. */
        set_high(LIMIT_MAX);
        start();
        die_after_telling();
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/private", run);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(leases_release_file_at(root, run, lease_file), -ETIMEDOUT);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(leases_in_file(NULL), 1);
        /* Or does not listen for a moment, as while it executes itself anew. */
        close(fd);
        assert_int_equal(leases_release_file_at(root, run, lease_file), -ETIMEDOUT);
        assert_int_equal(unlink(address.sun_path), 0);
        assert_int_equal(leases_release_file_at(root, run, lease_file), 0);
        assert_int_equal(leases_in_file(NULL), 0);

        start();
        die_after_telling();
        test_sh("mkdir -p '%s' && printf '[Service]\\nMemoryHigh=5\\n' >'%s/50-MemoryHigh.conf'", dropin, dropin);
        assert_int_equal(leases_release_file_at(root, run, lease_file), 0);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(access(dropin, F_OK), 0);
}

static void test_reassert(void **state) {
        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        /* systemd puts it back before we hear that it is done … */
        actor_expect_reload(actor);
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 48 * MIB, 64 * MIB)->result, OUTCOME_DONE);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, 48 * MIB)->result, OUTCOME_DONE);
        /* … or late, after it said that it is. */
        actor_reassert(actor);
        event_spin(event, 30 * USEC_PER_MSEC);
        set_high(LIMIT_MAX);
        event_spin_until(event, high_becomes(64 * MIB));
        /* In the same moments, the engine's next step finds the original and may go on. */
        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_DONE);
        assert_true(high() == 32 * MIB);
        /* Another value is no reset: theirs, and not fought over. */
        set_high(77 * MIB);
        actor_reassert(actor);
        event_spin(event, 200 * USEC_PER_MSEC);
        assert_true(high() == 77 * MIB);
        assert_null(actor_lease(actor, 0));
}

static void test_give_back(void **state) {
        (void) state;
        assert_int_equal(actor_give_back(actor, hog_id), -ENOENT);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(actor_give_back(actor, hog_id), 0);
        event_spin_until(event, !actor_lease(actor, 0));
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(n_outcomes, 1);
}

/* Whatever moment the daemon dies at: if the value was changed, the file names it, and release undoes it. */
static void test_write_ahead(void **state) {
        (void) state;
        actor = actor_free(actor);
        for (int i = 0; i < 60; i++) {
                pid_t pid = fork();
                HeldLease h = {};

                if (pid == 0) {
                        sd_event *e;

                        if (sd_event_new(&e) < 0 ||
                            actor_new(e, root, lease_file, on_outcome, NULL, &actor) < 0)
                                _exit(1);
                        for (uint64_t k = 0;; k++) {
                                uint64_t value = k % 3 == 2 ? LIMIT_MAX : (k % 7 + 1) * MIB, now = LIMIT_MAX;
                                Action a = action(k % 3 == 2 ? ACTION_RESTORE : ACTION_SET_MEMORY_HIGH,
                                                  value, 0);

                                (void) file_read_limit_at(hog_fd, "memory.high", &now);
                                a.expect = now;

                                (void) actor_submit(actor, &a, hog_fd, HOG);
                                (void) sd_event_run(e, 500);
                        }
                }
                usleep((useconds_t) (i * 700));
                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
                {
                        char text[64];

                        /* Cut between open(O_TRUNC) and write(), which cgroupfs does not have. */
                        if (file_read_at(hog_fd, "memory.high", text, sizeof text) == 0)
                                set_high(leases_in_file(&h) > 0 ? h.lease.value : LIMIT_MAX);
                }
                if (high() != LIMIT_MAX) {
                        assert_int_equal(leases_in_file(&h), 1);
                        assert_true(h.lease.value == high() || h.previous == high());
                }
                assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
                assert_true(high() == LIMIT_MAX);
        }
        start();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_hold_and_restore),
                TEST(test_drift),
                TEST(test_told_late),
                TEST(test_no_look_after),
                TEST(test_given_back_meanwhile),
                TEST(test_swap_given_back_meanwhile),
                TEST(test_told_twice),
                TEST(test_rounding),
                TEST(test_gone),
                TEST(test_gone_unasked),
                TEST(test_no_controller),
                TEST(test_full_disk),
                TEST(test_no_descriptor),
                TEST(test_kill),
                TEST(test_kill_timeout),
                TEST(test_stuck_set),
                TEST(test_queue_full),
                TEST(test_adoption),
                TEST(test_release_all),
                TEST(test_release_file),
                TEST(test_reassert),
                TEST(test_give_back),
                TEST(test_step_fails_where_swap_is_held),
                TEST(test_swap),
                TEST(test_swap_cannot_be_given_back),
                TEST(test_cannot_be_opened),
                TEST(test_write_ahead),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
