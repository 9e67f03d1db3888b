/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The verbs that ask cgd to change something and say what it answered: reload, set-mode, place, release. */

#include "cli.h"
#include "sys/unit.h"

/* what: said where cgd had nothing to add. */
static CliExit print_answer(const Cli *cli, const char *what, const char *answer) {
        _cleanup_str_ Str text = {};

        if (!*answer) {
                view_text(&text, what);
                str_append(&text, "\n");
                return output_text(cli, &text);
        }
        for (const char *p = answer; *p;) {
                size_t n = strcspn(p, "\n");
                _cleanup_free_ char *line = strndup(p, n);

                view_text(&text, line ? line : "");
                p += n + (p[n] == '\n');
                if (*p)
                        str_append(&text, "\n");
        }
        if (text.length == 0)
                return CLI_DONE;
        str_append(&text, "\n");
        return output_text(cli, &text);
}

static int fill_one(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "s", (const char *) arg);
}

static int fill_two(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "ss", ((char **) arg)[0], ((char **) arg)[1]);
}

CliExit verb_reload(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        _cleanup_free_ char *answer = NULL;
        CliExit r;

        r = client_call(cli, &answer, "Reload", NULL, NULL);
        return r != CLI_DONE ? r : print_answer(cli, "The new set is in force; no unit would move.", answer);
}

CliExit verb_set_mode(Cli *cli, _unused_ int argc, char **argv) {
        return client_call(cli, NULL, "SetMode", fill_two, argv);
}

/* All are tried; the worst outcome is the exit status. */
static CliExit for_each_unit(Cli *cli, const char *member, int argc, char **argv) {
        CliExit worst = CLI_DONE;

        for (int i = 0; i < argc; i++) {
                _cleanup_free_ char *answer = NULL, *unit = unit_name_complete(argv[i]);
                _cleanup_str_ Str done = {};
                CliExit r;

                if (!unit)
                        return CLI_FAILED;
                r = client_call(cli, &answer, member, fill_one, unit);
                if (r == CLI_DONE) {
                        str_appendf(&done, "%s: done", unit);
                        r = print_answer(cli, done.data ? done.data : "", answer);
                }
                if (worst == CLI_DONE)
                        worst = r;
        }
        return worst;
}

CliExit verb_place(Cli *cli, int argc, char **argv) {
        return for_each_unit(cli, "PlaceUnit", argc, argv);
}

CliExit verb_release(Cli *cli, int argc, char **argv) {
        return for_each_unit(cli, "Release", argc, argv);
}
