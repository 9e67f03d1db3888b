/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loading: one run of the loader, the process that puts BPF programs into the kernel for us. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "sense/bpf/loader.h"

/* Takes what it wants of the descriptors (TAKE_FD); the others are closed. Negative errno: it could not use them. */
typedef int (*LoadingHandler)(int *fds, void *userdata);

typedef struct Loading {
        sd_event *event;
        char *loader;
        LoadingHandler handler;
        void *userdata;
        pid_t pid;                      /* 0 = none runs */
        int socket_fd, pid_fd;
        sd_event_source *source;
        size_t n_fds;                   /* that are asked for */
        bool refused;                   /* it is not asked again */
        char reason[256];               /* why there is nothing; "" = there is */
} Loading;

/* loader: the program, cgd-bpf; copied. event's reference is taken. Nothing is started yet. -ENOMEM. */
int loading_init(Loading *l, sd_event *event, const char *loader, LoadingHandler handler, void *userdata);
void loading_done(Loading *l);

/* Has a feature loaded in the background; args end with NULL. Nothing happens while one runs, or after a refusal.
 * Only failures to start are returned, and they are in `reason` too. */
int loading_start(Loading *l, const char *feature, const char *const args[], size_t n_fds);

static inline bool loading_is_on(const Loading *l) {
        return l->pid > 0;
}
