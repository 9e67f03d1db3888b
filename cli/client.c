/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Client: finds the daemon and calls it. The private socket first, where the caller may use it: it works
 * without a broker and asks no polkit; else the system bus. Nothing here starts cgd: whoever stopped it
 * meant it. */

#include <sys/stat.h>
#include <time.h>

#include "base/units.h"
#include "cli.h"
#include "model/bus.h"

#define NOT_RUNNING "cgd is not running: start it with 'systemctl start cgd'"
/* `cgctl place` waits for a restart, and a restart for what it stops. */
#define CALL_USEC (5 * USEC_PER_MINUTE)
/* What is only looked at is there at once, or cgd stands still. */
#define LOOK_USEC (25 * USEC_PER_SEC)

static int connect_private(const char *path, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        _cleanup_str_ Str address = {};
        int r;

        if (access(path, W_OK) < 0)
                return -errno;
        str_append(&address, "unix:path=");
        for (const char *p = path; *p; p++)
                if (strchr("/-_.", *p) || (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= 'a' && *p <= 'z'))
                        str_append_n(&address, p, 1);
                else
                        str_appendf(&address, "%%%02x", (unsigned char) *p);
        if (address.error < 0)
                return -ENOMEM;
        if ((r = sd_bus_new(&bus)) < 0 || (r = sd_bus_set_address(bus, address.data)) < 0 ||
            (r = sd_bus_start(bus)) < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

static bool is_away(int error) {
        return error == -ENOENT || error == -ENOTDIR || error == -ECONNREFUSED;
}

/* 0, or a negative errno; *ret_why then says it for people, or is NULL where only the errno does. */
static int client_connect(Cli *cli, const char **ret_why) {
        const char *path = cli->socket ? cli->socket : CGD_SOCKET;
        int r;

        if (cli->bus && sd_bus_is_open(cli->bus) > 0)
                return 0;
        /* cgd went, and with it the other end. */
        cli->bus = sd_bus_unref(cli->bus);
        r = connect_private(path, &cli->bus);
        if (r >= 0)
                return 0;
        *ret_why = is_away(r) ? NOT_RUNNING : NULL;
        if (cli->socket)
                return r;
        if (sd_bus_open_system(&cli->bus) < 0) {
                if (r == -EACCES)
                        *ret_why = "there is no system bus; without it only root and group cgd can speak to cgd";
                return r;
        }
        (void) sd_bus_set_allow_interactive_authorization(cli->bus, true);
        return 0;
}

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

/* One that stands still does not even greet, and for that sd_bus_call() waits as long as it likes. */
static int client_wait_ready(Cli *cli, uint64_t usec) {
        uint64_t now = now_usec(), end = now + usec;
        int r;

        while ((r = sd_bus_is_ready(cli->bus)) == 0) {
                if ((r = sd_bus_process(cli->bus, NULL)) == 0) {
                        now = now_usec();
                        if (now >= end)
                                return -ETIMEDOUT;
                        r = sd_bus_wait(cli->bus, end - now);
                }
                if (r < 0 && r != -EINTR)
                        return r;
        }
        return r;
}

static CliExit tell_error(const char *member, const sd_bus_error *e, int r) {
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER) || r == -ECONNREFUSED) {
                cli_error(NOT_RUNNING);
                return CLI_FAILED;
        }
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_UNKNOWN_METHOD)) {
                cli_error("the cgd that runs does not know %s: it is of another version than this cgctl; after an update "
                          "it is started anew with 'systemctl restart cgd'", member);
                return CLI_FAILED;
        }
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) || r == -ETIMEDOUT || r == -ECONNRESET ||
            r == -ENOTCONN) {
                cli_error("cgd did not answer %s: it was stopped or is stuck; see 'systemctl status cgd'",
                          member);
                return CLI_FAILED;
        }
        cli_error("%s", e->message ? e->message : strerror(-r));
        return sd_bus_error_has_name(e, CGD_ERROR_NOT_FOUND) ? CLI_NOT_FOUND : CLI_FAILED;
}

static CliExit call(Cli *cli, char **ret, const char *member, ClientFill fill, void *arg, uint64_t usec) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        const char *text = NULL, *why;
        CliExit status;
        int r;

        r = client_connect(cli, &why);
        if (r < 0) {
                if (why)
                        cli_error("%s", why);
                else
                        cli_error("cannot speak to cgd: %s", strerror(-r));
                return CLI_FAILED;
        }
        r = sd_bus_message_new_method_call(cli->bus, &m, CGD_BUS_NAME, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                           member);
        if (r >= 0 && fill && (r = fill(m, arg)) == -EINVAL) {
                cli_error("%s: what is given is not all UTF-8 text, and nothing else can be told to cgd", member);
                return CLI_FAILED;
        }
        if (r >= 0) {
                (void) sd_bus_message_set_auto_start(m, false);
                (void) sd_bus_message_set_allow_interactive_authorization(m, isatty(STDIN_FILENO));
                usec = cli->call_usec ?: usec;
                if ((r = client_wait_ready(cli, usec)) >= 0)
                        r = sd_bus_call(cli->bus, m, usec, &e, &reply);
        }
        if (r < 0) {
                status = tell_error(member, &e, r);
                sd_bus_error_free(&e);
                return status;
        }
        if (!ret)
                return CLI_DONE;
        if (sd_bus_message_read(reply, "s", &text) <= 0) {
                cli_error("cgd's answer to %s cannot be read; is it another version?", member);
                return CLI_FAILED;
        }
        *ret = strdup(text);
        if (!*ret)
                cli_error("out of memory for cgd's answer to %s", member);
        return *ret ? CLI_DONE : CLI_FAILED;
}

CliExit client_call(Cli *cli, char **ret, const char *member, ClientFill fill, void *arg) {
        return call(cli, ret, member, fill, arg, CALL_USEC);
}

static CliExit document_from_file(const Cli *cli, json_t **ret) {
        _cleanup_free_ char *shown = str_escape(cli->from), *why = NULL;
        json_error_t e;

        *ret = streq(cli->from, "-") ? json_loadf(stdin, 0, &e) : json_load_file(cli->from, 0, &e);
        if (*ret)
                return CLI_DONE;
        /* It quotes what stands there. */
        why = str_escape(e.text);
        if (e.line > 0)
                cli_error("%s:%d:%d: no JSON: %s", shown ? shown : "", e.line, e.column, why ? why : "");
        else
                cli_error("%s", why ? why : "");
        return CLI_FAILED;
}

CliExit client_json(Cli *cli, json_t **ret, const char *member, ClientFill fill, void *arg) {
        _cleanup_free_ char *text = NULL;
        CliExit r;

        if (cli->from)
                return document_from_file(cli, ret);
        r = call(cli, &text, member, fill, arg, LOOK_USEC);
        if (r != CLI_DONE)
                return r;
        *ret = json_loads(text, 0, NULL);
        if (*ret)
                return CLI_DONE;
        cli_error("cgd's answer to %s cannot be read; is it another version?", member);
        return CLI_FAILED;
}

int client_find(Cli *cli) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint64_t usec = cli->call_usec ?: LOOK_USEC;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        const char *why;
        int r;

        if ((r = client_connect(cli, &why)) < 0)
                return streq(why, NOT_RUNNING) ? -ESRCH : -EACCES;
        if ((r = client_wait_ready(cli, usec)) < 0)
                return r == -ECONNREFUSED ? -ESRCH : r;
        (void) sd_bus_set_method_call_timeout(cli->bus, usec);
        r = sd_bus_get_property(cli->bus, CGD_BUS_NAME, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Version", &e, &reply, "s");
        if (sd_bus_error_has_name(&e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(&e, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                r = -ESRCH;
        sd_bus_error_free(&e);
        return MIN(r, 0);
}

bool client_is_running(Cli *cli) {
        return client_find(cli) >= 0;
}
