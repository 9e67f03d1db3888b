/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by the tests of policy/: compiling literals. */

#include "base/test.h"
#include "base/str.h"
#include "policy/compile.h"

/* One policy file "NAME.policy" of the set. */
typedef struct Text {
        const char *domain, *file, *text;
} Text;

static inline int compile_texts(const Text *texts, size_t n, Diagnostics *d, Policy **ret) {
        PolicySource sources[POLICY_DOMAINS_MAX + 1];

        assert_true(n <= ARRAY_SIZE(sources));
        for (size_t i = 0; i < n; i++)
                sources[i] = (PolicySource) {
                        .domain = (char *) texts[i].domain,
                        .file = (char *) texts[i].file,
                        .text = (char *) texts[i].text,
                        .size = strlen(texts[i].text),
                };
        return policy_compile(sources, n, d, ret);
}

static inline int compile_text(const char *text, Diagnostics *d, Policy **ret) {
        return compile_texts(&(Text) { "workload", "w", text }, 1, d, ret);
}

/* Compiles what must be right; prints the reasons if it is not. */
static inline Policy *compile_good(const char *text) {
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_free_ char *report = NULL;
        Policy *p = NULL;
        int r;

        r = compile_text(text, &d, &p);
        assert_int_equal(diagnostics_format(&d, SEVERITY_WARNING, &report), 0);
        if (r < 0 || *report)
                fail_msg("refused: %s", report);
        return p;
}
