/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loads and attaches the walk's program. */

#include "sense/bpf/loader.h"

/* args: the directory of the hierarchy, or of the part of it that is walked, and how many cgroups have room. The
 * descriptors (WalkFd) are the caller's. Negative errno, with *ret filled. */
int walk_load(char *const args[], LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]);
