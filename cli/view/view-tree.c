/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl tree`: the cgroups as they stand, with what each uses, how much it waits and what cgd holds. */

#include "base/units.h"
#include "view/view.h"

static void add(Table *t, void *parent, const json_t *node) {
        void *line = table_line(t, parent);
        const json_t *child, *pressure = json_object_get(node, "pressure_permyriad");
        char buf[VIEW_TEXT_MAX];
        size_t i;

        table_set(t, line, 0, field_text(node, "name"));
        table_set(t, line, 1, *field_text(node, "domain") ? field_text(node, "domain") : "-");
        table_set(t, line, 2, json_is_integer(json_object_get(node, "memory_bytes")) ?
                              view_bytes(json_object_get(node, "memory_bytes"), buf) : "-");
        table_set(t, line, 3, field_i64(node, "swap_bytes") > 0 ?
                              view_bytes(json_object_get(node, "swap_bytes"), buf) : "-");
        table_set(t, line, 4, !json_is_integer(pressure) ? "-" :
                              view_percent((uint64_t) json_integer_value(pressure), buf));
        if (json_integer_value(pressure) >= 1000)
                table_color(t, line, 4, COLOR_RED);
        if (*field_text(node, "held")) {
                char text[2 * VIEW_TEXT_MAX];

                (void) snprintf(text, sizeof(text), "%s %s", field_text(node, "held"),
                                view_bytes(json_object_get(node, "memory_high"), buf));
                table_set(t, line, 5, text);
                table_color(t, line, 5, COLOR_YELLOW);
        } else
                table_set(t, line, 5, "-");
        json_array_foreach(json_object_get(node, "children"), i, child)
                add(t, line, child);
}

void view_tree(const View *v, const json_t *j, Str *out) {
        static const Column columns[] = {
                { "CGROUP", 1, COLUMN_TREE | COLUMN_TRUNCATE }, { "DOMAIN", 1, 0 },
                { "MEMORY", 1, COLUMN_RIGHT },                    { "SWAP", 1, COLUMN_RIGHT },
                { "WAITS", 1, COLUMN_RIGHT },                     { "CONTAINED", 1, 0 },
        };
        _cleanup_(table_freep) Table *t = table_new(v, columns, ARRAY_SIZE(columns));

        if (!t) {
                out->error = -ENOMEM;
                return;
        }
        add(t, NULL, j);
        table_print(t, out);
}
