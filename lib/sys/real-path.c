/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Invariant: what both threads use is freed by whoever leaves last. Nothing can be done about a thread that hangs in the kernel:
 * it is left behind, and costs its stack. While it is, no other is started. */

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/str.h"
#include "base/units.h"
#include "sys/real-path.h"

#define STACK_BYTES MAX((size_t) PTHREAD_STACK_MIN, (size_t) 64 * 1024)

/* A thread is on its way. */
static atomic_bool walking;

typedef struct Walk {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        char **paths, **found;          /* found: only under the mutex */
        int error;
        bool done, left;                /* by the one that walks, by the one that waits */
} Walk;

static void walk_free(Walk *w) {
        strv_free(w->paths);
        strv_free(w->found);
        (void) pthread_cond_destroy(&w->changed);
        (void) pthread_mutex_destroy(&w->mutex);
        free(w);
}

static void *walk_run(void *arg) {
        Walk *w = arg;
        bool left = false;

        for (char **p = w->paths; *p && !left; p++) {
                char *real = realpath(*p, NULL);

                (void) pthread_mutex_lock(&w->mutex);
                if (w->error >= 0)
                        w->error = strv_extend(&w->found, real ?: "");
                left = w->left;
                (void) pthread_mutex_unlock(&w->mutex);
                free(real);
        }
        (void) pthread_mutex_lock(&w->mutex);
        /* First: who waits may call again at once. */
        walking = false;
        w->done = true;
        left = w->left;
        (void) pthread_cond_signal(&w->changed);
        (void) pthread_mutex_unlock(&w->mutex);
        if (left)
                walk_free(w);
        return NULL;
}

static Walk *walk_new(char *const *paths) {
        pthread_condattr_t attr;
        Walk *w = calloc(1, sizeof *w);

        if (!w)
                return NULL;
        (void) pthread_mutex_init(&w->mutex, NULL);
        (void) pthread_condattr_init(&attr);
        (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&w->changed, &attr);
        (void) pthread_condattr_destroy(&attr);
        for (; *paths; paths++)
                if (strv_extend(&w->paths, *paths) < 0) {
                        walk_free(w);
                        return NULL;
                }
        return w;
}

static bool walk_start(Walk *w) {
        pthread_attr_t attr;
        pthread_t thread;
        sigset_t all, old;
        bool started;

        (void) pthread_attr_init(&attr);
        (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        (void) pthread_attr_setstacksize(&attr, STACK_BYTES);
        /* They are the loop's. */
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);
        started = pthread_create(&thread, &attr, walk_run, w) == 0;
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
        (void) pthread_attr_destroy(&attr);
        return started;
}

int real_paths(char *const *paths, uint64_t usec, char ***ret) {
        struct timespec until;
        bool done;
        Walk *w;
        int r;

        *ret = NULL;
        if (strv_length(paths) == 0 || walking)
                return 0;
        w = walk_new(paths);
        if (!w)
                return -ENOMEM;
        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        usec += (uint64_t) until.tv_nsec / 1000;
        until.tv_sec += (time_t) (usec / USEC_PER_SEC);
        until.tv_nsec = (long) (usec % USEC_PER_SEC) * 1000;
        walking = true;
        if (!walk_start(w))
                (void) walk_run(w);

        (void) pthread_mutex_lock(&w->mutex);
        while (!w->done && pthread_cond_timedwait(&w->changed, &w->mutex, &until) != ETIMEDOUT)
                ;
        done = w->done;
        w->left = true;
        r = w->error;
        *ret = TAKE_PTR(w->found);
        (void) pthread_mutex_unlock(&w->mutex);
        if (done)
                walk_free(w);
        if (r < 0)
                *ret = strv_free(*ret);
        return r;
}
