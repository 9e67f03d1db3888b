/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Globs: matching, and whether two of them can take in the same name.
 *
 * Invariant: never recurses and never takes more than |pattern| * |text| steps, so that no pattern, however
 * it is made, can hang the daemon or the boot. Works on bytes: names of units are ASCII. */

#include "base/macro.h"
#include "policy/glob.h"

/* One place of a pattern: any run of bytes, or one byte out of a set. */
typedef struct Token {
        bool star;
        uint64_t set[4];
} Token;

static void token_add(Token *t, unsigned char c) {
        t->set[c / 64] |= UINT64_C(1) << c % 64;
}

static bool token_has(const Token *t, unsigned char c) {
        return t->set[c / 64] & UINT64_C(1) << c % 64;
}

/* Reads one token at *p and moves on. -EINVAL: an unclosed set or a backwards range. */
static int token_next(const char **p, Token *ret) {
        const unsigned char *s = (const unsigned char *) *p;
        Token t = {};
        bool negate;

        switch (*s) {
        case '*':
                t.star = true;
                while (*s == '*')
                        s++;
                break;
        case '?':
                memset(t.set, 0xff, sizeof(t.set));
                s++;
                break;
        case '[':
                s++;
                negate = *s == '!' || *s == '^';
                if (negate)
                        s++;
                /* "]" as the first of a set is a member. */
                for (bool first = true; first || *s != ']'; first = false) {
                        unsigned from = *s, to = *s;

                        if (!*s)
                                return -EINVAL;
                        s++;
                        if (s[0] == '-' && s[1] && s[1] != ']') {
                                to = s[1];
                                s += 2;
                                if (to < from)
                                        return -EINVAL;
                        }
                        for (unsigned c = from; c <= to; c++)
                                token_add(&t, (unsigned char) c);
                }
                s++;
                if (negate)
                        for (size_t i = 0; i < ARRAY_SIZE(t.set); i++)
                                t.set[i] = ~t.set[i];
                break;
        default:
                token_add(&t, *s);
                s++;
        }
        *p = (const char *) s;
        *ret = t;
        return 0;
}

size_t glob_prefix(const char *pattern) {
        return strcspn(pattern, "*?[");
}

bool glob_is_literal(const char *pattern) {
        return !pattern[glob_prefix(pattern)];
}

bool glob_is_valid(const char *pattern) {
        Token t;

        while (*pattern)
                if (token_next(&pattern, &t) < 0)
                        return false;
        return true;
}

bool glob_match(const char *pattern, const char *text) {
        const char *star_pattern = NULL, *star_text = NULL;

        /* On a mismatch only the last star needs to take one byte more: what came before it has matched. */
        for (;;) {
                if (*pattern) {
                        Token t;
                        const char *next = pattern;

                        if (token_next(&next, &t) < 0)
                                return false;
                        if (t.star) {
                                pattern = star_pattern = next;
                                star_text = text;
                                continue;
                        }
                        if (*text && token_has(&t, (unsigned char) *text)) {
                                pattern = next;
                                text++;
                                continue;
                        }
                } else if (!*text)
                        return true;
                if (!star_text || !*star_text)
                        return false;
                text = ++star_text;
                pattern = star_pattern;
        }
}

#define GLOB_TOKENS_MAX 256

bool glob_intersects(const char *a, const char *b) {
        Token ta[GLOB_TOKENS_MAX], tb[GLOB_TOKENS_MAX];
        bool row[GLOB_TOKENS_MAX + 1] = {}, next[GLOB_TOKENS_MAX + 1];
        size_t na = 0, nb = 0;

        for (; *a; na++)
                if (na == GLOB_TOKENS_MAX || token_next(&a, &ta[na]) < 0)
                        return false;
        for (; *b; nb++)
                if (nb == GLOB_TOKENS_MAX || token_next(&b, &tb[nb]) < 0)
                        return false;

        /* row[j]: what stands in a from i on and what stands in b from j on have a text in common. From the
         * ends backwards. */
        for (size_t i = na + 1; i-- > 0;) {
                for (size_t j = nb + 1; j-- > 0;) {
                        bool r;

                        if (i == na && j == nb)
                                r = true;
                        else if (i < na && ta[i].star)
                                /* the star is empty, or takes what b has next */
                                r = row[j] || (j < nb && next[j + 1]);
                        else if (j < nb && tb[j].star)
                                r = next[j + 1] || (i < na && row[j]);
                        else if (i < na && j < nb) {
                                r = false;
                                for (size_t k = 0; k < ARRAY_SIZE(ta[i].set); k++)
                                        r = r || (ta[i].set[k] & tb[j].set[k]);
                                r = r && row[j + 1];
                        } else
                                r = false;
                        next[j] = r;
                }
                memcpy(row, next, (nb + 1) * sizeof(bool));
        }
        return row[0];
}
