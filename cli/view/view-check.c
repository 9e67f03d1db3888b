/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl check`: what this machine offers cgd, and what each lack costs. */

#include "base/units.h"
#include "view/view.h"

void view_check(const View *v, const json_t *j, Str *out) {
        const json_t *items = json_object_get(j, "items"), *item;
        const char *group = "";
        size_t i, lacks = 0, missing = 0;

        json_array_foreach(items, i, item) {
                const char *state = field_text(item, "state"), *mark, *tail;
                Color c;

                if (!streq(group, field_text(item, "group"))) {
                        group = field_text(item, "group");
                        if (v->legend) {
                                str_append(out, i > 0 ? "\n" : "");
                                view_colored(v, out, COLOR_BOLD, "%s", group);
                                str_append(out, "\n");
                        }
                }
                if (streq(state, "ok")) {
                        mark = v->unicode ? "✓" : "+";
                        c = COLOR_GREEN;
                } else if (streq(state, "missing")) {
                        mark = v->unicode ? "✗" : "X";
                        c = COLOR_RED;
                        missing++;
                } else if (streq(state, "lack")) {
                        mark = "!";
                        c = COLOR_YELLOW;
                        lacks++;
                } else {
                        mark = v->unicode ? "·" : "-";
                        c = COLOR_DIM;
                }
                str_append(out, "  ");
                view_colored(v, out, c, "%s", mark);
                str_append(out, " ");
                view_pad(out, field_text(item, "name"), 14);
                view_text(out, field_text(item, "found"));
                str_append(out, "\n");
                for (unsigned k = 0; k < 2; k++) {
                        tail = field_text(item, k == 0 ? "cost" : "remedy");
                        if (*tail)
                                view_wrap(v, out, 18, tail);
                }
        }
        str_append(out, "\n");
        if (missing > 0)
                view_colored(v, out, COLOR_RED, "cgd cannot work here: %zu essential thing%s "
                                                "missing.", missing,
                             missing == 1 ? " is" : "s are");
        else if (lacks > 0)
                view_colored(v, out, COLOR_YELLOW, "cgd works here, with %zu "
                                                   "limitation%s.", lacks, lacks == 1 ? "" : "s");
        else
                view_colored(v, out, COLOR_GREEN, "cgd has all it needs here.");
        str_append(out, "\n");
}
