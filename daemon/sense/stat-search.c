/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stat search: finds, by comparing the root cgroup's words with its memory.stat, which word is which line.
 *
 * The kernel has that in tables that are in no header, differ in width and order from version to version,
 * and are named in kallsyms only for who has CAP_SYSLOG on a kernel with KALLSYMS_ALL. Comparing needs none
 * of these, holds on kernels that nobody has seen yet, and is the proof as well.
 *
 * Invariant: a word is taken for a line only when it alone lay between two readings of that line, with one
 * value and with another, or with a large one. A counter only grows, so its own word is always among those
 * that did. A line of several counters counts only when each was found or is zero for the whole machine,
 * where there is nothing to find.
 *
 * Left out on purpose: lines that are still zero. They are found when they begin to move, which is when they
 * begin to matter; for those one or two looks the file is read. */

#include "base/macro.h"
#include "sense/stat-search.h"
#include "sys/cgroup.h"

#define AGREED_MIN 2
/* A counter that stands still has but one value: so large a number is no coincidence. */
#define ALONE_MIN 64
/* Two readings of a use that differ by no more than such a part of it tell which word it is. */
#define NARROW_PART 16

/* One line, and the fields it is a part of. Source: Documentation/admin-guide/cgroup-v2.rst, memory.stat;
 * which lines are there depends on the version. */
static const struct {
        const char *key;
        bool bytes;                     /* in the file; the words count pages */
        uint64_t fields;
} lines[] = {
#define FIELD(f) (UINT64_C(1) << (f))
        { "anon", true, FIELD(WALK_ANON) },
        { "active_file", true, FIELD(WALK_CACHE) },
        { "inactive_file", true, FIELD(WALK_CACHE) },
        { "swapcached", true, FIELD(WALK_CACHE) },
        { "pgfault", false, FIELD(WALK_FAULTS) },
        { "pgmajfault", false, FIELD(WALK_MAJOR_FAULTS) },
        { "workingset_refault_anon", false, FIELD(WALK_REFAULT) | FIELD(WALK_ACTIVATE) },
        { "workingset_refault_file", false, FIELD(WALK_REFAULT) },
        { "workingset_activate_file", false, FIELD(WALK_ACTIVATE) },
        { "pgscan_kswapd", false, FIELD(WALK_PGSCAN) },
        { "pgscan_direct", false, FIELD(WALK_PGSCAN) },
        { "pgscan_khugepaged", false, FIELD(WALK_PGSCAN) },
        { "pgscan_proactive", false, FIELD(WALK_PGSCAN) },
        { "pgsteal_kswapd", false, FIELD(WALK_PGSTEAL) },
        { "pgsteal_direct", false, FIELD(WALK_PGSTEAL) },
        { "pgsteal_khugepaged", false, FIELD(WALK_PGSTEAL) },
        { "pgsteal_proactive", false, FIELD(WALK_PGSTEAL) },
        { "file_dirty", true, FIELD(WALK_FILE_DIRTY) },
        { "file_writeback", true, FIELD(WALK_FILE_WRITEBACK) },
};
_Static_assert(ARRAY_SIZE(lines) <= STAT_KEYS_MAX, "a key has no room");

static void forget(StatKey *k) {
        memset(k->candidates, 0xff, sizeof k->candidates);
        k->agreed = 0;
        k->word = -1;
}

void stat_search_init(StatSearch *s, uint64_t page_bytes) {
        *s = (StatSearch) { .page_bytes = page_bytes };
        for (size_t i = 0; i < STAT_KEYS_MAX; i++)
                forget(&s->keys[i]);
}

static uint32_t scan(const StatSearch *s, const char *text, uint64_t values[static ARRAY_SIZE(lines)]) {
        const char *keys[ARRAY_SIZE(lines)];
        uint32_t found;

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                keys[i] = lines[i].key;
        found = cgroup_keyed_scan(text, keys, ARRAY_SIZE(lines), values);
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (lines[i].bytes && found & (UINT32_C(1) << i))
                        values[i] /= s->page_bytes;
        return found;
}

bool stat_search_wants(const StatSearch *s, const char *text) {
        uint64_t v[ARRAY_SIZE(lines)];
        uint32_t found = scan(s, text, v);

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (found & (UINT32_C(1) << i) && v[i] > 0 && s->keys[i].word < 0)
                        return true;
        return false;
}

void stat_search_learn(StatSearch *s, const char *before, const uint64_t *words, size_t n_words, const char *after) {
        uint64_t a[ARRAY_SIZE(lines)], b[ARRAY_SIZE(lines)];
        uint32_t found = scan(s, before, a) & scan(s, after, b);

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                StatKey *k = &s->keys[i];
                uint64_t least = MIN(a[i], b[i]), most = MAX(a[i], b[i]);
                int only = -1, n = 0;

                if (!(found & (UINT32_C(1) << i)) || k->word >= 0 || a[i] == 0)
                        continue;
                for (size_t w = 0; w < WALK_WORDS_MAX; w++) {
                        uint64_t bit = UINT64_C(1) << w % 64, *mask = &k->candidates[w / 64];

                        if (w >= n_words || words[w] < least || words[w] > most)
                                *mask &= ~bit;
                        if (*mask & bit) {
                                only = (int) w;
                                n++;
                        }
                }
                /* A use that went up and down between the two readings: once more. */
                if (n == 0) {
                        forget(k);
                        continue;
                }
                /* Between two readings of a use that lie far apart there is room for many words, and its own may not have
                 * been there. */
                if ((k->agreed == 0 || b[i] != k->last) && (!lines[i].bytes || most - least <= most / NARROW_PART)) {
                        k->agreed++;
                        k->last = b[i];
                }
                if (n == 1 && (k->agreed >= AGREED_MIN || (!lines[i].bytes && a[i] == b[i] && b[i] >= ALONE_MIN)))
                        k->word = only;
        }
}

uint64_t stat_search_terms(const StatSearch *s, const char *text, WalkTerm *ret_terms, uint32_t *ret_n) {
        uint64_t v[ARRAY_SIZE(lines)], have = 0, lacks = 0;
        uint32_t found = scan(s, text, v), n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                if (!(found & (UINT32_C(1) << i)))
                        continue;
                have |= lines[i].fields;
                if (s->keys[i].word < 0) {
                        if (v[i] > 0)
                                lacks |= lines[i].fields;
                        continue;
                }
                for (unsigned f = WALK_STAT_FIRST; f < _WALK_FIELD_MAX; f++)
                        if (lines[i].fields & FIELD(f) && n < WALK_TERMS_MAX)
                                ret_terms[n++] = (WalkTerm) { (uint16_t) (f - WALK_STAT_FIRST), (uint16_t) s->keys[i].word };
        }
        *ret_n = n;
        return have & ~lacks;
}
