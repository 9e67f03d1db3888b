/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Compile: documents to domains, driven by the schema's rows.
 *
 * Invariant: a Policy exists only if nothing in the whole set was refused, and then every field holds what
 * the files say or the table's default. Faults are collected to the end. A key that this version does not
 * act on is kept, and listed in Domain.inactive: never silently nothing. */

#include "base/str.h"
#include "base/units.h"
#include "policy/compile.h"
#include "policy/draft.h"
#include "policy/value.h"

/* Of one domain. */
#define ALARMS_MAX 8
#define CONDITIONS_MAX 8
#define RESOURCES_MAX 256
#define INACTIVE_MAX 64
#define NAME_MAX_BYTES 63

static void draft_done(Draft *d) {
        domain_done(&d->domain);
        free(d->unit_spans);
        free(d->user_spans);
        free(d->executable_spans);
        free(d->alarm_touched);
}

static bool name_is_valid(const char *s) {
        size_t n = strlen(s);

        if (n == 0 || n > NAME_MAX_BYTES || *s == '.' || *s == '-')
                return false;
        for (; *s; s++)
                if (!(*s >= 'a' && *s <= 'z') && !(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9') &&
                    !strchr("_.-", *s))
                        return false;
        return true;
}

/* Keeps "KEY=VALUE", which has no effect, for `cgctl domains`. */
static int draft_keep_inactive(Draft *draft, const char *assignment, const char *reason) {
        _cleanup_str_ Str s = {};
        _cleanup_free_ char *text = NULL;
        int r;

        str_appendf(&s, "%s: not active: %s", assignment, reason);
        r = str_finish(&s, &text);
        if (r < 0)
                return r;
        if (strv_length(draft->domain.inactive) >= INACTIVE_MAX || strv_contains(draft->domain.inactive, text))
                return 0;
        return strv_extend(&draft->domain.inactive, text);
}

/* A key that is understood and without effect: said, and kept. Of conditions those are kept that are there at the end. */
static int draft_inactive(Draft *draft, const ValueContext *c, const char *at, const char *value,
                          const char *reason) {
        _cleanup_free_ char *assignment = NULL;

        if (asprintf(&assignment, "%s=%s", c->key->name, value) < 0) {
                assignment = NULL;
                return -ENOMEM;
        }
        diagnostics_add(c->diagnostics, SEVERITY_NOTE, assignment_span(c->assignment, at), "%s: not active: %s", assignment,
                        reason);
        return streq(c->key->section, "Alarm") ? 0 : draft_keep_inactive(draft, assignment, reason);
}

/* What an earlier line asked for by the key, a later one has taken back. */
static void draft_forget_inactive(Draft *draft, const char *key) {
        char **kept = draft->domain.inactive;

        for (char **s = kept; s && *s; s++) {
                const char *rest = startswith(*s, key);

                if (rest && *rest == '=')
                        free(*s);
                else
                        *kept++ = *s;
        }
        if (kept)
                *kept = NULL;
}

static int draft_set_list(Draft *draft, const ValueContext *c, const char *text, char ***list) {
        Domain *d = &draft->domain;
        Span **spans = list == &d->match.units         ? &draft->unit_spans :
                       list == &d->match.users         ? &draft->user_spans :
                       list == &d->match.executables   ? &draft->executable_spans :
                                                         NULL;

        if (!*text) {
                *list = strv_free(*list);
                return 0;
        }
        return value_read_list(c, text, list == &d->match.units, list, spans);
}

/* "/dev/sda" of "/dev/sda 5M": a later line for the same device takes the earlier one's place. */
static bool same_entry(const Key *k, const char *a, const char *b) {
        size_t n;

        if (!key_is_list(k))
                return true;
        n = strcspn(a, " ");
        return strcspn(b, " ") == n && strncmp(a, b, n) == 0;
}

static int draft_set_resource(Draft *draft, const ValueContext *c, const char *text) {
        Domain *d = &draft->domain;
        _cleanup_free_ char *value = NULL;
        Resource *p;
        int r;

        if (!*text) {
                size_t kept = 0;

                for (size_t i = 0; i < d->n_resources; i++)
                        if (d->resources[i].key == c->key->name)
                                free(d->resources[i].value);
                        else
                                d->resources[kept++] = d->resources[i];
                d->n_resources = kept;
                return 0;
        }
        r = value_read_resource(c, text, &value);
        if (r < 0)
                return r;
        for (size_t i = 0; i < d->n_resources; i++)
                if (d->resources[i].key == c->key->name && same_entry(c->key, d->resources[i].value, value)) {
                        free(d->resources[i].value);
                        d->resources[i].value = TAKE_PTR(value);
                        d->resources[i].span = c->assignment->span;
                        return 0;
                }
        if (d->n_resources >= RESOURCES_MAX)
                return value_refuse(c, text, "more than %d entries in [Resources]", RESOURCES_MAX);
        p = realloc(d->resources, (d->n_resources + 1) * sizeof(Resource));
        if (!p)
                return -ENOMEM;
        d->resources = p;
        d->resources[d->n_resources++] = (Resource) {
                .key = c->key->name,
                .value = TAKE_PTR(value),
                .span = c->assignment->span,
        };
        return 0;
}

static int draft_set_condition(Draft *draft, size_t alarm, const ValueContext *c, const char *text) {
        Alarm *a = &draft->domain.alarms[alarm];
        Condition x = {}, *p;
        int r;

        draft->alarm_touched[alarm] = true;
        if (!*text) {
                size_t kept = 0;

                for (size_t i = 0; i < a->n_conditions; i++)
                        if (a->conditions[i].type == c->key->condition)
                                free(a->conditions[i].text);
                        else
                                a->conditions[kept++] = a->conditions[i];
                a->n_conditions = kept;
                return 0;
        }
        if (a->n_conditions >= CONDITIONS_MAX)
                return value_refuse(c, text, "more than %d conditions in one alarm", CONDITIONS_MAX);
        r = value_read_condition(c, text, &x);
        if (r < 0)
                return r;
        p = realloc(a->conditions, (a->n_conditions + 1) * sizeof(Condition));
        if (!p) {
                free(x.text);
                return -ENOMEM;
        }
        a->conditions = p;
        a->conditions[a->n_conditions++] = x;
        return 0;
}

/* Steps= may name what this version cannot do yet. */
static int draft_note_steps(Draft *draft, const ValueContext *c, const bool steps[static _STEP_MAX]) {
        static const Step later[] = { STEP_FREEZE };

        for (size_t i = 0; i < ARRAY_SIZE(later); i++)
                if (steps[later[i]]) {
                        const char *name = step_to_string(later[i]), *at = strstr(c->assignment->value, name);
                        int r = draft_inactive(draft, c, at ? at : c->assignment->value, name,
                                               "the step comes in a later version");

                        if (r < 0)
                                return r;
                }
        return 0;
}

static int draft_set_text(char **field, char *text) {
        free(*field);
        *field = text;
        return 0;
}

/* Puts one value where its row says. alarm: the index of the alarm the section is for. */
static int draft_set(Draft *draft, size_t alarm, const ValueContext *c, const char *text) {
        const Key *k = c->key;
        Domain *d = &draft->domain;
        void *field = (char *) d + k->offset;
        char *owned = NULL;
        uint64_t v;
        int r;

        /* The list types know an empty value as a reset, the others go back to their default. */
        if (!*text && k->fallback && k->type != VALUE_STEPS)
                text = k->fallback;

        switch (k->type) {
        case VALUE_TEXT:
                r = value_read_text(c, text, &owned);
                return r < 0 ? r : draft_set_text(field, owned);
        case VALUE_SLICE:
                draft->slice_span = (Span) {};
                if (!*text)
                        return draft_set_text(field, NULL);
                r = value_read_slice(c, text, &owned);
                if (r < 0)
                        return r;
                draft->slice_span = assignment_span(c->assignment, text);
                return draft_set_text(field, owned);
        case VALUE_COMMAND:
                if (!*text)
                        return draft_set_text(field, NULL);
                r = value_read_command(c, text, &owned);
                return r < 0 ? r : draft_set_text(field, owned);
        case VALUE_NUMBER:
        case VALUE_PERCENT:
                r = value_read_scalar(c, text, &v);
                if (r < 0)
                        return r;
                *(unsigned *) field = (unsigned) v;
                if (c->assignment && k->offset == offsetof(Domain, rank))
                        draft->rank_span = c->assignment->span;
                return 0;
        case VALUE_USEC:
        case VALUE_BYTES:
        case VALUE_BANDWIDTH:
                return value_read_scalar(c, text, field);
        case VALUE_MODE:
                r = value_read_mode(c, text, field);
                if (r >= 0 && c->assignment)
                        d->contain.mode_span = c->assignment->span;
                return r;
        case VALUE_STEPS:
                r = value_read_steps(c, text, field);
                if (r >= 0 && c->assignment)
                        r = draft_note_steps(draft, c, field);
                return r;
        case VALUE_BUDGET:
                return value_read_budget(c, text, &d->contain.kill_budget, &d->contain.kill_budget_usec);
        case VALUE_UNITS:
        case VALUE_USERS:
        case VALUE_EXECUTABLES:
                return draft_set_list(draft, c, text, field);
        case VALUE_PRESSURE:
        case VALUE_STALL:
        case VALUE_LATENCY:
        case VALUE_SHARE:
        case VALUE_WITHIN:
                return draft_set_condition(draft, alarm, c, text);
        case VALUE_LASTING:
                return value_read_scalar(c, text, &d->alarms[alarm].lasting_usec);
        case VALUE_R_BOOLEAN:
        case VALUE_R_MEMORY:
        case VALUE_R_WEIGHT:
        case VALUE_R_CPU_WEIGHT:
        case VALUE_R_QUOTA:
        case VALUE_R_USEC:
        case VALUE_R_INDICES:
        case VALUE_R_TASKS:
        case VALUE_R_WORD:
        case VALUE_R_PERCENT:
        case VALUE_R_DEVICE_WEIGHT:
        case VALUE_R_DEVICE_LIMIT:
        case VALUE_R_DEVICE_USEC:
                return draft_set_resource(draft, c, text);
        case _VALUE_TYPE_MAX:
                break;
        }
        return -EINVAL;
}

static int draft_init(Draft *draft, const PolicySource *source) {
        int r;

        draft->domain.name = strdup(source->domain);
        draft->domain.description = strdup("");
        if (!draft->domain.name || !draft->domain.description)
                return -ENOMEM;
        for (size_t i = 0; i < schema_n_keys; i++) {
                const ValueContext c = { .key = &schema_keys[i] };

                if (!c.key->fallback || streq(c.key->section, "Alarm"))
                        continue;
                r = draft_set(draft, 0, &c, c.key->fallback);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Finds or makes the alarm. 0, -EINVAL (said), -ENOMEM. */
static int draft_alarm(Draft *draft, const Section *section, Diagnostics *diagnostics, size_t *ret) {
        Domain *d = &draft->domain;
        Alarm *alarms;
        bool *touched;
        char *name;

        if (!section->argument || !name_is_valid(section->argument)) {
                diagnostics_add(diagnostics, SEVERITY_ERROR, section->argument_span,
                                "an alarm needs a name of at most %d letters, digits, '_', '.' and '-': expected [Alarm NAME]",
                                NAME_MAX_BYTES);
                return -EINVAL;
        }
        for (size_t i = 0; i < d->n_alarms; i++)
                if (streq(d->alarms[i].name, section->argument)) {
                        *ret = i;
                        return 0;
                }
        if (d->n_alarms >= ALARMS_MAX) {
                diagnostics_add(diagnostics, SEVERITY_ERROR, section->span, "more than %d alarms in one domain",
                                ALARMS_MAX);
                return -EINVAL;
        }
        alarms = realloc(d->alarms, (d->n_alarms + 1) * sizeof(Alarm));
        if (alarms)
                d->alarms = alarms;
        touched = realloc(draft->alarm_touched, (d->n_alarms + 1) * sizeof(bool));
        if (touched)
                draft->alarm_touched = touched;
        name = strdup(section->argument);
        if (!alarms || !touched || !name) {
                free(name);
                return -ENOMEM;
        }
        touched[d->n_alarms] = false;
        alarms[d->n_alarms] = (Alarm) { .name = name, .span = section->span };
        *ret = d->n_alarms++;
        return 0;
}

/* Counts something that nobody knows, and returns its severity: a newer version's key must not keep an older one from loading. */
static Severity unknown(Diagnostics *d) {
        d->n_unknown++;
        return d->strict ? SEVERITY_ERROR : SEVERITY_WARNING;
}

static void report_unknown_key(const Section *section, const Assignment *a, Diagnostics *d) {
        const Key *other = schema_find(NULL, a->key), *near;

        /* Where the list is full nobody would read the advice, and it costs most of all here. */
        if ((d->strict ? d->n_errors : d->n_items) >= DIAGNOSTICS_MAX) {
                diagnostics_add(d, unknown(d), a->span, "unknown key");
                return;
        }
        if (other) {
                diagnostics_add(d, unknown(d), a->span, "%s= does not belong into [%s]: it is a key of [%s]",
                                a->key, section->name, other->section);
                return;
        }
        near = schema_suggest_key(section->name, a->key);
        if (!near)
                diagnostics_add(d, unknown(d), a->span, "unknown key %s= in [%s]", a->key, section->name);
        else if (streq(near->section, section->name))
                diagnostics_add(d, unknown(d), a->span, "unknown key %s= in [%s]: did you mean %s=?", a->key,
                                section->name, near->name);
        else
                diagnostics_add(d, unknown(d), a->span, "unknown key %s= in [%s]: did you mean %s= of [%s]?",
                                a->key, section->name, near->name, near->section);
}

static void report_unknown_section(const Section *section, Diagnostics *d) {
        const char *near = schema_suggest_section(section->name);

        diagnostics_add(d, unknown(d), section->span, "unknown section [%s]%s%s%s", section->name,
                        near ? ": did you mean [" : "", near ? near : "", near ? "]?" : "");
}

static int draft_apply_section(Draft *draft, const Section *section, Diagnostics *d) {
        size_t alarm = 0;
        int r;

        if (!schema_has_section(section->name)) {
                report_unknown_section(section, d);
                return 0;
        }
        if (streq(section->name, "Alarm")) {
                r = draft_alarm(draft, section, d, &alarm);
                if (r < 0)
                        return r == -EINVAL ? 0 : r;
        } else if (section->argument)
                diagnostics_add(d, SEVERITY_ERROR, section->argument_span, "[%s] takes no name: expected [%s]",
                                section->name, section->name);
        if (streq(section->name, "Contain")) {
                draft->domain.contain.present = true;
                draft->contain_span = section->span;
        } else if (streq(section->name, "Match") && !draft->domain.match.span.line)
                draft->domain.match.span = section->span;
        else if (streq(section->name, "Resources") && !draft->resources_span.line)
                draft->resources_span = section->span;

        for (size_t i = 0; i < section->n_assignments; i++) {
                const Assignment *a = &section->assignments[i];
                const ValueContext c = {
                        .diagnostics = d,
                        .assignment = a,
                        .key = schema_find(section->name, a->key),
                };

                if (!c.key) {
                        report_unknown_key(section, a, d);
                        continue;
                }
                draft_forget_inactive(draft, a->key);
                r = draft_set(draft, alarm, &c, a->value);
                if (r == -EINVAL)
                        continue;
                if (r < 0)
                        return r;
                if (c.key->inactive && *a->value) {
                        r = draft_inactive(draft, &c, a->key, a->value, c.key->inactive);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int draft_apply(Draft *draft, const PolicySource *source, Diagnostics *d) {
        _cleanup_(document_freep) Document *document = NULL;
        const char *file;
        int r;

        r = strv_extend(&draft->domain.files, source->file);
        if (r < 0)
                return r;
        file = draft->domain.files[strv_length(draft->domain.files) - 1];
        if (!draft->span.line)
                draft->span = (Span) { .file = file, .line = 1, .column = 1 };
        r = document_parse(file, source->text, source->size, d, &document);
        if (r < 0)
                return r;
        for (size_t i = 0; i < document->n_sections; i++) {
                r = draft_apply_section(draft, &document->sections[i], d);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int draft_keep_inactive_conditions(Draft *draft) {
        for (size_t i = 0; i < draft->domain.n_alarms; i++)
                for (size_t j = 0; j < draft->domain.alarms[i].n_conditions; j++) {
                        const Condition *c = &draft->domain.alarms[i].conditions[j];
                        const Key *k = schema_find("Alarm", condition_type_to_string(c->type));
                        int r = c->active ? 0 : draft_keep_inactive(draft, c->text, k->inactive);

                        if (r < 0)
                                return r;
                }
        return 0;
}

static int draft_finish(Draft *draft, Diagnostics *diagnostics) {
        Domain *d = &draft->domain;
        size_t kept = 0;
        int r;

        if (!name_is_valid(d->name)) {
                diagnostics_add(diagnostics, SEVERITY_ERROR, draft->span,
                                "'%.100s' cannot be a domain's name: expected at most %d letters, digits, '_', '.' and '-' before .policy",
                                d->name, NAME_MAX_BYTES);
                return 0;
        }
        if (!d->slice) {
                _cleanup_free_ char *slice = NULL;
                const Assignment whole = { .span = draft->span, .text = (char *) "", .pieces = &(Piece) { 0, 1, 1 },
                                           .n_pieces = 1 };
                const ValueContext c = {
                        .diagnostics = diagnostics,
                        .assignment = &whole,
                        .key = schema_find("Domain", "Slice"),
                };

                if (asprintf(&slice, "%s.slice", d->name) < 0)
                        return -ENOMEM;
                /* The name is not in the text: its faults are told at the first byte. */
                r = value_read_slice(&(ValueContext) { .key = c.key }, slice, &d->slice);
                if (r == -EINVAL)
                        return value_refuse(&c, whole.text, "the file's name makes %s, which cannot be the domain's slice: "
                                            "expected Slice= in [Domain]", slice) == -ENOMEM ? -ENOMEM : 0;
                if (r < 0)
                        return r;
        }
        r = slice_to_cgroup(d->slice, &d->cgroup);
        if (r < 0)
                return r;

        if (streq(d->slice, "-.slice")) {
                if (d->contain.present)
                        diagnostics_add(diagnostics, SEVERITY_ERROR, draft->contain_span,
                                        "-.slice is the whole host: it may carry alarms and never a [Contain]");
                if (draft->rank_span.line)
                        diagnostics_add(diagnostics, SEVERITY_WARNING, draft->rank_span,
                                        "Rank= is not used: -.slice always counts as 1000");
                if (d->n_resources > 0)
                        diagnostics_add(diagnostics, SEVERITY_WARNING, draft->resources_span,
                                        "the kernel has no limits for the whole host: these have no effect");
                d->rank = 1000;
        }
        if (!d->contain.present)
                d->contain.mode = MODE_OFF;
        else if (d->contain.steps[STEP_KILL] && !d->contain.steps[STEP_HOLD] && !d->contain.steps[STEP_SQUEEZE])
                diagnostics_add(diagnostics, SEVERITY_WARNING, draft->contain_span,
                                "nothing is killed here: Steps= has kill, and neither hold nor squeeze, which come before it");

        for (size_t i = 0; i < d->n_alarms; i++) {
                Alarm *a = &d->alarms[i];

                if (a->n_conditions > 0) {
                        d->alarms[kept++] = *a;
                        continue;
                }
                /* What is made of drop-ins alone has its conditions in a file that was not asked about, or that cannot be read. */
                if (!draft->alarm_touched[i] && !endswith(d->files[0], ".conf"))
                        diagnostics_add(diagnostics, SEVERITY_ERROR, a->span,
                                        "[Alarm %s] has no condition: expected a line such as MemoryPressureAbove=some 10%% over 1s",
                                        a->name);
                free(a->conditions);
                free(a->name);
        }
        d->n_alarms = kept;
        return draft_keep_inactive_conditions(draft);
}

static int compare_slices(const void *a, const void *b) {
        return strcmp(((const Domain *) a)->slice, ((const Domain *) b)->slice);
}

static int compile(const PolicySource *sources, size_t n, Draft *drafts, size_t *n_drafts, Diagnostics *d) {
        size_t n_refused;
        int r;

        for (size_t i = 0; i < n; i++) {
                Draft *draft;

                if (i == 0 || !streq(sources[i].domain, sources[i - 1].domain)) {
                        draft = &drafts[(*n_drafts)++];
                        r = draft_init(draft, &sources[i]);
                        if (r < 0)
                                return r;
                } else
                        draft = &drafts[*n_drafts - 1];
                r = draft_apply(draft, &sources[i], d);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < *n_drafts; i++) {
                r = draft_finish(&drafts[i], d);
                if (r < 0)
                        return r;
        }
        n_refused = strv_length(d->refused);
        r = drafts_verify(drafts, *n_drafts, d);
        /* Whose own files have a fault claims nothing: what is in conflict with it is told of, and is no fault of the other's. Among
         * the rest conflicts are seen without it. */
        for (size_t i = strv_length(d->refused); n_refused > 0 && i > n_refused; d->refused[i] = NULL)
                free(d->refused[--i]);
        return r;
}

int policy_compile(const PolicySource *sources, size_t n, Diagnostics *d, Policy **ret) {
        _cleanup_(policy_freep) Policy *policy = NULL;
        Draft *drafts;
        size_t n_drafts = 0;
        int r;

        drafts = calloc(MAX(n, (size_t) 1), sizeof(Draft));
        policy = calloc(1, sizeof(Policy));
        if (!drafts || !policy) {
                free(drafts);
                return -ENOMEM;
        }
        r = compile(sources, n, drafts, &n_drafts, d);
        if (r >= 0 && d->error < 0)
                r = d->error;
        if (r >= 0 && d->n_errors > 0)
                r = -EBADMSG;
        if (r >= 0) {
                policy->domains = calloc(MAX(n_drafts, (size_t) 1), sizeof(Domain));
                if (!policy->domains)
                        r = -ENOMEM;
        }
        if (r >= 0) {
                for (size_t i = 0; i < n_drafts; i++) {
                        policy->domains[i] = drafts[i].domain;
                        drafts[i].domain = (Domain) {};
                }
                policy->n_domains = n_drafts;
                qsort(policy->domains, n_drafts, sizeof(Domain), compare_slices);
        }
        for (size_t i = 0; i < n_drafts; i++)
                draft_done(&drafts[i]);
        free(drafts);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(policy);
        return 0;
}

const char *policy_file_domain(const char *file, size_t *ret_size) {
        const char *end = strstr(file, ".policy.d/"), *start;

        if (!end)
                end = endswith(file, ".policy.d");
        if (!end)
                end = endswith(file, ".policy");
        if (!end)
                return NULL;
        for (start = end; start > file && start[-1] != '/';)
                start--;
        *ret_size = (size_t) (end - start);
        return start;
}

/* Appends the domains that the errors in d are of; of a directory, itself. Returns how many are new, or -ENOMEM. */
static int domains_at_fault(const Diagnostics *d, char ***names) {
        int n_new = 0;

        for (char **f = d->refused; f && *f; f++) {
                _cleanup_free_ char *name = NULL;
                const char *at;
                size_t n;

                at = policy_file_domain(*f, &n);
                name = at ? strndup(at, n) : strdup(*f);
                if (!name)
                        return -ENOMEM;
                if (strv_contains(*names, name))
                        continue;
                if (strv_extend(names, name) < 0)
                        return -ENOMEM;
                n_new++;
        }
        return n_new;
}

static bool slice_is_taken(const Policy *p, const char *slice) {
        for (size_t i = 0; i < p->n_domains; i++)
                if (streq(p->domains[i].slice, slice))
                        return true;
        return false;
}

/* Of a domain that is left out its slice alone, without a contract: what lies in there must not fall under that of a domain around
 * it, which its file may forbid. Nothing, where nothing of it could be read, or the slice is another domain's. */
static int keep_slice(Policy *p, const PolicySource *sources, size_t n, const char *left_out) {
        _cleanup_diagnostics_ Diagnostics faults = {};
        _cleanup_free_ PolicySource *own = calloc(MAX(n, (size_t) 1), sizeof(PolicySource));
        _cleanup_strv_ char **why = NULL;
        Draft draft = {};
        size_t n_own = 0, n_drafts = 0;
        Domain *d = &draft.domain, *domains;
        int r = own ? strv_extend(&why, "all but Slice=: not active: its policy had a fault at the start, see 'cgctl verify'") : -ENOMEM;

        for (size_t i = 0; i < n && own; i++)
                if (streq(sources[i].domain, left_out))
                        own[n_own++] = sources[i];
        if (r >= 0 && n_own > 0)
                r = compile(own, n_own, &draft, &n_drafts, &faults);
        if (r >= 0 && d->cgroup && p->n_domains < POLICY_DOMAINS_MAX && !slice_is_taken(p, d->slice)) {
                domains = realloc(p->domains, (p->n_domains + 1) * sizeof(Domain));
                if (domains) {
                        p->domains = domains;
                        p->domains[p->n_domains++] = (Domain) {
                                .name = TAKE_PTR(d->name), .description = TAKE_PTR(d->description), .slice = TAKE_PTR(d->slice),
                                .cgroup = TAKE_PTR(d->cgroup), .rank = d->rank, .files = TAKE_PTR(d->files), .inactive = TAKE_PTR(why),
                                .blame_share_min_permyriad = d->blame_share_min_permyriad, .left_out = true };
                } else
                        r = -ENOMEM;
        }
        draft_done(&draft);
        return r;
}

int policy_compile_sound(const PolicySource *sources, size_t n, Diagnostics *d, Policy **ret, char ***ret_left_out) {
        _cleanup_free_ PolicySource *kept = NULL;
        _cleanup_strv_ char **left_out = NULL;
        _cleanup_(policy_freep) Policy *policy = NULL;
        int r = policy_compile(sources, n, d, ret), n_new;

        *ret_left_out = NULL;
        if (r != -EBADMSG)
                return r;
        kept = calloc(MAX(n, (size_t) 1), sizeof(PolicySource));
        n_new = domains_at_fault(d, &left_out);
        while (kept && n_new >= 0 && r == -EBADMSG) {
                _cleanup_diagnostics_ Diagnostics rest = { .strict = d->strict };
                size_t n_kept = 0;

                for (size_t i = 0; i < n; i++)
                        if (!strv_contains(left_out, sources[i].domain))
                                kept[n_kept++] = sources[i];
                r = policy_compile(kept, n_kept, &rest, &policy);
                if (r != -EBADMSG)
                        break;
                /* Faults that those of the others hid. */
                n_new = domains_at_fault(&rest, &left_out);
                if (n_new == 0)
                        return -EBADMSG;
        }
        if (!kept || n_new < 0)
                return -ENOMEM;
        for (size_t i = 0; left_out && left_out[i] && r >= 0; i++)
                r = keep_slice(policy, sources, n, left_out[i]);
        if (r < 0)
                return r;
        /* As d has the files. */
        for (char **s = left_out; s && *s; s++) {
                char *shown = str_escape(*s);

                if (!shown)
                        return -ENOMEM;
                free(*s);
                *s = shown;
        }
        qsort(policy->domains, policy->n_domains, sizeof(Domain), compare_slices);
        *ret = TAKE_PTR(policy);
        *ret_left_out = TAKE_PTR(left_out);
        return 0;
}
