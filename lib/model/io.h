/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Io: what a cgroup did to a device, or may do to it: four numbers, those of io.stat and of io.max.
 * Source: Documentation/admin-guide/cgroup-v2.rst ("IO Interface Files"). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Devices of one cgroup that are looked at: of more those that it uses most. */
#define IO_DEVICES_MAX 4

/* What an operation weighs beside the bytes it moves: between a disk that turns (1 MiB) and flash (4 KiB), near what is
 * sold in clouds. */
#define IO_OPERATION_BYTES (UINT64_C(64) << 10)

typedef enum IoKey {
        IO_READ_BYTES,                  /* rbytes, rbps */
        IO_WRITE_BYTES,                 /* wbytes, wbps */
        IO_READS,                       /* rios, riops */
        IO_WRITES,                      /* wios, wiops */
        _IO_KEY_MAX,
} IoKey;

typedef struct IoLine {
        uint32_t major, minor;          /* 0:0 = free place: no block device has it */
        uint64_t v[_IO_KEY_MAX];        /* counters since ever, rates a second, or limits (LIMIT_MAX for "max") */
} IoLine;

/* What was done, or is done a second, in one number. */
static inline uint64_t io_line_work(const IoLine *l) {
        return l->v[IO_READ_BYTES] + l->v[IO_WRITE_BYTES] + (l->v[IO_READS] + l->v[IO_WRITES]) * IO_OPERATION_BYTES;
}

static inline bool io_line_used(const IoLine *l) {
        return l->major != 0 || l->minor != 0;
}

static inline bool io_same_device(const IoLine *a, const IoLine *b) {
        return a->major == b->major && a->minor == b->minor;
}

/* One more of up to IO_DEVICES_MAX; of more the ones with most work stay. */
static inline void io_lines_add(IoLine *lines, size_t *n, const IoLine *line) {
        size_t least = 0;

        if (*n < IO_DEVICES_MAX) {
                lines[(*n)++] = *line;
                return;
        }
        for (size_t i = 1; i < *n; i++)
                if (io_line_work(&lines[i]) < io_line_work(&lines[least]))
                        least = i;
        if (io_line_work(&lines[least]) < io_line_work(line))
                lines[least] = *line;
}

/* The line of the same device; NULL where there is none. */
static inline const IoLine *io_line_find(const IoLine *lines, size_t n, const IoLine *device) {
        for (size_t i = 0; i < n; i++)
                if (io_line_used(device) && io_same_device(&lines[i], device))
                        return &lines[i];
        return NULL;
}
