/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Place: brings services and processes into the slices of their domains, through systemd alone.
 *
 * Invariant: nothing here blocks; every call that returned 0 calls its handler exactly once, later, on the
 * loop (placer_free() and a new policy end what is pending with -ECANCELED). A call that returned a negative
 * errno never calls it: -ENOTCONN where the bus is away, -ENOMEM. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/macro.h"
#include "model/exec.h"
#include "policy/policy.h"

typedef struct Placer Placer;

/* r: 0, or a negative errno; message: one sentence for the user on failure (object, attempt, cause), and on
 * success what the call says below, or NULL. Borrowed. */
typedef void (*PlaceHandler)(int r, const char *message, void *userdata);

/* proc: "/proc"; hierarchy: "/sys/fs/cgroup"; run: "/run/systemd" (injected by tests). */
int placer_new(sd_event *event, const char *proc, const char *hierarchy, const char *run, Placer **ret);
Placer *placer_free(Placer *p);
DEFINE_CLEANUP(Placer *, placer_free)

/* The system bus, or NULL while it is away. A reference is taken. */
void placer_set_bus(Placer *p, sd_bus *bus);

/* The policy in force, borrowed until the next call or placer_free(): set the new one before the old is
 * freed. Applies nothing by itself. */
int placer_set_policy(Placer *p, const Policy *policy);

/* The first path of an Executable= whose file system did not answer when the policy was set: it and those after it stand for
 * themselves, whether or not they are links. NULL where all did. Borrowed until the next policy. */
const char *placer_hangs(const Placer *p);

/* At start and after a reload: SetUnitProperties (runtime) for the [Resources] of every domain, and defaults
 * for what the policy before set and this one does not. Failures do not stop the rest; message has a line
 * each. */
int place_apply_resources(Placer *p, PlaceHandler handler, void *userdata);

/* A running unit that its domain's [Match] Unit= names and that is in another slice. */
typedef struct PlaceMove {
        const char *unit;
        const char *from;       /* slice it is in */
        const char *to;         /* slice of its domain */
        const char *domain;
} PlaceMove;
typedef void (*PlaceMovesHandler)(int r, const char *message, const PlaceMove *moves, size_t n_moves,
                                  void *userdata);

/* Which running units would move at their next start. The moves are borrowed for the handler's time. */
int place_would_move(Placer *p, PlaceMovesHandler handler, void *userdata);

/* Restarts a running unit into its domain's slice (daemon-reload first, so that the generator's drop-in is
 * there). The handler's r is -ENOENT: in no domain, or -EINVAL: not the name of a unit; message on success:
 * the slice it is in now, or that it was there already. */
int place_unit(Placer *p, const char *unit, PlaceHandler handler, void *userdata);

/* Undoes the placement of a unit until the next boot or place_unit(): masks the generator's drop-in in
 * run/system/UNIT.d, reloads, and restarts the unit if it runs in its domain's slice. */
int place_release(Placer *p, const char *unit, PlaceHandler handler, void *userdata);

/* `cgctl run`. Everything is copied. With pids: those processes become a scope in the domain's slice (the
 * caller has checked that they belong to the requester); without: argv becomes a transient service. message
 * on success: the name of the unit. -ENOENT: no such domain (from the call itself, handler not called). */
typedef struct PlaceRun {
        const char *domain;
        const char *description;        /* NULL: made from argv */
        char *const *argv;              /* NULL-terminated; argv[0] absolute for a service */
        char *const *environment;       /* "A=b", NULL-terminated, or NULL */
        const char *directory;          /* or NULL */
        uint32_t uid, gid;              /* of a service; UINT32_MAX: root */
        const uint32_t *pids;
        size_t n_pids;
} PlaceRun;
int place_run(Placer *p, const PlaceRun *run, PlaceHandler handler, void *userdata);

/* A process just started a program that may be matched: it is moved as place_scan() would move it, and with raw first by
 * ourselves, which is faster and may wait while memory is short. 1 where it is being moved, 0 where it is nobody's;
 * -EBUSY: too many in too short a time, to be found by place_scan(). Handler as there. */
int place_exec(Placer *p, const ExecEvent *event, bool raw, PlaceHandler handler, void *userdata);
/* The programs that place_exec() is for. Borrowed until the next policy. */
void placer_exec_filter(const Placer *p, ExecFilter *ret);

/* [Match] User= and Executable=: looks through /proc for matching processes outside any service and moves
 * them into scopes of their slices. Costs nothing where no domain has such a match. To be called at start,
 * after a reload and at every heartbeat; returns how many processes are being moved, or a negative errno; -EBUSY where
 * some are, and there are more than one look takes: to be called again soon.
 * What systemd refuses is told to the handler (may be NULL) and not tried again for the same processes. */
int place_scan(Placer *p, PlaceHandler handler, void *userdata);
