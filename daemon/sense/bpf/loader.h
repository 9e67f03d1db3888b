/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the loader, a program of its own, hands to the daemon: descriptors, or why there are none. */

#include <stdint.h>

/* The loader's end of a SOCK_SEQPACKET pair. */
#define LOADER_FD 3
#define LOADER_FDS_MAX 8

/* "walk HIERARCHY RECORDS" */
typedef enum WalkFd {
        WALK_LINK,                      /* the attached iterator: each BPF_ITER_CREATE on it is a walk */
        WALK_RECORDS,                   /* map of WalkRecord */
        WALK_CONTROL,                   /* map of one WalkControl */
        _WALK_FD_MAX,
} WalkFd;

/* "memwatch" */
typedef enum MemwatchFd {
        MEMWATCH_TIMER,                 /* map of the timer, which runs as long as this is open */
        MEMWATCH_RING,                  /* ring buffer of MemwatchMessage */
        MEMWATCH_LINK,                  /* keeps the program attached that sees the kernel kill */
        MEMWATCH_FOLLOW,                /* program: BPF_PROG_RUN with a MemwatchFollow has a slice watched */
        _MEMWATCH_FD_MAX,
} MemwatchFd;

/* "life" */
typedef enum LifeFd {
        LIFE_LINK,                      /* keeps the program attached */
        LIFE_RING,                      /* ring buffer of LifeExec */
        LIFE_CONTROL,                   /* map of one LifeControl */
        LIFE_USERS,                     /* uid -> a byte */
        LIFE_NAMES,                     /* LifeName -> a byte */
        _LIFE_FD_MAX,
} LifeFd;

/* "iocredit" */
typedef enum CreditFd {
        CREDIT_CONTROL,                 /* map of one CreditControl */
        CREDIT_LINK_FIRST,              /* from here on: what keeps the programs attached */
        _CREDIT_FD_MAX = CREDIT_LINK_FIRST + 4,
} CreditFd;

/* One message, with the descriptors as SCM_RIGHTS where error is 0. */
typedef struct LoaderAnswer {
        int32_t error;                  /* negative errno */
        uint32_t n_fds;
        char reason[248];               /* a sentence without its full stop; empty if there is no error */
} LoaderAnswer;
