/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pace: how long a victim's requests take at the caps as they are. It tells whether more would harm it, long before it
 * stalls. */

#include "engine/waits.h"

typedef struct PaceWatch {
        uint64_t since_usec;            /* the caps are as they are since a little before; 0 = not looked at yet */
        Pace since;                     /* what had been by then */
        Pace low;                       /* the shortest, on the average, below what was measured of the disk; no requests = not known … */
        Pace best;                      /* … and at it, or beyond */
        bool probing;                   /* the last rise went beyond what was measured */
        uint64_t rest_until_usec;       /* more would harm it: not before */
} PaceWatch;

/* The requests of those in a slice since a little after the caps were changed. False: fewer than `enough` were seen yet, or they
 * are not measured. */
bool pace_look(PaceWatch *w, const IoCredit *credit, const char *victim, uint64_t changed_usec, uint64_t enough, Pace *ret);

/* p has at least a request. Nobody's requests took less on the average yet: keep these. */
void pace_keep(Pace *shortest, const Pace *p);

/* p has at least a request. They wait longer for others than before, by such a share of all that they took then. What the disk,
 * or the machine that it is in, is slower by is not among that. False where there is nothing to compare with. */
bool pace_is_worse(const Pace *p, const Pace *before, unsigned permyriad);
