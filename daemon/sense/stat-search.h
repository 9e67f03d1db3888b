/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Stat search: which word of the kernel's statistics is which line of memory.stat. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sense/bpf/walk/walk-api.h"

#define STAT_KEYS_MAX 20

typedef struct StatKey {
        uint64_t candidates[WALK_WORDS_MAX / 64];       /* words that agreed whenever they were compared */
        unsigned agreed;                                /* times, with another value each */
        uint64_t last;                                  /* that value */
        int word;                                       /* -1 = not found yet */
} StatKey;

typedef struct StatSearch {
        uint64_t page_bytes;
        StatKey keys[STAT_KEYS_MAX];
} StatSearch;

void stat_search_init(StatSearch *s, uint64_t page_bytes);

/* text: the root's memory.stat. True where some line that is not zero has no word yet. */
bool stat_search_wants(const StatSearch *s, const char *text);

/* Compares: the words were taken between the two readings of the root's memory.stat. */
void stat_search_learn(StatSearch *s, const char *before, const uint64_t *words, size_t n_words, const char *after);

/* The terms for the walk, and as a mask of WalkField the fields that they make up. A counter that is zero
 * for the whole machine (text: the root's memory.stat) is zero everywhere and needs no word. */
uint64_t stat_search_terms(const StatSearch *s, const char *text, WalkTerm *ret_terms, uint32_t *ret_n);
