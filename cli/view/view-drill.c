/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl drill`: a line for each scenario, without and with containment, and what was missed. */

#include <inttypes.h>

#include "base/units.h"
#include "view/view.h"

#define SPARK_MAX 20
/* What the service keeps with nobody beside it, where the machine has time for it. */
#define WELL_PERMYRIAD 9800

/* The seconds of the first run, each column the worst of its part. */
static void sparkline(const View *v, Str *out, const json_t *seconds) {
        static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
        size_t n = json_array_size(seconds), columns = MIN(n, (size_t) SPARK_MAX);

        for (size_t i = 0; i < columns; i++) {
                uint64_t worst = PERMYRIAD;

                for (size_t k = i * n / columns; k < (i + 1) * n / columns; k++) {
                        json_int_t s = json_integer_value(json_array_get(seconds, k));

                        worst = MIN(worst, (uint64_t) CLAMP(s, (json_int_t) 0, (json_int_t) PERMYRIAD));
                }
                if (v->unicode)
                        str_append(out, blocks[worst * (ARRAY_SIZE(blocks) - 1) / PERMYRIAD]);
                else
                        str_appendf(out, "%c", (char) ('0' + worst * 9 / PERMYRIAD));
        }
}

static void set_half(const View *v, Table *t, void *line, unsigned column, const json_t *scenario, const char *half) {
        const json_t *run = json_object_get(json_array_get(json_object_get(scenario, "runs"), 0), half),
                     *isolation = json_object_get(json_object_get(scenario, half), "isolation");
        _cleanup_str_ Str spark = {};
        char p01[VIEW_TEXT_MAX], mean[VIEW_TEXT_MAX], text[2 * VIEW_TEXT_MAX + 8];

        if (field_true(run, "victim_died"))
                str_append(&spark, "the service died");
        else
                sparkline(v, &spark, json_object_get(run, "seconds"));
        table_set(t, line, column, spark.data ? spark.data : "");
        (void) snprintf(text, sizeof(text), "%s / %s", view_percent(field_u64(isolation, "p01"), p01),
                        view_percent(field_u64(isolation, "mean"), mean));
        table_set(t, line, column + 1, text);
}

static const char *msec(const json_t *run, const char *key, char buf[static VIEW_TEXT_MAX]) {
        return json_is_integer(json_object_get(run, key)) ? view_duration(field_u64(run, key) * USEC_PER_MSEC, buf) : "-";
}

/* Whatever was lost in the calm was not lost to the harm. */
static void tell_calm(Str *out, const json_t *scenario) {
        static const char *const halves[] = { "without", "with" };
        uint64_t calm = PERMYRIAD;
        char text[VIEW_TEXT_MAX];

        for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
                const json_t *half = json_object_get(scenario, halves[i]);

                if (json_is_integer(json_object_get(half, "calm")))
                        calm = MIN(calm, field_u64(half, "calm"));
        }
        if (calm >= WELL_PERMYRIAD)
                return;
        view_text(out, field_text(scenario, "scenario"));
        str_appendf(out, ": with nobody beside it the service kept no more than %s; what else this machine does is in all figures.\n",
                    view_percent(calm, text));
}

static void tell_misses(const View *v, Str *out, const json_t *scenario) {
        json_t *o, *f;
        size_t i;

        json_array_foreach(json_object_get(scenario, "faults"), i, f) {
                view_colored(v, out, COLOR_RED, "%s", field_text(scenario, "scenario"));
                str_append(out, ": ");
                view_text(out, json_string_value(f) ? json_string_value(f) : "");
                str_append(out, ".\n");
        }
        json_array_foreach(json_object_get(scenario, "objectives"), i, o) {
                bool time = streq(field_text(o, "unit"), "ms");
                char is[VIEW_TEXT_MAX], want[VIEW_TEXT_MAX];

                if (field_true(o, "met"))
                        continue;
                view_colored(v, out, COLOR_RED, "%s", field_text(scenario, "scenario"));
                str_append(out, ": ");
                view_text(out, field_text(o, "objective"));
                if (json_is_null(json_object_get(o, "measured"))) {
                        str_append(out, " was not measured.\n");
                        continue;
                }
                /* Exactly: of two that are rounded the one may not tell from the other. */
                str_appendf(out, " is %s, and should be %s %s.\n",
                            time ? usec_format(field_u64(o, "measured") * USEC_PER_MSEC, is) :
                                   permyriad_format((unsigned) field_u64(o, "measured"), is),
                            field_true(o, "at_most") ? "at most" : "at least",
                            time ? usec_format(field_u64(o, "wanted") * USEC_PER_MSEC, want) :
                                   permyriad_format((unsigned) field_u64(o, "wanted"), want));
        }
        if (field_true(scenario, "proves_nothing")) {
                view_text(out, field_text(scenario, "scenario"));
                str_append(out, field_true(scenario, "harmless")
                                        ? ": the service was not well without containment either, so it proves nothing here.\n"
                                        : ": did no harm without containment either, so it proves nothing here.\n");
        }
}

void view_drill(const View *v, const json_t *j, Str *out) {
        static const Column columns[] = {
                { "SCENARIO", 1, 0 },
                { "WITHOUT", 1, 0 },
                { "P01 / MEAN", 1, COLUMN_RIGHT },
                { "WITH", 1, 0 },
                { "P01 / MEAN", 1, COLUMN_RIGHT },
                { "SILENCE", 1, COLUMN_RIGHT },
                { "ALARM", 1, COLUMN_RIGHT },
                { "STEP", 1, COLUMN_RIGHT },
                { "WORK", 1, COLUMN_RIGHT },
                { "VERDICT", 1, 0 },
        };
        _cleanup_(table_freep) Table *t = table_new(v, columns, ARRAY_SIZE(columns));
        const json_t *scenarios = json_object_get(j, "scenarios"), *s;
        char buf[VIEW_TEXT_MAX];
        size_t i;

        if (!t) {
                out->error = -ENOMEM;
                return;
        }
        json_array_foreach(scenarios, i, s) {
                const json_t *with = json_object_get(s, "with");
                bool met = field_true(s, "met");
                void *line = table_line(t, NULL);

                table_set(t, line, 0, field_text(s, "scenario"));
                set_half(v, t, line, 1, s, "without");
                set_half(v, t, line, 3, s, "with");
                table_set(t, line, 5, msec(with, "longest_silence_ms", buf));
                table_set(t, line, 6, msec(with, "alarm_ms", buf));
                table_set(t, line, 7, msec(with, "first_step_ms", buf));
                table_set(t, line, 8, json_is_integer(json_object_get(with, "work")) ? view_percent(field_u64(with, "work"), buf) : "-");
                table_set(t, line, 9, met ? "met" : "missed");
                table_color(t, line, 9, met ? COLOR_GREEN : COLOR_RED);
        }
        table_print(t, out);
        str_append(out, "\n");
        json_array_foreach(scenarios, i, s) {
                tell_misses(v, out, s);
                tell_calm(out, s);
        }
        str_append(out, "The service's requests that were kept, second by second, without containment and with it;\n"
                        "the worst second in a hundred, and all. WORK: what the culprit had of what the service left of the\n"
                        "disk. Within ");
        view_text(out, view_bytes(json_object_get(j, "bound_bytes"), buf));
        str_appendf(out, " of memory, for %s each", view_duration(field_u64(j, "for_usec"), buf));
        if (field_u64(j, "repeat") > 1)
                str_appendf(out, ", medians of %" PRIu64, field_u64(j, "repeat"));
        str_append(out, ".\n");
        if (json_is_false(json_object_get(j, "complete")))
                str_append(out, "Not all of it was done.\n");
        view_colored(v, out, field_true(j, "met") ? COLOR_GREEN : COLOR_RED, "%s", field_true(j, "met") ? "Met." : "Missed.");
        str_append(out, "\n");
}
