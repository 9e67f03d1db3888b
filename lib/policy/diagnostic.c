/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Diagnostics: collected faults with their places. Invariant: the texts and file names are printable,
 * whatever was in the files; the list is bounded, the counts are not. */

#include "base/str.h"
#include "policy/diagnostic.h"

static const char *const severity_names[_SEVERITY_MAX] = {
        [SEVERITY_NOTE] = "note",
        [SEVERITY_WARNING] = "warning",
        [SEVERITY_ERROR] = "error",
};

const char *severity_to_string(Severity s) {
        return (size_t) s < ARRAY_SIZE(severity_names) ? severity_names[s] : "unknown";
}

void diagnostics_done(Diagnostics *d) {
        for (size_t i = 0; i < d->n_items; i++)
                free(d->items[i].text);
        free(d->items);
        strv_free(d->files);
        strv_free(d->refused);
        *d = (Diagnostics) { .strict = d->strict };
}

static const char *diagnostics_intern(Diagnostics *d, const char *file) {
        _cleanup_free_ char *shown = str_escape(file);
        size_t n = strv_length(d->files);

        if (!shown)
                return NULL;
        for (size_t i = n; i-- > 0;)
                if (streq(d->files[i], shown))
                        return d->files[i];
        if (strv_extend(&d->files, shown) < 0)
                return NULL;
        return d->files[n];
}

/* Where the list is full, the last one that is no error gives way to an error: why a set is refused is never left out for
 * warnings. False where there is no room. */
static bool diagnostics_make_room(Diagnostics *d, Severity severity) {
        if (d->n_items < DIAGNOSTICS_MAX)
                return true;
        d->n_dropped++;
        if (severity != SEVERITY_ERROR || d->n_errors > DIAGNOSTICS_MAX)
                return false;
        for (size_t i = d->n_items; i-- > 0;)
                if (d->items[i].severity != SEVERITY_ERROR) {
                        free(d->items[i].text);
                        memmove(&d->items[i], &d->items[i + 1], (--d->n_items - i) * sizeof(Diagnostic));
                        return true;
                }
        return false;
}

void diagnostics_refuse(Diagnostics *d, const char *file) {
        /* Most often it is the one of the error before. */
        for (size_t i = strv_length(d->refused); i-- > 0;)
                if (streq(d->refused[i], file))
                        return;
        if (strv_extend(&d->refused, file) < 0)
                d->error = -ENOMEM;
}

void diagnostics_add(Diagnostics *d, Severity severity, Span span, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *shown = NULL;
        Diagnostic *items;
        const char *file;
        va_list ap;
        int n;

        if (!d)
                return;
        d->n_errors += severity == SEVERITY_ERROR;
        d->n_warnings += severity == SEVERITY_WARNING;
        if (severity == SEVERITY_ERROR)
                diagnostics_refuse(d, span.file ? span.file : "");
        if (!diagnostics_make_room(d, severity))
                return;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                text = NULL;
                goto oom;
        }
        /* A value may be a megabyte long; its beginning tells enough. */
        if (n > 400)
                strcpy(text + 397, "...");
        shown = str_escape(text);
        file = diagnostics_intern(d, span.file ? span.file : "");
        items = shown && file ? realloc(d->items, (d->n_items + 1) * sizeof(Diagnostic)) : NULL;
        if (!items)
                goto oom;
        d->items = items;
        d->items[d->n_items++] = (Diagnostic) {
                .severity = severity,
                .span = { .file = file, .line = span.line, .column = span.column },
                .text = TAKE_PTR(shown),
        };
        return;
oom:
        d->error = -ENOMEM;
}

static size_t file_rank(const Diagnostics *d, const char *file) {
        size_t i = 0;

        while (d->files[i] != file)
                i++;
        return i;
}

static bool diagnostic_before(const Diagnostics *d, const Diagnostic *a, const Diagnostic *b) {
        if (a->span.file != b->span.file)
                return file_rank(d, a->span.file) < file_rank(d, b->span.file);
        if (a->span.line != b->span.line)
                return a->span.line < b->span.line;
        return a->span.column < b->span.column;
}

void diagnostics_sort(Diagnostics *d) {
        /* Insertion: stable, and there are few. */
        for (size_t i = 1; i < d->n_items; i++) {
                Diagnostic moved = d->items[i];
                size_t j = i;

                for (; j > 0 && diagnostic_before(d, &moved, &d->items[j - 1]); j--)
                        d->items[j] = d->items[j - 1];
                d->items[j] = moved;
        }
}

int diagnostics_format(const Diagnostics *d, Severity least, char **ret) {
        _cleanup_str_ Str s = {};
        /* Errors go before the others, and only for errors. */
        size_t more = least < SEVERITY_ERROR ? d->n_dropped : d->n_errors - MIN(d->n_errors, (size_t) DIAGNOSTICS_MAX);

        for (size_t i = 0; i < d->n_items; i++) {
                const Diagnostic *x = &d->items[i];

                if (x->severity >= least)
                        str_appendf(&s, "%s:%u:%u: %s: %s\n", x->span.file, x->span.line, x->span.column,
                                    severity_to_string(x->severity), x->text);
        }
        if (more > 0)
                str_appendf(&s, "... and %zu more\n", more);
        return str_finish(&s, ret);
}
