/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Draft: a domain while it is compiled, with the places that only diagnostics need. Private to compile.c and
 * verify.c. */

#include "policy/diagnostic.h"
#include "policy/policy.h"

typedef struct Draft {
        Domain domain;
        Span span;                      /* line 1 of its file */
        Span slice_span, rank_span, contain_span, resources_span;       /* line 0: not written */
        Span *unit_spans, *user_spans, *executable_spans;       /* one for each entry of the lists */
        bool *alarm_touched;            /* one for each alarm: has had a condition, though it was emptied or refused */
} Draft;

/* What only the whole set shows: two domains that claim the same. Adds to d. 0 or -ENOMEM. */
int drafts_verify(const Draft *drafts, size_t n, Diagnostics *d);
