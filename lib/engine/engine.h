/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Engine: (policy, state, input) -> plan. The only place where anything is decided.
 *
 * Pure: no clock, no file, no environment, no floating point; all memory it decides with is its own and
 * of bounded size. The same inputs in the same order give the same plans and incidents, byte for byte. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/event.h"
#include "model/incident.h"
#include "model/lease.h"
#include "model/plan.h"
#include "model/sample.h"
#include "policy/policy.h"

typedef struct Engine Engine;

typedef struct EngineInput {
        uint64_t now_usec;              /* CLOCK_MONOTONIC, never before the last one */
        const Sample *sample;           /* NULL = none was taken this time */
        const Event *events;
        size_t n_events;
        const Outcome *outcomes;
        size_t n_outcomes;
} EngineInput;

typedef struct EngineConfig {
        uint64_t page_bytes;            /* sysconf(_SC_PAGESIZE) */
        uint64_t heartbeat_usec;        /* at rest: full sample this often */
        uint64_t first_incident_id;     /* ids go up from here, across restarts of the daemon */
} EngineConfig;

/* 0, or -ENOMEM. */
int engine_new(const EngineConfig *config, Engine **ret);
Engine *engine_free(Engine *e);
DEFINE_CLEANUP(Engine *, engine_free)

/* One tick. *ret_plan is overwritten. The policy may be another one than last time (after a reload):
 * alarms then start afresh, what is contained stays so under the new contract. */
void engine_step(Engine *e, const Policy *policy, const EngineInput *input, Plan *ret_plan);

/* Takes a lease found at start into the engine, as a containment of a new incident ("adopted"), so that it
 * is lifted by the usual rules. -ENOSPC: too many; give it back at once instead. */
int engine_adopt(Engine *e, uint64_t now_usec, const Lease *lease, const char *path);

/* `cgctl set-mode`: overrides Mode= of the domain named, until the next policy. _MODE_MAX ends the override.
 * -ENOENT: no such domain with a [Contain] section. */
int engine_set_mode(Engine *e, const Policy *policy, const char *domain, Mode mode);
Mode engine_mode(const Engine *e, const Domain *domain);
/* The policy in force lets a cgroup of this path be contained, in a domain with at least this mode. */
bool engine_may_contain(const Engine *e, const char *path, Mode least);

/* Newest first. i from 0; NULL past the last. Valid until the next engine_step(). */
const Incident *engine_incident(const Engine *e, size_t i);
const Incident *engine_incident_by_id(const Engine *e, uint64_t id);

/* What the last engine_step() entered into incidents, oldest first, for the journal. Returns how many. */
typedef struct News {
        uint64_t incident_id;
        IncidentEntry entry;
} News;
size_t engine_news(const Engine *e, const News **ret);

typedef struct EngineStatus {
        unsigned open_incidents, contained;
        uint64_t exhaustion_usec;       /* forecast: memory lasts this long; USEC_INFINITY = not shrinking */
        uint64_t samples;
        uint64_t rows_dropped;          /* rows of samples that found no place: cgroups beyond TRACKS_MAX */
} EngineStatus;
void engine_status(const Engine *e, EngineStatus *ret);
