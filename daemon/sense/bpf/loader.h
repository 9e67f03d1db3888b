/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the loader, a program of its own, hands to the daemon: descriptors, or why there are none. */

#include <stdint.h>

/* The loader's end of a SOCK_SEQPACKET pair. */
#define LOADER_FD 3

typedef enum LoaderFd {
        LOADER_LINK,                    /* the attached iterator: each BPF_ITER_CREATE on it is a walk */
        LOADER_RECORDS,                 /* map of WalkRecord */
        LOADER_CONTROL,                 /* map of one WalkControl */
        _LOADER_FD_MAX,
} LoaderFd;

/* One message, with the descriptors as SCM_RIGHTS where error is 0. */
typedef struct LoaderAnswer {
        int32_t error;                  /* negative errno */
        char reason[252];               /* a sentence without its full stop; empty if there is no error */
} LoaderAnswer;
