/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Leases: the table of changes that are to be undone, and its file. Used on the loop's thread only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/lease.h"

/* More than the engine contains at one time; the table is allocated once, 4.2 KiB each. */
#define LEASES_MAX 64

/* A lease and what is needed to give it back. serial 0 = a free place. */
typedef struct HeldLease {
        Lease lease;
        uint64_t serial;        /* names it in the file; never used twice */
        /* what memory.high held before the last write: still there if that one failed */
        uint64_t previous;
        uint64_t swap_previous; /* the same of memory.swap.high */
        uint64_t handed_value;  /* MemoryHigh= that systemd was told last, if lease.handed_over; … */
        uint64_t handed_before; /* … and the time before: its drop-in holds one of the two */
        bool had_dropin;        /* there was a runtime drop-in for MemoryHigh= before ours: it stays */
        bool told;              /* it said that it has handed_value */
        bool ended;             /* over for everybody else; only systemd has still to be told … */
        bool drifted;           /* … or to answer, for the value is somebody's and it is told nothing more */
        /* sets and restores under way: at most one set, for the file can name two values */
        unsigned jobs;
        bool calling;           /* a call to systemd is under way */
        uint64_t retry_usec;    /* not handed over before this (CLOCK_MONOTONIC) */
        int dir_fd;             /* held directory, or the reserve's */
} HeldLease;

typedef struct Leases Leases;

/* Reads what the file holds (a torn or foreign tail is cut off), then starts a fresh one. A file that cannot
 * be made is no error here: leases_take() says it then. -ENOMEM. */
int leases_new(const char *file, Leases **ret);
Leases *leases_free(Leases *l); /* leaves the file as it is */

/* Writes the record, then fills *ret; nothing is changed on failure: -ENOSPC table or disk full, -EINVAL or
 * -ENAMETOOLONG: a path that cannot be written down, other negative errno of the disk. */
int leases_take(Leases *l, const Lease *lease, uint64_t previous, HeldLease **ret);
/* The same of one that ended and of which systemd has still to be told: its path, what was there before and what systemd was
 * told stay, and nothing else. The caller sees to it that .original is the same. */
int leases_take_again(Leases *l, HeldLease *h, const Lease *lease, uint64_t previous);
/* A new value is about to be written; record first, as above. */
int leases_set(Leases *l, HeldLease *h, uint64_t value, uint64_t swap_value, Step step,
               uint64_t expires_usec);
/* The same of one device's io.max; an io lease is never handed over. -ENOSPC: more devices than a lease has. */
int leases_cap(Leases *l, HeldLease *h, const IoCap *cap, Step step, uint64_t expires_usec);
/* systemd is about to be told this value; had_dropin counts the first time only. */
int leases_hand_over(Leases *l, HeldLease *h, uint64_t value, bool had_dropin);
/* Over. What cannot be written down now is at the next chance: a lease too many in the file is given back
 * twice, which changes nothing. */
void leases_end(Leases *l, HeldLease *h);

HeldLease *leases_find(Leases *l, uint64_t cgroup_id);          /* not ended; NULL */
HeldLease *leases_find_ended(Leases *l, uint64_t cgroup_id);    /* systemd has still to be told; NULL */
HeldLease *leases_find_serial(Leases *l, uint64_t serial);      /* NULL */
HeldLease *leases_at(Leases *l, size_t slot);                   /* slot < LEASES_MAX; NULL where free */
/* Removes the file where it holds nothing. */
void leases_remove_if_empty(Leases *l);

/* One lease of the text, in the order taken, those that were not ended. For leases_read(). */
typedef void (*LeasesReader)(const HeldLease *h, void *userdata);
/* 0, also where there is no file; or a negative errno. */
int leases_read(const char *file, LeasesReader reader, void *userdata);

/* leases_release_file() of act.h with the directory of systemd's drop-ins and without the lock, for tests. */
int leases_release_file_at(const char *root, const char *run, const char *lease_file);
