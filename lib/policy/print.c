/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Print: the table's rows in order, each with the domain's value.
 *
 * Invariant: compile(print(d)) equals d. So Rank= is left out for -.slice, where it is not the file's to
 * set, and [Contain] where there is none. */

#include "base/str.h"
#include "base/units.h"
#include "policy/print.h"
#include "policy/schema.h"

static void print_list(Str *s, const Key *k, char *const *list) {
        for (; list && *list; list++)
                str_appendf(s, "%s=%s\n", k->name, *list);
}

static void print_key(Str *s, const Key *k, const Domain *d) {
        const void *field = (const char *) d + k->offset;
        char buf[FORMAT_MAX];

        switch (k->type) {
        case VALUE_TEXT:
        case VALUE_SLICE:
        case VALUE_COMMAND:
                if (*(char *const *) field && **(char *const *) field)
                        str_appendf(s, "%s=%s\n", k->name, *(char *const *) field);
                break;
        case VALUE_NUMBER:
                if (!streq(d->slice, "-.slice"))
                        str_appendf(s, "%s=%u\n", k->name, *(const unsigned *) field);
                break;
        case VALUE_PERCENT:
                str_appendf(s, "%s=%s\n", k->name, permyriad_format(*(const unsigned *) field, buf));
                break;
        case VALUE_USEC:
                str_appendf(s, "%s=%s\n", k->name, usec_format(*(const uint64_t *) field, buf));
                break;
        case VALUE_BYTES:
                str_appendf(s, "%s=%s\n", k->name, bytes_format(*(const uint64_t *) field, buf));
                break;
        case VALUE_BANDWIDTH:
                str_appendf(s, "%s=%s\n", k->name, bytes_format_si(*(const uint64_t *) field, buf));
                break;
        case VALUE_MODE:
                str_appendf(s, "%s=%s\n", k->name, mode_to_string(*(const Mode *) field));
                break;
        case VALUE_STEPS:
                str_appendf(s, "%s=", k->name);
                for (size_t i = 0, n = 0; i < _STEP_MAX; i++)
                        if (d->contain.steps[i])
                                str_appendf(s, "%s%s", n++ > 0 ? " " : "", step_to_string((Step) i));
                str_append(s, "\n");
                break;
        case VALUE_BUDGET:
                str_appendf(s, "%s=%u per %s\n", k->name, d->contain.kill_budget,
                            usec_format(d->contain.kill_budget_usec, buf));
                break;
        case VALUE_UNITS:
        case VALUE_USERS:
        case VALUE_EXECUTABLES:
                print_list(s, k, *(char **const *) field);
                break;
        default:
                break;
        }
}

static void print_section(Str *s, const Domain *d, const char *section) {
        if (s->length > 0)
                str_append(s, "\n");
        str_appendf(s, "[%s]\n", section);
        for (size_t i = 0; i < schema_n_keys; i++)
                if (streq(schema_keys[i].section, section))
                        print_key(s, &schema_keys[i], d);
}

int domain_print(const Domain *d, char **ret) {
        _cleanup_str_ Str s = {};
        char buf[FORMAT_MAX];

        print_section(&s, d, "Domain");
        if (d->match.units || d->match.users || d->match.executables)
                print_section(&s, d, "Match");
        if (d->n_resources > 0)
                str_append(&s, "\n[Resources]\n");
        for (size_t i = 0; i < d->n_resources; i++)
                str_appendf(&s, "%s=%s\n", d->resources[i].key, d->resources[i].value);
        for (size_t i = 0; i < d->n_alarms; i++) {
                const Alarm *a = &d->alarms[i];

                str_appendf(&s, "\n[Alarm %s]\n", a->name);
                for (size_t j = 0; j < a->n_conditions; j++)
                        str_appendf(&s, "%s\n", a->conditions[j].text);
                str_appendf(&s, "LastingSec=%s\n", usec_format(a->lasting_usec, buf));
        }
        if (d->contain.present)
                print_section(&s, d, "Contain");
        return str_finish(&s, ret);
}
