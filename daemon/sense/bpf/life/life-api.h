/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* What the program that sees processes start and the daemon share. */

#include <linux/types.h>

#define LIFE_USERS_MAX 1024
#define LIFE_NAMES_MAX 256
#define LIFE_NAME_SIZE 64
#define LIFE_RING_BYTES (64 << 10)

/* A file name, padded with zeros, as a key. */
typedef struct LifeName {
        char text[LIFE_NAME_SIZE];
} LifeName;

/* One message in the ring. */
typedef struct LifeExec {
        __u32 pid, uid;
        __u64 nsec;                     /* CLOCK_MONOTONIC, as it started */
} LifeExec;

/* Mapped by the daemon. */
typedef struct LifeControl {
        __u32 all;                      /* from the daemon: whatever its user and name */
        __u32 unused;
        __u64 lost;                     /* to the daemon: starts for which the ring had no room */
} LifeControl;
