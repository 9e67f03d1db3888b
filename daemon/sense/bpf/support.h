/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What loading has in common, whatever is loaded. */

#include <bpf/libbpf.h>

#include "sense/bpf/loader.h"

/* Of what libbpf says from now on one line is kept: the reason that a person reads. */
void support_init(void);

/* Fills *ret with what failed and why, as far as it is known; returns r. */
int support_fail(LoaderAnswer *ret, int r, const char *what);

/* Duplicates n descriptors into ret_fds, so that they outlive the object. Negative errno, with *ret filled. */
int support_keep(const int *fds, unsigned n, LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]);

void object_closep(struct bpf_object **p);
void link_destroyp(struct bpf_link **p);
