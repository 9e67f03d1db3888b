/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tracks: what each cgroup's counters were a moment ago and some seconds ago, so that blame has something
 * to compare with.
 *
 * A track keeps no ring of samples: for each window it keeps two anchors, the older of which is between one
 * and two windows old (less while the window fills). That is enough for a rate, costs the same for any
 * sampling period, and bounds the memory. Of thousands of cgroups most stand still: their anchors differ in
 * nothing but the time, and are kept as that. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/sample.h"

#define TRACKS_MAX 32768
#define IO_TRACKS_MAX 4096
/* The recent window tells who takes in now, the long one who took in before the alarm. */
#define TRACK_RECENT_USEC (UINT64_C(500) * 1000)
#define TRACK_LONG_USEC (UINT64_C(5) * 1000 * 1000)
/* Below this a delta says nothing: jitter of the sampling itself. */
#define TRACK_MIN_USEC (UINT64_C(80) * 1000)
/* Two looks that are farther apart say nothing of the last moment. */
#define TRACK_LAST_MAX_USEC (UINT64_C(400) * 1000)

typedef enum TrackWindow {
        WINDOW_RECENT,
        WINDOW_LONG,
        _WINDOW_MAX,
        WINDOW_LAST = _WINDOW_MAX,      /* io only: between the last two looks, if they were close together */
} TrackWindow;

typedef struct TrackPoint {
        uint64_t usec;
        uint64_t current, swap;         /* bytes */
        uint64_t memory_some, memory_full, io_some, io_full;
        /* Of these only differences count, so they may wrap. */
        uint32_t pgsteal, activate;     /* pages */
        uint32_t events;                /* times that it ran into a limit of its own */
        uint32_t own;                   /* pages that were stolen from it, or in it, meanwhile: what it took from itself … */
        uint32_t own_back;              /* … and fetched back meanwhile */
        uint32_t cache;                 /* pages that can be dropped at once */
        bool have_psi, have_io_psi, have_memory : 1, have_stat : 1, have_cache : 1, have_events : 1;
        bool psi_filled : 1;            /* memory's was not read then, and is that of a later look */
} TrackPoint;

/* The points before the last one that a track keeps. */
typedef enum TrackAnchor {
        ANCHOR_PREVIOUS,
        ANCHOR_HIGH,                                    /* where it had most, within the long window */
        ANCHOR_OLDER,                                   /* + TrackWindow */
        ANCHOR_NEWER = ANCHOR_OLDER + _WINDOW_MAX,      /* + TrackWindow */
        _ANCHOR_MAX = ANCHOR_NEWER + _WINDOW_MAX,
} TrackAnchor;

/* What counts as taken in: growth of memory and swap plus what was stolen, less what was only fetched back (design.md, Blame).
 * Growth finds leaks, stolen pages find streams of page cache. */
typedef enum IntakeMeasure {
        INTAKE_FROM_OTHERS,     /* … but what it took from itself, turning over what a limit of its own leaves it … */
        INTAKE_ALL,             /* … or that too */
        INTAKE_KEPT,            /* only growth of what cannot be dropped: what can, makes room as soon as somebody wants it */
        _INTAKE_MEASURE_MAX,
} IntakeMeasure;

/* What a cgroup took in over a window. */
typedef struct Intake {
        uint64_t bytes;
        uint64_t operations;            /* io */
        uint64_t waited_usec;           /* io: that the victim waited for it, where that is measured */
        uint64_t usec;                  /* over which */
        uint64_t rate;                  /* bytes per second; of io the work, operations weighed in */
} Intake;

/* io.stat at one moment. A device without a line has done nothing. */
typedef struct IoPoint {
        uint64_t usec;                  /* 0 = not known */
        IoLine lines[IO_DEVICES_MAX];
        size_t n;
        uint64_t writeback;             /* bytes on their way to a disk; counted above when they were sent off */
} IoPoint;

/* Only of those that do io, for it is large. */
typedef struct IoTrack {
        IoPoint last, previous, older[_WINDOW_MAX], newer[_WINDOW_MAX];
} IoTrack;

/* Only of those that do not stand still, likewise. */
typedef struct TrackMoves {
        TrackPoint anchors[_ANCHOR_MAX];
        /* Of the one in it that took in most and is no slice, as of the last sample. */
        struct {
                uint64_t bytes, rate;
        } below[_INTAKE_MEASURE_MAX][_WINDOW_MAX];
} TrackMoves;

typedef struct Track {
        uint64_t id, parent_id;
        CgroupKind kind : 8;
        CgroupFlags flags : 8;
        CgroupFlags subtree_flags : 8;  /* of itself and all below, as of the last complete sample */
        bool held : 1;                  /* its limit is our own: until the next sample (tracks_hold()) */
        bool limited : 1;               /* what was stolen from it before the last sample, it took from itself … */
        unsigned turned : 6;            /* … and that was something: so in the last samples, a bit each, the latest the lowest */
        uint32_t unjudged, unjudged_back;       /* likewise, in looks since then that did not tell whether at a limit of its own */
        uint32_t seen;                  /* number of the sample that last had it */
        uint32_t io;                    /* its place among the io tracks, from 1; 0 = none */
        uint32_t next;                  /* place of the next of the same bucket, or of the next free one, from 1; 0 = none */
        TrackPoint last;
        TrackMoves *moves;              /* NULL: it stands still, each anchor is what the last point is … */
        uint64_t anchor_usec[_ANCHOR_MAX];      /* … at this time; 0 = there is none yet */
        uint64_t idle_usec;             /* known to have done no io until then */
} Track;

/* What a cgroup that is gone, or a unit that gave back most of what it had, had taken in until then: without it all
 * the rest of a window would be laid on whoever took in a little. A unit that has died has none left long before its
 * cgroup is removed. */
typedef struct Buried {
        uint64_t id, parent_id;
        uint64_t usec;                  /* when; 0 = free place */
        uint64_t bytes[_INTAKE_MEASURE_MAX][_WINDOW_MAX], rate[_INTAKE_MEASURE_MAX][_WINDOW_MAX];
} Buried;
/* The largest; one that took in less than these is not missed. */
#define BURIED_MAX 8

typedef struct Tracks {
        Track *slots;                   /* TRACKS_MAX, touched only as far as used */
        uint32_t *buckets;              /* TRACKS_MAX, by id: place of the first, from 1; 0 = none */
        uint32_t free;                  /* place of the first free one that was used, from 1; 0 = none */
        TrackMoves *moves_slots;        /* TRACKS_MAX, likewise */
        TrackMoves **free_moves_slots;
        IoTrack *io_slots;              /* IO_TRACKS_MAX, likewise */
        uint32_t *free_io_slots;
        size_t n_slots, n_moves_slots, n_free_moves, n_io_slots, n_free_io;
        Buried buried[BURIED_MAX];
        uint32_t sample_number;
        uint64_t complete_usec;         /* of the last complete sample, 0 = none yet */
        uint32_t forgot;                /* number of the sample that found no free place last, since then; 0 = none */
        uint64_t dropped;               /* rows that found no place */
} Tracks;

int tracks_init(Tracks *t);
void tracks_done(Tracks *t);

/* The memory.high that the next sample shows of this cgroup is our own: what it turns over below it, it took from others before. */
void tracks_hold(Tracks *t, uint64_t id);
/* Takes in one sample. restart_recent: begin the recent window afresh with this sample (from rest to hot). */
void tracks_update(Tracks *t, const Sample *s, bool restart_recent, uint64_t page_bytes);
Track *tracks_find(const Tracks *t, uint64_t id);

/* A cgroup is gone, or what it had was freed by a kill. */
void tracks_bury(Tracks *t, uint64_t id, uint64_t now_usec, uint64_t page_bytes);
/* The memory that those took in who are gone and lay in the cgroup top_id, less and less of it, until the window no longer
 * reaches back to them. */
void tracks_buried(const Tracks *t, IntakeMeasure m, TrackWindow w, uint64_t top_id, uint64_t now_usec, uint64_t *ret_bytes,
                   uint64_t *ret_rate);

/* What the last point is compared with over a window; with usec = 0 where there is none. */
TrackPoint track_since(const Track *t, TrackWindow w);
/* What the one in it took in that took in most and is no slice, as of the last sample; its rate and bytes. */
Intake track_below(const Track *t, IntakeMeasure m, TrackWindow w);
/* False where the track has no point that is old enough to compare with. */
bool track_intake(const Track *t, IntakeMeasure m, TrackWindow w, uint64_t page_bytes, Intake *ret);

/* How long some tasks of the cgroup stood waiting for io over the window, in microseconds; UINT64_MAX where that is not known. */
uint64_t track_io_stall(const Track *t, TrackWindow w);

/* Share of time in which some/all tasks of the cgroup stalled on memory over the recent window, in 1/10000. */
bool track_stall(const Track *t, unsigned *ret_some_permyriad, unsigned *ret_full_permyriad);
/* True where that is what it stalled over the whole of the window: its pressure was read at both ends. */
bool track_stall_is_whole(const Track *t);
/* True where it ran into a limit of its own within the recent window. */
bool track_throttled(const Track *t);
/* True where pages were stolen from it at such a limit, or one above it, in the last half second; at limits of those in it: none. */
bool track_turns_over(const Track *t);
/* Pages that were stolen from it, or in it, at such limits over the long window, where that is half of all; else 0. */
uint64_t track_stolen_by_itself(const Track *t);

/* Makes of what it sent to the devices what they have done: io.stat counts what the flusher sends off at once. */
void track_io_done(const Tracks *t, const Track *track, TrackWindow w, IoLine lines[IO_DEVICES_MAX], size_t n);
/* True where some of its tasks waited for io most of the recent window. */
bool track_io_waits(const Track *t);
/* Bytes that it has on their way to a disk through the page cache. */
uint64_t track_writeback(const Tracks *t, const Track *track);
/* What it did to each device over a window, as counts. False where there is nothing to compare with. */
bool track_io(const Tracks *t, const Track *track, TrackWindow w, IoLine ret[IO_DEVICES_MAX], size_t *ret_n,
              uint64_t *ret_usec);
