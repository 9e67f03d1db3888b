/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The fuzzer's dictionary, made from the key table: a new key is fuzzed as soon as it has its row. */

#include <stdio.h>

#include "base/macro.h"
#include "policy/schema.h"

static void entry(const char *text) {
        putchar('"');
        for (; *text; text++)
                if (*text == '"' || *text == '\\')
                        printf("\\%c", *text);
                else if (*text == '\n' || *text == '\f')
                        printf("\\x%02x", (unsigned char) *text);
                else
                        putchar(*text);
        puts("\"");
}

int main(void) {
        static const char *const words[] = {
                "\\\n", "\f", "X-", "#", ";", "some ", "full ", " over ", "p99 ", " per ", "%", "infinity", "idle",
                "500ms", "10s", "1min 30s", "64M", "1.5G", "100%", "-.slice", "init.scope", "cgd.slice", "..",
                ".service", ".slice", "*.service", "dbus", "[!a-z]", "/dev/sda ", "0-3", "auto", "kill", "%i", "yes",
                "off", "monitor", "contain", "enforce", "hold", "squeeze", "io-cap", "freeze",
        };
        char line[128];

        for (size_t i = 0; schema_sections[i]; i++) {
                (void) snprintf(line, sizeof(line), "[%s]\n", schema_sections[i]);
                entry(line);
        }
        entry("[Alarm x]\n");
        for (size_t i = 0; i < schema_n_keys; i++) {
                (void) snprintf(line, sizeof(line), "\n%s=", schema_keys[i].name);
                entry(line);
                if (schema_keys[i].fallback)
                        entry(schema_keys[i].fallback);
        }
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                entry(words[i]);
        return 0;
}
