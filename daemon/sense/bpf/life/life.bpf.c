/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */

/* Life: says which processes started a program that somebody asked for.
 *
 * Most starts are nobody's business, so all that can be told here is: by the user, the file's name, and whether the
 * process is in somebody's unit. Who is in a service or in a container stays there (scan.c), and a machine that compiles
 * starts thousands of programs a second in one.
 *
 * Left out on purpose: fork and exit. Children are born into the cgroup of their parent, and an empty scope is removed
 * by systemd. */

#include <linux/bpf.h>

#include "../kernel.h"
#include "life-api.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* uid -> 1 */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, LIFE_USERS_MAX);
        __type(key, __u32);
        __type(value, __u8);
} users SEC(".maps");

/* file name -> 1 */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, LIFE_NAMES_MAX);
        __type(key, LifeName);
        __type(value, __u8);
} names SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, LIFE_RING_BYTES);
} starts SEC(".maps");

LifeControl control;

/* In a slice itself, at the root, or in a login session: the daemon looks at the rest of the path. */
static _Bool is_loose(struct task_struct *task) {
        struct cgroup *group = BPF_CORE_READ(task, cgroups, dfl_cgrp);
        LifeName name = {};
        char *t = name.text;
        long n;

        if (BPF_CORE_READ(group, level) == 0)
                return 1;
        n = bpf_probe_read_kernel_str(t, sizeof name.text, BPF_CORE_READ(group, kn, name));
        /* What is cut may be either. */
        if (n <= 6 || n >= (long) sizeof name.text)
                return n > 6;
        n -= 7;         /* where ".slice" would begin */
        if (n >= 0 && n < (long) sizeof name.text - 6) {
                char *s = t + n;

                if (s[0] == '.' && s[1] == 's' && s[2] == 'l' && s[3] == 'i' && s[4] == 'c' && s[5] == 'e')
                        return 1;
        }
        return t[0] == 's' && t[1] == 'e' && t[2] == 's' && t[3] == 's' && t[4] == 'i' && t[5] == 'o' && t[6] == 'n' && t[7] == '-';
}

SEC("raw_tp/sched_process_exec")
int exec(struct bpf_raw_tracepoint_args *args) {
        struct linux_binprm *program = (struct linux_binprm *) args->args[2];
        struct task_struct *task = (struct task_struct *) args->args[0];
        LifeExec *e;
        LifeName name = {};
        __u32 uid = (__u32) bpf_get_current_uid_gid();

        if (!control.all && !bpf_map_lookup_elem(&users, &uid)) {
                if (bpf_probe_read_kernel_str(name.text, sizeof name.text,
                                              BPF_CORE_READ(program, file, f_path.dentry, d_name.name)) <= 0 ||
                    !bpf_map_lookup_elem(&names, &name))
                        return 0;
        }
        if (!is_loose(task))
                return 0;
        e = bpf_ringbuf_reserve(&starts, sizeof *e, 0);
        if (!e) {
                __sync_fetch_and_add(&control.lost, 1);
                return 0;
        }
        e->pid = (__u32) (bpf_get_current_pid_tgid() >> 32);
        e->uid = uid;
        e->nsec = bpf_ktime_get_ns();
        bpf_ringbuf_submit(e, 0);
        return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
