/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The words for the model's enums: one table an enum, used by the journal, the bus, JSON and cgctl. */

#include "base/macro.h"
#include "model/incident.h"
#include "model/plan.h"

#define DEFINE_NAME(noun, type, table)                          \
        const char *noun##_to_string(type v) {                  \
                if ((size_t) v >= ARRAY_SIZE(table))            \
                        return "unknown";                       \
                return table[v];                                \
        }

static const char *const step_names[_STEP_MAX] = {
        [STEP_HOLD] = "hold",
        [STEP_SQUEEZE] = "squeeze",
        [STEP_IO_CAP] = "io-cap",
        [STEP_FREEZE] = "freeze",
        [STEP_KILL] = "kill",
};
DEFINE_NAME(step, Step, step_names)

int step_from_string(const char *s, Step *ret) {
        for (size_t i = 0; i < _STEP_MAX; i++)
                if (streq(step_names[i], s)) {
                        *ret = (Step) i;
                        return 0;
                }
        return -EINVAL;
}

static const char *const outcome_result_names[_OUTCOME_RESULT_MAX] = {
        [OUTCOME_DONE] = "done",
        [OUTCOME_GONE] = "gone",
        [OUTCOME_DRIFTED] = "drifted",
        [OUTCOME_FAILED] = "failed",
        [OUTCOME_TIMEOUT] = "timeout",
};
DEFINE_NAME(outcome_result, OutcomeResult, outcome_result_names)

static const char *const resource_names[_RESOURCE_MAX] = {
        [RESOURCE_MEMORY] = "memory",
        [RESOURCE_IO] = "io",
};
DEFINE_NAME(incident_resource, IncidentResource, resource_names)

static const char *const verdict_names[_VERDICT_MAX] = {
        [VERDICT_CULPRIT] = "culprit",
        [VERDICT_SMALL_SHARE] = "small-share",
        [VERDICT_PROTECTED] = "protected",
        [VERDICT_OMIT] = "omit",
        [VERDICT_EXCLUDED] = "excluded",
        [VERDICT_RANK] = "rank",
        [VERDICT_NO_DOMAIN] = "no-domain",
        [VERDICT_MODE_OFF] = "mode-off",
        [VERDICT_MODE_MONITOR] = "mode-monitor",
        [VERDICT_NO_STEP] = "no-step",
        [VERDICT_TAKEN] = "taken",
        [VERDICT_FREE_MEMORY] = "free-memory",
        [VERDICT_NOT_WAITED_FOR] = "not-waited-for",
        [VERDICT_OWN_LIMIT] = "own-limit",
        [VERDICT_FOREIGN_LIMIT] = "foreign-limit",
        [VERDICT_NO_ROOM] = "no-room",
};
DEFINE_NAME(verdict, Verdict, verdict_names)

static const char *const verdict_texts[_VERDICT_MAX] = {
        [VERDICT_CULPRIT] = "has most of it and may be contained",
        [VERDICT_SMALL_SHARE] = "has too small a share to be to blame",
        [VERDICT_PROTECTED] = "is never contained (PID 1, cgd, the bus, the journal, logind or udev)",
        [VERDICT_OMIT] = "is excluded by its unit's ManagedOOMPreference=omit",
        [VERDICT_EXCLUDED] = "is excluded by Exclude= of its domain",
        [VERDICT_RANK] = "does not rank below the victim",
        [VERDICT_NO_DOMAIN] = "is in no domain that has a [Contain] section",
        [VERDICT_MODE_OFF] = "is in a domain with Mode=off",
        [VERDICT_MODE_MONITOR] = "is in a domain with Mode=monitor: would have been contained",
        [VERDICT_NO_STEP] = "is in a domain whose Steps= leave nothing to do",
        [VERDICT_TAKEN] = "was contained already",
        [VERDICT_FREE_MEMORY] = "took memory that was free, and nothing was taken from anybody for it",
        [VERDICT_NOT_WAITED_FOR] = "only read, and the victim's requests waited less for others than they took by themselves",
        [VERDICT_OWN_LIMIT] = "is short at a limit of its own (MemoryHigh=, MemoryMax=): most of what was reclaimed from the domain was reclaimed there, and the machine has room",
        [VERDICT_FOREIGN_LIMIT] = "has a limit that someone else set meanwhile, which is left alone",
        [VERDICT_NO_ROOM] = "would be one more than the 64 that can be contained at a time",
};
const char *verdict_explain(Verdict v) {
        return (size_t) v < ARRAY_SIZE(verdict_texts) ? verdict_texts[v] : "unknown";
}

static const char *const incident_entry_type_names[_ENTRY_TYPE_MAX] = {
        [ENTRY_ALARM] = "alarm",
        [ENTRY_ACTION] = "action",
        [ENTRY_OUTCOME] = "outcome",
        [ENTRY_NO_CULPRIT] = "no-culprit",
        [ENTRY_NOT_ALLOWED] = "not-allowed",
        [ENTRY_WOULD] = "would",
        [ENTRY_SELF] = "self",
        [ENTRY_RELIEF] = "relief",
        [ENTRY_RISE] = "rise",
        [ENTRY_BACK] = "back",
        [ENTRY_BUDGET] = "budget",
        [ENTRY_SPARED] = "spared",
        [ENTRY_EXPIRED] = "expired",
        [ENTRY_CALM] = "calm",
};
DEFINE_NAME(incident_entry_type, IncidentEntryType, incident_entry_type_names)

static const char *const incident_state_names[_INCIDENT_STATE_MAX] = {
        [INCIDENT_LOOKING] = "looking",
        [INCIDENT_CONTAINING] = "containing",
        [INCIDENT_LIFTING] = "lifting",
        [INCIDENT_QUIET] = "quiet",
        [INCIDENT_OVER] = "over",
};
DEFINE_NAME(incident_state, IncidentState, incident_state_names)

static const char *const incident_result_names[_INCIDENT_RESULT_MAX] = {
        [RESULT_NONE] = "open",
        [RESULT_RECOVERED] = "recovered",
        [RESULT_KILLED] = "killed",
        [RESULT_PASSED] = "passed",
        [RESULT_NO_CULPRIT] = "no-culprit",
        [RESULT_NOT_ALLOWED] = "not-allowed",
        [RESULT_MONITORED] = "monitored",
        [RESULT_SELF] = "self",
        [RESULT_GONE] = "gone",
};
DEFINE_NAME(incident_result, IncidentResult, incident_result_names)
