/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Memory that runs out at each allocation in turn: the set is then neither refused for a fault that it does
 * not have nor compiled in part, and nothing is leaked (the sanitizers' build sees that). The linker puts the
 * functions below in the place of the real ones (--wrap). */

#include <stdarg.h>

#include "policy/print.h"
#include "policy/test-policy.h"

static long left = -1;          /* allocations until one fails; negative: none does */

static bool fails(void) {
        return left >= 0 && left-- == 0;
}

#define WRAP(type, name, parameters, arguments)                 \
        type __real_##name parameters;                          \
        type __wrap_##name parameters;                          \
        type __wrap_##name parameters {                         \
                return fails() ? NULL : __real_##name arguments; \
        }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))

int __real_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap) {
        return fails() ? -1 : __real_vasprintf(ret, format, ap);
}

int __wrap_asprintf(char **ret, const char *format, ...) _printf_(2, 3);
int __wrap_asprintf(char **ret, const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        r = __wrap_vasprintf(ret, format, ap);
        va_end(ap);
        return r;
}

static const char good[] =
        "[Domain]\nDescription=x\n[Match]\nUnit=a.service b*.service\nUser=c\nExecutable=/d\n"
        "[Resources]\nMemoryLow=40%\nIOAccounting=True\nAllowedCPUs=0-3,5\nIOReadIOPSMax=/dev/sda 5\n"
        "[Alarm a]\nMemoryPressureAbove=some 10% over 1s\nIOLatencyAbove=p99 5ms over 1s\n"
        "CPUPressureAbove=some 10% over 1s\n"
        "[Contain]\nSteps=hold freeze\nPreKillExec=/e\nExclude=f.service\n";
static const char bad[] = "[Domain]\nRank=x\nFoo=1\n[Foo]\n[Alarm a]\n";

static void test_good(void **state _unused_) {
        for (long n = 0;; n++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                _cleanup_free_ char *text = NULL;
                int r;

                left = n;
                r = compile_text(good, &d, &p);
                if (r >= 0)
                        r = domain_print(&p->domains[0], &text);
                if (left >= 0) {
                        left = -1;
                        assert_int_equal(r, 0);
                        assert_true(n > 50);
                        return;
                }
                assert_int_equal(r, -ENOMEM);
                assert_int_equal(d.n_errors, 0);
        }
}

static void test_bad(void **state _unused_) {
        for (long n = 0;; n++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                bool enough;
                int r;

                left = n;
                r = compile_text(bad, &d, &p);
                enough = left >= 0;
                left = -1;
                assert_null(p);
                if (enough) {
                        assert_int_equal(r, -EBADMSG);
                        return;
                }
                assert_int_equal(r, -ENOMEM);
        }
}

/* Of a domain that is left out only the slice is kept: all of that, or no set. */
static void test_sound(void **state _unused_) {
        const PolicySource sources[] = {
                { (char *) "a", (char *) "/p/a.policy", (char *) good, sizeof(good) - 1 },
                { (char *) "b", (char *) "/p/b.policy", (char *) bad, sizeof(bad) - 1 },
        };

        for (long n = 0;; n++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                _cleanup_strv_ char **names = NULL;
                bool enough;
                int r;

                left = n;
                r = policy_compile_sound(sources, ARRAY_SIZE(sources), &d, &p, &names);
                enough = left >= 0;
                left = -1;
                assert_true(r == 0 || r == -ENOMEM);
                assert_true((r == 0) == (p != NULL));
                assert_true((r == 0) == (names != NULL));
                if (p)
                        assert_int_equal(p->n_domains, 2);
                if (enough)
                        return;
        }
}

/* A set with more than there is room for costs a start no more than a few times what looking at it costs, however many are left
 * out. Allocations are counted, for time is not the same twice. */
static void test_surplus(void **state _unused_) {
#define ALARM(a) "[Alarm " a "]\nSwapUsedAbove=1%%\n"
        static const struct {
                size_t n, n_fit;
                const char *text;       /* of each; %u: its number */
        } cases[] = {
                { 2 * POLICY_DOMAINS_MAX, POLICY_DOMAINS_MAX, "" },
                { POLICY_DOMAINS_MAX, POLICY_ALARMS_MAX / 8,
                  ALARM("a") ALARM("b") ALARM("c") ALARM("d") ALARM("e") ALARM("f") ALARM("g") ALARM("h") },
                { POLICY_DOMAINS_MAX, POLICY_LATENCIES_MAX, "[Alarm a]\nIOLatencyAbove=p99 50ms over 1s\n" },
                { POLICY_DOMAINS_MAX, 128, "[Match]\nUnit=%u-*.service\n" },
        };
#undef ALARM
        static const long plenty = 1L << 30;

        for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
                _cleanup_diagnostics_ Diagnostics d = {}, refused = {};
                _cleanup_(policy_freep) Policy *p = NULL, *none = NULL;
                _cleanup_strv_ char **names = NULL;
                PolicySource sources[2 * POLICY_DOMAINS_MAX];
                char domains[2 * POLICY_DOMAINS_MAX][8], files[2 * POLICY_DOMAINS_MAX][24], texts[2 * POLICY_DOMAINS_MAX][300];
                long once, all;

                for (unsigned i = 0; i < cases[c].n; i++) {
                        (void) snprintf(domains[i], sizeof(domains[i]), "d%03u", i);
                        (void) snprintf(files[i], sizeof(files[i]), "/p/d%03u.policy", i);
                        (void) snprintf(texts[i], sizeof(texts[i]), cases[c].text, i);
                        sources[i] = (PolicySource) { domains[i], files[i], texts[i], strlen(texts[i]) };
                }
                left = plenty;
                assert_int_equal(policy_compile(sources, cases[c].n, &refused, &none), -EBADMSG);
                once = plenty - left;
                left = plenty;
                assert_int_equal(policy_compile_sound(sources, cases[c].n, &d, &p, &names), 0);
                all = plenty - left;
                left = -1;
                assert_int_equal(policy_n_in_force(p), cases[c].n_fit);
                assert_int_equal(strv_length(names), cases[c].n - cases[c].n_fit);
                assert_int_equal(d.n_errors, 1);
                if (all > 4 * once)
                        fail_msg("%s: %ld allocations, and %ld to look at it once", cases[c].text, all, once);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_bad),
                cmocka_unit_test(test_sound),
                cmocka_unit_test(test_surplus),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
