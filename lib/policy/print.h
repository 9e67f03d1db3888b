/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Print: a domain as canonical policy text, every key with what is in force. Compiling the text under the
 * domain's name gives the same domain. */

#include "policy/policy.h"

/* The caller frees. 0 or -ENOMEM. */
int domain_print(const Domain *d, char **ret);
