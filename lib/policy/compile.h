/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Compile: the texts of a whole set in, a Policy out, all or nothing. */

#include <stddef.h>

#include "policy/diagnostic.h"
#include "policy/policy.h"

#define POLICY_DOMAINS_MAX 64

/* One file. The sources of a domain follow one another: its file, then its drop-ins in order. */
typedef struct PolicySource {
        char *domain;           /* "workload" */
        char *file;             /* as it is shown, "/etc/cgd/policies/workload.policy" */
        char *text;
        size_t size;
} PolicySource;

/* Compiles the set. d is collected in whatever the outcome, and what is in it already counts (a file that could not
 * be read): with any error in d there is no policy.
 * 0; -EBADMSG: refused, d says why; -ENOMEM. */
int policy_compile(const PolicySource *sources, size_t n, Diagnostics *d, Policy **ret);
