/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Actor: carries out actions and keeps their leases.
 *
 * Invariants: no write to memory.high or io.max without its lease in the file before; every action submitted has one
 * outcome; a value that is none of ours is left alone, and its lease ends there. Leases belong to the loop's
 * thread, the writes to the worker's: they meet in the job alone.
 *
 * Which values are ours: what the engine expects, what the lease says was written last and before that (that
 * write may have failed or be under way), what systemd was told last and before that, and, during a reload
 * and for two seconds after it, the original, for then it was systemd that put it back and nobody else.
 *
 * io.max is never handed over: systemd writes there only for devices that the unit's own directives name, so a
 * daemon-reload or re-exec leaves ours alone (seen on systemd 252), and where it does not, we write it again. */

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "act/act.h"
#include "act/handover.h"
#include "act/hook.h"
#include "act/leases.h"
#include "act/limit.h"
#include "act/priority.h"
#include "act/worker.h"
#include "base/macro.h"
#include "base/units.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/unit.h"

#define RUN_SYSTEMD "/run/systemd"
/* systemd puts cgroup values back after it said that the reload is over, one unit at a time: look again
 * after 50 ms, then at doubling intervals up to this. */
#define REASSERT_FIRST_USEC (50 * USEC_PER_MSEC)
#define REASSERT_LAST_USEC (2 * USEC_PER_SEC)
/* It may put them back before we hear that it is over; should we never hear it, we do not wait for it for ever. */
#define RELOAD_MAX_USEC (90 * USEC_PER_SEC)
/* At the end: for a write that is still inside the kernel. It has set the limit by then; see limit.c. */
#define QUIESCE_USEC (150 * USEC_PER_MSEC)
/* For the io priorities then; and for whoever looks last, of the 5 s that systemd gives him (TimeoutStopSec=). */
#define CLEAR_AT_END_USEC (500 * USEC_PER_MSEC)
#define CLEAR_LAST_USEC (2 * USEC_PER_SEC)

struct Actor {
        int root_fd;
        Leases *leases;
        Worker *worker;
        Handover *handover;
        Hook *hook;
        Job *kill;                      /* waits for the hook; everything it needs is in it */
        ActorSay say;                   /* of that kill */
        ActorHandler handler;
        void *userdata;
        sd_event_source *reassert_timer, *collect_timer;
        bool marked;                    /* threads may have our io priority, in whichever cgroup */
        bool clearing;                  /* they are being looked for */
        uint64_t reassert_usec;         /* the next interval */
        uint64_t systemd_until_usec;    /* CLOCK_MONOTONIC; until then who puts an original back is systemd */
};

static bool systemd_writes(const Actor *a) {
        return now_monotonic_usec() < a->systemd_until_usec;
}

static size_t accept_of(const Actor *a, const HeldLease *h, uint64_t *accept) {
        size_t n = 0;

        accept[n++] = h->lease.value;
        accept[n++] = h->previous;
        /* It answers before it writes, so the one before may come after ours. */
        if (h->lease.handed_over) {
                accept[n++] = h->handed_value;
                accept[n++] = h->handed_before;
        }
        if (systemd_writes(a))
                accept[n++] = h->lease.original;
        return n;
}

/* While there are leases, or priorities to be looked for: */
#define COLLECT_EVERY_USEC USEC_PER_SEC

static int on_collect(sd_event_source *s, uint64_t usec, void *userdata);

static void collect_later(Actor *a) {
        int enabled;

        if (sd_event_source_get_enabled(a->collect_timer, &enabled) >= 0 && enabled != SD_EVENT_OFF)
                return;
        (void) sd_event_source_set_time_relative(a->collect_timer, COLLECT_EVERY_USEC);
        (void) sd_event_source_set_enabled(a->collect_timer, SD_EVENT_ONESHOT);
}

/* The cgroups that went away without anybody asking for their values back. */
static void collect_gone(Actor *a) {
        for (size_t i = 0; i < LEASES_MAX; i++) {
                HeldLease *h = leases_at(a->leases, i);

                if (h && !h->ended && !cgroup_is_alive(h->dir_fd, h->lease.cgroup_id))
                        handover_end(a->handover, h, true);
        }
}

static void kill_go(Actor *a) {
        Job *job = a->kill;

        a->kill = NULL;
        worker_submit(a->worker, job);
}

static void on_hook(const char *message, void *userdata) {
        Actor *a = userdata;

        if (message)
                a->say(&a->kill->action, true, message, a->userdata);
        kill_go(a);
}

static bool caps_untouched(const HeldLease *h) {
        for (size_t i = 0; i < h->lease.n_io; i++)
                if (memcmp(h->lease.io[i].value.v, h->lease.io[i].original.v, sizeof h->lease.io[i].value.v) != 0)
                        return false;
        return true;
}

static bool somebody_is_capped(const Actor *a) {
        for (size_t i = 0; i < LEASES_MAX; i++) {
                const HeldLease *h = leases_at(a->leases, i);

                if (h && !h->ended && !caps_untouched(h))
                        return true;
        }
        return false;
}

/* What was started under a cap and moved away has the priority still. A cap that begins meanwhile may lose it and gets it back
 * with its next change. */
static void clear_marks(Actor *a) {
        Job *job = worker_take(a->worker, a->root_fd);

        if (!job)
                return;
        job->quiet = job->clear_all = true;
        job->action.type = ACTION_RESTORE;
        worker_submit(a->worker, job);
        a->marked = false;
        a->clearing = true;
}

static int on_collect(sd_event_source *s, uint64_t usec, void *userdata) {
        Actor *a = userdata;

        (void) s;
        (void) usec;
        collect_gone(a);
        /* Nobody is left whom the command could look at, and the host's one kill is not kept waiting. */
        if (a->kill && !cgroup_is_alive(a->kill->dir_fd, a->kill->action.cgroup_id)) {
                hook_cancel(a->hook);
                kill_go(a);
        }
        if (a->marked && !a->clearing && !somebody_is_capped(a))
                clear_marks(a);
        if (actor_lease(a, 0) || a->marked)
                collect_later(a);
        return 0;
}

/* memory.swap.high alone, where memory.high is not ours to give back. Never blocks. */
static int give_back_swap(const HeldLease *h, int dir_fd) {
        return limit_swap_change(dir_fd, h->lease.cgroup_id,
                                 (const uint64_t[]) { h->lease.swap_value, h->swap_previous },
                                 h->lease.swap_original);
}

/* Which lines of io.max are ours, for the devices of the job's action. */
static void io_accept_of(const Actor *a, const HeldLease *h, Job *job) {
        for (size_t i = 0; i < job->action.n_io; i++) {
                const IoCap *cap = &job->action.io[i];

                job->io_accept[i][0] = cap->expect;
                for (size_t k = 0; h && k < h->lease.n_io; k++) {
                        if (!io_same_device(&h->lease.io[k].value, &cap->value))
                                continue;
                        job->io_accept[i][1] = h->lease.io[k].value;
                        job->io_accept[i][2] = h->lease.io[k].expect;
                        if (systemd_writes(a))
                                job->io_accept[i][3] = h->lease.io[k].original;
                }
        }
}

/* The lease's lines, to be given back or written once more. */
static void io_of_lease(const Actor *a, const HeldLease *h, Job *job) {
        memcpy(job->action.io, h->lease.io, sizeof job->action.io);
        job->action.n_io = h->lease.n_io;
        job->action.io_only = h->lease.io_only;
        io_accept_of(a, h, job);
}

/* io.max on the loop, where memory.high is not ours any more or everything ends. */
static OutcomeResult give_back_io(const HeldLease *h, int dir_fd) {
        OutcomeResult worst = OUTCOME_DONE;

        for (size_t i = 0; i < h->lease.n_io; i++) {
                const IoCap *cap = &h->lease.io[i];
                int error;
                OutcomeResult r = limit_io_change(dir_fd, h->lease.cgroup_id, (const IoLine[]) { cap->value, cap->expect }, 2,
                                                  &cap->original, NULL, &error);

                r = limit_given_back(r, error);
                worst = MAX(worst, r);
        }
        if (h->lease.n_io > 0 && worst != OUTCOME_GONE)
                io_priority_set(dir_fd, false);
        return worst;
}

static OutcomeResult give_back(const HeldLease *h, int dir_fd) {
        uint64_t before, after, accept[] = { h->lease.value, h->previous, h->handed_value, h->handed_before };
        OutcomeResult io = give_back_io(h, dir_fd), r;
        int error, swap;

        if (io == OUTCOME_GONE || h->lease.io_only)
                return io;
        swap = give_back_swap(h, dir_fd);
        r = limit_change(dir_fd, h->lease.cgroup_id, accept, h->lease.handed_over ? 4 : 2,
                         h->lease.original, NULL, &before, &after, &error);
        r = limit_given_back(r, error);
        return (io == OUTCOME_FAILED || swap < 0) && r != OUTCOME_GONE ? OUTCOME_FAILED : r;
}

/* The write failed: what was there before it still is. */
static void caps_revert(Actor *a, HeldLease *h) {
        for (size_t i = 0; i < h->lease.n_io; i++) {
                IoCap cap = h->lease.io[i];

                cap.value = cap.expect;
                (void) leases_cap(a->leases, h, &cap, h->lease.step, h->lease.expires_usec);
        }
}

/* One value is somebody else's, and another could not be given back: the lease stays for that one, and the
 * engine tries again. */
static void drift_fails(Job *job) {
        job->outcome.result = OUTCOME_FAILED;
        job->outcome.error = -EIO;
}

static void set_io_is_done(Actor *a, Job *job, HeldLease *h) {
        const Outcome *o = &job->outcome;

        switch (o->result) {
        case OUTCOME_DONE:
                /* Written once more: a step may wait by now, and what is there is what it expects. */
                for (size_t i = 0; i < h->lease.n_io && !job->quiet; i++)
                        h->lease.io[i].expect = h->lease.io[i].value;
                return;
        case OUTCOME_GONE:
                handover_end(a->handover, h, true);
                return;
        case OUTCOME_DRIFTED:
                if (job->quiet)
                        return;
                /* Raising a limit does not block. */
                if (give_back(h, h->dir_fd) == OUTCOME_FAILED)
                        drift_fails(job);
                else
                        handover_end(a->handover, h, true);
                return;
        case OUTCOME_FAILED:
                if (o->error == -ECANCELED || job->quiet)
                        return;
                caps_revert(a, h);
                if (h->lease.io_only && caps_untouched(h))
                        handover_end(a->handover, h, true);
                return;
        case OUTCOME_TIMEOUT:
        case _OUTCOME_RESULT_MAX:
                return;
        }
}

static void set_is_done(Actor *a, Job *job, HeldLease *h) {
        const Outcome *o = &job->outcome;
        int swap;

        switch (o->result) {
        case OUTCOME_DONE:
                /* Nothing is in doubt any more, unless a newer one is under way. */
                if (h->lease.value == job->action.value) {
                        h->previous = h->lease.value;
                        h->swap_previous = h->lease.swap_value;
                }
                handover_wake(a->handover);
                return;
        case OUTCOME_GONE:
                handover_end(a->handover, h, true);
                return;
        case OUTCOME_DRIFTED:
                swap = give_back_swap(h, h->dir_fd);
                if (give_back_io(h, h->dir_fd) == OUTCOME_FAILED || swap < 0)
                        drift_fails(job);
                else
                        handover_end(a->handover, h, false);
                return;
        case OUTCOME_FAILED:
                /* What came after it knows the lease; and a lease whose first write failed holds nothing. */
                if (o->error == -ECANCELED)
                        return;
                if (job->quiet)
                        return;
                if (limit_equal(h->previous, h->lease.original) && h->swap_previous == h->lease.swap_original && !h->lease.handed_over &&
                    caps_untouched(h))
                        handover_end(a->handover, h, true);
                else
                        (void) leases_set(a->leases, h, h->previous, h->swap_previous, h->lease.step,
                                          h->lease.expires_usec);
                return;
        case OUTCOME_TIMEOUT:
        case _OUTCOME_RESULT_MAX:
                return;
        }
}

static void restore_is_done(Actor *a, Job *job, HeldLease *h) {
        /* Where it failed the lease stays: the engine or the way out tries again. */
        if (job->outcome.result != OUTCOME_FAILED)
                handover_end(a->handover, h, job->outcome.result != OUTCOME_DRIFTED);
}

static void on_done(Job *job, void *userdata) {
        Actor *a = userdata;
        HeldLease *h = leases_find_serial(a->leases, job->lease_serial);

        if (h && h->jobs > 0 && (!job->quiet || job->action.type == ACTION_RESTORE))
                h->jobs--;
        if (h && !h->ended)
                switch (job->action.type) {
                case ACTION_SET_MEMORY_HIGH:
                        set_is_done(a, job, h);
                        break;
                case ACTION_SET_IO_MAX:
                        set_io_is_done(a, job, h);
                        break;
                case ACTION_RESTORE:
                        restore_is_done(a, job, h);
                        break;
                case ACTION_KILL:
                case _ACTION_TYPE_MAX:
                        break;
                }
        if (job->clear_all) {
                a->clearing = false;
                /* A restore came, or the end. */
                if (job->outcome.result == OUTCOME_FAILED) {
                        a->marked = true;
                        collect_later(a);
                }
        }
        if (job->action.type == ACTION_KILL)
                collect_gone(a);
        if (!job->quiet)
                a->handler(&job->outcome, a->userdata);
}

/* A lease for a first write. Where systemd has still to be told that the one before is over, that one goes
 * on. */
static int lease_begin(Actor *a, const Action *action, int cgroup_fd, const char *path, HeldLease **ret) {
        HeldLease *h = leases_find_ended(a->leases, action->cgroup_id);
        uint64_t now = now_monotonic_usec();
        Lease lease = {
                .cgroup_id = action->cgroup_id,
                .incident_id = action->incident_id,
                .step = action->step,
                .original = action->original,
                .value = action->value,
                .swap_original = action->swap_original,
                .swap_value = action->swap_value,
                .io_only = action->type == ACTION_SET_IO_MAX,
                .taken_usec = now,
                .expires_usec = now + action->lease_usec,
        };
        _cleanup_close_ int dir_fd = -EBADF;
        int r;

        /* Of another original, and systemd may still write what it was told for it. */
        if (h && (h->drifted || !limit_equal(h->lease.original, action->original)))
                return -EBUSY;
        collect_later(a);
        if (h) {
                r = leases_take_again(a->leases, h, &lease, action->expect);
                if (r >= 0)
                        *ret = h;
                return r;
        }
        if (strlen(path) >= sizeof lease.path)
                return -ENAMETOOLONG;
        strcpy(lease.path, path);
        /* Before the lease: one that holds no cgroup would be taken for one whose cgroup is gone. */
        dir_fd = fcntl(cgroup_fd, F_DUPFD_CLOEXEC, 3);
        if (dir_fd < 0)
                return -errno;
        r = leases_take(a->leases, &lease, action->expect, &h);
        if (r == -ENOSPC) {
                collect_gone(a);
                r = leases_take(a->leases, &lease, action->expect, &h);
        }
        if (r < 0)
                return r;
        h->dir_fd = TAKE_FD(dir_fd);
        *ret = h;
        return 0;
}

static int submit_set_io(Actor *a, Job *job, int cgroup_fd, const char *path) {
        const Action *action = &job->action;
        HeldLease *h = leases_find(a->leases, action->cgroup_id);
        bool begun = !h;
        int r = 0;

        if (h && h->jobs > 0)
                return -EBUSY;
        if (!h)
                r = lease_begin(a, action, cgroup_fd, path, &h);
        for (size_t i = 0; i < action->n_io && r >= 0; i++)
                r = leases_cap(a->leases, h, &action->io[i], action->step, now_monotonic_usec() + action->lease_usec);
        if (r < 0) {
                if (h && begun)
                        handover_end(a->handover, h, true);
                return r;
        }
        io_accept_of(a, h, job);
        job->lease_serial = h->serial;
        h->jobs++;
        a->marked = true;
        return 0;
}

static int submit_set(Actor *a, Job *job, int cgroup_fd, const char *path) {
        const Action *action = &job->action;
        HeldLease *h = leases_find(a->leases, action->cgroup_id);
        int r;

        /* The file names the value before and the one after: a third would be in nobody's book. */
        if (h && h->jobs > 0)
                return -EBUSY;
        job->accept[job->n_accept++] = action->expect;
        if (h) {
                job->n_accept += accept_of(a, h, job->accept + job->n_accept);
                r = leases_set(a->leases, h, action->value, action->swap_value, action->step,
                               now_monotonic_usec() + action->lease_usec);
        } else
                r = lease_begin(a, action, cgroup_fd, path, &h);
        if (r < 0)
                return r;
        job->swap_accept[0] = h->swap_previous;
        job->swap_accept[1] = job->action.swap_original = h->lease.swap_original;
        job->lease_serial = h->serial;
        h->jobs++;
        return 0;
}

int actor_submit(Actor *a, const Action *action, int cgroup_fd, const char *path) {
        HeldLease *h = leases_find(a->leases, action->cgroup_id);
        Job *job = worker_take(a->worker, cgroup_fd >= 0 ? cgroup_fd : h ? h->dir_fd : -EBADF);
        int r;

        if (!job)
                return -ENOSPC;
        job->action = *action;
        switch (action->type) {
        case ACTION_SET_MEMORY_HIGH:
        case ACTION_SET_IO_MAX:
                r = action->type == ACTION_SET_IO_MAX ? submit_set_io(a, job, cgroup_fd, path) :
                                                        submit_set(a, job, cgroup_fd, path);
                if (r < 0) {
                        worker_refuse(a->worker, job, OUTCOME_FAILED, r);
                        return 0;
                }
                break;
        case ACTION_RESTORE:
                job->accept[job->n_accept++] = action->expect;
                if (h) {
                        job->n_accept += accept_of(a, h, job->accept + job->n_accept);
                        job->swap_accept[0] = h->lease.swap_value;
                        job->swap_accept[1] = h->swap_previous;
                        job->action.swap_original = h->lease.swap_original;
                        io_of_lease(a, h, job);
                        job->lease_serial = h->serial;
                        h->jobs++;
                } else {
                        /* No lease says that these are ours. */
                        job->swap_accept[0] = job->swap_accept[1] = action->swap_original;
                        job->action.n_io = 0;
                }
                break;
        case ACTION_KILL:
                if (h)
                        io_of_lease(a, h, job);
                break;
        case _ACTION_TYPE_MAX:
                worker_refuse(a->worker, job, OUTCOME_FAILED, -EINVAL);
                return 0;
        }
        worker_submit(a->worker, job);
        return 0;
}

int actor_submit_kill(Actor *a, const Action *action, int cgroup_fd, char *const *argv,
                      uint64_t timeout_usec, ActorSay say) {
        const HeldLease *h = leases_find(a->leases, action->cgroup_id);
        char unit[80], description[80], text[512], time[FORMAT_MAX];
        Job *job = worker_take(a->worker, cgroup_fd);
        int r;

        if (!job)
                return -ENOSPC;
        job->action = *action;
        if (h)
                io_of_lease(a, h, job);
        (void) snprintf(unit, sizeof unit, "cgd-pre-kill-%" PRIu64 "-%" PRIu64 ".service",
                        action->incident_id, action->id);
        (void) snprintf(description, sizeof description, "[cgd] PreKillExec= in incident %" PRIu64,
                        action->incident_id);
        r = hook_start(a->hook, unit, description, argv, timeout_usec);
        if (r < 0) {
                (void) snprintf(text, sizeof text, "%s was not run: %s", argv[0],
                                r == -ENOTCONN ? "the system bus is not connected"
                                : r == -EBUSY  ? "another one runs"
                                               : strerror(-r));
                say(&job->action, true, text, a->userdata);
                worker_submit(a->worker, job);
                return 0;
        }
        a->kill = job;
        a->say = say;
        usec_format(timeout_usec, time);
        (void) snprintf(text, sizeof text, "running %s first, for up to %s, as %s", argv[0], time, unit);
        say(&job->action, false, text, a->userdata);
        return 0;
}

const Action *actor_waiting_kill(const Actor *a) {
        return a->kill ? &a->kill->action : NULL;
}

void actor_call_off_kill(Actor *a) {
        Job *job = a->kill;

        if (!job)
                return;
        a->kill = NULL;
        hook_cancel(a->hook);
        worker_refuse(a->worker, job, OUTCOME_FAILED, -ECANCELED);
}

int actor_give_back(Actor *a, uint64_t cgroup_id) {
        HeldLease *h = leases_find(a->leases, cgroup_id);
        Job *job;

        if (!h)
                return -ENOENT;
        job = worker_take(a->worker, h->dir_fd);
        if (!job)
                return -ENOSPC;
        job->quiet = true;
        job->lease_serial = h->serial;
        job->action.type = ACTION_RESTORE;
        job->action.cgroup_id = cgroup_id;
        job->action.value = h->lease.original;
        job->action.swap_original = h->lease.swap_original;
        job->n_accept = accept_of(a, h, job->accept);
        io_of_lease(a, h, job);
        job->swap_accept[0] = h->lease.swap_value;
        job->swap_accept[1] = h->swap_previous;
        h->jobs++;
        worker_submit(a->worker, job);
        return 0;
}

/* Writes the lease's value once more, wherever it fell back to one that was there before. */
static void lease_reassert(Actor *a, HeldLease *h) {
        Job *job = h->lease.n_io > 0 ? worker_take(a->worker, h->dir_fd) : NULL;

        if (job) {
                job->quiet = true;
                job->lease_serial = h->serial;
                job->action.type = ACTION_SET_IO_MAX;
                job->action.cgroup_id = h->lease.cgroup_id;
                io_of_lease(a, h, job);
                for (size_t i = 0; i < job->action.n_io; i++)
                        job->io_accept[i][3] = h->lease.io[i].original;
                worker_submit(a->worker, job);
        }
        /* A full queue: the next round finds it. */
        job = h->lease.io_only ? NULL : worker_take(a->worker, h->dir_fd);
        if (!job)
                return;
        job->quiet = true;
        job->lease_serial = h->serial;
        job->action.type = ACTION_SET_MEMORY_HIGH;
        job->action.cgroup_id = h->lease.cgroup_id;
        job->action.value = h->lease.value;
        job->action.swap_value = h->lease.swap_value;
        job->swap_accept[0] = job->action.swap_original = h->lease.swap_original;
        job->swap_accept[1] = h->swap_previous;
        job->accept[job->n_accept++] = h->lease.original;
        job->accept[job->n_accept++] = h->previous;
        if (h->lease.handed_over) {
                job->accept[job->n_accept++] = h->handed_value;
                job->accept[job->n_accept++] = h->handed_before;
        }
        worker_submit(a->worker, job);
}

static void reassert_all(Actor *a) {
        for (size_t i = 0; i < LEASES_MAX; i++) {
                HeldLease *h = leases_at(a->leases, i);

                if (h && !h->ended && h->jobs == 0)
                        lease_reassert(a, h);
        }
}

static int on_reassert(sd_event_source *s, uint64_t usec, void *userdata) {
        Actor *a = userdata;

        (void) usec;
        reassert_all(a);
        if (a->reassert_usec <= REASSERT_LAST_USEC) {
                (void) sd_event_source_set_time_relative(s, a->reassert_usec);
                (void) sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        }
        a->reassert_usec *= 2;
        return 0;
}

void actor_expect_reload(Actor *a) {
        a->systemd_until_usec = now_monotonic_usec() + RELOAD_MAX_USEC;
}

void actor_reassert(Actor *a) {
        a->systemd_until_usec = now_monotonic_usec() + REASSERT_LAST_USEC;
        a->reassert_usec = REASSERT_FIRST_USEC;
        (void) on_reassert(a->reassert_timer, 0, a);
}

static void on_lost(HeldLease *h, void *userdata) {
        lease_reassert(userdata, h);
}

/* Brings what the file said into agreement with the machine. A negative errno where there is no file or no memory left to hold a
 * cgroup by: it is not gone, and its lease stays for who comes next. */
static int adopt(Actor *a) {
        for (size_t i = 0; i < LEASES_MAX; i++) {
                HeldLease *h = leases_at(a->leases, i);
                uint64_t current;
                int fd;

                if (!h)
                        continue;
                fd = cgroup_open(a->root_fd, h->lease.path);
                if (fd == -ENFILE || fd == -EMFILE || fd == -ENOMEM)
                        return fd;
                if (fd < 0 || !cgroup_is_alive(fd, h->lease.cgroup_id)) {
                        (void) safe_close(fd);
                        handover_end(a->handover, h, true);
                        continue;
                }
                h->dir_fd = fd;
                /* What became of each line of io.max is looked at when it is raised or given back; and of a memory.high that
                 * cannot be read. */
                if (h->lease.io_only || !caps_untouched(h) || file_read_limit_at(fd, "memory.high", &current) < 0)
                        continue;
                if (limit_equal(current, h->lease.original) && !limit_equal(current, h->lease.value)) {
                        if (give_back_swap(h, fd) >= 0)
                                handover_end(a->handover, h, true);
                } else if (limit_equal(current, h->lease.value))
                        continue;
                else if (limit_equal(current, h->previous) ||
                         (h->lease.handed_over &&
                          (limit_equal(current, h->handed_value) || limit_equal(current, h->handed_before))))
                        (void) leases_set(a->leases, h, current, h->lease.swap_value, h->lease.step,
                                          h->lease.expires_usec);
                else {
                        if (give_back_swap(h, fd) >= 0)
                                handover_end(a->handover, h, false);
                }
        }
        return 0;
}

int actor_new(sd_event *event, const char *root, const char *lease_file, ActorHandler handler,
              void *userdata, Actor **ret) {
        Actor *a = calloc(1, sizeof *a);
        int r;

        if (!a)
                return -ENOMEM;
        a->handler = handler;
        a->userdata = userdata;
        a->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = a->root_fd < 0 ? -errno : 0;
        if (r >= 0)
                r = leases_new(lease_file, &a->leases);
        if (r >= 0)
                r = handover_new(event, RUN_SYSTEMD, a->leases, on_lost, a, &a->handover);
        if (r >= 0)
                r = hook_new(event, on_hook, a, &a->hook);
        if (r >= 0)
                r = worker_new(event, on_done, a, &a->worker);
        if (r >= 0)
                r = sd_event_add_time(event, &a->reassert_timer, CLOCK_MONOTONIC, UINT64_MAX, USEC_PER_MSEC,
                                      on_reassert, a);
        if (r >= 0)
                r = sd_event_add_time(event, &a->collect_timer, CLOCK_MONOTONIC, UINT64_MAX,
                                      USEC_PER_SEC / 4, on_collect, a);
        if (r >= 0)
                r = adopt(a);
        if (r < 0) {
                actor_free(a);
                return r;
        }
        (void) sd_event_source_set_description(a->reassert_timer, "reassert");
        (void) sd_event_source_set_enabled(a->reassert_timer, SD_EVENT_OFF);
        (void) sd_event_source_set_description(a->collect_timer, "collect");
        (void) sd_event_source_set_enabled(a->collect_timer, SD_EVENT_OFF);
        /* By a cgd before. */
        a->marked = true;
        collect_later(a);
        *ret = a;
        return 0;
}

Actor *actor_free(Actor *a) {
        if (!a)
                return NULL;
        (void) hook_free(a->hook);
        (void) worker_free(a->worker);
        (void) handover_free(a->handover);
        (void) leases_free(a->leases);
        sd_event_source_disable_unref(a->reassert_timer);
        sd_event_source_disable_unref(a->collect_timer);
        (void) safe_close(a->root_fd);
        free(a);
        return NULL;
}

void actor_set_bus(Actor *a, sd_bus *bus) {
        handover_set_bus(a->handover, bus);
        hook_set_bus(a->hook, bus);
}

const Lease *actor_lease(const Actor *a, size_t i) {
        for (size_t k = 0; k < LEASES_MAX; k++) {
                const HeldLease *h = leases_at(a->leases, k);

                if (h && !h->ended && i-- == 0)
                        return &h->lease;
        }
        return NULL;
}

int actor_release_all(Actor *a, uint64_t deadline_usec) {
        uint64_t now = now_monotonic_usec();
        int failed = 0;

        actor_call_off_kill(a);
        (void) worker_quiesce(a->worker, now + MIN(deadline_usec, QUIESCE_USEC));
        for (size_t i = 0; i < LEASES_MAX; i++) {
                HeldLease *h = leases_at(a->leases, i);
                OutcomeResult result;

                if (!h || h->ended)
                        continue;
                result = give_back(h, h->dir_fd);
                if (result == OUTCOME_FAILED)
                        failed++;
                else
                        handover_end(a->handover, h, result != OUTCOME_DRIFTED);
        }
        failed += handover_finish(a->handover, now + deadline_usec);
        if (a->marked || a->clearing)
                io_priority_clear_all(a->root_fd, NULL, now_monotonic_usec() + CLEAR_AT_END_USEC);
        leases_remove_if_empty(a->leases);
        return failed;
}

typedef struct Release {
        int root_fd;
        const char *run;
        sd_bus *bus;
        bool bus_tried;
        int bus_error, error;
} Release;

static int release_tell(Release *rel, const char *unit, uint64_t original) {
        int r;

        if (!rel->bus_tried)
                rel->bus_error = unit_private_bus(rel->run, &rel->bus);
        rel->bus_tried = true;
        if (rel->bus_error < 0)
                return rel->bus_error;
        r = unit_set_memory_high_sync(rel->bus, unit, original, USEC_PER_SEC);
        /* Not waited for a second time: there may be many, and the time is bounded (TimeoutStopSec=). */
        if (unit_is_silence(r))
                rel->bus_error = r;
        return r;
}

static void release_one(const HeldLease *h, void *userdata) {
        Release *rel = userdata;
        _cleanup_close_ int fd = cgroup_open(rel->root_fd, h->lease.path);
        OutcomeResult result = fd == -ENOENT ? OUTCOME_GONE : fd < 0 ? OUTCOME_FAILED : give_back(h, fd);
        char unit[UNIT_NAME_SIZE];
        int r = -ENXIO;

        if (result == OUTCOME_FAILED) {
                rel->error = -EIO;
                (void) fprintf(stderr, "<4>cgd: %s: cannot be given back%s%s.\n", h->lease.path, fd < 0 ? ": " : "",
                               fd < 0 ? strerror(-fd) : "");
        } else if (result == OUTCOME_DONE)
                (void) fprintf(stderr, "<6>cgd: %s: given back, for the cgd that had changed it is dead.\n", h->lease.path);
        if (!h->lease.handed_over || unit_of_cgroup(h->lease.path, unit) < 0)
                return;
        /* Where there is no systemd, or no such unit, there is nothing to be told. */
        if (result != OUTCOME_DRIFTED)
                r = release_tell(rel, unit, h->lease.original);
        if (unit_is_silence(r)) {
                rel->error = -ETIMEDOUT;
                (void) fprintf(stderr, "<4>cgd: %s: systemd did not answer; it may still keep the value that was set.\n",
                               h->lease.path);
        }
        handover_dropin_remove(rel->run, h, r >= 0 || unit_is_silence(r));
}

int leases_release_file_at(const char *root, const char *run, const char *lease_file) {
        Release rel = { .root_fd = -EBADF, .run = run };
        int r;

        rel.root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (rel.root_fd < 0)
                return -errno;
        r = leases_read(lease_file, release_one, &rel);
        io_priority_clear_all(rel.root_fd, NULL, now_monotonic_usec() + CLEAR_LAST_USEC);
        if (r >= 0)
                r = rel.error;
        /* What could not be given back stays written down. */
        if (r >= 0 && unlink(lease_file) < 0 && errno != ENOENT)
                r = -errno;
        sd_bus_close_unref(rel.bus);
        (void) safe_close(rel.root_fd);
        return r;
}

int leases_release_file(const char *root, const char *lease_file, const char *lock_file) {
        /* Held until the end, so that no cgd that starts meanwhile adopts what is being given back. */
        _cleanup_close_ int lock_fd = file_lock_at(AT_FDCWD, lock_file);

        /* Where it cannot be locked for another reason, as in a full /run, giving back is still right. */
        if (lock_fd == -EBUSY)
                return lock_fd;
        return leases_release_file_at(root, RUN_SYSTEMD, lease_file);
}
