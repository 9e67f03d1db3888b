/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loads and starts the watch over the machine's memory. */

#include "sense/bpf/loader.h"

/* args: none. The descriptors (MemwatchFd) are the caller's. Negative errno, with *ret filled. */
int memwatch_load(char *const args[], LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]);
