/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ring: one position is ours, one the kernel's, both only grow, and both are modulo the size in the data. A message has
 * its length before it, with a bit as long as it is being written and one for who thought better of it. */

#include <errno.h>
#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macro.h"
#include "sense/ring.h"

/* Messages a turn of the loop: each may mean a look at a process, and the rest wakes us again. */
#define BATCH_MAX 64

static size_t page_bytes(void) {
        return (size_t) sysconf(_SC_PAGESIZE);
}

static int on_readable(sd_event_source *s _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Ring *r = userdata;
        unsigned long *read = r->reader, end = __atomic_load_n((unsigned long *) r->writer, __ATOMIC_ACQUIRE);
        const char *data = (const char *) r->writer + page_bytes();
        unsigned batch = 0;

        for (unsigned long at = *read; at < end && batch < BATCH_MAX; batch++) {
                const char *message = data + (at & (r->bytes - 1));
                uint32_t header = __atomic_load_n((const uint32_t *) message, __ATOMIC_ACQUIRE), n;

                /* Whoever ends it wakes us again. */
                if (header & BPF_RINGBUF_BUSY_BIT)
                        break;
                n = header & ~(uint32_t) BPF_RINGBUF_DISCARD_BIT;
                if (!(header & BPF_RINGBUF_DISCARD_BIT))
                        r->handler(message + BPF_RINGBUF_HDR_SZ, n, r->userdata);
                at += (n + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
                __atomic_store_n(read, at, __ATOMIC_RELEASE);
        }
        return 0;
}

void ring_close(Ring *r) {
        r->source = sd_event_source_disable_unref(r->source);
        if (r->reader)
                (void) munmap(r->reader, page_bytes());
        if (r->writer)
                (void) munmap(r->writer, page_bytes() + 2 * r->bytes);
        r->reader = r->writer = NULL;
        r->fd = safe_close(r->fd);
}

int ring_open(Ring *r, sd_event *event, int fd, size_t bytes, RingHandler handler, void *userdata) {
        void *p;
        int k;

        *r = (Ring) { .fd = fd, .bytes = bytes, .handler = handler, .userdata = userdata };
        p = mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
                goto fail;
        r->reader = p;
        p = mmap(NULL, page_bytes() + 2 * bytes, PROT_READ, MAP_SHARED, fd, (off_t) page_bytes());
        if (p == MAP_FAILED)
                goto fail;
        r->writer = p;
        k = sd_event_add_io(event, &r->source, fd, EPOLLIN, on_readable, r);
        /* In turns with the tick: who starts programs without end must not keep it waiting. */
        if (k >= 0)
                k = sd_event_source_set_priority(r->source, SD_EVENT_PRIORITY_IDLE);
        if (k < 0)
                ring_close(r);
        return k;

fail:
        k = -errno;
        ring_close(r);
        return k;
}
