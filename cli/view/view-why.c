/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl why`: the face of cgd. What was wrong, who did it and how sure is that, why this one was (not)
 * touched, each step with before and after, how it ended, and which line of which policy asked for it.
 *
 * It reads like sentences, uses the words of the policy files, and fits one screen: repeated rises of a
 * limit are told as one line. */

#include "base/units.h"
#include "view/view.h"

#define BAR_COLUMNS 20
#define SHOWN_MAX 6

static void heading(const View *v, Str *out, const char *text) {
        str_append(out, "\n");
        view_colored(v, out, COLOR_BOLD, "%s", text);
        str_append(out, "\n");
}

static const char *last_component(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash && slash[1] ? slash + 1 : path;
}

/* "MemoryPressureAbove=some 10% over 1s" -> the sentence for what was measured. */
static void print_alarm(const View *v, const json_t *j, Str *out) {
        const char *condition = field_text(j, "condition"), *value = strchr(condition, '=');
        uint64_t measured = field_u64(j, "measured"), threshold = field_u64(j, "threshold");
        char a[VIEW_TEXT_MAX], b[VIEW_TEXT_MAX];
        _cleanup_str_ Str s = {};

        value = value ? value + 1 : "";
        if (!*field_text(j, "domain")) {
                str_append(
                        &s,
                        "Left from a run of cgd that ended before it was over, and taken over after the "
                        "restart.");
        } else if (startswith(condition, "MemoryExhaustionWithin")) {
                str_appendf(
                        &s,
                        "At the rate it was going, memory would have lasted %s more; the alarm is set at %s.",
                        view_duration(measured, a), view_duration(threshold, b));
        } else if (startswith(condition, "SwapUsedAbove")) {
                str_appendf(&s, "%s of the swap was in use; the alarm is set at %s.",
                            view_percent(measured, a), view_percent(threshold, b));
        } else if (startswith(condition, "MemoryUsedAbove")) {
                str_appendf(&s, "%s of the memory was in use; the alarm is set at %s.",
                            view_percent(measured, a), view_percent(threshold, b));
        } else if (startswith(condition, "MemoryPressureAbove")) {
                str_appendf(
                        &s,
                        "For %s of the time %s of its processes stood waiting for memory; the alarm is set "
                        "at "
                        "%s.",
                        view_percent(measured, a), startswith(value, "full") ? "all" : "some",
                        view_percent(threshold, b));
        } else if (startswith(condition, "IOPressureAbove")) {
                str_appendf(
                        &s,
                        "For %s of the time %s of its processes stood waiting for io; the alarm is set at %s.",
                        view_percent(measured, a), startswith(value, "full") ? "all" : "some",
                        view_percent(threshold, b));
        } else if (startswith(condition, "IOLatencyAbove")) {
                str_appendf(&s, "Of its requests the slowest %u %% took %s or more at the disks; the alarm is set at %s.",
                            100 - (unsigned) strtoul(value + (*value != '\0'), NULL, 10), view_duration(measured, a),
                            view_duration(threshold, b));
        } else {
                str_append(&s, "The alarm's condition held: ");
                view_text(&s, condition);
        }
        view_wrap(v, out, 2, s.data ? s.data : "");
}

static void print_candidates(const View *v, const json_t *j, Str *out) {
        const json_t *candidates = json_object_get(j, "candidates"), *c;
        char a[VIEW_TEXT_MAX], b[VIEW_TEXT_MAX];
        uint64_t window = field_u64(j, "window_usec");
        bool io = streq(field_text(j, "resource"), "io");
        _cleanup_str_ Str title = {};
        size_t i;

        if (json_array_size(candidates) == 0)
                return;
        if (io && field_u64(j, "waited_usec") > 0)
                str_appendf(&title, "For whom it waited at the disk (%s of waiting in the %s looked at)",
                            view_duration(field_u64(j, "waited_usec"), a), view_duration(window, b));
        else if (io)
                str_appendf(&title, "Who used the disk (%s in %llu operations in the %s looked at)",
                            view_bytes(json_object_get(j, "intake_bytes"), a),
                            (unsigned long long) field_u64(j, "operations"), view_duration(window, b));
        else
                str_appendf(&title, "Who took the memory (%s in the %s looked at)",
                            view_bytes(json_object_get(j, "intake_bytes"), a), view_duration(window, b));
        heading(v, out, title.data ? title.data : "");
        json_array_foreach(candidates, i, c) {
                uint64_t share = field_u64(c, "share_permyriad");
                bool culprit = streq(field_text(c, "cgroup"), field_text(j, "culprit"));
                bool known; /* whoever is listed for his name alone was not measured */

                if (i == SHOWN_MAX && json_array_size(candidates) > SHOWN_MAX + 1) {
                        str_appendf(out, "  %zu more with less\n", json_array_size(candidates) - i);
                        break;
                }
                str_append(out, "  ");
                str_append(out, view_color(v, culprit ? COLOR_RED : COLOR_BLUE));
                view_bar(v, out, (unsigned) MIN(share, PERMYRIAD), BAR_COLUMNS);
                str_append(out, view_color(v, COLOR_NORMAL));
                known = share > 0 || field_u64(c, "intake_bytes") > 0 || streq(field_text(c, "verdict"), "small-share");
                view_pad(out, known ? view_percent(share, a) : "-", -8);
                view_pad(out, known ? view_bytes(json_object_get(c, "intake_bytes"), b) : "-", -9);
                if (io) {
                        (void) snprintf(a, sizeof(a), "%llu ops", (unsigned long long) field_u64(c, "operations"));
                        view_pad(out, known ? a : "-", -10);
                }
                if (io && field_u64(j, "waited_usec") > 0)
                        view_pad(out, known ? view_duration(field_u64(c, "waited_usec"), a) : "-", -9);
                str_append(out, "  ");
                str_append(out, view_color(v, culprit ? COLOR_BOLD : COLOR_NORMAL));
                view_text(out, field_text(c, "cgroup"));
                str_append(out, view_color(v, COLOR_NORMAL));
                str_append(out, "\n");
                if (!culprit && !streq(field_text(c, "verdict"), "small-share")) {
                        _cleanup_str_ Str s = {};

                        view_text(&s, field_text(c, "verdict_text"));
                        view_wrap(v, out, BAR_COLUMNS + 21, s.data ? s.data : "");
                }
        }
}

static const json_t *find_candidate(const json_t *j, const char *key, const char *value) {
        const json_t *c;
        size_t i;

        json_array_foreach(json_object_get(j, "candidates"), i,
                           c) if (streq(field_text(c, key), value)) return c;
        return NULL;
}

/* Is there an entry of what this incident did to it? */
static bool did_something(const json_t *j, const char *cgroup) {
        const json_t *e;
        size_t i;

        json_array_foreach(json_object_get(j, "entries"), i, e)
                if (*field_text(e, "action") && streq(field_text(e, "cgroup"), cgroup))
                        return true;
        return false;
}

static void print_why_this_one(const View *v, const json_t *j, Str *out) {
        const char *culprit = field_text(j, "culprit"), *domain = field_text(j, "domain"),
                   *other = field_text(j, "culprit_domain"), *verdict;
        const json_t *c = find_candidate(j, "cgroup", culprit);
        _cleanup_str_ Str s = {};
        char a[VIEW_TEXT_MAX];
        bool acted;

        if (!*domain)
                return; /* adopted: who was considered then is not known */
        if (!*culprit) {
                /* Whom an entry is about keeps what was thought of it then. */
                c = streq(field_text(j, "result"), "self") ? find_candidate(j, "verdict", "own-limit") : NULL;
                c = c ?: find_candidate(j, "verdict", "free-memory") ?: find_candidate(j, "verdict", "not-waited-for");
                culprit = field_text(c, "cgroup");
        }
        if (!*culprit) {
                if (json_array_size(json_object_get(j, "candidates")) == 0)
                        return;
                heading(v, out, "Why nothing was done");
                view_wrap(v, out, 2,
                          "Nobody took enough of it to be blamed, and without evidence nothing is done.");
                return;
        }
        verdict = field_text(c, "verdict");
        acted = streq(verdict, "culprit") || streq(verdict, "taken") || !c;
        heading(v, out, acted ? "Why this one" : "Why nothing was done");
        view_text(&s, last_component(culprit));
        if (c && streq(verdict, "own-limit"))
                str_append(&s, " is the victim's own");
        else if (c)
                str_appendf(&s, " %s %s of it", !streq(field_text(j, "resource"), "io") ? "took" :
                                                field_u64(j, "waited_usec") > 0 ? "caused" : "did",
                            view_percent(field_u64(c, "share_permyriad"), a));
        if (acted) {
                if (streq(domain, other)) {
                        str_append(&s, c ? ", is in the same domain, and " : " is in the same domain; ");
                        view_text(&s, other);
                        str_append(&s, " may contain its own.");
                } else if (*other) {
                        str_append(&s, ". It belongs to ");
                        view_text(&s, other);
                        if (json_is_integer(json_object_get(j, "rank")) && json_is_integer(json_object_get(j, "culprit_rank")))
                                str_appendf(&s, " (rank %" JSON_INTEGER_FORMAT "), which gives way to ",
                                            json_integer_value(json_object_get(j, "culprit_rank")));
                        else
                                str_append(&s, ", which gives way to ");
                        view_text(&s, domain);
                        if (json_is_integer(json_object_get(j, "rank")))
                                str_appendf(&s, " (rank %" JSON_INTEGER_FORMAT ")",
                                            json_integer_value(json_object_get(j, "rank")));
                        str_append(&s, " and whose policy allows it to be contained.");
                } else
                        str_append(&s, ".");
                /* The same one looks for who is to blame again and again, and finds whom it holds. */
                if (streq(verdict, "taken") && !did_something(j, culprit))
                        str_appendf(&s, " It was contained already%s.",
                                    field_u64(j, "dropped") > 0 ? "" : ", by another incident, which tells what was done");
        } else {
                str_append(&s, ". It ");
                view_text(&s, field_text(c, "verdict_text"));
                str_append(&s, ".");
        }
        if (streq(field_text(j, "confidence"), "low"))
                str_appendf(&s, " Shares of the work on a disk say who keeps it busy, not who makes whom wait: of low confidence%s.",
                            acted ? ", so nothing is killed for it" : "");
        view_wrap(v, out, 2, s.data ? s.data : "");
}

static const json_t *find_outcome(const json_t *entries, size_t from, int64_t action_id) {
        const json_t *e;

        for (size_t i = from; i < json_array_size(entries); i++) {
                e = json_array_get(entries, i);
                if (streq(field_text(e, "type"), "outcome") && field_i64(e, "action_id") == action_id)
                        return e;
        }
        return NULL;
}

static void print_offset(const View *v, const json_t *e, Str *out) {
        int64_t offset = field_i64(e, "offset_usec");
        char text[VIEW_TEXT_MAX];

        (void) snprintf(text, sizeof(text), "%s%llu.%03llu s", offset < 0 ? "-" : "+",
                        (unsigned long long) (llabs(offset) / 1000000),
                        (unsigned long long) (llabs(offset) % 1000000 / 1000));
        str_append(out, view_color(v, COLOR_DIM));
        view_pad(out, text, -12);
        str_append(out, view_color(v, COLOR_NORMAL));
        str_append(out, "  ");
}

static void print_word(const View *v, Str *out, Color c, const char *word) {
        str_append(out, view_color(v, c));
        view_pad(out, word, 10);
        str_append(out, view_color(v, COLOR_NORMAL));
}

/* What came of it, on the action's own line. left_out: that may be among the entries that were left out. */
static void print_outcome(const View *v, const json_t *outcome, bool left_out, const json_t *e, Str *out) {
        const char *result = field_text(outcome, "result");
        char buf[VIEW_TEXT_MAX];
        int64_t took = field_i64(outcome, "offset_usec") - field_i64(e, "offset_usec");

        if (!outcome) {
                str_append(out, left_out ? "\n" : "  (under way)\n");
                return;
        }
        if (streq(result, "done")) {
                if (streq(field_text(e, "action"), "kill"))
                        str_appendf(out,
                                    "; %" JSON_INTEGER_FORMAT " process%s, %" JSON_INTEGER_FORMAT " left",
                                    json_integer_value(json_object_get(outcome, "before")),
                                    json_integer_value(json_object_get(outcome, "before")) == 1 ? "" : "es",
                                    json_integer_value(json_object_get(outcome, "after")));
                str_append(out, view_color(v, COLOR_DIM));
                str_appendf(out, "  took %s", view_duration((uint64_t) MAX(took, 0), buf));
                str_append(out, view_color(v, COLOR_NORMAL));
        } else if (streq(result, "gone"))
                str_append(out, "  it was gone already");
        else if (streq(result, "drifted"))
                if (streq(field_text(e, "action"), "set-io-max"))
                        view_colored(v, out, COLOR_YELLOW, "  not done: someone else had set it");
                else
                        view_colored(v, out, COLOR_YELLOW,
                                     "  not done: someone else had set %s",
                                     view_bytes(json_object_get(outcome, "after"), buf));
        else if (streq(result, "timeout"))
                view_colored(v, out, COLOR_RED, "  not all processes were gone after 5 s");
        else {
                str_append(out, view_color(v, COLOR_RED));
                str_append(out, "  failed: ");
                view_text(out,
                          *field_text(outcome, "error_text") ? field_text(outcome, "error_text") : result);
                str_append(out, view_color(v, COLOR_NORMAL));
        }
        str_append(out, "\n");
}

static const char *operations_text(const json_t *e, const char *key, char buf[VIEW_TEXT_MAX]) {
        const json_t *n = json_object_get(e, key);

        (void) snprintf(buf, VIEW_TEXT_MAX, "%llu", (unsigned long long) json_integer_value(n));
        return json_is_integer(n) ? buf : "any";
}

/* What is limited, and from where. */
static void print_before(const json_t *e, Str *out) {
        char a[VIEW_TEXT_MAX];

        if (!json_object_get(e, "device")) {
                str_appendf(out, "memory.high %s", view_bytes(json_object_get(e, "before"), a));
                return;
        }
        view_text(out, field_text(e, "device"));
        str_append(out, " ");
        view_text(out, field_text(e, "direction"));
        str_append(out, "s ");
        str_append(out, view_bytes(json_object_get(e, "before"), a));
        str_appendf(out, "/s, %s IOPS", operations_text(e, "operations_before", a));
}

static void print_after(const json_t *e, Str *out) {
        char a[VIEW_TEXT_MAX];

        str_append(out, view_bytes(json_object_get(e, "after"), a));
        if (json_object_get(e, "device"))
                str_appendf(out, "/s, %s IOPS", operations_text(e, "operations_after", a));
}

static void print_change(const json_t *e, Str *out) {
        print_before(e, out);
        str_append(out, " -> ");
        print_after(e, out);
}

/* Where the rises and outcomes that went well, which begin at i, end. */
static size_t find_run_end(const json_t *entries, size_t i, size_t end) {
        for (; i < end; i++) {
                const json_t *e = json_array_get(entries, i);

                if (!streq(field_text(e, "type"), "rise") &&
                    !(streq(field_text(e, "type"), "outcome") && streq(field_text(e, "result"), "done")))
                        break;
        }
        return i;
}

/* Of one cgroup, and both of its memory or both of one direction of a disk. */
static bool same_limit(const json_t *a, const json_t *b) {
        return streq(field_text(a, "cgroup"), field_text(b, "cgroup")) && streq(field_text(a, "device"), field_text(b, "device")) &&
               streq(field_text(a, "direction"), field_text(b, "direction"));
}

/* How many rises of the same limit there are in [from, end), and the last of them. */
static size_t count_rises(const json_t *entries, const json_t *rise, size_t from, size_t end, const json_t **ret_last) {
        size_t n = 0;

        for (size_t k = from; k < end; k++) {
                const json_t *e = json_array_get(entries, k);

                if (!streq(field_text(e, "type"), "rise") || !same_limit(e, rise))
                        continue;
                n++;
                *ret_last = e;
        }
        return n;
}

static bool is_about_somebody(const json_t *e) {
        const char *type = field_text(e, "type");

        return *field_text(e, "action") || streq(type, "not-allowed") || streq(type, "would") || streq(type, "budget") ||
               streq(type, "spared");
}

/* An incident may go on with a second culprit, and of a slice one is killed: then each entry says whom it is about. */
static bool is_about_several(const json_t *j) {
        const json_t *e;
        size_t i;

        json_array_foreach(json_object_get(j, "entries"), i, e)
                if (is_about_somebody(e) && !streq(field_text(e, "cgroup"), field_text(j, "culprit")))
                        return true;
        return false;
}

/* The list of those considered, which has the names, may have lost one. */
static void print_whom(const json_t *e, bool several, Str *out) {
        if (!several)
                return;
        view_text(out, *field_text(e, "cgroup") ? last_component(field_text(e, "cgroup")) : "another one");
        str_append(out, ": ");
}

/* No kill: most of what it has is page cache; nothing is told of a slice, in which nobody is at fault who has anything else. */
static void print_spared(const json_t *e, Str *out) {
        char all[VIEW_TEXT_MAX], kept[VIEW_TEXT_MAX];

        if (field_u64(e, "before") == 0)
                str_append(out, "nobody in it is at fault who has much but page cache: held instead\n");
        else
                str_appendf(out, "of %s all but %s is page cache: held instead\n", view_bytes(json_object_get(e, "before"), all),
                            view_bytes(json_object_get(e, "after"), kept));
}

static void print_entries(const View *v, const json_t *j, Str *out) {
        const json_t *entries = json_object_get(j, "entries"), *e;
        const char *domain = field_text(j, "domain");
        uint64_t dropped = field_u64(j, "dropped");
        size_t n_entries = json_array_size(entries), gap = dropped > 0 ? n_entries / 2 : 0; /* those left out came before this one */
        size_t run = 0, run_end = 0;
        bool several = is_about_several(j);

        heading(v, out, *domain ? "What happened (time from the alarm)" : "What happened (time from the restart)");
        for (size_t i = 0; i < n_entries; i++) {
                const char *type, *step, *action;
                const json_t *outcome, *last = NULL;
                size_t n;
                char buf[VIEW_TEXT_MAX];

                e = json_array_get(entries, i);
                type = field_text(e, "type");
                step = field_text(e, "step");
                action = field_text(e, "action");
                if (dropped > 0 && i == gap) {
                        view_pad(out, "", 14);
                        str_appendf(out, "(%llu entries left out here)\n", (unsigned long long) dropped);
                }
                if (streq(type, "outcome"))
                        continue; /* told with its action */
                if (streq(type, "rise") && i >= run_end) {
                        run = i;
                        run_end = find_run_end(entries, i, i < gap ? gap : n_entries);
                }
                if (streq(type, "rise") && count_rises(entries, e, run, i, &last) > 0)
                        continue; /* told with the first */
                if (streq(type, "rise") && (n = count_rises(entries, e, i, run_end, &last)) > 1) {
                        print_offset(v, e, out);
                        print_word(v, out, COLOR_GREEN, "raise");
                        print_whom(e, several, out);
                        print_before(e, out);
                        str_append(out, " -> ");
                        print_after(last, out);
                        str_appendf(out, " in %zu steps until +%.1f s\n", n, (double) field_i64(last, "offset_usec") / 1e6);
                        continue;
                }
                print_offset(v, e, out);
                outcome = json_object_get(e, "action_id") ?
                                  find_outcome(entries, i, field_i64(e, "action_id")) :
                                  NULL;
                if (streq(type, "alarm") && !*domain) {
                        print_word(v, out, COLOR_YELLOW, "adopted");
                        str_append(out, "taken over after a restart of cgd\n");
                } else if (streq(type, "alarm")) {
                        print_word(v, out, COLOR_RED, "alarm");
                        view_text(out, domain);
                        str_append(out, " asked for help\n");
                } else if (streq(type, "would")) {
                        print_word(v, out, COLOR_YELLOW, "would");
                        print_whom(e, several, out);
                        str_append(out, "have contained it; Mode=monitor only says so\n");
                } else if (streq(type, "no-culprit")) {
                        print_word(v, out, COLOR_NORMAL, "nothing");
                        str_append(out, "no one to blame\n");
                } else if (streq(type, "not-allowed")) {
                        print_word(v, out, COLOR_NORMAL, "nothing");
                        print_whom(e, several, out);
                        str_append(out, "it may not, or could not, be touched\n");
                } else if (streq(type, "self")) {
                        print_word(v, out, COLOR_NORMAL, "nothing");
                        view_text(out, domain);
                        str_append(out, " makes its own trouble\n");
                } else if (streq(type, "budget")) {
                        print_word(v, out, COLOR_YELLOW, "no kill");
                        print_whom(e, several, out);
                        str_append(out, "KillBudget= is spent: held instead\n");
                } else if (streq(type, "spared")) {
                        print_word(v, out, COLOR_YELLOW, "no kill");
                        print_whom(e, several, out);
                        print_spared(e, out);
                } else if (streq(type, "calm")) {
                        print_word(v, out, COLOR_GREEN, "calm");
                        str_append(out, "over\n");
                } else if (streq(action, "kill")) {
                        print_word(v, out, COLOR_RED, "kill");
                        print_whom(e, several, out);
                        str_appendf(out, "every process, holding %s",
                                    view_bytes(json_object_get(e, "before"), buf));
                        print_outcome(v, outcome, i < gap, e, out);
                } else if (streq(action, "restore")) {
                        print_word(v, out, COLOR_GREEN, "give back");
                        print_whom(e, several, out);
                        print_change(e, out);
                        if (streq(type, "expired"))
                                str_append(out, ", no fresh evidence");
                        print_outcome(v, outcome, i < gap, e, out);
                } else if (streq(type, "relief")) {
                        print_word(v, out, COLOR_GREEN, "relief");
                        view_text(out, domain);
                        str_append(out, *domain ? " recovered\n" : "nobody is hurt\n");
                } else if (streq(type, "expired")) {
                        print_word(v, out, COLOR_GREEN, "expired");
                        str_append(out, "no fresh evidence\n");
                } else if (!streq(action, "set-memory-high") && !streq(action, "set-io-max")) {
                        /* A later version's entry. */
                        view_text(out, *action ? action : type);
                        str_append(out, " (of a later version)\n");
                } else {
                        bool up = streq(type, "rise"), back = streq(type, "back");

                        print_word(v, out, up ? COLOR_GREEN : COLOR_YELLOW,
                                   up   ? "raise" :
                                   back ? "back" :
                                          step);
                        print_whom(e, several, out);
                        print_change(e, out);
                        if (back)
                                str_append(out, ", the rise hurt");
                        print_outcome(v, outcome, i < gap, e, out);
                }
        }
}

static void print_result(const View *v, const json_t *j, Str *out) {
        const char *state = field_text(j, "state"), *result = field_text(j, "result"), *text;
        uint64_t end = field_usec(j, "ended"), start = field_usec(j, "started");
        char buf[VIEW_TEXT_MAX];
        Color c = COLOR_GREEN;

        static const struct {
                const char *result, *text;
                Color color;
        } results[] = {
                { "recovered", "recovered, everything was given back", COLOR_GREEN },
                { "killed", "the culprit was killed", COLOR_RED },
                { "passed", "the alarm passed by itself", COLOR_GREEN },
                { "no-culprit", "passed; nobody was to blame", COLOR_NORMAL },
                { "not-allowed", "passed; the culprit may not, or could not, be touched", COLOR_NORMAL },
                { "monitored", "passed; Mode=monitor only watched", COLOR_NORMAL },
                { "self", "passed; the domain made its own trouble", COLOR_NORMAL },
                { "gone", "the culprit went away by itself", COLOR_GREEN },
        };

        text = result;
        for (size_t i = 0; i < ARRAY_SIZE(results); i++)
                if (streq(results[i].result, result)) {
                        text = results[i].text;
                        c = results[i].color;
                }
        if (!streq(state, "over")) {
                c = COLOR_YELLOW;
                text = streq(state, "containing") ? "still open: contained" :
                       streq(state, "lifting")    ? "still open: calm, limits on their way up" :
                       streq(state, "quiet")      ? "still open: nothing may or can be done" :
                                                    "still open: gathering evidence";
        }
        str_append(out, ": ");
        str_append(out, view_color(v, c));
        view_text(out, text);
        str_append(out, view_color(v, COLOR_NORMAL));
        if (streq(state, "over") && end >= start)
                str_appendf(out, ", after %s", view_duration(end - start, buf));
        str_append(out, "\n");
}

static void print_place(const json_t *place, const char *what, Str *out) {
        if (!json_is_object(place))
                return;
        str_append(out, "  ");
        view_text(out, field_text(place, "file"));
        str_appendf(out, ":%" JSON_INTEGER_FORMAT "  ", json_integer_value(json_object_get(place, "line")));
        view_text(out, what);
        str_append(out, "\n");
}

void view_why(const View *v, const json_t *j, Str *out) {
        const char *domain = field_text(j, "domain"), *other = field_text(j, "culprit_domain");
        _cleanup_str_ Str asked = {}, allowed = {};
        char when[VIEW_TEXT_MAX];

        view_colored(v, out, COLOR_BOLD, "Incident %" JSON_INTEGER_FORMAT,
                     json_integer_value(json_object_get(j, "id")));
        str_appendf(out, ", %s", view_time(json_object_get(j, "started"), true, when));
        print_result(v, j, out);

        heading(v, out, "What was wrong");
        if (*domain) {
                _cleanup_str_ Str s = {};

                view_text(&s, domain);
                str_append(&s, " asked for help (alarm ");
                view_text(&s, field_text(j, "alarm"));
                str_append(&s, ").");
                view_wrap(v, out, 2, s.data ? s.data : "");
        }
        print_alarm(v, j, out);
        print_candidates(v, j, out);
        print_why_this_one(v, j, out);
        print_entries(v, j, out);

        if (json_is_object(json_object_get(j, "asked_by")) ||
            json_is_object(json_object_get(j, "contract"))) {
                heading(v, out, "Written in");
                str_append(&asked, field_text(j, "condition"));
                print_place(json_object_get(j, "asked_by"), asked.data ? asked.data : "", out);
                str_appendf(&allowed, "what may be done to %s", other);
                print_place(json_object_get(j, "contract"), allowed.data ? allowed.data : "", out);
        }
}
