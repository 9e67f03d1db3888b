/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Policy: the compiled set of domains, immutable once built.
 *
 * Invariant: domains are sorted by slice; -.slice, if any, carries no [Contain]; every string is valid
 * UTF-8 without control characters. Keys of later issues are kept and marked inactive. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "model/plan.h"

/* Whose state the engine keeps: domains, and the alarms of all together. */
#define POLICY_DOMAINS_MAX 256
#define POLICY_ALARMS_MAX 512
/* A name of a directory has 255 bytes, and a unit's drop-ins lie in NAME.d. */
#define POLICY_UNIT_NAME_MAX 253
/* Conditions IOLatencyAbove= in a set. */
#define POLICY_LATENCIES_MAX 16

/* The slice cgd.service runs in: nobody else's, so no domain may be on it or below it. */
#define CGD_SLICE "cgd.slice"

/* Where something was written. file is owned by the Policy (or the Diagnostics); line and column from 1;
 * line 0 = a built-in default. */
typedef struct Span {
        const char *file;
        unsigned line, column;
} Span;

typedef enum Mode {
        MODE_OFF,
        MODE_MONITOR,
        MODE_CONTAIN,
        MODE_ENFORCE,
        _MODE_MAX,
} Mode;

const char *mode_to_string(Mode m);
int mode_from_string(const char *s, Mode *ret);

typedef enum ConditionType {
        CONDITION_MEMORY_PRESSURE,      /* MemoryPressureAbove= */
        CONDITION_IO_PRESSURE,          /* IOPressureAbove= */
        CONDITION_CPU_PRESSURE,         /* CPUPressureAbove= (inactive) */
        CONDITION_IO_LATENCY,           /* IOLatencyAbove= */
        CONDITION_SWAP_USED,            /* SwapUsedAbove= (host) */
        CONDITION_MEMORY_USED,          /* MemoryUsedAbove= (host: 1 - available/total; slice: of MemoryHigh/Max or host) */
        CONDITION_RECLAIM_STALL,        /* ReclaimStallAbove= (inactive) */
        CONDITION_MEMORY_EXHAUSTION,    /* MemoryExhaustionWithin= (host) */
        _CONDITION_TYPE_MAX,
} ConditionType;

/* The key, "MemoryPressureAbove". */
const char *condition_type_to_string(ConditionType t);

typedef struct Condition {
        ConditionType type;
        bool full;                      /* full instead of some */
        unsigned threshold_permyriad;   /* pressure, used */
        unsigned percentile;            /* IOLatencyAbove: 99 of p99 */
        uint64_t threshold_usec;        /* latency, exhaustion within */
        uint64_t window_usec;           /* over */
        bool active;                    /* false: parsed, shown, not acted on by this build */
        char *text;                     /* canonical "MemoryPressureAbove=some 10% over 1s" */
        Span span;
} Condition;

typedef struct Alarm {
        char *name;
        Condition *conditions;          /* all must hold */
        size_t n_conditions;
        uint64_t lasting_usec;          /* LastingSec= */
        Span span;
} Alarm;

/* One directive of [Resources], as written; key is the schema's (static). */
typedef struct Resource {
        const char *key;
        char *value;                    /* canonical */
        Span span;
} Resource;

typedef struct Contain {
        bool present;                   /* the file has a [Contain] section */
        Mode mode;
        Span mode_span;
        bool steps[_STEP_MAX];          /* which are allowed; order is the ladder's */
        uint64_t step_usec;             /* StepSec=, default 500ms */
        uint64_t squeeze_floor_bytes;   /* default 64M */
        uint64_t io_cap_floor_bytes;    /* default 1M */
        uint64_t lease_usec;            /* default 15s */
        uint64_t kill_after_usec;       /* default 10s */
        unsigned kill_budget;           /* default 3 … */
        uint64_t kill_budget_usec;      /* … per 10min */
        uint64_t freeze_max_usec;       /* default 5s */
        uint64_t pre_kill_timeout_usec; /* default 5s */
        char *pre_kill_exec;            /* NULL = none */
        char **exclude;                 /* unit globs, never NULL after compile unless empty */
} Contain;

typedef struct Match {
        char **units;                   /* globs */
        char **users;
        char **executables;
        Span span;
} Match;

typedef struct Domain {
        char *name;                     /* of the file, without .policy */
        char *description;              /* never NULL */
        char *slice;                    /* "workload.slice", "-.slice" */
        char *cgroup;                   /* "/workload.slice", "/a.slice/a-b.slice" for a-b.slice, "/" for -.slice */
        unsigned rank;                  /* 0 to 1000; -.slice counts as 1000 */
        unsigned blame_share_min_permyriad; /* BlameShareMin=, default 50% */
        Match match;
        Resource *resources;
        size_t n_resources;
        Alarm *alarms;
        size_t n_alarms;
        Contain contain;                /* .mode is off where there is no [Contain] */
        char **files;                   /* the file and its drop-ins, in the order read */
        bool left_out;                  /* for a fault at the start: its slice is all that counts */
        char **inactive;                /* what was asked for and is not acted on in this version: "KEY=VALUE: why" */
} Domain;

typedef struct Policy {
        Domain *domains;
        size_t n_domains;
} Policy;

/* Frees what is in it. */
void domain_done(Domain *d);

/* Frees all; NULL is fine; returns NULL. */
Policy *policy_free(Policy *p);
DEFINE_CLEANUP(Policy *, policy_free)

bool domain_equal(const Domain *a, const Domain *b);    /* but for where it was written */
bool policy_equal(const Policy *a, const Policy *b);

/* "a-b.slice" -> "/a.slice/a-b.slice", "-.slice" -> "/" (systemd.slice(5)). -EINVAL: not a slice's name;
 * -ENOMEM. */
int slice_to_cgroup(const char *slice, char **ret);

/* The domain that [Match] Unit= puts the unit into, or NULL. An exact name goes before a glob, a glob with
 * a longer literal beginning before a shorter one; verify refuses what this leaves open. */
const Domain *policy_unit_domain(const Policy *p, const char *unit);
/* The domain of a process outside any service: Executable= goes before User=. user: its name; uid: as text
 * ("1000"); executable: "/usr/bin/ffmpeg". Each may be NULL where it is not known. */
const Domain *policy_process_domain(const Policy *p, const char *user, const char *uid, const char *executable);
/* The words of a command as PreKillExec= has it, NULL-terminated, the unit in place of %i. Quotes hold a
 * word together, \ takes the next character as it is; nothing else is expanded. -ENOMEM; -EINVAL: no word. */
int command_split(const char *command, const char *unit, char ***ret);
/* True where [Contain] Exclude= names the unit. */
bool domain_excludes(const Domain *d, const char *unit);

/* Never contained and never placed, whatever a policy says: PID 1, cgd, the D-Bus broker, journald, logind,
 * udevd. */
bool unit_is_protected(const char *unit);
/* The protected unit that the glob takes in, or NULL. */
const char *unit_protected_by(const char *pattern);

/* path is the cgroup, or below it. */
bool path_within(const char *path, const char *cgroup);

/* The domain with the longest cgroup path that holds `path` ("/workload.slice/x.service"), or NULL.
 * -.slice holds what no other does. */
const Domain *policy_domain_of(const Policy *p, const char *path);
const Domain *policy_find(const Policy *p, const char *name);
/* Without those that are left out. */
size_t policy_n_in_force(const Policy *p);
