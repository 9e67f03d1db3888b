/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Triggers: the kernel wakes us when a domain's tasks stall on memory or io.
 *
 * Invariant: a trigger's fd is closed on a thread of its own, never on the loop: the close waits for an RCU
 * grace period, 3 ms and more, and that is when the loop is wanted most. EPOLLERR comes first: a removed
 * cgroup's trigger reports EPOLLPRI for ever too, which would turn the loop into a busy one and every turn
 * into a false alarm.
 *
 * Left out on purpose: deciding. A trigger queues an event; whether the alarm holds is the engine's
 * matter, which looks at the totals of the samples. */

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/trigger.h"
#include "sys/cgroup.h"
#include "sys/psi.h"

/* Somebody on this host waited 10 ms of 500 for memory: look, before a promise is broken. The shortest
 * window the kernel takes, and a threshold that a single reclaim batch does not reach. */
#define STIR_THRESHOLD_USEC (10 * USEC_PER_MSEC)
#define STIR_WINDOW_USEC (500 * USEC_PER_MSEC)
/* What was touched of it stays resident under mlockall(), until the thread ends. */
#define CLOSER_STACK_BYTES MAX((size_t) PTHREAD_STACK_MIN, (size_t) 32 * 1024)

typedef struct Closer {
        size_t n;
        int fds[];
} Closer;

static void *closer_run(void *p) {
        _cleanup_free_ Closer *c = p;

        for (size_t i = 0; i < c->n; i++)
                safe_close(c->fds[i]);
        return NULL;
}

/* Takes the fds. A thread for each batch, as they are rare: a policy was loaded, a slice has gone. */
static void close_aside(const int *fds, size_t n) {
        pthread_attr_t attr;
        pthread_t thread;
        Closer *c;
        bool started = false;

        if (n == 0)
                return;
        c = malloc(sizeof *c + n * sizeof *fds);
        if (c && pthread_attr_init(&attr) == 0) {
                c->n = n;
                memcpy(c->fds, fds, n * sizeof *fds);
                (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
                (void) pthread_attr_setstacksize(&attr, CLOSER_STACK_BYTES);
                started = pthread_create(&thread, &attr, closer_run, c) == 0;
                (void) pthread_attr_destroy(&attr);
        }
        if (started)
                return;
        /* Late is better than never. */
        free(c);
        for (size_t i = 0; i < n; i++)
                safe_close(fds[i]);
}

/* Takes it off the loop; the fd, or -EBADF, is the caller's to close aside. */
static int trigger_disarm(Trigger *t) {
        t->source = sd_event_source_disable_unref(t->source);
        t->appears = sd_event_source_disable_unref(t->appears);
        return TAKE_FD(t->fd);
}

static void triggers_free_list(Trigger **list, size_t n) {
        int *fds = n > 0 ? malloc(n * sizeof *fds) : NULL;
        size_t n_fds = 0;

        for (size_t i = 0; i < n; i++) {
                int fd = trigger_disarm(list[i]);

                if (fd >= 0 && fds)
                        fds[n_fds++] = fd;
                else
                        safe_close(fd);
                free(list[i]->cgroup);
                free(list[i]);
        }
        if (fds)
                close_aside(fds, n_fds);
        free(fds);
        free(list);
}

static void trigger_arm(Trigger *t);

static int on_made(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Trigger *t = userdata;

        (void) source;
        (void) event;
        if (t->state == TRIGGER_MISSING)
                trigger_arm(t);
        return 0;
}

/* The nearest directory above the cgroup that is there, from the hierarchy's root on, and its id. False: not known. */
static bool nearest_above(const Trigger *t, char path[static PATH_MAX], uint64_t *ret_id) {
        if (strlen(t->cgroup) >= PATH_MAX)
                return false;
        strcpy(path, t->cgroup);
        for (char *slash; (slash = strrchr(path, '/')); ) {
                int fd, r;

                /* The root is above all. */
                slash[slash == path] = '\0';
                fd = cgroup_open(t->owner->root_fd, path);
                if (fd < 0 && slash != path)
                        continue;
                r = fd < 0 ? fd : cgroup_id(fd, ret_id);
                safe_close(fd);
                return r >= 0;
        }
        return false;
}

/* Wakes us when something is made in the nearest directory above the cgroup that is there: a slice is made when the first
 * service in it starts, and that one must not have to wait for a heartbeat to be looked after. Where it cannot be had, the
 * heartbeat it is. Source: inotify(7); the kernel's own removals are not told, and need not be. */
static void trigger_await(Trigger *t) {
        char path[PATH_MAX], watched[PATH_MAX + 32];
        uint64_t id = 0;

        /* A watch that is still on it stays: to end the last one makes us sleep until the kernel has done so. */
        if (nearest_above(t, path, &id) && t->appears && id == t->appears_id)
                return;
        t->appears = sd_event_source_disable_unref(t->appears);
        t->appears_id = id;
        if (id == 0)
                return;
        (void) snprintf(watched, sizeof(watched), "/proc/self/fd/%d%s", t->owner->root_fd, path);
        if (sd_event_add_inotify(t->owner->event, &t->appears, watched, IN_CREATE | IN_ONLYDIR, on_made, t) >= 0)
                (void) sd_event_source_set_description(t->appears, t->cgroup);
}

static int on_pressure(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Trigger *t = userdata;
        Event e = { .type = t->type, .domain = t->domain, .alarm = t->alarm, .condition = t->condition };

        (void) source;
        if (revents & (EPOLLERR | EPOLLHUP)) {
                (void) trigger_disarm(t);
                close_aside(&fd, 1);
                trigger_arm(t);
                return 0;
        }
        if (!(revents & EPOLLPRI))
                return 0;
        (void) sd_event_now(t->owner->event, CLOCK_MONOTONIC, &e.usec);
        t->owner->handler(&e, t->owner->userdata);
        return 0;
}

static void trigger_arm(Trigger *t) {
        Triggers *owner = t->owner;
        _cleanup_close_ int dir_fd = -EBADF;
        const char *file;
        int r;

        t->state = TRIGGER_MISSING;
        if (t->cgroup) {
                dir_fd = cgroup_open(owner->root_fd, t->cgroup);
                if (dir_fd < 0) {
                        trigger_await(t);
                        /* It may have been made just before. */
                        dir_fd = cgroup_open(owner->root_fd, t->cgroup);
                }
                if (dir_fd < 0) {
                        dir_fd = -EBADF;
                        return;
                }
                t->appears = sd_event_source_disable_unref(t->appears);
        }
        if (t->io)
                file = t->cgroup ? "io.pressure" : owner->host_io_file;
        else
                file = t->cgroup ? "memory.pressure" : owner->host_file;
        r = psi_trigger_open(t->cgroup ? dir_fd : AT_FDCWD, file, t->full, t->threshold_usec, t->window_usec, &t->fd);
        switch (r) {
        case PSI_TRIGGER_FULL:
                t->state = TRIGGER_ARMED;
                break;
        case PSI_TRIGGER_COARSE:
                t->state = TRIGGER_COARSE;
                break;
        case PSI_TRIGGER_OFF:
                t->state = TRIGGER_OFF;
                return;
        case PSI_TRIGGER_REFUSED:
        case -EINVAL:
                t->state = TRIGGER_REFUSED;
                return;
        default:
                return; /* gone, or short of fds or memory: later */
        }
        r = sd_event_add_io(owner->event, &t->source, t->fd, EPOLLPRI, on_pressure, t);
        if (r < 0) {
                int fd = TAKE_FD(t->fd);

                /* A plain file (a fake tree) cannot be polled and never could be. */
                t->state = r == -EPERM && !t->cgroup ? TRIGGER_OFF : TRIGGER_REFUSED;
                close_aside(&fd, 1);
                return;
        }
        (void) sd_event_source_set_description(t->source, t->cgroup ?: "host pressure");
}

static Trigger *trigger_add(Triggers *owner, Trigger ***list, size_t *n, const Trigger *model, const char *cgroup) {
        Trigger **l = realloc(*list, (*n + 1) * sizeof *l);
        Trigger *t;

        if (!l)
                return NULL;
        *list = l;
        t = malloc(sizeof *t);
        if (!t)
                return NULL;
        *t = *model;
        t->owner = owner;
        t->fd = -EBADF;
        t->source = NULL;
        t->appears = NULL;
        t->appears_id = 0;
        t->cgroup = NULL;
        if (cgroup) {
                t->cgroup = strdup(cgroup);
                if (!t->cgroup) {
                        free(t);
                        return NULL;
                }
        }
        l[(*n)++] = t;
        return t;
}

int triggers_init(Triggers *t, sd_event *event, int root_fd, const char *proc, SensorHandler handler, void *userdata) {
        *t = (Triggers) { .root_fd = root_fd, .handler = handler, .userdata = userdata };
        if (asprintf(&t->host_file, "%s/pressure/memory", proc) < 0) {
                t->host_file = NULL;
                return -ENOMEM;
        }
        if (asprintf(&t->host_io_file, "%s/pressure/io", proc) < 0) {
                t->host_io_file = NULL;
                free(t->host_file);
                return -ENOMEM;
        }
        t->event = sd_event_ref(event);
        return 0;
}

void triggers_done(Triggers *t) {
        triggers_free_list(t->list, t->n);
        free(t->host_file);
        free(t->host_io_file);
        t->event = sd_event_unref(t->event);
        *t = (Triggers) {};
}

int triggers_set(Triggers *t, const Policy *policy) {
        Trigger **list = NULL;
        size_t n = 0;
        Trigger stir = {
                .type = EVENT_STIR,
                .threshold_usec = STIR_THRESHOLD_USEC,
                .window_usec = STIR_WINDOW_USEC,
        };

        if (!trigger_add(t, &list, &n, &stir, NULL))
                goto fail;
        for (size_t d = 0; policy && d < policy->n_domains; d++) {
                const Domain *domain = &policy->domains[d];

                for (size_t a = 0; a < domain->n_alarms; a++)
                        for (size_t c = 0; c < domain->alarms[a].n_conditions; c++) {
                                const Condition *condition = &domain->alarms[a].conditions[c];
                                Trigger model = {
                                        .type = EVENT_PRESSURE,
                                        .domain = (unsigned) d,
                                        .alarm = (unsigned) a,
                                        .condition = (unsigned) c,
                                        .full = condition->full,
                                        .io = condition->type == CONDITION_IO_PRESSURE,
                                        .window_usec = condition->window_usec,
                                };

                                if (!condition->active)
                                        continue;
                                /* Whose requests take longer than that stalls as long, or need not wait for them. */
                                if (condition->type == CONDITION_IO_LATENCY) {
                                        model.type = EVENT_IO_STIR;
                                        model.io = true;
                                        model.threshold_usec = MIN(condition->threshold_usec, condition->window_usec);
                                        if (!trigger_add(t, &list, &n, &model,
                                                         streq(domain->cgroup, "/") ? NULL : domain->cgroup))
                                                goto fail;
                                        continue;
                                }
                                if (condition->type != CONDITION_MEMORY_PRESSURE && !model.io)
                                        continue;
                                /* "above 0 %" is any stall at all. */
                                model.threshold_usec = MAX(mul_div_u64(condition->window_usec,
                                                                       condition->threshold_permyriad, PERMYRIAD),
                                                           UINT64_C(1));
                                if (!trigger_add(t, &list, &n, &model,
                                                 streq(domain->cgroup, "/") ? NULL : domain->cgroup))
                                        goto fail;
                                /* Who works on a disk is seen in two looks: begin to look at half of it. */
                                model.type = EVENT_IO_STIR;
                                model.threshold_usec = MAX(model.threshold_usec / 2, UINT64_C(1));
                                if (model.io && !trigger_add(t, &list, &n, &model,
                                                             streq(domain->cgroup, "/") ? NULL : domain->cgroup))
                                        goto fail;
                        }
        }

        triggers_free_list(t->list, t->n);
        t->list = list;
        t->n = n;
        for (size_t i = 0; i < n; i++)
                trigger_arm(list[i]);
        return 0;

fail:
        triggers_free_list(list, n);
        return -ENOMEM;
}

/* What was off may have been cgroup.pressure=0, which is anybody's to turn on again. */
static bool is_missing(const Trigger *t) {
        return t->state == TRIGGER_MISSING || (t->state == TRIGGER_OFF && t->cgroup);
}

void triggers_retry(Triggers *t) {
        for (size_t i = 0; i < t->n; i++)
                if (is_missing(t->list[i]))
                        trigger_arm(t->list[i]);
}

bool triggers_are_missing(const Triggers *t) {
        for (size_t i = 0; i < t->n; i++)
                if (is_missing(t->list[i]))
                        return true;
        return false;
}

PsiState triggers_state(const Triggers *t) {
        PsiState worst = PSI_FULL;

        for (size_t i = 0; i < t->n; i++) {
                const Trigger *x = t->list[i];

                switch (x->state) {
                case TRIGGER_ARMED:
                case TRIGGER_MISSING:
                        break;
                case TRIGGER_COARSE:
                        worst = MAX(worst, PSI_COARSE);
                        break;
                case TRIGGER_REFUSED:
                        worst = MAX(worst, PSI_POLLED);
                        break;
                case TRIGGER_OFF:
                        /* cgroup.pressure=0 turns it off for one slice; the host's tells of the kernel. */
                        worst = MAX(worst, x->type == EVENT_STIR ? PSI_OFF : PSI_POLLED);
                        break;
                }
        }
        return worst;
}
