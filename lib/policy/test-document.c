/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The syntax: what systemd.syntax(7) says, and where each byte stood. */

#include "base/test.h"
#include "policy/document.h"

static Document *parse(const char *text, Diagnostics *d) {
        Document *document = NULL;

        assert_int_equal(document_parse("f", text, strlen(text), d, &document), 0);
        assert_non_null(document);
        return document;
}

static void assert_span(Span s, unsigned line, unsigned column) {
        assert_string_equal(s.file, "f");
        assert_int_equal(s.line, line);
        assert_int_equal(s.column, column);
}

static void test_plain(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(document_freep) Document *x = parse(
                "# comment\n"
                "  ; another\n"
                "[Domain]\n"
                "  Description \t=  a b = c  \n"
                "\n"
                "Empty=\n"
                "[ Alarm  memory ]  \n"
                "Key=value", &d);
        const Section *s;

        assert_int_equal(d.n_items, 0);
        assert_int_equal(x->n_sections, 2);
        s = &x->sections[0];
        assert_string_equal(s->name, "Domain");
        assert_null(s->argument);
        assert_span(s->span, 3, 1);
        assert_int_equal(s->n_assignments, 2);
        assert_string_equal(s->assignments[0].key, "Description");
        assert_string_equal(s->assignments[0].value, "a b = c");
        assert_span(s->assignments[0].span, 4, 3);
        assert_span(assignment_span(&s->assignments[0], s->assignments[0].value + 4), 4, 23);
        assert_string_equal(s->assignments[1].value, "");
        s = &x->sections[1];
        assert_string_equal(s->name, "Alarm");
        assert_string_equal(s->argument, "memory");
        assert_span(s->argument_span, 7, 10);
        assert_string_equal(s->assignments[0].value, "value");
        assert_span(s->assignments[0].span, 8, 1);
}

static void test_continuation(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(document_freep) Document *x = parse(
                "[Match]\n"
                "Unit=a.service \\\n"
                "# in between \\\n"
                "   b.service \\\r\n"
                "\tc.service\r\n"
                "Unit=d\\\\\n"
                "Unit=\\\n"
                "\n"
                "\\\n"
                " User=x\n"
                "Blanks=1 \\ \t\n"
                " 2\n"
                "Last=y\\", &d);
        const Assignment *a = x->sections[0].assignments;

        assert_int_equal(d.n_items, 0);
        assert_int_equal(x->sections[0].n_assignments, 6);
        assert_string_equal(a[0].value, "a.service  b.service  c.service");
        assert_span(assignment_span(&a[0], strstr(a[0].value, "a.service")), 2, 6);
        assert_span(assignment_span(&a[0], strstr(a[0].value, "b.service")), 4, 4);
        assert_span(assignment_span(&a[0], strstr(a[0].value, "c.service")), 5, 2);
        assert_string_equal(a[1].value, "d\\\\");
        assert_string_equal(a[2].value, "");
        assert_string_equal(a[3].key, "User");
        assert_span(a[3].span, 10, 2);
        assert_span(assignment_span(&a[3], a[3].value), 10, 7);
        assert_string_equal(a[4].value, "1  2");
        assert_string_equal(a[5].value, "y");
}

static void test_ignored(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(document_freep) Document *x = parse(
                "\xef\xbb\xbf[Domain]\nX-Note=1\nRank=1\n[X-Other]\nAnything=2\n[Match]\n", &d);

        assert_int_equal(d.n_items, 0);
        assert_int_equal(x->n_sections, 2);
        assert_int_equal(x->sections[0].n_assignments, 1);
        assert_string_equal(x->sections[1].name, "Match");
        assert_int_equal(x->sections[1].n_assignments, 0);
}

/* Columns count characters. */
static void test_columns(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(document_freep) Document *x = parse("[Domain]\nDescription=\xc3\xbc\xe2\x82\xac x\n", &d);
        const Assignment *a = x->sections[0].assignments;

        assert_span(assignment_span(a, strchr(a->value, 'x')), 2, 16);
}

static void test_faults(void **state _unused_) {
        static const struct {
                const char *text;
                unsigned line, column;
                const char *reason;
        } cases[] = {
                { "Rank=1\n", 1, 1, "outside of any section" },
                { "[Domain]\n  Rank\n", 2, 3, "expected KEY=VALUE" },
                { "[Domain]\n =1\n", 2, 2, "no key before '='" },
                { "[Domain\nRank=1\n", 1, 1, "not closed" },
                { "[Domain] # x\n", 1, 9, "text after the section header" },
                { "[]\n", 1, 1, "without a name" },
                { "\n[Domain]\nDescription=a\xff\n", 3, 14, "byte 0xff is not valid UTF-8" },
                { "[Domain]\nDescription=\x1b[31m\n", 2, 13, "control character (U+001B)" },
                { "[Domain]\nDescription=\xc2\x9b\n", 2, 13, "control character (U+009B)" },
                { "[Domain]\rRank=1\n", 1, 9, "control character (U+000D)" },
                { "\xef\xbb\xbf[Domain]\x01\n", 1, 9, "control character (U+0001)" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(document_freep) Document *x _unused_ = parse(cases[i].text, &d);

                assert_int_equal(d.n_items, 1);
                assert_int_equal(d.n_errors, 1);
                assert_span(d.items[0].span, cases[i].line, cases[i].column);
                assert_non_null(strstr(d.items[0].text, cases[i].reason));
        }
}

static void test_nul_and_size(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(document_freep) Document *x = NULL, *y = NULL;
        _cleanup_free_ char *big = calloc(1, DOCUMENT_SIZE_MAX + 1);

        assert_int_equal(document_parse("f", "[Domain]\nA\0B=1\n", 15, &d, &x), 0);
        assert_int_equal(d.n_errors, 1);
        assert_span(d.items[0].span, 2, 2);
        assert_non_null(strstr(d.items[0].text, "NUL"));
        assert_int_equal(x->n_sections, 0);

        memset(big, '#', DOCUMENT_SIZE_MAX + 1);
        assert_int_equal(document_parse("f", big, DOCUMENT_SIZE_MAX + 1, &d, &y), 0);
        assert_int_equal(d.n_errors, 2);
        assert_span(d.items[1].span, 1, 1);
        assert_non_null(strstr(d.items[1].text, "larger than 1 MiB"));
}

/* A file with a fault on every line: the report stays short, the count does not. */
static void test_many_faults(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_free_ char *big = calloc(1, DOCUMENT_SIZE_MAX), *report = NULL;
        _cleanup_(document_freep) Document *x = NULL;

        for (size_t i = 0; i < DOCUMENT_SIZE_MAX; i += 2)
                memcpy(big + i, "x\n", 2);
        assert_int_equal(document_parse("f", big, DOCUMENT_SIZE_MAX, &d, &x), 0);
        assert_int_equal(d.n_errors, DOCUMENT_SIZE_MAX / 2);
        assert_int_equal(d.n_items, DIAGNOSTICS_MAX);
        assert_int_equal(diagnostics_format(&d, SEVERITY_NOTE, &report), 0);
        assert_non_null(strstr(report, "and 524088 more"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plain),   cmocka_unit_test(test_continuation),
                cmocka_unit_test(test_ignored), cmocka_unit_test(test_columns),
                cmocka_unit_test(test_faults),  cmocka_unit_test(test_nul_and_size),
                cmocka_unit_test(test_many_faults),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
