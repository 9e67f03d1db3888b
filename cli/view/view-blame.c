/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl blame`: who made whom wait, worst first. */

#include "base/units.h"
#include "view/view.h"

static json_int_t number(const json_t *row, const char *key) {
        return json_integer_value(json_object_get(row, key)); /* 0 for null */
}

/* By waiting, then by what was taken in, then by name. */
static int compare(const void *a, const void *b) {
        const json_t *x = *(json_t *const *) a, *y = *(json_t *const *) b;
        static const char *const keys[] = { "waited_usec", "intake_bytes" };
        int r;

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (number(x, keys[i]) != number(y, keys[i]))
                        return number(x, keys[i]) < number(y, keys[i]) ? 1 : -1;
        r = strcmp(field_text(x, "victim"), field_text(y, "victim"));
        return r != 0 ? r : strcmp(field_text(x, "culprit"), field_text(y, "culprit"));
}

static const char *name_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return streq(path, "/") ? "the kernel" : slash ? slash + 1 : path;
}

/* Of two who use a disk together each waits as long for the other; for the larger one that is next to nothing. */
#define SHOWN_PERMYRIAD 500

void view_blame(const View *v, const json_t *j, Str *out) {
        static const Column columns[] = {
                { "RESOURCE", 1, 0 },
                { "VICTIM", 1, COLUMN_TRUNCATE },
                { "CULPRIT", 1, COLUMN_TRUNCATE },
                { "AMOUNT", 1, COLUMN_RIGHT },
                { "SHARE", 1, COLUMN_RIGHT },
                { "FROM", 1, 0 },
        };
        _cleanup_free_ const json_t **rows = NULL;
        _cleanup_(table_freep) Table *t = NULL;
        size_t n = json_array_size(j), shown = 0;

        /* Who did not wait and who was not looked at leave the same: nothing. */
        if (n == 0) {
                view_wrap(v, out, 0, "Nothing is known of anybody who made others wait in that time; 'cgctl check' tells "
                                     "whether it is measured (for 15 minutes at most).");
                return;
        }
        t = table_new(v, columns, ARRAY_SIZE(columns));
        rows = calloc(n, sizeof(*rows));
        if (!t || !rows) {
                out->error = -ENOMEM;
                return;
        }
        for (size_t i = 0; i < n; i++)
                if (field_u64(json_array_get(j, i), "share_permyriad") >= SHOWN_PERMYRIAD ||
                    json_is_null(json_object_get(json_array_get(j, i), "waited_usec")))
                        rows[shown++] = json_array_get(j, i);
        if (shown == 0) {
                str_append(out, "Nobody took as much as 5 % of anybody's time.\n");
                return;
        }
        qsort(rows, shown, sizeof(*rows), compare);
        for (size_t i = 0; i < shown; i++) {
                void *line = table_line(t, NULL);
                json_int_t incidents = number(rows[i], "incidents");
                char buf[VIEW_TEXT_MAX], text[VIEW_TEXT_MAX + 16];

                table_set(t, line, 0, field_text(rows[i], "resource"));
                table_set(t, line, 1, name_of(field_text(rows[i], "victim")));
                table_set(t, line, 2, name_of(field_text(rows[i], "culprit")));
                if (json_is_null(json_object_get(rows[i], "waited_usec")))
                        (void) snprintf(text, sizeof(text), "took %s",
                                        view_bytes(json_object_get(rows[i], "intake_bytes"), buf));
                else
                        (void) snprintf(text, sizeof(text), "waited %s", view_duration(field_u64(rows[i], "waited_usec"), buf));
                table_set(t, line, 3, text);
                table_set(t, line, 4, view_percent(field_u64(rows[i], "share_permyriad"), buf));
                if (incidents > 0)
                        (void) snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT " incident%s%s", incidents,
                                        incidents == 1 ? "" : "s",
                                        streq(field_text(rows[i], "confidence"), "low") ? " (low)" : "");
                else
                        (void) snprintf(text, sizeof(text), "measured");
                table_set(t, line, 5, text);
        }
        table_print(t, out);
}
