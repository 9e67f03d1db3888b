/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The small parts that all JSON builders share. jansson refuses what is no UTF-8 by returning NULL, which
 * would drop a whole document for one odd cgroup name: so foreign text always goes through json_text(). */

#include <time.h>

#include "base/str.h"
#include "base/units.h"
#include "serve/json.h"

/* Whoever asked would take what is left for all of it: "nothing is contained". All documents are made on the loop, one at a
 * time. */
static bool out_of_memory;

void json_out_of_memory(void) {
        out_of_memory = true;
}

static void *json_memory(size_t n) {
        void *p = malloc(n);

        if (!p)
                out_of_memory = true;
        return p;
}

void json_init(void) {
        json_set_alloc_funcs(json_memory, free);
}

/* A backslash alone is harmless and is in many unit names (dev-disk-by\x2duuid): it is kept, so that the
 * name can be given back to systemctl. */
static bool text_is_plain(const char *text) {
        size_t left = strlen(text);

        while (left > 0) {
                const unsigned char *u = (const unsigned char *) text;
                int n = utf8_character(text, left);

                if (n < 0)
                        return false;
                if ((n == 1 && (u[0] < 0x20 || u[0] == 0x7f)) || (n == 2 && u[0] == 0xc2 && u[1] < 0xa0))
                        return false;
                text += n;
                left -= (size_t) n;
        }
        return true;
}

json_t *json_text(const char *text) {
        _cleanup_free_ char *escaped = NULL;

        if (!text || !*text)
                return json_null();
        if (text_is_plain(text))
                return json_string(text);
        escaped = str_escape(text);
        if (!escaped)
                out_of_memory = true;
        return escaped ? json_string(escaped) : NULL;
}

json_t *json_limit(uint64_t bytes) {
        return bytes > INT64_MAX ? json_null() : json_integer((json_int_t) bytes);
}

json_t *json_time(const ServerInfo *info, uint64_t usec) {
        char date[32], text[64];
        uint64_t real;
        time_t seconds;
        struct tm tm;

        if (usec == 0 || usec > INT64_MAX / 2)
                return json_null();
        real = (uint64_t) ((int64_t) usec + info->realtime_offset_usec);
        seconds = (time_t) (real / USEC_PER_SEC);
        if (!gmtime_r(&seconds, &tm) || strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                return json_null();
        (void) snprintf(text, sizeof(text), "%s.%06uZ", date, (unsigned) (real % USEC_PER_SEC));
        return json_pack("{s:I, s:s}", "usec", (json_int_t) usec, "time", text);
}

json_t *json_strv(char *const *l) {
        json_t *a = json_array();

        for (; l && *l; l++)
                (void) json_array_append_new(a, json_text(*l));
        return a;
}

int json_finish(json_t *j, char **ret) {
        char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
        bool whole = text && !out_of_memory;

        json_decref(j);
        out_of_memory = false;
        if (!whole) {
                free(text);
                return -ENOMEM;
        }
        *ret = text;
        return 0;
}
