/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/test.h"
#include "base/units.h"

static void test_usec(void **state _unused_) {
        static const struct {
                const char *text;
                int r;
                uint64_t usec;
                const char *canonical;
        } cases[] = {
                { "500ms", 0, 500000, "500ms" },
                { "2", 0, 2000000, "2s" },
                { "0", 0, 0, "0" },
                { " 1min 30s ", 0, 90000000, "1min 30s" },
                { "1min30s", 0, 90000000, "1min 30s" },
                { "1.5s", 0, 1500000, "1s 500ms" },
                { ".5s", 0, 500000, "500ms" },
                { "0.5ms", 0, 500, "500us" },
                { "3 us", 0, 3, "3us" },
                { "3\xc2\xb5s", 0, 3, "3us" },
                { "2m", 0, 120000000, "2min" },
                { "1M", 0, UINT64_C(2629800000000), "1month" },
                { "10min", 0, 600000000, "10min" },
                { "1h", 0, UINT64_C(3600000000), "1h" },
                { "1d 2hours", 0, UINT64_C(93600000000), "1d 2h" },
                { "infinity", 0, USEC_INFINITY, "infinity" },
                { "", -EINVAL, 0, NULL },
                { "ms", -EINVAL, 0, NULL },
                { "5x", -EINVAL, 0, NULL },
                { "5 parsecs", -EINVAL, 0, NULL },
                { "1.s", -EINVAL, 0, NULL },
                { "-1s", -EINVAL, 0, NULL },
                { "infinity 1s", -EINVAL, 0, NULL },
                { "99999999999999999999999", -ERANGE, 0, NULL },
                { "99999999999999999999999 x", -EINVAL, 0, NULL },
                { "600000y", -ERANGE, 0, NULL },
                { "18446744073709551615us", -ERANGE, 0, NULL },
                { "18446744073709551614us 1us", -ERANGE, 0, NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint64_t usec = 77, again;
                char buf[FORMAT_MAX];

                assert_int_equal(usec_parse(cases[i].text, &usec), cases[i].r);
                if (cases[i].r < 0) {
                        assert_int_equal(usec, 77);     /* untouched on failure */
                        continue;
                }
                assert_int_equal(usec, cases[i].usec);
                assert_string_equal(usec_format(usec, buf), cases[i].canonical);
                assert_int_equal(usec_parse(buf, &again), 0);
                assert_int_equal(again, usec);
        }
}

static void test_bytes(void **state _unused_) {
        static const struct {
                const char *text;
                unsigned base;
                int r;
                uint64_t bytes;
                const char *canonical;
        } cases[] = {
                { "64M", 1024, 0, UINT64_C(64) << 20, "64M" },
                { "1.5G", 1024, 0, UINT64_C(1536) << 20, "1536M" },
                { "65537", 1024, 0, 65537, "65537" },
                { "0", 1024, 0, 0, "0" },
                { "12B", 1024, 0, 12, "12" },
                { "1G 512M", 1024, 0, UINT64_C(1536) << 20, "1536M" },
                { "1 K", 1024, 0, 1024, "1K" },
                { "infinity", 1024, 0, LIMIT_MAX, "infinity" },
                { "1M", 1000, 0, 1000000, "1M" },
                { "1024K", 1000, 0, 1024000, "1024K" },
                { "15E", 1024, 0, UINT64_C(15) << 60, "15E" },
                { "16E", 1024, -ERANGE, 0, NULL },
                { "18446744073709551615", 1024, -ERANGE, 0, NULL },
                { "512M 1G", 1024, -EINVAL, 0, NULL },
                { "1 2", 1024, -EINVAL, 0, NULL },
                { "64k", 1024, -EINVAL, 0, NULL },
                { "64MB", 1024, -EINVAL, 0, NULL },
                { "M", 1024, -EINVAL, 0, NULL },
                { "", 1024, -EINVAL, 0, NULL },
                { "-1", 1024, -EINVAL, 0, NULL },
                { "40%", 1024, -EINVAL, 0, NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                uint64_t bytes = 77, again;
                char buf[FORMAT_MAX];

                assert_int_equal(bytes_parse(cases[i].text, cases[i].base, &bytes), cases[i].r);
                if (cases[i].r < 0) {
                        assert_int_equal(bytes, 77);
                        continue;
                }
                assert_int_equal(bytes, cases[i].bytes);
                (void) (cases[i].base == 1000 ? bytes_format_si(bytes, buf) : bytes_format(bytes, buf));
                assert_string_equal(buf, cases[i].canonical);
                assert_int_equal(bytes_parse(buf, cases[i].base, &again), 0);
                assert_int_equal(again, bytes);
        }
}

static void test_bytes_human(void **state _unused_) {
        char buf[FORMAT_MAX];

        assert_string_equal(bytes_format_human(0, buf), "0B");
        assert_string_equal(bytes_format_human(1023, buf), "1023B");
        assert_string_equal(bytes_format_human(1024, buf), "1.0K");
        assert_string_equal(bytes_format_human(642147943, buf), "612.4M");
        assert_string_equal(bytes_format_human((UINT64_C(1) << 20) - 1, buf), "1.0M");
        assert_string_equal(bytes_format_human(UINT64_MAX - 1, buf), "16.0E");
        assert_string_equal(bytes_format_human(LIMIT_MAX, buf), "infinity");
}

static void test_permyriad(void **state _unused_) {
        static const struct {
                const char *text;
                int r;
                unsigned value;
                const char *canonical;
        } cases[] = {
                { "40%", 0, 4000, "40%" },
                { "12.5%", 0, 1250, "12.5%" },
                { "0.05%", 0, 5, "0.05%" },
                { "12.50%", 0, 1250, "12.5%" },
                { "0%", 0, 0, "0%" },
                { "250%", 0, 25000, "250%" },
                { "10 %", 0, 1000, "10%" },
                { "40", -EINVAL, 0, NULL },
                { "%", -EINVAL, 0, NULL },
                { "1.234%", -EINVAL, 0, NULL },
                { "1.%", -EINVAL, 0, NULL },
                { "-1%", -EINVAL, 0, NULL },
                { "4%%", -EINVAL, 0, NULL },
                { "99999999999999999999%", -ERANGE, 0, NULL },
                { "2147483647%", -ERANGE, 0, NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                unsigned v = 77;
                char buf[FORMAT_MAX];

                assert_int_equal(permyriad_parse(cases[i].text, &v), cases[i].r);
                if (cases[i].r < 0) {
                        assert_int_equal(v, 77);
                        continue;
                }
                assert_int_equal(v, cases[i].value);
                assert_string_equal(permyriad_format(v, buf), cases[i].canonical);
        }
}

static void test_numbers(void **state _unused_) {
        uint64_t v = 77;

        assert_int_equal(u64_parse("18446744073709551615", &v), 0);
        assert_true(v == UINT64_MAX);
        assert_int_equal(u64_parse("18446744073709551616", &v), -ERANGE);
        assert_int_equal(u64_parse("", &v), -EINVAL);
        assert_int_equal(u64_parse(" 1", &v), -EINVAL);
        assert_int_equal(u64_parse("1x", &v), -EINVAL);
        assert_int_equal(u64_parse("+1", &v), -EINVAL);

        assert_true(mul_div_u64(UINT64_MAX, 10000, 10000) == UINT64_MAX);
        assert_true(mul_div_u64(UINT64_MAX, 2, 1) == UINT64_MAX);
        assert_int_equal(mul_div_u64(7, 3, 2), 10);
}

/* Every value reads back, over a fixed pseudo-random walk through all magnitudes. */
static void test_round_trip(void **state _unused_) {
        uint64_t x = 88172645463325252;

        for (unsigned i = 0; i < 20000; i++) {
                uint64_t v, again;
                char buf[FORMAT_MAX];

                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                v = x >> (x % 64);
                assert_int_equal(usec_parse(usec_format(v, buf), &again), 0);
                assert_true(again == v);
                assert_int_equal(bytes_parse(bytes_format(v, buf), 1024, &again), 0);
                assert_true(again == v);
                assert_int_equal(bytes_parse(bytes_format_si(v, buf), 1000, &again), 0);
                assert_true(again == v);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_usec),      cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_bytes_human), cmocka_unit_test(test_permyriad),
                cmocka_unit_test(test_numbers),   cmocka_unit_test(test_round_trip),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
