/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Limit: one change of memory.high or io.max, with the look before and the look after. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "act/worker.h"

/* The kernel keeps whole pages, rounded down, and calls what no machine has "max". */
uint64_t limit_round(uint64_t value);
bool limit_equal(uint64_t a, uint64_t b);

/* Puts value into memory.high of the cgroup `id` held by dir_fd, if it holds one of accept[]. May block
 * while the kernel reclaims. Returns what an Outcome says; *ret_before and *ret_after are set as far as they
 * were read, *ret_error only with OUTCOME_FAILED. cancelled may be NULL. */
OutcomeResult limit_change(int dir_fd, uint64_t id, const uint64_t *accept, size_t n_accept, uint64_t value,
                           const atomic_bool *cancelled, uint64_t *ret_before, uint64_t *ret_after,
                           int *ret_error);

/* The same for memory.swap.high, which never blocks and on which nothing depends: what is somebody else's is
 * left, a kernel without swap accounting has none, and neither is an error. A negative errno: what is ours may still be there. */
int limit_swap_change(int dir_fd, uint64_t id, const uint64_t accept[2], uint64_t value);

/* Puts cap->value into its device's line of io.max, if that holds one of accept[] (a line that is all zeros is none).
 * As above. */
OutcomeResult limit_io_change(int dir_fd, uint64_t id, const IoLine *accept, size_t n_accept, const IoLine *value,
                              const atomic_bool *cancelled, int *ret_error);

/* Of a giving back: a limit whose controller was taken from the cgroup is gone with it, which is as good. */
OutcomeResult limit_given_back(OutcomeResult r, int error);

/* Writes one device's line as it is. */
int limit_io_write(int dir_fd, const IoLine *value);

/* Thread functions: fill job->outcome. */
void limit_run_set(Job *job);
void limit_run_restore(Job *job);
