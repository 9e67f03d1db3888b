/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Act: carries out the plan's actions, keeps the leases. Writes that may block run on one worker thread;
 * restores and kills overtake squeezes. Every lease is on disk before its write. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/macro.h"
#include "model/lease.h"
#include "model/plan.h"

typedef struct Actor Actor;

/* Called on the loop, once for each action submitted. */
typedef void (*ActorHandler)(const Outcome *outcome, void *userdata);

/* lease_file: "/run/cgd/leases". */
int actor_new(sd_event *event, const char *root, const char *lease_file, ActorHandler handler,
              void *userdata, Actor **ret);
Actor *actor_free(Actor *a);    /* does not give anything back: see actor_release_all() */
DEFINE_CLEANUP(Actor *, actor_free)

/* The system bus for the hand-over of long leases and what is run before a kill, or NULL while it is away.
 * Reference is taken. */
void actor_set_bus(Actor *a, sd_bus *bus);

/* Queues one action. cgroup_fd is dup'ed from the reserve; path is the whole one. The action's cgroup is
 * checked against the fd by id before anything is written. An ACTION_SET_MEMORY_HIGH whose file holds
 * something else than .expect is not carried out: OUTCOME_DRIFTED. -ENOSPC where the queue is full: an
 * OUTCOME_FAILED will not come. */
int actor_submit(Actor *a, const Action *action, int cgroup_fd, const char *path);

/* The same for an ACTION_KILL before which argv is run: it waits until that is over, timeout_usec at most, and
 * comes at once where it cannot be run. say is told, on the loop, that the command was started (failed =
 * false) and that it could not be run, failed, or took too long: one sentence without its end. argv is
 * copied. */
typedef void (*ActorSay)(const Action *action, bool failed, const char *what, void *userdata);
int actor_submit_kill(Actor *a, const Action *action, int cgroup_fd, char *const *argv,
                      uint64_t timeout_usec, ActorSay say);
/* The kill that waits for its command, or NULL; and calling it off: its outcome is FAILED, -ECANCELED. */
const Action *actor_waiting_kill(const Actor *a);
void actor_call_off_kill(Actor *a);

/* systemd begins to reload: it may put .original back from now on, which is no drift. */
void actor_expect_reload(Actor *a);
/* systemd reloaded: what was raw and fell back to .original is written again; what has another value is
 * drift. */
void actor_reassert(Actor *a);

/* The leases in force, for adoption after a restart and for `cgctl status`. i from 0; NULL past the last. */
const Lease *actor_lease(const Actor *a, size_t i);

/* Gives one lease back that nobody will ask for, as one that the engine could not adopt. No outcome comes.
 * -ENOENT: no such lease; -ENOSPC: the queue is full. */
int actor_give_back(Actor *a, uint64_t cgroup_id);

/* Gives everything back now, on the caller's thread, within deadline_usec (relative): used on exit. Returns
 * how many could not be given back. */
int actor_release_all(Actor *a, uint64_t deadline_usec);

/* Without a daemon (ExecStopPost=, uninstall): reads the file and gives back what it names, then removes it.
 * Needs no bus: runtime drop-ins of handed-over leases are removed and a value that drifted is left
 * alone. -EBUSY, and nothing is touched: a cgd is alive that holds lock_file, and the leases are its. */
int leases_release_file(const char *root, const char *lease_file, const char *lock_file);
