/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Views: JSON (as the bus hands it out) to text for people. Pure: the same document, width and flags give
 * the same text, so that tests/golden can hold them; nothing here asks the daemon, the clock or the
 * terminal.
 *
 * Foreign text in a document is escaped already by who made it, but a document may come from a file
 * (--from=): so whatever is shown passes view_text() again. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef struct View {
        unsigned width;         /* columns */
        bool color;
        bool unicode;           /* the terminal shows UTF-8 */
        bool legend;            /* headings of tables */
} View;

typedef enum Color {
        COLOR_NORMAL,
        COLOR_BOLD,
        COLOR_DIM,
        COLOR_RED,
        COLOR_GREEN,
        COLOR_YELLOW,
        COLOR_BLUE,
        _COLOR_MAX,
} Color;

/* The escape sequence, or "" without colour. */
const char *view_color(const View *v, Color c);
/* text between colour and normal. */
void view_colored(const View *v, Str *out, Color c, const char *format, ...) _printf_(4, 5);
/* Safe to show on a terminal, whatever it is. */
void view_text(Str *out, const char *text);
/* Paragraph of text, wrapped to the width with `indent` spaces before each line. */
void view_wrap(const View *v, Str *out, unsigned indent, const char *text);
/* Columns that text takes on a terminal (one a character; escape sequences are not expected). */
unsigned view_columns(const char *text);
/* Appends text, and spaces up to `columns`; a negative number puts the spaces first. */
void view_pad(Str *out, const char *text, int columns);
/* A bar of `columns` cells, filled to permyriad. */
void view_bar(const View *v, Str *out, unsigned permyriad, unsigned columns);

#define VIEW_TEXT_MAX 64

/* For people: "0.4 ms", "12 ms", "1.85 s", "2min 5s", "3h 20min", "4 days". */
char *view_duration(uint64_t usec, char buf[static VIEW_TEXT_MAX]);
/* "612.5M", "no limit" for null. */
char *view_bytes(const json_t *bytes, char buf[static VIEW_TEXT_MAX]);
char *view_percent(uint64_t permyriad, char buf[static VIEW_TEXT_MAX]);
/* {"usec", "time"} as local time "2026-01-31 12:00:00", with `date` false only the time of day; "-" for
 * null. */
char *view_time(const json_t *time, bool date, char buf[static VIEW_TEXT_MAX]);

/* Fields of a document, with something harmless where they are missing or of another type. */
const char *field_text(const json_t *j, const char *key);       /* "" */
uint64_t field_u64(const json_t *j, const char *key);           /* 0; UINT64_MAX for null */
int64_t field_i64(const json_t *j, const char *key);
bool field_true(const json_t *j, const char *key);
uint64_t field_usec(const json_t *j, const char *key);          /* of a time object; 0 */

/* A table or a tree, by libsmartcols: cells are set, then printed into out. */
typedef struct Table Table;
typedef enum ColumnFlags {
        COLUMN_RIGHT = 1 << 0,
        COLUMN_TRUNCATE = 1 << 1,
        COLUMN_TREE = 1 << 2,
        COLUMN_WRAP = 1 << 3,
} ColumnFlags;
typedef struct Column {
        const char *title;
        double hint;            /* share of the width, or a number of columns from 1 */
        int flags;
} Column;
Table *table_new(const View *v, const Column *columns, size_t n_columns);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table *, table_free)
/* A new line, below `parent` (a line of this table) or NULL. The line is the table's. */
void *table_line(Table *t, void *parent);
void table_set(Table *t, void *line, unsigned column, const char *text);
void table_color(Table *t, void *line, unsigned column, Color c);
void table_print(Table *t, Str *out);

/* One a verb. */
void view_status(const View *v, const json_t *j, Str *out);
void view_domains(const View *v, const json_t *j, Str *out);
void view_blame(const View *v, const json_t *j, Str *out);
void view_incidents(const View *v, const json_t *j, Str *out);
void view_why(const View *v, const json_t *j, Str *out);
void view_tree(const View *v, const json_t *j, Str *out);
void view_drill(const View *v, const json_t *j, Str *out);
void view_check(const View *v, const json_t *j, Str *out);
