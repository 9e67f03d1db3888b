/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Trial: the fields of the census are compared with their files before they are believed for good. But for page cache and what was
 * fetched back: whoever found the kernel's words for these (stat-search.c) has compared them. */

#include <stdbool.h>
#include <stdint.h>

#include "model/sample.h"
#include "sense/registry.h"

/* What is a field of a record in a sample, and in which file it stands. */
typedef struct CensusField {
        WalkField from;
        CgroupField to;
        KnownFile file;
        const char *key;                /* the line; NULL = the file is one number */
} CensusField;

extern const CensusField census_fields[];
extern const size_t n_census_fields;

/* The value in a sample's units. False where the record lacks it. */
bool census_field_get(const WalkRecord *r, WalkField f, uint64_t page_bytes, uint64_t *ret);

#define TRIAL_CGROUPS 4
#define TRIAL_ROUNDS 3
#define TRIAL_FIELDS_MAX 32

typedef struct Trial {
        unsigned rounds;                /* compared so often */
        uint64_t distrusted;            /* 1 << WalkField: disagreed in two rounds, one after the other */
        uint64_t disagreed;             /* … in the last round */
        uint64_t ids[TRIAL_CGROUPS];
        size_t n_ids;
        uint64_t before[TRIAL_CGROUPS][TRIAL_FIELDS_MAX];
        uint32_t have[TRIAL_CGROUPS];   /* 1 << row of census_fields */
} Trial;

/* True until the first rounds are over; more may follow. */
static inline bool trial_is_on(const Trial *t) {
        return t->rounds < TRIAL_ROUNDS;
}

/* Reads the files of the busiest cgroups; to be followed by a census and trial_compare(). text is scratch
 * of KNOWN_TEXT_MAX. */
void trial_begin(Trial *t, Registry *g, char *text);

/* Reads them again. Where the record is outside of both readings the field is distrusted at the second time. */
void trial_compare(Trial *t, Registry *g, uint64_t page_bytes, char *text);

/* "memory.pressure: some, full" of what is distrusted, into buf. */
void trial_words(const Trial *t, char *buf, size_t size);
