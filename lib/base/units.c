/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Units of time, size and share: text to integers and back.
 *
 * Invariant: x_parse(x_format(v)) == v for every v. Integers throughout (a fraction is a numerator over a
 * power of ten, multiplied in 128 bits), so that the same text means the same number on every machine.
 * Left out on purpose: locale, signs, hexadecimal, and the per mille sign that systemd takes undocumented. */

#include <inttypes.h>

#include "base/macro.h"
#include "base/units.h"

typedef unsigned __int128 u128;

typedef struct Unit {
        const char *name;
        uint64_t factor;
} Unit;

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static const char *skip_space(const char *s) {
        while (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')
                s++;
        return s;
}

/* A decimal number with an optional fraction: whole + numerator / denominator. Digits past the ninth
 * decimal are read and dropped: they are below any unit that is written with a fraction. */
typedef struct Decimal {
        uint64_t whole, numerator, denominator;
} Decimal;

static int decimal_parse(const char **s, Decimal *ret) {
        Decimal d = { .denominator = 1 };
        const char *p = *s;
        bool digits = false, overflow = false;

        for (; is_digit(*p); p++, digits = true)
                if (__builtin_mul_overflow(d.whole, 10, &d.whole) ||
                    __builtin_add_overflow(d.whole, (uint64_t) (*p - '0'), &d.whole))
                        overflow = true;
        if (*p == '.') {
                bool any = false;

                for (p++; is_digit(*p); p++, any = true)
                        if (d.denominator < UINT64_C(1000000000)) {
                                d.numerator = d.numerator * 10 + (uint64_t) (*p - '0');
                                d.denominator *= 10;
                        }
                if (!any)
                        return -EINVAL;
                digits = true;
        }
        if (!digits)
                return -EINVAL;
        *s = p;
        *ret = d;
        return overflow ? -ERANGE : 0;
}

static int decimal_scale(const Decimal *d, uint64_t factor, uint64_t *ret) {
        u128 v = (u128) d->whole * factor + (u128) d->numerator * factor / d->denominator;

        /* UINT64_MAX itself means "infinity" and cannot be written as a number. */
        if (v >= UINT64_MAX)
                return -ERANGE;
        *ret = (uint64_t) v;
        return 0;
}

/* The parts of one span or size added up. An overflow is told only where the whole is well-formed: "not a
 * time" is the better complaint. */
typedef struct Sum {
        uint64_t total;
        bool overflow;
} Sum;

/* Reads the number of the next part. */
static int sum_decimal(Sum *sum, const char **s, Decimal *ret) {
        int r = decimal_parse(s, ret);

        if (r == -ERANGE)
                sum->overflow = true;
        *s = skip_space(*s);
        return r == -EINVAL ? r : 0;
}

/* Adds the part, after whose unit only another number may stand. */
static int sum_add(Sum *sum, const char **s, const Decimal *d, uint64_t factor) {
        uint64_t part = 0;

        *s = skip_space(*s);
        if (**s && !is_digit(**s) && **s != '.')
                return -EINVAL;
        if (!sum->overflow && (decimal_scale(d, factor, &part) < 0 ||
                               __builtin_add_overflow(sum->total, part, &sum->total) || sum->total == UINT64_MAX))
                sum->overflow = true;
        return 0;
}

static int sum_finish(const Sum *sum, uint64_t *ret) {
        if (sum->overflow)
                return -ERANGE;
        *ret = sum->total;
        return 0;
}

/* systemd.time(7), "Parsing time spans". Of two names where one begins with the other the longer is first. */
static const Unit time_units[] = {
        { "usec", 1 },
        { "us", 1 },
        { "\xc2\xb5s", 1 },     /* U+00B5 MICRO SIGN */
        { "\xce\xbcs", 1 },     /* U+03BC GREEK SMALL LETTER MU */
        { "msec", USEC_PER_MSEC },
        { "ms", USEC_PER_MSEC },
        { "minutes", USEC_PER_MINUTE },
        { "minute", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "months", 2629800 * USEC_PER_SEC },
        { "month", 2629800 * USEC_PER_SEC },
        { "M", 2629800 * USEC_PER_SEC },
        { "m", USEC_PER_MINUTE },
        { "seconds", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "s", USEC_PER_SEC },
        { "hours", 3600 * USEC_PER_SEC },
        { "hour", 3600 * USEC_PER_SEC },
        { "hr", 3600 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC },
        { "days", 86400 * USEC_PER_SEC },
        { "day", 86400 * USEC_PER_SEC },
        { "d", 86400 * USEC_PER_SEC },
        { "weeks", 604800 * USEC_PER_SEC },
        { "week", 604800 * USEC_PER_SEC },
        { "w", 604800 * USEC_PER_SEC },
        { "years", 31557600 * USEC_PER_SEC },
        { "year", 31557600 * USEC_PER_SEC },
        { "y", 31557600 * USEC_PER_SEC },
};

int usec_parse(const char *s, uint64_t *ret_usec) {
        Sum sum = {};

        s = skip_space(s);
        if (startswith(s, "infinity")) {
                if (*skip_space(s + strlen("infinity")))
                        return -EINVAL;
                *ret_usec = USEC_INFINITY;
                return 0;
        }
        if (!*s)
                return -EINVAL;

        while (*s) {
                uint64_t factor = USEC_PER_SEC;
                Decimal d;
                int r;

                r = sum_decimal(&sum, &s, &d);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < ARRAY_SIZE(time_units); i++) {
                        const char *e = startswith(s, time_units[i].name);

                        if (e) {
                                factor = time_units[i].factor;
                                s = e;
                                break;
                        }
                }
                r = sum_add(&sum, &s, &d, factor);
                if (r < 0)
                        return r;
        }
        return sum_finish(&sum, ret_usec);
}

int bytes_parse(const char *s, unsigned base, uint64_t *ret_bytes) {
        static const char suffixes[] = { 'K', 'M', 'G', 'T', 'P', 'E' };
        unsigned last = ARRAY_SIZE(suffixes) + 1;
        Sum sum = {};

        s = skip_space(s);
        if (streq(s, "infinity")) {
                *ret_bytes = LIMIT_MAX;
                return 0;
        }
        if (!*s)
                return -EINVAL;

        while (*s) {
                uint64_t factor = 1;
                unsigned power = 0;
                Decimal d;
                int r;

                r = sum_decimal(&sum, &s, &d);
                if (r < 0)
                        return r;
                if (*s == 'B')
                        s++;
                else
                        for (unsigned i = 0; i < ARRAY_SIZE(suffixes); i++)
                                if (*s == suffixes[i]) {
                                        power = i + 1;
                                        s++;
                                        break;
                                }
                for (unsigned i = 0; i < power; i++)
                        factor *= base;
                /* As in systemd: "1G 512M" is a size, "512M 1G" and "1 2" are slips. */
                if (power >= last)
                        return -EINVAL;
                last = power;
                r = sum_add(&sum, &s, &d, factor);
                if (r < 0)
                        return r;
        }
        return sum_finish(&sum, ret_bytes);
}

int permyriad_parse(const char *s, unsigned *ret_permyriad) {
        uint64_t v = 0;
        unsigned decimals = 0;
        bool overflow = false;

        s = skip_space(s);
        if (!is_digit(*s))
                return -EINVAL;
        for (; is_digit(*s); s++) {
                v = v * 10 + (uint64_t) (*s - '0');
                if (v > INT32_MAX) {
                        v = INT32_MAX;
                        overflow = true;
                }
        }
        if (*s == '.') {
                for (s++; is_digit(*s); s++, decimals++)
                        v = v * 10 + (uint64_t) (*s - '0');
                if (decimals < 1 || decimals > 2)
                        return -EINVAL;
        }
        for (; decimals < 2; decimals++)
                v *= 10;
        s = skip_space(s);
        if (*s != '%' || *skip_space(s + 1))
                return -EINVAL;
        if (overflow || v > INT32_MAX)
                return -ERANGE;
        *ret_permyriad = (unsigned) v;
        return 0;
}

int u64_parse(const char *s, uint64_t *ret) {
        uint64_t v = 0;
        bool overflow = false;

        if (!*s)
                return -EINVAL;
        for (; *s; s++) {
                if (!is_digit(*s))
                        return -EINVAL;
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t) (*s - '0'), &v))
                        overflow = true;
        }
        if (overflow)
                return -ERANGE;
        *ret = v;
        return 0;
}

char *usec_format(uint64_t usec, char *buf) {
        static const Unit units[] = {
                { "y", 31557600 * USEC_PER_SEC }, { "month", 2629800 * USEC_PER_SEC },
                { "w", 604800 * USEC_PER_SEC },   { "d", 86400 * USEC_PER_SEC },
                { "h", 3600 * USEC_PER_SEC },     { "min", USEC_PER_MINUTE },
                { "s", USEC_PER_SEC },            { "ms", USEC_PER_MSEC },
                { "us", 1 },
        };
        size_t n = 0;

        if (usec == USEC_INFINITY)
                return strcpy(buf, "infinity");
        if (usec == 0)
                return strcpy(buf, "0");
        for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
                uint64_t part = usec / units[i].factor;

                if (part == 0)
                        continue;
                usec %= units[i].factor;
                n += (size_t) snprintf(buf + n, FORMAT_MAX - n, "%s%" PRIu64 "%s", n > 0 ? " " : "", part,
                                       units[i].name);
        }
        return buf;
}

static char *bytes_format_base(uint64_t bytes, unsigned base, char *buf) {
        static const char suffixes[] = " KMGTPE";
        size_t power = 0;

        if (bytes == LIMIT_MAX)
                return strcpy(buf, "infinity");
        while (bytes > 0 && bytes % base == 0 && power < 6) {
                bytes /= base;
                power++;
        }
        if (power == 0)
                (void) snprintf(buf, FORMAT_MAX, "%" PRIu64, bytes);
        else
                (void) snprintf(buf, FORMAT_MAX, "%" PRIu64 "%c", bytes, suffixes[power]);
        return buf;
}

char *bytes_format(uint64_t bytes, char *buf) {
        return bytes_format_base(bytes, 1024, buf);
}

char *bytes_format_si(uint64_t bytes, char *buf) {
        return bytes_format_base(bytes, 1000, buf);
}

char *bytes_format_human(uint64_t bytes, char *buf) {
        static const char suffixes[] = "BKMGTPE";
        uint64_t factor = 1, tenths;
        size_t power = 0;

        if (bytes == LIMIT_MAX)
                return strcpy(buf, "infinity");
        while (power < 6 && bytes / factor >= 1024) {
                factor *= 1024;
                power++;
        }
        tenths = (uint64_t) (((u128) bytes * 10 + factor / 2) / factor);
        if (tenths >= 10240 && power < 6) {     /* 1023.97K is 1.0M */
                tenths = 10;
                power++;
        }
        if (power == 0)
                (void) snprintf(buf, FORMAT_MAX, "%" PRIu64 "B", bytes);
        else
                (void) snprintf(buf, FORMAT_MAX, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10,
                                suffixes[power]);
        return buf;
}

char *permyriad_format(unsigned permyriad, char *buf) {
        unsigned whole = permyriad / 100, rest = permyriad % 100;

        if (rest == 0)
                (void) snprintf(buf, FORMAT_MAX, "%u%%", whole);
        else if (rest % 10 == 0)
                (void) snprintf(buf, FORMAT_MAX, "%u.%u%%", whole, rest / 10);
        else
                (void) snprintf(buf, FORMAT_MAX, "%u.%02u%%", whole, rest);
        return buf;
}

uint64_t mul_div_u64(uint64_t a, uint64_t b, uint64_t c) {
        u128 v = (u128) a * b / c;

        return v > UINT64_MAX ? UINT64_MAX : (uint64_t) v;
}
