/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Text for people: colour, bars, wrapping, times and sizes. */

#include <stdarg.h>
#include <time.h>

#include "base/units.h"
#include "view/view.h"

/* Longer lines of prose are hard to read, however wide the terminal. */
#define WRAP_MAX 100U

const char *view_color(const View *v, Color c) {
        static const char *const sequences[_COLOR_MAX] = {
                [COLOR_NORMAL] = "\x1b[0m", [COLOR_BOLD] = "\x1b[1m",   [COLOR_DIM] = "\x1b[2m",
                [COLOR_RED] = "\x1b[1;31m", [COLOR_GREEN] = "\x1b[32m", [COLOR_YELLOW] = "\x1b[33m",
                [COLOR_BLUE] = "\x1b[34m",
        };

        return v->color && c < _COLOR_MAX ? sequences[c] : "";
}

void view_colored(const View *v, Str *out, Color c, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                text = NULL;
                out->error = -ENOMEM;
                return;
        }
        str_append(out, view_color(v, c));
        view_text(out, text);
        str_append(out, view_color(v, COLOR_NORMAL));
}

/* The backslash stays: it is in unit names, and does no harm. */
void view_text(Str *out, const char *text) {
        for (size_t left = strlen(text); left > 0;) {
                const unsigned char *u = (const unsigned char *) text;
                int n = utf8_character(text, left);
                bool control =
                        (n == 1 && (u[0] < 0x20 || u[0] == 0x7f)) || (n == 2 && u[0] == 0xc2 && u[1] < 0xa0);

                if (n > 0 && !control)
                        str_append_n(out, text, (size_t) n);
                else {
                        n = 1;
                        str_appendf(out, "\\x%02x", u[0]);
                }
                text += n;
                left -= (size_t) n;
        }
}

unsigned view_columns(const char *text) {
        unsigned n = 0;

        for (; *text; text++)
                n += ((unsigned char) *text & 0xc0) != 0x80;
        return n;
}

void view_pad(Str *out, const char *text, int columns) {
        unsigned want = (unsigned) abs(columns), n = view_columns(text);

        if (columns > 0)
                view_text(out, text);
        for (; n < want; n++)
                str_append_n(out, " ", 1);
        if (columns <= 0)
                view_text(out, text);
}

void view_wrap(const View *v, Str *out, unsigned indent, const char *text) {
        unsigned column = 0, width = MIN(v->width, WRAP_MAX);

        while (*text) {
                size_t n = strcspn(text, " \n");
                _cleanup_free_ char *word = strndup(text, n);
                unsigned w;

                if (!word) {
                        out->error = -ENOMEM;
                        return;
                }
                w = view_columns(word);
                if (column > indent && column + 1 + w > width) {
                        str_append_n(out, "\n", 1);
                        column = 0;
                }
                if (column == 0)
                        for (; column < indent; column++)
                                str_append_n(out, " ", 1);
                else if (column > indent) {
                        str_append_n(out, " ", 1);
                        column++;
                }
                view_text(out, word);
                column += w;
                text += n;
                if (*text == '\n') {
                        str_append_n(out, "\n", 1);
                        column = 0;
                }
                if (*text)
                        text++;
        }
        if (column > 0)
                str_append_n(out, "\n", 1);
}

void view_bar(const View *v, Str *out, unsigned permyriad, unsigned columns) {
        static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
        unsigned cells =
                (unsigned) ((uint64_t) MIN(permyriad, (unsigned) PERMYRIAD) * columns * 8 / PERMYRIAD);
        unsigned full = cells / 8, rest = cells % 8, used = full;

        for (unsigned i = 0; i < full; i++)
                str_append(out, v->unicode ? "█" : "#");
        if (v->unicode && rest > 0) {
                str_append(out, eighths[rest]);
                used++;
        } else if (!v->unicode && rest >= 4) {
                str_append(out, "=");
                used++;
        }
        for (; used < columns; used++)
                str_append(out, v->unicode ? " " : ".");
}

char *view_duration(uint64_t usec, char buf[static VIEW_TEXT_MAX]) {
        unsigned long long s = usec / USEC_PER_SEC;

        if (usec == USEC_INFINITY)
                (void) snprintf(buf, VIEW_TEXT_MAX, "for ever");
        else if (usec < 10 * USEC_PER_MSEC)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu.%llu ms", (unsigned long long) (usec / 1000),
                                (unsigned long long) (usec % 1000 / 100));
        else if (usec < USEC_PER_SEC)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu ms", (unsigned long long) (usec / 1000));
        else if (usec < 10 * USEC_PER_SEC)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu.%02llu s", s,
                                (unsigned long long) (usec % USEC_PER_SEC / 10000));
        else if (usec < USEC_PER_MINUTE)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu.%llu s", s,
                                (unsigned long long) (usec % USEC_PER_SEC / 100000));
        else if (s < 3600)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llumin %llus", s / 60, s % 60);
        else if (s < 48 * 3600)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%lluh %llumin", s / 3600, s % 3600 / 60);
        else
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu days", s / 86400);
        return buf;
}

char *view_bytes(const json_t *bytes, char buf[static VIEW_TEXT_MAX]) {
        if (!json_is_integer(bytes))
                (void) snprintf(buf, VIEW_TEXT_MAX, "no limit");
        else
                (void) bytes_format_human((uint64_t) json_integer_value(bytes), buf);
        return buf;
}

char *view_percent(uint64_t permyriad, char buf[static VIEW_TEXT_MAX]) {
        uint64_t tenths = (permyriad + 5) / 10;

        if (tenths % 10)
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu.%llu %%", (unsigned long long) (tenths / 10),
                                (unsigned long long) (tenths % 10));
        else
                (void) snprintf(buf, VIEW_TEXT_MAX, "%llu %%", (unsigned long long) (tenths / 10));
        return buf;
}

char *view_time(const json_t *time, bool date, char buf[static VIEW_TEXT_MAX]) {
        const char *text = field_text(time, "time");
        struct tm tm = {}, local;
        time_t seconds;

        if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) || (seconds = timegm(&tm)) < 0 ||
            !localtime_r(&seconds, &local) ||
            strftime(buf, VIEW_TEXT_MAX, date ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &local) == 0)
                (void) snprintf(buf, VIEW_TEXT_MAX, "-");
        return buf;
}

const char *field_text(const json_t *j, const char *key) {
        const char *s = json_string_value(json_object_get(j, key));

        return s ? s : "";
}

uint64_t field_u64(const json_t *j, const char *key) {
        const json_t *f = json_object_get(j, key);

        if (json_is_null(f))
                return UINT64_MAX;
        return json_integer_value(f) > 0 ? (uint64_t) json_integer_value(f) : 0;
}

int64_t field_i64(const json_t *j, const char *key) {
        return json_integer_value(json_object_get(j, key));
}

bool field_true(const json_t *j, const char *key) {
        return json_is_true(json_object_get(j, key));
}

uint64_t field_usec(const json_t *j, const char *key) {
        return field_u64(json_object_get(j, key), "usec");
}
