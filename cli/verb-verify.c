/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl verify` and `cgctl cat`: the policy files as cgd would read them, without cgd. */

#include "cli.h"
#include "sys/policy-files.h"

static PolicyPaths paths_of(const Cli *cli) {
        PolicyPaths p = policy_paths;

        if (cli->root) {
                p.root = cli->root;
                /* Another root is a tree that is being prepared, by whoever owns it. */
                p.owner = geteuid();
        }
        return p;
}

static json_t *diagnostics_json(const Diagnostics *d) {
        json_t *a = json_array();

        for (size_t i = 0; i < d->n_items; i++) {
                _cleanup_str_ Str file = {};

                view_text(&file, d->items[i].span.file ? d->items[i].span.file : "");
                (void) json_array_append_new(
                        a, json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", file.data ? file.data : "",
                                     "line", (int) d->items[i].span.line, "column",
                                                     (int) d->items[i].span.column,
                                     "severity", severity_to_string(d->items[i].severity),
                                     "text", d->items[i].text));
        }
        return a;
}

CliExit verb_verify(Cli *cli, int argc, char **argv) {
        _cleanup_policy_sources_ PolicySources sources = {};
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_(policy_freep) Policy *policy = NULL;
        _cleanup_free_ char *told = NULL;
        PolicyPaths paths = paths_of(cli);
        _cleanup_str_ Str out = {};
        int r = 0, refused;
        CliExit status;

        if (argc == 0)
                r = policy_files_load(&paths, &d, &sources);
        for (int i = 0; i < argc && r != -ENOMEM; i++)
                r = policy_file_read(argv[i], &d, &sources);
        if (r != -ENOMEM)
                r = policy_compile(sources.items, sources.n_items, &d, &policy);
        if (r == -ENOMEM || d.error < 0) {
                cli_error("out of memory");
                return CLI_FAILED;
        }
        refused = r < 0 || d.n_errors > 0;
        diagnostics_sort(&d);
        if (cli->json != JSON_OFF) {
                status = output_document(cli, diagnostics_json(&d), NULL);
                return status != CLI_DONE ? status : refused ? CLI_FAILED : CLI_DONE;
        }
        if (diagnostics_format(&d, SEVERITY_NOTE, &told) < 0)
                return CLI_FAILED;
        str_append(&out, told);
        if (refused)
                str_appendf(&out, "%zu %s: cgd would %s.\n", d.n_errors, d.n_errors == 1 ? "error" : "errors",
                            d.n_errors > d.n_unknown ? "refuse this set and keep the one in force"
                                                     : "load this set without that, and warn");
        else
                str_appendf(&out, "%zu %s, no error.\n", policy->n_domains,
                            policy->n_domains == 1 ? "domain" : "domains");
        status = output_text(cli, &out);
        return status != CLI_DONE ? status : refused ? CLI_FAILED : CLI_DONE;
}

/* A policy may have tabs in it, and lines that end as on other systems: neither is hidden text. */
static void append_line(Str *out, char *line) {
        char *end = line + strlen(line), *tab;

        if (end > line && end[-1] == '\r')
                end[-1] = '\0';
        for (; (tab = strchr(line, '\t')); line = tab + 1) {
                *tab = '\0';
                view_text(out, line);
                str_append(out, "\t");
        }
        view_text(out, line);
}

static void append_source(const View *v, Str *out, const PolicySource *s) {
        if (out->length > 0)
                str_append(out, "\n");
        str_append(out, view_color(v, COLOR_BLUE));
        str_append(out, "# ");
        view_text(out, s->file);
        str_append(out, view_color(v, COLOR_NORMAL));
        str_append(out, "\n");
        for (size_t i = 0; i < s->size;) {
                const char *line = s->text + i, *end = memchr(line, '\n', s->size - i);
                size_t n = end ? (size_t) (end - line) : s->size - i;
                _cleanup_free_ char *copy = strndup(line, n);
                bool comment = n > 0 && (*line == '#' || *line == ';');

                str_append(out, view_color(v, comment ? COLOR_DIM : n > 0 && *line == '[' ? COLOR_BOLD :
                                COLOR_NORMAL));
                if (copy)
                        append_line(out, copy);
                str_append(out, view_color(v, COLOR_NORMAL));
                str_append(out, "\n");
                i += n + 1;
        }
}

CliExit verb_cat(Cli *cli, int argc, char **argv) {
        _cleanup_policy_sources_ PolicySources sources = {};
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_free_ char *told = NULL;
        PolicyPaths paths = paths_of(cli);
        _cleanup_str_ Str out = {};
        CliExit r, worst = CLI_DONE;

        if (policy_files_load(&paths, &d, &sources) < 0) {
                cli_error("out of memory");
                return CLI_FAILED;
        }
        if (d.n_errors > 0 && diagnostics_format(&d, SEVERITY_ERROR, &told) >= 0)
                (void) fputs(told, stderr);
        for (size_t i = 0; argc == 0 && i < sources.n_items; i++)
                append_source(&cli->view, &out, &sources.items[i]);
        for (int k = 0; k < argc; k++) {
                _cleanup_free_ char *shown = str_escape(argv[k]);
                bool found = false;

                for (size_t i = 0; i < sources.n_items; i++)
                        if (streq(sources.items[i].domain, argv[k])) {
                                append_source(&cli->view, &out, &sources.items[i]);
                                found = true;
                        }
                if (!found) {
                        cli_error("%s: there is no such policy; see 'cgctl domains'", shown ? shown : "");
                        worst = CLI_NOT_FOUND;
                }
        }
        r = out.length > 0 ? output_text(cli, &out) : CLI_DONE;
        return r != CLI_DONE ? r : worst;
}
