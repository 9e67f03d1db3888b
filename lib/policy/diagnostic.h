/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Diagnostics: everything that is to be said about a set of policy files, collected before any verdict, so
 * that a file is mended once. */

#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"
#include "policy/policy.h"

/* More are counted, not kept, errors before the others: a file that is no policy at all has a fault on every line. */
#define DIAGNOSTICS_MAX 200

typedef enum Severity {
        SEVERITY_NOTE,          /* understood, and has no effect in this version */
        SEVERITY_WARNING,       /* ignored, the rest counts */
        SEVERITY_ERROR,         /* refuses the file, and with it the set */
        _SEVERITY_MAX,
} Severity;

const char *severity_to_string(Severity s);

typedef struct Diagnostic {
        Severity severity;
        Span span;              /* .file is owned by the Diagnostics; line 1, column 1 where it is the whole file */
        char *text;             /* the reason, without position; printable */
} Diagnostic;

/* Zero-initialised is empty and lenient. */
typedef struct Diagnostics {
        bool strict;            /* unknown sections and keys are errors (verify) and not warnings (load) */
        Diagnostic *items;
        size_t n_items, n_dropped, n_errors, n_warnings;
        size_t n_unknown;       /* of these the unknown sections and keys, which keep no set from being loaded */
        char **files;
        char **refused;         /* the files that errors are of, as written: of all errors, not only of those that are kept; of
                                 * conflicts between files, where no file has a fault of its own */
        int error;              /* -ENOMEM: something could not be kept */
} Diagnostics;

void diagnostics_done(Diagnostics *d);
#define _cleanup_diagnostics_ _cleanup_(diagnostics_done)

/* d may be NULL: nothing is kept then. */
void diagnostics_add(Diagnostics *d, Severity severity, Span span, const char *format, ...) _printf_(4, 5);

/* The file has a fault that is told of with another's. */
void diagnostics_refuse(Diagnostics *d, const char *file);

/* By file in the order of first mention, then by line and column. */
void diagnostics_sort(Diagnostics *d);

/* One "FILE:LINE:COLUMN: error: REASON" a line, of that severity or graver. "" for none. 0 or -ENOMEM. */
int diagnostics_format(const Diagnostics *d, Severity least, char **ret);
