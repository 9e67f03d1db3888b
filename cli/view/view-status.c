/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl status`: is it running, what does it see, is anything wrong, is anything held. One screen. */

#include <inttypes.h>

#include "base/units.h"
#include "view/view.h"

#define LABEL_COLUMNS 12

static void label(const View *v, Str *out, const char *name) {
        str_appendf(out, "%s", view_color(v, COLOR_DIM));
        view_pad(out, name, -(LABEL_COLUMNS - 2));
        str_appendf(out, "%s  ", view_color(v, COLOR_NORMAL));
}

/* Text behind a label, wrapped below itself. */
static void labelled(const View *v, Str *out, const char *name, Color c, const char *text) {
        _cleanup_str_ Str wrapped = {}, safe = {};

        view_text(&safe, text);
        view_wrap(v, &wrapped, LABEL_COLUMNS, safe.data ? safe.data : "");
        label(v, out, name);
        str_append(out, view_color(v, c));
        str_append(out, wrapped.length > LABEL_COLUMNS ? wrapped.data + LABEL_COLUMNS : "\n");
        str_append(out, view_color(v, COLOR_NORMAL));
}

static const char *pressure_words(const char *psi) {
        if (streq(psi, "full"))
                return "wakes within 0.1 s of a stall";
        if (streq(psi, "coarse"))
                return "wakes within 2 s of a stall (no CAP_SYS_RESOURCE for shorter windows)";
        if (streq(psi, "polled"))
                return "the kernel refused pressure triggers: seen only in samples";
        if (streq(psi, "off"))
                return "this kernel has no pressure figures (psi=0): only the forecast and swap can raise "
                       "an alarm";
        return "state of the pressure triggers unknown";
}

static const char *level_words(const char *level) {
        return streq(level, "walk") ? "level 2, one walk in the kernel" : "level 1, files";
}

static void print_incident(const View *v, const json_t *i, uint64_t now, Str *out) {
        char buf[VIEW_TEXT_MAX];
        const char *ago = view_duration(now - MIN(now, field_usec(i, "started")), buf);

        str_appendf(out, "%s%" JSON_INTEGER_FORMAT "%s: ", view_color(v, COLOR_BOLD),
                    json_integer_value(json_object_get(i, "id")), view_color(v, COLOR_NORMAL));
        if (!*field_text(i, "domain")) {
                view_text(out, field_text(i, "culprit"));
                str_appendf(out, " taken over after a restart of cgd %s ago, ", ago);
        } else {
                view_text(out, field_text(i, "domain"));
                str_append(out, " asked for help (");
                view_text(out, field_text(i, "alarm"));
                str_appendf(out, ") %s ago, ", ago);
                if (*field_text(i, "culprit")) {
                        view_text(out, field_text(i, "culprit"));
                        str_append(out, ", ");
                }
        }
        view_text(out, field_text(i, "state"));
        str_append(out, "\n");
}

/* "254:16 reads 16.0 MiB/s, 400 IOPS"; what has no limit is not told. */
static void print_cap(const json_t *cap, size_t index, Str *out) {
        static const struct {
                const char *name, *bytes, *operations;
        } directions[] = { { "reads", "read_bytes", "reads" }, { "writes", "write_bytes", "writes" } };
        char buf[VIEW_TEXT_MAX];

        str_append(out, index > 0 ? ", " : " ");
        view_text(out, field_text(cap, "device"));
        for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
                const json_t *bytes = json_object_get(cap, directions[i].bytes),
                             *operations = json_object_get(cap, directions[i].operations);

                if (!json_is_integer(bytes) && !json_is_integer(operations))
                        continue;
                str_appendf(out, " %s", directions[i].name);
                if (json_is_integer(bytes))
                        str_appendf(out, " %s/s", view_bytes(bytes, buf));
                if (json_is_integer(operations))
                        str_appendf(out, "%s %" JSON_INTEGER_FORMAT " IOPS", json_is_integer(bytes) ? "," : "",
                                    json_integer_value(operations));
        }
}

static void print_contained(const View *v, const json_t *c, uint64_t now, Str *out) {
        char a[VIEW_TEXT_MAX], b[VIEW_TEXT_MAX];
        const json_t *cap;
        size_t k;
        const char *what = streq(field_text(c, "step"), "squeeze") ? "squeezed to" : "held at";

        str_append(out, view_color(v, COLOR_YELLOW));
        view_text(out, field_text(c, "cgroup"));
        str_append(out, view_color(v, COLOR_NORMAL));
        (void) view_duration(now - MIN(now, field_usec(c, "since")), b);
        if (json_object_get(c, "memory_high"))
                str_appendf(out, " %s %s for %s, was %s%s", what, view_bytes(json_object_get(c, "memory_high"), a), b,
                            view_bytes(json_object_get(c, "memory_high_before"), (char[VIEW_TEXT_MAX]){}),
                            json_array_size(json_object_get(c, "io_max")) > 0 ? ";" : "");
        if (json_array_size(json_object_get(c, "io_max")) > 0)
                str_append(out, " io capped");
        else if (!json_object_get(c, "memory_high")) {
                /* A later version's. */
                str_append(out, " ");
                view_text(out, field_text(c, "step"));
        }
        json_array_foreach(json_object_get(c, "io_max"), k, cap)
                print_cap(cap, k, out);
        if (!json_object_get(c, "memory_high"))
                str_appendf(out, " for %s", b);
        if (json_is_integer(json_object_get(c, "incident")))
                str_appendf(out, " (incident %" JSON_INTEGER_FORMAT ")", json_integer_value(json_object_get(c, "incident")));
        str_append(out, "\n");
}

/* The id that all these have under this key, or 0. */
static json_int_t common_id(const json_t *list, const char *key, json_int_t id, bool first) {
        const json_t *item;
        size_t k;

        json_array_foreach(list, k, item) {
                json_int_t this = json_integer_value(json_object_get(item, key));

                id = first || this == id ? this : 0;
                first = false;
        }
        return id;
}

static bool named_before(const json_t *list, size_t before, const char *domain) {
        for (size_t k = 0; k < before; k++)
                if (streq(field_text(json_array_get(list, k), "domain"), domain))
                        return true;
        return false;
}

static bool all_quiet(const json_t *open) {
        const json_t *item;
        size_t k;

        json_array_foreach(open, k, item)
                if (!streq(field_text(item, "state"), "quiet"))
                        return false;
        return json_array_size(open) > 0;
}

/* What to type next. */
static void print_hints(const View *v, const json_t *open, const json_t *contained, Str *out) {
        json_int_t id = common_id(contained, "incident", common_id(open, "id", 0, true), json_array_size(open) == 0);
        const json_t *c;
        size_t k;

        str_append(out, "\n");
        str_append(out, view_color(v, COLOR_DIM));
        if (id > 0)
                str_appendf(out, "'cgctl why %" JSON_INTEGER_FORMAT "' tells how it came to this.\n", id);
        else
                str_append(out, "'cgctl why ID' tells how it came to an incident.\n");
        json_array_foreach(contained, k, c) {
                const char *domain = field_text(c, "domain");
                _cleanup_str_ Str s = {};

                if (!*domain || named_before(contained, k, domain))
                        continue;
                str_appendf(&s, "'cgctl set-mode %s monitor' frees all that is contained in %s, until a reload; Exclude= in "
                                "its policy and 'cgctl reload' free one unit.", domain, domain);
                view_wrap(v, out, 0, s.data ?: "");
        }
        str_append(out, view_color(v, COLOR_NORMAL));
}

void view_status(const View *v, const json_t *j, Str *out) {
        const json_t *policy = json_object_get(j, "policy"), *sensing = json_object_get(j, "sensing");
        const json_t *open = json_object_get(j, "incidents"), *contained = json_object_get(j, "contained");
        const json_t *last = json_object_get(j, "last_incident"), *item;
        uint64_t now = field_usec(j, "now"), lasts = field_u64(j, "exhaustion_usec");
        uint64_t rows = field_u64(sensing, "rows_dropped"), events = field_u64(sensing, "events_dropped");
        const json_t *refused = json_object_get(policy, "refused"), *left_out = json_object_get(policy, "left_out");
        bool blind = json_integer_value(json_object_get(policy, "domains")) == 0;
        bool trouble = json_array_size(open) > 0 || json_array_size(contained) > 0;
        char buf[VIEW_TEXT_MAX], when[VIEW_TEXT_MAX];
        _cleanup_str_ Str sensed = {};
        size_t k;

        view_colored(v, out, blind ? COLOR_RED : trouble || json_array_size(refused) > 0 ? COLOR_YELLOW : COLOR_GREEN, "%s",
                     v->unicode ? "●" : "*");
        str_append(out, " cgd ");
        view_text(out, field_text(j, "version"));
        str_appendf(out, ": %s%s\n",
                    json_array_size(contained) > 0 ? "containing" :
                    all_quiet(open)                ? "an alarm, and nothing may or can be done" :
                    json_array_size(open) > 0      ? "looking into an alarm" :
                    blind                          ? "guards nothing" :
                                                     "all calm",
                    json_array_size(refused) > 0 ? ", policies refused" : "");

        label(v, out, "running");
        str_appendf(out, "since %s (%s), pid %" JSON_INTEGER_FORMAT "\n",
                    view_time(json_object_get(j, "started"), true, when),
                    view_duration(now - MIN(now, field_usec(j, "started")), buf),
                    json_integer_value(json_object_get(j, "pid")));
        str_append(&sensed, level_words(field_text(sensing, "level")));
        if (*field_text(sensing, "reason"))
                str_appendf(&sensed, " (%s)", field_text(sensing, "reason"));
        str_appendf(&sensed, "; %s", pressure_words(field_text(sensing, "pressure")));
        labelled(v, out, "sensing", COLOR_NORMAL, sensed.data ? sensed.data : "");
        if (rows > 0 || events > 0) {
                _cleanup_str_ Str lost = {};

                str_appendf(&lost, "%" PRIu64 " rows of cgroups and %" PRIu64 " events found no place; what they told "
                                   "was not looked at", rows, events);
                labelled(v, out, "lost", COLOR_YELLOW, lost.data ? lost.data : "");
        }
        if (!field_true(j, "bus"))
                labelled(v, out, "bus", COLOR_YELLOW, "not connected: nothing can be placed, and a daemon-reload may undo a hold; "
                                                      "cgd tries again with each heartbeat");

        label(v, out, "policy");
        str_appendf(out, "%" JSON_INTEGER_FORMAT " domains from ",
                    json_integer_value(json_object_get(policy, "domains")));
        json_array_foreach(json_object_get(policy, "directories"), k, item) {
                if (k > 0)
                        str_append(out, ", ");
                view_text(out, json_string_value(item) ? json_string_value(item) : "");
        }
        str_appendf(out, "%s, loaded %s\n",
                    json_array_size(json_object_get(policy, "directories")) ? "" : "no file",
                    view_time(json_object_get(policy, "loaded"), true, when));
        if (json_array_size(left_out) > 0) {
                _cleanup_str_ Str s = {};

                str_append(&s, "not in force since cgd started, for their faults:");
                json_array_foreach(left_out, k, item)
                        str_appendf(&s, " %s", json_string_value(item) ?: "");
                labelled(v, out, "", COLOR_RED, s.data ?: "");
        } else if (json_array_size(refused) > 0)
                labelled(v, out, "", COLOR_RED, blind ? "refused when cgd started:" :
                                                        "the last reload was refused and changed nothing:");
        json_array_foreach(refused, k, item)
                labelled(v, out, "", COLOR_NORMAL, json_string_value(item) ?: "");
        if (json_array_size(refused) > 0)
                labelled(v, out, "", COLOR_NORMAL, "Mend them, ask 'cgctl verify', then 'cgctl reload'.");

        label(v, out, "forecast");
        if (lasts == USEC_INFINITY)
                str_append(out, "free memory is not shrinking\n");
        else {
                str_append(out, view_color(v, lasts < 10 * USEC_PER_SEC ? COLOR_RED : COLOR_NORMAL));
                str_appendf(out, "at this rate memory and swap last %s%s\n", view_duration(lasts, buf),
                            view_color(v, COLOR_NORMAL));
        }

        label(v, out, "incidents");
        if (json_array_size(open) == 0)
                str_append(out, "none open\n");
        json_array_foreach(open, k, item) {
                if (k > 0)
                        label(v, out, "");
                print_incident(v, item, now, out);
        }
        if (json_array_size(open) == 0 && json_is_object(last)) {
                label(v, out, "");
                str_appendf(out, "last: %" JSON_INTEGER_FORMAT ", ",
                            json_integer_value(json_object_get(last, "id")));
                if (*field_text(last, "domain"))
                        view_text(out, field_text(last, "domain"));
                else {
                        view_text(out, field_text(last, "culprit"));
                        str_append(out, " taken over after a restart of cgd");
                }
                str_appendf(out, " at %s, ", view_time(json_object_get(last, "started"), true, when));
                view_text(out, field_text(last, "result"));
                str_append(out, "\n");
        }

        label(v, out, "contained");
        if (json_array_size(contained) == 0)
                str_append(out, "nothing\n");
        json_array_foreach(contained, k, item) {
                if (k > 0)
                        label(v, out, "");
                print_contained(v, item, now, out);
        }
        if (trouble)
                print_hints(v, open, contained, out);
}
