/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A cgroup is its id and a held directory fd, never a path. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/io.h"

typedef enum CgroupHierarchy {
        HIERARCHY_UNIFIED,              /* cgroup2 alone at /sys/fs/cgroup */
        HIERARCHY_HYBRID,               /* cgroup v1 with a cgroup2 beside it: cgd refuses to start */
        HIERARCHY_LEGACY,
        HIERARCHY_NONE,
} CgroupHierarchy;

/* What is mounted at root ("/sys/fs/cgroup"; injected by tests). Negative errno where it cannot be told. */
int cgroup_hierarchy(const char *root, CgroupHierarchy *ret);

/* Opens the directory at path ("/a.slice") below root_fd: O_PATH is not used, files are opened relative to
 * it. -ENOENT where it is not there; `..` is refused with -EINVAL. Returns an fd that the caller closes. */
int cgroup_open(int root_fd, const char *path);

/* The kernfs id: name_to_handle_at(2)'s 64-bit file handle, which BPF and cgroup events use too; on a fake
 * tree (no handle of that kind) the inode number. */
int cgroup_id(int dir_fd, uint64_t *ret);

/* True where the directory still is the cgroup `id`: not removed, not another one under the same name. */
bool cgroup_is_alive(int dir_fd, uint64_t id);

/* One number of a flat keyed file (memory.stat, memory.events, cgroup.events: "KEY VALUE\n" lines, see
 * Documentation/admin-guide/cgroup-v2.rst, "Interface Files"). text is one read of the whole file. False,
 * and *ret untouched, where the key is missing, its value is no number, or its line was cut off before
 * the newline. */
bool cgroup_keyed_get(const char *text, const char *key, uint64_t *ret);

/* Many keys in one pass: sets bit i of the returned mask and ret_values[i] for each keys[i] that was
 * found. */
uint32_t cgroup_keyed_scan(const char *text, const char *const *keys, size_t n_keys, uint64_t *ret_values);

/* io.stat: "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0", a line a device. Takes those
 * with all four counters, at most size of them, and returns how many; a device that is left out says nothing, and
 * other words of a line (dbytes, cost.usage) are passed over. */
size_t cgroup_io_stat_parse(const char *text, IoLine *ret, size_t size);

/* io.max: "8:16 rbps=2097152 wbps=max riops=max wiops=120". As above; "max" is LIMIT_MAX. */
size_t cgroup_io_max_parse(const char *text, IoLine *ret, size_t size);

/* A file of one number, or "max" (LIMIT_MAX): memory.current, memory.high. text is one read of the whole
 * file. -EINVAL for anything else; a text without its newline was cut off and is refused too. */
int cgroup_limit_parse(const char *text, uint64_t *ret);
