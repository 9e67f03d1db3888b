/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Value: the readers of each type in the schema. They know types and ranges, and no key by name.
 *
 * Invariant: a reader's output, printed in the canonical form, reads back to the same output. What is
 * refused is told with the place of the word that is wrong, what was expected, and the range. */

#include "base/str.h"
#include "base/units.h"
#include "policy/glob.h"
#include "policy/value.h"

/* PSI takes windows from 500 ms to 10 s (Documentation/accounting/psi.rst); all of ours follow it. */
#define WINDOW_MIN_USEC (500 * USEC_PER_MSEC)
#define WINDOW_MAX_USEC (10 * USEC_PER_SEC)

#define LIST_MAX 1024

int value_refuse(const ValueContext *c, const char *at, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                text = NULL;
                return -ENOMEM;
        }
        if (c->assignment)
                diagnostics_add(c->diagnostics, SEVERITY_ERROR, assignment_span(c->assignment, at), "%s=: %s",
                                c->key->name, text);
        return -EINVAL;
}

static int refuse_type(const ValueContext *c, const char *at, const char *word) {
        if (c->key->words)
                return value_refuse(c, at, "'%.100s' is not understood: expected one of: %s", word, c->key->words);
        return value_refuse(c, at, "'%.100s' is not understood: expected %s", word,
                            value_type_expected(c->key->type));
}

static int refuse_range(const ValueContext *c, const char *at, const char *word) {
        char range[RANGE_MAX];

        key_range(c->key, range);
        if (!*range)
                return value_refuse(c, at, "'%.100s' is too large: expected %s", word,
                                    value_type_expected(c->key->type));
        return value_refuse(c, at, "'%.100s' is out of range: expected %s, %s", word,
                            value_type_expected(c->key->type), range);
}

/* The next word at *p, white space between: where it starts and a copy. 0 at the end, 1 for a word. */
static int word_next(const char **p, const char **ret_at, char **ret) {
        const char *s = *p, *e;
        char *copy;

        s += strspn(s, " \t");
        e = s + strcspn(s, " \t");
        if (e == s)
                return 0;
        copy = strndup(s, (size_t) (e - s));
        if (!copy)
                return -ENOMEM;
        free(*ret);
        *ret = copy;
        *ret_at = s;
        *p = e;
        return 1;
}

static const char *skip_space(const char *s) {
        return s + strspn(s, " \t");
}

static bool is_alnum(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int value_read_text(const ValueContext *c, const char *text, char **ret) {
        char *copy;

        if (strlen(text) > 1024)
                return value_refuse(c, text, "the text is longer than 1024 bytes");
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        /* A tab inside would not survive being shown. */
        for (char *p = copy; *p; p++)
                if (*p == '\t')
                        *p = ' ';
        *ret = copy;
        return 0;
}

int value_read_slice(const ValueContext *c, const char *text, char **ret) {
        _cleanup_free_ char *cgroup = NULL, *copy = NULL;
        int r;

        if (strstr(text, ".."))
                return value_refuse(c, text, "'%.100s' has '..' in it: expected %s", text,
                                    value_type_expected(VALUE_SLICE));
        if (streq(text, "init.scope"))
                return value_refuse(c, text, "init.scope holds PID 1: no domain may be on it");
        if (streq(text, CGD_SLICE) || startswith(text, "cgd-"))
                return value_refuse(c, text, "%.100s is cgd's own slice: no domain may be on it", text);
        r = slice_to_cgroup(text, &cgroup);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse_type(c, text, text);
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        *ret = TAKE_PTR(copy);
        return 0;
}

int value_read_scalar(const ValueContext *c, const char *text, uint64_t *ret) {
        const Key *k = c->key;
        unsigned permyriad;
        uint64_t v = 0;
        int r;

        switch (k->type) {
        case VALUE_NUMBER:
                r = u64_parse(text, &v);
                break;
        case VALUE_PERCENT:
                r = permyriad_parse(text, &permyriad);
                if (r >= 0)
                        v = permyriad;
                break;
        case VALUE_BYTES:
                r = bytes_parse(text, 1024, &v);
                break;
        case VALUE_BANDWIDTH:
                r = bytes_parse(text, 1000, &v);
                break;
        default:
                r = usec_parse(text, &v);
        }
        if (r == -EINVAL)
                return refuse_type(c, text, text);
        if (r < 0 || v < k->min || v > k->max)
                return refuse_range(c, text, text);
        *ret = v;
        return 0;
}

int value_read_mode(const ValueContext *c, const char *text, Mode *ret) {
        if (mode_from_string(text, ret) < 0)
                return refuse_type(c, text, text);
        return 0;
}

int value_read_steps(const ValueContext *c, const char *text, bool ret[static _STEP_MAX]) {
        _cleanup_free_ char *word = NULL;
        bool steps[_STEP_MAX] = {};
        const char *p = text, *at;
        int r, last = -1;

        while ((r = word_next(&p, &at, &word)) > 0) {
                Step s;

                if (step_from_string(word, &s) < 0)
                        return value_refuse(c, at, "'%.100s' is no step: expected %s", word,
                                            value_type_expected(VALUE_STEPS));
                /* An order of one's own would be silently another one: the ladder is fixed, mildest first. */
                if ((int) s <= last)
                        return value_refuse(c, at, "'%s' cannot come after '%s': expected %s", word,
                                            step_to_string((Step) last), value_type_expected(VALUE_STEPS));
                steps[s] = true;
                last = (int) s;
        }
        if (r < 0)
                return r;
        memcpy(ret, steps, sizeof(steps));
        return 0;
}

int value_read_budget(const ValueContext *c, const char *text, unsigned *ret_kills, uint64_t *ret_usec) {
        _cleanup_free_ char *number = NULL, *per = NULL;
        const char *p = text, *at = text, *at_per = text;
        uint64_t kills, usec;
        int r;

        r = word_next(&p, &at, &number);
        if (r > 0)
                r = word_next(&p, &at_per, &per);
        if (r < 0)
                return r;
        p = skip_space(p);
        if (r == 0 || u64_parse(number, &kills) == -EINVAL || !streq(per, "per") || usec_parse(p, &usec) == -EINVAL)
                return refuse_type(c, text, text);
        if (u64_parse(number, &kills) < 0 || kills > c->key->max)
                return refuse_range(c, at, number);
        if (usec_parse(p, &usec) < 0 || usec < 10 * USEC_PER_SEC || usec > 7 * 24 * 60 * USEC_PER_MINUTE)
                return value_refuse(c, p, "'%.100s' is out of range: expected a time span, 10s to 1w", p);
        *ret_kills = (unsigned) kills;
        *ret_usec = usec;
        return 0;
}

int value_read_command(const ValueContext *c, const char *text, char **ret) {
        char quote = 0;
        char *copy;

        if (*text != '/')
                return refuse_type(c, text, text);
        for (const char *p = text; *p; p++) {
                if (*p == '\\' && p[1]) {
                        p++;
                        continue;
                }
                if (quote) {
                        if (*p == quote)
                                quote = 0;
                } else if (*p == '"' || *p == '\'')
                        quote = *p;
                if (*p == '%') {
                        if (p[1] != 'i' && p[1] != '%')
                                return value_refuse(c, p, "unknown specifier: expected %%i (the unit) or %%%%");
                        p++;
                }
        }
        if (quote)
                return value_refuse(c, text, "a quote (%c) is not closed", quote);
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static const char *const unit_suffixes[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

static int check_unit(const ValueContext *c, const char *at, const char *word, bool refuse_protected) {
        /* Who is placed has drop-ins. */
        size_t most = refuse_protected ? POLICY_UNIT_NAME_MAX : 255;
        const char *suffix = NULL, *other;

        if (strstr(word, "..") || strchr(word, '/'))
                return value_refuse(c, at, "'%.100s' is a path: expected %s", word, value_type_expected(VALUE_UNITS));
        if (strlen(word) > most)
                return value_refuse(c, at, "'%.100s...' is longer than a unit's name can be here (%zu bytes)", word, most);
        for (size_t i = 0; i < ARRAY_SIZE(unit_suffixes) && !suffix; i++)
                suffix = endswith(word, unit_suffixes[i]);
        if (refuse_protected) {
                other = unit_protected_by(word);
                if (other)
                        return value_refuse(c, at, "'%.100s' takes in %s, which is never placed", word, other);
        }
        if (endswith(word, ".slice"))
                return value_refuse(c, at, "'%.100s' is a slice: a domain of its own is made for it by a policy with Slice=",
                                    word);
        if (!suffix || suffix == word)
                return value_refuse(c, at, "'%.100s' does not end in the type of a unit with processes: expected .service, .scope, "
                                    ".socket, .mount or .swap", word);
        if (suffix[-1] == '@')
                return value_refuse(c, at, "'%.100s' is a template, which never runs: expected its instances, %.*s*%s",
                                    word, (int) MIN(suffix - word, (ptrdiff_t) 100), word, suffix);
        for (const char *p = word; *p; p++)
                if (!is_alnum(*p) && !strchr(":-_.\\@*?[]!^", *p))
                        return value_refuse(c, at, "'%.100s' cannot be a unit's name: '%c' is not allowed in one", word,
                                            (unsigned char) *p < 0x80 ? *p : '?');
        if (!glob_is_valid(word))
                return value_refuse(c, at, "'%.100s' is no glob: a [ is not closed or its range runs backwards", word);
        return 0;
}

static int check_user(const ValueContext *c, const char *at, const char *word) {
        uint64_t uid;
        int r;

        r = u64_parse(word, &uid);
        if (streq(word, "root") || (r >= 0 && uid == 0))
                return value_refuse(c, at, "'%.100s' takes in PID 1 and the system's own processes", word);
        if (r == -ERANGE || (r >= 0 && uid >= UINT32_MAX))
                return value_refuse(c, at, "'%.100s' is out of range: expected a user's number below 4294967295", word);
        for (const char *p = word; *p; p++)
                if (!is_alnum(*p) && *p != '_' && *p != '.' && !(p > word && strchr("-@+$", *p)))
                        return refuse_type(c, at, word);
        return 0;
}

/* Whose processes must not be moved, by the paths that Debian's and others' layouts give them. */
static const struct {
        const char *path, *what;
} protected_executables[] = {
        { "/lib/systemd/systemd", "PID 1" },
        { "/usr/lib/systemd/systemd", "PID 1" },
        { "/sbin/init", "PID 1" },
        { "/usr/sbin/init", "PID 1" },
        { "/usr/libexec/cgd/cgd", "cgd" },
        { "/usr/bin/dbus-daemon", "the D-Bus broker" },
        { "/usr/bin/dbus-broker", "the D-Bus broker" },
        { "/usr/bin/dbus-broker-launch", "the D-Bus broker" },
        { "/lib/systemd/systemd-journald", "journald" },
        { "/usr/lib/systemd/systemd-journald", "journald" },
        { "/lib/systemd/systemd-logind", "logind" },
        { "/usr/lib/systemd/systemd-logind", "logind" },
        { "/lib/systemd/systemd-udevd", "udevd" },
        { "/usr/lib/systemd/systemd-udevd", "udevd" },
        { "/bin/udevadm", "udevd" },
        { "/usr/bin/udevadm", "udevd" },
};

static int check_executable(const ValueContext *c, const char *at, const char *word) {
        size_t n = strlen(word);

        /* Printed on a line of its own, a backslash at the end would continue it. */
        if (*word != '/' || word[n - 1] == '/' || word[n - 1] == '\\')
                return refuse_type(c, at, word);
        if (strstr(word, "/../") || endswith(word, "/.."))
                return value_refuse(c, at, "'%.100s' has '..' in it", word);
        if (n >= 4096)
                return value_refuse(c, at, "'%.100s...' is longer than a path can be (4095 bytes)", word);
        if (!glob_is_valid(word))
                return value_refuse(c, at, "'%.100s' is no glob: a [ is not closed or its range runs backwards", word);
        for (size_t i = 0; i < ARRAY_SIZE(protected_executables); i++)
                if (glob_match(word, protected_executables[i].path))
                        return value_refuse(c, at, "'%.100s' takes in %s (%s), which is never placed", word,
                                            protected_executables[i].what, protected_executables[i].path);
        return 0;
}

int value_read_list(const ValueContext *c, const char *text, bool refuse_protected, char ***list, Span **spans) {
        _cleanup_free_ char *word = NULL;
        const char *p = text, *at;
        size_t words = 0;
        int r, ret = 0;

        while ((r = word_next(&p, &at, &word)) > 0) {
                size_t n = strv_length(*list);

                /* Words that are refused count too: where each stands is counted from the beginning of its line. */
                if (n >= LIST_MAX || words++ >= LIST_MAX)
                        return value_refuse(c, at, "more than %d entries: expected globs for so many", LIST_MAX);
                switch (c->key->type) {
                case VALUE_UNITS:
                        r = check_unit(c, at, word, refuse_protected);
                        break;
                case VALUE_USERS:
                        r = check_user(c, at, word);
                        break;
                default:
                        r = check_executable(c, at, word);
                }
                if (r == -EINVAL) {
                        ret = r;
                        continue;
                }
                if (r < 0)
                        return r;
                if (strv_contains(*list, word))
                        continue;
                if (spans) {
                        Span *s = realloc(*spans, (n + 1) * sizeof(Span));

                        if (!s)
                                return -ENOMEM;
                        *spans = s;
                        s[n] = assignment_span(c->assignment, at);
                }
                r = strv_extend(list, word);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : ret;
}

/* Reads "PERCENT" as the next word, above 0 and up to 100 %. */
static int read_share(const ValueContext *c, const char **p, bool zero, unsigned *ret) {
        _cleanup_free_ char *word = NULL;
        const char *at = *p;
        unsigned v;
        int r;

        r = word_next(p, &at, &word);
        if (r < 0)
                return r;
        if (r == 0)
                return refuse_type(c, at, at);
        r = permyriad_parse(word, &v);
        if (r == -EINVAL)
                return value_refuse(c, at, "'%.100s' is no percentage: expected %s", word,
                                    value_type_expected(c->key->type));
        if (r < 0 || v > PERMYRIAD)
                return value_refuse(c, at, "'%.100s' is more than 100%%", word);
        if (v == 0 && !zero)
                return value_refuse(c, at, "'%.100s' is always exceeded: expected more than 0%%", word);
        *ret = v;
        return 0;
}

/* Reads "over TIME" to the end. */
static int read_window(const ValueContext *c, const char *p, uint64_t *ret) {
        _cleanup_free_ char *word = NULL;
        const char *at = skip_space(p);
        uint64_t usec;
        int r;

        r = word_next(&p, &at, &word);
        if (r < 0)
                return r;
        if (r == 0 || !streq(word, "over"))
                return value_refuse(c, at, "expected 'over' and a window here: %s", value_type_expected(c->key->type));
        p = skip_space(p);
        r = usec_parse(p, &usec);
        if (r == -EINVAL)
                return value_refuse(c, p, "'%.100s' is no time span: expected %s", p,
                                    value_type_expected(c->key->type));
        if (r < 0 || usec < WINDOW_MIN_USEC || usec > WINDOW_MAX_USEC)
                return value_refuse(c, p, "a window of '%.100s' is out of range: expected 500ms to 10s", p);
        *ret = usec;
        return 0;
}

static int read_pressure(const ValueContext *c, const char *text, Condition *ret) {
        _cleanup_free_ char *word = NULL;
        const char *p = text, *at = text;
        int r;

        r = word_next(&p, &at, &word);
        if (r < 0)
                return r;
        if (r == 0 || (!streq(word, "some") && !streq(word, "full")))
                return value_refuse(c, at, "'%.100s' is neither some nor full: expected %s", r > 0 ? word : "",
                                    value_type_expected(c->key->type));
        ret->full = streq(word, "full");
        r = read_share(c, &p, false, &ret->threshold_permyriad);
        if (r < 0)
                return r;
        return read_window(c, p, &ret->window_usec);
}

static int read_latency(const ValueContext *c, const char *text, Condition *ret) {
        _cleanup_free_ char *word = NULL, *time = NULL;
        const char *p = text, *at = text, *over;
        uint64_t percentile;
        int r;

        r = word_next(&p, &at, &word);
        if (r < 0)
                return r;
        if (r == 0 || *word != 'p' || u64_parse(word + 1, &percentile) < 0)
                return refuse_type(c, at, text);
        if (percentile < 1 || percentile > 99)
                return value_refuse(c, at, "'%.100s' is no percentile: expected p1 to p99", word);
        p = skip_space(p);
        over = strstr(p, "over");
        if (!over)
                return refuse_type(c, p, text);
        time = strndup(p, (size_t) (over - p));
        if (!time)
                return -ENOMEM;
        r = usec_parse(time, &ret->threshold_usec);
        if (r == -EINVAL)
                return refuse_type(c, p, text);
        if (r < 0 || ret->threshold_usec < c->key->min || ret->threshold_usec > c->key->max)
                return refuse_range(c, p, time);
        ret->percentile = (unsigned) percentile;
        return read_window(c, over, &ret->window_usec);
}

int value_read_condition(const ValueContext *c, const char *text, Condition *ret) {
        char threshold[FORMAT_MAX], window[FORMAT_MAX];
        const char *p = text;
        Condition x = { .type = c->key->condition, .active = !c->key->inactive };
        _cleanup_str_ Str s = {};
        int r;

        if (c->assignment)
                x.span = c->assignment->span;
        switch (c->key->type) {
        case VALUE_PRESSURE:
                r = read_pressure(c, text, &x);
                break;
        case VALUE_STALL:
                r = read_share(c, &p, false, &x.threshold_permyriad);
                if (r >= 0)
                        r = read_window(c, p, &x.window_usec);
                break;
        case VALUE_LATENCY:
                r = read_latency(c, text, &x);
                break;
        case VALUE_SHARE:
                r = read_share(c, &p, c->key->min == 0, &x.threshold_permyriad);
                if (r >= 0 && *skip_space(p))
                        r = value_refuse(c, skip_space(p), "'%.100s' is too much: expected %s", skip_space(p),
                                         value_type_expected(c->key->type));
                break;
        default:
                r = value_read_scalar(c, text, &x.threshold_usec);
        }
        if (r < 0)
                return r;

        str_appendf(&s, "%s=", c->key->name);
        permyriad_format(x.threshold_permyriad, threshold);
        usec_format(x.window_usec, window);
        switch (c->key->type) {
        case VALUE_PRESSURE:
                str_appendf(&s, "%s %s over %s", x.full ? "full" : "some", threshold, window);
                break;
        case VALUE_STALL:
                str_appendf(&s, "%s over %s", threshold, window);
                break;
        case VALUE_LATENCY:
                str_appendf(&s, "p%u %s over %s", x.percentile, usec_format(x.threshold_usec, threshold), window);
                break;
        case VALUE_SHARE:
                str_append(&s, threshold);
                break;
        default:
                str_append(&s, usec_format(x.threshold_usec, threshold));
        }
        r = str_finish(&s, &x.text);
        if (r < 0)
                return r;
        *ret = x;
        return 0;
}

/* "0-3 5,7": canonical "0-3 5 7", in the order given. */
static int read_indices(const ValueContext *c, const char *text, Str *s) {
        const char *p = text;

        for (;;) {
                _cleanup_free_ char *word = NULL, *from = NULL;
                const char *dash;
                uint64_t a, b;
                size_t n;

                p += strspn(p, " \t,");
                n = strcspn(p, " \t,");
                if (n == 0)
                        return 0;
                word = strndup(p, n);
                if (!word)
                        return -ENOMEM;
                dash = strchr(word, '-');
                from = dash ? strndup(word, (size_t) (dash - word)) : strdup(word);
                if (!from)
                        return -ENOMEM;
                if (u64_parse(from, &a) < 0 || u64_parse(dash ? dash + 1 : word, &b) < 0)
                        return refuse_type(c, p, word);
                if (a > b)
                        return value_refuse(c, p, "'%.100s' runs backwards", word);
                if (b > c->key->max)
                        return value_refuse(c, p, "'%.100s' is out of range: expected 0 to %llu", word,
                                            (unsigned long long) c->key->max);
                str_append(s, s->length > 0 ? " " : "");
                if (dash)
                        str_appendf(s, "%llu-%llu", (unsigned long long) a, (unsigned long long) b);
                else
                        str_appendf(s, "%llu", (unsigned long long) a);
                p += n;
        }
}

/* The device of "DEVICE VALUE"; *p is left at the value. systemd takes any path and finds the device behind
 * it. A % would be a specifier in a unit file and is none on the bus: refused, so that both mean the same. */
static int read_device(const ValueContext *c, const char **p, Str *s) {
        _cleanup_free_ char *word = NULL;
        const char *at = *p;
        int r;

        r = word_next(p, &at, &word);
        if (r < 0)
                return r;
        *p = skip_space(*p);
        if (r == 0 || !**p)
                return refuse_type(c, at, at);
        if (*word != '/' || strpbrk(word, "\"'\\%"))
                return value_refuse(c, at, "'%.100s' is no path of a device: expected %s", word,
                                    value_type_expected(c->key->type));
        if (strstr(word, "/../") || endswith(word, "/.."))
                return value_refuse(c, at, "'%.100s' has '..' in it", word);
        str_appendf(s, "%s ", word);
        return 0;
}

static bool equal_ignoring_case(const char *a, const char *b) {
        for (; *a && *b; a++, b++)
                if ((*a >= 'A' && *a <= 'Z' ? *a - 'A' + 'a' : *a) != *b)
                        return false;
        return *a == *b;
}

static bool word_among(const char *words, const char *word) {
        size_t n = strlen(word);

        for (const char *p = words; *p; p += strcspn(p, " "), p += strspn(p, " "))
                if (strcspn(p, " ") == n && strncmp(p, word, n) == 0)
                        return true;
        return false;
}

int value_read_resource(const ValueContext *c, const char *text, char **ret) {
        static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
        static const char *const no[] = { "0", "no", "n", "false", "f", "off" };
        const Key *k = c->key;
        _cleanup_str_ Str s = {};
        char buf[FORMAT_MAX];
        const char *p = text;
        unsigned share;
        uint64_t v;
        int r;

        switch (k->type) {
        case VALUE_R_BOOLEAN:
                for (size_t i = 0; i < ARRAY_SIZE(yes) && s.length == 0; i++)
                        if (equal_ignoring_case(text, yes[i]))
                                str_append(&s, "yes");
                        else if (equal_ignoring_case(text, no[i]))
                                str_append(&s, "no");
                if (s.length == 0 && s.error == 0)
                        return refuse_type(c, text, text);
                break;

        case VALUE_R_WORD:
                if (!word_among(k->words, text))
                        return refuse_type(c, text, text);
                str_append(&s, text);
                break;

        case VALUE_R_MEMORY:
        case VALUE_R_TASKS:
        case VALUE_R_PERCENT:
        case VALUE_R_QUOTA:
                r = permyriad_parse(text, &share);
                if (r != -EINVAL) {
                        if (k->type != VALUE_R_QUOTA && (r < 0 || share > PERMYRIAD))
                                return value_refuse(c, text, "'%.100s' is more than 100%%", text);
                        if (r < 0 || (share == 0 && k->min > 0))
                                return refuse_range(c, text, text);
                        str_append(&s, permyriad_format(share, buf));
                        break;
                }
                if (k->type == VALUE_R_PERCENT || k->type == VALUE_R_QUOTA)
                        return refuse_type(c, text, text);
                if (k->type == VALUE_R_TASKS && !streq(text, "infinity"))
                        r = u64_parse(text, &v);
                else
                        r = bytes_parse(text, 1024, &v);
                if (r == -EINVAL)
                        return refuse_type(c, text, text);
                if (r < 0 || v < k->min)
                        return refuse_range(c, text, text);
                if (k->type == VALUE_R_TASKS && v != LIMIT_MAX)
                        str_appendf(&s, "%llu", (unsigned long long) v);
                else
                        str_append(&s, bytes_format(v, buf));
                break;

        case VALUE_R_CPU_WEIGHT:
                if (streq(text, "idle")) {
                        str_append(&s, text);
                        break;
                }
                _fallthrough_;
        case VALUE_R_WEIGHT:
        case VALUE_R_DEVICE_WEIGHT:
                if (k->type == VALUE_R_DEVICE_WEIGHT) {
                        r = read_device(c, &p, &s);
                        if (r < 0)
                                return r;
                }
                r = u64_parse(p, &v);
                if (r == -EINVAL)
                        return refuse_type(c, p, p);
                if (r < 0 || v < k->min || v > k->max)
                        return refuse_range(c, p, p);
                str_appendf(&s, "%llu", (unsigned long long) v);
                break;

        case VALUE_R_DEVICE_LIMIT:
                r = read_device(c, &p, &s);
                if (r < 0)
                        return r;
                r = bytes_parse(p, 1000, &v);
                if (r == -EINVAL)
                        return refuse_type(c, p, p);
                if (r < 0 || v < k->min)
                        return refuse_range(c, p, p);
                str_append(&s, bytes_format_si(v, buf));
                break;

        case VALUE_R_DEVICE_USEC:
                r = read_device(c, &p, &s);
                if (r < 0)
                        return r;
                _fallthrough_;
        case VALUE_R_USEC:
                r = usec_parse(p, &v);
                if (r == -EINVAL)
                        return refuse_type(c, p, p);
                if (r < 0)
                        return refuse_range(c, p, p);
                str_append(&s, usec_format(v, buf));
                break;

        case VALUE_R_INDICES:
                r = read_indices(c, text, &s);
                if (r < 0)
                        return r;
                if (s.length == 0 && s.error == 0)
                        return refuse_type(c, text, text);
                break;

        default:
                return -EINVAL;
        }
        return str_finish(&s, ret);
}
