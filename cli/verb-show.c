/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The verbs that ask for one document and show it: status, domains, incidents, why. */

#include "base/units.h"
#include "cli.h"

CliExit verb_status(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        json_t *j;
        CliExit r;

        r = client_json(cli, &j, "GetStatus", NULL, NULL);
        return r != CLI_DONE ? r : output_document(cli, j, view_status);
}

CliExit verb_domains(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        json_t *j;
        CliExit r;

        r = client_json(cli, &j, "ListDomains", NULL, NULL);
        return r != CLI_DONE ? r : output_document(cli, j, view_domains);
}

static int fill_limit(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "u", ((Cli *) arg)->limit);
}

CliExit verb_incidents(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        json_t *j;
        CliExit r;

        r = client_json(cli, &j, "ListIncidents", fill_limit, cli);
        return r != CLI_DONE ? r : output_document(cli, j, view_incidents);
}

static int fill_id(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "t", *(uint64_t *) arg);
}

CliExit verb_why(Cli *cli, int argc, char **argv) {
        uint64_t id = 0;
        json_t *j;
        CliExit r;

        if (argc > 0 && (u64_parse(argv[0], &id) < 0 || id == 0)) {
                _cleanup_free_ char *shown = str_escape(argv[0]);

                cli_error("%s: an incident's id is a number; see 'cgctl incidents'", shown ? shown : "");
                return CLI_USAGE;
        }
        r = client_json(cli, &j, "GetIncident", fill_id, &id);
        return r != CLI_DONE ? r : output_document(cli, j, view_why);
}
