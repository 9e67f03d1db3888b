/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/str.h"
#include "sense/bpf/support.h"

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

void support_init(void) {
        (void) libbpf_set_print(on_print);
}

int support_fail(LoaderAnswer *ret, int r, const char *what) {
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

void object_closep(struct bpf_object **p) {
        bpf_object__close(*p);
}

void link_destroyp(struct bpf_link **p) {
        (void) bpf_link__destroy(*p);
}

int support_keep(const int *fds, unsigned n, LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]) {
        for (unsigned i = 0; i < n; i++) {
                ret_fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, LOADER_FD + 1);
                if (ret_fds[i] < 0)
                        return support_fail(ret, -errno, "no descriptor is left");
        }
        *ret = (LoaderAnswer) { .n_fds = n };
        return 0;
}
