/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Census: every cgroup's record in one call into the kernel.
 *
 * Invariant: either there is a program with both its maps, or none of the three and a reason. Failing is
 * final: what was refused once is not tried again until somebody restarts cgd, and files do. */

#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/macro.h"
#include "base/units.h"
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

static int pass(Census *c);
static int adopt(int *fds, void *userdata);

int census_init(Census *c, sd_event *event, const char *root, const char *loader) {
        *c = (Census) { .link_fd = -EBADF, .pass = pass };
        c->root = strdup(root);
        if (c->root && loading_init(&c->loading, event, loader, adopt, c) == 0)
                return 0;
        census_done(c);
        return -ENOMEM;
}

void census_done(Census *c) {
        loading_done(&c->loading);
        unload(c);
        free(c->root);
        c->root = NULL;
}

/* Takes over what the loader sent. */
static int adopt(int *fds, void *userdata) {
        Census *c = userdata;
        size_t control_bytes = page_round(sizeof(WalkControl));
        const WalkControl *old = c->control;
        WalkControl *control;
        void *records;
        int r;

        control = mmap(NULL, control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[WALK_CONTROL], 0);
        if (control == MAP_FAILED)
                return -errno;
        records = mmap(NULL, records_bytes(c->asked), PROT_READ, MAP_SHARED, fds[WALK_RECORDS], 0);
        if (records == MAP_FAILED) {
                r = -errno;
                (void) munmap(control, control_bytes);
                return r;
        }
        /* A larger map knows what the smaller one had learnt. */
        if (old) {
                memcpy(control->terms, old->terms, sizeof control->terms);
                control->n_terms = old->n_terms;
                control->stat_have = old->stat_have;
                control->probe_id = old->probe_id;
        }
        unload(c);
        c->control = control;
        c->records = records;
        c->n_max = c->asked;
        c->link_fd = TAKE_FD(fds[WALK_LINK]);
        return 0;
}

int census_load(Census *c, size_t n_records) {
        char number[32];

        if (loading_is_on(&c->loading))
                return 0;
        c->asked = n_records;
        (void) snprintf(number, sizeof number, "%zu", n_records);
        return loading_start(&c->loading, "walk", (const char *[]) { c->root, number, NULL }, _WALK_FD_MAX);
}

const char *census_reason(const Census *c) {
        if (c->failed[0])
                return c->failed;
        /* While a larger map is loaded the smaller one works on. */
        return c->link_fd >= 0 ? "" : c->loading.reason;
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
                (void) snprintf(c->failed, sizeof c->failed, "the walk failed: %s", strerror(-r));
                return false;
        }
        c->cost_usec = now_usec() - begin;
        c->longest_usec = MAX(c->longest_usec, c->cost_usec);
        c->usual_usec = c->usual_usec ? (3 * c->usual_usec + c->cost_usec) / 4 : c->cost_usec;
        c->n = MIN((size_t) c->control->n_records, c->n_max);
        c->failed[0] = '\0';
        return c->n > 0;
}
