/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl tree`: the cgroups as they stand, with what each uses, how much it waits and what cgd holds. */

#include "base/units.h"
#include "view/view.h"

/* The tightest that is known of a cap, for a column: "16.0 MiB/s 400 IOPS". */
static void cap_text(const json_t *cap, char *buf, size_t size) {
        static const char *const bytes[] = { "read_bytes", "write_bytes" }, *const operations[] = { "reads", "writes" };
        char text[VIEW_TEXT_MAX];
        size_t n = 0;

        buf[0] = '\0';
        for (size_t i = 0; i < 2 && n == 0; i++) {
                const json_t *b = json_object_get(cap, bytes[i]), *o = json_object_get(cap, operations[i]);

                if (json_is_integer(b))
                        n += (size_t) snprintf(buf + n, size - n, " %s/s", view_bytes(b, text));
                if (json_is_integer(o))
                        n += (size_t) snprintf(buf + n, size - n, " %" JSON_INTEGER_FORMAT " IOPS", json_integer_value(o));
        }
}

static void add(Table *t, void *parent, const json_t *node) {
        void *line = table_line(t, parent);
        const json_t *child, *pressure = json_object_get(node, "pressure_permyriad"),
                     *io_pressure = json_object_get(node, "io_pressure_permyriad");
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
        table_set(t, line, 5, !json_is_integer(io_pressure) ? "-" :
                              view_percent((uint64_t) json_integer_value(io_pressure), buf));
        if (json_integer_value(io_pressure) >= 3000)
                table_color(t, line, 5, COLOR_RED);
        table_set(t, line, 6, !json_is_integer(json_object_get(node, "io_p99_usec")) ? "-" :
                              view_duration(field_u64(node, "io_p99_usec"), buf));
        if (*field_text(node, "held")) {
                char text[4 * VIEW_TEXT_MAX];

                if (streq(field_text(node, "held"), "io-cap")) {
                        char cap[2 * VIEW_TEXT_MAX];

                        cap_text(json_array_get(json_object_get(node, "io_max"), 0), cap, sizeof(cap));
                        (void) snprintf(text, sizeof(text), "io-cap%s", cap);
                } else
                        (void) snprintf(text, sizeof(text), "%s %s", field_text(node, "held"),
                                        view_bytes(json_object_get(node, "memory_high"), buf));
                table_set(t, line, 7, text);
                table_color(t, line, 7, COLOR_YELLOW);
        } else
                table_set(t, line, 7, "-");
        json_array_foreach(json_object_get(node, "children"), i, child)
                add(t, line, child);
}

void view_tree(const View *v, const json_t *j, Str *out) {
        static const Column columns[] = {
                { "CGROUP", 1, COLUMN_TREE | COLUMN_TRUNCATE }, { "DOMAIN", 1, 0 },
                { "MEMORY", 1, COLUMN_RIGHT },                    { "SWAP", 1, COLUMN_RIGHT },
                { "WAITS", 1, COLUMN_RIGHT },                     { "IO WAITS", 1, COLUMN_RIGHT },
                { "IO P99", 1, COLUMN_RIGHT },
                { "CONTAINED", 1, 0 },
        };
        _cleanup_(table_freep) Table *t = table_new(v, columns, ARRAY_SIZE(columns));

        if (!t) {
                out->error = -ENOMEM;
                return;
        }
        add(t, NULL, j);
        table_print(t, out);
}
