/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Sample: what sense saw at one moment. A table of cgroups with their counters, and the host.
 *
 * Invariant: rows are in the order of a walk from the top down and depth first: what is in a cgroup follows it, siblings
 * by name. A field that could not be read is absent (its bit in `have` is clear), never zero. A row is
 * absent where the cgroup was not looked at in this sample: absence says nothing about the cgroup. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/io-credit.h"
#include "model/io.h"

/* Sources: Documentation/admin-guide/cgroup-v2.rst ("Memory Interface Files"), accounting/psi.rst. */
typedef enum CgroupField {
        CGROUP_MEMORY_CURRENT,          /* bytes */
        CGROUP_SWAP_CURRENT,            /* bytes */
        CGROUP_PGSTEAL,                 /* pages, ever (memory.stat) */
        CGROUP_PGSCAN,                  /* pages, ever */
        CGROUP_WORKINGSET_REFAULT,      /* pages, ever, anon + file */
        CGROUP_WORKINGSET_ACTIVATE,     /* pages, ever: fetched back (workingset_refault_anon + _activate_file) */
        /* Bytes that can be dropped: active_file and inactive_file, which shared memory is not in, and swapcached, which has its
         * place in swap still, and is in both of the first two (memory.stat). */
        CGROUP_CACHE,
        CGROUP_FILE_DIRTY,              /* … that are still to be written */
        CGROUP_FILE_WRITEBACK,          /* … and that are being written */
        CGROUP_DETAIL_FIRST,            /* from here on: only of those that are looked at closely */
        CGROUP_MEMORY_HIGH = CGROUP_DETAIL_FIRST,       /* bytes, LIMIT_MAX for "max" */
        CGROUP_SWAP_HIGH,               /* bytes, LIMIT_MAX for "max" */
        CGROUP_MEMORY_MAX,              /* bytes, LIMIT_MAX for "max" */
        CGROUP_MEMORY_LOW,              /* bytes, LIMIT_MAX for "max" */
        CGROUP_MEMORY_MIN,              /* bytes, LIMIT_MAX for "max" */
        CGROUP_EVENTS_HIGH,             /* memory.events.local, ever: times that it ran into its memory.high … */
        CGROUP_EVENTS_MAX,              /* … and into its memory.max */
        CGROUP_MEMORY_SOME,             /* usec of stall, ever (memory.pressure total=) */
        CGROUP_MEMORY_FULL,
        CGROUP_IO_SOME,
        CGROUP_IO_FULL,
        _CGROUP_FIELD_MAX,
} CgroupField;
#define CGROUP_DETAILS (_CGROUP_FIELD_MAX - CGROUP_DETAIL_FIRST)

typedef enum HostField {
        HOST_MEMORY_TOTAL,              /* bytes, all of /proc/meminfo */
        HOST_MEMORY_AVAILABLE,
        HOST_SWAP_TOTAL,
        HOST_SWAP_FREE,
        HOST_MEMORY_SOME,               /* usec of stall, ever (/proc/pressure) */
        HOST_MEMORY_FULL,
        HOST_IO_SOME,
        HOST_IO_FULL,
        HOST_PGSTEAL,                   /* pages reclaimed for want of memory, not at a cgroup's limit (/proc/vmstat) */
        _HOST_FIELD_MAX,
} HostField;

/* What a cgroup is to systemd. Only units (and cgroups with oom.group, and leaves outside systemd's
 * tree) are acted on alone; a slice is acted on where nothing smaller is responsible. */
typedef enum CgroupKind {
        CGROUP_KIND_ROOT,
        CGROUP_KIND_SLICE,
        CGROUP_KIND_UNIT,               /* service or scope */
        CGROUP_KIND_INNER,              /* below a unit: delegated */
        CGROUP_KIND_FOREIGN,            /* made by somebody else than systemd, outside any unit */
} CgroupKind;

typedef enum CgroupFlags {
        CGROUP_PROTECTED = 1 << 0,      /* PID 1, cgd, the D-Bus broker, journald, logind, udevd: never touched */
        CGROUP_OMIT      = 1 << 1,      /* ManagedOOMPreference=omit (xattr user.oomd_omit) */
        CGROUP_AVOID     = 1 << 2,      /* ManagedOOMPreference=avoid (xattr user.oomd_avoid): ranks last */
        CGROUP_OOM_GROUP = 1 << 3,      /* memory.oom.group=1, and it was not delegated to another user */
} CgroupFlags;

typedef struct CgroupSample {
        uint64_t id;                    /* kernfs id of the directory (name_to_handle_at) */
        uint64_t parent_id;             /* 0 for the root */
        const char *path;               /* from the hierarchy's root: "/", "/a.slice/b.service"; borrowed */
        CgroupKind kind;
        CgroupFlags flags;
        uint32_t have;                  /* 1 << CgroupField */
        uint8_t n_io, n_io_max;
        bool io_chosen;                 /* there are more devices than these, which may be others the next time */
        bool closed;                    /* what is in it was not looked at this time, and has no rows */
        bool late;                      /* it may be older than its first row by more than a sample: it was left out before */
        uint64_t *use, *detail;         /* the fields up to CGROUP_DETAIL_FIRST, and from it on, borrowed; detail may be NULL */
        /* io.stat and io.max, borrowed; NULL = not read. A device without io, or without a limit, has no line. */
        const IoLine *io, *io_max;
        uint64_t io_usec;               /* CLOCK_MONOTONIC when io.stat was read: rates are made of it, and a walk takes time */
} CgroupSample;

typedef struct Sample {
        uint64_t usec;                  /* CLOCK_MONOTONIC when the walk began */
        uint32_t host_have;             /* 1 << HostField */
        uint64_t host[_HOST_FIELD_MAX];
        const CgroupSample *cgroups;
        size_t n_cgroups;
        bool all;                       /* every cgroup was to be looked at … */
        bool complete;                  /* … and has a row, but for those that are left out on purpose (sense/registry.c) */
        const IoCredit *credit;         /* borrowed; NULL = who waits for whom is not measured */
} Sample;

/* True, and the value, where the field was read. */
static inline bool cgroup_sample_get(const CgroupSample *c, CgroupField f, uint64_t *ret) {
        if (!(c->have & (UINT32_C(1) << f)))
                return false;
        *ret = f < CGROUP_DETAIL_FIRST ? c->use[f] : c->detail[f - CGROUP_DETAIL_FIRST];
        return true;
}

/* The row must have room for it. */
static inline void cgroup_sample_set(CgroupSample *c, CgroupField f, uint64_t v) {
        c->have |= UINT32_C(1) << f;
        *(f < CGROUP_DETAIL_FIRST ? &c->use[f] : &c->detail[f - CGROUP_DETAIL_FIRST]) = v;
}

static inline bool sample_host_get(const Sample *s, HostField f, uint64_t *ret) {
        if (!(s->host_have & (UINT32_C(1) << f)))
                return false;
        *ret = s->host[f];
        return true;
}

static inline void sample_host_set(Sample *s, HostField f, uint64_t v) {
        s->host_have |= UINT32_C(1) << f;
        s->host[f] = v;
}
