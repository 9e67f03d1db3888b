/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Globs as systemd takes them in unit names: * ? [a-z] [!a-z]. Our own and not fnmatch(3), which asks the
 * locale: a decision must not. */

#include <stdbool.h>
#include <stddef.h>

bool glob_is_literal(const char *pattern);
/* Bytes before the first special character. */
size_t glob_prefix(const char *pattern);
/* A set that is not closed ("[a") or a backwards range makes it no glob. */
bool glob_is_valid(const char *pattern);
bool glob_match(const char *pattern, const char *text);
/* True where some text matches both. */
bool glob_intersects(const char *a, const char *b);
