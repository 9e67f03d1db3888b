/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Value: one assignment's value, checked against its row. Every function returns 0, -EINVAL where the value
 * is refused (and said so, at the word that is wrong), or -ENOMEM; outputs are untouched then. */

#include "policy/document.h"
#include "policy/schema.h"

/* What is being read. assignment and diagnostics may be NULL: a default of the table, which is never wrong. */
typedef struct ValueContext {
        Diagnostics *diagnostics;
        const Assignment *assignment;
        const Key *key;
} ValueContext;

int value_read_text(const ValueContext *c, const char *text, char **ret);
int value_read_slice(const ValueContext *c, const char *text, char **ret);
/* VALUE_NUMBER, VALUE_PERCENT (permyriad), VALUE_USEC, VALUE_LASTING, VALUE_BYTES, VALUE_BANDWIDTH */
int value_read_scalar(const ValueContext *c, const char *text, uint64_t *ret);
int value_read_mode(const ValueContext *c, const char *text, Mode *ret);
int value_read_steps(const ValueContext *c, const char *text, bool ret[static _STEP_MAX]);
int value_read_budget(const ValueContext *c, const char *text, unsigned *ret_kills, uint64_t *ret_usec);
int value_read_command(const ValueContext *c, const char *text, char **ret);
/* VALUE_UNITS, VALUE_USERS, VALUE_EXECUTABLES: appends the words that are good. refuse_protected: a unit glob
 * must not take in what is never placed. spans, if not NULL, grows with the list. */
int value_read_list(const ValueContext *c, const char *text, bool refuse_protected, char ***list, Span **spans);
/* VALUE_PRESSURE to VALUE_WITHIN. ret->span is the assignment's. */
int value_read_condition(const ValueContext *c, const char *text, Condition *ret);
/* VALUE_R_*: the canonical text. */
int value_read_resource(const ValueContext *c, const char *text, char **ret);

/* Says that the value is refused; at points into the assignment's value. Returns -EINVAL. */
int value_refuse(const ValueContext *c, const char *at, const char *format, ...) _printf_(3, 4);
