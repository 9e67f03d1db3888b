/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Io priority: the threads of a cgroup whose reads are capped are served by the disk after everybody else's. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Lets every thread of the cgroup held by dir_fd, and of those below it, that has no io priority of its own have the idle
 * class; or takes that back where it is ours. Never blocks, and ends within a quarter of a second. What cannot be done is
 * left: a cap does not depend on it. */
void io_priority_set(int dir_fd, bool idle);

/* Takes back what is ours of every thread in the hierarchy whose root is held, until it is cancelled (NULL: never) or the
 * deadline (CLOCK_MONOTONIC). For when nobody is capped. */
void io_priority_clear_all(int root_fd, const atomic_bool *cancelled, uint64_t deadline_usec);
