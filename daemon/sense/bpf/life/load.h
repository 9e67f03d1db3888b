/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loads and attaches the program that sees processes start. */

#include "sense/bpf/loader.h"

/* args: none. The descriptors (LifeFd) are the caller's. Negative errno, with *ret filled. */
int life_load(char *const args[], LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]);
