/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Units of time, size and share, as systemd.time(7) and systemd.resource-control(5) write them. */

#include <stddef.h>
#include <stdint.h>

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_INFINITY UINT64_MAX
/* "max" in a cgroup file, "infinity" in a policy. */
#define LIMIT_MAX UINT64_MAX
#define PERMYRIAD UINT64_C(10000)

#define FORMAT_MAX 64

/* "500ms", "1min 30s", "2" (seconds), "infinity". -EINVAL: not a time span; -ERANGE: does not fit. */
int usec_parse(const char *s, uint64_t *ret_usec);

/* "64M", "1.5G", "infinity"; suffixes K M G T P E, with base 1024 (memory) or 1000 (io bandwidth).
 * -EINVAL, -ERANGE as above. */
int bytes_parse(const char *s, unsigned base, uint64_t *ret_bytes);

/* "40%", "12.5%", up to two decimals, into 1/10000. Does not limit to 100 %: the caller knows its range.
 * -EINVAL: no percent; -ERANGE: does not fit an int. */
int permyriad_parse(const char *s, unsigned *ret_permyriad);

/* Whole unsigned decimal number. -EINVAL, -ERANGE. */
int u64_parse(const char *s, uint64_t *ret);

/* Canonical text that the parsers above read back to the same value. buf holds FORMAT_MAX bytes; returns buf. */
char *usec_format(uint64_t usec, char *buf);            /* "1min 30s", "500ms", "infinity" */
char *bytes_format(uint64_t bytes, char *buf);          /* exact: "64M", "65537", "infinity" */
char *bytes_format_si(uint64_t bytes, char *buf);       /* exact, for what is read with base 1000: "1M", "1024K" */
char *bytes_format_human(uint64_t bytes, char *buf);    /* rounded for people: "612.4M" */
char *permyriad_format(unsigned permyriad, char *buf);  /* "40%", "12.5%" */

/* a * b / c without overflow in between; c != 0; saturates at UINT64_MAX. */
uint64_t mul_div_u64(uint64_t a, uint64_t b, uint64_t c);
