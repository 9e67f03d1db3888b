/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl incidents`: one line each, newest first. */

#include "base/units.h"
#include "view/view.h"

void view_incidents(const View *v, const json_t *j, Str *out) {
        static const Column columns[] = {
                { "ID", 1, COLUMN_RIGHT },
                { "STARTED", 1, 0 },
                { "LASTED", 1, COLUMN_RIGHT },
                { "DOMAIN", 1, 0 },
                { "STEP", 1, 0 },
                { "RESULT", 1, 0 },
                { "CULPRIT", 1, COLUMN_TRUNCATE },
        };
        _cleanup_(table_freep) Table *t = NULL;
        const json_t *i;
        size_t k;

        if (json_array_size(j) == 0) {
                str_append(out, "No incident since cgd started; 'journalctl -u cgd -x' tells of those before.\n");
                return;
        }
        t = table_new(v, columns, ARRAY_SIZE(columns));
        if (!t) {
                out->error = -ENOMEM;
                return;
        }
        json_array_foreach(j, k, i) {
                void *line = table_line(t, NULL);
                bool open = !streq(field_text(i, "state"), "over");
                const char *culprit = field_text(i, "culprit"), *slash = strrchr(culprit, '/');
                char buf[VIEW_TEXT_MAX];

                (void) snprintf(buf, sizeof(buf), "%" JSON_INTEGER_FORMAT,
                                json_integer_value(json_object_get(i, "id")));
                table_set(t, line, 0, buf);
                table_set(t, line, 1, view_time(json_object_get(i, "started"), true, buf));
                table_set(t, line, 2,
                          open                                             ? "open" :
                          field_usec(i, "ended") < field_usec(i, "started") ? "-" :
                                 view_duration(field_usec(i, "ended") - field_usec(i, "started"), buf));
                table_set(t, line, 3, *field_text(i, "domain") ? field_text(i, "domain") : "-");
                table_set(t, line, 4, *field_text(i, "step") ? field_text(i, "step") : "-");
                table_set(t, line, 5, open ? field_text(i, "state") : field_text(i, "result"));
                table_set(t, line, 6, *culprit ? (slash && slash[1] ? slash + 1 : culprit) : "-");
                if (open)
                        table_color(t, line, 5, COLOR_YELLOW);
                else if (streq(field_text(i, "result"), "killed"))
                        table_color(t, line, 5, COLOR_RED);
        }
        table_print(t, out);
}
