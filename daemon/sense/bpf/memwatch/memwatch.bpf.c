/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */

/* The watch: looks at the machine's free memory a few times a second, inside the kernel, and wakes the daemon when it
 * would be gone within seconds. Between two heartbeats a leak takes all there is; the daemon, which sleeps, would
 * see it when the kernel first stalls.
 *
 * It wakes and does not judge: what it counts is simpler than MemAvailable (no watermarks, no slabs), and the daemon
 * looks for itself. A look takes a few microseconds of one CPU, and the less there is the more often it comes.
 *
 * The nodes' counters have names in no table that a program may read without CAP_SYSLOG; so they are found from where
 * every memory cgroup points to them. A node, once there, stays. */

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

/* What it says means nothing: that something is said wakes the daemon. A page, which the loader knows the size of. */
struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, 4096);
} wakes SEC(".maps");

const volatile MemwatchConfig config;

static __u64 nodes[MEMWATCH_NODES_MAX];
/* Points of the slope: nanoseconds, pages. */
static __u64 older_nsec, older_pages, newer_nsec, newer_pages, woke_nsec;

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

static void judge(__u64 now, __u64 pages) {
        __u64 usec = (now - older_nsec) / 1000, fallen;

        if (older_nsec == 0) {
                older_nsec = newer_nsec = now;
                older_pages = newer_pages = pages;
                return;
        }
        fallen = older_pages > pages ? older_pages - pages : 0;
        /* A fifth of a percent of the machine is what ordinary starts and stops move. */
        if (fallen >= config.total_pages / 512 && pages * usec / fallen < LASTS_NSEC / 1000 && now - woke_nsec >= AGAIN_NSEC) {
                __u64 wake = 1;

                woke_nsec = now;
                (void) bpf_ringbuf_output(&wakes, &wake, sizeof wake, BPF_RB_FORCE_WAKEUP);
        }
        if (now - newer_nsec >= ANCHOR_NSEC) {
                older_nsec = newer_nsec;
                older_pages = newer_pages;
                newer_nsec = now;
                newer_pages = pages;
        }
}

static int look(void *map, __u32 *key, Watch *w) {
        __u64 pages = available_pages(), period;

        judge(bpf_ktime_get_ns(), pages);
        period = pages * config.page_bytes / FASTEST;
        period = period < PERIOD_MIN_NSEC ? PERIOD_MIN_NSEC : period > PERIOD_MAX_NSEC ? PERIOD_MAX_NSEC : period;
        (void) bpf_timer_start(&w->timer, period, 0);
        return 0;
}

/* Run once by the loader; MemwatchStart. */
SEC("syscall")
int start(void *unused) {
        struct task_struct *task = (struct task_struct *) bpf_get_current_task();
        struct cgroup *group = BPF_CORE_READ(task, cgroups, dfl_cgrp);
        __u64 subsys = (__u64) group + bpf_core_field_offset(struct cgroup, subsys), memcg, per_node;
        __u32 zero = 0, found = 0;
        Watch *w;
        long r;

        memcg = counter(subsys, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
        if (!memcg)
                return MEMWATCH_NO_CONTROLLER;
        memcg -= bpf_core_field_offset(struct mem_cgroup, css);
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
