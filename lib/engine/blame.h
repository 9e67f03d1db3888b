/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Blame: who took in the memory, or used the disks, top down to the smallest cgroup that is responsible for most of
 * it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/track.h"
#include "engine/waits.h"
#include "model/incident.h"
#include "model/sample.h"

/* What is looked at, and how it is measured. */
typedef struct BlameScope {
        IncidentResource resource;
        IntakeMeasure measure;          /* memory */
        const CgroupSample *at_limit;   /* memory: in this slice it is INTAKE_ALL; NULL: nowhere */
        uint64_t page_bytes;
        const char *within;             /* memory: it is short below the limit of this slice; NULL: on the host */
        /* io: the devices on which the victim waits, each with the share of its operations there, in 1/10000; none: it
         * did no io, and all devices count alike. */
        IoLine devices[IO_DEVICES_MAX];
        uint64_t weight[IO_DEVICES_MAX];
        size_t n_devices;
        const char *victim;             /* io: what comes back from disk in here was taken away from it; NULL: nowhere */
        uint64_t stall_usec;            /* io: that some of the victim stood waiting in the last half second; UINT64_MAX = not known */
        const IoCredit *credit;         /* io: it is known for whom the victim waited; NULL: it is not */
        WaitShares waits;
} BlameScope;

/* Memory, or the io on the devices that the victim's slice uses. Borrows the slice's path. */
void blame_scope(BlameScope *ret, IncidentResource r, const Tracks *t, const Waits *w, const Sample *s, const char *victim,
                 uint64_t page_bytes);

typedef struct Blame {
        bool measured;                  /* there were two samples to compare … */
        bool noise;                     /* … and what all took in is too little to blame anybody for */
        TrackWindow window;
        uint64_t usec;                  /* length of the window */
        uint64_t whole_rate;            /* bytes per second that all took in together */
        uint64_t whole_bytes;
        uint64_t whole_operations;      /* io */
        uint64_t whole_waited_usec;     /* io: that the victim waited for others; 0 = not known */
        const CgroupSample *culprit;    /* NULL: nobody holds share_min of the whole */
        unsigned share_permyriad;
        bool unexplained;               /* what it took in, its children did not, or it was not seen yet */
        /* The leaves that took in most, largest first; verdicts are the caller's to fill. */
        Candidate candidates[INCIDENT_CANDIDATES_MAX];
        size_t n_candidates;
} Blame;

/* share_min: BlameShareMin= of the victim. Below `noise` bytes in the window there is no culprit. */
void blame_find(const Tracks *t, const Sample *s, TrackWindow w, unsigned share_min_permyriad, uint64_t noise,
                const BlameScope *scope, Blame *ret);

/* The share of the whole intake that one cgroup has in the window, in 1/10000. */
unsigned blame_share(const Tracks *t, const Sample *s, TrackWindow w, uint64_t cgroup_id, uint64_t noise,
                     const BlameScope *scope);

/* The row of a cgroup; NULL. */
const CgroupSample *sample_find(const Sample *s, uint64_t id);

/* A unit, or what is none and has nothing in it. */
bool sample_is_leaf(const Sample *s, const CgroupSample *c);

/* Copies a path for showing: whole where it fits, else its end after "...". */
void path_shown(char dest[SHOWN_PATH_MAX], const char *path);
