/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Caps of the actor, and the io priority that goes with them. */

#include <sys/prctl.h>
#include <sys/syscall.h>

#include "act/test-actor.h"

int __real_file_write_at(int dir_fd, const char *name, const char *text);
int __wrap_file_write_at(int dir_fd, const char *name, const char *text);
/* The device that io.max does not take, and why. */
static const char *refused;
static int refusal = -ENOMEM;
/* What is written cannot be looked at. */
static bool hides;
/* Caps of the hog, or of others, stay inside their write; so many do. */
static atomic_bool holds_hog, holds_others;
static atomic_uint held;
int __wrap_file_write_at(int dir_fd, const char *name, const char *text) {
        const atomic_bool *holds = startswith(text, "254:16 ") ? &holds_hog : startswith(text, "8:0 ") ? &holds_others : NULL;
        int r;

        if (holds && atomic_load(holds)) {
                (void) atomic_fetch_add(&held, 1);
                while (atomic_load(holds))
                        usleep(1000);
        }
        r = refused && startswith(text, refused) ? refusal : __real_file_write_at(dir_fd, name, text);
        if (hides)
                assert_int_equal(renameat(dir_fd, name, dir_fd, "hidden"), 0);
        return r;
}

/* A machine on which a millisecond goes by between two looks at the clock. */
static atomic_bool slow;
static atomic_uint looks;
uint64_t __real_now_monotonic_usec(void);
uint64_t __wrap_now_monotonic_usec(void);
uint64_t __wrap_now_monotonic_usec(void) {
        return __real_now_monotonic_usec() + (atomic_load(&slow) ? atomic_fetch_add(&looks, 1) * USEC_PER_MSEC : 0);
}

/* io.max: in the fake tree the file holds the one line that was written last. */
static IoLine io_line(uint64_t rbps, uint64_t riops) {
        return (IoLine) { 254, 16, { rbps, LIMIT_MAX, riops, LIMIT_MAX } };
}

static const Outcome *cap_line(IoLine value, IoLine expect) {
        Action a = action(ACTION_SET_IO_MAX, LIMIT_MAX, LIMIT_MAX);
        size_t n = n_outcomes + 1;

        a.step = STEP_IO_CAP;
        a.io_only = true;
        a.io[0] = (IoCap) { .value = value, .expect = expect, .original = io_line(LIMIT_MAX, LIMIT_MAX) };
        a.n_io = 1;
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        return await(n);
}

static const Outcome *cap(uint64_t rbps, uint64_t riops, IoLine expect) {
        return cap_line(io_line(rbps, riops), expect);
}

static const Outcome *cap_writes(uint64_t wbps) {
        IoLine value = io_line(LIMIT_MAX, LIMIT_MAX);

        value.v[IO_WRITE_BYTES] = wbps;
        return cap_line(value, io_line(LIMIT_MAX, LIMIT_MAX));
}

static bool io_max_is(const char *text) {
        char buf[256];

        return file_read_at(hog_fd, "io.max", buf, sizeof buf) >= 0 && streq(buf, text);
}

static void assert_io_max(const char *text) {
        char buf[256];

        assert_true(file_read_at(hog_fd, "io.max", buf, sizeof buf) >= 0);
        assert_string_equal(buf, text);
}

#define NO_CAP "254:16 rbps=max wbps=max riops=max wiops=max\n"
#define CAP_400 "254:16 rbps=1600000 wbps=max riops=400 wiops=max\n"

static void test_io_cap_and_restore(void **state) {
        HeldLease h;

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_io_max(CAP_400);
        assert_int_equal(leases_in_file(&h), 1);
        assert_true(h.lease.io_only);
        assert_int_equal(h.lease.n_io, 1);
        assert_true(h.lease.io[0].value.v[IO_READS] == 400 && h.lease.io[0].original.v[IO_READS] == LIMIT_MAX);
        assert_true(actor_lease(actor, 0)->io[0].value.v[IO_READ_BYTES] == 1600000);

        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_DONE);
        assert_int_equal(leases_in_file(&h), 1);
        assert_true(h.lease.io[0].value.v[IO_READS] == 200 && h.lease.io[0].expect.v[IO_READS] == 400);

        /* memory.high is none of its business, whatever it holds. */
        set_high(77 * MIB);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_io_max(NO_CAP);
        assert_true(high() == 77 * MIB);
        assert_int_equal(leases_in_file(NULL), 0);
        assert_null(actor_lease(actor, 0));
}

static void test_io_drift(void **state) {
        static const char theirs[] = "254:16 rbps=5 wbps=max riops=max wiops=max\n";

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", theirs), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DRIFTED);
        assert_io_max(theirs);
        assert_int_equal(leases_in_file(NULL), 0);

        assert_int_equal(file_write_at(hog_fd, "io.max", NO_CAP), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", theirs), 0);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DRIFTED);
        assert_io_max(theirs);
        assert_int_equal(leases_in_file(NULL), 0);
}

/* A device that goes takes its line with it. That is nobody's doing, and the hold beside the cap stays. */
static void test_io_device_goes(void **state) {
        Action a = action(ACTION_RESTORE, LIMIT_MAX, 64 * MIB);

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        refused = "254:16 ";
        refusal = -ENODEV;
        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_DONE);
        assert_true(high() == 64 * MIB);
        assert_io_max("");
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(await(n_outcomes + 1)->result, OUTCOME_DONE);
        assert_int_equal(leases_in_file(NULL), 0);
        refused = NULL;
        refusal = -ENOMEM;

        /* It is there, and somebody took the line away. */
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_DRIFTED);
}

/* Held and capped at once; somebody changes one of the two, and the other goes back. */
static void test_io_and_memory(void **state) {
        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_true(high() == 64 * MIB && !actor_lease(actor, 0)->io_only);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_DONE);
        assert_io_max(NO_CAP);
        assert_true(high() == LIMIT_MAX);

        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        set_high(50 * MIB);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_DRIFTED);
        assert_io_max(NO_CAP);
        assert_true(high() == 50 * MIB);

        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", "254:16 rbps=5 wbps=max riops=max wiops=max\n"), 0);
        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_DRIFTED);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(leases_in_file(NULL), 0);
}

/* io.max cannot be given back, and memory.high is somebody else's: the cap has its lease still. */
static void test_io_fails_and_memory_drifts(void **state) {
        HeldLease h;

        (void) state;
        for (int i = 0; i < 2; i++) {
                set_high(LIMIT_MAX);
                assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
                assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
                assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
                set_high(50 * MIB);
                test_sh("cd '%s%s' && rm io.max && mkdir io.max", root, HOG);
                if (i == 0)
                        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_FAILED);
                else
                        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 1);
                assert_int_equal(leases_in_file(&h), 1);
                assert_int_equal(h.lease.n_io, 1);
                test_sh("cd '%s%s' && rmdir io.max && printf '" CAP_400 "' >io.max", root, HOG);
                if (i == 0)
                        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_DRIFTED);
                else
                        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
                assert_io_max(NO_CAP);
                assert_int_equal(leases_in_file(NULL), 0);
                assert_true(high() == 50 * MIB);
        }
}

static void test_io_no_look_after(void **state) {
        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        hides = true;
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        hides = false;
        assert_int_equal(renameat(hog_fd, "hidden", hog_fd, "io.max"), 0);
        assert_int_equal(leases_in_file(NULL), 1);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_io_max(NO_CAP);
}

/* Two devices, and the second's line cannot be written: the first has the one of before again. */
static void test_io_fails_for_one_of_two(void **state) {
        Action a = action(ACTION_SET_IO_MAX, LIMIT_MAX, LIMIT_MAX);
        size_t n = n_outcomes;

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        a.step = STEP_IO_CAP;
        a.io_only = true;
        for (a.n_io = 0; a.n_io < 2; a.n_io++)
                a.io[a.n_io] = (IoCap) { .value = io_line(1600000, 400), .expect = io_line(LIMIT_MAX, LIMIT_MAX),
                                         .original = io_line(LIMIT_MAX, LIMIT_MAX) };
        a.io[1].value.minor = a.io[1].expect.minor = a.io[1].original.minor = 32;
        refused = "254:32 ";
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(await(n + 1)->result, OUTCOME_FAILED);
        refused = NULL;
        assert_int_equal(outcomes[n].error, -ENOMEM);
        assert_io_max(NO_CAP);
        assert_null(actor_lease(actor, 0));
        assert_int_equal(leases_in_file(NULL), 0);
}

/* A controller is taken from the cgroup, and its limits with it: there is nothing left to give back. */
static void test_controllers_are_taken(void **state) {
        (void) state;
        for (int i = 0; i < 2; i++) {
                for (int k = 0; k < 3; k++) {
                        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
                        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
                        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
                        test_sh("cd '%s%s' && mv %s was", root, HOG, i == 0 ? "io.max" : "memory.high");
                        if (k > 0)
                                actor = actor_free(actor);
                        if (k == 2)
                                assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
                        if (k > 0)
                                start();
                        if (k < 2) {
                                assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_DONE);
                                assert_int_equal(outcomes[n_outcomes - 1].error, 0);
                        }
                        assert_null(actor_lease(actor, 0));
                        assert_int_equal(leases_in_file(NULL), 0);
                        if (i == 0)
                                assert_true(high() == LIMIT_MAX);
                        else
                                assert_io_max(NO_CAP);
                        test_sh("cd '%s%s' && mv was %s", root, HOG, i == 0 ? "io.max" : "memory.high");
                        set_high(LIMIT_MAX);
                }
        }
        /* To set one there is refused. */
        test_sh("cd '%s%s' && rm io.max", root, HOG);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_FAILED);
        assert_int_equal(outcomes[n_outcomes - 1].error, -EOPNOTSUPP);
}

/* The same found by a step: either value is somebody else's, and the other cannot be given back. */
static void test_step_drifts_and_giving_back_fails(void **state) {
        static const char theirs[] = "254:16 rbps=5 wbps=max riops=max wiops=max\n";
        HeldLease h;

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        set_high(50 * MIB);
        test_sh("cd '%s%s' && rm io.max && mkdir io.max", root, HOG);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_FAILED);
        assert_int_equal(leases_in_file(&h), 1);
        assert_int_equal(h.lease.n_io, 1);
        test_sh("cd '%s%s' && rmdir io.max && printf '" CAP_400 "' >io.max", root, HOG);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, 64 * MIB)->result, OUTCOME_DRIFTED);
        assert_io_max(NO_CAP);
        assert_int_equal(leases_in_file(NULL), 0);
        assert_true(high() == 50 * MIB);

        set_high(LIMIT_MAX);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", theirs), 0);
        test_sh("cd '%s%s' && mv memory.high was && mkdir memory.high", root, HOG);
        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_FAILED);
        assert_int_equal(leases_in_file(&h), 1);
        assert_true(h.lease.value == 64 * MIB);
        test_sh("cd '%s%s' && rmdir memory.high && mv was memory.high", root, HOG);
        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_DRIFTED);
        assert_true(high() == LIMIT_MAX);
        assert_int_equal(leases_in_file(NULL), 0);
        assert_io_max(theirs);
}

/* A crash, at rest and in the middle of a change, and what a cgd that comes after it does. */
static void test_io_crash(void **state) {
        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        actor = actor_free(actor);
        start();
        assert_non_null(actor_lease(actor, 0));
        assert_int_equal(actor_lease(actor, 0)->n_io, 1);
        assert_int_equal(cap(1048576, 200, io_line(1600000, 400))->result, OUTCOME_DONE);
        /* Written down, and not yet written: the value before is ours as well. */
        assert_int_equal(file_write_at(hog_fd, "io.max", CAP_400), 0);
        actor = actor_free(actor);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
        assert_io_max(NO_CAP);
        start();
        assert_null(actor_lease(actor, 0));

        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_io_max(NO_CAP);
        assert_int_equal(access(lease_file, F_OK), -1);
}

/* A kill lifts the cap while it goes on, and the lease ends meanwhile. */
static void test_io_kill(void **state) {
        Action kill = action(ACTION_KILL, 0, 0), restore = action(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX);

        (void) state;
        for (int given_back = 0; given_back < 2; given_back++) {
                size_t n;

                assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
                assert_int_equal(file_write_at(hog_fd, "cgroup.events", "populated 1\nfrozen 0\n"), 0);
                assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
                n = n_outcomes;
                assert_int_equal(actor_submit(actor, &kill, hog_fd, HOG), 0);
                event_spin_until(event, io_max_is(NO_CAP));
                if (given_back) {
                        assert_int_equal(actor_submit(actor, &restore, hog_fd, HOG), 0);
                        assert_int_equal(await(n + 1)->result, OUTCOME_DONE);
                        assert_null(actor_lease(actor, 0));
                }
                assert_int_equal(file_write_at(hog_fd, "cgroup.events", "populated 0\nfrozen 0\n"), 0);
                assert_int_equal(await(n + 1 + (size_t) given_back)->result, OUTCOME_DONE);
                assert_io_max(given_back ? NO_CAP : CAP_400);
                if (!given_back)
                        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);
        }
}

/* A giving back that hangs, and others wait behind it: its file is a FIFO that nobody writes. */
static int lift_hangs(void) {
        Action a = action(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX);
        char path[256];
        int fd;

        make_cgroup("/stuck.service");
        test_sh("cd '%s/stuck.service' && rm memory.high && mkfifo memory.high", root);
        (void) snprintf(path, sizeof path, "%s/stuck.service", root);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(cgroup_id(fd, &a.cgroup_id), 0);
        assert_int_equal(actor_submit(actor, &a, fd, "/stuck.service"), 0);
        return fd;
}

static void lift_goes_on(int fd) {
        int w = -1;

        for (int i = 0; i < 10000 && w < 0; i++) {
                usleep(1000);
                w = openat(fd, "memory.high", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        }
        assert_true(w >= 0);
        close(w);
        close(fd);
}

/* The lease is to end before the kill, and does so in the midst of it. */
static void test_io_kill_and_earlier_restore(void **state) {
        Action kill = action(ACTION_KILL, 0, 0);
        size_t n = n_outcomes;
        int fd;

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        fd = lift_hangs();
        assert_int_equal(actor_give_back(actor, hog_id), 0);
        assert_int_equal(actor_submit(actor, &kill, hog_fd, HOG), 0);
        event_spin_until(event, io_max_is(NO_CAP));
        lift_goes_on(fd);
        event_spin_until(event, !actor_lease(actor, 0));
        assert_int_equal(file_write_at(hog_fd, "cgroup.events", "populated 0\nfrozen 0\n"), 0);
        assert_int_equal(await(n + 3)->type, ACTION_KILL);
        assert_io_max(NO_CAP);
}

/* A unit with a limit of its own on that device: systemd puts it back at a reload. */
static void test_io_reassert(void **state) {
        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", NO_CAP), 0);
        actor_reassert(actor);
        event_spin(event, 300 * USEC_PER_MSEC);
        assert_io_max(CAP_400);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_io_max(NO_CAP);
}

/* The cap is written once more while its next step waits, for others are being written; and then it is given back. */
static void test_io_reassert_before_a_step(void **state) {
        static const char *const paths[] = { "/other.service", "/third.service" };
        Action a = action(ACTION_SET_IO_MAX, LIMIT_MAX, LIMIT_MAX);
        size_t n;

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(file_write_at(hog_fd, "io.max", NO_CAP), 0);
        n = n_outcomes;
        held = 0;
        holds_hog = holds_others = true;
        actor_reassert(actor);
        event_spin_until(event, held == 1);
        a.io_only = true;
        a.n_io = 1;
        for (unsigned i = 0; i < 2; i++) {
                char path[256];
                int fd;

                make_cgroup(paths[i]);
                (void) snprintf(path, sizeof path, "%s%s", root, paths[i]);
                fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_int_equal(cgroup_id(fd, &a.cgroup_id), 0);
                a.io[0].value = (IoLine) { 8, 0, { 1024, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };
                a.io[0].expect = a.io[0].original = (IoLine) { 8, 0, { 4096, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };
                assert_int_equal(actor_submit(actor, &a, fd, paths[i]), 0);
                close(fd);
        }
        a.cgroup_id = hog_id;
        a.io[0] = (IoCap) { .value = io_line(1048576, 200), .expect = io_line(1600000, 400),
                            .original = io_line(LIMIT_MAX, LIMIT_MAX) };
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        holds_hog = false;
        event_spin_until(event, held == 3);
        event_spin(event, 20 * USEC_PER_MSEC);
        a = action(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX);
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        await(n + 2);
        holds_others = false;
        assert_int_equal(outcomes[n].error, -ECANCELED);
        assert_int_equal(outcomes[n + 1].result, OUTCOME_DONE);
        assert_io_max(NO_CAP);
        await(n + 4);
}

/* A lease of whose end systemd has not heard yet goes on as another, and has nothing of it but what systemd was told. */
static void test_taken_again(void **state) {
        Action a = action(ACTION_SET_MEMORY_HIGH, 32 * MIB, 96 * MIB);
        HeldLease h;
        Leases *l;

        (void) state;
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        actor = actor_free(actor);
        assert_int_equal(leases_new(lease_file, &l), 0);
        assert_int_equal(leases_hand_over(l, leases_find(l, hog_id), 64 * MIB, false), 0);
        leases_free(l);
        start();
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_DONE);
        assert_io_max(NO_CAP);
        assert_null(actor_lease(actor, 0));
        assert_int_equal(leases_in_file(NULL), 1);

        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(leases_in_file(&h), 1);
        assert_true(h.lease.n_io == 0 && h.lease.value == 32 * MIB && h.previous == LIMIT_MAX && h.lease.taken_usec > 0);
        assert_true(h.lease.handed_over && h.handed_value == 64 * MIB);
        actor_reassert(actor);
        event_spin(event, 100 * USEC_PER_MSEC);
        assert_io_max(NO_CAP);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(leases_in_file(&h), 1);
        assert_int_equal(h.lease.n_io, 1);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 32 * MIB)->result, OUTCOME_DONE);
        assert_io_max(NO_CAP);

        /* What is there is to be given back, and not what was there before. */
        set_high(96 * MIB);
        a.original = 96 * MIB;
        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
        assert_int_equal(await(n_outcomes + 1)->error, -EBUSY);
        assert_true(high() == 96 * MIB);
}

/* Nor is it kept when its cgroup goes, though nothing was looked for any more as it began. */
static void test_taken_again_and_gone(void **state) {
        Leases *l;

        (void) state;
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 64 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        actor = actor_free(actor);
        assert_int_equal(leases_new(lease_file, &l), 0);
        assert_int_equal(leases_hand_over(l, leases_find(l, hog_id), 64 * MIB, false), 0);
        leases_free(l);
        start();
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, 64 * MIB)->result, OUTCOME_DONE);
        event_spin(event, 3 * USEC_PER_SEC);
        assert_int_equal(act(ACTION_SET_MEMORY_HIGH, 32 * MIB, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_non_null(actor_lease(actor, 0));
        test_sh("rm -r '%s%s'", root, HOG);
        event_spin_until(event, !actor_lease(actor, 0));
}

/* A process that does nothing, with that io priority, as a thread of the cgroup at path. */
static pid_t idler(const char *path, int priority) {
        char text[128];
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) pause();
                _exit(0);
        }
        assert_int_equal(syscall(SYS_ioprio_set, 1, pid, priority), 0);
        (void) snprintf(text, sizeof text, "%d\n", pid);
        assert_int_equal(file_write_at(hog_fd, path, text), 0);
        return pid;
}

#define CLASS_OF(pid) (syscall(SYS_ioprio_get, 1, (pid)) >> 13)

static void test_io_priority(void **state) {
        enum { BEST_EFFORT = 2, IDLE };
        pid_t plain, below, own;

        (void) state;
        test_sh("mkdir '%s%s/sub' '%s%s/own' && cd '%s%s' && touch cgroup.threads sub/cgroup.threads own/cgroup.threads", root, HOG, root,
                HOG, root, HOG);
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        plain = idler("cgroup.threads", 0);
        below = idler("sub/cgroup.threads", 0);
        own = idler("own/cgroup.threads", BEST_EFFORT << 13 | 3);

        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(CLASS_OF(plain), IDLE);
        assert_int_equal(CLASS_OF(below), IDLE);
        assert_int_equal(CLASS_OF(own), BEST_EFFORT);
        /* What somebody chose meanwhile stays. */
        assert_int_equal(syscall(SYS_ioprio_set, 1, below, IDLE << 13 | 7), 0);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);
        assert_int_equal(CLASS_OF(plain), 0);
        assert_int_equal(CLASS_OF(below), IDLE);

        /* A cap that is raised to what was there before ends it, and so does who comes after a crash. */
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(cap(LIMIT_MAX, LIMIT_MAX, io_line(1600000, 400))->result, OUTCOME_DONE);
        assert_int_equal(CLASS_OF(plain), 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(CLASS_OF(plain), IDLE);
        actor = actor_free(actor);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
        assert_int_equal(CLASS_OF(plain), 0);
        start();

        /* Others may wait for what somebody writes. */
        assert_int_equal(cap_writes(1600000)->result, OUTCOME_DONE);
        assert_int_equal(CLASS_OF(plain), 0);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);

        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_int_equal(CLASS_OF(plain), 0);
        assert_int_equal(CLASS_OF(own), BEST_EFFORT);
        for (size_t i = 0; i < 3; i++) {
                pid_t pid = (const pid_t[]) { plain, below, own }[i];

                (void) kill(pid, SIGKILL);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
}

/* Started under a cap, with the priority that it inherited, and moved to another cgroup. */
static void test_io_priority_moved(void **state) {
        enum { IDLE = 3, OURS = IDLE << 13 | 5 };
        pid_t capped, moved;

        (void) state;
        make_cgroup("/other.slice/login.scope");
        test_sh("cd '%s' && touch '.%s/cgroup.threads' other.slice/login.scope/cgroup.threads", root, HOG);
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        capped = idler("cgroup.threads", 0);
        moved = idler("../../other.slice/login.scope/cgroup.threads", OURS);

        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        event_spin(event, 1500 * USEC_PER_MSEC);
        assert_int_equal(CLASS_OF(capped), IDLE);
        assert_int_equal(act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX)->result, OUTCOME_DONE);
        event_spin_until(event, CLASS_OF(moved) == 0);

        /* Also by who comes after a crash, on the way out, and without a daemon; whatever the file names. */
        actor = actor_free(actor);
        assert_int_equal(syscall(SYS_ioprio_set, 1, moved, OURS), 0);
        start();
        event_spin_until(event, CLASS_OF(moved) == 0);
        assert_int_equal(cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX))->result, OUTCOME_DONE);
        assert_int_equal(syscall(SYS_ioprio_set, 1, moved, OURS), 0);
        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
        assert_int_equal(CLASS_OF(moved), 0);
        assert_int_equal(CLASS_OF(capped), 0);
        assert_int_equal(syscall(SYS_ioprio_set, 1, moved, OURS), 0);
        assert_int_equal(leases_release_file(root, lease_file, lock_file), 0);
        assert_int_equal(CLASS_OF(moved), 0);
        for (size_t i = 0; i < 2; i++) {
                pid_t pid = i == 0 ? capped : moved;

                (void) kill(pid, SIGKILL);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
}

/* A file that keeps its reader until somebody writes; the reader after him finds it empty. */
static int reader_waits_at(const char *path) {
        int fd = -1;

        for (int i = 0; i < 10000 && fd < 0; i++) {
                assert_true(sd_event_run(event, USEC_PER_MSEC) >= 0);
                fd = openat(hog_fd, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        }
        assert_true(fd >= 0);
        test_sh("cd '%s%s' && rm '%s' && touch '%s'", root, HOG, path, path);
        return fd;
}

/* The looking takes long, where there are many cgroups, and a restore does not wait for its end. */
static void test_io_priority_of_many(void **state) {
        enum { IDLE = 3, OURS = IDLE << 13 | 5 };

        (void) state;
        test_sh("mkdir -p '%s%s/a/b'", root, HOG);
        for (int restored = 0; restored < 2; restored++) {
                Action a = action(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX);
                size_t n = n_outcomes;
                int fd;
                pid_t pid;

                actor = actor_free(actor);
                test_sh("cd '%s%s' && rm -f cgroup.threads a/cgroup.threads a/b/cgroup.threads && mkfifo cgroup.threads && touch "
                        "a/b/cgroup.threads && %s a/cgroup.threads", root, HOG, restored ? "mkfifo" : "touch");
                pid = idler("a/b/cgroup.threads", OURS);
                start();
                fd = reader_waits_at("cgroup.threads");
                if (restored)
                        assert_int_equal(actor_submit(actor, &a, hog_fd, HOG), 0);
                usleep(600 * 1000);
                close(fd);
                if (restored) {
                        await(n + 1);
                        assert_int_equal(CLASS_OF(pid), IDLE);
                        close(reader_waits_at("a/cgroup.threads"));
                }
                event_spin_until(event, CLASS_OF(pid) == 0);
                (void) kill(pid, SIGKILL);
                assert_int_equal(waitpid(pid, NULL, 0), pid);
        }
}

/* Whoever has a delegated tree makes as many cgroups as he likes: nobody's cap, and nobody's end of it, waits until all are
 * looked at; once nobody is capped, they are. */
static void test_io_priority_of_a_large_tree(void **state) {
        (void) state;
        test_sh("mkdir '%s%s/t' && cd '%s%s/t' && mkdir $(seq 1500)", root, HOG, root, HOG);
        assert_int_equal(file_write_at(hog_fd, "io.max", ""), 0);
        for (int i = 0; i < 3; i++) {
                looks = 0;
                slow = true;
                if (i == 0)
                        (void) cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX));
                else if (i == 1)
                        (void) act(ACTION_RESTORE, LIMIT_MAX, LIMIT_MAX);
                else {
                        slow = false;
                        (void) cap(1600000, 400, io_line(LIMIT_MAX, LIMIT_MAX));
                        slow = true;
                        assert_int_equal(actor_release_all(actor, USEC_PER_SEC), 0);
                }
                slow = false;
                assert_in_range(looks, 1, 1000);
        }
        assert_io_max(NO_CAP);
}

/* Nor does the end. */
static void test_io_priority_of_many_at_the_end(void **state) {
        pid_t pid;
        int fd;

        (void) state;
        test_sh("mkdir '%s%s/a' && cd '%s%s' && mkfifo cgroup.threads a/cgroup.threads", root, HOG, root, HOG);
        fd = reader_waits_at("cgroup.threads");
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                usleep(50 * 1000);
                _exit(0);
        }
        close(fd);
        (void) alarm(10);
        actor = actor_free(actor);
        (void) alarm(0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The looking for it waits behind others when all comes to its end. */
static void test_io_priority_at_the_end(void **state) {
        enum { IDLE = 3, OURS = IDLE << 13 | 5 };
        int fd, left;
        pid_t pid;

        (void) state;
        test_sh("touch '%s%s/cgroup.threads'", root, HOG);
        fd = lift_hangs();
        pid = idler("cgroup.threads", OURS);
        event_spin(event, 1500 * USEC_PER_MSEC);
        assert_int_equal(CLASS_OF(pid), IDLE);
        left = actor_release_all(actor, USEC_PER_SEC);
        lift_goes_on(fd);
        assert_int_equal(left, 0);
        assert_int_equal(CLASS_OF(pid), 0);
        (void) kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_io_cap_and_restore),
                TEST(test_io_drift),
                TEST(test_io_device_goes),
                TEST(test_io_and_memory),
                TEST(test_io_fails_and_memory_drifts),
                TEST(test_io_no_look_after),
                TEST(test_io_fails_for_one_of_two),
                TEST(test_controllers_are_taken),
                TEST(test_step_drifts_and_giving_back_fails),
                TEST(test_io_crash),
                TEST(test_io_kill),
                TEST(test_io_kill_and_earlier_restore),
                TEST(test_io_reassert),
                TEST(test_io_reassert_before_a_step),
                TEST(test_taken_again),
                TEST(test_taken_again_and_gone),
                TEST(test_io_priority),
                TEST(test_io_priority_moved),
                TEST(test_io_priority_of_many),
                TEST(test_io_priority_of_a_large_tree),
                TEST(test_io_priority_of_many_at_the_end),
                TEST(test_io_priority_at_the_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
