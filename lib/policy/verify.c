/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Verify: what only the whole set shows: slices, units, users and programs that two domains claim.
 *
 * Invariant: after it, every unit has at most one best domain, so that where a service is placed never
 * depends on the order of files. The work is bounded: names are sorted, and globs, which must be compared
 * in pairs, are few. */

#include "base/str.h"
#include "policy/compile.h"
#include "policy/draft.h"
#include "policy/glob.h"

/* Globs in [Match] Unit= of the whole set: even the worst of them are compared in well under a second. */
#define GLOBS_MAX 128

typedef struct Claim {
        const char *text;
        const Draft *draft;
        const Span *span;
        size_t index;           /* of the claim: the unique end of the order */
} Claim;

static int compare_claims(const void *a, const void *b) {
        const Claim *x = a, *y = b;
        int r = strcmp(x->text, y->text);

        return r != 0 ? r : (x->index > y->index) - (x->index < y->index);
}

typedef enum ClaimKind {
        CLAIM_UNIT,
        CLAIM_USER,
        CLAIM_EXECUTABLE,
} ClaimKind;

static char *const *draft_claims(const Draft *d, ClaimKind kind, const Span **ret_spans) {
        switch (kind) {
        case CLAIM_UNIT:
                *ret_spans = d->unit_spans;
                return d->domain.match.units;
        case CLAIM_USER:
                *ret_spans = d->user_spans;
                return d->domain.match.users;
        case CLAIM_EXECUTABLE:
                *ret_spans = d->executable_spans;
                return d->domain.match.executables;
        }
        return NULL;
}

static int claims_collect(const Draft *drafts, size_t n, ClaimKind kind, Claim **ret, size_t *ret_n) {
        Claim *claims;
        size_t total = 0;
        const Span *spans;

        for (size_t i = 0; i < n; i++)
                total += strv_length(draft_claims(&drafts[i], kind, &spans));
        claims = calloc(MAX(total, (size_t) 1), sizeof(Claim));
        if (!claims)
                return -ENOMEM;
        total = 0;
        for (size_t i = 0; i < n; i++) {
                char *const *list = draft_claims(&drafts[i], kind, &spans);

                for (size_t j = 0; list && list[j]; j++, total++)
                        claims[total] = (Claim) { list[j], &drafts[i], &spans[j], total };
        }
        *ret = claims;
        *ret_n = total;
        return 0;
}

/* The same text in two domains. */
static int verify_claims(const Draft *drafts, size_t n, ClaimKind kind, const char *noun, Diagnostics *d) {
        _cleanup_free_ Claim *claims = NULL;
        size_t n_claims;
        int r;

        r = claims_collect(drafts, n, kind, &claims, &n_claims);
        if (r < 0)
                return r;
        qsort(claims, n_claims, sizeof(Claim), compare_claims);
        for (size_t i = 1, first = 0; i < n_claims; i++) {
                if (!streq(claims[i].text, claims[first].text)) {
                        first = i;
                        continue;
                }
                diagnostics_add(d, SEVERITY_ERROR, *claims[i].span,
                                "the %s %.100s is matched by two domains: also by %s (%s:%u)", noun, claims[i].text,
                                claims[first].draft->domain.name, claims[first].span->file,
                                claims[first].span->line);
        }
        return 0;
}

/* Two different globs of the same precision that can take in the same unit. Globs of equal precision have
 * literal beginnings of equal length, and take in a common name only if these are the same. */
static int verify_globs(const Draft *drafts, size_t n, Diagnostics *d) {
        _cleanup_free_ Claim *claims = NULL;
        size_t n_claims, n_globs = 0;
        int r;

        r = claims_collect(drafts, n, CLAIM_UNIT, &claims, &n_claims);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_claims; i++)
                if (!glob_is_literal(claims[i].text))
                        claims[n_globs++] = claims[i];
        if (n_globs > GLOBS_MAX) {
                diagnostics_add(d, SEVERITY_ERROR, *claims[GLOBS_MAX].span,
                                "more than %d globs in [Match] Unit= of all policies", GLOBS_MAX);
                for (size_t i = 0, end, taken = 0; i < n_globs; i = end) {
                        for (end = i + 1; end < n_globs && claims[end].draft == claims[i].draft;)
                                end++;
                        if (taken + end - i <= GLOBS_MAX)
                                taken += end - i;
                        else
                                diagnostics_refuse(d, claims[i].draft->span.file);
                }
                return 0;
        }
        for (size_t i = 0; i < n_globs && d->n_errors < DIAGNOSTICS_MAX; i++)
                for (size_t j = 0; j < i; j++) {
                        const Claim *a = &claims[j], *b = &claims[i];
                        size_t prefix = glob_prefix(a->text);

                        if (a->draft == b->draft || prefix != glob_prefix(b->text) ||
                            strncmp(a->text, b->text, prefix) != 0 || streq(a->text, b->text) ||
                            !glob_intersects(a->text, b->text))
                                continue;
                        diagnostics_add(d, SEVERITY_ERROR, *b->span,
                                        "%.100s and %.100s of %s (%s:%u) can match the same unit with equal precision: "
                                        "expected a longer literal beginning in one of them", b->text, a->text,
                                        a->draft->domain.name, a->span->file, a->span->line);
                }
        return 0;
}

static void verify_slices(const Draft *drafts, size_t n, Diagnostics *d) {
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < i; j++) {
                        const Draft *a = &drafts[j], *b = &drafts[i];

                        if (streq(a->domain.name, b->domain.name)) {
                                diagnostics_add(d, SEVERITY_ERROR, b->span, "the domain %s comes twice",
                                                b->domain.name);
                                break;
                        }
                        if (!a->domain.slice || !b->domain.slice || !streq(a->domain.slice, b->domain.slice))
                                continue;
                        diagnostics_add(d, SEVERITY_ERROR, b->slice_span.line ? b->slice_span : b->span,
                                        "%s is the slice of two domains: also of %s (%s:%u)", b->domain.slice,
                                        a->domain.name, a->span.file,
                                        a->slice_span.line ? a->slice_span.line : a->span.line);
                        break;
                }
}

static size_t count_latencies(const Domain *d) {
        size_t n = 0;

        for (size_t a = 0; a < d->n_alarms; a++)
                for (size_t c = 0; c < d->alarms[a].n_conditions; c++)
                        n += d->alarms[a].conditions[c].type == CONDITION_IO_LATENCY;
        return n;
}

int drafts_verify(const Draft *drafts, size_t n, Diagnostics *d) {
        size_t alarms = 0, latencies = 0;
        bool fits = true;
        int r;

        /* Of those for which there is no room the first is told of, and all are at fault. */
        if (n > POLICY_DOMAINS_MAX) {
                diagnostics_add(d, SEVERITY_ERROR, drafts[POLICY_DOMAINS_MAX].span, "more than %d domains",
                                POLICY_DOMAINS_MAX);
                for (size_t i = POLICY_DOMAINS_MAX; i < n; i++)
                        diagnostics_refuse(d, drafts[i].span.file);
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                size_t a = drafts[i].domain.n_alarms, l = count_latencies(&drafts[i].domain);

                if (alarms + a <= POLICY_ALARMS_MAX && latencies + l <= POLICY_LATENCIES_MAX) {
                        alarms += a;
                        latencies += l;
                        continue;
                }
                if (fits && alarms + a > POLICY_ALARMS_MAX)
                        diagnostics_add(d, SEVERITY_ERROR, drafts[i].span, "more than %d alarms in all policies", POLICY_ALARMS_MAX);
                else if (fits)
                        diagnostics_add(d, SEVERITY_ERROR, drafts[i].span, "more than %d conditions IOLatencyAbove= in all policies",
                                        POLICY_LATENCIES_MAX);
                fits = false;
                diagnostics_refuse(d, drafts[i].span.file);
        }
        if (!fits)
                return 0;
        verify_slices(drafts, n, d);
        r = verify_claims(drafts, n, CLAIM_UNIT, "unit", d);
        if (r >= 0)
                r = verify_globs(drafts, n, d);
        if (r >= 0)
                r = verify_claims(drafts, n, CLAIM_USER, "user", d);
        if (r >= 0)
                r = verify_claims(drafts, n, CLAIM_EXECUTABLE, "program", d);
        return r;
}
