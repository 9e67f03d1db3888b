/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Loads and attaches the walk's program. Of what libbpf says on the way one line is kept: the reason that a
 * person reads. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>

#include "base/macro.h"
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

/* What libbpf complained of first; where the verifier did, its last line before the statistics. */
static char said[160];

static int on_print(enum libbpf_print_level level, const char *format, va_list args) {
        static char text[1 << 16];
        char *p, *line = NULL;

        if (level != LIBBPF_WARN)
                return 0;
        (void) vsnprintf(text, sizeof text, format, args);
        p = strstr(text, "-- BEGIN PROG LOAD LOG --");
        if (!p) {
                if (!said[0])
                        (void) snprintf(said, sizeof said, "%.*s", (int) sizeof said - 1, text);
                return 0;
        }
        for (p = strtok(p, "\n"); p && !startswith(p, "processed "); p = strtok(NULL, "\n"))
                line = p;
        if (line)
                (void) snprintf(said, sizeof said, "%.*s", (int) sizeof said - 1, line);
        return 0;
}

static int fail(LoaderAnswer *ret, int r, const char *what) {
        char *p = said;

        ret->error = r;
        while ((p = strpbrk(p, "\n\r\t")))
                *p = ' ';
        if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
                (void) snprintf(ret->reason, sizeof ret->reason,
                                "this kernel does not describe its types (/sys/kernel/btf/vmlinux: %s)", strerror(errno));
        else if (r == -EPERM)
                (void) snprintf(ret->reason, sizeof ret->reason,
                                "%s: the kernel refuses it the right (CAP_BPF and CAP_PERFMON are missing, or lockdown)", what);
        else
                (void) snprintf(ret->reason, sizeof ret->reason, "%s: %s%s%s", what, strerror(-r), said[0] ? "; " : "", said);
        return r;
}

static void object_closep(struct bpf_object **p) {
        bpf_object__close(*p);
}

static void link_destroyp(struct bpf_link **p) {
        (void) bpf_link__destroy(*p);
}

static int keep(int fd) {
        return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static size_t choose(void) {
        struct btf *btf = btf__load_vmlinux_btf();
        size_t i;

        for (i = 0; variants[i].function; i++)
                if (btf && btf__find_by_name_kind(btf, variants[i].function, BTF_KIND_FUNC) > 0)
                        break;
        btf__free(btf);
        return i;
}

int walk_load(const char *root, unsigned n_records, LoaderAnswer *ret, int ret_fds[static _LOADER_FD_MAX]) {
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

        (void) libbpf_set_print(on_print);
        variant = choose();
        bytes = variants[variant].bytes(&size);
        object = bpf_object__open_mem(bytes, size, &open_opts);
        if (!object)
                return fail(ret, -errno, "the program cannot be opened");
        records = bpf_object__find_map_by_name(object, "records");
        bss = bpf_object__find_map_by_name(object, ".bss");
        rodata = bpf_object__find_map_by_name(object, ".rodata");
        program = bpf_object__find_program_by_name(object, "walk");
        if (!records || !bss || !rodata || !program)
                return fail(ret, -ENOENT, "the program is not what it should be");
        control.flush = variants[variant].flush;
        control.n_cpus = (uint32_t) libbpf_num_possible_cpus();
        /* The coarse clocks advance by a tick: 1 / HZ. */
        if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0)
                control.tick_nsec = (uint64_t) tick.tv_nsec;
        r = bpf_map__set_initial_value(bss, &control, sizeof control);
        if (r >= 0)
                r = bpf_map__set_initial_value(rodata, &n_records, sizeof n_records);
        if (r < 0)
                return fail(ret, r, "the program is not what it should be");
        r = bpf_map__set_max_entries(records, n_records);
        if (r < 0)
                return fail(ret, r, "the records have no room");
        r = bpf_object__load(object);
        if (r < 0)
                return fail(ret, r, "the program cannot be loaded");

        root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0)
                return fail(ret, -errno, "the hierarchy cannot be opened");
        info.cgroup.cgroup_fd = (__u32) root_fd;
        link = bpf_program__attach_iter(program, &opts);
        if (!link)
                return fail(ret, -errno, "the program cannot be attached");

        *ret = (LoaderAnswer) {};
        ret_fds[LOADER_LINK] = keep(bpf_link__fd(link));
        ret_fds[LOADER_RECORDS] = keep(bpf_map__fd(records));
        ret_fds[LOADER_CONTROL] = keep(bpf_map__fd(bss));
        for (size_t i = 0; i < _LOADER_FD_MAX; i++)
                if (ret_fds[i] < 0)
                        return fail(ret, -errno, "no descriptor is left");
        return 0;
}
