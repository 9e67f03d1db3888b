/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Census: every cgroup's record in one call into the kernel.
 *
 * Invariant: either there is a program with both its maps, or none of the three and a reason. Failing is
 * cheap and final: what was refused once is not tried again until somebody restarts cgd, and files do.
 *
 * Left out on purpose: libbpf. The loader is a process of its own (bpf/main.c); here are bare descriptors
 * and one system call. */

#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/bpf/loader.h"
#include "sense/census.h"

static size_t page_round(size_t n) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);

        return (n + page - 1) / page * page;
}

static size_t records_bytes(size_t n) {
        return page_round(n * sizeof(WalkRecord));
}

size_t census_bytes(const Census *c) {
        return c->link_fd < 0 ? 0 : records_bytes(c->n_max) + page_round(sizeof(WalkControl));
}

static void unload(Census *c) {
        if (c->records)
                (void) munmap((void *) c->records, records_bytes(c->n_max));
        if (c->control)
                (void) munmap(c->control, page_round(sizeof(WalkControl)));
        c->records = NULL;
        c->control = NULL;
        c->link_fd = safe_close(c->link_fd);
        c->n = c->n_max = 0;
}

static void loader_drop(Census *c) {
        c->source = sd_event_source_disable_unref(c->source);
        c->pid_fd = safe_close(c->pid_fd);
        c->socket_fd = safe_close(c->socket_fd);
        c->pid = 0;
}

static int pass(Census *c);

int census_init(Census *c, sd_event *event, const char *root, const char *loader) {
        *c = (Census) { .event = sd_event_ref(event), .socket_fd = -EBADF, .pid_fd = -EBADF, .link_fd = -EBADF, .pass = pass,
                        .reason = "not tried yet" };
        c->root = strdup(root);
        c->loader = strdup(loader);
        if (c->root && c->loader)
                return 0;
        census_done(c);
        return -ENOMEM;
}

void census_done(Census *c) {
        if (c->pid > 0) {
                (void) kill(c->pid, SIGKILL);
                (void) waitpid(c->pid, NULL, 0);
        }
        loader_drop(c);
        unload(c);
        free(c->root);
        free(c->loader);
        c->root = c->loader = NULL;
        c->event = sd_event_unref(c->event);
}

/* Takes over what the loader sent; fds are closed or owned afterwards. */
static int adopt(Census *c, int fds[static _LOADER_FD_MAX]) {
        size_t control_bytes = page_round(sizeof(WalkControl));
        void *control = MAP_FAILED, *records = MAP_FAILED;
        int r = 0;

        control = mmap(NULL, control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[LOADER_CONTROL], 0);
        if (control != MAP_FAILED)
                records = mmap(NULL, records_bytes(c->asked), PROT_READ, MAP_SHARED, fds[LOADER_RECORDS], 0);
        if (records == MAP_FAILED) {
                r = -errno;
                if (control != MAP_FAILED)
                        (void) munmap(control, control_bytes);
        } else {
                const WalkControl *old = c->control;
                WalkControl *new = control;

                /* A larger map knows what the smaller one had learnt. */
                if (old) {
                        memcpy(new->terms, old->terms, sizeof new->terms);
                        new->n_terms = old->n_terms;
                        new->stat_have = old->stat_have;
                        new->probe_id = old->probe_id;
                }
                unload(c);
                c->control = control;
                c->records = records;
                c->n_max = c->asked;
                c->link_fd = TAKE_FD(fds[LOADER_LINK]);
        }
        for (size_t i = 0; i < _LOADER_FD_MAX; i++)
                fds[i] = safe_close(fds[i]);
        return r;
}

static int receive(Census *c) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * _LOADER_FD_MAX)];
        } control = {};
        LoaderAnswer a = {};
        struct iovec iov = { &a, sizeof a };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
        struct cmsghdr *h;
        int fds[_LOADER_FD_MAX];
        ssize_t n;

        n = recvmsg(c->socket_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n != (ssize_t) sizeof a) {
                (void) snprintf(c->reason, sizeof c->reason, "the loader of the BPF programs ended without an answer");
                return -EIO;
        }
        a.reason[sizeof a.reason - 1] = '\0';
        if (a.error < 0) {
                (void) snprintf(c->reason, sizeof c->reason, "%s", a.reason);
                return a.error;
        }
        h = CMSG_FIRSTHDR(&m);
        if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof fds)) {
                (void) snprintf(c->reason, sizeof c->reason, "the loader of the BPF programs handed over nothing");
                return -EIO;
        }
        memcpy(fds, CMSG_DATA(h), sizeof fds);
        n = adopt(c, fds);
        if (n < 0)
                (void) snprintf(c->reason, sizeof c->reason, "the walk's maps cannot be mapped: %s", strerror((int) -n));
        return (int) n;
}

static int on_loader(sd_event_source *s _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Census *c = userdata;
        int r;

        /* It has ended, so this does not wait, and what it had to say is in the socket. */
        (void) waitpid(c->pid, NULL, 0);
        r = receive(c);
        c->refused = r < 0;
        if (r >= 0)
                c->reason[0] = '\0';
        loader_drop(c);
        return 0;
}

bool census_is_loading(const Census *c) {
        return c->pid > 0;
}

int census_load(Census *c, size_t n_records) {
        posix_spawn_file_actions_t actions;
        int pair[2], r;
        char number[32];

        if (c->pid > 0 || c->refused)
                return 0;
        (void) snprintf(number, sizeof number, "%zu", n_records);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        r = posix_spawn_file_actions_init(&actions);
        if (r == 0) {
                /* dup2() of a descriptor to itself clears its close-on-exec here as well. */
                r = posix_spawn_file_actions_adddup2(&actions, pair[1], LOADER_FD);
                if (r == 0)
                        r = posix_spawn(&c->pid, c->loader, &actions, NULL,
                                        (char *[]) { (char *) "cgd-bpf", c->root, number, NULL },
                                        (char *[]) { (char *) "PATH=/usr/bin", NULL });
                (void) posix_spawn_file_actions_destroy(&actions);
        }
        (void) close(pair[1]);
        c->socket_fd = pair[0];
        if (r != 0) {
                c->refused = true;
                c->pid = 0;
                if (r == ENOENT)
                        (void) snprintf(c->reason, sizeof c->reason, "cgd was built without libbpf (there is no %s)", c->loader);
                else
                        (void) snprintf(c->reason, sizeof c->reason, "%s: %s", c->loader, strerror(r));
                loader_drop(c);
                return -r;
        }
        c->asked = n_records;
        c->pid_fd = pidfd_open(c->pid, 0);
        r = c->pid_fd < 0 ? -errno : sd_event_add_io(c->event, &c->source, c->pid_fd, EPOLLIN, on_loader, c);
        if (r < 0) {
                (void) kill(c->pid, SIGKILL);
                (void) waitpid(c->pid, NULL, 0);
                (void) snprintf(c->reason, sizeof c->reason, "the loader of the BPF programs cannot be followed: %s", strerror(-r));
                loader_drop(c);
                return r;
        }
        if (c->link_fd < 0)
                (void) snprintf(c->reason, sizeof c->reason, "is being loaded");
        return 0;
}

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

bool census_is_cut(const Census *c) {
        return c->control && c->control->n_records > c->n;
}

static int pass(Census *c) {
        union bpf_attr attr;
        struct timespec ran;
        char nothing[64];
        int fd, r = 0;

        memset(&attr, 0, sizeof attr);
        attr.iter_create.link_fd = (uint32_t) c->link_fd;
        fd = (int) syscall(SYS_bpf, BPF_ITER_CREATE, &attr, sizeof attr);
        if (fd < 0)
                return -errno;
        /* To tell how long we ran the scheduler brings its clock up to now, which the program reads. */
        (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
        /* The program writes nothing, so the first read is the whole pass. */
        if (read(fd, nothing, sizeof nothing) < 0)
                r = -errno;
        (void) close(fd);
        return r;
}

bool census_take(Census *c) {
        uint64_t begin = now_usec();
        int r;

        c->n = 0;
        if (c->link_fd < 0)
                return false;
        c->control->n_records = 0;
        r = c->pass(c);
        if (r < 0) {
                (void) snprintf(c->reason, sizeof c->reason, "the walk failed: %s", strerror(-r));
                return false;
        }
        c->cost_usec = now_usec() - begin;
        c->longest_usec = MAX(c->longest_usec, c->cost_usec);
        c->usual_usec = c->usual_usec ? (3 * c->usual_usec + c->cost_usec) / 4 : c->cost_usec;
        c->n = MIN((size_t) c->control->n_records, c->n_max);
        return c->n > 0;
}
