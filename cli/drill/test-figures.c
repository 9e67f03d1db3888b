/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Figures of a drill, from a report made up here: five calm seconds at 100 requests/s, then ten of a flood. */

#include "base/test.h"
#include "base/units.h"
#include "drill/drill.h"
#include "drill/load.h"

#define T0 (UINT64_C(1000) * USEC_PER_SEC)

/* In second `bad` of the flood the service stands still for `lost` tenths. */
static json_t *report_of(unsigned bad, unsigned lost, json_int_t slow_usec) {
        json_t *buckets = json_array(), *p95 = json_array();

        for (unsigned i = 0; i < 15 * 10; i++)
                assert_int_equal(json_array_append_new(buckets, json_integer(i / 10 == 5 + bad && i % 10 < lost ? 0 : 10)), 0);
        for (unsigned i = 0; i < 15; i++)
                assert_int_equal(json_array_append_new(p95, json_integer(i == 5 + bad ? slow_usec : 2000)), 0);
        return json_pack("{s:I, s:i, s:i, s:i, s:o, s:o}", "t0_usec", (json_int_t) T0, "rate", 100, "bucket_ms", 100,
                         "longest_silence_ms", 100 * (int) lost, "buckets", buckets, "p95_usec", p95);
}

static uint64_t figure(const json_t *j, const char *object, const char *key) {
        const json_t *v = json_object_get(object ? json_object_get(j, object) : j, key);

        assert_true(json_is_integer(v));
        return (uint64_t) json_integer_value(v);
}

static void test_isolation_and_impact(void **state _unused_) {
        json_t *report = report_of(3, 4, 5000), *j = drill_figures(report, T0 + 5 * USEC_PER_SEC, T0 + 15 * USEC_PER_SEC);

        assert_int_equal(json_array_size(json_object_get(j, "seconds")), 10);
        assert_int_equal(figure(j, "isolation", "min"), 6000);
        assert_int_equal(figure(j, "isolation", "p01"), 6000);
        assert_int_equal(figure(j, "isolation", "p10"), 6000);
        assert_int_equal(figure(j, "isolation", "p50"), 10000);
        assert_int_equal(figure(j, "isolation", "mean"), 9600);
        assert_int_equal(figure(j, NULL, "relief_ms"), 4000);
        assert_int_equal(figure(j, "latency_impact", "p99"), 15000);
        assert_int_equal(figure(j, "latency_impact", "mean"), 1500);
        assert_int_equal(figure(j, NULL, "longest_silence_ms"), 400);
        json_decref(j);
        json_decref(report);
}

/* The seconds before the harm, but for the first. */
static void test_calm(void **state _unused_) {
        json_t *report = report_of(3, 4, 5000), *buckets = json_object_get(report, "buckets"), *j;

        for (size_t i = 0; i < 10; i++)
                assert_int_equal(json_array_set_new(buckets, i, json_integer(0)), 0);
        for (size_t i = 10; i < 14; i++)
                assert_int_equal(json_array_set_new(buckets, i, json_integer(5)), 0);
        j = drill_figures(report, T0 + 5 * USEC_PER_SEC, T0 + 15 * USEC_PER_SEC);
        assert_int_equal(figure(j, NULL, "calm"), 9500);
        json_decref(j);
        json_decref(report);
}

static void test_nothing_done_is_a_second(void **state _unused_) {
        json_t *report = report_of(0, 10, 0), *j = drill_figures(report, T0 + 5 * USEC_PER_SEC, T0 + 15 * USEC_PER_SEC);

        assert_int_equal(figure(j, "isolation", "min"), 0);
        assert_int_equal(figure(j, "latency_impact", "p99"), (USEC_PER_SEC - 2000) * PERMYRIAD / 2000);
        json_decref(j);
        json_decref(report);
}

static void test_dead_service(void **state _unused_) {
        json_t *j = drill_figures(NULL, T0, T0 + 10 * USEC_PER_SEC);

        assert_true(json_is_true(json_object_get(j, "victim_died")));
        assert_int_equal(figure(j, "isolation", "mean"), 0);
        assert_int_equal(json_array_size(json_object_get(j, "seconds")), 10);
        json_decref(j);
}

static void test_median(void **state _unused_) {
        json_t *docs = json_pack("[{s:i,s:{s:i},s:i,s:b},{s:i,s:{s:i},s:n},{s:i,s:{s:i},s:i}]", "a", 3, "b", "c", 10, "d", 1, "e", 1,
                                 "a", 1, "b", "c", 30, "d", "a", 2, "b", "c", 20, "d", 5);
        json_t *m = drill_median(docs);

        assert_int_equal(figure(m, NULL, "a"), 2);
        assert_int_equal(figure(m, "b", "c"), 20);
        /* One of them had none. */
        assert_null(json_object_get(m, "d"));
        assert_null(json_object_get(m, "e"));
        json_decref(m);
        json_decref(docs);
}

static void test_median_of_two(void **state _unused_) {
        json_t *docs = json_pack("[{s:i},{s:i}]", "first_step_ms", 100, "first_step_ms", 5000), *m = drill_median(docs);

        /* Neither the better nor the worse of them. */
        assert_int_equal(figure(m, NULL, "first_step_ms"), 2550);
        json_decref(m);
        json_decref(docs);
}

static void test_latency_expand(void **state _unused_) {
        uint32_t latency[128];

        assert_int_equal(latency_expand(700, 10000, latency), 1);
        assert_int_equal(latency_expand(10000, 10000, latency), 1);
        assert_int_equal(latency_expand(700000, 10000, latency), 70);
        assert_int_equal(latency[0], 700000);
        assert_int_equal(latency[1], 690000);
        assert_int_equal(latency[69], 10000);
        /* The last of them came just before the service went on. */
        assert_int_equal(latency_expand(10001, 10000, latency), 2);
        assert_int_equal(latency[1], 1);
}

static void test_proves_nothing(void **state _unused_) {
        static const struct {
                bool harmless;
                int p01, mean;
                bool nothing;
        } cases[] = {
                { false, 300, 4700, false },
                { false, 9800, 9990, false },
                { false, 9900, 9990, true },
                /* A bad second of a hundred is had without anybody. */
                { true, 9500, 9900, false },
                { true, 9000, 9800, false },
                { true, 8100, 9440, true },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                json_t *without = json_pack("{s:{s:i,s:i}}", "isolation", "p01", cases[i].p01, "mean", cases[i].mean);

                assert_int_equal(drill_proves_nothing(cases[i].harmless, without), cases[i].nothing);
                json_decref(without);
        }
}

static void test_work(void **state _unused_) {
        DrillIo disk = { 1000, 100 };

        /* Of bytes it had 400 of 900 left over, of operations 45 of 50. */
        assert_int_equal(drill_work((DrillIo) { 400, 45 }, (DrillIo) { 100, 50 }, disk), 9000);
        assert_int_equal(drill_work((DrillIo) { 450, 5 }, (DrillIo) { 100, 50 }, disk), 5000);
        /* Caches and rounding may show more than the disk does. */
        assert_int_equal(drill_work((DrillIo) { 2000, 5 }, (DrillIo) { 100, 50 }, disk), 10000);
        assert_int_equal(drill_work((DrillIo) { 0, 0 }, (DrillIo) { 2000, 200 }, disk), 0);
}

static void test_objectives(void **state _unused_) {
        static const char *const wrong[] = { "isol-p01", "isol-p01=", "isol-p02=95", "isol-p01=101", "silence=x", "=5", "silence=infinity" };
        json_t *run = json_pack("{s:{s:i},s:i}", "isolation", "p01", 9500, "longest_silence_ms", 300), *j;
        DrillObjective o;

        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(drill_objective_parse(wrong[i], &o), -EINVAL);
        assert_int_equal(drill_objective_parse("isol-p01=95", &o), 0);
        assert_int_equal(o.value, 9500);
        j = drill_objective_judge(&o, run);
        assert_true(json_is_true(json_object_get(j, "met")));
        json_decref(j);
        assert_int_equal(drill_objective_parse("isol-p01=95.01%", &o), 0);
        j = drill_objective_judge(&o, run);
        assert_true(json_is_false(json_object_get(j, "met")));
        json_decref(j);
        assert_int_equal(drill_objective_parse("silence=299ms", &o), 0);
        j = drill_objective_judge(&o, run);
        assert_true(json_is_false(json_object_get(j, "met")));
        json_decref(j);
        /* What was not measured is not met. */
        assert_int_equal(drill_objective_parse("first-step=1s", &o), 0);
        j = drill_objective_judge(&o, run);
        assert_true(json_is_false(json_object_get(j, "met")));
        json_decref(j);
        json_decref(run);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_isolation_and_impact),
                cmocka_unit_test(test_calm),
                cmocka_unit_test(test_nothing_done_is_a_second),
                cmocka_unit_test(test_dead_service),
                cmocka_unit_test(test_median),
                cmocka_unit_test(test_median_of_two),
                cmocka_unit_test(test_latency_expand),
                cmocka_unit_test(test_proves_nothing),
                cmocka_unit_test(test_work),
                cmocka_unit_test(test_objectives),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
