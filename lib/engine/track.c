/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tracks. See track.h. The slots are one large allocation made at start: nothing here can fail later, and
 * the memory is resident only as far as there are cgroups. */

#include "base/macro.h"
#include "base/units.h"
#include "engine/track.h"

static const uint64_t window_usec[_WINDOW_MAX] = {
        [WINDOW_RECENT] = TRACK_RECENT_USEC,
        [WINDOW_LONG] = TRACK_LONG_USEC,
};

/* So many have a resident place from the start: who begins to move is looked at when memory is short. */
#define MOVES_READY 64

int tracks_init(Tracks *t) {
        *t = (Tracks) {
                .slots = calloc(TRACKS_MAX, sizeof(Track)),
                .buckets = calloc(TRACKS_MAX, sizeof(uint32_t)),
                .moves_slots = calloc(TRACKS_MAX, sizeof(TrackMoves)),
                .free_moves_slots = calloc(TRACKS_MAX, sizeof(TrackMoves *)),
                .io_slots = calloc(IO_TRACKS_MAX, sizeof(IoTrack)),
                .free_io_slots = calloc(IO_TRACKS_MAX, sizeof(uint32_t)),
        };
        if (!t->slots || !t->buckets || !t->moves_slots || !t->free_moves_slots || !t->io_slots || !t->free_io_slots) {
                tracks_done(t);
                return -ENOMEM;
        }
        /* Whoever takes a place fills it; zeros the compiler would leave out, for calloc() promises them. */
        memset(t->moves_slots, 0xff, MOVES_READY * sizeof(TrackMoves));
        return 0;
}

void tracks_done(Tracks *t) {
        free(t->slots);
        free(t->buckets);
        free(t->moves_slots);
        free(t->free_moves_slots);
        free(t->io_slots);
        free(t->free_io_slots);
        *t = (Tracks) {};
}

_Static_assert((TRACKS_MAX & (TRACKS_MAX - 1)) == 0, "a power of two");

static uint32_t *bucket(const Tracks *t, uint64_t id) {
        /* Ids are handed out one after the other. */
        return &t->buckets[id & (TRACKS_MAX - 1)];
}

Track *tracks_find(const Tracks *t, uint64_t id) {
        for (uint32_t place = *bucket(t, id); place != 0; place = t->slots[place - 1].next)
                if (t->slots[place - 1].id == id)
                        return &t->slots[place - 1];
        return NULL;
}

/* There are as many places as tracks. */
static TrackMoves *moves_add(Tracks *t, Track *track) {
        if (!track->moves)
                track->moves = t->n_free_moves > 0 ? t->free_moves_slots[--t->n_free_moves] : &t->moves_slots[t->n_moves_slots++];
        return track->moves;
}

static void moves_drop(Tracks *t, Track *track) {
        if (track->moves)
                t->free_moves_slots[t->n_free_moves++] = track->moves;
        track->moves = NULL;
}

static void tracks_drop(Tracks *t, Track *track) {
        uint32_t place = (uint32_t) (track - t->slots) + 1, *link = bucket(t, track->id);

        moves_drop(t, track);
        if (track->io != 0)
                t->free_io_slots[t->n_free_io++] = track->io;
        while (*link != place)
                link = &t->slots[*link - 1].next;
        *link = track->next;
        *track = (Track) { .next = t->free };
        t->free = place;
}

/* Forgets the cgroups that a complete sample no longer has. */
static void tracks_sweep(Tracks *t) {
        for (size_t i = 0; i < t->n_slots; i++)
                if (t->slots[i].id != 0 && t->slots[i].seen != t->sample_number)
                        tracks_drop(t, &t->slots[i]);
}

/* Whoever has a delegated tree can make and remove any number in it between two complete samples. Those must not keep out who is
 * somebody: what is in a unit and was not seen twice running goes, and what of it comes again may have been there for long. */
static void tracks_make_room(Tracks *t) {
        if (t->forgot == t->sample_number)
                return;
        t->forgot = t->sample_number;
        for (size_t i = 0; i < t->n_slots; i++)
                if (t->slots[i].id != 0 && t->slots[i].kind == CGROUP_KIND_INNER && t->slots[i].seen + 1 < t->sample_number)
                        tracks_drop(t, &t->slots[i]);
}

static Track *tracks_add(Tracks *t, uint64_t id) {
        uint32_t place, *first = bucket(t, id);

        if (t->free == 0 && t->n_slots == TRACKS_MAX)
                tracks_make_room(t);
        place = t->free;
        if (place != 0)
                t->free = t->slots[place - 1].next;
        else if (t->n_slots < TRACKS_MAX)
                place = (uint32_t) ++t->n_slots;
        else {
                t->dropped++;
                return NULL;
        }
        t->slots[place - 1] = (Track) { .id = id, .next = *first };
        *first = place;
        return &t->slots[place - 1];
}

static TrackPoint point_of(const CgroupSample *c, uint64_t usec, const TrackPoint *last, uint64_t page_bytes) {
        TrackPoint p = { .usec = usec };
        uint64_t cache = 0, dirty = 0, writeback = 0, high = 0, max = 0, pgsteal = 0, activate = 0;

        p.have_memory = cgroup_sample_get(c, CGROUP_MEMORY_CURRENT, &p.current);
        /* No swap controller: the cgroup has none in swap. */
        if (!cgroup_sample_get(c, CGROUP_SWAP_CURRENT, &p.swap))
                p.swap = last->swap;
        p.have_stat = cgroup_sample_get(c, CGROUP_PGSTEAL, &pgsteal);
        p.pgsteal = (uint32_t) pgsteal;
        p.activate = cgroup_sample_get(c, CGROUP_WORKINGSET_ACTIVATE, &activate) ? (uint32_t) activate : last->activate;
        /* Not read this time because nothing had moved, or unreadable: the last known value stands. */
        if (!p.have_stat && last->have_stat) {
                p.pgsteal = last->pgsteal;
                p.have_stat = true;
        }
        p.have_psi = cgroup_sample_get(c, CGROUP_MEMORY_SOME, &p.memory_some) &&
                     cgroup_sample_get(c, CGROUP_MEMORY_FULL, &p.memory_full);
        p.have_io_psi = cgroup_sample_get(c, CGROUP_IO_SOME, &p.io_some) && cgroup_sample_get(c, CGROUP_IO_FULL, &p.io_full);
        p.have_cache = cgroup_sample_get(c, CGROUP_CACHE, &cache) || last->have_cache;
        (void) cgroup_sample_get(c, CGROUP_FILE_DIRTY, &dirty);
        (void) cgroup_sample_get(c, CGROUP_FILE_WRITEBACK, &writeback);
        cache -= MIN(dirty + writeback, cache);
        p.cache = c->have & (UINT32_C(1) << CGROUP_CACHE) ? (uint32_t) MIN(cache / page_bytes, (uint64_t) UINT32_MAX) : last->cache;
        p.have_events = cgroup_sample_get(c, CGROUP_EVENTS_HIGH, &high) && cgroup_sample_get(c, CGROUP_EVENTS_MAX, &max);
        p.events = p.have_events ? (uint32_t) (high + max) : last->events;
        p.own = last->own;
        p.own_back = last->own_back;
        return p;
}

/* At a limit, within what the kernel charges at once and what has just been stolen, and ran into it since the last look, where
 * that look asked. Who has a unit sets the limits in it as he likes. held: its memory.high is ours. */
static bool ran_into_limit(const CgroupSample *c, const TrackPoint *last, const TrackPoint *p, bool held) {
        uint64_t high, max, least;

        if (c->kind == CGROUP_KIND_INNER || !p->have_events || !cgroup_sample_get(c, CGROUP_MEMORY_HIGH, &high) ||
            !cgroup_sample_get(c, CGROUP_MEMORY_MAX, &max) || MIN(high, max) == LIMIT_MAX ||
            (held && high < max))
                return false;
        least = MIN(high, max) - MIN(high, max) / 16;
        return last->have_events ? p->events != last->events && MAX(p->current, last->current) >= least :
                                p->current >= least;
}

/* Later minus earlier of a counter that only rises; one that went back started anew and says nothing. */
static uint64_t counter_delta(uint64_t later, uint64_t earlier) {
        return later >= earlier ? later - earlier : 0;
}

static int64_t gauge_delta(uint64_t later, uint64_t earlier) {
        return (int64_t) MIN(later, (uint64_t) INT64_MAX) - (int64_t) MIN(earlier, (uint64_t) INT64_MAX);
}

static bool intake_between(const TrackPoint *from, const TrackPoint *to, IntakeMeasure m, uint64_t page_bytes, Intake *ret) {
        int64_t bytes, swapped, stolen = 0, back = 0;

        if (from->usec == 0 || to->usec < from->usec + TRACK_MIN_USEC || !from->have_memory || !to->have_memory)
                return false;

        bytes = gauge_delta(to->current, from->current);
        /* Pages that were stolen into swap appear in pgsteal and in swap: count them once. */
        swapped = gauge_delta(to->swap, from->swap);
        if (from->have_stat && to->have_stat) {
                uint64_t pages = counter_delta(to->pgsteal, from->pgsteal), again = counter_delta(to->activate, from->activate);

                if (m == INTAKE_FROM_OTHERS) {
                        pages -= MIN(pages, (uint64_t) (to->own - from->own));
                        again -= MIN(again, (uint64_t) (to->own_back - from->own_back));
                }
                stolen = (int64_t) MIN(pages * page_bytes, (uint64_t) INT64_MAX / 4);
                back = (int64_t) MIN(again * page_bytes, (uint64_t) INT64_MAX / 4);
        }
        if (m == INTAKE_KEPT) {
                if (from->have_cache && to->have_cache)
                        bytes -= gauge_delta(to->cache, from->cache) * (int64_t) page_bytes;
                bytes += swapped;
        } else
                bytes += MAX(swapped, stolen) - back;

        *ret = (Intake) {
                .bytes = (uint64_t) MAX(bytes, 0),
                .usec = to->usec - from->usec,
        };
        ret->rate = mul_div_u64(ret->bytes, USEC_PER_SEC, ret->usec);
        return true;
}

static TrackPoint track_anchor(const Track *t, TrackAnchor a) {
        TrackPoint p = t->moves ? t->moves->anchors[a] : t->last;

        p.usec = t->anchor_usec[a];
        return p;
}

TrackPoint track_since(const Track *t, TrackWindow w) {
        return track_anchor(t, w == WINDOW_LAST ? ANCHOR_PREVIOUS : ANCHOR_OLDER + w);
}

Intake track_below(const Track *t, IntakeMeasure m, TrackWindow w) {
        return t->moves ? (Intake) { .bytes = t->moves->below[m][w].bytes, .rate = t->moves->below[m][w].rate } : (Intake) {};
}

bool track_intake(const Track *t, IntakeMeasure m, TrackWindow w, uint64_t page_bytes, Intake *ret) {
        TrackPoint from = track_since(t, w);

        return intake_between(&from, &t->last, m, page_bytes, ret);
}

static uint64_t point_bytes(const TrackPoint *p) {
        return p->current + p->swap;
}

/* An event is told of at the moment of the step, which is later than that of the step's sample. */
static uint64_t buried_age(const Buried *b, uint64_t now_usec) {
        return now_usec - MIN(b->usec, now_usec);
}

/* What it took from others tells first: whoever has a limit of his own can turn over any amount, and go. */
static bool is_less(const Buried *a, const Buried *b) {
        uint64_t mine = a->bytes[INTAKE_FROM_OTHERS][WINDOW_LONG], other = b->bytes[INTAKE_FROM_OTHERS][WINDOW_LONG];

        return mine != other ? mine < other : a->bytes[INTAKE_ALL][WINDOW_LONG] < b->bytes[INTAKE_ALL][WINDOW_LONG];
}

static void bury(Tracks *t, const Track *track, uint64_t now_usec, uint64_t page_bytes) {
        Buried b = { .id = track->id, .parent_id = track->parent_id, .usec = now_usec }, *least = &t->buried[0];

        for (int w = 0; w < _WINDOW_MAX; w++) {
                TrackPoint from = track_since(track, w), high = track_anchor(track, ANCHOR_HIGH);
                Intake in;

                for (int m = 0; m < _INTAKE_MEASURE_MAX; m++)
                        if (intake_between(&from, &high, (IntakeMeasure) m, page_bytes, &in)) {
                                b.bytes[m][w] = in.bytes;
                                b.rate[m][w] = in.rate;
                        }
        }
        for (size_t i = 0; i < BURIED_MAX; i++) {
                Buried *o = &t->buried[i];
                bool over = buried_age(o, now_usec) > 2 * TRACK_LONG_USEC;

                if (o->id == track->id && !over)
                        return;
                /* Children go before their parent, who took in what they did. */
                if (over || o->parent_id == track->id)
                        *o = (Buried) {};
                if (is_less(o, least))
                        least = o;
        }
        if (is_less(least, &b))
                *least = b;
}

/* It takes in again: who breathes is not dead, and a leak that was started anew speaks for itself. */
static void exhume(Tracks *t, const Track *track) {
        for (size_t i = 0; i < BURIED_MAX; i++)
                if (t->buried[i].id == track->id && point_bytes(&track->last) >= t->buried[i].bytes[INTAKE_ALL][WINDOW_LONG] / 4)
                        t->buried[i] = (Buried) {};
}

void tracks_bury(Tracks *t, uint64_t id, uint64_t now_usec, uint64_t page_bytes) {
        const Track *track = tracks_find(t, id);

        if (track)
                bury(t, track, now_usec, page_bytes);
}

static bool same_but_for_time(const TrackPoint *a, const TrackPoint *b) {
        return a->current == b->current && a->swap == b->swap && a->pgsteal == b->pgsteal && a->activate == b->activate &&
               a->memory_some == b->memory_some && a->memory_full == b->memory_full && a->io_some == b->io_some &&
               a->io_full == b->io_full && a->events == b->events && a->own == b->own && a->own_back == b->own_back && a->cache == b->cache &&
               a->have_memory == b->have_memory && a->have_stat == b->have_stat && a->have_cache == b->have_cache &&
               a->have_events == b->have_events && a->have_psi == b->have_psi && a->have_io_psi == b->have_io_psi;
}

static void track_set(Tracks *t, Track *track, const TrackPoint anchors[_ANCHOR_MAX], const TrackPoint *last) {
        bool still = true;

        track->last = *last;
        for (int a = 0; a < _ANCHOR_MAX; a++) {
                track->anchor_usec[a] = anchors[a].usec;
                still = still && same_but_for_time(&anchors[a], last);
        }
        if (still)
                moves_drop(t, track);
        else
                memcpy(moves_add(t, track)->anchors, anchors, sizeof(track->moves->anchors));
}

/* It had nothing at that time: all that it has, it took in since then. */
static void track_born(Track *track, uint64_t usec) {
        track->last = (TrackPoint) { .usec = usec, .have_memory = true, .have_stat = true, .have_cache = true };
        track->anchor_usec[ANCHOR_OLDER + WINDOW_LONG] = track->anchor_usec[ANCHOR_NEWER + WINDOW_LONG] = usec;
}

/* Pressure and memory.stat are read only while a cgroup is hot: an anchor from before would make the first reading look
 * like one huge step. */
static void point_fill(TrackPoint *anchor, const TrackPoint *p) {
        if (p->have_psi && !anchor->have_psi) {
                anchor->have_psi = anchor->psi_filled = true;
                anchor->memory_some = p->memory_some;
                anchor->memory_full = p->memory_full;
        }
        if (p->have_events && !anchor->have_events) {
                anchor->have_events = true;
                anchor->events = p->events;
        }
        if (p->have_io_psi && !anchor->have_io_psi) {
                anchor->have_io_psi = true;
                anchor->io_some = p->io_some;
                anchor->io_full = p->io_full;
        }
        if (p->have_stat && !anchor->have_stat) {
                anchor->have_stat = true;
                anchor->pgsteal = p->pgsteal;
                anchor->activate = p->activate;
        }
        if (p->have_cache && !anchor->have_cache) {
                anchor->have_cache = true;
                anchor->cache = p->cache;
        }
}

static void track_advance(Tracks *t, Track *track, const TrackPoint *p, bool restart_recent) {
        TrackPoint anchors[_ANCHOR_MAX], *high = &anchors[ANCHOR_HIGH];

        for (int a = 0; a < _ANCHOR_MAX; a++)
                anchors[a] = track_anchor(track, (TrackAnchor) a);

        for (int w = 0; w < _WINDOW_MAX; w++) {
                TrackPoint *older = &anchors[ANCHOR_OLDER + w], *newer = &anchors[ANCHOR_NEWER + w];

                if (older->usec == 0 || (w == WINDOW_RECENT && restart_recent)) {
                        *older = *newer = *p;
                        continue;
                }
                if (p->usec - newer->usec >= window_usec[w]) {
                        *older = *newer;
                        *newer = *p;
                }
        }
        anchors[ANCHOR_PREVIOUS] = track->last.usec ? track->last : *p;
        if (p->have_memory && (high->usec < anchors[ANCHOR_OLDER + WINDOW_LONG].usec || point_bytes(p) >= point_bytes(high)))
                *high = *p;
        for (int a = 0; a < _ANCHOR_MAX; a++)
                point_fill(&anchors[a], p);
        track_set(t, track, anchors, p);
}

/* It freed more than half of what it had, by itself: what was stolen from it is still its intake. */
static bool track_collapsed(const Track *t, uint64_t page_bytes) {
        uint64_t left = point_bytes(&t->last), stolen = 0;
        TrackPoint high = track_anchor(t, ANCHOR_HIGH);

        if (high.have_stat && t->last.have_stat)
                stolen = counter_delta(t->last.pgsteal, high.pgsteal);
        return t->last.have_memory && left + stolen * page_bytes < point_bytes(&high) / 2;
}

/* The first io of a cgroup counts from when it was known to have done none, if that is not too long ago. */
static IoTrack *io_add(Tracks *t, Track *track, const IoPoint *first, uint64_t born_usec) {
        IoPoint anchor = { .usec = MAX(track->idle_usec, born_usec) };
        IoTrack *io;

        if (t->n_free_io == 0 && t->n_io_slots == IO_TRACKS_MAX)
                return NULL;
        /* What is in a unit can be made without end by whoever has it: half is for units and slices. */
        if (track->kind == CGROUP_KIND_INNER && t->n_io_slots - t->n_free_io >= IO_TRACKS_MAX / 2)
                return NULL;
        track->io = t->n_free_io > 0 ? t->free_io_slots[--t->n_free_io] : (uint32_t) ++t->n_io_slots;
        io = &t->io_slots[track->io - 1];
        *io = (IoTrack) {};
        for (int w = 0; w < _WINDOW_MAX; w++)
                io->older[w] = io->newer[w] =
                        anchor.usec != 0 && first->usec - anchor.usec <= 2 * window_usec[w] ? anchor : *first;
        return io;
}

/* Of many devices others may be looked at than before (chosen): what was done to one until now is where it is counted from. */
static void point_choose_devices(IoPoint *from, const IoPoint *to) {
        IoPoint was = *from;

        for (size_t i = 0; i < to->n; i++) {
                const IoLine *before = io_line_find(was.lines, was.n, &to->lines[i]);

                from->lines[i] = before ? *before : to->lines[i];
        }
        from->n = to->n;
}

/* Makes an older point one that a newer one can be compared with. A device that was taken away and came again by its number
 * (a loop device, one that was plugged in anew) counts from nothing, and what was done to the old one is no base for it. */
static void point_compare(IoPoint *from, const IoPoint *to, bool chosen) {
        if (chosen && from->usec != 0)
                point_choose_devices(from, to);
        for (size_t i = 0; i < from->n; i++) {
                const IoLine *now = io_line_find(to->lines, to->n, &from->lines[i]);
                bool anew = false;

                for (int k = 0; now && k < _IO_KEY_MAX; k++)
                        anew = anew || now->v[k] < from->lines[i].v[k];
                if (anew)
                        memset(from->lines[i].v, 0, sizeof(from->lines[i].v));
        }
}

static void io_update(Tracks *t, Track *track, const CgroupSample *c, uint64_t usec, uint64_t born_usec, bool restart) {
        IoTrack *io = track->io ? &t->io_slots[track->io - 1] : NULL;
        IoPoint p = { .usec = MAX(c->io_usec, usec), .n = MIN(c->n_io, (size_t) IO_DEVICES_MAX) };

        if (!c->io)
                return;
        if (!cgroup_sample_get(c, CGROUP_FILE_WRITEBACK, &p.writeback))
                p.writeback = 0;
        if (p.n == 0 && p.writeback == 0 && !io) {
                track->idle_usec = usec;
                return;
        }
        memcpy(p.lines, c->io, p.n * sizeof(IoLine));
        if (!io)
                io = io_add(t, track, &p, born_usec);
        else if (restart)
                io->older[WINDOW_RECENT] = io->newer[WINDOW_RECENT] = p;
        if (!io)
                return;
        for (int w = 0; w < _WINDOW_MAX; w++) {
                point_compare(&io->older[w], &p, c->io_chosen);
                point_compare(&io->newer[w], &p, c->io_chosen);
        }
        point_compare(&io->last, &p, c->io_chosen);
        for (int w = 0; w < _WINDOW_MAX; w++)
                if (p.usec - io->newer[w].usec >= window_usec[w]) {
                        io->older[w] = io->newer[w];
                        io->newer[w] = p;
                }
        io->previous = io->last;
        io->last = p;
}

/* Those above it are in the same sample, before it. */
static bool is_below_limit(const Tracks *t, const Track *track) {
        const Track *parent = tracks_find(t, track->parent_id);

        return parent && parent->limited;
}

/* Pages that it took from itself since the last look. Who fetches all back takes in nothing, so a look that goes by that does not ask
 * for its limit; one at every cgroup does where much was stolen. */
static uint32_t own_pages(Track *track, const TrackPoint *p, bool all_looked_at, uint32_t *ret_back) {
        bool known = p->have_stat && track->last.have_stat;
        uint32_t pages = known ? (uint32_t) counter_delta(p->pgsteal, track->last.pgsteal) : 0, all = pages + track->unjudged,
                 back = known ? (uint32_t) counter_delta(p->activate, track->last.activate) : 0, all_back = back + track->unjudged_back;
        bool judged = p->have_events || track->limited || all_looked_at;

        track->unjudged = judged ? 0 : all;
        track->unjudged_back = judged ? 0 : all_back;
        *ret_back = !track->limited ? 0 : p->have_events ? all_back : back;
        return !track->limited ? 0 : p->have_events ? all : pages;
}

/* What one took from itself was stolen in those above it as well, which have their points already. In one that is at a limit too,
 * all was counted. */
static void own_below(Tracks *t, const Track *track, uint32_t pages, uint32_t back) {
        for (Track *above = tracks_find(t, track->parent_id); above && !above->limited; above = tracks_find(t, above->parent_id)) {
                /* Nothing was stolen in there. */
                if (!above->moves)
                        continue;
                above->last.own += pages;
                above->last.own_back += back;
                for (int a = 0; a < _ANCHOR_MAX; a++)
                        if (above->anchor_usec[a] == above->last.usec) {
                                above->moves->anchors[a].own += pages;
                                above->moves->anchors[a].own_back += back;
                        }
        }
}

/* One that stands still itself, as the sum of what goes on in it. */
static void below_set(Tracks *t, Track *track, IntakeMeasure m, TrackWindow w, const Intake *in) {
        if (!track->moves) {
                TrackMoves *moves = moves_add(t, track);

                *moves = (TrackMoves) {};
                for (int a = 0; a < _ANCHOR_MAX; a++)
                        moves->anchors[a] = track->last;
        }
        track->moves->below[m][w].bytes = in->bytes;
        track->moves->below[m][w].rate = in->rate;
}

void tracks_hold(Tracks *t, uint64_t id) {
        Track *track = tracks_find(t, id);

        if (track)
                track->held = true;
}

void tracks_update(Tracks *t, const Sample *s, bool restart_recent, uint64_t page_bytes) {
        bool limited = false;

        t->sample_number++;

        for (size_t i = 0; i < s->n_cgroups; i++) {
                const CgroupSample *c = &s->cgroups[i];
                Track *track = tracks_find(t, c->id);
                uint64_t born_usec = 0;
                uint32_t own, back;
                TrackPoint p;

                if (!track) {
                        track = tracks_add(t, c->id);
                        if (!track)
                                continue;
                        /* Born since the last complete sample; or left out until now, or forgotten, and what it has it may have had
                         * for long. */
                        born_usec = c->late || (t->forgot != 0 && c->kind == CGROUP_KIND_INNER) ? 0 : t->complete_usec;
                }
                track->parent_id = c->parent_id;
                track->kind = c->kind;
                track->flags = c->flags;
                if (track->seen == 0)
                        track->subtree_flags = c->flags;
                track->seen = t->sample_number;
                p = point_of(c, s->usec, &track->last, page_bytes);
                if (born_usec > 0 && p.have_memory)
                        track_born(track, born_usec);
                track->limited = p.have_stat && track->last.have_stat &&
                                 (ran_into_limit(c, &track->last, &p, track->held) || (!track->held && limited && is_below_limit(t, track)));
                track->held = false;
                limited = limited || track->limited;
                own = own_pages(track, &p, s->all, &back);
                p.own += own;
                p.own_back += back;
                track->turned = restart_recent ? 0 : (track->turned << 1 | (own > 0)) & 0x3f;
                track_advance(t, track, &p, restart_recent);
                if (own > 0 || back > 0)
                        own_below(t, track, own, back);
                if (track->moves)
                        memset(track->moves->below, 0, sizeof(track->moves->below));
                if (c->kind == CGROUP_KIND_UNIT && track_collapsed(track, page_bytes)) {
                        bury(t, track, s->usec, page_bytes);
                        track->moves->anchors[ANCHOR_HIGH] = p;
                        track->anchor_usec[ANCHOR_HIGH] = p.usec;
                } else if (p.have_memory)
                        exhume(t, track);
                io_update(t, track, c, s->usec, born_usec, restart_recent);
        }

        /* Parents stand before children, so one pass from the end carries what there is to the root. */
        for (size_t i = s->n_cgroups; i-- > 0;) {
                const Track *track = tracks_find(t, s->cgroups[i].id);
                Track *parent = track && track->parent_id != 0 ? tracks_find(t, track->parent_id) : NULL;

                /* Who stands still, in a slice that does, took in nothing. */
                for (int k = 0; parent && track->moves && k < _INTAKE_MEASURE_MAX * _WINDOW_MAX; k++) {
                        const IntakeMeasure m = (IntakeMeasure) (k / _WINDOW_MAX);
                        const TrackWindow w = (TrackWindow) (k % _WINDOW_MAX);
                        Intake in = track_below(track, m, w);

                        if (track->kind != CGROUP_KIND_SLICE && !track_intake(track, m, w, page_bytes, &in))
                                continue;
                        if (in.rate > track_below(parent, m, w).rate)
                                below_set(t, parent, m, w, &in);
                }
        }

        if (!s->complete)
                return;

        tracks_sweep(t);
        for (size_t i = 0; i < s->n_cgroups; i++) {
                Track *track = tracks_find(t, s->cgroups[i].id);

                if (track)
                        track->subtree_flags = track->flags;
        }
        /* Likewise the flags. */
        for (size_t i = s->n_cgroups; i-- > 0;) {
                Track *track = tracks_find(t, s->cgroups[i].id), *parent;

                if (!track || track->parent_id == 0)
                        continue;
                parent = tracks_find(t, track->parent_id);
                if (parent)
                        parent->subtree_flags |= track->subtree_flags & (CGROUP_PROTECTED | CGROUP_OMIT);
        }
        t->complete_usec = s->usec;
        t->forgot = 0;
}

/* Where those above it are gone as well it may have been there. */
static bool was_in(const Tracks *t, const Buried *b, uint64_t top_id) {
        const Track *above;

        for (uint64_t id = b->parent_id; id != top_id; id = above->parent_id) {
                above = tracks_find(t, id);
                if (!above)
                        return id != 0;
        }
        return true;
}

void tracks_buried(const Tracks *t, IntakeMeasure m, TrackWindow w, uint64_t top_id, uint64_t now_usec, uint64_t *ret_bytes,
                   uint64_t *ret_rate) {
        *ret_bytes = *ret_rate = 0;
        for (size_t i = 0; i < BURIED_MAX; i++) {
                uint64_t age = buried_age(&t->buried[i], now_usec), reach = 2 * window_usec[w];

                if (t->buried[i].usec == 0 || age > reach || !was_in(t, &t->buried[i], top_id))
                        continue;
                /* Who comes after it must not hide behind it. */
                *ret_bytes += mul_div_u64(t->buried[i].bytes[m][w], reach - age, reach);
                *ret_rate += mul_div_u64(t->buried[i].rate[m][w], reach - age, reach);
        }
}

void track_io_done(const Tracks *t, const Track *track, TrackWindow w, IoLine lines[IO_DEVICES_MAX], size_t n) {
        const IoTrack *io = track->io ? &t->io_slots[track->io - 1] : NULL;
        const IoPoint *from;
        IoLine *most = NULL;
        int64_t done;

        if (!io)
                return;
        from = w == WINDOW_LAST ? &io->previous : &io->older[w];
        /* On which device is not known: on the one that it writes most to. */
        for (size_t i = 0; i < n; i++)
                if (lines[i].v[IO_WRITE_BYTES] > 0 && (!most || lines[i].v[IO_WRITE_BYTES] > most->v[IO_WRITE_BYTES]))
                        most = &lines[i];
        if (!most)
                return;
        done = gauge_delta(most->v[IO_WRITE_BYTES], 0) - gauge_delta(io->last.writeback, from->writeback);
        most->v[IO_WRITE_BYTES] = (uint64_t) MAX(done, 0);
}

bool track_io_waits(const Track *t) {
        TrackPoint from = track_since(t, WINDOW_RECENT);
        const TrackPoint *to = &t->last;

        return from.usec != 0 && from.have_io_psi && to->have_io_psi &&
               counter_delta(to->io_some, from.io_some) >= (to->usec - from.usec) / 2;
}

uint64_t track_writeback(const Tracks *t, const Track *track) {
        return track->io ? t->io_slots[track->io - 1].last.writeback : 0;
}

bool track_io(const Tracks *t, const Track *track, TrackWindow w, IoLine ret[IO_DEVICES_MAX], size_t *ret_n,
              uint64_t *ret_usec) {
        const IoTrack *io = track->io ? &t->io_slots[track->io - 1] : NULL;
        const IoPoint *from;

        if (!io)
                return false;
        from = w == WINDOW_LAST ? &io->previous : &io->older[w];
        if (from->usec == 0 || io->last.usec - from->usec < TRACK_MIN_USEC ||
            (w == WINDOW_LAST && (io->last.usec - from->usec > TRACK_LAST_MAX_USEC || io->last.usec < track->last.usec)))
                return false;
        for (size_t i = 0; i < io->last.n; i++) {
                const IoLine *before = io_line_find(from->lines, from->n, &io->last.lines[i]);

                ret[i] = io->last.lines[i];
                for (int k = 0; before && k < _IO_KEY_MAX; k++)
                        ret[i].v[k] = counter_delta(ret[i].v[k], before->v[k]);
        }
        *ret_n = io->last.n;
        *ret_usec = io->last.usec - from->usec;
        return true;
}

uint64_t track_io_stall(const Track *t, TrackWindow w) {
        TrackPoint from = track_since(t, w);

        if (from.usec == 0 || !from.have_io_psi || !t->last.have_io_psi)
                return UINT64_MAX;
        return counter_delta(t->last.io_some, from.io_some);
}

bool track_stall(const Track *t, unsigned *ret_some_permyriad, unsigned *ret_full_permyriad) {
        TrackPoint from = track_since(t, WINDOW_RECENT);
        const TrackPoint *to = &t->last;
        uint64_t usec = to->usec - from.usec;

        if (from.usec == 0 || usec < TRACK_MIN_USEC || !from.have_psi || !to->have_psi)
                return false;
        *ret_some_permyriad = (unsigned) MIN(
                mul_div_u64(counter_delta(to->memory_some, from.memory_some), PERMYRIAD, usec), PERMYRIAD);
        *ret_full_permyriad = (unsigned) MIN(
                mul_div_u64(counter_delta(to->memory_full, from.memory_full), PERMYRIAD, usec), PERMYRIAD);
        return true;
}

bool track_stall_is_whole(const Track *t) {
        const TrackPoint from = track_since(t, WINDOW_RECENT);

        return from.have_psi && !from.psi_filled && t->last.have_psi && t->last.usec >= from.usec + TRACK_RECENT_USEC;
}

bool track_throttled(const Track *t) {
        TrackPoint from = track_since(t, WINDOW_RECENT);

        return from.usec > 0 && from.have_events && t->last.events != from.events;
}

bool track_turns_over(const Track *t) {
        return t->turned != 0;
}

uint64_t track_stolen_by_itself(const Track *t) {
        const TrackPoint from = track_since(t, WINDOW_LONG);
        uint32_t own = t->last.own - from.own;

        return from.usec != 0 && own >= counter_delta(t->last.pgsteal, from.pgsteal) / 2 ? own : 0;
}
