/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */

/* The walk: called by the kernel for each cgroup in one pass, parents first, it writes a record for each.
 *
 * Invariant: a record says only what could be read: whatever this kernel lacks has no bit in `have`. Into a
 * mapped array and not into the iterator's output, because that ends at 32 KiB. One pass at a time runs (the
 * kernel holds cgroup_mutex through it), so the control block may hold the scratch space.
 *
 * Left out on purpose: which word of memcg_vmstats is which line of memory.stat. The kernel knows that in
 * hidden tables that moved and changed width between versions and that only CAP_SYSLOG finds; the daemon
 * finds it out by comparing (stat-search.c) and hands in terms. */

#include <linux/bpf.h>

#include "../kernel.h"
#include "walk-api.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* include/linux/cgroup-defs.h: anonymous enums, so not to be had by name; the same since 5.2. */
#define CSS_ONLINE (1 << 1)
#define CSS_VISIBLE (1 << 3)
#define CGRP_FROZEN 3
/* Without pressure by interrupts. */
#define PSI_STATES 7

/* index -> record, in the order of the walk */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, WalkRecord);
} records SEC(".maps");

/* 0 -> nothing: its place on each CPU tells where per-CPU memory lies, see find_cpus(). */
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, __u64);
} landmark SEC(".maps");

/* Alone in .bss, which the daemon maps as well. */
WalkControl control;

/* The size of records, set before it is loaded. */
const volatile __u32 n_records_max = 1;

/* libbpf before 1.5 looks for a function that the kernel lacks in the modules too, for which it needs
 * CAP_SYS_ADMIN, even where the reference is weak: so there is one object for each way to flush, and the loader
 * takes the one that fits. */
#if defined FLUSH_ALL                   /* 6.1 to 6.15: all statistics of the cgroup and below */
extern void cgroup_rstat_flush(struct cgroup *cgrp) __ksym;
#define flush(cgrp) cgroup_rstat_flush(cgrp)
#elif defined FLUSH_CPU                 /* since: processor times; memory when the root's memory.stat is read */
extern void css_rstat_flush(struct cgroup_subsys_state *css) __ksym;
#define flush(cgrp) css_rstat_flush(&(cgrp)->self)
#else                                   /* when the root's memory.stat is read */
#define flush(cgrp) (void) (cgrp)
#endif

/* bpf_core_field_offset() and _size() of libbpf 1.1 take an expression. */
#define OFFSET(type, member) ((u64) __builtin_preserve_field_info(((type *) 0)->member, BPF_FIELD_BYTE_OFFSET))
#define SIZE(type, member) ((u64) __builtin_preserve_field_info(((type *) 0)->member, BPF_FIELD_BYTE_SIZE))
#define EXISTS(type, member) __builtin_preserve_field_info(((type *) 0)->member, BPF_FIELD_EXISTS)

static __always_inline void set(WalkRecord *r, WalkField f, u64 v) {
        r->value[f] = v;
        r->have |= 1ULL << f;
}

static __always_inline void set_from(WalkRecord *r, WalkField f, const void *base, u64 offset) {
        u64 v;

        if (bpf_probe_read_kernel(&v, sizeof v, base + offset) == 0)
                set(r, f, v);
}

/* The distance from a per-CPU pointer to each CPU's copy. The symbols that hold it are in kallsyms only with
 * KALLSYMS_ALL; a map of our own has both the pointer and the copies. The verifier lets a pointer be used as a
 * number when it has been through memory. */
static long find_cpu(u32 cpu, void *unused) {
        const u32 key = 0;

        if (cpu >= WALK_CPUS_MAX)
                return 1;
        control.scratch = (u64) bpf_map_lookup_percpu_elem(&landmark, &key, cpu);
        barrier();
        if (!control.scratch)
                return 1;
        control.cpu_offset[cpu] = control.scratch - control.landmark;
        return 0;
}

static __always_inline void find_cpus(void) {
        const void *map;

        if (control.landmark || !EXISTS(struct bpf_array, pptrs) || !control.tick_nsec)
                return;
        control.scratch = (u64) &landmark;
        barrier();
        map = (const void *) control.scratch;
        if (bpf_probe_read_kernel(&control.landmark, 8, map + OFFSET(struct bpf_array, pptrs)) < 0)
                return;
        if (bpf_loop(control.n_cpus, find_cpu, NULL, 0) == control.n_cpus)
                control.n_cpus_found = control.n_cpus;
}

/* sched_clock(), which PSI counts in and no helper gives. The run queue's clock is sched_clock() as it was
 * when the scheduler looked last (the daemon has it look just before), never ahead of it: the largest distance
 * to ktime that was seen of late is nearly the true one. NTP moves the two apart by at most 500 ppm, which is
 * what is forgotten. */
static __always_inline void find_clock(void) {
        const struct task_struct *task;
        s64 offset, forget;
        u64 ktime, clock;

        if (!EXISTS(struct rq, clock) || !EXISTS(struct cfs_rq, rq) || !EXISTS(struct sched_entity, cfs_rq))
                return;
        task = (const void *) bpf_get_current_task();
        clock = BPF_CORE_READ(task, se.cfs_rq, rq, clock);
        if (!clock)
                return;
        /* After the clock: what comes between makes the distance smaller, never larger. */
        barrier();
        ktime = bpf_ktime_get_ns();
        offset = clock - ktime;
        forget = (ktime - control.clock_nsec) >> 11;
        if (!control.clock_nsec || offset > control.clock_offset - forget)
                control.clock_offset = offset;
        else
                control.clock_offset -= forget;
        control.clock_nsec = ktime;
}

/* One CPU's share of what a psi_group's totals lack since the kernel summed them up last. Source:
 * kernel/sched/psi.c, get_recent_times() and collect_percpu_times(): each CPU weighs as much as it was not
 * idle.
 *
 * Without the kernel's locks: it moves state_start before the times, and times_prev before the totals, and we
 * read each pair the other way round. So what is lost to a change under our eyes is lost, for this walk, and
 * nothing is counted twice. */
struct psi_pass {
        const void *pcpu;
        u64 now, nonidle_sum;
};

#define CPU_U32(member) (*(u32 *) ((void *) control.cpu + OFFSET(struct psi_group_cpu, member)))
#define CPU_U64(member) (*(u64 *) ((void *) control.cpu + OFFSET(struct psi_group_cpu, member)))

static long psi_add_cpu(u32 cpu, struct psi_pass *p) {
        u64 size = OFFSET(struct psi_group_cpu, times_prev) + 4 * PSI_STATES, start;
        u32 nonidle = 0, open = 0, mask;
        const u32 *times, *before;

        if (cpu >= WALK_CPUS_MAX || size > sizeof control.cpu)
                return 1;
        if (bpf_probe_read_kernel(control.cpu, size, p->pcpu + control.cpu_offset[cpu]) < 0)
                return 1;
        mask = CPU_U32(state_mask);
        start = CPU_U64(state_start);
        times = (const u32 *) ((void *) control.cpu + OFFSET(struct psi_group_cpu, times));
        before = (const u32 *) ((void *) control.cpu + OFFSET(struct psi_group_cpu, times_prev));
        if (p->now > start)
                open = p->now - start;

        nonidle = times[PSI_NONIDLE] - before[PSI_NONIDLE];
        if (mask & (1 << PSI_NONIDLE))
                nonidle += open;
        nonidle /= (u32) control.tick_nsec;
        p->nonidle_sum += nonidle;
        for (int s = 0; s < PSI_NONIDLE; s++) {
                u32 delta = times[s] - before[s];

                if (mask & (1 << s))
                        delta += open;
                control.psi_sum[s] += (u64) delta * nonidle;
        }
        return 0;
}

static __always_inline void read_psi(WalkRecord *r, const struct cgroup *cgrp) {
        struct psi_pass p = { .now = bpf_ktime_get_ns() + control.clock_offset };
        u64 total[PSI_NONIDLE];
        const struct psi_group *group;

        if (!EXISTS(struct cgroup, psi) || !EXISTS(struct psi_group, total) || !EXISTS(struct psi_group_cpu, times_prev) ||
            !control.n_cpus_found || !control.clock_nsec)
                return;
        /* With one more state (pressure by interrupts) the tables have another shape: files. */
        if (bpf_core_enum_value(enum psi_states, PSI_NONIDLE) != PSI_NONIDLE)
                return;
        group = cgrp->psi;
        if (!group || (EXISTS(struct psi_group, enabled) && !group->enabled))
                return;
        for (int s = 0; s < PSI_NONIDLE; s++) {
                total[s] = group->total[s];
                control.psi_sum[s] = 0;
        }
        /* The totals before the CPUs. */
        barrier();
        if (bpf_probe_read_kernel(&p.pcpu, sizeof p.pcpu, (void *) group + OFFSET(struct psi_group, pcpu)) < 0)
                return;
        if (bpf_loop(control.n_cpus_found, psi_add_cpu, &p, 0) != control.n_cpus_found)
                return;
        for (int s = 0; s < PSI_NONIDLE; s++)
                set(r, WALK_IO_SOME + s, total[s] + (p.nonidle_sum ? control.psi_sum[s] / p.nonidle_sum : 0));
}

static __always_inline void read_stat(WalkRecord *r, const void *memcg, u64 id) {
        u64 size = OFFSET(struct memcg_vmstats, events) + SIZE(struct memcg_vmstats, events);
        const void *vmstats;

        if (!EXISTS(struct mem_cgroup, vmstats) || !EXISTS(struct memcg_vmstats, events) ||
            !EXISTS(struct memcg_vmstats, state) || size > sizeof control.words)
                return;
        if (bpf_probe_read_kernel(&vmstats, sizeof vmstats, memcg + OFFSET(struct mem_cgroup, vmstats)) < 0 ||
            bpf_probe_read_kernel(control.words, size, vmstats) < 0)
                return;
        control.n_words = size / 8;
        if (id == control.probe_id)
                __builtin_memcpy(control.probe, control.words, sizeof control.probe);

        for (u32 i = 0; i < WALK_TERMS_MAX; i++) {
                u32 field = control.terms[i].stat, word = control.terms[i].word;

                if (i >= control.n_terms)
                        break;
                /* clang would compare a narrowed copy, of which the verifier does not know that it is the same. */
                barrier_var(field);
                barrier_var(word);
                if (field < WALK_STATS && word < WALK_WORDS_MAX) {
                        s64 v = control.words[word];

                        if (v > 0)
                                r->value[WALK_STAT_FIRST + field] += v;
                }
        }
        r->have |= control.stat_have;
}

static __always_inline void read_memory(WalkRecord *r, const struct cgroup *cgrp, u64 id) {
        u64 index, pointer = OFFSET(struct cgroup, subsys);
        const void *memcg;
        u32 flags;

        if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id) || !EXISTS(struct mem_cgroup, css))
                return;
        index = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
        if (bpf_probe_read_kernel(&memcg, sizeof memcg, (void *) cgrp + pointer + 8 * index) < 0 || !memcg)
                return;
        /* Where only io is enabled, which needs memory, there is one without files: nobody can be held by it. */
        if (bpf_probe_read_kernel(&flags, sizeof flags, memcg + OFFSET(struct cgroup_subsys_state, flags)) < 0 ||
            (r->parent_id && !(flags & CSS_VISIBLE)))
                return;
        memcg -= OFFSET(struct mem_cgroup, css);

        read_stat(r, memcg, id);
        if (!r->parent_id)
                return; /* the root has counters, and no files of these */
        if (EXISTS(struct mem_cgroup, memory)) {
                u64 base = OFFSET(struct mem_cgroup, memory);

                set_from(r, WALK_MEMORY_CURRENT, memcg, base + OFFSET(struct page_counter, usage));
                set_from(r, WALK_MEMORY_HIGH, memcg, base + OFFSET(struct page_counter, high));
                set_from(r, WALK_MEMORY_MAX, memcg, base + OFFSET(struct page_counter, max));
                set_from(r, WALK_MEMORY_LOW, memcg, base + OFFSET(struct page_counter, low));
                set_from(r, WALK_MEMORY_MIN, memcg, base + OFFSET(struct page_counter, min));
        }
        if (EXISTS(struct mem_cgroup, swap)) {
                u64 base = OFFSET(struct mem_cgroup, swap);

                set_from(r, WALK_SWAP_CURRENT, memcg, base + OFFSET(struct page_counter, usage));
                set_from(r, WALK_SWAP_HIGH, memcg, base + OFFSET(struct page_counter, high));
        }
        /* MEMCG_LOW, HIGH, MAX, OOM, OOM_KILL: their order is that of memory.events.local since 5.2. */
        if (EXISTS(struct mem_cgroup, memory_events_local)) {
                u64 events[5];

                if (bpf_probe_read_kernel(events, sizeof events, memcg + OFFSET(struct mem_cgroup, memory_events_local)) == 0)
                        for (int i = 0; i < 5; i++)
                                set(r, WALK_EVENTS_LOW + i, events[i]);
        }
}

SEC("iter.s/cgroup")
int walk(struct bpf_iter__cgroup *ctx) {
        struct cgroup *cgrp = ctx->cgroup;
        WalkRecord *r;
        const struct cgroup_subsys_state *parent;
        u32 i;

        if (!cgrp)
                return 0;
        /* The first of the pass: the daemon has set the count to 0. */
        if (control.n_records == 0) {
                find_clock();
                find_cpus();
                flush(cgrp);
        }
        /* Removed, and kept by the pages it has left. */
        if (!(cgrp->self.flags & CSS_ONLINE))
                return 0;
        i = control.n_records++;
        if (i >= n_records_max)
                return 0;
        r = bpf_map_lookup_elem(&records, &i);
        if (!r)
                return 0;
        __builtin_memset(r, 0, sizeof *r);

        r->id = cgrp->kn->id;
        parent = cgrp->self.parent;
        if (parent)
                r->parent_id = parent->cgroup->kn->id;

        read_memory(r, cgrp, r->id);
        read_psi(r, cgrp);
        if (EXISTS(struct cgroup, bstat) && r->parent_id)
                set(r, WALK_CPU_USAGE, cgrp->bstat.cputime.sum_exec_runtime);
        if (EXISTS(struct cgroup, nr_populated_csets))
                set(r, WALK_POPULATED, cgrp->nr_populated_csets || cgrp->nr_populated_domain_children ||
                                               cgrp->nr_populated_threaded_children);
        set(r, WALK_FROZEN, (cgrp->flags >> CGRP_FROZEN) & 1);
        return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
