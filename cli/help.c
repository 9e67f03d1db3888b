/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Help: everything from the tables, within 80 columns. */

#include "cli.h"

void help_print(FILE *f) {
        (void) fputs("cgctl [OPTION...] VERB [ARGUMENT...]\n"
                     "\n"
                     "Shows and steers cgd, which keeps one service's failure from becoming\n"
                     "everyone's.\n"
                     "\n"
                     "Verbs:\n",
                     f);
        for (size_t i = 0; i < n_verbs; i++) {
                char text[64];

                (void) snprintf(text, sizeof(text), "%s%s%s", verbs[i].name, *verbs[i].arguments ? " " : "",
                                verbs[i].arguments);
                (void) fprintf(f, "  %-22s %s\n", text, verbs[i].summary);
        }
        (void) fputs("\nOptions:\n", f);
        options_print(TAKES_COMMON, f);
        (void) fputs("\n"
                     "'cgctl VERB --help' tells more. Exit status: 0 done, 1 failed, 2 wrong usage,\n"
                     "3 false, 4 not found.\n",
                     f);
}

void help_print_verb(const Verb *verb, FILE *f) {
        View v = { .width = 79 };
        _cleanup_str_ Str text = {};

        view_wrap(&v, &text, 0, verb->text);
        (void) fprintf(f, "cgctl [OPTION...] %s%s%s\n\n%s\nOptions:\n", verb->name,
                       *verb->arguments ? " " : "", verb->arguments, text.data ? text.data : "");
        options_print(verb->takes, f);
}

CliExit verb_help(_unused_ Cli *cli, int argc, char **argv) {
        const Verb *verb;

        if (argc == 0) {
                help_print(stdout);
                return CLI_DONE;
        }
        verb = verb_find(argv[0]);
        if (!verb) {
                _cleanup_free_ char *shown = str_escape(argv[0]);

                cli_error("%s: there is no such verb; see 'cgctl help'", shown ? shown : "");
                return CLI_NOT_FOUND;
        }
        help_print_verb(verb, stdout);
        return CLI_DONE;
}

CliExit verb_version(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        _cleanup_str_ Str text = {};

        if (cli->json != JSON_OFF)
                return output_document(cli, json_pack("{s:s}", "version", CGD_VERSION), NULL);
        str_append(&text, "cgctl " CGD_VERSION "\n");
        return output_text(cli, &text);
}
