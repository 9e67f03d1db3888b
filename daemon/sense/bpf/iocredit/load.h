/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loads and attaches the io credit's programs. */

#include "sense/bpf/loader.h"

/* args: none. The descriptors (CreditFd) are the caller's. Negative errno, with *ret filled. */
int iocredit_load(char *const args[], LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]);
