/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loads and attaches the walk's program. */

#include "sense/bpf/loader.h"

/* root: the directory of the hierarchy, or of the part of it that is walked. n_records: how many cgroups
 * have room. The descriptors are the caller's. Negative errno, with *ret filled. */
int walk_load(const char *root, unsigned n_records, LoaderAnswer *ret, int ret_fds[static _LOADER_FD_MAX]);
