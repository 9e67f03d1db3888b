/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Place: brings services into the slices of their domains, through systemd alone.
 *
 * Invariant: an operation is a chain of asynchronous calls; each of its ends goes through op_finish(), which
 * calls the handler once. A unit is restarted only after systemd, asked again, says that it would then be in
 * its domain's slice: a restart that moves nothing is only harm.
 *
 * A running unit cannot change its slice (systemd.resource-control(5)), hence the restart. What puts it
 * there is the generator's drop-in; releasing masks that by a link of the same name in /run/systemd/system,
 * which goes before the generator's directory. */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/units.h"
#include "place/placer.h"
#include "sys/small-file.h"
#include "sys/unit.h"

/* The generator's name for it. */
#define DROPIN "50-cgd-slice.conf"
#define LOOK_EVERY_USEC (100 * USEC_PER_MSEC)
/* A service may stop slowly; systemd's own default is 90 s, and whoever asked wants an answer before. */
#define RESTART_WAIT_USEC (30 * USEC_PER_SEC)
#define MOVE_WAIT_USEC (5 * USEC_PER_SEC)

static uint64_t now_usec(void) {
        struct timespec ts = {};

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

/* Operations */

int op_new(Placer *p, PlaceHandler handler, void *userdata, Op **ret) {
        Op *op = calloc(1, sizeof *op);

        if (!op)
                return -ENOMEM;
        op->placer = p;
        op->handler = handler;
        op->userdata = userdata;
        op->next = p->ops;
        p->ops = op;
        *ret = op;
        return 0;
}

static void op_free(Op *op) {
        for (Op **i = &op->placer->ops; *i; i = &(*i)->next)
                if (*i == op) {
                        *i = op->next;
                        break;
                }
        sd_bus_slot_unref(op->slot);
        sd_event_source_disable_unref(op->timer);
        if (op->done)
                op->done(op);
        free(op);
}

void op_finish(Op *op, int r, const char *message) {
        _cleanup_free_ char *text = message ? strdup(message) : NULL;
        PlaceHandler handler = op->handler;
        PlaceMovesHandler moves_handler = op->moves_handler;
        void *userdata = op->userdata;

        op_free(op);
        if (moves_handler)
                moves_handler(r, text, NULL, 0, userdata);
        else if (handler)
                handler(r, text, userdata);
}

void op_finishf(Op *op, int r, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        op_finish(op, r, text);
}

void op_on_reply(int r, const char *message, void *userdata) {
        Op *op = userdata;
        sd_bus_slot *slot = TAKE_PTR(op->slot);

        op->step(op, r, message);
        sd_bus_slot_unref(slot);
}

static int on_op_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Op *op = userdata;

        (void) s;
        (void) usec;
        op->timer = sd_event_source_disable_unref(op->timer);
        op->step(op, 0, NULL);
        return 0;
}

int op_wait(Op *op, uint64_t usec) {
        return sd_event_add_time_relative(op->placer->event, &op->timer, CLOCK_MONOTONIC, usec, 0,
                                          on_op_timer, op);
}

static void step_fail(Op *op, int r, const char *message) {
        (void) message;
        r = *(int *) op->data;
        op_finish(op, r,
                  r == -ENOTCONN ? "the system bus is not connected; is dbus running?" : strerror(-r));
}

static void free_data(Op *op) {
        free(op->data);
}

void op_started(Op *op, int r) {
        int *data;

        if (r >= 0)
                return;
        if (op->done)
                op->done(op);
        data = malloc(sizeof *data);
        op->data = data;
        op->given_up = NULL;
        op->done = free_data;
        op->step = step_fail;
        if (data)
                *data = r;
        if (!data || op_wait(op, 0) < 0)
                op_finish(op, -ENOMEM, NULL);
}

static void end_ops(Placer *p, bool all) {
        for (;;) {
                Op *op = p->ops;

                while (op && !all && !op->of_policy)
                        op = op->next;
                if (!op)
                        return;
                if (op->given_up)
                        op->given_up(op);
                op_finish(op, -ECANCELED, "given up: cgd has another policy or connection now, or ends");
        }
}

/* The placer */

int placer_new(sd_event *event, const char *proc, const char *hierarchy, const char *run, Placer **ret) {
        Placer *p = calloc(1, sizeof *p);

        if (!p)
                return -ENOMEM;
        p->event = sd_event_ref(event);
        p->proc = strdup(proc);
        p->run = strdup(run);
        p->hierarchy_fd = open(hierarchy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (!p->proc || !p->run || p->hierarchy_fd < 0) {
                int r = p->proc && p->run ? -errno : -ENOMEM;

                placer_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

Placer *placer_free(Placer *p) {
        if (!p)
                return NULL;
        end_ops(p, true);
        scan_free(p->scan);
        strv_free(p->applied);
        sd_bus_unref(p->bus);
        sd_event_unref(p->event);
        safe_close(p->hierarchy_fd);
        free(p->proc);
        free(p->run);
        free(p);
        return NULL;
}

void placer_set_bus(Placer *p, sd_bus *bus) {
        if (bus == p->bus)
                return;
        end_ops(p, true);
        sd_bus_unref(p->bus);
        p->bus = sd_bus_ref(bus);
}

int placer_set_policy(Placer *p, const Policy *policy) {
        end_ops(p, false);
        p->policy = policy;
        return scan_set_policy(p);
}

const char *placer_hangs(const Placer *p) {
        return scan_hangs(p->scan);
}

/* Is a cgroup in the domain of that slice, and not in another one within it? */
static bool is_placed(const Op *op, const char *slice, const char *cgroup) {
        const Domain *d = policy_domain_of(op->placer->policy, cgroup);

        return d && streq(d->slice, slice);
}

/* place_would_move() */

typedef struct Moves {
        char **units;                   /* those that the policy places */
        size_t at;
        char from[UNIT_NAME_SIZE];      /* where the one at .at runs */
        char **text;                    /* unit, from, to, domain, one after the other */
} Moves;

static void moves_done(Op *op) {
        Moves *m = op->data;

        strv_free(m->units);
        strv_free(m->text);
        free(m);
}

static void moves_next(Op *op) {
        Moves *m = op->data;
        _cleanup_free_ PlaceMove *moves = NULL;
        size_t n = strv_length(m->text) / 4;
        PlaceMovesHandler handler = op->moves_handler;
        char **text;

        if (m->units && m->units[m->at]) {
                op_started(op, unit_get_string(op->placer->bus, m->units[m->at], NULL, "ControlGroup",
                                               op_on_reply, op, &op->slot));
                return;
        }
        moves = calloc(n + 1, sizeof *moves);
        if (!moves) {
                op_finish(op, -ENOMEM, NULL);
                return;
        }
        text = TAKE_PTR(m->text);
        for (size_t i = 0; i < n; i++)
                moves[i] = (PlaceMove) { text[4 * i], text[4 * i + 1], text[4 * i + 2], text[4 * i + 3] };
        {
                void *userdata = op->userdata;

                op_free(op);
                handler(0, NULL, moves, n, userdata);
        }
        strv_free(text);
}

static void moves_step(Op *op, int r, const char *cgroup);

static void moves_slice(Op *op, int r, const char *slice) {
        Moves *m = op->data;
        const char *unit = m->units[m->at++];
        const Domain *d = policy_unit_domain(op->placer->policy, unit);
        _cleanup_free_ char *cgroup = NULL;

        if (unit_is_silence(r)) {
                op_finish(op, r, slice);
                return;
        }
        /* Else it was released, or somebody else's drop-in puts it elsewhere. */
        if (r >= 0 && slice && d && slice_to_cgroup(slice, &cgroup) >= 0 && is_placed(op, d->slice, cgroup) &&
            (strv_extend(&m->text, unit) < 0 || strv_extend(&m->text, m->from) < 0 ||
             strv_extend(&m->text, d->slice) < 0 || strv_extend(&m->text, d->name) < 0)) {
                op_finish(op, -ENOMEM, NULL);
                return;
        }
        op->step = moves_step;
        moves_next(op);
}

static void moves_step(Op *op, int r, const char *cgroup) {
        Moves *m = op->data;
        const char *unit = m->units[m->at];
        const Domain *d = policy_unit_domain(op->placer->policy, unit);

        if (unit_is_silence(r)) {
                op_finish(op, r, cgroup);
                return;
        }
        /* A unit that went away meanwhile will be placed when it comes back. */
        if (r >= 0 && cgroup && *cgroup && d && !is_placed(op, d->slice, cgroup)) {
                slice_of_cgroup(cgroup, m->from);
                op->step = moves_slice;
                op_started(op, unit_get_string(op->placer->bus, unit, NULL, "Slice", op_on_reply, op, &op->slot));
                return;
        }
        m->at++;
        moves_next(op);
}

static void on_units(int r, const char *message, char *const *names, void *userdata) {
        Op *op = userdata;
        Moves *m = op->data;
        sd_bus_slot *slot = TAKE_PTR(op->slot);

        for (; r >= 0 && *names; names++)
                if (policy_unit_domain(op->placer->policy, *names))
                        r = strv_extend(&m->units, *names);
        if (r < 0)
                op_finish(op, r, message);
        else
                moves_next(op);
        sd_bus_slot_unref(slot);
}

int place_would_move(Placer *p, PlaceMovesHandler handler, void *userdata) {
        Op *op;
        Moves *m;
        int r;

        if (!p->bus || !p->policy)
                return -ENOTCONN;
        m = calloc(1, sizeof *m);
        r = m ? op_new(p, NULL, userdata, &op) : -ENOMEM;
        if (r < 0) {
                free(m);
                return r;
        }
        op->data = m;
        op->done = moves_done;
        op->step = moves_step;
        op->of_policy = true;
        op->moves_handler = handler;
        r = unit_list_running(p->bus, (char *[]) { (char *) "*.service", NULL }, on_units, op, &op->slot);
        if (r < 0) {
                op->moves_handler = NULL;
                op_free(op);
        }
        return r;
}

/* place_unit() and place_release() */

typedef struct Restart {
        char unit[UNIT_NAME_SIZE];
        char slice[UNIT_NAME_SIZE];     /* of its domain */
        char elsewhere[UNIT_NAME_SIZE]; /* the slice it runs in, where that is none of its domain; else "" */
        bool no_unit, release, running; /* no_unit: what was given can be no unit's name */
        uint64_t deadline_usec;
} Restart;

static int mask_path(const Op *op, char *buf, size_t size, size_t *ret_dir) {
        const Restart *u = op->data;
        int n = snprintf(buf, size, "%s/system/%s.d/" DROPIN, op->placer->run, u->unit);

        if (n < 0 || (size_t) n >= size)
                return -ENAMETOOLONG;
        *ret_dir = (size_t) n - strlen("/" DROPIN);
        return 0;
}

/* A link to /dev/null in the place of the generator's drop-in. */
static int mask_add(const Op *op) {
        char path[512];
        size_t dir;
        int r = mask_path(op, path, sizeof path, &dir);

        if (r < 0)
                return r;
        path[dir] = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return -errno;
        path[dir] = '/';
        return symlink("/dev/null", path) < 0 && errno != EEXIST ? -errno : 0;
}

static int mask_remove(const Op *op) {
        char path[512];
        size_t dir;
        int r = mask_path(op, path, sizeof path, &dir);

        if (r < 0)
                return r;
        if (unlink(path) < 0)
                return errno == ENOENT ? 0 : -errno;
        path[dir] = 0;
        (void) rmdir(path);
        return 0;
}

static void restart_look(Op *op, int r, const char *message);

static void restart_watch(Op *op, int r, const char *cgroup) {
        Restart *u = op->data;
        char slice[UNIT_NAME_SIZE];

        if (r >= 0 && cgroup && *cgroup && is_placed(op, u->slice, cgroup) == !u->release) {
                slice_of_cgroup(cgroup, slice);
                op_finishf(op, 0, "%s: restarted, now in %s", u->unit, slice);
                return;
        }
        if (now_usec() >= u->deadline_usec) {
                op_finishf(op, -ETIMEDOUT,
                           "%s: restarted, but not seen in %s within %d s; see 'systemctl status %s'",
                           u->unit, u->release ? "another slice" : u->slice,
                           (int) (RESTART_WAIT_USEC / USEC_PER_SEC), u->unit);
                return;
        }
        op->step = restart_look;
        if (op_wait(op, LOOK_EVERY_USEC) < 0)
                op_finish(op, -ENOMEM, NULL);
}

static void restart_look(Op *op, int r, const char *message) {
        Restart *u = op->data;

        if (r < 0) {
                op_finish(op, r, message);
                return;
        }
        op->step = restart_watch;
        op_started(op, unit_get_string(op->placer->bus, u->unit, NULL, "ControlGroup", op_on_reply, op,
                                       &op->slot));
}

static void restart_go(Op *op, int r, const char *slice) {
        Restart *u = op->data;
        _cleanup_free_ char *cgroup = NULL;

        if (r < 0) {
                op_finish(op, r, slice);
                return;
        }
        if (!slice || !*slice || slice_to_cgroup(slice, &cgroup) < 0) {
                op_finishf(op, -ENOENT, "%s: systemd knows no slice for it; is the name right?", u->unit);
                return;
        }
        if (is_placed(op, u->slice, cgroup) == u->release) {
                op_finishf(
                        op, -EBADMSG,
                        u->release
                                ? "%s: its own unit file puts it into %s; not restarted"
                                : "%s: systemd would start it in %s still, for the generator's drop-in is "
                                  "missing or another one overrides it (see 'systemctl cat'); not restarted",
                        u->unit, slice);
                return;
        }
        if (!u->running) {
                op_finishf(op, 0, "%s: not running; it will start in %s", u->unit, slice);
                return;
        }
        if (u->release && *u->elsewhere) {
                op_finishf(op, 0, "%s: stays in %s; not restarted", u->unit, u->elsewhere);
                return;
        }
        u->deadline_usec = now_usec() + RESTART_WAIT_USEC;
        op->step = restart_look;
        op_started(op, unit_restart(op->placer->bus, u->unit, op_on_reply, op, &op->slot));
}

static void restart_reloaded(Op *op, int r, const char *message) {
        Restart *u = op->data;

        if (r < 0) {
                op_finish(op, r, message);
                return;
        }
        op->step = restart_go;
        op_started(op, unit_get_string(op->placer->bus, u->unit, NULL, "Slice", op_on_reply, op, &op->slot));
}

static void restart_begin(Op *op, int r, const char *cgroup) {
        Restart *u = op->data;
        char slice[UNIT_NAME_SIZE];

        if (r < 0) {
                op_finish(op, r, cgroup);
                return;
        }
        u->running = cgroup && *cgroup;
        if (u->running && !is_placed(op, u->slice, cgroup))
                slice_of_cgroup(cgroup, u->elsewhere);
        if (u->running && is_placed(op, u->slice, cgroup) && !u->release) {
                slice_of_cgroup(cgroup, slice);
                op_finishf(op, 0, "%s: is in %s already", u->unit, slice);
                return;
        }
        r = u->release ? mask_add(op) : mask_remove(op);
        if (r < 0) {
                op_finishf(op, r, "%s: cannot %s the generator's drop-in in %s/system: %s", u->unit,
                           u->release ? "mask" : "unmask", op->placer->run, strerror(-r));
                return;
        }
        op->step = restart_reloaded;
        op_started(op, unit_reload_manager(op->placer->bus, op_on_reply, op, &op->slot));
}

static void restart_refused(Op *op, int r, const char *message) {
        Restart *u = op->data;

        (void) r;
        (void) message;
        if (u->no_unit)
                op_finishf(op, -EINVAL, "%s: not the name of a unit", u->unit);
        else if (unit_is_protected(u->unit))
                op_finishf(op, -EPERM, "%s: never placed, whatever a policy says", u->unit);
        else
                op_finishf(op, -ENOENT, "%s: in no domain: no policy's [Match] Unit= names it", u->unit);
}

static int restart_new(Placer *p, const char *unit, bool release, PlaceHandler handler, void *userdata) {
        const Domain *d;
        Restart *u;
        Op *op;
        int r;

        if (!p->bus || !p->policy)
                return -ENOTCONN;
        u = calloc(1, sizeof *u);
        if (!u)
                return -ENOMEM;
        u->no_unit = strlen(unit) >= UNIT_NAME_SIZE || strchr(unit, '/');
        d = u->no_unit ? NULL : policy_unit_domain(p->policy, unit);
        if (d)
                (void) snprintf(u->slice, sizeof u->slice, "%s", d->slice);
        u->release = release;
        (void) snprintf(u->unit, sizeof u->unit, "%s", unit);
        r = op_new(p, handler, userdata, &op);
        if (r < 0) {
                free(u);
                return r;
        }
        op->data = u;
        op->done = free_data;
        if (!d || unit_is_protected(unit)) {
                op->step = restart_refused;
                r = op_wait(op, 0);
        } else {
                op->step = restart_begin;
                r = unit_get_string(p->bus, unit, NULL, "ControlGroup", op_on_reply, op, &op->slot);
        }
        if (r < 0)
                op_free(op);
        return r;
}

int place_unit(Placer *p, const char *unit, PlaceHandler handler, void *userdata) {
        return restart_new(p, unit, false, handler, userdata);
}

int place_release(Placer *p, const char *unit, PlaceHandler handler, void *userdata) {
        return restart_new(p, unit, true, handler, userdata);
}

/* place_run() */

typedef struct Run {
        char unit[UNIT_NAME_SIZE];
        uint32_t pid;                   /* 0: a service */
        uint64_t deadline_usec;
} Run;

/* StartTransientUnit answers before the process is moved; its children are born where it is. */
static void run_wait(Op *op, int r, const char *message) {
        Run *u = op->data;
        char path[128], text[4200];

        if (r < 0) {
                op_finish(op, r, message);
                return;
        }
        if (u->pid == 0) {
                op_finish(op, 0, u->unit);
                return;
        }
        (void) snprintf(path, sizeof path, "%s/%" PRIu32 "/cgroup", op->placer->proc, u->pid);
        if (file_read_at(AT_FDCWD, path, text, sizeof text) < 0) {
                op_finishf(op, -ESRCH, "%s: process %" PRIu32 " ended before it was moved", u->unit, u->pid);
                return;
        }
        if (strstr(text, u->unit)) {
                op_finish(op, 0, u->unit);
                return;
        }
        if (now_usec() >= u->deadline_usec) {
                op_finishf(op, -ETIMEDOUT,
                           "%s: systemd has not moved process %" PRIu32 " into it within %d s", u->unit,
                           u->pid, (int) (MOVE_WAIT_USEC / USEC_PER_SEC));
                return;
        }
        if (op_wait(op, 10 * USEC_PER_MSEC) < 0)
                op_finish(op, -ENOMEM, NULL);
}

int place_run(Placer *p, const PlaceRun *run, PlaceHandler handler, void *userdata) {
        static unsigned counter;
        const Domain *d;
        _cleanup_str_ Str description = {};
        _cleanup_free_ char *text = NULL;
        UnitTransient t;
        Run *u;
        Op *op;
        int r;

        if (!p->bus || !p->policy)
                return -ENOTCONN;
        d = policy_find(p->policy, run->domain);
        if (!d)
                return -ENOENT;
        if (run->n_pids == 0 && (!run->argv || !run->argv[0] || run->argv[0][0] != '/'))
                return -EINVAL;
        if (run->description)
                str_append_escaped(&description, run->description);
        else {
                str_append(&description, "[cgctl run]");
                for (char *const *a = run->argv; a && *a && description.length < 200; a++) {
                        str_append(&description, " ");
                        str_append_escaped(&description, *a);
                }
        }
        r = str_finish(&description, &text);
        if (r < 0)
                return r;
        u = calloc(1, sizeof *u);
        if (!u)
                return -ENOMEM;
        if (run->n_pids > 0)
                (void) snprintf(u->unit, sizeof u->unit, "cgd-run-%" PRIu32 "-%u.scope", run->pids[0],
                                ++counter);
        else
                (void) snprintf(u->unit, sizeof u->unit, "cgd-run-%" PRIx64 "-%u.service", now_usec(),
                                ++counter);
        u->pid = run->n_pids > 0 ? run->pids[0] : 0;
        u->deadline_usec = now_usec() + MOVE_WAIT_USEC;
        t = (UnitTransient) {
                .name = u->unit,
                .description = text,
                .slice = d->slice,
                .pids = run->pids,
                .n_pids = run->n_pids,
                .argv = run->argv,
                .environment = run->environment,
                .directory = run->directory,
                .uid = run->uid,
                .gid = run->gid,
        };
        r = op_new(p, handler, userdata, &op);
        if (r < 0) {
                free(u);
                return r;
        }
        op->data = u;
        op->done = free_data;
        op->step = run_wait;
        r = unit_start_transient(p->bus, &t, op_on_reply, op, &op->slot);
        if (r < 0)
                op_free(op);
        return r;
}
