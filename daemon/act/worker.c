/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Worker: the threads that make the writes which may block, and the bounded queue in front of them.
 *
 * Four threads in three lanes. Lowering memory.high may keep its writer inside the kernel for seconds
 * (reclaim), a kill is watched for up to five, and raising takes microseconds; so each has its own lane, and
 * a restore or a kill never stands behind a squeeze. Lowering has two threads: one stuck write must not keep
 * the next hog from being held.
 *
 * Invariants: jobs of one cgroup run in the order they were submitted, but for two cases: a kill waits for
 * nothing, and a restore does not wait for a set that is under way (limit.c says why that is safe) and
 * cancels those that wait. Jobs, their descriptors and the threads are there from the start: submitting
 * allocates nothing. A thread touches only its job; leases and plans belong to the loop.
 *
 * A write that lasts longer than PRESS_MAX_USEC gets a signal, again and again until it returns: the kernel
 * then stops reclaiming on our time, and the limit stays. */

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "act/kill.h"
#include "act/limit.h"
#include "act/worker.h"
#include "base/macro.h"
#include "base/units.h"

/* Half a second is StepSec=: by then the engine looks whether it helped. */
#define PRESS_MAX_USEC (500 * USEC_PER_MSEC)
#define INTERRUPT_EVERY_USEC (20 * USEC_PER_MSEC)
#define KILL_TIMEOUT_USEC (5 * USEC_PER_SEC)
/* Locked memory stays resident once it is touched, and these threads have shallow stacks. */
#define STACK_BYTES ((size_t) 96 * 1024)
#define SIGNAL_INTERRUPT (SIGRTMIN + 5)

typedef enum Lane {
        LANE_PRESS,
        LANE_LIFT,
        LANE_KILL,
} Lane;

typedef struct Thread {
        Worker *worker;
        Lane lane;
        const char *name;
        pthread_t id;
        bool started;
        int spare[2];           /* kill_run()'s room */
        Job *running;
} Thread;

#define THREADS_N 4

struct Worker {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        WorkerHandler handler;
        void *userdata;
        sd_event_source *source;
        int event_fd, null_fd;
        uint64_t order, kill_timeout_usec;
        bool stopping;
        Thread threads[THREADS_N];
        Job jobs[JOBS_MAX];
};

uint64_t now_monotonic_usec(void) {
        struct timespec ts = {};

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

static Lane job_lane(const Job *job) {
        switch (job->action.type) {
        case ACTION_SET_MEMORY_HIGH:
        case ACTION_SET_IO_MAX:
                return LANE_PRESS;
        case ACTION_RESTORE:
                return LANE_LIFT;
        case ACTION_KILL:
                return LANE_KILL;
        case _ACTION_TYPE_MAX:
                break;
        }
        return LANE_LIFT;
}

/* May `job` be started now? Lock held. */
static bool job_is_ready(Worker *w, Job *job) {
        Lane lane = job_lane(job);

        job->overtaken = NULL;
        if (lane == LANE_KILL)
                return true;
        for (size_t i = 0; i < JOBS_MAX; i++) {
                Job *other = &w->jobs[i];

                /* The state first: one that the loop fills in is the loop's alone. */
                if (other == job || (other->state != JOB_QUEUED && other->state != JOB_RUNNING) ||
                    other->order > job->order || other->action.cgroup_id != job->action.cgroup_id)
                        continue;
                if (lane == LANE_LIFT && job_lane(other) == LANE_KILL)
                        continue;
                if (lane == LANE_LIFT && job_lane(other) == LANE_PRESS && other->state == JOB_RUNNING) {
                        job->overtaken = other;
                        continue;
                }
                return false;
        }
        return true;
}

static Job *next_job(Worker *w, Lane lane) {
        Job *best = NULL;

        for (size_t i = 0; i < JOBS_MAX; i++) {
                Job *job = &w->jobs[i];

                if (job->state == JOB_QUEUED && job_lane(job) == lane &&
                    (!best || job->order < best->order) && job_is_ready(w, job))
                        best = job;
        }
        return best;
}

static void job_done(Worker *w, Job *job) {
        static const uint64_t one = 1;

        job->state = JOB_DONE;
        job->overtaken = NULL;
        job->order = ++w->order; /* from here on: the order of finishing */
        (void) !write(w->event_fd, &one, sizeof one);
        (void) pthread_cond_broadcast(&w->changed);
}

static void on_interrupt(int sig) {
        (void) sig; /* its only purpose is to be pending inside write() */
}

static void interrupt_timer_set(timer_t timer, bool on) {
        struct itimerspec spec = {};

        if (on) {
                spec.it_value.tv_nsec = (long) PRESS_MAX_USEC * 1000;
                spec.it_interval.tv_nsec = (long) INTERRUPT_EVERY_USEC * 1000;
        }
        (void) timer_settime(timer, 0, &spec, NULL);
}

static void *thread_main(void *userdata) {
        Thread *t = userdata;
        Worker *w = t->worker;
        timer_t timer;
        bool have_timer = false;

        (void) pthread_setname_np(pthread_self(), t->name);
        if (t->lane == LANE_PRESS) {
                struct sigevent se = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNAL_INTERRUPT };

                se._sigev_un._tid = (pid_t) syscall(SYS_gettid);
                have_timer = timer_create(CLOCK_MONOTONIC, &se, &timer) >= 0;
        }

        (void) pthread_mutex_lock(&w->lock);
        for (;;) {
                Job *job = NULL;

                while (!w->stopping && !(job = next_job(w, t->lane)))
                        (void) pthread_cond_wait(&w->changed, &w->lock);
                if (w->stopping)
                        break;
                /* next_job() may have looked at others after it: settle whom this one overtakes. */
                (void) job_is_ready(w, job);
                job->state = JOB_RUNNING;
                t->running = job;
                (void) pthread_mutex_unlock(&w->lock);

                job->outcome.started_usec = now_monotonic_usec();
                switch (t->lane) {
                case LANE_PRESS:
                        if (have_timer)
                                interrupt_timer_set(timer, true);
                        limit_run_set(job);
                        if (have_timer)
                                interrupt_timer_set(timer, false);
                        break;
                case LANE_LIFT:
                        limit_run_restore(job);
                        break;
                case LANE_KILL:
                        kill_run(job, w->kill_timeout_usec, t->spare);
                        break;
                }
                if (job->outcome.result != OUTCOME_FAILED)
                        job->outcome.error = 0; /* of one of several writes, and no failure after all */
                job->outcome.finished_usec = now_monotonic_usec();
                atomic_store(&job->finished, true);

                (void) pthread_mutex_lock(&w->lock);
                t->running = NULL;
                job_done(w, job);
        }
        (void) pthread_mutex_unlock(&w->lock);
        if (have_timer)
                (void) timer_delete(timer);
        return NULL;
}

/* Frees the finished job's place and lets go of the cgroup. Lock held. */
static void job_release(Worker *w, Job *job) {
        (void) dup3(w->null_fd, job->dir_fd, O_CLOEXEC);
        job->state = JOB_FREE;
}

static Job *next_done(Worker *w) {
        Job *best = NULL;

        for (size_t i = 0; i < JOBS_MAX; i++) {
                Job *job = &w->jobs[i];
                bool looked_at = false;

                if (job->state != JOB_DONE || (best && best->order < job->order))
                        continue;
                /* A restore that overtook it still looks at it; its own end wakes us again. */
                for (size_t k = 0; k < JOBS_MAX; k++)
                        looked_at = looked_at ||
                                    (w->jobs[k].state == JOB_RUNNING && w->jobs[k].overtaken == job);
                if (!looked_at)
                        best = job;
        }
        return best;
}

static void drain(Worker *w) {
        (void) pthread_mutex_lock(&w->lock);
        for (Job *job; (job = next_done(w));) {
                job->state = JOB_TAKEN;
                (void) pthread_mutex_unlock(&w->lock);
                w->handler(job, w->userdata);
                (void) pthread_mutex_lock(&w->lock);
                job_release(w, job);
        }
        (void) pthread_mutex_unlock(&w->lock);
}

static int on_event(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        uint64_t n;

        (void) s;
        (void) revents;
        (void) !read(fd, &n, sizeof n);
        drain(userdata);
        return 0;
}

static int threads_start(Worker *w) {
        static const struct {
                Lane lane;
                const char *name;
        } table[THREADS_N] = {
                { LANE_PRESS, "cgd-press" },
                { LANE_PRESS, "cgd-press" },
                { LANE_LIFT, "cgd-lift" },
                { LANE_KILL, "cgd-kill" },
        };
        struct sigaction sa = { .sa_handler = on_interrupt };
        pthread_attr_t attr;
        sigset_t all, old;
        int r;

        /* No SA_RESTART; and nothing but this signal reaches the threads: the others are the loop's. */
        if (sigaction(SIGNAL_INTERRUPT, &sa, NULL) < 0)
                return -errno;
        r = -pthread_attr_init(&attr);
        if (r < 0)
                return r;
        (void) pthread_attr_setstacksize(&attr, STACK_BYTES);
        (void) sigfillset(&all);
        (void) sigdelset(&all, SIGNAL_INTERRUPT);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        for (size_t i = 0; i < THREADS_N && r >= 0; i++) {
                Thread *t = &w->threads[i];

                t->worker = w;
                t->lane = table[i].lane;
                t->name = table[i].name;
                t->spare[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                t->spare[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                r = -pthread_create(&t->id, &attr, thread_main, t);
                t->started = r >= 0;
        }
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        (void) pthread_attr_destroy(&attr);
        return r;
}

int worker_new(sd_event *event, WorkerHandler handler, void *userdata, Worker **ret) {
        pthread_condattr_t attr;
        Worker *w = calloc(1, sizeof *w);
        int r;

        if (!w)
                return -ENOMEM;
        w->handler = handler;
        w->userdata = userdata;
        w->kill_timeout_usec = KILL_TIMEOUT_USEC;
        w->event_fd = w->null_fd = -EBADF;
        for (size_t i = 0; i < JOBS_MAX; i++)
                w->jobs[i].dir_fd = -EBADF;
        for (size_t i = 0; i < THREADS_N; i++)
                w->threads[i].spare[0] = w->threads[i].spare[1] = -EBADF;
        (void) pthread_mutex_init(&w->lock, NULL);
        (void) pthread_condattr_init(&attr);
        (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&w->changed, &attr);
        (void) pthread_condattr_destroy(&attr);

        w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        w->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (w->event_fd < 0 || w->null_fd < 0) {
                r = -errno;
                goto fail;
        }
        for (size_t i = 0; i < JOBS_MAX; i++) {
                w->jobs[i].dir_fd = fcntl(w->null_fd, F_DUPFD_CLOEXEC, 3);
                if (w->jobs[i].dir_fd < 0) {
                        r = -errno;
                        goto fail;
                }
        }
        r = sd_event_add_io(event, &w->source, w->event_fd, EPOLLIN, on_event, w);
        if (r < 0)
                goto fail;
        (void) sd_event_source_set_description(w->source, "worker");
        r = threads_start(w);
        if (r < 0)
                goto fail;
        *ret = w;
        return 0;

fail:
        worker_free(w);
        return r;
}

/* Tells what runs to come to an end. Lock held. */
static void interrupt_all(Worker *w, bool kills) {
        for (size_t i = 0; i < THREADS_N; i++) {
                Thread *t = &w->threads[i];

                if (t->running && t->lane == LANE_KILL)
                        atomic_store(&t->running->given_back, true);
                if (!t->running || (t->lane == LANE_KILL && !kills))
                        continue;
                atomic_store(&t->running->cancelled, true);
                if (t->lane != LANE_LIFT)
                        (void) pthread_kill(t->id, SIGNAL_INTERRUPT);
        }
}

static bool sets_run(const Worker *w) {
        for (size_t i = 0; i < THREADS_N; i++)
                if (w->threads[i].running && w->threads[i].lane != LANE_KILL)
                        return true;
        return false;
}

/* Lock held. False when deadline_usec has passed. */
static bool wait_changed(Worker *w, uint64_t deadline_usec) {
        uint64_t now = now_monotonic_usec(), until = MIN(deadline_usec, now + INTERRUPT_EVERY_USEC);
        struct timespec ts = { .tv_sec = (time_t) (until / USEC_PER_SEC),
                               .tv_nsec = (long) (until % USEC_PER_SEC) * 1000 };

        if (now >= deadline_usec)
                return false;
        (void) pthread_cond_timedwait(&w->changed, &w->lock, &ts);
        return true;
}

Worker *worker_free(Worker *w) {
        if (!w)
                return NULL;
        (void) pthread_mutex_lock(&w->lock);
        w->stopping = true;
        (void) pthread_cond_broadcast(&w->changed);
        for (;;) {
                bool running = false;

                interrupt_all(w, true);
                for (size_t i = 0; i < THREADS_N; i++)
                        running = running || w->threads[i].running;
                if (!running)
                        break;
                (void) wait_changed(w, UINT64_MAX);
        }
        (void) pthread_mutex_unlock(&w->lock);
        for (size_t i = 0; i < THREADS_N; i++) {
                if (w->threads[i].started)
                        (void) pthread_join(w->threads[i].id, NULL);
                (void) safe_close(w->threads[i].spare[0]);
                (void) safe_close(w->threads[i].spare[1]);
        }
        sd_event_source_disable_unref(w->source);
        for (size_t i = 0; i < JOBS_MAX; i++)
                (void) safe_close(w->jobs[i].dir_fd);
        (void) safe_close(w->event_fd);
        (void) safe_close(w->null_fd);
        (void) pthread_cond_destroy(&w->changed);
        (void) pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
}

void worker_set_kill_timeout(Worker *w, uint64_t usec) {
        w->kill_timeout_usec = usec;
}

Job *worker_take(Worker *w, int cgroup_fd) {
        Job *job = NULL;

        (void) pthread_mutex_lock(&w->lock);
        for (size_t i = 0; i < JOBS_MAX && !job; i++)
                if (w->jobs[i].state == JOB_FREE)
                        job = &w->jobs[i];
        if (job) {
                int fd = job->dir_fd;

                if (dup3(cgroup_fd >= 0 ? cgroup_fd : w->null_fd, fd, O_CLOEXEC) < 0)
                        job = NULL;
                else {
                        job->action = (Action) {};
                        memset(job->io_accept, 0, sizeof job->io_accept);
                        job->n_accept = 0;
                        job->lease_serial = 0;
                        job->quiet = job->clear_all = false;
                        job->outcome = (Outcome) {};
                        job->overtaken = NULL;
                        atomic_store(&job->cancelled, false);
                        atomic_store(&job->given_back, false);
                        atomic_store(&job->finished, false);
                        job->state = JOB_TAKEN;
                }
        }
        (void) pthread_mutex_unlock(&w->lock);
        return job;
}

static void outcome_begin(Job *job) {
        job->outcome.action_id = job->action.id;
        job->outcome.cgroup_id = job->action.cgroup_id;
        job->outcome.type = job->action.type;
}

/* Lock held. */
static void job_refuse(Worker *w, Job *job, OutcomeResult result, int error) {
        job->outcome.result = result;
        job->outcome.error = error;
        job->outcome.started_usec = job->outcome.finished_usec = now_monotonic_usec();
        job_done(w, job);
}

void worker_submit(Worker *w, Job *job) {
        outcome_begin(job);
        (void) pthread_mutex_lock(&w->lock);
        if (job_lane(job) != LANE_PRESS)
                for (size_t i = 0; i < JOBS_MAX; i++) {
                        Job *other = &w->jobs[i];

                        /* It may look through many cgroups, and begins again when it is asked for again. */
                        if (job_lane(job) == LANE_LIFT && other->clear_all && other != job)
                                atomic_store(&other->cancelled, true);
                        if (other == job || other->action.cgroup_id != job->action.cgroup_id)
                                continue;
                        if (job_lane(job) == LANE_LIFT && job_lane(other) == LANE_KILL)
                                atomic_store(&other->given_back, true);
                        /* It may find the cap lifted by this kill, and be over before it is put back. */
                        if (job_lane(job) == LANE_KILL && job_lane(other) == LANE_LIFT &&
                            (other->state == JOB_QUEUED || other->state == JOB_RUNNING))
                                atomic_store(&job->given_back, true);
                        if (job_lane(other) != LANE_PRESS)
                                continue;
                        if (other->state == JOB_QUEUED)
                                job_refuse(w, other, OUTCOME_FAILED, -ECANCELED);
                        else if (other->state == JOB_RUNNING)
                                atomic_store(&other->cancelled, true);
                }
        /* A running set of this cgroup is interrupted at once, for the kernel still reclaims what is to be
         * given back. */
        if (job_lane(job) != LANE_PRESS)
                for (size_t i = 0; i < THREADS_N; i++) {
                        Thread *t = &w->threads[i];

                        if (t->lane == LANE_PRESS && t->running &&
                            t->running->action.cgroup_id == job->action.cgroup_id)
                                (void) pthread_kill(t->id, SIGNAL_INTERRUPT);
                }
        job->order = ++w->order;
        if (w->stopping)
                job_refuse(w, job, OUTCOME_FAILED, -ESHUTDOWN);
        else {
                job->state = JOB_QUEUED;
                (void) pthread_cond_broadcast(&w->changed);
        }
        (void) pthread_mutex_unlock(&w->lock);
}

void worker_refuse(Worker *w, Job *job, OutcomeResult result, int error) {
        outcome_begin(job);
        (void) pthread_mutex_lock(&w->lock);
        job_refuse(w, job, result, error);
        (void) pthread_mutex_unlock(&w->lock);
}

bool worker_quiesce(Worker *w, uint64_t deadline_usec) {
        bool quiet;

        (void) pthread_mutex_lock(&w->lock);
        w->stopping = true;
        (void) pthread_cond_broadcast(&w->changed);
        for (size_t i = 0; i < JOBS_MAX; i++)
                if (w->jobs[i].state == JOB_QUEUED)
                        job_refuse(w, &w->jobs[i], OUTCOME_FAILED, -ECANCELED);
        do
                interrupt_all(w, false);
        while (sets_run(w) && wait_changed(w, deadline_usec));
        quiet = !sets_run(w);
        (void) pthread_mutex_unlock(&w->lock);
        drain(w);
        return quiet;
}
