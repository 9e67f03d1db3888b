/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Document: the syntax of systemd.syntax(7) with positions.
 *
 * Comments are whole lines (# or ;), also between continued lines; a backslash at the end of a line joins
 * it with the next and stands for a space, also with blanks behind it; white space around "=" is dropped.
 * X- sections and keys, which systemd leaves to others, are read and left out. A fault costs its line, not
 * the rest of the file, so that all faults are found at once.
 *
 * Invariant: text in a document is valid UTF-8 without control characters but tab. Columns count
 * characters, as editors show them. Left out on purpose: quoting and C escapes, which depend on the key. */

#include "base/str.h"
#include "policy/document.h"

typedef struct Parser {
        Document *document;
        Diagnostics *diagnostics;
        Section *section;       /* NULL: none yet, or one whose lines are ignored */
        bool ignoring;
        Str line;               /* the joined line so far */
        Piece *pieces;
        size_t n_pieces;
} Parser;

/* Room for one more behind n; twice as much whenever that is full, for a megabyte of lines is a hundred thousand of them. */
static void *grow(void *items, size_t n, size_t size) {
        return n & (n - 1) ? items : reallocarray(items, n > 0 ? 2 * n : 1, size);
}

/* Columns from the byte at `from` to the one at `to`: continuation bytes of UTF-8 take none. */
static unsigned columns(const char *from, const char *to) {
        unsigned n = 0;

        for (; from < to; from++)
                n += ((unsigned char) *from & 0xc0) != 0x80;
        return n;
}

static Span pieces_span(const char *file, const char *text, const Piece *pieces, size_t n, const char *p) {
        size_t i = 0;

        while (i + 1 < n && pieces[i + 1].offset <= (size_t) (p - text))
                i++;
        return (Span) {
                .file = file,
                .line = pieces[i].line,
                .column = pieces[i].column + columns(text + pieces[i].offset, p),
        };
}

Span assignment_span(const Assignment *a, const char *p) {
        return pieces_span(a->span.file, a->text, a->pieces, a->n_pieces, p);
}

static Span parser_span(const Parser *p, const char *at) {
        return pieces_span(p->document->file, p->line.data, p->pieces, p->n_pieces, at);
}

static bool is_space(char c) {
        return c == ' ' || c == '\t';
}

static const char *skip_space(const char *s) {
        while (is_space(*s))
                s++;
        return s;
}

/* Past the last byte that is no white space. */
static const char *trim_end(const char *start, const char *end) {
        while (end > start && is_space(end[-1]))
                end--;
        return end;
}

static int parse_header(Parser *p, const char *text, const char *end) {
        const char *name = skip_space(text + 1), *close = strchr(text, ']'), *name_end, *argument;
        Section *sections, section = {};

        p->section = NULL;
        p->ignoring = true;
        if (!close) {
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, parser_span(p, text),
                                "the section header is not closed: expected [NAME]");
                return 0;
        }
        if (close + 1 != end) {
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, parser_span(p, close + 1),
                                "text after the section header: expected [NAME] alone (comments are lines of their own)");
                return 0;
        }
        name_end = name;
        while (name_end < close && !is_space(*name_end))
                name_end++;
        if (name_end == name) {
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, parser_span(p, text),
                                "a section without a name: expected [NAME]");
                return 0;
        }
        if (name_end - name >= 2 && startswith(name, "X-"))
                return 0;

        argument = skip_space(name_end);
        section.span = parser_span(p, text);
        section.argument_span = parser_span(p, argument);
        section.name = strndup(name, (size_t) (name_end - name));
        if (argument < close)
                section.argument = strndup(argument, (size_t) (trim_end(argument, close) - argument));
        sections = grow(p->document->sections, p->document->n_sections, sizeof(Section));
        if (sections)
                p->document->sections = sections;
        if (!sections || !section.name || (argument < close && !section.argument)) {
                free(section.name);
                free(section.argument);
                return -ENOMEM;
        }
        p->section = &sections[p->document->n_sections++];
        *p->section = section;
        p->ignoring = false;
        return 0;
}

static int parse_assignment(Parser *p, const char *text, const char *end) {
        const char *equals = strchr(text, '='), *key_end, *value;
        Assignment *assignments, a;
        char *copy;

        if (!equals) {
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, parser_span(p, text),
                                "expected KEY=VALUE, a [SECTION] or a comment");
                return 0;
        }
        if (equals == text) {
                diagnostics_add(p->diagnostics, SEVERITY_ERROR, parser_span(p, text),
                                "no key before '=': expected KEY=VALUE");
                return 0;
        }
        if (!p->section) {
                if (!p->ignoring)
                        diagnostics_add(p->diagnostics, SEVERITY_ERROR, parser_span(p, text),
                                        "an assignment outside of any section: expected a line such as [Domain] before it");
                return 0;
        }
        if (startswith(text, "X-"))
                return 0;

        key_end = trim_end(text, equals);
        value = skip_space(equals + 1);
        copy = strndup(text, (size_t) (end - text));
        assignments = grow(p->section->assignments, p->section->n_assignments, sizeof(Assignment));
        if (assignments)
                p->section->assignments = assignments;
        if (!copy || !assignments) {
                free(copy);
                return -ENOMEM;
        }
        a = (Assignment) {
                .text = copy,
                .key = copy,
                .value = copy + (value - text),
                .pieces = p->pieces,
                .n_pieces = p->n_pieces,
                .span = parser_span(p, text),
        };
        copy[key_end - text] = '\0';
        p->pieces = NULL;
        p->n_pieces = 0;
        p->section->assignments[p->section->n_assignments++] = a;
        return 0;
}

/* The joined line is whole. Its first byte is no white space: those were skipped line by line. */
static int parse_line(Parser *p) {
        const char *text = p->line.data, *end;
        int r = 0;

        if (p->line.error < 0)
                return p->line.error;
        if (p->n_pieces == 0)
                return 0;
        /* What a backslash left at the very end is white space too. */
        end = trim_end(text, text + p->line.length);
        p->line.data[end - text] = '\0';
        /* A first line with nothing but a backslash leaves its space at the front. */
        text = skip_space(text);
        if (text < end) {
                /* Pieces count from the start of what the assignment copies. */
                size_t skipped = (size_t) (text - p->line.data);

                if (skipped > 0) {
                        memmove(p->line.data, text, (size_t) (end - text) + 1);
                        for (size_t i = 0; i < p->n_pieces; i++)
                                p->pieces[i].offset -= MIN(p->pieces[i].offset, skipped);
                        while (p->n_pieces > 1 && p->pieces[1].offset == 0)
                                memmove(p->pieces, p->pieces + 1, --p->n_pieces * sizeof(Piece));
                        end -= skipped;
                        text = p->line.data;
                }
                r = *text == '[' ? parse_header(p, text, end) : parse_assignment(p, text, end);
        }
        p->line.length = 0;
        free(p->pieces);
        p->pieces = NULL;
        p->n_pieces = 0;
        return r;
}

/* As in systemd: a backslash before another one does not continue. */
static bool ends_in_backslash(const char *s, const char *end) {
        bool escaped = false;

        for (; s < end; s++)
                escaped = !escaped && *s == '\\';
        return escaped;
}

static int parse_text(Parser *p, const char *text, const char *end) {
        const char *next;
        int r;

        for (unsigned line = 1; text < end; line++, text = next) {
                const char *eol = memchr(text, '\n', (size_t) (end - text)), *s;
                bool continues;
                Piece *pieces;

                next = eol ? eol + 1 : end;
                if (!eol)
                        eol = end;
                if (eol > text && eol[-1] == '\r')
                        eol--;
                s = text;
                while (s < eol && is_space(*s))
                        s++;
                if (s < eol && (*s == '#' || *s == ';'))
                        continue;
                /* Blanks that nobody sees behind a backslash do not end the line, and none is left at the end of a value. */
                eol = trim_end(s, eol);
                continues = ends_in_backslash(s, eol);

                pieces = grow(p->pieces, p->n_pieces, sizeof(Piece));
                if (!pieces)
                        return -ENOMEM;
                p->pieces = pieces;
                p->pieces[p->n_pieces++] = (Piece) {
                        .offset = p->line.length,
                        .line = line,
                        .column = 1 + columns(text, s),
                };
                str_append_n(&p->line, s, (size_t) (eol - s) - continues);
                if (continues) {
                        str_append(&p->line, " ");
                        continue;
                }
                r = parse_line(p);
                if (r < 0)
                        return r;
        }
        return parse_line(p);
}

/* True where the whole text may be read. The first bad byte is told: a binary file has no second one. */
static bool check_bytes(const char *file, const char *text, size_t size, Diagnostics *d) {
        Span span = { .file = file, .line = 1, .column = 1 };

        if (size > DOCUMENT_SIZE_MAX) {
                diagnostics_add(d, SEVERITY_ERROR, span, "the file is larger than 1 MiB");
                return false;
        }
        for (size_t i = 0; i < size;) {
                const unsigned char *u = (const unsigned char *) text + i;
                int n = utf8_character(text + i, size - i);

                if (n < 0) {
                        diagnostics_add(d, SEVERITY_ERROR, span, "byte 0x%02x is not valid UTF-8", *u);
                        return false;
                }
                if (*u == '\0') {
                        diagnostics_add(d, SEVERITY_ERROR, span, "a NUL byte: this is not a text file");
                        return false;
                }
                if ((*u < 0x20 && *u != '\t' && *u != '\n' &&
                     !(*u == '\r' && (i + 1 == size || text[i + 1] == '\n'))) ||
                    *u == 0x7f || (n == 2 && *u == 0xc2 && u[1] < 0xa0)) {
                        diagnostics_add(d, SEVERITY_ERROR, span, "a control character (U+%04X)", n == 2 ? u[1] : *u);
                        return false;
                }
                if (*u == '\n') {
                        span.line++;
                        span.column = 1;
                } else
                        span.column++;
                i += (size_t) n;
        }
        return true;
}

int document_parse(const char *file, const char *text, size_t size, Diagnostics *d, Document **ret) {
        _cleanup_(document_freep) Document *document = calloc(1, sizeof(Document));
        Parser p = { .document = document, .diagnostics = d };
        int r;

        if (!document)
                return -ENOMEM;
        document->file = file;
        if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {     /* a byte order mark */
                text += 3;
                size -= 3;
        }
        if (check_bytes(file, text, size, d)) {
                r = parse_text(&p, text, text + size);
                str_done(&p.line);
                free(p.pieces);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(document);
        return 0;
}

Document *document_free(Document *d) {
        if (!d)
                return NULL;
        for (size_t i = 0; i < d->n_sections; i++) {
                Section *s = &d->sections[i];

                for (size_t j = 0; j < s->n_assignments; j++) {
                        free(s->assignments[j].text);
                        free(s->assignments[j].pieces);
                }
                free(s->assignments);
                free(s->name);
                free(s->argument);
        }
        free(d->sections);
        free(d);
        return NULL;
}
