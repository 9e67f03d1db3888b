/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */

/* The watch: looks a few times a second, inside the kernel, at the machine's free memory and at what the limits of some
 * slices leave, and wakes the daemon when it would be gone within seconds; and when the kernel kills somebody for want of
 * it. Between two heartbeats a leak takes all there is; the daemon, which sleeps, would see it when the kernel first stalls.
 *
 * It wakes and does not judge: what it counts is simpler than MemAvailable (no watermarks, no slabs), and the daemon
 * looks for itself. A look takes a few microseconds of one CPU, and the less there is the more often it comes.
 *
 * The nodes' counters have names in no table that a program may read without CAP_SYSLOG; so they are found from where
 * every memory cgroup points to them. A node, once there, stays. A slice does not: its address is no more than where to look,
 * with reads that may fail, and what is found there must say that it is still the same cgroup. Page cache that fills a limit
 * wakes for nothing, and once it is full a leak that drives it out is not seen here: which pages of a slice are cache the
 * kernel sums up only every two seconds. */

#include <linux/errno.h>
#include <linux/bpf.h>

#include "../kernel.h"
#include "memwatch-api.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC 1000000000ULL
#define ZONES_MAX 8
/* include/uapi/linux/time.h */
#define CLOCK_MONOTONIC 1

#define PERIOD_MIN_NSEC (100 * NSEC_PER_MSEC)
#define PERIOD_MAX_NSEC NSEC_PER_SEC
/* Bytes a nanosecond: it looks again before all would be gone at eight times the rate of one CPU that clears pages. */
#define FASTEST 8
/* The slope is taken over this, once to twice. */
#define ANCHOR_NSEC (250 * NSEC_PER_MSEC)
/* It would be gone within this: twice what the shipped policies ask about. */
#define LASTS_NSEC (4 * NSEC_PER_SEC)
#define AGAIN_NSEC NSEC_PER_SEC

typedef struct Watch {
        struct bpf_timer timer;
} Watch;

/* 0 -> the timer; it runs as long as somebody holds a descriptor of this map. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, Watch);
} watches SEC(".maps");

/* MemwatchMessage. A page, which the loader knows the size of. */
struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 4096);
} messages SEC(".maps");

const volatile MemwatchConfig config;

/* Points of a slope. */
typedef struct Slope {
        __u64 older_nsec, older_pages, newer_nsec, newer_pages;
} Slope;

typedef struct Slice {
        __u64 memcg;                    /* address; 0 = nobody is watched here */
        __u64 id;
        Slope slope;
} Slice;

/* place -> slice */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, MEMWATCH_SLICES_MAX);
        __type(key, __u32);
        __type(value, Slice);
} slices SEC(".maps");

static __u64 nodes[MEMWATCH_NODES_MAX];
static Slope machine;
static __u64 woke_nsec;

static __s64 counter(__u64 array, __u64 i) {
        __s64 n = 0;

        (void) bpf_probe_read_kernel(&n, sizeof n, (const void *) (array + i * sizeof n));
        return n;
}

static __s64 node_pages(__u64 node) {
        struct pglist_data *p = (struct pglist_data *) node;
        __u64 zones = node + bpf_core_field_offset(struct pglist_data, node_zones);
        __u64 stat = node + bpf_core_field_offset(struct pglist_data, vm_stat);
        int n_zones = BPF_CORE_READ(p, nr_zones);
        __s64 pages;

        pages = counter(stat, bpf_core_enum_value(enum node_stat_item, NR_INACTIVE_FILE)) +
                counter(stat, bpf_core_enum_value(enum node_stat_item, NR_ACTIVE_FILE)) -
                (__s64) BPF_CORE_READ(p, totalreserve_pages);
        for (int i = 0; i < ZONES_MAX && i < n_zones; i++)
                pages += counter(zones + i * bpf_core_type_size(struct zone) + bpf_core_field_offset(struct zone, vm_stat),
                                 bpf_core_enum_value(enum zone_stat_item, NR_FREE_PAGES));
        return pages;
}

static __u64 available_pages(void) {
        __s64 pages = 0;

        for (__u32 i = 0; i < MEMWATCH_NODES_MAX && i < config.n_nodes; i++)
                if (nodes[i])
                        pages += node_pages(nodes[i]);
        return pages > 0 ? pages : 0;
}

/* pages are left of so many. */
static __always_inline void judge(Slope *s, __u64 now, __u64 pages, __u64 total) {
        __u64 usec = (now - s->older_nsec) / 1000, fallen;

        if (s->older_nsec == 0) {
                s->older_nsec = s->newer_nsec = now;
                s->older_pages = s->newer_pages = pages;
                return;
        }
        fallen = s->older_pages > pages ? s->older_pages - pages : 0;
        /* A fifth of a percent of it all is what ordinary starts and stops move. */
        if (fallen && fallen >= total / 512 && pages * usec / fallen < LASTS_NSEC / 1000 && now - woke_nsec >= AGAIN_NSEC) {
                MemwatchMessage m = { .news = MEMWATCH_FALLS };

                woke_nsec = now;
                (void) bpf_ringbuf_output(&messages, &m, sizeof m, BPF_RB_FORCE_WAKEUP);
        }
        if (now - s->newer_nsec >= ANCHOR_NSEC) {
                s->older_nsec = s->newer_nsec;
                s->older_pages = s->newer_pages;
                s->newer_nsec = now;
                s->newer_pages = pages;
        }
}

/* The least of what all slices that are watched have left. */
static __u64 look_at_slices(__u64 now) {
        __u64 least = ~0ULL;

        for (__u32 i = 0; i < MEMWATCH_SLICES_MAX; i++) {
                __u32 key = i;
                Slice *s = bpf_map_lookup_elem(&slices, &key);
                struct mem_cgroup *memcg;
                __u64 limit, high, used, left;

                if (!s || !s->memcg)
                        continue;
                memcg = (struct mem_cgroup *) s->memcg;
                if (BPF_CORE_READ(memcg, css.cgroup, kn, id) != s->id) {
                        s->memcg = 0;
                        continue;
                }
                limit = BPF_CORE_READ(memcg, memory.max);
                high = BPF_CORE_READ(memcg, memory.high);
                limit = high < limit ? high : limit;
                if (limit >= config.total_pages) {
                        s->slope.older_nsec = 0;
                        continue;
                }
                used = BPF_CORE_READ(memcg, memory.usage.counter);
                left = used < limit ? limit - used : 0;
                judge(&s->slope, now, left, limit);
                least = left < least ? left : least;
        }
        return least;
}

static int look(void *map, __u32 *key, Watch *w) {
        __u64 now = bpf_ktime_get_ns(), pages = available_pages(), least, period;

        judge(&machine, now, pages, config.total_pages);
        least = look_at_slices(now);
        pages = least < pages ? least : pages;
        period = pages * config.page_bytes / FASTEST;
        period = period < PERIOD_MIN_NSEC ? PERIOD_MIN_NSEC : period > PERIOD_MAX_NSEC ? PERIOD_MAX_NSEC : period;
        (void) bpf_timer_start(&w->timer, period, 0);
        return 0;
}

/* The memory cgroup of a cgroup, 0 where it has none. */
static __always_inline __u64 memcg_of(struct cgroup *group) {
        __u64 subsys = (__u64) group + bpf_core_field_offset(struct cgroup, subsys), memcg;

        memcg = counter(subsys, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
        return memcg ? memcg - bpf_core_field_offset(struct mem_cgroup, css) : 0;
}

/* Run by the daemon; MemwatchFollowed. */
SEC("syscall")
int follow(MemwatchFollow *f) {
        struct task_struct *task = (struct task_struct *) bpf_get_current_task();
        struct fdtable *table = BPF_CORE_READ(task, files, fdt);
        struct kernfs_node *node;
        struct file *file = NULL;
        __u32 place = f->place;
        Slice *s;

        s = bpf_map_lookup_elem(&slices, &place);
        if (!s)
                return -ENOENT;
        s->memcg = 0;
        if (f->fd < 0)
                return MEMWATCH_FOLLOWED;
        if ((__u32) f->fd >= BPF_CORE_READ(table, max_fds) ||
            bpf_probe_read_kernel(&file, sizeof file, BPF_CORE_READ(table, fd) + (__u32) f->fd) < 0 || !file)
                return MEMWATCH_NO_SUCH_CGROUP;
        node = BPF_CORE_READ(file, f_inode, i_private);
        if (!node || BPF_CORE_READ(node, id) != f->cgroup_id)
                return MEMWATCH_NO_SUCH_CGROUP;
        s->id = f->cgroup_id;
        s->slope.older_nsec = 0;
        s->memcg = memcg_of((struct cgroup *) BPF_CORE_READ(node, priv));
        return s->memcg ? MEMWATCH_FOLLOWED : MEMWATCH_NO_MEMORY;
}

/* mark_victim(int pid), and since 6.8 mark_victim(struct task_struct *task, uid_t uid). */
SEC("raw_tp/mark_victim")
int victim(struct bpf_raw_tracepoint_args *args) {
        __u64 who = args->args[0];
        MemwatchMessage m = { .news = MEMWATCH_OOM, .pid = (__u32) who };

        if (who >> 32)
                m.pid = (__u32) BPF_CORE_READ((struct task_struct *) who, tgid);
        (void) bpf_ringbuf_output(&messages, &m, sizeof m, BPF_RB_FORCE_WAKEUP);
        return 0;
}

/* Run once by the loader; MemwatchStart. */
SEC("syscall")
int start(void *unused) {
        struct task_struct *task = (struct task_struct *) bpf_get_current_task();
        __u64 memcg = memcg_of(BPF_CORE_READ(task, cgroups, dfl_cgrp)), per_node;
        __u32 zero = 0, found = 0;
        Watch *w;
        long r;

        if (!memcg)
                return MEMWATCH_NO_CONTROLLER;
        per_node = memcg + bpf_core_field_offset(struct mem_cgroup, nodeinfo);
        for (__u32 i = 0; i < MEMWATCH_NODES_MAX && i < config.n_nodes; i++) {
                struct mem_cgroup_per_node *n = (struct mem_cgroup_per_node *) counter(per_node, i);

                nodes[i] = n ? (__u64) BPF_CORE_READ(n, lruvec.pgdat) : 0;
                found += nodes[i] != 0;
        }
        if (!found)
                return MEMWATCH_NO_NODE;
        w = bpf_map_lookup_elem(&watches, &zero);
        if (!w)
                return -ENOENT;
        r = bpf_timer_init(&w->timer, &watches, CLOCK_MONOTONIC);
        if (r == 0)
                r = bpf_timer_set_callback(&w->timer, look);
        if (r == 0)
                r = bpf_timer_start(&w->timer, 0, 0);
        return r < 0 ? (int) r : MEMWATCH_STARTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
