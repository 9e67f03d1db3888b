/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* cgctl: shows and steers cgd. main() finds the verb, reads the options and the terminal; what a verb does
 * is in its own file. */

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "base/units.h"
#include "cli.h"

void cli_error(const char *format, ...) {
        va_list ap;

        (void) fputs("cgctl: ", stderr);
        va_start(ap, format);
        (void) vfprintf(stderr, format, ap);
        va_end(ap);
        (void) fputc('\n', stderr);
}

static unsigned terminal_width(void) {
        const char *columns = getenv("COLUMNS");
        struct winsize size;
        uint64_t n;

        if (columns && u64_parse(columns, &n) >= 0 && n >= 20 && n <= 1000)
                return (unsigned) n;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_col >= 20)
                return size.ws_col;
        /* Into a file or a pipe nothing is to be cut: wide enough for any path that is shown. */
        return isatty(STDOUT_FILENO) ? 80 : 400;
}

static void terminal_look(Cli *cli) {
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        View *v = &cli->view;

        (void) setlocale(LC_ALL, "");
        /* A pager on one that can do nothing but print complains of that, and waits for a key. */
        cli->no_pager = !term || !*term || streq(term, "dumb");
        v->unicode = streq(nl_langinfo(CODESET), "UTF-8");
        v->width = terminal_width();
        v->color = isatty(STDOUT_FILENO) && !(no_color && *no_color) && !cli->no_pager;
        v->legend = true;
}

/* For the shell on the other side. */
static void append_quoted(Str *s, const char *text) {
        str_append(s, " '");
        for (; *text; text++)
                if (*text == '\'')
                        str_append(s, "'\\''");
                else
                        str_append_n(s, text, 1);
        str_append(s, "'");
}

/* -H: the other machine's own cgctl does it, with the rights that ssh gives there. It gets the options as they were
 * understood and not as they were written: "-jH" and "--ho" are a host's too, and would send it on to itself. */
static CliExit run_remotely(const Cli *cli, char **options, char **arguments) {
        _cleanup_str_ Str command = {};
        char *l[6];
        size_t n = 0;

        str_append(&command, "cgctl");
        for (; options && *options; options++)
                append_quoted(&command, *options);
        append_quoted(&command, cli->verb->name);
        if (*arguments)
                append_quoted(&command, "--");
        for (; *arguments; arguments++)
                append_quoted(&command, *arguments);
        if (command.error < 0 || cli->host[0] == '-' || !cli->host[0]) {
                cli_error("%s: not a host", cli->host);
                return CLI_USAGE;
        }
        l[n++] = (char *) "ssh";
        if (isatty(STDOUT_FILENO))
                l[n++] = (char *) "-t";
        l[n++] = (char *) "--";
        l[n++] = (char *) cli->host;
        l[n++] = command.data;
        l[n] = NULL;
        (void) execvp("ssh", l);
        cli_error("%s: cannot run ssh: %s", cli->host, strerror(errno));
        return CLI_FAILED;
}

/* Help goes there by stdio. */
static CliExit flush_output(CliExit r) {
        if (fflush(stdout) == 0)
                return r;
        cli_error("cannot write: %s", strerror(errno));
        return r == CLI_DONE ? CLI_FAILED : r;
}

int main(int argc, char **argv) {
        _cleanup_strv_ char **options = NULL;
        Cli cli = {};
        int first, n;
        CliExit r;

        terminal_look(&cli);
        r = options_parse(&cli, argc, argv, &first, &options);
        if (r != CLI_DONE || !cli.verb)
                return flush_output(r);
        n = argc - first;
        if (cli.host)
                return run_remotely(&cli, options, argv + first);
        if (n < cli.verb->min_args || (cli.verb->max_args >= 0 && n > cli.verb->max_args)) {
                cli_error("%s %s: %s; see 'cgctl %s --help'", cli.verb->name, cli.verb->arguments,
                          n < cli.verb->min_args ? "an argument is missing" : "too many arguments",
                          cli.verb->name);
                return CLI_USAGE;
        }
        r = cli.verb->run(&cli, n, argv + first);
        /* Not flushed: whatever was sent was answered, or is not waited for any more. */
        sd_bus_close_unref(cli.bus);
        return flush_output(r);
}
