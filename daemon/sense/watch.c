/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/watch.h"

static void on_message(const void *data, size_t size, void *userdata) {
        const MemwatchMessage *message = data;
        Watch *w = userdata;
        Event e = { .type = EVENT_STIR };

        if (size < sizeof *message)
                return;
        (void) sd_event_now(w->loading.event, CLOCK_MONOTONIC, &e.usec);
        switch ((MemwatchNews) message->news) {
        case MEMWATCH_FALLS:
                w->woken++;
                break;
        case MEMWATCH_OOM:
                w->oom_kills++;
                e.type = EVENT_OOM;
                e.pid = message->pid;
                break;
        }
        w->handler(&e, w->userdata);
}

static int adopt(int *fds, void *userdata) {
        Watch *w = userdata;
        int r;

        r = ring_open(&w->ring, w->loading.event, TAKE_FD(fds[MEMWATCH_RING]), (size_t) sysconf(_SC_PAGESIZE), on_message, w);
        if (r >= 0) {
                w->timer_fd = TAKE_FD(fds[MEMWATCH_TIMER]);
                w->follow_fd = TAKE_FD(fds[MEMWATCH_FOLLOW]);
                w->link_fd = TAKE_FD(fds[MEMWATCH_LINK]);
        }
        return r;
}

int watch_follow(Watch *w, size_t place, uint64_t id, int fd) {
        MemwatchFollow f = { .place = (uint32_t) place, .fd = id == 0 ? -1 : fd, .cgroup_id = id };
        union bpf_attr attr;

        if (w->followed[place] == id)
                return 0;
        w->followed[place] = 0;
        memset(&attr, 0, sizeof attr);
        attr.test.prog_fd = (uint32_t) w->follow_fd;
        attr.test.ctx_in = (uint64_t) (uintptr_t) &f;
        attr.test.ctx_size_in = sizeof f;
        if (syscall(SYS_bpf, BPF_PROG_RUN, &attr, sizeof attr) < 0)
                return -errno;
        switch ((int) attr.test.retval) {
        case MEMWATCH_FOLLOWED:
                w->followed[place] = id;
                return 0;
        case MEMWATCH_NO_SUCH_CGROUP:
                return -ENOENT;
        default:
                return -EOPNOTSUPP;
        }
}

int watch_init(Watch *w, sd_event *event, const char *loader, SensorHandler handler, void *userdata) {
        *w = (Watch) { .timer_fd = -EBADF, .follow_fd = -EBADF, .link_fd = -EBADF, .ring = RING_NONE, .handler = handler, .userdata = userdata };
        return loading_init(&w->loading, event, loader, adopt, w);
}

void watch_done(Watch *w) {
        ring_close(&w->ring);
        w->timer_fd = safe_close(w->timer_fd);
        w->follow_fd = safe_close(w->follow_fd);
        w->link_fd = safe_close(w->link_fd);
        loading_done(&w->loading);
}

int watch_load(Watch *w) {
        return watch_works(w) ? 0 : loading_start(&w->loading, "memwatch", NULL, _MEMWATCH_FD_MAX);
}
