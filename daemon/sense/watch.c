/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/watch.h"

/* What a wake says means nothing, so all of them are read at once. The positions are those of the kernel's ring buffer
 * (Documentation/bpf/ringbuf.rst): two pages, of which the first is the reader's. */
static int on_wake(sd_event_source *s _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Watch *w = userdata;
        uint64_t now;

        __atomic_store_n(w->consumed, __atomic_load_n(w->produced, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
        (void) sd_event_now(w->loading.event, CLOCK_MONOTONIC, &now);
        w->handler(&(Event) { .type = EVENT_STIR, .usec = now }, w->userdata);
        return 0;
}

static void drop(Watch *w) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);

        w->source = sd_event_source_disable_unref(w->source);
        if (w->consumed)
                (void) munmap(w->consumed, page);
        if (w->produced)
                (void) munmap((void *) w->produced, page);
        w->consumed = NULL;
        w->produced = NULL;
        w->timer_fd = safe_close(w->timer_fd);
        w->wakes_fd = safe_close(w->wakes_fd);
}

static int adopt(int *fds, void *userdata) {
        Watch *w = userdata;
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        void *consumed, *produced;
        int r;

        consumed = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fds[MEMWATCH_WAKES], 0);
        if (consumed == MAP_FAILED)
                return -errno;
        w->consumed = consumed;
        produced = mmap(NULL, page, PROT_READ, MAP_SHARED, fds[MEMWATCH_WAKES], (off_t) page);
        if (produced == MAP_FAILED) {
                r = -errno;
                drop(w);
                return r;
        }
        w->produced = produced;
        w->timer_fd = TAKE_FD(fds[MEMWATCH_TIMER]);
        w->wakes_fd = TAKE_FD(fds[MEMWATCH_WAKES]);
        r = sd_event_add_io(w->loading.event, &w->source, w->wakes_fd, EPOLLIN, on_wake, w);
        if (r < 0)
                drop(w);
        return r;
}

int watch_init(Watch *w, sd_event *event, const char *loader, SensorHandler handler, void *userdata) {
        *w = (Watch) { .timer_fd = -EBADF, .wakes_fd = -EBADF, .handler = handler, .userdata = userdata };
        return loading_init(&w->loading, event, loader, adopt, w);
}

void watch_done(Watch *w) {
        drop(w);
        loading_done(&w->loading);
}

int watch_load(Watch *w) {
        return w->wakes_fd >= 0 ? 0 : loading_start(&w->loading, "memwatch", NULL, _MEMWATCH_FD_MAX);
}

bool watch_is_settled(const Watch *w) {
        return w->wakes_fd >= 0 || w->loading.refused;
}
