/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/test.h"
#include "policy/glob.h"

static void test_match(void **state _unused_) {
        static const struct {
                const char *pattern, *text;
                bool match;
        } cases[] = {
                { "a.service", "a.service", true },     { "a.service", "aXservice", false },
                { "*", "", true },                      { "*", "anything", true },
                { "a*b*c", "aXbYc", true },             { "a*b*c", "aXbY", false },
                { "a*bc", "abcbc", true },              { "?", "", false },
                { "?", "x", true },                     { "[a-c]x", "bx", true },
                { "[a-c]x", "dx", false },              { "[!a-c]x", "dx", true },
                { "[^a-c]x", "bx", false },             { "[]a]", "]", true },
                { "[a-]", "-", true },                  { "**a", "ba", true },
                { "a[", "a[", false },                  { "", "", true },
                { "", "a", false },                     { "a*", "b", false },
                { "pg@*.service", "pg@main.service", true },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_int_equal(glob_match(cases[i].pattern, cases[i].text), cases[i].match);
        assert_true(glob_is_valid("a[b]*"));
        assert_false(glob_is_valid("a[b"));
        assert_false(glob_is_valid("[z-a]"));
        assert_false(glob_is_valid("[]"));
        assert_int_equal(glob_prefix("ab*c"), 2);
        assert_true(glob_is_literal("ab"));
        assert_false(glob_is_literal("a?"));
}

/* The pattern that makes a backtracking matcher run for ages. */
static void test_worst_case(void **state _unused_) {
        char pattern[256], text[256];

        for (size_t i = 0; i < 254; i += 2)
                memcpy(pattern + i, "*a", 2);
        strcpy(pattern + 254, "b");
        memset(text, 'a', 255);
        text[255] = '\0';
        assert_false(glob_match(pattern, text));
        assert_true(glob_intersects(pattern, "*b"));
}

/* Against the definition: over all short texts of a small alphabet. */
static void test_intersects(void **state _unused_) {
        static const char *const patterns[] = {
                "", "a", "b", "*", "?", "a*", "*a", "a*b", "*a*", "?a", "a?", "[ab]", "[!a]", "ab", "a?b", "**", "b*a", "?*", "[!a]*",
        };

        for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
                for (size_t j = 0; j < ARRAY_SIZE(patterns); j++) {
                        bool common = false;

                        for (unsigned n = 0; n <= 4; n++)
                                for (unsigned bits = 0; bits < 1u << n; bits++) {
                                        char text[8] = "";

                                        for (unsigned k = 0; k < n; k++)
                                                text[k] = bits & 1u << k ? 'a' : 'b';
                                        common = common || (glob_match(patterns[i], text) &&
                                                            glob_match(patterns[j], text));
                                }
                        if (glob_intersects(patterns[i], patterns[j]) != common)
                                fail_msg("%s and %s", patterns[i], patterns[j]);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_match),
                cmocka_unit_test(test_worst_case),
                cmocka_unit_test(test_intersects),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
