/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Figures of a drill.
 *
 * Isolation is the share of a second's planned requests that were done in it, at most all of them (1/10000). A request
 * whose time passed while the service stood still counts as lost, however fast it would have been after that: so the
 * figures do not leave out what nobody could ask (Tene, "How NOT to Measure Latency", on coordinated omission). So does
 * one whose time came after somebody had ended the service: of itself it lives longer than is looked at. Latency
 * impact is how much a second's 95th percentile of latency exceeds that of the calm before, in 1/10000 of it; a second
 * in which nothing was done counts as a latency of a second. What was kept in that calm says what the machine had to give. */

#include "base/macro.h"
#include "base/units.h"
#include "drill/drill.h"

#define SECONDS_MAX 3600
/* Relief is the end of the last second with less than this. */
#define RELIEF_PERMYRIAD 9000
/* Of harm that leaves this much in the worst second there is nothing to be contained. */
#define UNHARMED_PERMYRIAD 9900
/* Who leaves less than this in all is not harmless here: he is too much for this machine, or it has no time for the service. */
#define WELL_PERMYRIAD 9800

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

/* Of n sorted values the one that a share of them, in 1/100, does not exceed: the nearest rank. */
static uint64_t percentile(const uint64_t *sorted, size_t n, unsigned percent) {
        size_t rank = (n * percent + 99) / 100;

        return n == 0 ? 0 : sorted[rank > 0 ? rank - 1 : 0];
}

/* Of an even number the mean of the two in the middle. */
static uint64_t median(const uint64_t *sorted, size_t n) {
        return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static uint64_t mean(const uint64_t *v, size_t n) {
        uint64_t sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += v[i];
        return n == 0 ? 0 : sum / n;
}

static uint64_t number(const json_t *j, const char *key) {
        json_int_t v = json_integer_value(json_object_get(j, key));

        return v > 0 ? (uint64_t) v : 0;
}

/* Done in each whole second from begin on, as a share of what was planned in it. */
static size_t isolation(const json_t *report, uint64_t begin, uint64_t end, uint64_t ret[static SECONDS_MAX]) {
        const json_t *buckets = json_object_get(report, "buckets");
        uint64_t t0 = number(report, "t0_usec"), width = number(report, "bucket_ms") * USEC_PER_MSEC, rate = number(report, "rate");
        size_t n = MIN((size_t) ((end - begin) / USEC_PER_SEC), (size_t) SECONDS_MAX);

        for (size_t i = 0; i < n; i++) {
                uint64_t done = 0, from = begin + i * USEC_PER_SEC;

                /* The bucket that a second begins in belongs to it. */
                for (uint64_t at = (from - MIN(t0, from)) / MAX(width, UINT64_C(1)), k = 0; width > 0 && k < USEC_PER_SEC / width; k++)
                        done += (uint64_t) json_integer_value(json_array_get(buckets, at + k));
                ret[i] = rate == 0 ? 0 : MIN(done * PERMYRIAD / rate, PERMYRIAD);
        }
        return n;
}

/* What was kept in the whole seconds before begin; the first one warms up. */
static uint64_t calm(const json_t *report, uint64_t begin) {
        uint64_t v[SECONDS_MAX], t0 = number(report, "t0_usec"), seconds = (begin - MIN(t0, begin)) / USEC_PER_SEC;

        return mean(v, isolation(report, begin - (seconds - MIN(seconds, UINT64_C(1))) * USEC_PER_SEC, begin, v));
}

/* Whole seconds of the report in [begin, end), and of those before it for the base; the first one warms up. */
static size_t impact(const json_t *report, uint64_t begin, uint64_t end, uint64_t ret[static SECONDS_MAX]) {
        const json_t *p95 = json_object_get(report, "p95_usec");
        uint64_t t0 = number(report, "t0_usec"), base[SECONDS_MAX], middle;
        size_t first = (size_t) ((begin - MIN(t0, begin)) / USEC_PER_SEC), n = 0, n_base = 0;

        for (size_t i = 1; i < first && n_base < SECONDS_MAX; i++)
                base[n_base++] = (uint64_t) json_integer_value(json_array_get(p95, i));
        qsort(base, n_base, sizeof(*base), compare);
        middle = MAX(percentile(base, n_base, 50), UINT64_C(1));
        for (size_t i = first; t0 + (i + 1) * USEC_PER_SEC <= end && i < json_array_size(p95) && n < SECONDS_MAX; i++) {
                uint64_t v = (uint64_t) json_integer_value(json_array_get(p95, i)) ?: USEC_PER_SEC;

                ret[n++] = (v - MIN(middle, v)) * PERMYRIAD / middle;
        }
        return n;
}

json_t *drill_figures(const json_t *report, uint64_t begin_usec, uint64_t end_usec) {
        uint64_t v[SECONDS_MAX], sorted[SECONDS_MAX], relief = 0;
        json_t *seconds = json_array(), *isol, *j;
        size_t n = isolation(report, begin_usec, end_usec, v);

        for (size_t i = 0; i < n; i++) {
                (void) json_array_append_new(seconds, json_integer((json_int_t) v[i]));
                if (v[i] < RELIEF_PERMYRIAD)
                        relief = (i + 1) * 1000;
        }
        memcpy(sorted, v, n * sizeof(*v));
        qsort(sorted, n, sizeof(*sorted), compare);
        isol = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "min", (json_int_t) percentile(sorted, n, 0), "p01",
                         (json_int_t) percentile(sorted, n, 1), "p05", (json_int_t) percentile(sorted, n, 5), "p10",
                         (json_int_t) percentile(sorted, n, 10), "p50", (json_int_t) percentile(sorted, n, 50), "mean",
                         (json_int_t) mean(v, n));
        j = json_pack("{s:b, s:o, s:o, s:I}", "victim_died", report == NULL, "isolation", isol, "seconds", seconds, "relief_ms",
                      (json_int_t) relief);
        if (!report)
                return j;
        (void) json_object_set_new(j, "calm", json_integer((json_int_t) calm(report, begin_usec)));
        n = impact(report, begin_usec, end_usec, v);
        qsort(v, n, sizeof(*v), compare);
        (void) json_object_set_new(j, "latency_impact",
                                   json_pack("{s:I, s:I}", "mean", (json_int_t) mean(v, n), "p99", (json_int_t) percentile(v, n, 99)));
        (void) json_object_set_new(j, "longest_silence_ms", json_integer((json_int_t) number(report, "longest_silence_ms")));
        return j;
}

bool drill_proves_nothing(bool harmless, const json_t *without) {
        const json_t *kept = json_object_get(without, "isolation");

        return harmless ? number(kept, "mean") < WELL_PERMYRIAD : number(kept, "p01") >= UNHARMED_PERMYRIAD;
}

uint64_t drill_work(DrillIo culprits, DrillIo service, DrillIo disk) {
        uint64_t bytes = disk.bytes - MIN(service.bytes, disk.bytes), ios = disk.ios - MIN(service.ios, disk.ios);
        uint64_t of_bytes = culprits.bytes * PERMYRIAD / MAX(bytes, UINT64_C(1)), of_ios = culprits.ios * PERMYRIAD / MAX(ios, UINT64_C(1));

        return MIN(MAX(of_bytes, of_ios), (uint64_t) PERMYRIAD);
}

/* Of the numbers at `key` in each document. */
static json_t *median_at(const json_t *documents, const char *key) {
        json_t *parts = json_array(), *result = NULL, *d;
        uint64_t values[64];
        size_t n = 0, i;

        json_array_foreach(documents, i, d) {
                json_t *v = json_object_get(d, key);

                if (json_is_integer(v) && n < ARRAY_SIZE(values))
                        values[n++] = (uint64_t) json_integer_value(v);
                if (json_is_object(v))
                        (void) json_array_append(parts, v);
        }
        if (n == json_array_size(documents) && n > 0) {
                qsort(values, n, sizeof(*values), compare);
                result = json_integer((json_int_t) median(values, n));
        } else if (json_array_size(parts) == json_array_size(documents))
                result = drill_median(parts);
        json_decref(parts);
        return result;
}

json_t *drill_median(const json_t *documents) {
        json_t *result = json_object(), *v;
        const char *key;

        json_object_foreach(json_array_get(documents, 0), key, v) {
                json_t *m = median_at(documents, key);

                if (m)
                        (void) json_object_set_new(result, key, m);
        }
        return result;
}

static const struct {
        const char *name, *object, *key;
        bool at_most, msec;
} figures[] = {
        { "isol-min", "isolation", "min", false, false },
        { "isol-p01", "isolation", "p01", false, false },
        { "isol-p05", "isolation", "p05", false, false },
        { "isol-p10", "isolation", "p10", false, false },
        { "isol-p50", "isolation", "p50", false, false },
        { "isol-mean", "isolation", "mean", false, false },
        { "impact-mean", "latency_impact", "mean", true, false },
        { "impact-p99", "latency_impact", "p99", true, false },
        { "work", NULL, "work", false, false },
        { "silence", NULL, "longest_silence_ms", true, true },
        { "first-step", NULL, "first_step_ms", true, true },
        { "relief", NULL, "relief_ms", true, true },
        { "empty", NULL, "empty_ms", true, true },
        { "others-stall", NULL, "others_stall_ms", true, true },
};

const char *drill_objective_names(void) {
        return "isol-min, isol-p01, isol-p05, isol-p10, isol-p50, isol-mean, impact-mean, impact-p99, work (percent), silence, first-step, "
               "relief, empty, others-stall (a time)";
}

int drill_objective_parse(const char *text, DrillObjective *ret) {
        const char *equals = strchr(text, '=');

        for (size_t i = 0; equals && i < ARRAY_SIZE(figures); i++) {
                char value[32];
                unsigned permyriad;
                uint64_t usec;

                if (strlen(figures[i].name) != (size_t) (equals - text) || strncmp(text, figures[i].name, strlen(figures[i].name)) != 0)
                        continue;
                ret->name = figures[i].name;
                if (figures[i].msec) {
                        if (usec_parse(equals + 1, &usec) < 0 || usec == USEC_INFINITY)
                                return -EINVAL;
                        ret->value = usec / USEC_PER_MSEC;
                        return 0;
                }
                (void) snprintf(value, sizeof(value), "%.20s%s", equals + 1, strchr(equals, '%') ? "" : "%");
                if (permyriad_parse(value, &permyriad) < 0 || (!figures[i].at_most && permyriad > PERMYRIAD))
                        return -EINVAL;
                ret->value = permyriad;
                return 0;
        }
        return -EINVAL;
}

json_t *drill_objective_judge(const DrillObjective *o, const json_t *run) {
        for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
                const json_t *measured;
                bool met;

                if (strcmp(o->name, figures[i].name) != 0)
                        continue;
                measured = json_object_get(figures[i].object ? json_object_get(run, figures[i].object) : run, figures[i].key);
                met = json_is_integer(measured) && (figures[i].at_most ? (uint64_t) json_integer_value(measured) <= o->value :
                                                                         (uint64_t) json_integer_value(measured) >= o->value);
                return json_pack("{s:s, s:s, s:b, s:I, s:O?, s:b}", "objective", o->name, "unit", figures[i].msec ? "ms" : "permyriad",
                                 "at_most", figures[i].at_most, "wanted", (json_int_t) o->value, "measured", measured, "met", met);
        }
        return NULL;
}
