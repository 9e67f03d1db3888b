/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Waits: of the io credit what came in of late, so that it can be said who makes a domain wait now. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/track.h"
#include "model/sample.h"

typedef struct WaitPoint {
        uint64_t usec;                  /* 0 = none */
        uint64_t wait_usec[IO_SLOTS][IO_SLOTS];
        IoLine done[IO_SLOTS][IO_CREDIT_DEVICES];
        uint64_t busy_usec[IO_CREDIT_DEVICES];
} WaitPoint;

/* The older of two anchors is between one and two of TRACK_RECENT_USEC old, as those of the tracks are. */
typedef struct Waits {
        WaitPoint last, previous, older, newer;
} Waits;

/* For whom the requests of those in a slice waited, by slot, but for themselves. */
typedef struct WaitShares {
        bool known;                     /* they waited for others long enough to tell */
        uint64_t own_usec;              /* that they took by themselves, where that is longer than they waited; else 0 */
        uint64_t usec;                  /* length of the window */
        uint64_t whole_usec;            /* for anybody else */
        uint64_t slot_usec[IO_SLOTS];
} WaitShares;

/* after_rest: the windows must not begin at the last heartbeat. */
void waits_update(Waits *w, const Sample *s, bool after_rest);

/* The last moment, or the last half second where too little ended in that, or it was shorter than TRACK_MIN_USEC. */
void waits_shares(const Waits *w, const IoCredit *credit, const char *victim, WaitShares *ret);

/* What a cgroup and those below it got done over a window on each device that is told apart, as rates a second; of many
 * those where it did most. False where that is not known: it has no slot or has one only since lately, somebody in it had
 * none yet, or the window is the long one. */
bool waits_done(const Waits *w, const IoCredit *credit, const CgroupSample *c, TrackWindow window,
                IoLine ret[static IO_DEVICES_MAX], size_t *ret_n);

/* The device is one of those that are told apart. */
bool waits_counted(const IoCredit *credit, const IoLine *device);

/* What everybody together got done on a device. False where that is not known. */
bool waits_device_done(const Waits *w, const IoCredit *credit, const IoLine *device, TrackWindow window, IoLine *ret);

/* What everybody together got done there since it was first counted, or in its place before it was: to be compared with what
 * it was a while ago. */
bool waits_device_ever(const IoCredit *credit, const IoLine *device, IoLine *ret);

/* Requests since they were first counted, or between two moments. */
typedef struct Pace {
        uint64_t requests;
        uint64_t usec;                  /* that they took, all together … */
        uint64_t others_usec;           /* … and of that waited for requests of others */
} Pace;

/* Those of a slice. False where a slot in there was given away after `since`, or nothing is measured. */
bool waits_pace(const IoCredit *credit, const char *slice, uint64_t since_usec, Pace *ret);

/* The share of a window in which a device had a request under way, in 1/10000; PERMYRIAD where that is not known. */
unsigned waits_busy(const Waits *w, const IoCredit *credit, const IoLine *device, TrackWindow window);

/* Of these those for c or whoever is below it, in microseconds. */
uint64_t waits_for(const WaitShares *shares, const IoCredit *credit, const char *path);

/* Of these those for the kernel itself and for whoever has no slot. */
uint64_t waits_for_root(const WaitShares *shares, const IoCredit *credit);

/* It has had a slot for long enough that what is on its way is counted there. */
bool waits_settled(const IoCredit *credit, uint64_t cgroup_id);
