/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tables and trees by libsmartcols. Cells are made safe here, so that no view can forget it. */

#include <libsmartcols.h>

#include "view/view.h"

/* A name that is cut is anybody's: on a narrower terminal lines go on below. Names of 255 bytes, which users give too, are cut. */
#define TABLE_COLUMNS_MIN 160U

struct Table {
        const View *view;
        struct libscols_table *table;
        bool failed;
};

Table *table_new(const View *v, const Column *columns, size_t n_columns) {
        Table *t = calloc(1, sizeof(*t));

        if (!t)
                return NULL;
        t->view = v;
        t->table = scols_new_table();
        if (!t->table)
                return table_free(t);
        (void) scols_table_enable_ascii(t->table, !v->unicode);
        (void) scols_table_enable_noheadings(t->table, !v->legend);
        (void) scols_table_set_termforce(t->table, SCOLS_TERMFORCE_ALWAYS);
        (void) scols_table_set_termwidth(t->table, MAX(v->width, TABLE_COLUMNS_MIN));
        (void) scols_table_enable_colors(t->table, v->color);
        (void) scols_table_enable_noencoding(t->table, 1);
        (void) scols_table_set_column_separator(t->table, "  ");
        (void) scols_table_enable_minout(t->table, 1);
        for (size_t i = 0; i < n_columns; i++) {
                int flags = (columns[i].flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0) |
                            (columns[i].flags & COLUMN_TRUNCATE ? SCOLS_FL_TRUNC : 0) |
                            (columns[i].flags & COLUMN_TREE ? SCOLS_FL_TREE : 0) |
                            (columns[i].flags & COLUMN_WRAP ? SCOLS_FL_WRAP : 0);

                if (!scols_table_new_column(t->table, columns[i].title, columns[i].hint, flags))
                        t->failed = true;
        }
        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        scols_unref_table(t->table);
        free(t);
        return NULL;
}

void *table_line(Table *t, void *parent) {
        struct libscols_line *line = scols_table_new_line(t->table, parent);

        if (!line)
                t->failed = true;
        return line;
}

void table_set(Table *t, void *line, unsigned column, const char *text) {
        _cleanup_str_ Str plain = {}, safe = {};

        /* Over a character that the locale does not have libsmartcols never comes to an end. */
        for (const char *p = text; !t->view->unicode && *p; p++)
                str_appendf(&plain, (unsigned char) *p < 0x80 ? "%c" : "\\x%02x", (unsigned char) *p);
        view_text(&safe, plain.data ? plain.data : text);
        if (!line || plain.error < 0 || safe.error < 0 || scols_line_set_data(line, column, safe.data ? safe.data : "") != 0)
                t->failed = true;
}

void table_color(Table *t, void *line, unsigned column, Color c) {
        const char *sequence = view_color(t->view, c);

        if (line && *sequence)
                (void) scols_cell_set_color(scols_line_get_cell(line, column), sequence);
}

void table_print(Table *t, Str *out) {
        char *text = NULL;

        if (t->failed || scols_print_table_to_string(t->table, &text) != 0) {
                out->error = -ENOMEM;
                return;
        }
        if (text && *text) {
                str_append(out, text);
                if (text[strlen(text) - 1] != '\n')
                        str_append(out, "\n");
        }
        free(text);
}
