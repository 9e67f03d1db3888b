/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The few files of /proc that describe the host. Parsers take one read of the whole file. */

#include <stddef.h>

#include "model/sample.h"

/* /proc/meminfo (Documentation/filesystems/proc.rst): sets the HOST_MEMORY_… and HOST_SWAP_… fields that are
 * there and whole; leaves the others as they were. */
void meminfo_parse(const char *text, Sample *ret);

/* /proc/vmstat: sets HOST_PGSTEAL where pgsteal_kswapd and pgsteal_direct are there and whole. Both count what was
 * reclaimed because the host was short; what is reclaimed at a cgroup's own limit is not in them (mm/vmscan.c). */
void vmstat_parse(const char *text, Sample *ret);

/* The cgroup2 path ("0::/system.slice/cgd.service") of /proc/PID/cgroup, see cgroups(7). -ENOENT where
 * there is no such line, -ENOBUFS where it does not fit; ret is untouched then. */
int proc_cgroup_parse(const char *text, char *ret, size_t size);
