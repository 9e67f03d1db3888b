/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Command: the words of a command line (PreKillExec=).
 *
 * Invariant: what value_read_command() took splits here without an error but -ENOMEM. What %i stands for
 * goes into its word as it is, so a name with a space or a quote in it can neither end the word nor begin
 * another. Left out on purpose: C escapes, variables and all that a shell knows; who wants a shell calls
 * one. */

#include "base/str.h"
#include "policy/policy.h"

/* One word at *p, which stands on it. */
static int word_take(const char **p, const char *unit, char **ret) {
        _cleanup_str_ Str word = {};
        const char *s = *p;
        char quote = 0;

        for (; *s && (quote || (*s != ' ' && *s != '\t')); s++) {
                if (*s == '\\' && s[1])
                        s++;
                else if (quote ? *s == quote : *s == '"' || *s == '\'') {
                        quote = quote ? 0 : *s;
                        continue;
                } else if (*s == '%' && s[1]) {
                        s++;
                        if (*s == 'i') {
                                str_append(&word, unit);
                                continue;
                        }
                }
                str_append_n(&word, s, 1);
        }
        *p = s;
        return str_finish(&word, ret);
}

int command_split(const char *command, const char *unit, char ***ret) {
        _cleanup_strv_ char **argv = NULL;
        const char *p = command;

        for (;;) {
                _cleanup_free_ char *word = NULL;
                int r;

                p += strspn(p, " \t");
                if (!*p)
                        break;
                r = word_take(&p, unit, &word);
                if (r >= 0)
                        r = strv_extend(&argv, word);
                if (r < 0)
                        return r;
        }
        if (!argv)
                return -EINVAL;
        *ret = TAKE_PTR(argv);
        return 0;
}
