/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The options, one row each with their help, and which verbs take them: a verb says what it takes in its
 * own row, and an option it does not take is a usage error, never silently nothing. */

#include <getopt.h>

#include "base/units.h"
#include "cli.h"

typedef enum OptionId {
        OPTION_HELP = 'h',
        OPTION_HOST = 'H',
        OPTION_JSON_SHORTHAND = 'j',
        OPTION_LIMIT = 'n',
        OPTION_VERSION = 256,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_NO_PAGER,
        OPTION_FROM,
        OPTION_SOCKET,
        OPTION_DOMAIN,
        OPTION_BACKGROUND,
        OPTION_ROOT,
        OPTION_SINCE,
        OPTION_FOR,
        OPTION_REPEAT,
        OPTION_SLO,
} OptionId;

typedef struct Option {
        OptionId id;
        const char *name, *value; /* value: what it takes, or NULL */
        int takes;                /* which verbs; TAKES_COMMON: all */
        const char *help;
} Option;

static const Option options[] = {
        { OPTION_HELP, "help", NULL, TAKES_COMMON, "show this help" },
        { OPTION_VERSION, "version", NULL, TAKES_COMMON, "show the version" },
        { OPTION_HOST, "host", "HOST", TAKES_COMMON, "run cgctl on HOST, over ssh" },
        { OPTION_NO_PAGER, "no-pager", NULL, TAKES_COMMON, "do not pipe long output into a pager" },
        { OPTION_JSON, "json", "FORM", TAKES_JSON, "show JSON: pretty, short or off" },
        { OPTION_JSON_SHORTHAND, NULL, NULL, TAKES_JSON, "short for --json=pretty" },
        { OPTION_NO_LEGEND, "no-legend", NULL, TAKES_JSON, "leave out headings" },
        { OPTION_FROM, "from", "FILE", TAKES_FROM, "show a document saved with --json ('-': stdin)" },
        { OPTION_LIMIT, "limit", "N", TAKES_LIMIT, "show at most N (default 20, 0: all)" },
        { OPTION_SINCE, "since", "SPAN", TAKES_SINCE, "look back so far, such as 5min (default 15min)" },
        { OPTION_FOR, "for", "SPAN", TAKES_DRILL, "do harm for so long each time (default 20s)" },
        { OPTION_REPEAT, "repeat", "N", TAKES_DRILL, "do each scenario N times (default 1)" },
        { OPTION_SLO, "slo", "OBJECTIVE", TAKES_DRILL, "what must hold, such as isol-p01=95; may be repeated" },
        { OPTION_DOMAIN, "domain", "NAME", TAKES_DOMAIN, "the domain to run in (needed)" },
        { OPTION_BACKGROUND, "background", NULL, TAKES_BACKGROUND,
          "as a service of its own; do not wait for it" },
        { OPTION_ROOT, "root", "DIR", TAKES_ROOT, "look at the system below DIR instead of /" },
        { OPTION_SOCKET, "socket", "PATH", TAKES_DAEMON, "speak to the cgd that listens at PATH" },
};

static bool option_fits(const Option *o, const Verb *verb) {
        return o->takes == TAKES_COMMON || (verb->takes & o->takes) != 0;
}

void options_print(int takes, FILE *f) {
        for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
                const Option *o = &options[i];
                char text[64];

                if (o->takes != TAKES_COMMON && !(takes & o->takes))
                        continue;
                if (o->id < 256)
                        (void) snprintf(text, sizeof(text), "-%c%s%s%s%s", o->id, o->name ? " --" : "",
                                        o->name ? o->name : "", o->value ? "=" : "",
                                        o->value ? o->value : "");
                else
                        (void) snprintf(text, sizeof(text), "   --%s%s%s", o->name, o->value ? "=" : "",
                                        o->value ? o->value : "");
                (void) fprintf(f, "  %-20s %s\n", text, o->help);
        }
}

static CliExit option_take(Cli *cli, const Option *o, const char *value) {
        uint64_t n;

        switch (o->id) {
        case OPTION_HOST:
                cli->host = value;
                return CLI_DONE;
        case OPTION_NO_PAGER:
                cli->no_pager = true;
                return CLI_DONE;
        case OPTION_JSON:
                if (streq(value, "pretty"))
                        cli->json = JSON_PRETTY;
                else if (streq(value, "short"))
                        cli->json = JSON_SHORT;
                else if (streq(value, "off"))
                        cli->json = JSON_OFF;
                else {
                        cli_error("--json=%s: it is pretty, short or off", value);
                        return CLI_USAGE;
                }
                return CLI_DONE;
        case OPTION_JSON_SHORTHAND:
                cli->json = JSON_PRETTY;
                return CLI_DONE;
        case OPTION_NO_LEGEND:
                cli->view.legend = false;
                return CLI_DONE;
        case OPTION_FROM:
                cli->from = value;
                return CLI_DONE;
        case OPTION_LIMIT:
                if (u64_parse(value, &n) < 0 || n > 100000) {
                        cli_error("--limit=%s: a number from 0, for all, to 100000", value);
                        return CLI_USAGE;
                }
                cli->limit = (unsigned) n;
                return CLI_DONE;
        case OPTION_SINCE:
                if (usec_parse(value, &cli->since_usec) < 0 || cli->since_usec == 0) {
                        cli_error("--since=%s: not a span of time such as 5min", value);
                        return CLI_USAGE;
                }
                return CLI_DONE;
        case OPTION_FOR:
                if (usec_parse(value, &cli->for_usec) < 0 || cli->for_usec < 5 * USEC_PER_SEC || cli->for_usec > 10 * USEC_PER_MINUTE) {
                        cli_error("--for=%s: a span of time from 5s to 10min", value);
                        return CLI_USAGE;
                }
                return CLI_DONE;
        case OPTION_REPEAT:
                if (u64_parse(value, &n) < 0 || n == 0 || n > 50) {
                        cli_error("--repeat=%s: a number from 1 to 50", value);
                        return CLI_USAGE;
                }
                cli->repeat = (unsigned) n;
                return CLI_DONE;
        case OPTION_SLO:
                if (cli->n_slo == CLI_SLO_MAX) {
                        cli_error("--slo=%s: at most %d objectives", value, CLI_SLO_MAX);
                        return CLI_USAGE;
                }
                cli->slo[cli->n_slo++] = value;
                return CLI_DONE;
        case OPTION_DOMAIN:
                cli->domain = value;
                return CLI_DONE;
        case OPTION_BACKGROUND:
                cli->background = true;
                return CLI_DONE;
        case OPTION_ROOT:
                cli->root = value;
                return CLI_DONE;
        case OPTION_SOCKET:
                cli->socket = value;
                return CLI_DONE;
        case OPTION_HELP:
        case OPTION_VERSION:
                break;
        }
        return CLI_DONE;
}

static int option_spell(const Option *o, const char *value, char ***words) {
        _cleanup_str_ Str s = {};

        if (o->name)
                str_appendf(&s, "--%s%s%s", o->name, value ? "=" : "", value ? value : "");
        else
                str_appendf(&s, "-%c", o->id);
        return s.error < 0 ? s.error : strv_extend(words, s.data);
}

static const Option *option_find(int id) {
        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                if ((int) options[i].id == id)
                        return &options[i];
        return NULL;
}

/* One run over argv[0..argc): takes every option up to the first argument (ordering "+") or all of them. */
static CliExit options_read(Cli *cli, int argc, char **argv, bool all, uint64_t *given, char ***words) {
        struct option longs[ARRAY_SIZE(options) + 1] = {};
        size_t n = 0;
        int c;

        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                if (options[i].name)
                        longs[n++] = (struct option){ options[i].name,
                                                      options[i].value ? required_argument : no_argument,
                                                      NULL, (int) options[i].id };
        optind = 0;
        opterr = 0;
        while ((c = getopt_long(argc, argv, all ? ":hH:jn:" : "+:hH:jn:", longs, NULL)) != -1) {
                const Option *o = option_find(c);

                if (!o) {
                        /* A letter may stand among others, and optind is at the next word only after the last of them. */
                        const char letter[] = { '-', (char) optopt, '\0' };
                        _cleanup_free_ char *shown = str_escape(optopt != 0 && optopt < 256 ? letter : argv[optind - 1]);

                        cli_error("%s: %s; see 'cgctl help'", shown ? shown : "",
                                  c == ':' ? "a value is missing" :
                                  option_find(optopt) ? "it takes no value" : "there is no such option");
                        return CLI_USAGE;
                }
                *given |= UINT64_C(1) << (o - options);
                if (option_take(cli, o, optarg) != CLI_DONE)
                        return CLI_USAGE;
                if (o->id != OPTION_HOST && option_spell(o, o->value ? optarg : NULL, words) < 0)
                        return CLI_FAILED;
        }
        return CLI_DONE;
}

/* Options may stand before and after the verb and between its arguments; but what follows the command of
 * `cgctl run` is the command's. */
CliExit options_parse(Cli *cli, int argc, char **argv, int *ret_first, char ***ret_given) {
        _cleanup_strv_ char **words = NULL;
        uint64_t given = 0;
        CliExit r;
        int at;

        cli->limit = 20;
        cli->repeat = 1;
        cli->for_usec = 20 * USEC_PER_SEC;
        r = options_read(cli, argc, argv, false, &given, &words);
        if (r != CLI_DONE)
                return r;
        at = optind;
        if (at < argc) {
                cli->verb = verb_find(argv[at]);
                if (!cli->verb) {
                        const Verb *meant = verb_suggest(argv[at]);
                        _cleanup_free_ char *shown = str_escape(argv[at]);

                        cli_error("%s: there is no such verb%s%s%s See 'cgctl help'.", shown ? shown : "",
                                  meant ? "; did you mean "
                                          "'" : "", meant ? meant->name : "", meant ? "'?" : ".");
                        return CLI_USAGE;
                }
                r = options_read(cli, argc - at, argv + at, !(cli->verb->takes & TAKES_COMMAND), &given, &words);
                if (r != CLI_DONE)
                        return r;
                *ret_first = at + optind;
        } else
                *ret_first = argc;

        for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
                if (!(given & (UINT64_C(1) << i)))
                        continue;
                if (options[i].id == OPTION_HELP) {
                        if (cli->verb)
                                help_print_verb(cli->verb, stdout);
                        else
                                help_print(stdout);
                        cli->verb = NULL;
                        return CLI_DONE;
                }
                if (options[i].id == OPTION_VERSION)
                        cli->verb = verb_find("version");
        }
        if (!cli->verb) {
                help_print(stderr);
                return CLI_USAGE;
        }
        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                if ((given & (UINT64_C(1) << i)) && !option_fits(&options[i], cli->verb)) {
                        cli_error("%s: --%s is not for this verb; see 'cgctl %s --help'", cli->verb->name,
                                  options[i].name ? options[i].name : "json", cli->verb->name);
                        return CLI_USAGE;
                }
        *ret_given = TAKE_PTR(words);
        return CLI_DONE;
}
