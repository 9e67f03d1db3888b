/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Trial: the census against the files, on the busiest cgroups, in the first walks after the program was
 * loaded, and at the heartbeat while the machine is busy.
 *
 * Invariant: what is distrusted stays so until the daemon starts again; it comes from its file, as if there
 * were no census. A kernel whose structures mean something else than we think costs reading, never a wrong
 * figure for good.
 *
 * Left out on purpose: trust regained. A kernel does not change under us. */

#include <limits.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/trial.h"
#include "sys/cgroup.h"
#include "sys/psi.h"

/* sched_clock() is known from below to within a tick or so (walk.bpf.c, find_clock()). */
#define PSI_SLACK_USEC (10 * USEC_PER_MSEC)
/* Use goes up and down between two readings. */
#define USE_SLACK_BYTES (UINT64_C(1) << 20)

/* Rows of one file stand together: it is read once for them. */
const CensusField census_fields[] = {
        { WALK_MEMORY_CURRENT, CGROUP_MEMORY_CURRENT, FILE_MEMORY_CURRENT, NULL },
        { WALK_SWAP_CURRENT, CGROUP_SWAP_CURRENT, FILE_SWAP_CURRENT, NULL },
        { WALK_MEMORY_HIGH, CGROUP_MEMORY_HIGH, FILE_MEMORY_HIGH, NULL },
        { WALK_SWAP_HIGH, CGROUP_SWAP_HIGH, FILE_SWAP_HIGH, NULL },
        { WALK_MEMORY_MAX, CGROUP_MEMORY_MAX, FILE_MEMORY_MAX, NULL },
        { WALK_MEMORY_LOW, CGROUP_MEMORY_LOW, FILE_MEMORY_LOW, NULL },
        { WALK_MEMORY_MIN, CGROUP_MEMORY_MIN, FILE_MEMORY_MIN, NULL },
        { WALK_EVENTS_HIGH, CGROUP_EVENTS_HIGH, FILE_MEMORY_EVENTS, "high" },
        { WALK_EVENTS_MAX, CGROUP_EVENTS_MAX, FILE_MEMORY_EVENTS, "max" },
        { WALK_MEMORY_SOME, CGROUP_MEMORY_SOME, FILE_MEMORY_PRESSURE, "some" },
        { WALK_MEMORY_FULL, CGROUP_MEMORY_FULL, FILE_MEMORY_PRESSURE, "full" },
        { WALK_IO_SOME, CGROUP_IO_SOME, FILE_IO_PRESSURE, "some" },
        { WALK_IO_FULL, CGROUP_IO_FULL, FILE_IO_PRESSURE, "full" },
        { WALK_PGSCAN, CGROUP_PGSCAN, FILE_MEMORY_STAT, "pgscan" },
        { WALK_PGSTEAL, CGROUP_PGSTEAL, FILE_MEMORY_STAT, "pgsteal" },
};
const size_t n_census_fields = ARRAY_SIZE(census_fields);
_Static_assert(ARRAY_SIZE(census_fields) <= TRIAL_FIELDS_MAX, "a field has no room");

static bool is_pages(WalkField f) {
        return f <= WALK_MEMORY_MIN || (f >= WALK_ANON && f <= WALK_FILE_WRITEBACK);
}

static bool is_psi(WalkField f) {
        return f >= WALK_IO_SOME && f <= WALK_CPU_FULL;
}

bool census_field_get(const WalkRecord *r, WalkField f, uint64_t page_bytes, uint64_t *ret) {
        uint64_t v = r->value[f];

        if (!(r->have & (UINT64_C(1) << f)))
                return false;
        if (is_pages(f))
                /* Source: PAGE_COUNTER_MAX in include/linux/page_counter.h */
                v = v >= INT64_MAX / page_bytes ? LIMIT_MAX : v * page_bytes;
        else if (is_psi(f))
                v /= 1000;
        *ret = v;
        return true;
}

static bool parse(const CensusField *f, const char *text, uint64_t *ret) {
        PsiTotals psi;

        if (!f->key)
                return cgroup_limit_parse(text, ret) == 0;
        if (!is_psi(f->from))
                return cgroup_keyed_get(text, f->key, ret);
        if (psi_parse(text, &psi) < 0 || (streq(f->key, "some") ? !psi.have_some : !psi.have_full))
                return false;
        *ret = streq(f->key, "some") ? psi.some_usec : psi.full_usec;
        return true;
}

/* All fields of one cgroup from its files; returns which there are. */
static uint32_t read_files(Registry *g, Known *n, uint64_t values[static TRIAL_FIELDS_MAX], char *text) {
        uint32_t have = 0;
        int r = -ENOENT;

        for (size_t i = 0; i < n_census_fields; i++) {
                if (i == 0 || census_fields[i].file != census_fields[i - 1].file)
                        r = registry_read(g, n, census_fields[i].file, false, text, KNOWN_TEXT_MAX);
                if (r >= 0 && parse(&census_fields[i], text, &values[i]))
                        have |= UINT32_C(1) << i;
        }
        return have;
}

void trial_begin(Trial *t, Registry *g, char *text) {
        Known *busy[TRIAL_CGROUPS] = {};

        /* Insertion into a short sorted list: the first found stays ahead of its equals. */
        for (Known *n = g->root; n; n = known_next(n)) {
                Known *held = n;

                /* In a unit whoever has it writes the limits, between two readings if he likes. */
                if (!n->parent || n->gone || n->kind == CGROUP_KIND_INNER)
                        continue;
                for (size_t i = 0; held && i < TRIAL_CGROUPS; i++)
                        if (!busy[i] || held->use[CGROUP_MEMORY_CURRENT] > busy[i]->use[CGROUP_MEMORY_CURRENT]) {
                                Known *moved = busy[i];

                                busy[i] = held;
                                held = moved;
                        }
        }
        t->n_ids = 0;
        for (size_t i = 0; i < TRIAL_CGROUPS && busy[i]; i++) {
                t->have[t->n_ids] = read_files(g, busy[i], t->before[t->n_ids], text);
                t->ids[t->n_ids++] = busy[i]->id;
        }
}

static uint64_t slack(WalkField f, uint64_t high) {
        if (is_psi(f))
                return PSI_SLACK_USEC;
        return f <= WALK_SWAP_CURRENT ? MAX(USE_SLACK_BYTES, high / 50) : 0;
}

void trial_compare(Trial *t, Registry *g, uint64_t page_bytes, char *text) {
        uint64_t wrong = 0, after[TRIAL_FIELDS_MAX];

        for (size_t k = 0; k < t->n_ids; k++) {
                Known *n = registry_find(g, t->ids[k]);
                uint32_t have;

                if (!n || !n->record)
                        continue;
                have = t->have[k] & read_files(g, n, after, text);
                for (size_t i = 0; i < n_census_fields; i++) {
                        const CensusField *f = &census_fields[i];
                        uint64_t v, low = MIN(t->before[k][i], after[i]), high = MAX(t->before[k][i], after[i]);

                        /* Later rounds are for when the machine is busy, and use may then be anything between
                         * two readings. */
                        if (t->rounds >= TRIAL_ROUNDS && f->from <= WALK_SWAP_CURRENT)
                                continue;
                        if (!(have & (UINT32_C(1) << i)) || !census_field_get(n->record, f->from, page_bytes, &v))
                                continue;
                        if (v + slack(f->from, high) < low || v > high + MIN(slack(f->from, high), UINT64_MAX - high))
                                wrong |= UINT64_C(1) << f->from;
                }
        }
        t->distrusted |= t->disagreed & wrong;
        t->disagreed = wrong;
        if (t->n_ids > 0 && t->rounds < UINT_MAX)
                t->rounds++;
}

void trial_words(const Trial *t, char *buf, size_t size) {
        const char *separator = "";
        size_t used = 0;

        buf[0] = '\0';
        for (size_t i = 0; i < n_census_fields; i++) {
                const CensusField *f = &census_fields[i];
                int k;

                if (!(t->distrusted & (UINT64_C(1) << f->from)))
                        continue;
                k = snprintf(buf + used, size - used, "%s%s%s%s", separator, registry_file_name(f->file), f->key ? " " : "",
                             f->key ? f->key : "");
                if (k < 0 || (size_t) k >= size - used)
                        return;
                used += (size_t) k;
                separator = ", ";
        }
}
