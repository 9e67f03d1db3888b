/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Walk: from the registry to the rows of a sample.
 *
 * Invariant: a row's field was read in this walk, or follows from one that was: no swap in the parent means
 * none in the child, and reclaim counters of a parent that stand still mean that the children's do. Anything
 * else that is not known now is absent.
 *
 * Why two walks: the complete one runs every few seconds for ever and must cost next to nothing at rest, the
 * hot one runs ten times a second while someone suffers and must find who takes in memory. Both use that all
 * memory counters are hierarchical: memory.stat, the dear one, is read of a level only where the parent's
 * moved, and the hot walk goes down only into what took in a share of its level.
 *
 * Where there is a census each cgroup's figures come from its record, and a file is read only for what the
 * record lacks or what was found wrong in it (trial.c). Who gets a row, and which fields, is the same either
 * way, so that level 2 sees the same culprit, only for less.
 *
 * Left out on purpose: any judgement. What is hot here is what is worth reading; who is to blame is the
 * engine's matter. Counters that go back are handed on as read. */

#include <time.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/walk.h"
#include "sys/cgroup.h"
#include "sys/psi.h"

/* The engine wants a child with 60 % of its parent, and shows those with less. A twentieth leaves room
 * for the intake of ten seconds ago to weigh against that of the last half second. */
#define HOT_SHARE 20
/* Below this nobody is worth a closer look: page cache of a log line, a per-CPU batch of charges. */
#define HOT_BYTES_MIN (UINT64_C(1) << 20)
#define HOT_RECENT_BYTES_MIN (UINT64_C(256) << 10)
/* The same of io, in the measure of io_work(): sixteen small reads. */
#define HOT_IO_MIN (UINT64_C(1) << 20)
/* That is much to be stolen in so long: while somebody is hurt complete walks follow closely on each other. */
#define STOLEN_USEC (10 * USEC_PER_SEC)
/* Disks of one cgroup; a line takes about 100 bytes of KNOWN_TEXT_MAX. Of more those are looked at that come first. */
#define IO_LINES_MAX 64
/* io.stat makes the kernel add up its counts: so many of a level a walk, in turns. */
#define IO_STATS_MAX 64
/* Stays hot for so long after it was found so: rows must not flicker between two reclaim batches. */
#define HOT_USEC (3 * USEC_PER_SEC)
/* Kept file fds hold about 5 KiB of kernel memory each: given up when the incident is over for so long. */
#define COOL_USEC (30 * USEC_PER_SEC)
/* Up to so many cgroups, the fds that the heartbeat reads are kept as well: a fifth of the work at rest,
 * for 1.5 MiB of the kernel's memory (twice that once swap is used), and there is room left for what gets
 * hot. */
#define KEEP_KNOWN_MAX 300
/* memory.stat costs about ten times as much as memory.current: so many of a level a walk, in turns; a record
 * costs nothing. */
#define STATS_MAX 32
/* A level with more children than this is read in turns. */
#define LEVEL_MAX 512

/* A census of all costs more than a hot walk by files where there are very many, and few domains: then it is for the
 * heartbeat. A fifth of the 100 ms between two hot walks it may take anyway. */
#define CENSUS_HOT_USEC (20 * USEC_PER_MSEC)

/* A stall in the middle of which the processor was taken from a virtual machine. */
#define PRESSURE_SLACK_USEC (20 * USEC_PER_MSEC)

#define BIT(f) (UINT32_C(1) << (f))
#define STAT_BITS \
        (BIT(CGROUP_PGSTEAL) | BIT(CGROUP_PGSCAN) | BIT(CGROUP_WORKINGSET_REFAULT) | BIT(CGROUP_WORKINGSET_ACTIVATE) | \
         BIT(CGROUP_CACHE) | BIT(CGROUP_FILE_DIRTY) | BIT(CGROUP_FILE_WRITEBACK))

void walk_init(Walk *w, Registry *g, uint64_t page_bytes) {
        *w = (Walk) { .registry = g, .page_bytes = page_bytes };
        stat_search_init(&w->search, page_bytes);
}

void walk_done(Walk *w) {
        free(w->rows);
        *w = (Walk) {};
}

static void known_set(Known *n, CgroupField f, uint64_t v) {
        n->use[f] = v;
        n->have |= BIT(f);
        n->fresh |= BIT(f);
}

/* From the present census. */
static bool counted_get(const Walk *w, const Known *n, WalkField f, uint64_t *ret) {
        return n->record && !(w->trial.distrusted & (UINT64_C(1) << f)) &&
               census_field_get(n->record, f, w->page_bytes, ret);
}

/* memory.current and memory.swap.current: what every walk reads of everyone it meets. */
static void read_use(Walk *w, Known *n, bool keep) {
        char *buf = w->text;
        const Known *p = n->parent;
        uint64_t v;
        int r;

        n->fresh = 0;
        if (!p)
                return; /* the root has neither */
        if (p->no_memory && p->parent) {
                n->no_memory = true;
                return;
        }

        if (counted_get(w, n, WALK_MEMORY_CURRENT, &v))
                n->no_memory = false;
        else if (n->record && w->counts_memory && !(w->trial.distrusted & (UINT64_C(1) << WALK_MEMORY_CURRENT))) {
                /* No file would say more. */
                n->no_memory = true;
                return;
        } else {
                r = registry_read(w->registry, n, FILE_MEMORY_CURRENT, keep, buf, KNOWN_TEXT_MAX);
                n->no_memory = r == -ENOENT;
                if (r < 0 || cgroup_limit_parse(buf, &v) < 0)
                        return;
        }
        known_set(n, CGROUP_MEMORY_CURRENT, v);

        if (w->host_swapless || (p->fresh & BIT(CGROUP_SWAP_CURRENT) && p->use[CGROUP_SWAP_CURRENT] == 0)) {
                known_set(n, CGROUP_SWAP_CURRENT, 0);
                return;
        }
        if (counted_get(w, n, WALK_SWAP_CURRENT, &v) ||
            (registry_read(w->registry, n, FILE_SWAP_CURRENT, keep, buf, KNOWN_TEXT_MAX) >= 0 &&
             cgroup_limit_parse(buf, &v) == 0))
                known_set(n, CGROUP_SWAP_CURRENT, v);
}

static bool is_held(const Walk *w, const Known *n) {
        return n->held_until_usec > w->now_usec || (n->held_until_usec > 0 && n->limited);
}

static bool is_hot(const Walk *w, const Known *n) {
        return n->hot_until_usec > w->now_usec;
}

/* Page cache from the record. */
static bool read_cache_counted(const Walk *w, Known *n) {
        uint64_t cache, dirty, writeback;

        if (!counted_get(w, n, WALK_CACHE, &cache) || !counted_get(w, n, WALK_FILE_DIRTY, &dirty) ||
            !counted_get(w, n, WALK_FILE_WRITEBACK, &writeback))
                return false;
        known_set(n, CGROUP_CACHE, cache);
        known_set(n, CGROUP_FILE_DIRTY, dirty);
        known_set(n, CGROUP_FILE_WRITEBACK, writeback);
        return true;
}

/* memory.stat's figures from the record, if it has all of them. */
static bool read_stat_counted(const Walk *w, Known *n) {
        uint64_t steal, scan, refault, activate;

        if (!counted_get(w, n, WALK_PGSTEAL, &steal) || !counted_get(w, n, WALK_PGSCAN, &scan) ||
            !counted_get(w, n, WALK_REFAULT, &refault) || !counted_get(w, n, WALK_ACTIVATE, &activate))
                return false;
        /* Asked for with io, by the forecast of a domain's limit, and of who takes in memory or is held: it may be no more than this. */
        if (!read_cache_counted(w, n) && (w->io || n->domain || is_held(w, n) || is_hot(w, n)))
                return false;
        known_set(n, CGROUP_PGSTEAL, steal);
        known_set(n, CGROUP_PGSCAN, scan);
        known_set(n, CGROUP_WORKINGSET_REFAULT, refault);
        known_set(n, CGROUP_WORKINGSET_ACTIVATE, activate);
        return true;
}

static void read_stat(Walk *w, Known *n, bool keep) {
        static const char *const keys[] = {
                "pgsteal",
                "pgscan",
                "workingset_refault_anon",
                "workingset_refault_file",
                "workingset_activate_file",
                "file_dirty",
                "file_writeback",
                "active_file",
                "inactive_file",
                "swapcached",
        };
        uint64_t v[ARRAY_SIZE(keys)];
        char *buf = w->text;
        uint32_t found;

        if (n->no_memory)
                return;
        n->stat_walk = w->number;
        n->stat_pages = (uint32_t) (n->use[CGROUP_MEMORY_CURRENT] / w->page_bytes);
        n->have &= ~STAT_BITS;
        n->fresh &= ~STAT_BITS;
        if (read_stat_counted(w, n))
                return;
        if (registry_read(w->registry, n, FILE_MEMORY_STAT, keep, buf, KNOWN_TEXT_MAX) < 0)
                return;
        found = cgroup_keyed_scan(buf, keys, ARRAY_SIZE(keys), v);
        if (found & BIT(0))
                known_set(n, CGROUP_PGSTEAL, v[0]);
        if (found & BIT(1))
                known_set(n, CGROUP_PGSCAN, v[1]);
        if ((found & (BIT(2) | BIT(3))) == (BIT(2) | BIT(3)))
                known_set(n, CGROUP_WORKINGSET_REFAULT, v[2] + v[3]);
        /* Every page that comes back from swap is an old one; of file pages only those that are in use, for a
         * stream that goes round fetches old ones too. */
        if ((found & (BIT(2) | BIT(4))) == (BIT(2) | BIT(4)))
                known_set(n, CGROUP_WORKINGSET_ACTIVATE, v[2] + v[4]);
        if (found & BIT(5))
                known_set(n, CGROUP_FILE_DIRTY, v[5]);
        if (found & BIT(6))
                known_set(n, CGROUP_FILE_WRITEBACK, v[6]);
        if ((found & (BIT(7) | BIT(8))) == (BIT(7) | BIT(8)))
                known_set(n, CGROUP_CACHE, v[7] + v[8] + (found & BIT(9) ? v[9] : 0));
}

static uint64_t rise(uint64_t later, uint64_t earlier) {
        return later > earlier ? later - earlier : 0;
}

/* What was done to all disks, to see who does something and how much of it. */
static uint64_t io_work(const KnownIo *io) {
        const IoLine *lines = io && io->all ? io->all : io ? io->stat : NULL;
        uint64_t sum = 0;

        for (size_t i = 0; io && i < (io->all ? io->n_all : io->n_stat); i++)
                sum += io_line_work(&lines[i]);
        return sum;
}

/* The one with the most work, or the least, of those that are chosen or are not; n = none. */
static size_t line_at_end(const uint64_t *moved, const bool *chosen, size_t n, bool of_chosen) {
        size_t best = n;

        for (size_t i = 0; i < n; i++)
                if (chosen[i] == of_chosen && (best == n || (of_chosen ? moved[i] < moved[best] : moved[i] > moved[best])))
                        best = i;
        return best;
}

/* All there are, or the few where it did most since the last look. One stays until another does more than twice what it
 * does: with each change what was known of a device is lost. */
static void choose_lines(KnownIo *io, const IoLine *lines, size_t n) {
        const IoLine *before = io->all ? io->all : io->stat;
        size_t n_before = io->all ? io->n_all : io->n_stat, n_chosen = 0, wanted = MIN(n, (size_t) IO_DEVICES_MAX);
        uint64_t moved[IO_LINES_MAX];
        bool chosen[IO_LINES_MAX];
        IoLine *all = NULL;

        for (size_t i = 0; i < n; i++) {
                const IoLine *was = io_line_find(before, n_before, &lines[i]);

                moved[i] = rise(io_line_work(&lines[i]), was ? io_line_work(was) : 0);
                chosen[i] = io_line_find(io->stat, io->n_stat, &lines[i]) != NULL;
                n_chosen += chosen[i];
        }
        for (;;) {
                size_t most = line_at_end(moved, chosen, n, false), least = line_at_end(moved, chosen, n, true);

                if (n_chosen == wanted && (most == n || moved[most] / 2 <= moved[least]))
                        break;
                if (n_chosen == wanted)
                        chosen[least] = false;
                else
                        n_chosen++;
                chosen[most] = true;
        }
        if (n > IO_DEVICES_MAX && (all = calloc(n, sizeof *all)))
                memcpy(all, lines, n * sizeof *all);
        free(io->all);
        io->all = all;
        io->n_all = all ? n : 0;
        io->n_stat = 0;
        for (size_t i = 0; i < n; i++)
                if (chosen[i])
                        io->stat[io->n_stat++] = lines[i];
}

static uint64_t monotonic_usec(void) {
        struct timespec ts = {};

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

/* A file with a line a device. Of one that is cut the last line is, which the parsers pass over; without the others nothing
 * in there would be looked at. */
static bool read_lines(Walk *w, Known *n, KnownFile f, bool keep) {
        int r = registry_read(w->registry, n, f, keep, w->text, KNOWN_TEXT_MAX);

        return r >= 0 || r == -ENOBUFS;
}

/* io.stat: not there below a cgroup whose children do not have the controller. */
static void read_io(Walk *w, Known *n, bool keep) {
        IoLine lines[IO_LINES_MAX];
        size_t k;

        if (!n->parent || !read_lines(w, n, FILE_IO_STAT, keep))
                return;
        k = cgroup_io_stat_parse(w->text, lines, IO_LINES_MAX);
        if (k > 0 && !n->io) {
                n->io = calloc(1, sizeof *n->io);
                if (!n->io)
                        return;
        }
        if (n->io) {
                choose_lines(n->io, lines, k);
                n->io->usec = monotonic_usec();
        }
        n->io_walk = w->number;
}

/* io.max, of the devices that are looked at. */
static void read_limits(Known *n, const char *text) {
        IoLine lines[IO_LINES_MAX];
        size_t k = cgroup_io_max_parse(text, lines, IO_LINES_MAX);

        n->io->n_max = 0;
        for (size_t i = 0; i < k; i++)
                if (io_line_find(n->io->stat, n->io->n_stat, &lines[i]))
                        n->io->max[n->io->n_max++] = lines[i];
        if (k > 0)
                n->limited = true;
}

/* Since the last complete sample, or the last hot one; true where that cannot be told. */
static uint64_t io_done(const Walk *w, const Known *n, bool recent) {
        uint64_t work = io_work(n->io), since = !n->io ? 0 : recent ? n->io->recent : n->io->base;

        return n->io_walk == w->number && work > since ? work - since : 0;
}

/* Less than before it is where a device went. */
static bool io_moved(const Walk *w, const Known *n, bool recent) {
        return !n->parent || (n->io_walk == w->number && io_work(n->io) != (!n->io ? 0 : recent ? n->io->recent : n->io->base));
}

static void io_mark(const Walk *w, Known *n, bool base) {
        if (!n->io || n->io_walk != w->number)
                return;
        n->io->work = rise(io_work(n->io), n->io->recent);
        n->io->recent = io_work(n->io);
        if (base)
                n->io->base = n->io->recent;
}

/* Of all of n's children, or in turns; those that matter always. Where n did nothing, they did not either. */
static void read_level_io(Walk *w, Known *n, bool recent, bool keep) {
        unsigned parts, i = 0;

        if (!w->io || (n->parent && n->io_walk != w->number))
                return;
        parts = recent ? n->n_children / IO_STATS_MAX + 1 : 1;
        for (Known *c = n->children; c; c = c->next, i++) {
                if (io_moved(w, n, recent)) {
                        if (i % parts == w->number % parts || c->domain || c->holds || c->hot_until_usec > w->now_usec)
                                read_io(w, c, keep);
                } else if (c->io_walk != 0)
                        c->io_walk = w->number; /* it stands still, as its parent does */
        }
}

static uint64_t reclaim_of(const Known *n) {
        return n->use[CGROUP_PGSTEAL] + n->use[CGROUP_PGSCAN] + n->use[CGROUP_WORKINGSET_REFAULT] + n->use[CGROUP_WORKINGSET_ACTIVATE];
}

static Mark known_mark(const Known *n) {
        return (Mark) {
                .current = n->use[CGROUP_MEMORY_CURRENT],
                .swap = n->have & BIT(CGROUP_SWAP_CURRENT) ? n->use[CGROUP_SWAP_CURRENT] : 0,
                .pgsteal = n->use[CGROUP_PGSTEAL],
                .reclaim = reclaim_of(n),
                .activate = n->have & BIT(CGROUP_WORKINGSET_ACTIVATE) ? n->use[CGROUP_WORKINGSET_ACTIVATE] : 0,
                .have_use = n->have & BIT(CGROUP_MEMORY_CURRENT),
                .have_stat = n->have & BIT(CGROUP_PGSTEAL),
        };
}

/* True where reclaim did something since the mark, or that cannot be told. */
static bool stat_moved(const Known *n, const Mark *since) {
        return !(n->fresh & BIT(CGROUP_PGSTEAL)) || !since->have_stat || reclaim_of(n) != since->reclaim;
}

/* Bytes taken in since the mark: growth plus what was stolen (a page that went to swap is both: once),
 * less what only came back. Who was born since the mark took in all that he has. */
static uint64_t intake(const Walk *w, const Known *n, const Mark *since) {
        uint64_t stolen = 0, back = 0, bytes;

        if (!(n->have & BIT(CGROUP_MEMORY_CURRENT)))
                return 0;
        if (n->have & BIT(CGROUP_PGSTEAL) && (since->have_stat || !since->have_use)) {
                stolen = rise(n->use[CGROUP_PGSTEAL], since->pgsteal) * w->page_bytes;
                back = rise(n->use[CGROUP_WORKINGSET_ACTIVATE], since->activate) * w->page_bytes;
        }
        bytes = rise(n->use[CGROUP_MEMORY_CURRENT], since->current) + MAX(rise(n->use[CGROUP_SWAP_CURRENT], since->swap), stolen);
        return rise(bytes, back);
}

/* Read, and empty. */
static const IoLine no_io;

/* A row with what is fresh; opened: its children get theirs. NULL when out of memory. */
static CgroupSample *row_add(Walk *w, Known *n, bool opened) {
        CgroupSample *row;

        if (w->n_rows == w->rows_size) {
                size_t size = MAX(w->rows_size * 2, (size_t) 64);

                row = realloc(w->rows, size * sizeof *row);
                if (!row) {
                        w->incomplete = true;
                        return NULL;
                }
                w->rows = row;
                w->rows_size = size;
        }
        row = &w->rows[w->n_rows++];
        *row = (CgroupSample) {
                .id = n->id,
                .parent_id = n->parent ? n->parent->id : 0,
                .path = n->path,
                .kind = n->kind,
                .flags = n->flags,
                .have = n->fresh,
                .closed = !opened && (n->unlisted || n->n_children > 0),
                .late = n->late,
                .use = n->use,
        };
        if (n->io_walk == w->number) {
                row->io = n->io ? n->io->stat : &no_io;
                row->n_io = n->io ? (uint8_t) n->io->n_stat : 0;
                row->io_chosen = n->io && n->io->all;
                row->io_usec = n->io ? MAX(n->io->usec, w->now_usec) : w->now_usec;
        }
        return row;
}

/* All of first to last. */
static bool row_has(const CgroupSample *row, CgroupField first, CgroupField last) {
        uint32_t mask = (BIT(last) | (BIT(last) - 1)) & ~(BIT(first) - 1);

        return (row->have & mask) == mask;
}

/* Pressure is rebuilt without the kernel's locks and may lack, for one walk, what just ended: what was there
 * once stays, unless much is missing, for then it was too much before. */
static void row_set_counted(const Walk *w, const Known *n, CgroupSample *row) {
        uint64_t v;

        for (size_t i = 0; i < n_census_fields; i++) {
                const CensusField *f = &census_fields[i];

                if (!counted_get(w, n, f->from, &v))
                        continue;
                if (f->to >= CGROUP_MEMORY_SOME && f->to <= CGROUP_IO_FULL) {
                        uint64_t *last = &row->detail[f->to - CGROUP_DETAIL_FIRST];

                        if (v < *last && *last - v <= PRESSURE_SLACK_USEC)
                                v = *last;
                }
                cgroup_sample_set(row, f->to, v);
        }
}

/* Everything else there is to know of one that matters. */
static void row_detail(Walk *w, Known *n, CgroupSample *row, bool keep) {
        static const struct {
                KnownFile file;
                CgroupField field;
        } limits[] = {
                { FILE_MEMORY_HIGH, CGROUP_MEMORY_HIGH },
                { FILE_SWAP_HIGH, CGROUP_SWAP_HIGH },
                { FILE_MEMORY_MAX, CGROUP_MEMORY_MAX },
                { FILE_MEMORY_LOW, CGROUP_MEMORY_LOW },
                { FILE_MEMORY_MIN, CGROUP_MEMORY_MIN },
        };
        Registry *g = w->registry;
        char *buf = w->text;
        uint64_t v, limit;
        PsiTotals psi;

        if (!n->parent)
                return; /* the host's fields say it all */
        if (!registry_detail(n)) {
                w->incomplete = true;
                return;
        }
        row->detail = n->detail->value;
        row_set_counted(w, n, row);
        if (!n->no_memory) {
                for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
                        if (!cgroup_sample_get(row, limits[i].field, &limit)) {
                                if (registry_read(g, n, limits[i].file, keep, buf, KNOWN_TEXT_MAX) < 0 ||
                                    cgroup_limit_parse(buf, &limit) < 0)
                                        continue;
                                cgroup_sample_set(row, limits[i].field, limit);
                        }
                        if (limits[i].file == FILE_MEMORY_HIGH)
                                n->limited = limit != LIMIT_MAX;
                        else if (limits[i].file == FILE_SWAP_HIGH && limit != LIMIT_MAX)
                                n->limited = true;
                }
                if (!row_has(row, CGROUP_EVENTS_HIGH, CGROUP_EVENTS_MAX) &&
                    registry_read(g, n, FILE_MEMORY_EVENTS, keep, buf, KNOWN_TEXT_MAX) >= 0) {
                        if (cgroup_keyed_get(buf, "high", &v))
                                cgroup_sample_set(row, CGROUP_EVENTS_HIGH, v);
                        if (cgroup_keyed_get(buf, "max", &v))
                                cgroup_sample_set(row, CGROUP_EVENTS_MAX, v);
                }
        }
        if (!row_has(row, CGROUP_MEMORY_SOME, CGROUP_MEMORY_FULL) &&
            registry_read(g, n, FILE_MEMORY_PRESSURE, keep, buf, KNOWN_TEXT_MAX) >= 0 && psi_parse(buf, &psi) == 0) {
                if (psi.have_some)
                        cgroup_sample_set(row, CGROUP_MEMORY_SOME, psi.some_usec);
                if (psi.have_full)
                        cgroup_sample_set(row, CGROUP_MEMORY_FULL, psi.full_usec);
        }
        if (w->io && !row_has(row, CGROUP_IO_SOME, CGROUP_IO_FULL) &&
            registry_read(g, n, FILE_IO_PRESSURE, keep, buf, KNOWN_TEXT_MAX) >= 0 && psi_parse(buf, &psi) == 0) {
                if (psi.have_some)
                        cgroup_sample_set(row, CGROUP_IO_SOME, psi.some_usec);
                if (psi.have_full)
                        cgroup_sample_set(row, CGROUP_IO_FULL, psi.full_usec);
        }
        if (w->io && n->io && read_lines(w, n, FILE_IO_MAX, keep)) {
                read_limits(n, buf);
                row->io_max = n->io->max;
                row->n_io_max = (uint8_t) n->io->n_max;
        }
}

/* Lists n's children and reads what all of them use; one that went while we looked may have a successor
 * of the same name, so after a loss it looks once more. In a very wide level everyone has his turn, and
 * what matters has it always. Nodes are freed here, before the level has rows, and in match(), before there
 * are any. */
static void read_level(Walk *w, Known *n, bool keep, bool in_turns) {
        Registry *g = w->registry;
        bool later = in_turns && registry_lists_later(g, n);

        /* A whole census has told of every birth, but not of who was left out before and may fit in, or does by the next heartbeat. */
        if (!later && (!w->counted || n->unlisted || n->n_left_out > 0))
                registry_refresh(g, n);
        for (int pass = 0; pass < 2; pass++) {
                unsigned parts = in_turns ? n->n_children / LEVEL_MAX + 1 : 1, i = 0;

                for (Known *c = n->children; c; c = c->next, i++) {
                        if (c->walk == w->number)
                                continue;
                        c->walk = w->number;
                        c->fresh = 0;
                        if ((i + w->number) % parts != 0 && c->have && !c->domain && !c->holds && !is_held(w, c) &&
                            !is_hot(w, c))
                                continue;
                        read_use(w, c, keep);
                        /* Without the controller no read has told whether it lives. */
                        if (c->no_memory && !c->gone && !c->record) {
                                int to_close, fd = registry_dir(g, c, &to_close);

                                if (fd >= 0 && !cgroup_is_alive(fd, c->id))
                                        c->gone = true;
                                safe_close(to_close);
                        }
                }
                if (!registry_sweep(g, n) || later)
                        break;
                registry_refresh(g, n);
        }
}

/* Gives each node its record. Whoever is new is found by listing his parent, which has a node by then:
 * parents come first. One with some that are left out may have to wait for the heartbeat. */
static void match(Walk *w, bool all) {
        Registry *g = w->registry;
        const Census *c = w->census;

        if (c->n == 0 || c->records[0].id != g->root->id)
                return;
        w->counted = !census_is_cut(c);
        for (size_t i = 0; i < c->n; i++) {
                const WalkRecord *r = &c->records[i];
                Known *n = registry_find(g, r->id), *parent = n ? NULL : registry_find(g, r->parent_id);

                if (parent && parent->listed != w->number && (all || !registry_lists_later(g, parent))) {
                        parent->listed = w->number;
                        parent->unlisted = true;
                        registry_refresh(g, parent);
                        n = registry_find(g, r->id);
                }
                w->counts_memory = w->counts_memory || r->have & (UINT64_C(1) << WALK_MEMORY_CURRENT);
                /* Else it is left out, or was removed since; whoever makes and removes them all the time must not have the tracks
                 * of those that are gone kept for ever. What could not be listed, the registry says. */
                if (n)
                        n->record = r;
        }
}

/* The census is taken between two readings of what it is to be compared with. */
static void count(Walk *w, bool all) {
        Registry *g = w->registry;
        Census *c = w->census;
        bool stat, trial, search;

        /* Reading the root's also has the kernel sum up what its CPUs counted. */
        stat = registry_read(g, g->root, FILE_MEMORY_STAT, true, w->root_stat, KNOWN_TEXT_MAX) >= 0;
        search = stat && stat_search_wants(&w->search, w->root_stat);
        /* At first; and whenever the machine was busy lately, for then there is more to be seen. */
        trial = w->have_base && (trial_is_on(&w->trial) || (all && w->hot_usec > 0));
        if (trial)
                trial_begin(&w->trial, g, w->text);
        if (c->control) {
                c->control->probe_id = g->root->id;
                c->control->stat_have =
                        stat ? stat_search_terms(&w->search, w->root_stat, c->control->terms, &c->control->n_terms) : 0;
        }
        if (!census_take(c))
                return;
        if (search && registry_read(g, g->root, FILE_MEMORY_STAT, true, w->text, KNOWN_TEXT_MAX) >= 0)
                stat_search_learn(&w->search, w->root_stat, (const uint64_t *) c->control->probe,
                                  c->control->n_words, w->text);
        match(w, all);
        if (trial)
                trial_compare(&w->trial, g, w->page_bytes, w->text);
}

static void walk_begin(Walk *w, uint64_t now_usec, bool all) {
        Known *root = w->registry->root;

        w->n_rows = 0;
        w->incomplete = false;
        w->now_usec = now_usec;
        w->number++;
        w->registry->incomplete = false;

        /* Marks the way to all that must be reached. */
        w->counted = w->counts_memory = false;
        for (Known *n = root; n; n = known_next(n)) {
                n->holds = false;
                n->record = NULL;
        }
        if (w->census && w->census->link_fd >= 0 &&
            (all || w->census->usual_usec <= MAX(CENSUS_HOT_USEC, w->hot_cost_usec)))
                count(w, all);
        for (Known *n = root; n; n = known_next(n))
                if (n->domain || is_held(w, n))
                        for (Known *p = n->parent; p && !p->holds; p = p->parent)
                                p->holds = true;

        root->fresh = 0;
}

/* Page cache comes without reclaim, and goes without it where files are deleted. That of long ago would make the first reading from
 * close by look like one huge step. */
static bool cache_moved(const Walk *w, Known *n) {
        uint64_t pages = n->use[CGROUP_MEMORY_CURRENT] / w->page_bytes, then = n->stat_pages;

        return !read_cache_counted(w, n) && (MAX(pages, then) - MIN(pages, then)) * w->page_bytes >= HOT_BYTES_MIN;
}

/* Whether at a limit of its own, only its details tell. */
static bool much_was_stolen(const Walk *w, const Known *n) {
        uint64_t stolen = rise(n->use[CGROUP_PGSTEAL], n->base.pgsteal) * w->page_bytes;

        return n->have & BIT(CGROUP_PGSTEAL) && n->base.have_stat && stolen > 0 &&
               stolen >= mul_div_u64(HOT_BYTES_MIN, MIN(w->now_usec - w->all_usec, STOLEN_USEC), STOLEN_USEC);
}

static void level_all(Walk *w, Known *n) {
        bool moved = stat_moved(n, &n->base);

        n->base = n->recent = known_mark(n);
        read_level(w, n, w->registry->n_known <= KEEP_KNOWN_MAX, false);
        read_level_io(w, n, false, false);
        io_mark(w, n, true);

        for (Known *c = n->children; c; c = c->next) {
                CgroupSample *row;

                /* A domain's limit is measured by its page cache. */
                if (moved || c->domain || !(c->have & BIT(CGROUP_PGSTEAL)) || cache_moved(w, c))
                        read_stat(w, c, false);
                else
                        c->fresh |= c->have & STAT_BITS; /* they stand still, as the parent's do */
                if (c->gone)
                        continue;
                if (w->cooling) {
                        registry_cool(w->registry, c);
                        c->hot_until_usec = 0;
                }
                if (c->domain || is_held(w, c) || is_hot(w, c) || much_was_stolen(w, c)) {
                        registry_reflag(w->registry, c);
                        row = row_add(w, c, true);
                        if (row)
                                row_detail(w, c, row, false);
                } else {
                        /* From whom much was stolen at an earlier heartbeat has details; fds are kept in there only of few. */
                        if (w->hot_usec == 0 && w->registry->n_known > KEEP_KNOWN_MAX)
                                registry_cool(w->registry, c);
                        (void) row_add(w, c, true);
                }
                level_all(w, c);
        }
}

void walk_all(Walk *w, uint64_t now_usec) {
        Known *root = w->registry->root;

        walk_begin(w, now_usec, true);
        w->cooling = w->hot_usec > 0 && w->hot_usec + COOL_USEC < now_usec;
        read_stat(w, root, true);
        (void) row_add(w, root, true);
        level_all(w, root);
        if (w->cooling)
                w->hot_usec = 0;
        w->all_usec = now_usec;
        w->have_base = true;
}

static bool use_moved(const Known *n) {
        return n->use[CGROUP_MEMORY_CURRENT] != n->recent.current || n->use[CGROUP_SWAP_CURRENT] != n->recent.swap;
}

/* Pages that were stolen make an intake too, but memory.stat is dear: only where the parent's moved, only
 * of those whose use changed, and no more than STATS_MAX at a time, in turns. */
static void read_stats(Walk *w, Known *n) {
        unsigned changed = 0, parts, i = 0;

        for (const Known *c = n->children; c; c = c->next)
                changed += use_moved(c);
        parts = changed / STATS_MAX + 1;
        for (Known *c = n->children; c; c = c->next)
                if (use_moved(c) && (i++ % parts == w->number % parts || c->record))
                        read_stat(w, c, true);
}

static void level_hot(Walk *w, Known *n) {
        uint64_t whole = 0, whole_recent = 0, whole_io = 0;

        if (stat_moved(n, &n->recent)) {
                read_level(w, n, true, true);
                read_stats(w, n);
        } else
                read_level(w, n, true, true);
        n->recent = known_mark(n);
        read_level_io(w, n, true, true);
        io_mark(w, n, false);

        for (const Known *c = n->children; c; c = c->next) {
                whole_io += io_done(w, c, true);
                whole += intake(w, c, &c->base);
                whole_recent += intake(w, c, &c->recent);
        }

        for (Known *c = n->children; c; c = c->next) {
                uint64_t share = intake(w, c, &c->base), recent = intake(w, c, &c->recent), io = io_done(w, c, true);
                bool known_hot = is_hot(w, c), deeper;
                CgroupSample *row;

                if ((share >= HOT_BYTES_MIN && share >= whole / HOT_SHARE) ||
                    (recent >= HOT_RECENT_BYTES_MIN && recent >= whole_recent / HOT_SHARE) ||
                    (io >= HOT_IO_MIN && io >= whole_io / HOT_SHARE)) {
                        c->hot_until_usec = w->now_usec + HOT_USEC;
                        if (!known_hot)
                                registry_reflag(w->registry, c);
                }
                deeper = c->holds || is_hot(w, c);
                if (!deeper && !c->domain && !is_held(w, c)) {
                        if (c->fresh)
                                (void) row_add(w, c, false);
                        c->recent = known_mark(c);
                        io_mark(w, c, false);
                        continue;
                }

                if (c->stat_walk != w->number)
                        read_stat(w, c, true);
                if (c->gone)
                        continue;
                row = row_add(w, c, deeper);
                if (row)
                        row_detail(w, c, row, true);
                if (deeper)
                        level_hot(w, c);
                else {
                        c->recent = known_mark(c);
                        io_mark(w, c, false);
                }
        }
}

void walk_hot(Walk *w, uint64_t now_usec) {
        Known *root = w->registry->root;
        uint64_t begin = monotonic_usec();

        walk_begin(w, now_usec, false);
        w->hot_usec = now_usec;
        read_stat(w, root, true);
        (void) row_add(w, root, true);
        level_hot(w, root);
        if (!w->counted)
                w->hot_cost_usec = monotonic_usec() - begin;
}
