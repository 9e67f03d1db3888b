/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* cgd-bpf: loads a program into the kernel, hands its descriptors to the daemon that started it, and ends.
 *
 * A program of its own because reading the kernel's types takes 20 MiB and a second for a moment, libbpf and
 * libelf for good: the daemon's memory is locked, and its loop must not wait. What it hands over works
 * without libbpf. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sense/bpf/walk/load.h"

static int answer(const LoaderAnswer *a, const int *fds) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * _LOADER_FD_MAX)];
        } control = {};
        struct iovec iov = { (void *) a, sizeof *a };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (a->error == 0) {
                m.msg_control = &control;
                m.msg_controllen = sizeof control;
                control.header = (struct cmsghdr) {
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * _LOADER_FD_MAX) };
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * _LOADER_FD_MAX);
        }
        return sendmsg(LOADER_FD, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int main(int argc, char *argv[]) {
        int fds[_LOADER_FD_MAX] = {}, r;
        LoaderAnswer a = {};
        unsigned long n;
        char *end;

        if (argc != 3 || (n = strtoul(argv[2], &end, 10)) == 0 || *end || n > 1000000) {
                (void) fprintf(stderr, "usage: cgd-bpf HIERARCHY RECORDS\nStarted by cgd, with a socket as descriptor %d.\n", LOADER_FD);
                return 2;
        }
        (void) walk_load(argv[1], (unsigned) n, &a, fds);
        r = answer(&a, fds);
        if (r < 0)
                (void) fprintf(stderr, "cgd-bpf: cannot answer: %s\n", strerror(-r));
        return r < 0 || a.error < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
