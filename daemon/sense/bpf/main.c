/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* cgd-bpf: loads a feature's programs into the kernel, hands its descriptors to the daemon that started it, and ends.
 *
 * A program of its own because reading the kernel's types takes 20 MiB and a second for a moment, libbpf and
 * libelf for good: the daemon's memory is locked, and its loop must not wait. What it hands over works
 * without libbpf. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/macro.h"
#include "base/str.h"
#include "sense/bpf/iocredit/load.h"
#include "sense/bpf/life/load.h"
#include "sense/bpf/memwatch/load.h"
#include "sense/bpf/support.h"
#include "sense/bpf/walk/load.h"

/* A row a feature. */
static const struct {
        const char *name;
        int n_args;
        int (*load)(char *const args[], LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]);
} features[] = {
        { "walk", 2, walk_load },
        { "memwatch", 0, memwatch_load },
        { "life", 0, life_load },
        { "iocredit", 0, iocredit_load },
};

static int answer(const LoaderAnswer *a, const int *fds) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * LOADER_FDS_MAX)];
        } control = {};
        struct iovec iov = { (void *) a, sizeof *a };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (a->error == 0) {
                m.msg_control = &control;
                m.msg_controllen = CMSG_SPACE(sizeof(int) * a->n_fds);
                control.header = (struct cmsghdr) {
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * a->n_fds) };
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * a->n_fds);
        }
        return sendmsg(LOADER_FD, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int main(int argc, char *argv[]) {
        int fds[LOADER_FDS_MAX] = {}, r;
        LoaderAnswer a = {};

        for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(features); i++) {
                if (!streq(argv[1], features[i].name) || argc - 2 != features[i].n_args)
                        continue;
                support_init();
                /* cgd's own priority is not for this. */
                (void) setpriority(PRIO_PROCESS, 0, 10);
                (void) features[i].load(argv + 2, &a, fds);
                r = answer(&a, fds);
                if (r < 0)
                        (void) fprintf(stderr, "cgd-bpf: cannot answer: %s\n", strerror(-r));
                return r < 0 || a.error < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        }
        (void) fprintf(stderr, "usage: cgd-bpf walk HIERARCHY RECORDS | memwatch | life | iocredit\n"
                               "Started by cgd, with a socket as descriptor %d.\n", LOADER_FD);
        return 2;
}
