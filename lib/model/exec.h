/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which programs somebody wants to hear of as they start. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXEC_USERS_MAX 1024
#define EXEC_NAMES_MAX 256
/* Of the file's name, the last part of its path; what is longer is cut. With the terminating zero. */
#define EXEC_NAME_SIZE 64

typedef struct ExecFilter {
        const uint32_t *uids;           /* started by one of these, … */
        size_t n_uids;
        char *const *names;             /* … or with one of these file names, NULL-terminated or NULL, … */
        bool all;                       /* … or any */
} ExecFilter;

static inline bool exec_filter_is_empty(const ExecFilter *f) {
        return f->n_uids == 0 && (!f->names || !*f->names) && !f->all;
}

typedef struct ExecEvent {
        uint32_t pid, uid;
        uint64_t usec;                  /* CLOCK_MONOTONIC, as it started */
} ExecEvent;
