/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What of a set with faults is in force at a start, and what of it is kept of the domains that are left out. */

#include "policy/test-policy.h"

/* What of a set is sound, "(a)" where only the slice is kept; the names of the rest, "a b". refused: a file that could not be read. */
static void assert_sound(const PolicySource *sources, size_t n, const char *refused, const char *in_force, const char *left_out) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_strv_ char **left = NULL;
        _cleanup_str_ Str names = {}, rest = {};

        if (refused)
                diagnostics_add(&d, SEVERITY_ERROR, (Span) { .file = refused, .line = 1, .column = 1 }, "cannot be read");
        assert_int_equal(policy_compile_sound(sources, n, &d, &p, &left), 0);
        for (size_t i = 0; i < p->n_domains; i++)
                str_appendf(&names, p->domains[i].inactive ? "%s(%s)" : "%s%s", i ? " " : "", p->domains[i].name);
        for (size_t i = 0; left && left[i]; i++)
                str_appendf(&rest, "%s%s", i ? " " : "", left[i]);
        assert_string_equal(names.data ?: "", in_force);
        assert_string_equal(rest.data ?: "", left_out);
        assert_true((d.n_errors > 0) == (refused || *left_out));
}

static void test_sound(void **state _unused_) {
#define SOURCE(d, f, t) { .domain = (char *) d, .file = (char *) f, .text = (char *) t, .size = sizeof(t) - 1 }
        const PolicySource good[] = {
                SOURCE("a", "/p/a.policy", "[Domain]\nRank=1\n"),
                SOURCE("b", "/p/b.policy", "[Domain]\nRank=2\n"),
        }, bad[] = {
                SOURCE("a", "/p/a.policy", "[Domain]\nRank=1\n"),
                SOURCE("a", "/q/a.policy.d/50-x.conf", "[Domain]\nRank=high\n"),
                SOURCE("b", "/p/b.policy", "[Domain]\nRank=2\n"),
                SOURCE("c", "/p/c.policy", "[Domain]\nSlice=../c.slice\n"),
        }, conflict[] = {
                SOURCE("a", "/p/a.policy", "[Domain]\nSlice=same.slice\n"),
                SOURCE("b", "/p/b.policy", "[Domain]\nSlice=same.slice\n"),
        }, faulty_first[] = {
                SOURCE("a", "/p/a.policy", "[Domain]\nSlice=same.slice\nRank=high\n[Match]\nUnit=x.service\n"),
                SOURCE("b", "/p/b.policy", "[Domain]\nSlice=same.slice\n"),
                SOURCE("c", "/p/c.policy", "[Match]\nUnit=x.service\n"),
                SOURCE("d", "/p/d.policy", "[Domain]\nSlice=same.slice\n"),
        }, odd[] = {
                SOURCE("b", "/p/b.policy", "[Domain]\nRank=2\n"),
                SOURCE("c.policy.data", "/p/c.policy.data.policy", "[Domain]\nRank=high\n"),
                SOURCE("my\\x2dapp", "/p/my\\x2dapp.policy", "[Domain]\nRank=1\n"),
                SOURCE("\xff", "/p/\xff.policy", "[Domain]\nRank=1\n"),
        };
#undef SOURCE

        assert_sound(good, 2, NULL, "a b", "");
        assert_sound(bad, 4, NULL, "(a) b (c)", "a c");
        assert_sound(conflict, 2, NULL, "a", "b");
        /* As if the one at fault had never been written, whatever their names: of the others the first is in force. */
        assert_sound(faulty_first, 4, NULL, "c b", "a d");
        /* Read or not, a domain with one file less than was written is not that domain. */
        assert_sound(good, 2, "/q/b.policy.d/10-y.conf", "a (b)", "b");
        /* Of a directory that is not trusted nothing was read; the rest counts. */
        assert_sound(good, 2, "/etc/cgd/policies", "a b", "/etc/cgd/policies");
        assert_sound(bad + 3, 1, NULL, "(c)", "c");
        /* The faults name their files escaped. */
        assert_sound(odd, 4, NULL, "b (c.policy.data)", "c.policy.data my\\x5cx2dapp \\xff");
        assert_sound(good, 2, "/q/b.policy.d", "a (b)", "b");
}

/* A domain within another is left out: what lies in it is not the other's then, whose contract it may have been there to forbid. */
static void test_left_out_is_nobodys(void **state _unused_) {
        static const char outer[] = "[Contain]\nMode=enforce\nSteps=hold kill\n",
                          inner[] = "[Domain]\nSlice=a-b.slice\n[Resources]\nMemoryLow=1G\n[Contain]\nMode=of\n";
        const PolicySource sources[] = {
                { (char *) "a", (char *) "/p/a.policy", (char *) outer, sizeof(outer) - 1 },
                { (char *) "inner", (char *) "/p/inner.policy", (char *) inner, sizeof(inner) - 1 },
        };
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_strv_ char **left = NULL;
        const Domain *in;

        assert_int_equal(policy_compile_sound(sources, 2, &d, &p, &left), 0);
        assert_int_equal(p->n_domains, 2);
        in = policy_domain_of(p, "/a.slice/a-b.slice/db.service");
        assert_string_equal(in->name, "inner");
        assert_false(in->contain.present);
        assert_int_equal(in->n_resources, 0);
        assert_string_equal(in->files[0], "/p/inner.policy");
        assert_non_null(strstr(in->inactive[0], "its policy had a fault"));
        assert_string_equal(policy_domain_of(p, "/a.slice/x.service")->name, "a");
}

/* A policy of a newer version, with more unknown keys than are kept, hides no fault of another. */
static void test_many_warnings(void **state _unused_) {
        static const char bad[] = "[Domain]\nRank=high\n", glob[] = "[Match]\nUnit=x*.service\n",
                          other[] = "[Match]\nUnit=x?.service\n";
        _cleanup_diagnostics_ Diagnostics d = {}, conflict = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_free_ char *report = NULL;
        _cleanup_str_ Str s = {};

        str_append(&s, "[Domain]\n");
        for (unsigned i = 0; i < DIAGNOSTICS_MAX + 50; i++)
                str_appendf(&s, "NewKey%u=1\n", i);
        const PolicySource sources[] = {
                { (char *) "a", (char *) "/p/a.policy", s.data, s.length },
                { (char *) "b", (char *) "/p/b.policy", (char *) bad, sizeof(bad) - 1 },
        };
        const Text texts[] = { { "a", "a", s.data }, { "b", "b", glob }, { "c", "c", other } };

        assert_int_equal(policy_compile(sources, 2, &d, &p), -EBADMSG);
        assert_int_equal(d.n_items, DIAGNOSTICS_MAX);
        assert_int_equal(d.n_items + d.n_dropped, DIAGNOSTICS_MAX + 51);
        assert_int_equal(diagnostics_format(&d, SEVERITY_ERROR, &report), 0);
        assert_non_null(strstr(report, "/p/b.policy:2:6: error: Rank=: 'high'"));
        assert_null(strstr(report, "more"));
        assert_sound(sources, 2, NULL, "a (b)", "b");
        assert_int_equal(compile_texts(texts, 3, &conflict, &p), -EBADMSG);
}

/* More files that are not to be believed than are told of: a domain whose drop-in is among the rest is not the domain that was
 * written. */
static void test_many_refused(void **state _unused_) {
        static const char text[] = "[Domain]\nRank=1\n";
        const PolicySource sources[] = {
                { (char *) "a", (char *) "/p/a.policy", (char *) text, sizeof(text) - 1 },
                { (char *) "b", (char *) "/p/b.policy", (char *) text, sizeof(text) - 1 },
        };
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_strv_ char **left = NULL;

        for (unsigned i = 0; i <= DIAGNOSTICS_MAX; i++) {
                char file[64];

                (void) snprintf(file, sizeof(file), i < DIAGNOSTICS_MAX ? "/q/x%u.policy.d/1.conf" : "/q/b.policy.d/1.conf", i);
                diagnostics_add(&d, SEVERITY_ERROR, (Span) { .file = file, .line = 1, .column = 1 }, "is not owned by root");
        }
        assert_int_equal(policy_compile_sound(sources, 2, &d, &p, &left), 0);
        assert_false(policy_find(p, "a")->left_out);
        assert_true(policy_find(p, "b")->left_out);
        assert_int_equal(strv_length(left), DIAGNOSTICS_MAX + 1);
        assert_int_equal(d.n_items, DIAGNOSTICS_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sound),
                cmocka_unit_test(test_left_out_is_nobodys),
                cmocka_unit_test(test_many_warnings),
                cmocka_unit_test(test_many_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
