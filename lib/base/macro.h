/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Cleanup attributes and the few macros every floor uses. No state, no I/O but close() and free(). */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, lo, hi) MIN(MAX(x, lo), hi)

#define _cleanup_(f) __attribute__((__cleanup__(f)))
#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _printf_(a, b) __attribute__((__format__(printf, a, b)))
#define _unused_ __attribute__((__unused__))
#define _fallthrough_ __attribute__((__fallthrough__))

/* Defines `void FUNCp(TYPE *p)` for _cleanup_(), for destructors that return NULL. */
#define DEFINE_CLEANUP(type, func)              \
        static inline void func##p(type *p) {   \
                if (*p)                         \
                        *p = func(*p);          \
        }

#define TAKE_PTR(p)                     \
        ({                              \
                typeof(p) *_pp = &(p);  \
                typeof(p) _v = *_pp;    \
                *_pp = NULL;            \
                _v;                     \
        })
#define TAKE_FD(fd)                     \
        ({                              \
                int *_pf = &(fd);       \
                int _v = *_pf;          \
                *_pf = -EBADF;          \
                _v;                     \
        })

static inline void freep(void *p) {
        free(*(void **) p);
}

/* Closes fd if it is one, keeping errno; returns -EBADF, so that `fd = safe_close(fd)` disarms it. */
static inline int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;
                (void) close(fd);
                errno = saved;
        }
        return -EBADF;
}

static inline void closep(int *fd) {
        *fd = safe_close(*fd);
}

static inline void fclosep(FILE **f) {
        if (*f)
                (void) fclose(*f);
}

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* The rest of s after prefix, or NULL where s does not begin with it. */
static inline const char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

static inline const char *endswith(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && streq(s + n - m, suffix) ? s + n - m : NULL;
}
