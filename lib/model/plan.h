/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Plan: what the engine wants done, in order, and Outcome: what came of each action. Values, no pointers:
 * both can be recorded and compared byte for byte. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/io.h"

#define PLAN_ACTIONS_MAX 32
/* Bytes of a cgroup path kept for explanation; a longer path keeps its end, after "...". */
#define SHOWN_PATH_MAX 256

/* One device's line of io.max under our hand. */
typedef struct IoCap {
        IoLine value;           /* to be written */
        IoLine expect;          /* what the file holds now as far as the engine knows */
        IoLine original;        /* … and held before cgd */
} IoCap;

/* The rungs of containment, as Steps= names them. */
typedef enum Step {
        STEP_HOLD,              /* memory.high = what it uses now */
        STEP_SQUEEZE,           /* memory.high lowered a tenth at a time */
        STEP_IO_CAP,
        STEP_FREEZE,
        STEP_KILL,
        _STEP_MAX,
} Step;

const char *step_to_string(Step s);             /* "hold", "io-cap" */
int step_from_string(const char *s, Step *ret); /* -EINVAL */

typedef enum ActionType {
        ACTION_SET_MEMORY_HIGH, /* write .value, unless the file no longer holds .expect (drift); then .swap_value */
        ACTION_SET_IO_MAX,      /* write .io, unless a device's line is none of ours; memory is not touched */
        ACTION_RESTORE,         /* give .value back and end the lease, unless drifted */
        ACTION_KILL,            /* cgroup.kill, xattrs, verified to populated 0 */
        _ACTION_TYPE_MAX,
} ActionType;

typedef struct Action {
        uint64_t id;            /* rises by one an action; an Outcome names it */
        ActionType type;
        Step step;              /* the rung it belongs to (for RESTORE: the highest one taken) */
        uint64_t incident_id;
        uint64_t cgroup_id;
        char path[SHOWN_PATH_MAX];
        uint64_t value;         /* memory.high in bytes, page-aligned, or LIMIT_MAX */
        uint64_t expect;        /* what the file holds now as far as the engine knows */
        uint64_t original;      /* what it held before cgd first wrote it: goes into the lease */
        uint64_t swap_value;            /* memory.swap.high, written along with .value; LIMIT_MAX = none */
        uint64_t swap_original;         /* … and what it held before cgd */
        IoCap io[IO_DEVICES_MAX];       /* SET_IO_MAX: every line of the lease, not only those that change */
        size_t n_io;
        bool io_only;           /* memory.high is not ours; .value, .expect and .original are only what is there */
        uint64_t lease_usec;    /* life of the lease from now */
} Action;

typedef struct Plan {
        Action actions[PLAN_ACTIONS_MAX];
        size_t n_actions;
        uint64_t next_usec;     /* CLOCK_MONOTONIC: call again not later than this */
        bool sample_cgroups;    /* next time with cgroups; else the host alone */
        bool trouble;           /* somebody is contained, or looked for, or soon may be: what can wait waits */
        bool sample_all;        /* next time with every cgroup (baseline) */
        uint64_t close_id;      /* this one is to be looked at closely from now on; 0 = none */
} Plan;

typedef enum OutcomeResult {
        OUTCOME_DONE,           /* written and read back, or killed and empty */
        OUTCOME_GONE,           /* the cgroup vanished first: nothing to undo */
        OUTCOME_DRIFTED,        /* somebody else changed the value: .after is theirs, the lease is ended */
        OUTCOME_FAILED,         /* .error says why (negative errno); nothing changed */
        OUTCOME_TIMEOUT,        /* kill: still populated after 5 s */
        _OUTCOME_RESULT_MAX,
} OutcomeResult;

const char *outcome_result_to_string(OutcomeResult r);

typedef struct Outcome {
        uint64_t action_id;
        uint64_t cgroup_id;
        ActionType type;
        OutcomeResult result;
        int error;
        uint64_t before, after; /* the file's value before and after (kill: processes before and after) */
        uint64_t started_usec, finished_usec;
} Outcome;
