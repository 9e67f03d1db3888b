/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Strings: a growing buffer, escaping of foreign text, string lists. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"

/* A growing, always NUL-terminated buffer. Zero-initialised is empty. After a failed allocation it
 * stays as it was and remembers -ENOMEM, which str_finish() returns: builders check once, at the end. */
typedef struct Str {
        char *data;
        size_t length, allocated;
        int error;
} Str;

void str_done(Str *s);
void str_append(Str *s, const char *text);
void str_append_n(Str *s, const char *text, size_t n);
void str_appendf(Str *s, const char *format, ...) _printf_(2, 3);
/* Appends foreign text so that it can be shown: control bytes, DEL, backslash and bytes that are no
 * valid UTF-8 become \xNN. */
void str_append_escaped(Str *s, const char *text);
/* Hands the text to the caller (never NULL on success; "" for an empty one). 0 or -ENOMEM. */
int str_finish(Str *s, char **ret);

#define _cleanup_str_ _cleanup_(str_done)

/* Bytes (1 to 4) of the UTF-8 character at s, of which n bytes are there; -EINVAL where it is none: cut off,
 * overlong, a surrogate, beyond U+10FFFF. */
int utf8_character(const char *s, size_t n);

/* Escaped copy of foreign text; NULL when out of memory. */
char *str_escape(const char *text);

/* NULL-terminated string lists. strv_free(NULL) is fine; returns NULL. */
char **strv_free(char **l);
DEFINE_CLEANUP(char **, strv_free)
#define _cleanup_strv_ _cleanup_(strv_freep)
size_t strv_length(char *const *l);
bool strv_contains(char *const *l, const char *s);
/* Appends a copy of s. 0 or -ENOMEM (the list is unchanged then). */
int strv_extend(char ***l, const char *s);
