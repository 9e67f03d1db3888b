/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl explain`: the key table, for people. Whatever it says stands in the key's row (policy/schema.c). */

#include "base/units.h"
#include "cli.h"
#include "policy/schema.h"

static void explain(const View *v, const Key *k, Str *out) {
        const char *expected = value_type_expected(k->type);
        char range[RANGE_MAX];

        view_colored(v, out, COLOR_BOLD, "%s=", k->name);
        str_appendf(out, "  in [%s]\n", k->section);
        view_wrap(v, out, 2, k->help);
        str_append(out, "\n");
        if (expected && *expected)
                str_appendf(out, "  value    %s\n", expected);
        if (k->words)
                str_appendf(out, "  one of   %s\n", k->words);
        if (*key_range(k, range))
                str_appendf(out, "  range    %s\n", range);
        str_appendf(out, "  default  %s\n", k->fallback ? k->fallback : "not set");
        if (key_is_list(k))
                str_append(out, "  list     several lines add up; an empty value starts afresh\n");
        if (k->since)
                str_appendf(out, "  needs    systemd %u\n", k->since);
        if (k->inactive) {
                str_append(out, "  ");
                view_colored(v, out, COLOR_YELLOW, "not active: %s", k->inactive);
                str_append(out, "\n");
        }
}

static json_t *key_json(const Key *k) {
        char range[RANGE_MAX];

        return json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:b, s:s?, s:s}", "section", k->section, "key",
                         k->name, "value", value_type_expected(k->type), "words", k->words, "range",
                         *key_range(k, range) ? range : NULL, "default", k->fallback, "list",
                         (int) key_is_list(k), "not_active", k->inactive, "help", k->help);
}

static void view_keys(const View *v, _unused_ const json_t *j, Str *out) {
        const char *section = "";

        for (size_t i = 0; i < schema_n_keys; i++) {
                const Key *k = &schema_keys[i];

                if (!streq(section, k->section)) {
                        section = k->section;
                        str_append(out, i > 0 ? "\n" : "");
                        view_colored(v, out, COLOR_BOLD, "[%s]", section);
                        str_append(out, "\n");
                }
                str_appendf(out, "  %s=%s\n", k->name, k->inactive ? "  (not active)" : "");
        }
}

/* "Mode", "Mode=", "Contain.Mode", "[Contain] Mode". */
static const Key *key_find(const char *text, const Key **ret_meant) {
        _cleanup_free_ char *copy = strdup(text), *section = NULL;
        char *name = copy;

        if (!copy)
                return NULL;
        copy[strcspn(copy, "=")] = '\0';
        name = strpbrk(copy, ".]");
        if (name) {
                *name++ = '\0';
                name += strspn(name, " ");
                section = strdup(copy + (*copy == '['));
        } else
                name = copy;
        *ret_meant = schema_suggest_key(section, name);
        return schema_find(section, name);
}

CliExit verb_explain(Cli *cli, int argc, char **argv) {
        json_t *all = json_array();
        _cleanup_str_ Str out = {};
        CliExit worst = CLI_DONE, r;
        View narrow = cli->view;

        narrow.width = MIN(narrow.width, 79U);
        if (argc == 0) {
                for (size_t i = 0; i < schema_n_keys; i++)
                        (void) json_array_append_new(all, key_json(&schema_keys[i]));
                return output_document(cli, all, view_keys);
        }
        for (int i = 0; i < argc; i++) {
                const Key *meant = NULL, *k = key_find(argv[i], &meant);

                if (!k) {
                        _cleanup_free_ char *shown = str_escape(argv[i]);

                        cli_error("%s: there is no such key%s%s%s", shown ? shown : "",
                                  meant ? "; did you mean " : "", meant ? meant->name : "",
                                  meant ? "?" : "; 'cgctl explain' lists all");
                        worst = CLI_NOT_FOUND;
                        continue;
                }
                if (out.length > 0)
                        str_append(&out, "\n");
                explain(&narrow, k, &out);
                (void) json_array_append_new(all, key_json(k));
        }
        if (cli->json != JSON_OFF)
                return (r = output_document(cli, all, NULL)) != CLI_DONE ? r : worst;
        json_decref(all);
        r = output_text(cli, &out);
        return r != CLI_DONE ? r : worst;
}
