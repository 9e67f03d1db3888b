/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kill: the last step.
 *
 * Invariant: OUTCOME_DONE says that the kernel reported `populated 0` or the cgroup went away; a signal sent
 * is not yet a kill.
 *
 * io.max is lifted first: a process inside a throttled write dies only when the write is through (15 s were
 * measured). It is put back whatever came of the kill, for the lease says that it is there, and other lines are their
 * owner's; but where the lease was given back meanwhile, its devices get what was there before it. The two xattrs are
 * systemd-oomd's; PID 1 reads them when the unit's cgroup empties (src/core/unit.c, unit_check_oomd_kill()) and reports
 * the unit as `oom-kill`, which is what happened.
 * Nothing here allocates, and there is always room for two descriptors. PreKillExec= comes before all this:
 * hook.c runs it, and the job with its descriptor waits (actor.c). Left out: freezing first (a frozen cgroup
 * can be killed, and one that forks cannot outrun cgroup.kill). */

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "act/kill.h"
#include "act/limit.h"
#include "base/macro.h"
#include "base/units.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"

/* A line a device that has a cap; far more devices than one cgroup is capped on. */
#define IO_MAX_TEXT 2048
#define IO_MAX_LINES 32

/* Processes in this cgroup; 0 where there are none or it cannot be told. */
static uint64_t count_processes(int dir_fd) {
        _cleanup_close_ int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOCTTY);
        char buf[1024];
        uint64_t n = 0;
        ssize_t k;

        if (fd < 0)
                return 0;
        while ((k = read(fd, buf, sizeof buf)) > 0)
                for (ssize_t i = 0; i < k; i++)
                        n += buf[i] == '\n';
        return n;
}

/* An inner cgroup has none of its own: there tasks have to do. */
static uint64_t count_all(int dir_fd) {
        uint64_t n = count_processes(dir_fd);

        if (n == 0 && file_read_limit_at(dir_fd, "pids.current", &n) < 0)
                return 0;
        return n;
}

/* Writes each line of an io.max text, with its limits or with none. One device a write, as the kernel
 * wants. */
static void io_max_write(int dir_fd, const char *text, bool lift) {
        for (const char *p = text; *p;) {
                size_t n = strcspn(p, "\n"), device = strcspn(p, " \n");
                char line[256];
                int k;

                if (lift)
                        k = snprintf(line, sizeof line, "%.*s rbps=max wbps=max riops=max wiops=max\n",
                                     (int) device, p);
                else
                        k = snprintf(line, sizeof line, "%.*s\n", (int) n, p);
                /* A cap that stays makes the kill slower, not wrong. */
                if (k > 0 && (size_t) k < sizeof line)
                        (void) file_write_at(dir_fd, "io.max", line);
                p += n;
                p += *p == '\n';
        }
}

static void xattr_add(int dir_fd, const char *name, uint64_t n) {
        char text[24];
        ssize_t k = fgetxattr(dir_fd, name, text, sizeof text - 1);
        uint64_t before = 0;

        if (k > 0) {
                text[k] = 0;
                if (u64_parse(text, &before) < 0)
                        before = 0;
        }
        k = snprintf(text, sizeof text, "%" PRIu64, before + n);
        /* Without it the unit is reported as killed by a signal. */
        (void) fsetxattr(dir_fd, name, text, (size_t) k, 0);
}

/* 1 populated, 0 not, negative errno where it cannot be read. */
static int populated(int events_fd) {
        char buf[256];
        int r = file_pread(events_fd, buf, sizeof buf);
        const char *p;

        if (r < 0)
                return r;
        p = strstr(buf, "populated ");
        if (!p)
                return -EBADMSG;
        return p[strlen("populated ")] == '0' ? 0 : 1;
}

static bool io_equal(const IoLine *a, const IoLine *b) {
        return memcmp(a->v, b->v, sizeof a->v) == 0;
}

static void io_max_put_back(const Job *job, const char *text) {
        IoLine lines[IO_MAX_LINES];
        size_t n = cgroup_io_max_parse(text, lines, IO_MAX_LINES);

        io_max_write(job->dir_fd, text, false);
        /* After the write: who comes later than this look finds the cap there and gives it back. */
        if (!atomic_load(&job->given_back))
                return;
        for (size_t i = 0; i < job->action.n_io; i++) {
                const IoCap *cap = &job->action.io[i];
                const IoLine *there = io_line_find(lines, n, &cap->value);

                if (there && (io_equal(there, &cap->value) || io_equal(there, &cap->expect)))
                        (void) limit_io_write(job->dir_fd, &cap->original);
        }
}

static OutcomeResult kill_and_watch(Job *job, uint64_t timeout_usec) {
        char io_max[IO_MAX_TEXT] = "";
        _cleanup_close_ int events_fd = -EBADF;
        Outcome *o = &job->outcome;
        uint64_t id = job->action.cgroup_id, deadline;
        int fd = job->dir_fd, r;

        if (!cgroup_is_alive(fd, id))
                return OUTCOME_GONE;
        events_fd = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (events_fd < 0) {
                r = -errno;
                goto fail;
        }
        o->before = o->after = count_all(fd);
        if (file_read_at(fd, "io.max", io_max, sizeof io_max) < 0)
                io_max[0] = 0;
        io_max_write(fd, io_max, true);
        xattr_add(fd, "user.oomd_ooms", 1);
        xattr_add(fd, "user.oomd_kill", o->before);

        r = file_write_at(fd, "cgroup.kill", "1");
        if (r < 0)
                goto fail;
        deadline = now_monotonic_usec() + timeout_usec;
        for (;;) {
                struct pollfd p = { .fd = events_fd, .events = POLLPRI };
                uint64_t now;

                r = populated(events_fd);
                if (r == 0 || r == -ENODEV || r == -ENOENT)
                        break;
                now = now_monotonic_usec();
                if (now >= deadline || atomic_load(&job->cancelled)) {
                        io_max_put_back(job, io_max);
                        o->after = count_all(fd);
                        return OUTCOME_TIMEOUT;
                }
                /* The kernel notifies; the second look is for the notification that came between. */
                (void) poll(&p, 1, (int) MIN((deadline - now) / USEC_PER_MSEC + 1, UINT64_C(100)));
        }
        o->after = 0;
        io_max_put_back(job, io_max);
        return OUTCOME_DONE;

fail:
        io_max_put_back(job, io_max);
        if ((r == -ENOENT || r == -ENODEV) && !cgroup_is_alive(fd, id))
                return OUTCOME_GONE;
        o->error = r == -ENOENT ? -EOPNOTSUPP : r;
        return OUTCOME_FAILED;
}

void kill_run(Job *job, uint64_t timeout_usec, int spare[2]) {
        for (int i = 0; i < 2; i++)
                spare[i] = safe_close(spare[i]);
        job->outcome.result = kill_and_watch(job, timeout_usec);
        for (int i = 0; i < 2; i++)
                spare[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}
