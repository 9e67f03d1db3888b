/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cgctl: what its files share. A verb is one row in verbs.c and one file; it gets a Cli and returns how to
 * exit. Results go to stdout, through a pager on a terminal; errors go to stderr, once. */

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "base/macro.h"
#include "base/str.h"
#include "view/view.h"

typedef enum CliExit {
        CLI_DONE = 0,
        CLI_FAILED = 1,
        CLI_USAGE = 2,
        CLI_FALSE = 3,
        CLI_NOT_FOUND = 4,
} CliExit;

/* Which options a verb takes; the common ones it always takes. */
typedef enum CliTakes {
        TAKES_COMMON = 0,
        TAKES_JSON = 1 << 0,            /* --json, --no-legend */
        TAKES_FROM = 1 << 1,            /* --from: shows a saved document */
        TAKES_LIMIT = 1 << 2,
        TAKES_DOMAIN = 1 << 3,
        TAKES_BACKGROUND = 1 << 4,
        TAKES_ROOT = 1 << 5,            /* --root: another root directory */
        TAKES_DAEMON = 1 << 6,          /* --socket */
        TAKES_COMMAND = 1 << 7,         /* what follows is a command: its options are not ours */
        TAKES_SINCE = 1 << 8,
        TAKES_DRILL = 1 << 9,           /* --for, --repeat, --slo */
} CliTakes;

typedef enum JsonForm {
        JSON_OFF,
        JSON_PRETTY,
        JSON_SHORT,
} JsonForm;

#define CLI_SLO_MAX 10

typedef struct Cli Cli;

typedef struct Verb {
        const char *name, *arguments;
        const char *summary;            /* for `cgctl help`: at most 54 columns */
        const char *text;               /* for `cgctl VERB --help` */
        int min_args, max_args;         /* without the verb; -1 = any number */
        int takes;
        CliExit (*run)(Cli *cli, int argc, char **argv);
} Verb;

struct Cli {
        const Verb *verb;
        JsonForm json;
        bool no_pager, background;
        unsigned limit, repeat;
        uint64_t since_usec;            /* so long ago; 0 = not given */
        uint64_t for_usec;
        const char *slo[CLI_SLO_MAX];
        size_t n_slo;
        const char *from, *host, *socket, *domain, *root;
        View view;
        sd_bus *bus;
        uint64_t call_usec;             /* how long an answer is waited for; 0 = as long as the slowest call may take */
};

extern const Verb verbs[];
extern const size_t n_verbs;
const Verb *verb_find(const char *name);
/* The verb that was probably meant, or NULL. */
const Verb *verb_suggest(const char *name);

/* help.c */
void help_print(FILE *f);
void help_print_verb(const Verb *verb, FILE *f);
/* options.c: all options in one table. ret_first: the first argument. ret_given: each option that was given, but --host, as a
 * word that says the same. */
CliExit options_parse(Cli *cli, int argc, char **argv, int *ret_first, char ***ret_given);
void options_print(int takes, FILE *f);

/* "cgctl: …" on stderr. */
void cli_error(const char *format, ...) _printf_(1, 2);

/* Appends a call's arguments to m. A negative errno ends it. */
typedef int (*ClientFill)(sd_bus_message *m, void *arg);
/* client.c: calls a method, connecting first if need be. fill may be NULL: no arguments; ret may be NULL: no
 * answer but that it is done. Whatever goes wrong is told to the user here. */
CliExit client_call(Cli *cli, char **ret, const char *member, ClientFill fill, void *arg);
/* The same for a document; with --from=FILE it is read from there instead. */
CliExit client_json(Cli *cli, json_t **ret, const char *member, ClientFill fill, void *arg);
/* Is there a daemon? Without a word to the user. 0; -ESRCH: no; another errno: it does not answer, or not this user. */
int client_find(Cli *cli);
bool client_is_running(Cli *cli);

/* output.c: prints text, through a pager where that is wanted and useful. */
CliExit output_text(const Cli *cli, Str *text);
/* --json: the document; else through the view. Takes the reference. */
CliExit output_document(const Cli *cli, json_t *j, void (*view)(const View *, const json_t *, Str *));

CliExit verb_status(Cli *cli, int argc, char **argv);
CliExit verb_domains(Cli *cli, int argc, char **argv);
CliExit verb_tree(Cli *cli, int argc, char **argv);
CliExit verb_incidents(Cli *cli, int argc, char **argv);
CliExit verb_why(Cli *cli, int argc, char **argv);
CliExit verb_blame(Cli *cli, int argc, char **argv);
CliExit verb_verify(Cli *cli, int argc, char **argv);
CliExit verb_cat(Cli *cli, int argc, char **argv);
CliExit verb_explain(Cli *cli, int argc, char **argv);
CliExit verb_reload(Cli *cli, int argc, char **argv);
CliExit verb_set_mode(Cli *cli, int argc, char **argv);
CliExit verb_run(Cli *cli, int argc, char **argv);
CliExit verb_place(Cli *cli, int argc, char **argv);
CliExit verb_release(Cli *cli, int argc, char **argv);
CliExit verb_drill(Cli *cli, int argc, char **argv);
CliExit verb_check(Cli *cli, int argc, char **argv);
CliExit verb_version(Cli *cli, int argc, char **argv);
CliExit verb_help(Cli *cli, int argc, char **argv);
