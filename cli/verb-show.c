/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The verbs that ask for one document and show it: status, domains, incidents, why, blame. */

#include "base/units.h"
#include "cli.h"

static CliExit show(Cli *cli, const char *method, ClientFill fill, void *arg,
                    void (*view)(const View *, const json_t *, Str *)) {
        json_t *j;
        CliExit r = client_json(cli, &j, method, fill, arg);

        return r != CLI_DONE ? r : output_document(cli, j, view);
}

CliExit verb_status(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        return show(cli, "GetStatus", NULL, NULL, view_status);
}

CliExit verb_domains(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        return show(cli, "ListDomains", NULL, NULL, view_domains);
}

static int fill_limit(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "u", ((Cli *) arg)->limit);
}

CliExit verb_incidents(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        return show(cli, "ListIncidents", fill_limit, cli, view_incidents);
}

static int fill_since(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "t", ((Cli *) arg)->since_usec);
}

CliExit verb_blame(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        if (cli->since_usec == 0)
                cli->since_usec = 15 * 60 * USEC_PER_SEC;
        return show(cli, "GetBlame", fill_since, cli, view_blame);
}

static int fill_id(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "t", *(uint64_t *) arg);
}

CliExit verb_why(Cli *cli, int argc, char **argv) {
        uint64_t id = 0;

        if (argc > 0 && (u64_parse(argv[0], &id) < 0 || id == 0)) {
                _cleanup_free_ char *shown = str_escape(argv[0]);

                cli_error("%s: an incident's id is a number; see 'cgctl incidents'", shown ? shown : "");
                return CLI_USAGE;
        }
        return show(cli, "GetIncident", fill_id, &id, view_why);
}
