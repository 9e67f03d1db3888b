/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Loading: one run of the loader.
 *
 * Invariant: at most one runs at a time, and what was refused once is not asked for again until somebody restarts
 * cgd, so failing is cheap and final. The loop never waits for it.
 *
 * Left out on purpose: libbpf. The loader is a process of its own (bpf/main.c), and hands over bare descriptors. */

#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/macro.h"
#include "sense/loading.h"

static void drop(Loading *l) {
        l->source = sd_event_source_disable_unref(l->source);
        l->pid_fd = safe_close(l->pid_fd);
        l->socket_fd = safe_close(l->socket_fd);
        l->pid = 0;
}

static void stop(Loading *l) {
        if (l->pid > 0) {
                (void) kill(l->pid, SIGKILL);
                (void) waitpid(l->pid, NULL, 0);
        }
        drop(l);
}

int loading_init(Loading *l, sd_event *event, const char *loader, LoadingHandler handler, void *userdata) {
        *l = (Loading) { .socket_fd = -EBADF, .pid_fd = -EBADF, .handler = handler, .userdata = userdata,
                         .reason = "not tried yet" };
        l->loader = strdup(loader);
        if (!l->loader)
                return -ENOMEM;
        l->event = sd_event_ref(event);
        return 0;
}

void loading_done(Loading *l) {
        if (!l->loader)
                return;
        stop(l);
        free(l->loader);
        l->loader = NULL;
        l->event = sd_event_unref(l->event);
}

static int receive(Loading *l) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * LOADER_FDS_MAX)];
        } control = {};
        LoaderAnswer a = {};
        struct iovec iov = { &a, sizeof a };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        int fds[LOADER_FDS_MAX], r = -EIO;
        size_t n_fds = 0;
        struct cmsghdr *h;
        ssize_t n;

        n = recvmsg(l->socket_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        h = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
        /* They are ours from here on, whatever comes of them. */
        if (h && h->cmsg_type == SCM_RIGHTS) {
                n_fds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(fds, CMSG_DATA(h), sizeof(int) * n_fds);
        }
        a.reason[sizeof a.reason - 1] = '\0';
        if (n != (ssize_t) sizeof a)
                (void) snprintf(l->reason, sizeof l->reason, "the loader of the BPF programs ended without an answer");
        else if (a.error < 0) {
                (void) snprintf(l->reason, sizeof l->reason, "%s", a.reason);
                r = a.error;
        } else if (a.n_fds != l->n_fds || n_fds != l->n_fds)
                (void) snprintf(l->reason, sizeof l->reason, "the loader of the BPF programs handed over nothing");
        else {
                r = l->handler(fds, l->userdata);
                if (r < 0)
                        (void) snprintf(l->reason, sizeof l->reason, "the maps of the BPF programs cannot be mapped: %s",
                                        strerror(-r));
        }
        for (size_t i = 0; i < n_fds; i++)
                (void) safe_close(fds[i]);
        return r;
}

static int on_ended(sd_event_source *s _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Loading *l = userdata;
        int r;

        /* It has ended, so this does not wait, and what it had to say is in the socket. */
        (void) waitpid(l->pid, NULL, 0);
        r = receive(l);
        l->refused = r < 0;
        if (r >= 0)
                l->reason[0] = '\0';
        drop(l);
        return 0;
}

int loading_start(Loading *l, const char *feature, const char *const args[], size_t n_fds) {
        posix_spawn_file_actions_t actions;
        char *argv[8] = { (char *) "cgd-bpf", (char *) feature };
        int pair[2], r;

        if (l->pid > 0 || l->refused)
                return 0;
        for (size_t i = 0; args && args[i] && i + 3 < ARRAY_SIZE(argv); i++)
                argv[i + 2] = (char *) args[i];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        r = posix_spawn_file_actions_init(&actions);
        if (r == 0) {
                /* dup2() of a descriptor to itself clears its close-on-exec here as well. */
                r = posix_spawn_file_actions_adddup2(&actions, pair[1], LOADER_FD);
                if (r == 0)
                        r = posix_spawn(&l->pid, l->loader, &actions, NULL, argv,
                                        (char *[]) { (char *) "PATH=/usr/bin", NULL });
                (void) posix_spawn_file_actions_destroy(&actions);
        }
        (void) close(pair[1]);
        l->socket_fd = pair[0];
        l->n_fds = n_fds;
        if (r != 0) {
                l->refused = true;
                l->pid = 0;
                if (r == ENOENT)
                        (void) snprintf(l->reason, sizeof l->reason, "cgd was built without libbpf (there is no %s)", l->loader);
                else
                        (void) snprintf(l->reason, sizeof l->reason, "%s: %s", l->loader, strerror(r));
                drop(l);
                return -r;
        }
        l->pid_fd = pidfd_open(l->pid, 0);
        r = l->pid_fd < 0 ? -errno : sd_event_add_io(l->event, &l->source, l->pid_fd, EPOLLIN, on_ended, l);
        if (r < 0) {
                (void) snprintf(l->reason, sizeof l->reason, "the loader of the BPF programs cannot be followed: %s", strerror(-r));
                stop(l);
                return r;
        }
        (void) snprintf(l->reason, sizeof l->reason, "is being loaded");
        return 0;
}
