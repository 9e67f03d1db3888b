/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Incident -> JSON: everything `cgctl why` tells stands here, so that a saved document can be shown on
 * another machine with `cgctl why --from=FILE`. Ranks are those of the policy in force now, which may be
 * a newer one than the incident's; they are null where the domain is gone. */

#include "serve/json.h"

/* What measured and threshold are counted in. */
static const char *condition_unit(const char *condition) {
        return startswith(condition, "MemoryExhaustionWithin") || startswith(condition, "IOLatencyAbove") ?
                "usec" : "permyriad";
}

static const char *action_name(ActionType t) {
        switch (t) {
        case ACTION_SET_MEMORY_HIGH:
                return "set-memory-high";
        case ACTION_SET_IO_MAX:
                return "set-io-max";
        case ACTION_RESTORE:
                return "restore";
        case ACTION_KILL:
                return "kill";
        case _ACTION_TYPE_MAX:
                break;
        }
        return "unknown";
}

static json_t *json_entry(const Incident *i, const IncidentEntry *e, const ServerInfo *info) {
        bool action = e->action_id != 0 || e->type == ENTRY_WOULD;
        json_t *j;

        j = json_pack("{s:o, s:I, s:s, s:o, s:o, s:o}",
                      "at", json_time(info, e->usec),
                      "offset_usec", (json_int_t) ((int64_t) e->usec - (int64_t) i->started_usec),
                      "type", incident_entry_type_to_string(e->type),
                      "cgroup", json_text(incident_path_of(i, e->cgroup_id)),
                      "before", json_limit(e->before),
                      "after", json_limit(e->after));
        if (!j || !action)
                return j;
        if (e->major != 0 || e->minor != 0) {
                char device[24];

                (void) snprintf(device, sizeof(device), "%u:%u", e->major, e->minor);
                (void) json_object_set_new(j, "device", json_string(device));
                (void) json_object_set_new(j, "direction", json_string(e->writes ? "write" : "read"));
                (void) json_object_set_new(j, "operations_before", json_limit(e->operations_before));
                (void) json_object_set_new(j, "operations_after", json_limit(e->operations_after));
        }
        (void) json_object_set_new(j, "action", json_string(action_name(e->action)));
        (void) json_object_set_new(j, "step", json_string(step_to_string(e->step)));
        (void) json_object_set_new(j, "action_id", json_integer((json_int_t) e->action_id));
        if (e->type == ENTRY_OUTCOME) {
                (void) json_object_set_new(j, "result", json_string(outcome_result_to_string(e->result)));
                if (e->error < 0) {
                        (void) json_object_set_new(j, "error", json_integer(-e->error));
                        (void) json_object_set_new(j, "error_text", json_string(strerror(-e->error)));
                }
        }
        return j;
}

static json_t *json_candidate(const Candidate *c) {
        return json_pack("{s:I, s:o, s:I, s:I, s:I, s:i, s:s, s:s}",
                         "cgroup_id", (json_int_t) c->cgroup_id,
                         "cgroup", json_text(c->path),
                         "intake_bytes", (json_int_t) c->intake_bytes,
                         "operations", (json_int_t) c->operations,
                         "waited_usec", (json_int_t) c->waited_usec,
                         "share_permyriad", (int) c->share_permyriad,
                         "verdict", verdict_to_string(c->verdict),
                         "verdict_text", verdict_explain(c->verdict));
}

static json_t *json_place(const char *file, unsigned line) {
        if (!*file)
                return json_null();
        return json_pack("{s:o, s:i}", "file", json_text(file), "line", (int) line);
}

static json_t *json_rank(const Policy *policy, const char *domain) {
        const Domain *d = *domain ? policy_find(policy, domain) : NULL;

        return d ? json_integer((json_int_t) d->rank) : json_null();
}

/* The highest rung that was really taken, which is what a list of incidents shows. */
static json_t *json_highest_step(const Incident *i) {
        int highest = -1;

        for (size_t k = 0; k < i->n_entries; k++)
                if (i->entries[k].action_id != 0 && (int) i->entries[k].step > highest &&
                    i->entries[k].action != ACTION_RESTORE)
                        highest = (int) i->entries[k].step;
        return highest < 0 ? json_null() : json_string(step_to_string((Step) highest));
}

json_t *json_incident(const Incident *i, const ServerInfo *info, const Policy *policy, bool brief) {
        json_t *j, *candidates, *entries;

        j = json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                      "id", (json_int_t) i->id,
                      "state", incident_state_to_string(i->state),
                      "result", incident_result_to_string(i->result),
                      "domain", json_text(i->domain),
                      "alarm", json_text(i->alarm),
                      "culprit", json_text(i->culprit),
                      "culprit_domain", json_text(i->culprit_domain),
                      "step", json_highest_step(i),
                      "started", json_time(info, i->started_usec),
                      "first_step", json_time(info, i->first_step_usec),
                      "ended", json_time(info, i->ended_usec));
        if (!j || brief)
                return j;

        candidates = json_array();
        for (size_t k = 0; k < i->n_candidates; k++)
                (void) json_array_append_new(candidates, json_candidate(&i->candidates[k]));
        entries = json_array();
        for (size_t k = 0; k < i->n_entries; k++)
                (void) json_array_append_new(entries, json_entry(i, &i->entries[k], info));

        (void) json_object_set_new(j, "resource", json_string(incident_resource_to_string(i->resource)));
        (void) json_object_set_new(j, "confidence", json_string(i->low_confidence ? "low" : "normal"));
        (void) json_object_set_new(j, "operations", json_limit(i->whole_operations));
        (void) json_object_set_new(j, "waited_usec", json_limit(i->whole_waited_usec));
        (void) json_object_set_new(j, "now", json_time(info, info->now_usec));
        (void) json_object_set_new(j, "condition", json_text(i->condition));
        (void) json_object_set_new(j, "unit", json_string(condition_unit(i->condition)));
        (void) json_object_set_new(j, "measured", json_limit(i->measured));
        (void) json_object_set_new(j, "threshold", json_limit(i->threshold));
        (void) json_object_set_new(j, "asked_by", json_place(i->file, i->line));
        (void) json_object_set_new(j, "contract", json_place(i->contract_file, i->contract_line));
        (void) json_object_set_new(j, "window_usec", json_limit(i->window_usec));
        (void) json_object_set_new(j, "intake_bytes", json_limit(i->whole_bytes));
        (void) json_object_set_new(j, "rank", json_rank(policy, i->domain));
        (void) json_object_set_new(j, "culprit_rank", json_rank(policy, i->culprit_domain));
        (void) json_object_set_new(j, "candidates", candidates);
        (void) json_object_set_new(j, "entries", entries);
        (void) json_object_set_new(j, "dropped", json_integer((json_int_t) i->dropped));
        return j;
}

json_t *json_incidents(const Engine *engine, const ServerInfo *info, unsigned limit) {
        json_t *a = json_array();
        const Incident *i;

        for (size_t k = 0; (limit == 0 || k < limit) && (i = engine_incident(engine, k)); k++)
                (void) json_array_append_new(a, json_incident(i, info, NULL, true));
        return a;
}
