/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Schema: the one table of all keys. The compiler, the printer, `cgctl verify` and `explain`, the completion,
 * the fuzzer's dictionary and the man page's check all read its rows; a key is added by adding a row. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

/* How a value is read, checked and printed. The first group lands in a field of Domain at .offset. */
typedef enum ValueType {
        VALUE_TEXT,             /* char * */
        VALUE_SLICE,            /* char * */
        VALUE_NUMBER,           /* unsigned */
        VALUE_PERCENT,          /* unsigned, permyriad */
        VALUE_USEC,             /* uint64_t */
        VALUE_BYTES,            /* uint64_t, base 1024 */
        VALUE_BANDWIDTH,        /* uint64_t, bytes/s, base 1000 */
        VALUE_MODE,             /* Mode, and the span after it in Contain */
        VALUE_STEPS,            /* bool[_STEP_MAX] */
        VALUE_BUDGET,           /* kill_budget and kill_budget_usec of Contain */
        VALUE_COMMAND,          /* char * */
        VALUE_UNITS,            /* char **, globs of units */
        VALUE_USERS,            /* char ** */
        VALUE_EXECUTABLES,      /* char **, globs of absolute paths */

        /* Conditions: one line of an alarm each; .condition says which. */
        VALUE_PRESSURE,         /* "some 10% over 1s" */
        VALUE_STALL,            /* "10% over 1s" */
        VALUE_LATENCY,          /* "p99 50ms over 1s" */
        VALUE_SHARE,            /* "90%" */
        VALUE_WITHIN,           /* "2s" */
        VALUE_LASTING,          /* LastingSec= of the alarm */

        /* Resources: canonical text, in systemd's own meaning. */
        VALUE_R_BOOLEAN,
        VALUE_R_MEMORY,         /* bytes, percent of physical memory, infinity */
        VALUE_R_WEIGHT,         /* 1 to 10000 */
        VALUE_R_CPU_WEIGHT,     /* 1 to 10000, idle */
        VALUE_R_QUOTA,          /* percent of one CPU */
        VALUE_R_USEC,
        VALUE_R_INDICES,        /* "0-3 5": CPUs, memory nodes */
        VALUE_R_TASKS,          /* number, percent, infinity */
        VALUE_R_WORD,           /* one of .words */
        VALUE_R_PERCENT,        /* up to 100 % */
        VALUE_R_DEVICE_WEIGHT,  /* "/dev/sda 1000", may come again for another device */
        VALUE_R_DEVICE_LIMIT,   /* "/dev/sda 5M", base 1000 */
        VALUE_R_DEVICE_USEC,    /* "/dev/sda 25ms" */
        _VALUE_TYPE_MAX,
} ValueType;

typedef struct Key {
        const char *section;            /* "Contain" */
        const char *name;               /* "LeaseSec" */
        ValueType type;
        uint64_t min, max;              /* in the type's unit: usec, bytes, permyriad; 0 and 0: any */
        const char *words;              /* VALUE_R_WORD: "auto kill" */
        const char *fallback;           /* the default, as it would be written; NULL: unset */
        const char *inactive;           /* NULL: acted on; else why it is not, in this version */
        unsigned since;                 /* the systemd that knows the directive, where newer than 252 */
        size_t offset;                  /* in Domain */
        ConditionType condition;
        const char *help;               /* one or two sentences */
} Key;

extern const Key schema_keys[];
extern const size_t schema_n_keys;
extern const char *const schema_sections[];     /* NULL-terminated, in the order they are printed */

/* NULL: no such key. section NULL: the first key of that name in any section. */
const Key *schema_find(const char *section, const char *name);
bool schema_has_section(const char *name);

/* The name that was probably meant, or NULL. schema_suggest_key() looks in the section first and then in
 * all: the row tells which section it belongs to. */
const Key *schema_suggest_key(const char *section, const char *name);
const char *schema_suggest_section(const char *name);

/* How the value is written, for people: "a percentage such as 40% or 12.5%". */
const char *value_type_expected(ValueType t);
/* True where several assignments add up to a list, which an empty one resets. */
bool key_is_list(const Key *k);
/* The range of a number in the key's own units, "0 to 1000"; "" where there is none. buf: RANGE_MAX bytes. */
#define RANGE_MAX (2 * 64 + 8)
char *key_range(const Key *k, char *buf);
