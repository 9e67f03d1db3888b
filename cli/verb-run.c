/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl run`: in the foreground cgctl itself is moved into a scope and then becomes the command, so that
 * terminal, environment, limits and exit status need no copying. In the background systemd starts it. */

#include <sys/stat.h>

#include "cli.h"

/* A directory may be executable, and is no command. */
static bool is_command(const char *path) {
        struct stat st;

        return access(path, X_OK) >= 0 && stat(path, &st) >= 0 && S_ISREG(st.st_mode);
}

/* The command's path as execvp() would find it; systemd wants it whole. Links stay as they are: many a command looks at the
 * name that it was called by. 0, or a negative errno: -ENOENT where there is none, -EACCES where it is not executable. */
static int command_find(const char *name, char **ret) {
        const char *path = getenv("PATH");
        _cleanup_free_ char *copy = NULL, *directory = NULL;
        char *rest, *dir, *found;

        if (strchr(name, '/')) {
                if (access(name, X_OK) < 0)
                        return -errno;
                if (!is_command(name))
                        return -EACCES;
                if (name[0] != '/' && !(directory = getcwd(NULL, 0)))
                        return -errno;
                if (asprintf(&found, "%s%s%s", directory ?: "", directory ? "/" : "", name) < 0)
                        return -ENOMEM;
                *ret = found;
                return 0;
        }
        copy = strdup(path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
        for (rest = copy; (dir = strsep(&rest, ":"));) {
                if (asprintf(&found, "%s/%s", *dir ? dir : ".", name) < 0)
                        return -ENOMEM;
                if (is_command(found) && found[0] == '/') {
                        *ret = found;
                        return 0;
                }
                free(found);
        }
        return -ENOENT;
}

/* What a service gets from here: enough to find programs and to speak the user's language. The rest may hold
 * secrets, and everybody can read a unit's environment. */
static bool environment_wanted(const char *e) {
        static const char *const names[] = { "PATH=", "LANG=", "LC_", "TZ=", "HOME=" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (startswith(e, names[i]))
                        return true;
        return false;
}

typedef struct RunCall {
        const Cli *cli;
        char **argv;
        const char *path, *directory;
} RunCall;

/* A scope's command is told for its description alone, which has no more of it; it may be no text. */
#define TOLD_BYTES 200

static int append_told(sd_bus_message *m, const char *path, char **argv) {
        size_t told = 0;

        for (const char *a = path; a; a = *++argv) {
                _cleanup_free_ char *escaped = NULL;
                bool plain = true;
                int r, n;

                if (told > 0 && told + strlen(a) > TOLD_BYTES)
                        return 0;
                told += strlen(a) + 1;
                for (const char *p = a; *p && plain; p += n)
                        plain = (n = utf8_character(p, strlen(p))) > 0;
                if (!plain && !(escaped = str_escape(a)))
                        return -ENOMEM;
                if ((r = sd_bus_message_append(m, "s", escaped ?: a)) < 0)
                        return r;
        }
        return 0;
}

static int fill_run(sd_bus_message *m, void *arg) {
        const RunCall *c = arg;
        extern char **environ;
        int r;

        if ((r = sd_bus_message_append(m, "sb", c->cli->domain, !c->cli->background)) < 0 ||
            (r = sd_bus_message_open_container(m, 'a', "s")) < 0)
                return r;
        if (c->cli->background)
                r = sd_bus_message_append(m, "s", c->path);
        else
                r = append_told(m, c->path, c->argv);
        if (r < 0)
                return r;
        for (char **a = c->argv + 1; c->cli->background && *a; a++)
                if ((r = sd_bus_message_append(m, "s", *a)) < 0)
                        return r;
        if ((r = sd_bus_message_close_container(m)) < 0 ||
            (r = sd_bus_message_open_container(m, 'a', "s")) < 0)
                return r;
        for (char **e = environ; c->cli->background && *e; e++)
                if (environment_wanted(*e) && (r = sd_bus_message_append(m, "s", *e)) < 0)
                        return r;
        if ((r = sd_bus_message_close_container(m)) < 0)
                return r;
        return sd_bus_message_append(m, "s", c->cli->background ? c->directory : "/");
}

CliExit verb_run(Cli *cli, _unused_ int argc, char **argv) {
        _cleanup_free_ char *path = NULL, *directory = NULL, *unit = NULL, *shown = str_escape(argv[0]);
        CliExit r;
        int k;

        if (!cli->domain) {
                cli_error("run: which domain? Say --domain=NAME; see 'cgctl domains'");
                return CLI_USAGE;
        }
        k = command_find(argv[0], &path);
        if (k == -ENOENT) {
                cli_error("%s: there is no such command", shown ? shown : "");
                return CLI_NOT_FOUND;
        }
        if (k < 0) {
                cli_error("%s: cannot be executed: %s", shown ? shown : "", strerror(-k));
                return CLI_FAILED;
        }
        directory = getcwd(NULL, 0);
        r = client_call(
                cli, &unit, "Run", fill_run,
                &(RunCall){
                        .cli = cli, .argv = argv, .path = path, .directory = directory ? directory : "/" });
        if (r != CLI_DONE)
                return r;
        if (cli->background) {
                _cleanup_str_ Str text = {};

                view_text(&text, unit);
                str_append(&text, "\n");
                return output_text(cli, &text);
        }
        (void) execv(path, argv);
        cli_error("%s: cannot run it: %s", shown ? shown : "", strerror(errno));
        return CLI_FAILED;
}
