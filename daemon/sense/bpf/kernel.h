/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
#pragma once

/* The members of kernel types that our programs read, and nothing else of them.
 *
 * Invariant: no offset in here means anything: preserve_access_index lets libbpf put in those of the kernel
 * that runs. Written by hand because the machine that builds need not run a kernel with BTF, nor the kernel
 * that cgd will meet; whatever may be missing there is asked for with bpf_core_field_exists() where it is
 * used. Named after the kernel's types, so the house's rules on names do not hold here. */

#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;

/* Elsewhere it is a test that is compiled. */
#ifdef __bpf__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

typedef struct {
        long counter;
} atomic_long_t;

struct kernfs_node {
        const char *name;
        void *priv;                     /* of a directory of cgroups: the cgroup */
        u64 id;
};

struct inode {
        void *i_private;                /* of kernfs: the node */
};

/* Values by name: bpf_core_enum_value() */
enum cgroup_subsys_id {
        memory_cgrp_id,
};

struct cgroup;

struct cgroup_subsys_state {
        unsigned int flags;
        struct cgroup_subsys_state *parent;
        struct cgroup *cgroup;
};

struct task_cputime {
        unsigned long long sum_exec_runtime;
};

struct cgroup_base_stat {
        struct task_cputime cputime;
};

struct psi_group_cpu {
        u32 state_mask;
        u32 times[7];
        u64 state_start;
        u32 times_prev[14];
};

enum psi_states {
        PSI_IO_SOME,
        PSI_NONIDLE = 6,
};

struct psi_group {
        _Bool enabled;
        struct psi_group_cpu *pcpu;
        u64 total[12];
};

struct cgroup {
        struct cgroup_subsys_state self;
        unsigned long flags;
        int nr_populated_csets;
        int nr_populated_domain_children;
        int nr_populated_threaded_children;
        int level;
        struct kernfs_node *kn;
        struct cgroup_subsys_state *subsys[1];
        struct cgroup_base_stat bstat;
        struct psi_group *psi;
};

struct page_counter {
        atomic_long_t usage;
        unsigned long min, low, high, max;
};

struct memcg_vmstats {
        long state[1];
        unsigned long events[1];
};

struct zone {
        atomic_long_t vm_stat[1];
};

/* Values by name. */
enum zone_stat_item {
        NR_FREE_PAGES,
};

enum node_stat_item {
        NR_INACTIVE_FILE,
        NR_ACTIVE_FILE,
};

/* A memory node. */
struct pglist_data {
        struct zone node_zones[1];
        int nr_zones;
        unsigned long totalreserve_pages;
        atomic_long_t vm_stat[1];
};

struct lruvec {
        struct pglist_data *pgdat;
};

struct mem_cgroup_per_node {
        struct lruvec lruvec;
};

struct mem_cgroup {
        struct cgroup_subsys_state css;
        struct page_counter memory;
        struct page_counter swap;
        struct memcg_vmstats *vmstats;
        atomic_long_t memory_events_local[9];
        struct mem_cgroup_per_node *nodeinfo[1];
};

struct rq {
        u64 clock;
};

struct cfs_rq {
        struct rq *rq;
};

struct sched_entity {
        struct cfs_rq *cfs_rq;
};

struct css_set {
        struct cgroup *dfl_cgrp;
};

struct fdtable {
        unsigned int max_fds;
        struct file **fd;
};

struct files_struct {
        struct fdtable *fdt;
};

struct task_struct {
        struct sched_entity se;
        struct css_set *cgroups;
        struct files_struct *files;
        int tgid;
};

struct qstr {
        const unsigned char *name;
};

struct dentry {
        struct qstr d_name;
};

struct path {
        struct dentry *dentry;
};

struct file {
        struct path f_path;
        struct inode *f_inode;
};

struct linux_binprm {
        struct file *file;
};

struct bpf_array {
        void *pptrs[1];
};

struct blkcg {
        struct cgroup_subsys_state css;
};

struct blkcg_gq {
        struct blkcg *blkcg;
};

struct bio {
        struct blkcg_gq *bi_blkg;
};

struct gendisk {
        int major;
        int first_minor;
};

struct request_queue {
        struct gendisk *disk;
};

struct request {
        struct request_queue *q;
        unsigned int cmd_flags;
        unsigned int __data_len;
        u64 start_time_ns;              /* when it was had for this io; 0 where nobody asks */
        struct bio *bio;
};

struct bpf_iter_meta;

struct bpf_iter__cgroup {
        struct bpf_iter_meta *meta;
        struct cgroup *cgroup;
};

#ifdef __bpf__
#pragma clang attribute pop
#endif
