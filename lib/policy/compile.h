/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Compile: the texts of a whole set in, a Policy out, all or nothing. */

#include <stddef.h>

#include "policy/diagnostic.h"
#include "policy/policy.h"

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

/* For a start, where there is no older set to stay with: a domain with a fault in any of its files is left out, with all
 * its files, but for its slice, which is NAME.slice where they do not tell: it has no contract, for that of a domain around it may be
 * what its file forbids. What it and a domain without a fault both claim is the latter's. The others make the set. d tells of the
 * faults all the same. *ret_left_out: the names of those domains, and
 * directories that could not be used, escaped, the caller's; NULL for none. 0; -EBADMSG: refused by a fault that is of no file of
 * a policy's; -ENOMEM. */
int policy_compile_sound(const PolicySource *sources, size_t n, Diagnostics *d, Policy **ret, char ***ret_left_out);

/* The domain that a file's path names, NAME.policy, NAME.policy.d or NAME.policy.d/…, as *ret_size bytes at the returned place in it;
 * NULL where it names none. */
const char *policy_file_domain(const char *file, size_t *ret_size);
