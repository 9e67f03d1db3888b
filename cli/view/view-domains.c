/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl domains`: who is promised what, and what may be done to whom. What is written in a policy and not
 * acted on by this build is said below the table: never silently nothing. */

#include "base/units.h"
#include "view/view.h"

static void join(Str *out, const json_t *strings, const char *separator, const char *none) {
        const json_t *s;
        size_t i;

        json_array_foreach(strings, i, s) {
                if (i > 0)
                        str_append(out, separator);
                str_append(out, json_string_value(s) ? json_string_value(s) : "");
        }
        if (json_array_size(strings) == 0)
                str_append(out, none);
}

static void join_alarms(Str *out, const json_t *alarms) {
        const json_t *a;
        size_t i;

        json_array_foreach(alarms, i, a)
                str_appendf(out, field_true(a, "active") ? "%s%s" : "%s(%s)", i > 0 ? " " : "",
                                field_text(a, "name"));
        if (json_array_size(alarms) == 0)
                str_append(out, "-");
}

void view_domains(const View *v, const json_t *j, Str *out) {
        static const Column columns[] = {
                { "DOMAIN", 1, 0 },          { "RANK", 1, COLUMN_RIGHT },     { "SLICE", 1, 0 },
                { "MODE", 1, 0 },            { "STEPS", 1, 0 },  { "ALARMS", 1, 0 },
        };
        _cleanup_(table_freep) Table *t = table_new(v, columns, ARRAY_SIZE(columns));
        const json_t *d, *a;
        size_t i, k;
        bool said = false;

        if (!t) {
                out->error = -ENOMEM;
                return;
        }
        json_array_foreach(j, i, d) {
                const json_t *contain = json_object_get(d, "contain");
                const char *mode = json_is_object(contain) ? field_text(contain, "mode") : "-";
                bool changed = json_is_object(contain) && !streq(mode, field_text(contain,
                                "mode_configured"));
                _cleanup_str_ Str steps = {}, alarms = {}, mode_text = {};
                void *line = table_line(t, NULL);
                char rank[32];

                join(&steps, json_object_get(contain, "steps"), " ", "-");
                join_alarms(&alarms, json_object_get(d, "alarms"));
                str_appendf(&mode_text, "%s%s", mode, changed ? " *" : "");
                (void) snprintf(rank, sizeof(rank), "%" JSON_INTEGER_FORMAT,
                                json_integer_value(json_object_get(d, "rank")));
                table_set(t, line, 0, field_text(d, "name"));
                table_set(t, line, 1, rank);
                table_set(t, line, 2, field_text(d, "slice"));
                table_set(t, line, 3, mode_text.data);
                table_set(t, line, 4, steps.data);
                table_set(t, line, 5, alarms.data);
                if (streq(mode, "enforce"))
                        table_color(t, line, 3, COLOR_RED);
                else if (streq(mode, "contain"))
                        table_color(t, line, 3, COLOR_YELLOW);
        }
        table_print(t, out);

        json_array_foreach(j, i, d) {
                const json_t *contain = json_object_get(d, "contain");

                if (json_is_object(contain) && !streq(field_text(contain, "mode"), field_text(contain,
                                "mode_configured"))) {
                        str_append(out, said ? "" : "\n");
                        said = true;
                        str_append(out, "* ");
                        view_text(out, field_text(d, "name"));
                        str_append(out, ": set by 'cgctl set-mode'; its policy says ");
                        view_text(out, field_text(contain, "mode_configured"));
                        str_append(out, "\n");
                }
                json_array_foreach(json_object_get(d, "not_active"), k, a) {
                        _cleanup_str_ Str s = {};

                        str_append(out, said ? "" : "\n");
                        said = true;
                        view_text(&s, field_text(d, "name"));
                        str_append(&s, ": ");
                        view_text(&s, json_string_value(a) ? json_string_value(a) : "");
                        view_wrap(v, out, 0, s.data ? s.data : "");
                }
        }
}
