/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Document: one policy file as text: sections, assignments, and where each byte of them stood. It knows the
 * syntax and no key. */

#include <stddef.h>

#include "policy/diagnostic.h"
#include "policy/policy.h"

#define DOCUMENT_SIZE_MAX (1024 * 1024)

/* From here on the joined line's text stood at line:column (a continued line has several). */
typedef struct Piece {
        size_t offset;
        unsigned line, column;
} Piece;

typedef struct Assignment {
        char *text;             /* owned: the joined line, cut into key and value */
        const char *key;        /* point into text; trimmed; value "" is a reset */
        const char *value;
        Piece *pieces;
        size_t n_pieces;
        Span span;              /* of the key */
} Assignment;

typedef struct Section {
        char *name;             /* "Alarm" */
        char *argument;         /* "memory" of [Alarm memory]; NULL for none */
        Span span;
        Span argument_span;
        Assignment *assignments;
        size_t n_assignments;
} Section;

typedef struct Document {
        const char *file;       /* borrowed */
        Section *sections;      /* in the order of the file; a name may come again */
        size_t n_sections;
} Document;

/* Reads text (size bytes, not necessarily terminated). What is wrong goes into d, and what can be read in
 * spite of it into *ret. file is borrowed for as long as the document and its spans live. 0 or -ENOMEM. */
int document_parse(const char *file, const char *text, size_t size, Diagnostics *d, Document **ret);
Document *document_free(Document *d);
DEFINE_CLEANUP(Document *, document_free)

/* Where the byte at p, which points into a->text, stands. */
Span assignment_span(const Assignment *a, const char *p);
