/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Incident: from an alarm until calm, with all that is needed to explain it afterwards. Plain values of
 * fixed size: the engine fills it, the recorder stores it, `cgctl why` shows it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/plan.h"

#define INCIDENT_CANDIDATES_MAX 8
#define INCIDENT_ENTRIES_MAX 40

/* Why a candidate was or was not acted on. */
typedef enum Verdict {
        VERDICT_CULPRIT,                /* acted on */
        VERDICT_SMALL_SHARE,            /* less than BlameShareMin= of the whole */
        VERDICT_PROTECTED,              /* never contained, whatever a policy says */
        VERDICT_OMIT,                   /* ManagedOOMPreference=omit */
        VERDICT_EXCLUDED,               /* Exclude= of its domain */
        VERDICT_RANK,                   /* does not rank below the victim */
        VERDICT_NO_DOMAIN,              /* in no domain with [Contain] */
        VERDICT_MODE_OFF,
        VERDICT_MODE_MONITOR,           /* would have been acted on */
        VERDICT_NO_STEP,                /* Steps= leaves nothing that would help */
        VERDICT_TAKEN,                  /* contained already, by another incident or before the present culprit */
        VERDICT_FREE_MEMORY,            /* what it took was free: the kernel took none from anybody meanwhile */
        VERDICT_NOT_WAITED_FOR,         /* it only read, and the victim's requests took longer by themselves */
        VERDICT_OWN_LIMIT,              /* it is of the victim's, and short at a limit of its own */
        VERDICT_FOREIGN_LIMIT,          /* someone else changed the limit since: left alone */
        VERDICT_NO_ROOM,                /* as many are contained as can be at a time */
        _VERDICT_MAX,
} Verdict;

const char *verdict_to_string(Verdict v);       /* "culprit", "small-share", … for JSON */
const char *verdict_explain(Verdict v);         /* one sentence for people */

/* What an incident is about. */
typedef enum IncidentResource {
        RESOURCE_MEMORY,
        RESOURCE_IO,
        _RESOURCE_MAX,
} IncidentResource;

const char *incident_resource_to_string(IncidentResource r);     /* "memory", "io" */

typedef struct Candidate {
        uint64_t cgroup_id;
        char path[SHOWN_PATH_MAX];
        uint64_t intake_bytes;          /* over the incident's blame window; of io: read and written */
        unsigned share_permyriad;       /* of the whole intake */
        Verdict verdict;
        uint64_t operations;            /* of io */
        uint64_t waited_usec;           /* of io: how long the victim's requests waited for it, where that is measured */
} Candidate;

typedef enum IncidentEntryType {
        ENTRY_ALARM,                    /* value = measured, limit = threshold */
        ENTRY_ACTION,                   /* an action was planned: before -> after */
        ENTRY_OUTCOME,
        ENTRY_NO_CULPRIT,               /* nobody holds BlameShareMin= of the intake, or it was free memory */
        ENTRY_NOT_ALLOWED,              /* there is a culprit; its contract or rank forbids action */
        ENTRY_WOULD,                    /* Mode=monitor: the step that would have been taken */
        ENTRY_SELF,                     /* the domain makes its trouble itself */
        ENTRY_RELIEF,                   /* the victim recovered */
        ENTRY_RISE,                     /* limit raised a quarter */
        ENTRY_BACK,                     /* alarm while rising: last level again, wait doubled */
        ENTRY_BUDGET,                   /* KillBudget= is spent: held instead */
        ENTRY_SPARED,                   /* no kill either, of what it has (before) little is no page cache (after); of a slice, 0 and 0:
                                         * nobody in it is at fault of whom that is not so */
        ENTRY_EXPIRED,                  /* lease ran out without fresh evidence */
        ENTRY_CALM,                     /* over */
        _ENTRY_TYPE_MAX,
} IncidentEntryType;

const char *incident_entry_type_to_string(IncidentEntryType t);

typedef struct IncidentEntry {
        uint64_t usec;                  /* CLOCK_MONOTONIC */
        IncidentEntryType type;
        Step step;
        ActionType action;
        OutcomeResult result;
        Verdict verdict;                /* of those where nothing was done: why; VERDICT_CULPRIT: nobody forbids it */
        int error;
        uint64_t action_id;
        uint64_t cgroup_id;
        uint64_t before, after;         /* of an io-cap: bytes a second, of the device and direction below */
        uint64_t operations_before, operations_after;   /* … and operations a second */
        uint32_t major, minor;
        bool writes;
} IncidentEntry;

typedef enum IncidentState {
        INCIDENT_LOOKING,               /* alarm is up, gathering evidence */
        INCIDENT_CONTAINING,            /* a culprit is contained */
        INCIDENT_LIFTING,               /* calm, limits on their way up */
        INCIDENT_QUIET,                 /* nothing may or can be done: looked at at growing intervals */
        INCIDENT_OVER,
        _INCIDENT_STATE_MAX,
} IncidentState;

const char *incident_state_to_string(IncidentState s);

/* How it ended. */
typedef enum IncidentResult {
        RESULT_NONE,                    /* not over */
        RESULT_RECOVERED,               /* contained, recovered, all given back */
        RESULT_KILLED,
        RESULT_PASSED,                  /* the alarm went by itself before anything was done */
        RESULT_NO_CULPRIT,
        RESULT_NOT_ALLOWED,
        RESULT_MONITORED,
        RESULT_SELF,
        RESULT_GONE,                    /* the culprit went away by itself */
        _INCIDENT_RESULT_MAX,
} IncidentResult;

const char *incident_result_to_string(IncidentResult r);

typedef struct Incident {
        uint64_t id;
        IncidentState state;
        IncidentResult result;
        IncidentResource resource;
        bool low_confidence;            /* blame by shares of the work, not by who made whom wait */
        char domain[SHOWN_PATH_MAX];    /* the victim: name of its policy */
        char alarm[64];                 /* "memory" of [Alarm memory] */
        char condition[96];             /* "MemoryPressureAbove=some 10% over 1s" */
        char file[SHOWN_PATH_MAX];      /* policy file and line that asked for it */
        unsigned line;
        uint64_t measured, threshold;   /* in the condition's unit: permyriad or usec */
        uint64_t started_usec;          /* when the alarm was raised */
        uint64_t first_step_usec;       /* when the first action was planned, 0 = none */
        uint64_t ended_usec;
        uint64_t window_usec;           /* the blame window the candidates were measured over */
        uint64_t whole_bytes;           /* whole intake in that window */
        uint64_t whole_operations;
        uint64_t whole_waited_usec;     /* that the victim's requests waited for those of others; 0 = not known */
        uint64_t culprit_id;            /* 0 = none */
        char culprit[SHOWN_PATH_MAX];
        char culprit_domain[SHOWN_PATH_MAX];
        char contract_file[SHOWN_PATH_MAX]; /* the policy file and line of the culprit's [Contain] Mode= */
        unsigned contract_line;
        Candidate candidates[INCIDENT_CANDIDATES_MAX];
        size_t n_candidates;
        IncidentEntry entries[INCIDENT_ENTRIES_MAX]; /* when full, the middle is dropped: .dropped counts */
        size_t n_entries, dropped;
} Incident;

/* Whom an entry is about: the culprit, or another one that was considered; NULL: not known any more. Borrowed. */
const char *incident_path_of(const Incident *i, uint64_t cgroup_id);
