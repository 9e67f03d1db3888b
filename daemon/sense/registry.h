/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Registry: the cgroups that are known, as a tree, with the fds kept for reading them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/sample.h"
#include "sense/bpf/walk/walk-api.h"

/* The files that are read of a cgroup. */
typedef enum KnownFile {
        FILE_MEMORY_CURRENT,
        FILE_SWAP_CURRENT,
        FILE_MEMORY_STAT,
        FILE_MEMORY_EVENTS,
        FILE_MEMORY_PRESSURE,
        FILE_IO_PRESSURE,
        FILE_MEMORY_HIGH,
        FILE_SWAP_HIGH,
        FILE_MEMORY_MAX,
        FILE_MEMORY_LOW,
        FILE_MEMORY_MIN,
        FILE_IO_STAT,
        FILE_IO_MAX,
        _KNOWN_FILE_MAX,
} KnownFile;

/* Larger than any of them, but where there are some 80 disks: memory.stat has about 60 lines of 40 bytes, io.stat a line of
 * 100 a device. */
#define KNOWN_TEXT_MAX 8192

/* What a cgroup had taken in at one moment, to measure its intake from. */
typedef struct Mark {
        uint64_t current, swap;         /* bytes */
        uint64_t pgsteal, activate;     /* pages */
        uint64_t reclaim;               /* sum of all counters of reclaim: it stands still where they all do */
        bool have_use, have_stat;
} Mark;

/* What a cgroup did to its disks; only of those that did something. */
typedef struct KnownIo {
        uint64_t usec;                  /* when it was read */
        IoLine stat[IO_DEVICES_MAX], max[IO_DEVICES_MAX];       /* of the devices that it uses most */
        size_t n_stat, n_max;
        IoLine *all;                    /* io.stat of every device, where there are more than these; else NULL */
        size_t n_all;
        uint64_t base, recent;          /* work at the last complete and at the last hot sample; see walk.c */
        uint64_t work;                  /* done between the last two of any kind */
} KnownIo;

/* Of those that are looked at closely. */
typedef struct KnownDetail {
        uint64_t value[CGROUP_DETAILS]; /* as CgroupSample's */
        int fds[_KNOWN_FILE_MAX];       /* -EBADF = not kept */
} KnownDetail;

typedef struct Known Known;

struct Known {
        uint64_t id;
        Known *parent, *children, *next;        /* children sorted by name */
        Known *same_bucket;                     /* of the registry's table */
        unsigned name_offset;
        unsigned n_children;
        unsigned n_left_out;                    /* more that there are in it, but not for us: see registry.c */
        unsigned n_inside;                      /* of a unit: the nodes in it, however deep */
        unsigned depth;
        CgroupKind kind : 8;
        CgroupFlags flags : 8;

        bool gone;                      /* a read said so; registry_sweep() frees it */
        bool unlisted;                  /* its children are to be enumerated whatever the link count says */
        bool no_memory;                 /* the memory controller is not enabled here, so nowhere below */
        bool domain;                    /* the slice of a domain */
        bool holds;                     /* a domain's slice, or a cgroup held or hot, lies below */
        bool limited;                   /* memory.high or swap.high was not "max" when it was read last */
        bool late;                      /* it may have been left out before: nothing tells when it was born … */
        bool holds_late;                /* … nor when those were that the first listing finds in it */

        int dir_fd;                     /* -EBADF = not kept */
        unsigned walk;                  /* number of the walk that met it last */
        unsigned listed;                /* number of the walk whose census had it listed */
        uint32_t stat_pages;            /* memory.current when memory.stat was read last, in pages */
        const WalkRecord *record;       /* of the present walk's census; NULL = it has none */
        uint32_t have;                  /* 1 << CgroupField: known values, maybe of an earlier sample */
        uint32_t fresh;                 /* … of which these stand for the present sample */
        uint64_t use[CGROUP_DETAIL_FIRST];
        KnownDetail *detail;            /* NULL = none; see registry_detail() */
        KnownIo *io;                    /* NULL = none yet */
        unsigned io_walk;               /* number of the walk that .io stands for */
        unsigned stat_walk;             /* number of the walk that read memory.stat last */
        Mark base;                      /* at the last complete sample */
        Mark recent;                    /* at the last hot sample */
        uint64_t hot_until_usec;        /* took in much lately */
        uint64_t held_until_usec;       /* somebody asked for its fd to act on it */
        char path[];                    /* from the hierarchy's root, "/a.slice/b.service" */
};

#define REGISTRY_GONE_MAX 64

typedef struct Registry {
        int root_fd;
        Known *root;
        size_t n_known, known_max;
        size_t n_inside;                /* of them, those that are in a unit */
        Known **buckets;                /* by id */
        size_t n_buckets;               /* a power of two */
        bool trust_links;               /* the file system counts subdirectories in st_nlink */
        bool incomplete;                /* something could not be listed since this was last cleared */
        size_t n_left_out;              /* sum of the nodes'; whoever is in such a one is not counted */
        size_t dirs_kept, dirs_max, files_kept, files_max;
        char *own_cgroup;               /* NULL = not known */
        char **domains;                 /* cgroup paths of the policy's slices */
        uint64_t gone_ids[REGISTRY_GONE_MAX];   /* watched cgroups that went; the sensor empties it */
        size_t n_gone;
} Registry;

/* root: directory of the hierarchy. own_cgroup is copied; NULL is fine. Negative errno where root cannot be
 * opened. */
int registry_init(Registry *g, const char *root, const char *own_cgroup);
void registry_done(Registry *g);

/* The domains' cgroup paths; copied. 0 or -ENOMEM (the old ones stay). */
int registry_set_domains(Registry *g, char *const *paths);

const char *known_name(const Known *n);
const char *registry_file_name(KnownFile f);
Known *registry_find(const Registry *g, uint64_t id);

/* A directory fd of n: the kept one, or one that is opened and kept while there is room, else put into
 * *ret_close for the caller to close. -ENOENT: it is gone, and marked so. */
int registry_dir(Registry *g, Known *n, int *ret_close);

/* Opens and keeps the directory fd even where there is no room for more. */
int registry_hold_dir(Registry *g, Known *n);

/* Reads a file of n into buf (terminated), in one read; `keep` its fd if there is room. Returns the length;
 * -ENOENT: no such file; -ENODEV: n is gone, and marked so; -ENOBUFS: longer than buf, which has its beginning; or another
 * errno. */
int registry_read(Registry *g, Known *n, KnownFile f, bool keep, char *buf, size_t size);

/* Brings n's children up to date with the directory; lists it only where the link count says that
 * something changed or where that cannot be told. Who is beyond the bounds is counted, and no failure. */
void registry_refresh(Registry *g, Known *n);

/* Some that are in the parent have no node and are to be looked for at the heartbeat only: there is no room for more, or the parent
 * is in a unit, where whoever has it can make so many that it takes longer to list them than a hot look may. */
bool registry_lists_later(const Registry *g, Known *parent);

/* Frees those children of n that are marked gone. True if there were any. */
bool registry_sweep(Registry *g, Known *n);

/* Looks again at what an owner can change at any time: xattrs, memory.oom.group. */
void registry_reflag(Registry *g, Known *n);

/* n's details, with room for them from now on; owned by it. NULL when out of memory. */
KnownDetail *registry_detail(Known *n);

/* Drops n's details and closes the kept fds of its files, not of its directory. */
void registry_cool(Registry *g, Known *n);

/* Top-down, parents before children, siblings by name: the one after n, NULL past the last. */
Known *known_next(const Known *n);
