/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Generate: writes what makes systemd start units in their domains (systemd.generator(7)). */

#include "policy/policy.h"

typedef struct GeneratePaths {
        const char *root;       /* "" for the real one: where the unit files are looked for */
        const char *normal;     /* drop-ins: goes before the vendor's units, after the administrator's */
        const char *late;       /* slice units: go after everything, so that any other file wins */
} GeneratePaths;

/* A negative errno at the first file that cannot be written; ret_failed is then its path (freed by the caller). */
int generate(const Policy *policy, const GeneratePaths *paths, char **ret_failed);
