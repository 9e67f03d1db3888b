/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Loads and attaches the walk's program. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>

#include "base/macro.h"
#include "sense/bpf/support.h"
#include "sense/bpf/walk/load.h"
#include "sense/bpf/walk/walk-api.h"

/* Generated; they know the types of walk-api.h. */
#include <walk-all.skel.h>
#include <walk-cpu.skel.h>
#include <walk-none.skel.h>

/* In the order of preference. */
static const struct {
        WalkFlush flush;
        const char *function;           /* that the kernel must have; NULL = none */
        const void *(*bytes)(size_t *ret);
} variants[] = {
        { WALK_FLUSH_ALL, "cgroup_rstat_flush", walk_all__elf_bytes },
        { WALK_FLUSH_CPU, "css_rstat_flush", walk_cpu__elf_bytes },
        { WALK_FLUSH_NONE, NULL, walk_none__elf_bytes },
};

static size_t choose(void) {
        struct btf *btf = btf__load_vmlinux_btf();
        size_t i;

        for (i = 0; variants[i].function; i++)
                if (btf && btf__find_by_name_kind(btf, variants[i].function, BTF_KIND_FUNC) > 0)
                        break;
        btf__free(btf);
        return i;
}

int walk_load(char *const args[], LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]) {
        const char *root = args[0];
        unsigned n_records = (unsigned) strtoul(args[1], NULL, 10);
        _cleanup_(object_closep) struct bpf_object *object = NULL;
        _cleanup_(link_destroyp) struct bpf_link *link = NULL;
        union bpf_iter_link_info info = { .cgroup.order = BPF_CGROUP_ITER_DESCENDANTS_PRE };
        LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof info);
        LIBBPF_OPTS(bpf_object_open_opts, open_opts, .object_name = "cgd_walk");
        _cleanup_close_ int root_fd = -EBADF;
        struct bpf_map *records, *bss, *rodata;
        struct bpf_program *program;
        static WalkControl control;
        struct timespec tick;
        size_t variant, size;
        const void *bytes;
        int r;

        variant = choose();
        bytes = variants[variant].bytes(&size);
        object = bpf_object__open_mem(bytes, size, &open_opts);
        if (!object)
                return support_fail(ret, -errno, "the program cannot be opened");
        records = bpf_object__find_map_by_name(object, "records");
        bss = bpf_object__find_map_by_name(object, ".bss");
        rodata = bpf_object__find_map_by_name(object, ".rodata");
        program = bpf_object__find_program_by_name(object, "walk");
        if (!records || !bss || !rodata || !program)
                return support_fail(ret, -ENOENT, "the program is not what it should be");
        control.flush = variants[variant].flush;
        control.n_cpus = (uint32_t) libbpf_num_possible_cpus();
        /* The coarse clocks advance by a tick: 1 / HZ. */
        if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0)
                control.tick_nsec = (uint64_t) tick.tv_nsec;
        r = bpf_map__set_initial_value(bss, &control, sizeof control);
        if (r >= 0)
                r = bpf_map__set_initial_value(rodata, &n_records, sizeof n_records);
        if (r < 0)
                return support_fail(ret, r, "the program is not what it should be");
        r = bpf_map__set_max_entries(records, n_records);
        if (r < 0)
                return support_fail(ret, r, "the records have no room");
        r = bpf_object__load(object);
        if (r < 0)
                return support_fail(ret, r, "the program cannot be loaded");

        root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                return support_fail(ret, -errno, "the hierarchy cannot be opened");
        info.cgroup.cgroup_fd = (__u32) root_fd;
        link = bpf_program__attach_iter(program, &opts);
        if (!link)
                return support_fail(ret, -errno, "the program cannot be attached");

        return support_keep((int[_WALK_FD_MAX]) {
                        [WALK_LINK] = bpf_link__fd(link),
                        [WALK_RECORDS] = bpf_map__fd(records),
                        [WALK_CONTROL] = bpf_map__fd(bss),
                }, _WALK_FD_MAX, ret, ret_fds);
}
