/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Ring: reads a BPF ring buffer (Documentation/bpf/ringbuf.rst in the kernel) without libbpf. */

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* One message, valid for the call. */
typedef void (*RingHandler)(const void *data, size_t size, void *userdata);

typedef struct Ring {
        int fd;
        size_t bytes;                   /* of its data */
        void *reader, *writer;          /* a page for us, and a page with the data behind it, twice; NULL = not open */
        sd_event_source *source;
        RingHandler handler;
        void *userdata;
} Ring;

#define RING_NONE { .fd = -EBADF }

/* Calls handler on the loop for each message. Takes fd over, also where it fails. bytes: the map's max_entries.
 * Negative errno of mmap(2) or the event loop. */
int ring_open(Ring *r, sd_event *event, int fd, size_t bytes, RingHandler handler, void *userdata);
void ring_close(Ring *r);
