/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What paths lead to, asked so that a file system which hangs, as one whose server is gone, holds nobody up for long. */

#include <stddef.h>
#include <stdint.h>

/* realpath(3) of each of paths, a string list of str.h, in a thread of its own; usec is for all of them together.
 * *ret: a string list, the caller's; "" for a path that leads nowhere or cannot be followed. It is shorter than paths where that
 * took too long, and the first one that is missing hangs: its thread goes on until the file system answers, or the process ends,
 * and as long as it does the next calls find none.
 * Where there can be no thread they are followed without one, however long that takes. 0 or -ENOMEM. */
int real_paths(char *const *paths, uint64_t usec, char ***ret);
