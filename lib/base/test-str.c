/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/str.h"
#include "base/test.h"

static void test_builder(void **state _unused_) {
        _cleanup_str_ Str s = {};
        _cleanup_free_ char *text = NULL, *empty = NULL;

        str_append(&s, "a");
        for (int i = 0; i < 100; i++)
                str_appendf(&s, "%d,", i);
        str_append_n(&s, "zzz", 1);
        assert_int_equal(str_finish(&s, &text), 0);
        assert_int_equal(strlen(text), 1 + 10 * 2 + 90 * 3 + 1);
        assert_non_null(startswith(text, "a0,1,2,"));
        assert_non_null(endswith(text, "99,z"));

        /* The builder is empty again, and empty is "". */
        assert_int_equal(str_finish(&s, &empty), 0);
        assert_string_equal(empty, "");
}

static void test_builder_overflow(void **state _unused_) {
        Str s = {};
        char *text = NULL;

        str_append(&s, "kept");
        str_append_n(&s, "x", SIZE_MAX - 4);
        assert_string_equal(s.data, "kept");
        str_append(&s, "ignored");
        assert_string_equal(s.data, "kept");
        assert_int_equal(str_finish(&s, &text), -ENOMEM);
        assert_null(text);
        assert_null(s.data);
}

static void test_escape(void **state _unused_) {
        static const struct {
                const char *in, *out;
        } cases[] = {
                { "", "" },
                { "nginx.service", "nginx.service" },
                { "a\x1b[31mb", "a\\x1b[31mb" },
                { "a\nb\\c\x7f", "a\\x0ab\\x5cc\\x7f" },
                { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
                { "\xf0\x9f\x90\xa2", "\xf0\x9f\x90\xa2" },
                { "\xc2\x9b" "31m", "\\xc2\\x9b31m" },  /* C1 CSI */
                { "\xc3", "\\xc3" },                    /* cut off */
                { "\xc0\xaf", "\\xc0\\xaf" },           /* overlong */
                { "\xed\xa0\x80", "\\xed\\xa0\\x80" },  /* surrogate */
                { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
                { "\xff.service", "\\xff.service" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *e = str_escape(cases[i].in);

                assert_non_null(e);
                assert_string_equal(e, cases[i].out);
        }
}

static void test_strv(void **state _unused_) {
        _cleanup_strv_ char **l = NULL;

        assert_int_equal(strv_length(l), 0);
        assert_false(strv_contains(l, "a"));
        assert_int_equal(strv_extend(&l, "a"), 0);
        assert_int_equal(strv_extend(&l, "b"), 0);
        assert_int_equal(strv_length(l), 2);
        assert_true(strv_contains(l, "b"));
        assert_false(strv_contains(l, "c"));
        assert_null(strv_free(NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_builder),
                cmocka_unit_test(test_builder_overflow),
                cmocka_unit_test(test_escape),
                cmocka_unit_test(test_strv),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
