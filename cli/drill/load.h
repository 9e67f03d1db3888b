/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the load programs share: clocks, sizes, options, random numbers. They need nothing but libc, so
 * that they run in any machine, and a failure in them ends them with a line that says what was tried.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define PAGE_BYTES 4096U

__attribute__((noreturn, format(printf, 1, 2)))
static inline void die(const char *format, ...) {
        va_list ap;
        int saved = errno;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, ": %s\n", strerror(saved));
        exit(1);
}

/* CLOCK_MONOTONIC in microseconds. */
static inline uint64_t now_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

/* Sleep until then; returns early, with false, when a signal came. */
static inline bool sleep_until(uint64_t usec) {
        struct timespec ts = {
                .tv_sec = (time_t) (usec / USEC_PER_SEC),
                .tv_nsec = (long) (usec % USEC_PER_SEC) * 1000,
        };

        return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == 0;
}

/* The latencies of a request that was answered so long after its time, and of those that were to follow in its place every slot and
 * found no one: each would have waited a slot less. Without them one second of silence counts as one slow request (Tene, "How NOT to
 * Measure Latency", on coordinated omission). In microseconds; ret has room for 1 + latency / slot. Returns how many. */
static inline size_t latency_expand(uint32_t latency, uint32_t slot, uint32_t *ret) {
        size_t n = 0;

        for (ret[n++] = latency; latency > slot; ret[n++] = latency)
                latency -= slot;
        return n;
}

/* "64M" -> bytes; ends the program on anything else. */
static inline uint64_t parse_size(const char *text) {
        char *end;
        uint64_t value = strtoull(text, &end, 10);

        switch (*end) {
        case 'G':
                value <<= 10;
                __attribute__((fallthrough));
        case 'M':
                value <<= 10;
                __attribute__((fallthrough));
        case 'K':
                value <<= 10;
                end++;
        }
        if (end == text || *end != '\0') {
                fprintf(stderr, "\"%s\" is not a size like 64M\n", text);
                exit(2);
        }
        return value;
}

/* The value if arg is "--name=value", else NULL. */
static inline const char *option(const char *arg, const char *name) {
        size_t n = strlen(name);

        return strncmp(arg, "--", 2) == 0 && strncmp(arg + 2, name, n) == 0 && arg[n + 2] == '='
                ? arg + n + 3 : NULL;
}

/* xorshift64: repeatable, and fast enough not to be what is measured. */
static inline uint64_t random_next(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}
