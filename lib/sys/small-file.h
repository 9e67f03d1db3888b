/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small kernel and state files, relative to a held directory fd. Nothing here allocates. */

#include <stddef.h>
#include <stdint.h>

/* Reads the whole of a small file into buf and terminates it; buf may be NULL-byte free text only.
 * Returns the length, -ENOBUFS where it does not fit in size - 1 (the file is then to be distrusted),
 * -ENODEV/-ENOENT where the cgroup is gone, or another negative errno. */
int file_read_at(int dir_fd, const char *name, char *buf, size_t size);

/* The same by a kept fd, with pread from 0. */
int file_pread(int fd, char *buf, size_t size);

/* One write() of the whole text, as cgroup files want it. Negative errno on failure. */
int file_write_at(int dir_fd, const char *name, const char *text);

/* A single number or "max" (LIMIT_MAX), newline allowed. -EINVAL for anything else, empty file included. */
int file_read_limit_at(int dir_fd, const char *name, uint64_t *ret);
int file_write_limit_at(int dir_fd, const char *name, uint64_t value);

/* Locks the file, which is made if it is not there, until the fd that is returned is closed. -EBUSY: somebody else has it. */
int file_lock_at(int dir_fd, const char *name);
