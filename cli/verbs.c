/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The verbs, one row each with their help. To add one: a row here, and a file verb-NAME.c. */

#include "cli.h"
#include "drill/drill.h"

#define LISTING (TAKES_JSON | TAKES_FROM | TAKES_DAEMON)

const Verb verbs[] = {
        { "status", "", "is it running, is anything wrong, is anything held",
          "Shows since when cgd runs, what it can sense, where its policies were loaded from, whether "
          "memory is about to run out, which incidents are open and which cgroups are contained.",
          0, 0, LISTING, verb_status },
        { "domains", "", "the domains in force, their ranks, modes and alarms",
          "Lists the domains: who is promised what, and what may be done to whom. Alarms that this version "
          "understands but does not act on are marked 'not active'.",
          0, 0, LISTING, verb_domains },
        { "tree", "[CGROUP]", "the cgroups, what they use and what is contained",
          "Shows the tree of cgroups from the root, or from CGROUP (a path such as /workload.slice, or the "
          "name of a unit or slice; one without a type is a service), with the domain each belongs to, memory "
          "and swap in use, how much of the last ten seconds some of its processes waited for memory and io, "
          "how long 99 % of its requests to disks took, and what cgd holds. Works without the daemon.",
          0, 1, TAKES_JSON | TAKES_FROM | TAKES_DAEMON | TAKES_ROOT, verb_tree },
        { "incidents", "", "what happened, newest first",
          "Lists the incidents since cgd started: who asked for help, who was to blame, how far it went and "
          "how it ended. 'cgctl why ID' explains one.",
          0, 0, LISTING | TAKES_LIMIT, verb_incidents },
        { "why", "[ID]", "explain an incident: who, why, what was done",
          "Explains the incident ID, or the newest one: the alarm and its numbers, who was considered with "
          "each one's share, why this one, each step with before and after, the outcome, and the lines of "
          "the policies that asked for it.",
          0, 1, LISTING, verb_why },
        { "blame", "", "who made whom wait in the last minutes",
          "Lists pairs of a victim and a culprit, the worst first. Where the kernel's count of who waits for whom at "
          "the disks is to be had, io is measured (confidence 'measured'), whether there was an incident or not, unit "
          "by unit; a slice stands for those in it who do little. The other lines are what incidents lay on a culprit "
          "for a domain.",
          0, 0, LISTING | TAKES_SINCE, verb_blame },
        { "verify", "[FILE...]", "check policy files before they are loaded",
          "Checks the whole policy set as cgd would load it, or only the FILEs given, and reports every "
          "fault at once as FILE:LINE:COLUMN: reason. Exits 1 if there is any. Works without the daemon.",
          0, -1, TAKES_ROOT | TAKES_JSON, verb_verify },
        { "cat", "[DOMAIN...]", "show policy files and their drop-ins",
          "Shows the files that make up each DOMAIN, or all, in the order in which they are read. Works "
          "without the daemon.",
          0, -1, TAKES_ROOT, verb_cat },
        { "explain", "[KEY...]", "explain a key of the policy files",
          "Explains each KEY: what it does, how its value is written, its range and default. A section can "
          "be given to tell keys apart: Contain.Mode. Without KEY, all keys are listed. Works without the "
          "daemon.",
          0, -1, TAKES_JSON, verb_explain },
        { "reload", "", "load the policy files again, all or nothing",
          "Makes cgd read its policy files again. If one is refused, all faults are told and the set in "
          "force stays as it is. Tells which running units would move at their next start.",
          0, 0, TAKES_DAEMON, verb_reload },
        { "set-mode", "DOMAIN MODE", "change what may be done to a domain, until reload",
          "Sets the mode of DOMAIN until the next reload or restart: off, monitor (only say what would be "
          "done), contain (only what can be undone) or enforce (kill, too); 'policy' goes back to what its "
          "policy says.",
          2, 2, TAKES_DAEMON, verb_set_mode },
        { "run", "COMMAND [ARG...]", "run a command in a domain",
          "Runs COMMAND in the domain given with --domain=. It stays in this terminal, in a scope of its "
          "own, and cgctl exits as it does. With --background it becomes a transient service instead, which "
          "runs as the caller, and the name of its unit is printed.",
          1, -1, TAKES_DAEMON | TAKES_DOMAIN | TAKES_BACKGROUND | TAKES_COMMAND, verb_run },
        { "place", "UNIT...", "restart units into the slice of their domain",
          "Restarts each UNIT that a policy's [Match] Unit= names, so that it runs in the slice of its "
          "domain now and not only from its next start on.",
          1, -1, TAKES_DAEMON, verb_place },
        { "release", "UNIT...", "take units out of their domain again",
          "Undoes the placement of each UNIT until the next boot or 'cgctl place'. A unit that runs in its domain's slice is restarted.",
          1, -1, TAKES_DAEMON, verb_release },
        { "drill", "[SCENARIO...]", "rehearse a failure in a bounded slice, and judge",
          "Rehearses each SCENARIO, or all, on this machine: in " DRILL_SLICE ", whose memory is bounded, runs a service and "
          "somebody who does it harm, once while cgd only looks on and once while it contains, and tells what the service "
          "kept of its requests, how soon cgd acted, whether on the right one and on nobody else. Exits 3 where an objective "
          "(--slo=) is missed. Refuses where the machine is in trouble already. The scenarios: 'cgctl drill list'.",
          0, -1, TAKES_JSON | TAKES_FROM | TAKES_DAEMON | TAKES_DRILL, verb_drill },
        { "check", "", "what this machine offers cgd, and what it lacks",
          "Looks at the kernel, pressure figures, controllers, the cgroup hierarchy, swap and who else acts "
          "on memory trouble, and tells for each lack what it costs and what to do. Exits 3 if something "
          "essential is missing. Works without the daemon.",
          0, 0, TAKES_JSON | TAKES_FROM | TAKES_DAEMON | TAKES_ROOT, verb_check },
        { "version", "", "the version of cgctl", "Shows the version of "
                                                 "cgctl.", 0, 0, TAKES_JSON, verb_version },
        { "help", "[VERB]", "this help, or more about a verb", "Shows the help, or that of "
                                                               "VERB.", 0, 1, TAKES_COMMON,
          verb_help },
};
const size_t n_verbs = ARRAY_SIZE(verbs);

const Verb *verb_find(const char *name) {
        for (size_t i = 0; i < n_verbs; i++)
                if (streq(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

/* Edit distance, up to words of 31 letters: nobody means a longer one. */
static unsigned distance(const char *a, const char *b) {
        size_t n = strlen(a), m = strlen(b);
        unsigned row[32];

        if (n > 31 || m > 31)
                return UINT32_MAX;
        for (size_t j = 0; j <= m; j++)
                row[j] = (unsigned) j;
        for (size_t i = 1; i <= n; i++) {
                unsigned diagonal = row[0];

                row[0] = (unsigned) i;
                for (size_t j = 1; j <= m; j++) {
                        unsigned above = row[j], cost = diagonal + (a[i - 1] != b[j - 1]);

                        row[j] = MIN(MIN(row[j] + 1, row[j - 1] + 1), cost);
                        diagonal = above;
                }
        }
        return row[m];
}

const Verb *verb_suggest(const char *name) {
        const Verb *best = NULL;
        unsigned least = 3;

        for (size_t i = 0; i < n_verbs; i++) {
                unsigned d = distance(name, verbs[i].name);

                if (d < least || (*name && startswith(verbs[i].name, name) && least > 1)) {
                        best = &verbs[i];
                        least = MIN(d, 1U);
                }
        }
        return best;
}
