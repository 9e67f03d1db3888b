/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Policy in force -> JSON: each domain with the mode that holds now (`cgctl set-mode` may have changed it)
 * and every alarm with whether this build acts on it, so that nothing written is silently nothing. */

#include "base/units.h"
#include "serve/json.h"

static json_t *json_alarm(const Alarm *a) {
        json_t *conditions = json_array();
        bool active = a->n_conditions > 0;

        for (size_t i = 0; i < a->n_conditions; i++) {
                const Condition *c = &a->conditions[i];

                active = active && c->active;
                (void) json_array_append_new(
                        conditions,
                        json_pack("{s:o, s:b, s:o, s:i}", "text", json_text(c->text),
                                  "active", (int) c->active,
                                  "file", json_text(c->span.file), "line", (int) c->span.line));
        }
        return json_pack("{s:o, s:b, s:o, s:o}", "name", json_text(a->name), "active", (int) active,
                         "lasting_usec", json_limit(a->lasting_usec), "conditions", conditions);
}

static json_t *json_contain(const Domain *d, const Engine *engine) {
        const Contain *c = &d->contain;
        json_t *steps = json_array();
        Mode mode;

        if (!c->present) {
                json_decref(steps);
                return json_null();
        }
        for (unsigned s = 0; s < _STEP_MAX; s++)
                if (c->steps[s])
                        (void) json_array_append_new(steps, json_string(step_to_string((Step) s)));
        mode = engine_mode(engine, d);
        return json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:o, s:o, s:I, s:o, s:i}",
                         "mode", mode_to_string(mode),
                         "mode_configured", mode_to_string(c->mode),
                         "steps", steps,
                         "step_usec", (json_int_t) c->step_usec,
                         "squeeze_floor_bytes", (json_int_t) c->squeeze_floor_bytes,
                         "io_cap_floor_bytes", (json_int_t) c->io_cap_floor_bytes,
                         "lease_usec", (json_int_t) c->lease_usec,
                         "kill_after_usec", (json_int_t) c->kill_after_usec,
                         "kill_budget", (int) c->kill_budget,
                         "kill_budget_usec", (json_int_t) c->kill_budget_usec,
                         "exclude", json_strv(c->exclude),
                         "pre_kill_exec", c->pre_kill_exec ? json_text(c->pre_kill_exec) : json_null(),
                         "pre_kill_timeout_usec", (json_int_t) c->pre_kill_timeout_usec,
                         "file", json_text(c->mode_span.file),
                         "line", (int) c->mode_span.line);
}

static json_t *json_resources(const Domain *d) {
        json_t *a = json_array();

        for (size_t i = 0; i < d->n_resources; i++)
                (void) json_array_append_new(a, json_pack("{s:s, s:o}", "key", d->resources[i].key,
                                                          "value", json_text(d->resources[i].value)));
        return a;
}

json_t *json_domains(const Policy *policy, const Engine *engine) {
        json_t *a = json_array();

        for (size_t i = 0; i < policy->n_domains; i++) {
                const Domain *d = &policy->domains[i];
                json_t *alarms = json_array();

                for (size_t k = 0; k < d->n_alarms; k++)
                        (void) json_array_append_new(alarms, json_alarm(&d->alarms[k]));
                (void) json_array_append_new(
                        a, json_pack("{s:o, s:o, s:o, s:o, s:i, s:s?, s:i, s:{s:o, s:o, s:o},"
                                     " s:o, s:o, s:o, s:o, s:o}",
                                     "name", json_text(d->name),
                                     "description", json_text(d->description),
                                     "slice", json_text(d->slice),
                                     "cgroup", json_text(d->cgroup),
                                     "rank", (int) d->rank,
                                     "mode", d->contain.present ?
                                             mode_to_string(engine_mode(engine, d)) : NULL,
                                     "blame_share_min_permyriad", (int) d->blame_share_min_permyriad,
                                     "match",
                                             "units", json_strv(d->match.units),
                                             "users", json_strv(d->match.users),
                                             "executables", json_strv(d->match.executables),
                                     "resources", json_resources(d),
                                     "alarms", alarms,
                                     "contain", json_contain(d, engine),
                                     "not_active", json_strv(d->inactive),
                                     "files", json_strv(d->files)));
        }
        return a;
}
