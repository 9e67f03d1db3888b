/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Output: everything a verb shows goes out here in one piece. The pager leaves by itself where the text fits
 * the screen (less -F), and is left out for JSON, pipes and --no-pager. */

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "cli.h"

static bool write_all(int fd, const char *data, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, data, n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k <= 0)
                        return false;
                data += k;
                n -= (size_t) k;
        }
        return true;
}

/* False where there is no pager to be had. */
static bool page(const char *data, size_t n) {
        const char *pager = getenv("PAGER");
        int fds[2], status = 0;
        pid_t pid;

        if (pager && (!*pager || streq(pager, "cat")))
                return false;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return false;
        pid = fork();
        if (pid == 0) {
                (void) dup2(fds[0], STDIN_FILENO);
                /* No S: a line that is cut reads like a whole one. */
                (void) setenv("LESS", "FRXMK", 1);
                if (pager)
                        (void) execl("/bin/sh", "sh", "-c", pager, NULL);
                (void) execlp("less", "less", NULL);
                (void) execlp("more", "more", NULL);
                (void) execlp("cat", "cat", NULL);
                _exit(127);
        }
        (void) close(fds[0]);
        if (pid < 0) {
                (void) close(fds[1]);
                return false;
        }
        (void) signal(SIGPIPE, SIG_IGN);
        (void) write_all(fds[1], data, n);
        (void) close(fds[1]);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        /* The shell's word for a command that is not there, or cannot be run: nothing was shown. */
        return !WIFEXITED(status) || (WEXITSTATUS(status) != 127 && WEXITSTATUS(status) != 126);
}

static CliExit output(const Cli *cli, const char *data, size_t n, bool may_page) {
        if (may_page && !cli->no_pager && isatty(STDOUT_FILENO) && page(data, n))
                return CLI_DONE;
        if (!write_all(STDOUT_FILENO, data, n)) {
                cli_error("cannot write: %s", strerror(errno));
                return CLI_FAILED;
        }
        return CLI_DONE;
}

CliExit output_text(const Cli *cli, Str *text) {
        if (text->error < 0) {
                cli_error("out of memory");
                return CLI_FAILED;
        }
        return output(cli, text->data ? text->data : "", text->length, true);
}

CliExit output_document(const Cli *cli, json_t *j, void (*view)(const View *, const json_t *, Str *)) {
        _cleanup_str_ Str text = {};
        CliExit r = CLI_FAILED;

        if (!j) {
                cli_error("out of memory");
                return CLI_FAILED;
        }
        if (cli->json != JSON_OFF || !view) {
                char *dump = json_dumps(j, cli->json == JSON_SHORT ? JSON_COMPACT : JSON_INDENT(2));

                if (dump) {
                        str_append(&text, dump);
                        str_append(&text, "\n");
                        free(dump);
                        r = output(cli, text.data ? text.data : "", text.length, false);
                }
        } else {
                view(&cli->view, j, &text);
                r = output_text(cli, &text);
        }
        json_decref(j);
        return r;
}
