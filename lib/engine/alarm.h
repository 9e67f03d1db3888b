/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Alarms: which domains ask for help, judged from PSI triggers and samples. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/forecast.h"
#include "policy/policy.h"

#define CONDITIONS_MAX 8        /* of one alarm that are active; verify refuses more */

typedef struct ConditionState {
        uint64_t counter;               /* last reading of the PSI total */
        uint64_t counter_usec;          /* … and when that was */
        bool have_counter;
        uint64_t total;                 /* usec of stall since we look, without what our own leases cause */
        uint64_t older_usec, older_total, newer_usec, newer_total;      /* anchors, as in track.h */
        uint64_t late_usec, late_total, later_usec, later_total;        /* likewise, of LATE_USEC */
        uint64_t fired_until_usec;      /* the kernel's trigger vouches for it until then */
        uint64_t mark_total;            /* total at the last step taken for it */
        bool holds;
        uint64_t measured;              /* 1/10000, or usec for a forecast */
} ConditionState;

typedef struct AlarmState {
        unsigned domain, alarm;         /* indices into the policy */
        ConditionState conditions[CONDITIONS_MAX];
        uint64_t since_usec;            /* all conditions hold since; 0 = they do not */
        bool raised;
        Forecast forecast;              /* of its slice, where that has a limit and a condition asks */
        uint64_t incident_id;           /* open incident it belongs to; 0 = none */
} AlarmState;

typedef struct Engine Engine;
typedef struct EngineInput EngineInput;

void alarms_bind(Engine *e, const Policy *policy);
void alarms_event(Engine *e, unsigned domain, unsigned alarm, unsigned condition, uint64_t usec);
void alarms_update(Engine *e, const EngineInput *input);

/* What its MemoryExhaustionWithin= is about: its slice, where that has a limit, else the host. */
const Forecast *alarm_forecast(const Engine *e, const AlarmState *s);
static inline bool alarm_is_about_limit(const AlarmState *s) {
        return s->forecast.total > 0;
}
