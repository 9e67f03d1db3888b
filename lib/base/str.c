/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Strings: a growing buffer, escaping of foreign text, string lists.
 *
 * Invariant: what str_append_escaped() wrote is valid UTF-8 without any control character, C1 included
 * (U+009B alone starts a terminal sequence), whatever came in. */

#include "base/str.h"

void str_done(Str *s) {
        free(s->data);
        *s = (Str) {};
}

/* Room for n more bytes and the NUL. */
static bool str_grow(Str *s, size_t n) {
        size_t need, size;
        char *p;

        if (s->error < 0)
                return false;
        if (__builtin_add_overflow(s->length, n, &need) || __builtin_add_overflow(need, 1, &need)) {
                s->error = -ENOMEM;
                return false;
        }
        if (need <= s->allocated)
                return true;
        size = MAX(need, MAX(s->allocated + s->allocated / 2, (size_t) 64));
        p = realloc(s->data, size);
        if (!p) {
                s->error = -ENOMEM;
                return false;
        }
        s->data = p;
        s->allocated = size;
        return true;
}

void str_append_n(Str *s, const char *text, size_t n) {
        if (!str_grow(s, n))
                return;
        if (n > 0)
                memcpy(s->data + s->length, text, n);
        s->length += n;
        s->data[s->length] = '\0';
}

void str_append(Str *s, const char *text) {
        str_append_n(s, text, strlen(text));
}

void str_appendf(Str *s, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0) {
                s->error = -ENOMEM;
                return;
        }
        if (!str_grow(s, (size_t) n))
                return;
        va_start(ap, format);
        (void) vsnprintf(s->data + s->length, (size_t) n + 1, format, ap);
        va_end(ap);
        s->length += (size_t) n;
}

int utf8_character(const char *text, size_t n) {
        const unsigned char *s = (const unsigned char *) text;
        uint32_t c;
        int length;

        if (n == 0)
                return -EINVAL;
        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                length = 2, c = s[0] & 0x1f;
        else if (s[0] >= 0xe0 && s[0] <= 0xef)
                length = 3, c = s[0] & 0x0f;
        else if (s[0] >= 0xf0 && s[0] <= 0xf4)
                length = 4, c = s[0] & 0x07;
        else
                return -EINVAL;
        if (n < (size_t) length)
                return -EINVAL;
        for (int i = 1; i < length; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return -EINVAL;
                c = c << 6 | (s[i] & 0x3f);
        }
        if ((length == 3 && c < 0x800) || (length == 4 && c < 0x10000) || (c >= 0xd800 && c <= 0xdfff) ||
            c > 0x10ffff)
                return -EINVAL;
        return length;
}

void str_append_escaped(Str *s, const char *text) {
        size_t left = strlen(text);

        while (left > 0) {
                const unsigned char *u = (const unsigned char *) text;
                int n = utf8_character(text, left);
                bool c1 = n == 2 && u[0] == 0xc2 && u[1] < 0xa0;

                if (n == 1 && u[0] >= 0x20 && u[0] != 0x7f && u[0] != '\\')
                        str_append_n(s, text, 1);
                else if (n > 1 && !c1)
                        str_append_n(s, text, (size_t) n);
                else {
                        n = 1;  /* the second byte of a C1 character is no character by itself: escaped next */
                        str_appendf(s, "\\x%02x", u[0]);
                }
                text += n;
                left -= (size_t) n;
        }
}

int str_finish(Str *s, char **ret) {
        int r;

        str_append_n(s, "", 0);
        r = s->error;
        if (r < 0) {
                str_done(s);
                return r;
        }
        *ret = TAKE_PTR(s->data);
        *s = (Str) {};
        return 0;
}

char *str_escape(const char *text) {
        Str s = {};
        char *ret = NULL;

        str_append_escaped(&s, text);
        return str_finish(&s, &ret) < 0 ? NULL : ret;
}

char **strv_free(char **l) {
        if (l)
                for (char **i = l; *i; i++)
                        free(*i);
        free(l);
        return NULL;
}

size_t strv_length(char *const *l) {
        size_t n = 0;

        while (l && l[n])
                n++;
        return n;
}

bool strv_contains(char *const *l, const char *s) {
        for (; l && *l; l++)
                if (streq(*l, s))
                        return true;
        return false;
}

int strv_extend(char ***l, const char *s) {
        size_t n = strv_length(*l);
        char *copy, **p;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;
        p = realloc(*l, (n + 2) * sizeof(char *));
        if (!p) {
                free(copy);
                return -ENOMEM;
        }
        p[n] = copy;
        p[n + 1] = NULL;
        *l = p;
        return 0;
}
