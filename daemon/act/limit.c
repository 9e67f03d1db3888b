/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Limit: one change of memory.high or io.max, with the look before and the look after.
 *
 * Invariant: a value is overwritten only if it is one that we wrote or knew; anything else is somebody's and
 * stays. The look and the write are two system calls, so somebody who writes in the microseconds between
 * them loses; the kernel offers nothing better.
 *
 * The kernel sets the new limit first and then reclaims on the writer's time (mm/memcontrol.c,
 * memory_high_write()), until usage is below, nothing yields, or a signal is pending. The limit is what
 * counts: the reclaim the hog does itself when it next allocates. So kernels that know O_NONBLOCK (6.16) are
 * asked not to reclaim, and the others are interrupted by a timer, see worker.c. */

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "act/limit.h"
#include "act/priority.h"
#include "base/macro.h"
#include "base/units.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"

/* Of one value: systemd is told of a lease one value at a time. */
#define WRITES_MAX 3

uint64_t limit_round(uint64_t value) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);

        /* PAGE_COUNTER_MAX in include/linux/page_counter.h */
        if (value / page >= LONG_MAX / page)
                return LIMIT_MAX;
        return value - value % page;
}

bool limit_equal(uint64_t a, uint64_t b) {
        return limit_round(a) == limit_round(b);
}

static bool is_gone(int error) {
        return error == -ENOENT || error == -ENODEV;
}

static int limit_write(int dir_fd, uint64_t value) {
        _cleanup_close_ int fd = openat(dir_fd, "memory.high",
                                        O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        char text[32];
        int n;

        if (fd < 0)
                return -errno;
        if (value == LIMIT_MAX)
                n = snprintf(text, sizeof text, "max\n");
        else
                n = snprintf(text, sizeof text, "%" PRIu64 "\n", value);
        for (;;) {
                ssize_t k = write(fd, text, (size_t) n);

                if (k == n)
                        return 0;
                if (k >= 0)
                        return -EIO;
                if (errno != EINTR)
                        return -errno;
        }
}

static bool limit_in(uint64_t value, const uint64_t *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (limit_equal(value, list[i]))
                        return true;
        return false;
}

OutcomeResult limit_change(int dir_fd, uint64_t id, const uint64_t *accept, size_t n_accept, uint64_t value,
                           const atomic_bool *cancelled, uint64_t *ret_before, uint64_t *ret_after,
                           int *ret_error) {
        uint64_t before, after = 0;
        int r;

        if (!cgroup_is_alive(dir_fd, id))
                return OUTCOME_GONE;
        r = file_read_limit_at(dir_fd, "memory.high", &before);
        if (r < 0)
                goto fail;
        *ret_before = *ret_after = before;
        if (limit_equal(before, value))
                return OUTCOME_DONE;
        if (!limit_in(before, accept, n_accept))
                return OUTCOME_DRIFTED;
        if (cancelled && atomic_load(cancelled)) {
                *ret_error = -ECANCELED;
                return OUTCOME_FAILED;
        }
        for (unsigned n = 0; n < WRITES_MAX; n++) {
                r = limit_write(dir_fd, value);
                if (r < 0)
                        goto fail;
                /* It is written: a step that is said to have failed would leave it there without a lease. */
                if (file_read_limit_at(dir_fd, "memory.high", &after) < 0)
                        after = value;
                /* The write may have reclaimed for a second, in which systemd wrote what it was told of the value
                 * before: that is no drift but ours come late. Where it was given back meanwhile, that is the end. */
                if (limit_equal(after, value) || !limit_in(after, accept, n_accept) ||
                    (cancelled && atomic_load(cancelled)))
                        break;
        }
        *ret_after = after;
        return limit_equal(after, value) ? OUTCOME_DONE : OUTCOME_DRIFTED;

fail:
        /* The file may be missing because the controller is, and that is no vanished cgroup. */
        if (is_gone(r) && !cgroup_is_alive(dir_fd, id))
                return OUTCOME_GONE;
        *ret_error = r == -ENOENT ? -EOPNOTSUPP : r;
        return OUTCOME_FAILED;
}

int limit_swap_change(int dir_fd, uint64_t id, const uint64_t accept[2], uint64_t value) {
        uint64_t before;
        int r;

        if (!cgroup_is_alive(dir_fd, id))
                return 0;
        r = file_read_limit_at(dir_fd, "memory.swap.high", &before);
        if (r >= 0 && !limit_equal(before, value) && (limit_equal(before, accept[0]) || limit_equal(before, accept[1])))
                r = file_write_limit_at(dir_fd, "memory.swap.high", value);
        return is_gone(r) ? 0 : r;
}

/* Lines of io.max that are looked through: a line a device that has a cap. */
#define IO_LINES_MAX 64

static int io_max_read(int dir_fd, const IoLine *device, IoLine *ret) {
        IoLine lines[IO_LINES_MAX];
        const IoLine *there;
        char text[8192];
        int r = file_read_at(dir_fd, "io.max", text, sizeof text);

        if (r < 0)
                return r;
        there = io_line_find(lines, cgroup_io_max_parse(text, lines, IO_LINES_MAX), device);
        *ret = there ? *there : (IoLine) { device->major, device->minor, { LIMIT_MAX, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };
        return 0;
}

static bool io_equal(const IoLine *a, const IoLine *b) {
        return memcmp(a->v, b->v, sizeof a->v) == 0;
}

static bool is_no_limit(const IoLine *l) {
        for (int k = 0; k < _IO_KEY_MAX; k++)
                if (l->v[k] != LIMIT_MAX)
                        return false;
        return true;
}

int limit_io_write(int dir_fd, const IoLine *value) {
        static const char *const keys[_IO_KEY_MAX] = {
                [IO_READ_BYTES] = "rbps",
                [IO_WRITE_BYTES] = "wbps",
                [IO_READS] = "riops",
                [IO_WRITES] = "wiops",
        };
        char text[160];
        int n = snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu32, value->major, value->minor);

        for (int k = 0; k < _IO_KEY_MAX; k++)
                if (value->v[k] == LIMIT_MAX)
                        n += snprintf(text + n, sizeof text - (size_t) n, " %s=max", keys[k]);
                else
                        n += snprintf(text + n, sizeof text - (size_t) n, " %s=%" PRIu64, keys[k], value->v[k]);
        text[n++] = '\n';
        text[n] = 0;
        return file_write_at(dir_fd, "io.max", text);
}

OutcomeResult limit_io_change(int dir_fd, uint64_t id, const IoLine *accept, size_t n_accept, const IoLine *value,
                              const atomic_bool *cancelled, int *ret_error) {
        bool ours = false;
        IoLine there;
        int r;

        if (!cgroup_is_alive(dir_fd, id))
                return OUTCOME_GONE;
        r = io_max_read(dir_fd, value, &there);
        if (r < 0)
                goto fail;
        if (io_equal(&there, value))
                return OUTCOME_DONE;
        for (size_t i = 0; i < n_accept; i++)
                ours = ours || (io_line_used(&accept[i]) && io_equal(&there, &accept[i]));
        /* The line of a device that went is gone too. Only a write tells, of what is there. */
        if (!ours)
                return is_no_limit(&there) && limit_io_write(dir_fd, &there) == -ENODEV ? OUTCOME_DONE : OUTCOME_DRIFTED;
        if (cancelled && atomic_load(cancelled)) {
                *ret_error = -ECANCELED;
                return OUTCOME_FAILED;
        }
        r = limit_io_write(dir_fd, value);
        if (r < 0)
                goto fail;
        return io_max_read(dir_fd, value, &there) < 0 || io_equal(&there, value) ? OUTCOME_DONE : OUTCOME_DRIFTED;

fail:
        if (is_gone(r) && !cgroup_is_alive(dir_fd, id))
                return OUTCOME_GONE;
        /* A device that went has no limits to give back, and there is nobody left to be spared. */
        *ret_error = r == -ENOENT ? -EOPNOTSUPP : r;
        return r == -ENODEV ? OUTCOME_DONE : OUTCOME_FAILED;
}

OutcomeResult limit_given_back(OutcomeResult r, int error) {
        return r == OUTCOME_FAILED && error == -EOPNOTSUPP ? OUTCOME_DONE : r;
}

/* Whoever writes is not served last: a journal's commit may wait for what he has on its way, and with it everybody who syncs. */
static bool io_caps_reads_alone(const Action *a) {
        bool reads = false;

        for (size_t i = 0; i < a->n_io; i++)
                for (int k = 0; k < _IO_KEY_MAX; k++) {
                        if (a->io[i].value.v[k] >= a->io[i].original.v[k])
                                continue;
                        if (k == IO_WRITE_BYTES || k == IO_WRITES)
                                return false;
                        reads = true;
                }
        return reads;
}

/* All devices of the action: the worst that came of one. original: what was there before cgd. */
static OutcomeResult io_change_all(Job *job, bool original) {
        OutcomeResult worst = OUTCOME_DONE;

        for (size_t i = 0; i < job->action.n_io; i++) {
                const IoCap *cap = &job->action.io[i];
                OutcomeResult r = limit_io_change(job->dir_fd, job->action.cgroup_id, job->io_accept[i], JOB_IO_ACCEPT,
                                                  original ? &cap->original : &cap->value,
                                                  original ? NULL : &job->cancelled, &job->outcome.error);

                if (original)
                        r = limit_given_back(r, job->outcome.error);
                if (r == OUTCOME_GONE)
                        return r;
                worst = MAX(worst, r);
        }
        /* A step that failed has changed nothing, and so its lease says. */
        for (size_t i = 0; i < job->action.n_io && !original && !job->quiet && worst == OUTCOME_FAILED; i++) {
                const IoCap *cap = &job->action.io[i];
                int error;

                (void) limit_io_change(job->dir_fd, job->action.cgroup_id, &cap->value, 1, &cap->expect,
                                       &job->cancelled, &error);
        }
        if (job->action.n_io > 0)
                io_priority_set(job->dir_fd, !original && worst == OUTCOME_DONE && !atomic_load(&job->cancelled) &&
                                             io_caps_reads_alone(&job->action));
        return worst;
}

void limit_run_set(Job *job) {
        Outcome *o = &job->outcome;

        if (job->action.type == ACTION_SET_IO_MAX)
                o->result = io_change_all(job, false);
        else
                o->result = limit_change(job->dir_fd, job->action.cgroup_id, job->accept, job->n_accept,
                                 job->action.value, &job->cancelled, &o->before, &o->after, &o->error);
        if (o->result == OUTCOME_DONE && job->action.type == ACTION_SET_MEMORY_HIGH && !atomic_load(&job->cancelled)) {
                (void) limit_swap_change(job->dir_fd, job->action.cgroup_id, job->swap_accept, job->action.swap_value);
                /* A restore that ran since that look found nothing to give back; one that comes later will. */
                if (atomic_load(&job->cancelled))
                        (void) limit_swap_change(job->dir_fd, job->action.cgroup_id,
                                                 (const uint64_t[]) { job->action.swap_value, job->action.swap_value },
                                                 job->action.swap_original);
        }
        /* Whoever cancelled it decides what the file holds now: say nothing about that. */
        if (atomic_load(&job->cancelled) && o->result != OUTCOME_GONE) {
                o->result = OUTCOME_FAILED;
                o->error = -ECANCELED;
        }
}

/* A set of the same cgroup may still be inside its write, reclaiming, for seconds. Once the file shows its
 * value the kernel will not touch the limit again on its behalf, so there is nothing to wait for. Before
 * that it is between its look and its write, which is microseconds. */
static void wait_for_overtaken(Job *job) {
        const Job *set = job->overtaken;

        while (set && !atomic_load(&set->finished)) {
                uint64_t now;

                if (set->action.type == ACTION_SET_MEMORY_HIGH &&
                    (file_read_limit_at(job->dir_fd, "memory.high", &now) < 0 || limit_equal(now, set->action.value)))
                        break;
                (void) nanosleep(&(struct timespec) { .tv_nsec = 500 * 1000 }, NULL);
        }
}

void limit_run_restore(Job *job) {
        Outcome *o = &job->outcome;
        OutcomeResult io;
        int swap;

        if (job->clear_all) {
                io_priority_clear_all(job->dir_fd, &job->cancelled, UINT64_MAX);
                if (atomic_load(&job->cancelled)) {
                        o->result = OUTCOME_FAILED;
                        o->error = -ECANCELED;
                }
                return;
        }
        wait_for_overtaken(job);
        io = io_change_all(job, true);
        if (io == OUTCOME_GONE || job->action.io_only) {
                o->result = io;
                return;
        }
        o->result = limit_change(job->dir_fd, job->action.cgroup_id, job->accept, job->n_accept,
                                 job->action.value, NULL, &o->before, &o->after, &o->error);
        o->result = limit_given_back(o->result, o->error);
        swap = limit_swap_change(job->dir_fd, job->action.cgroup_id, job->swap_accept, job->action.swap_original);
        if (swap < 0)
                o->error = swap;
        /* io.max that is somebody else's is left; one that could not be written is tried again, also where memory.high is
         * somebody else's. So is memory.swap.high. */
        if ((io == OUTCOME_FAILED || swap < 0) && o->result != OUTCOME_GONE)
                o->result = OUTCOME_FAILED;
}
