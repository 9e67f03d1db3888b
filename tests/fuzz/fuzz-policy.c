/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One input for the policy language: parse, compile, and hold it to what the headers promise.
 *
 * A form feed, which no policy may hold, divides the input into several sources, so that drop-ins and conflicts
 * between domains are reached. Runs under libFuzzer (fuzz-policy) and from a loop of our own (mutate.c). */

#include "base/str.h"
#include "fuzz.h"
#include "policy/compile.h"
#include "policy/glob.h"
#include "policy/print.h"

#define SOURCES_MAX 4

/* For a broken promise, with what made it. */
static void broken(const char *promise, const char *detail) {
        fprintf(stderr, "broken: %s\n%s\n", promise, detail);
        abort();
}

/* Every diagnostic has a place inside its text, and the report is printable. */
static void check_diagnostics(const Diagnostics *d, const PolicySource *sources, size_t n) {
        _cleanup_free_ char *report = NULL;

        for (size_t i = 0; i < d->n_items; i++) {
                const Diagnostic *x = &d->items[i];
                unsigned lines = 1;

                for (size_t j = 0; j < n; j++)
                        if (streq(sources[j].file, x->span.file))
                                for (size_t k = 0; k < sources[j].size; k++)
                                        lines += sources[j].text[k] == '\n';
                if (x->span.line < 1 || x->span.column < 1 || x->span.line > lines)
                        broken("a diagnostic's place is in its file", x->text);
        }
        if (diagnostics_format(d, SEVERITY_NOTE, &report) < 0)
                return;
        for (const char *p = report; *p; p++)
                if (((unsigned char) *p < 0x20 && *p != '\n') || *p == 0x7f)
                        broken("a report holds no control characters", report);
}

/* What is printed compiles to the same domain, and knows every key. Other warnings are of what the domain says. */
static void check_round_trip(const Policy *p) {
        for (size_t i = 0; i < p->n_domains; i++) {
                _cleanup_diagnostics_ Diagnostics d = { .strict = true };
                _cleanup_(policy_freep) Policy *again = NULL;
                _cleanup_free_ char *text = NULL;

                if (domain_print(&p->domains[i], &text) < 0)
                        return;
                if (policy_compile(&(PolicySource) { p->domains[i].name, (char *) "printed", text, strlen(text) }, 1, &d,
                                   &again) < 0)
                        broken("what is printed compiles", text);
                if (!domain_equal(&p->domains[i], &again->domains[0]))
                        broken("compile(print(p)) equals p", text);
        }
}

/* What must hold of every policy, however it was written. */
static void check_policy(const Policy *p) {
        static const char *const protected[] = {
                "init.scope", "cgd.service", "dbus.service", "dbus-broker.service",
                "systemd-journald.service", "systemd-logind.service", "systemd-udevd.service",
        };

        for (size_t i = 0; i < p->n_domains; i++) {
                const Domain *d = &p->domains[i];

                if (i > 0 && strcmp(p->domains[i - 1].slice, d->slice) >= 0)
                        broken("domains are sorted by slice, each once", d->slice);
                if (strstr(d->cgroup, "..") || *d->cgroup != '/' || streq(d->slice, "cgd.slice"))
                        broken("a domain is on a slice that may be a domain's", d->slice);
                if (streq(d->slice, "-.slice") ? d->contain.present || d->rank != 1000 : d->rank > 1000)
                        broken("-.slice has no [Contain] and the highest rank", d->name);
                for (size_t j = 0; j < ARRAY_SIZE(protected); j++)
                        for (char *const *u = d->match.units; u && *u; u++)
                                if (glob_match(*u, protected[j]))
                                        broken("what is protected is never placed", *u);
                for (size_t j = 0; j < d->n_alarms; j++) {
                        const Alarm *a = &d->alarms[j];

                        if (a->n_conditions == 0)
                                broken("an alarm has a condition", a->name);
                        for (size_t k = 0; k < a->n_conditions; k++)
                                if (a->conditions[k].threshold_permyriad > 10000 || a->conditions[k].window_usec > 10000000 ||
                                    a->conditions[k].span.line < 1)
                                        broken("a condition is in its range", a->conditions[k].text);
                }
        }
}

/* What a start makes of it: the same where nothing is wrong, and no worse a policy where something is. */
static void check_sound(const PolicySource *sources, size_t n, bool good) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_strv_ char **left_out = NULL;
        int r = policy_compile_sound(sources, n, &d, &p, &left_out);

        if (r == -ENOMEM)
                return;
        if (r < 0 || !p || good != !left_out)
                broken("of a set with faults the sound domains are in force", "");
        check_policy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const domains[SOURCES_MAX] = { "one", "one", "two", "three" };
        static const char *const names[SOURCES_MAX] = { "one.policy", "one.policy.d/a.conf", "two.policy", "three.policy" };

        for (int strict = 0; strict < 2; strict++) {
                _cleanup_diagnostics_ Diagnostics d = { .strict = strict };
                _cleanup_(policy_freep) Policy *p = NULL;
                PolicySource sources[SOURCES_MAX];
                const uint8_t *s = data, *end = data + size;
                size_t n = 0;
                int r;

                while (n < SOURCES_MAX) {
                        const uint8_t *e = n + 1 < SOURCES_MAX && s < end ? memchr(s, '\f', (size_t) (end - s)) : NULL;

                        sources[n] = (PolicySource) {
                                .domain = (char *) domains[n],
                                .file = (char *) names[n],
                                .text = (char *) s,
                                .size = (size_t) ((e ? e : end) - s),
                        };
                        n++;
                        if (!e)
                                break;
                        s = e + 1;
                }
                r = policy_compile(sources, n, &d, &p);
                if (r == -ENOMEM)
                        return 0;
                if ((r < 0) != (d.n_errors > 0) || (r < 0) != !p)
                        broken("refused with a reason, or compiled without an error", "");
                check_diagnostics(&d, sources, n);
                if (p) {
                        check_policy(p);
                        check_round_trip(p);
                }
                if (!strict)
                        check_sound(sources, n, p != NULL);
        }
        return 0;
}
