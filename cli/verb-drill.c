/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl drill`: each scenario once while cgd looks on and once while it contains, so that both are measured on the same
 * machine at the same time of day (drill/rehearsal.c); then what came out, judged. */

#include "base/units.h"
#include "cli.h"
#include "drill/drill.h"

static const DrillScenario scenarios[] = {
        { .name = "leak", .summary = "memory taken fast and never given back", .shape = "leak", .rate_divisor = 4 },
        { .name = "slow-leak", .summary = "memory taken slowly", .shape = "leak", .rate_divisor = 15 },
        { .name = "many", .summary = "twenty processes that leak a little each", .shape = "many", .rate_divisor = 4,
          .options = { "--count=20" } },
        { .name = "fork", .summary = "children that take memory and stay", .shape = "fork", .rate_divisor = 4, .size_divisor = 60 },
        { .name = "tmpfs", .summary = "a growing file in memory", .shape = "memfd", .rate_divisor = 4 },
        { .name = "refuse", .summary = "a leak that ignores signals", .shape = "refuse", .rate_divisor = 4 },
        { .name = "restart", .summary = "a leak that is started again at once", .shape = "leak", .rate_divisor = 4, .restarts = true },
        { .name = "two", .summary = "two leaks at a time", .shape = "leak", .rate_divisor = 8, .n_culprits = 2 },
        { .name = "swap-storm", .summary = "more memory in use than there is, over and over", .shape = "retouch", .rate_divisor = 4 },
        { .name = "names", .summary = "files looked up that are not there, which the kernel remembers", .shape = "names", .rate_divisor = 4,
          .files = true },
        { .name = "inodes", .summary = "empty files made without end, each an inode in the kernel's memory", .shape = "inodes",
          .rate_divisor = 4 },
        { .name = "reads", .summary = "a disk flooded with small direct reads", .shape = "reads", .disk = true,
          .options = { "--count=64", "--size=2G" } },
        { .name = "stream", .summary = "a disk read without end through the page cache", .shape = "stream", .disk = true,
          .options = { "--count=16", "--size=2G" } },
        { .name = "writes", .summary = "a disk flooded with writes that are synced", .shape = "sync", .disk = true,
          .options = { "--count=4", "--size=16M" } },
        { .name = "dirty", .summary = "a disk flooded with writes that nobody syncs", .shape = "dirty", .disk = true,
          .options = { "--count=4", "--size=16M" } },
        { .name = "harmless", .summary = "memory taken and given back, within what is free", .shape = "heavy", .rate_divisor = 10,
          .size_divisor = 10, .harmless = true },
        { .name = "processor", .summary = "programs that compute without end", .shape = "compute", .options = { "--count=8" },
          .harmless = true },
        { .name = "forks", .summary = "programs that start others, which end at once", .shape = "forks", .options = { "--count=8" },
          .harmless = true },
        { .name = "harmless-io", .summary = "a disk read all the time, within what it does", .shape = "reads", .disk = true,
          .options = { "--count=2", "--size=2G", "--rate=400K" }, .harmless = true },
};

static void fault(json_t *faults, const char *text) {
        json_t *f;
        size_t i;

        json_array_foreach(faults, i, f)
                if (streq(json_string_value(f), text))
                        return;
        (void) json_array_append_new(faults, json_string(text));
}

/* What is wrong whatever the objectives are. That the service dies without containment is the harm that is rehearsed. */
static void look_for_faults(const DrillScenario *scenario, const json_t *run, bool contain, json_t *faults) {
        if (!field_true(run, "culprit_ran"))
                fault(faults, "whoever should do the harm did not run; see 'journalctl -u drill-culprit'");
        if (field_true(run, "cgd_died"))
                fault(faults, "cgd died");
        if (contain && field_true(run, "victim_died"))
                fault(faults, "the service died");
        if (json_array_size(json_object_get(run, "others_touched")) > 0)
                fault(faults, "somebody else was touched");
        if (scenario->harmless && drill_is_culprit(field_text(run, "culprit")))
                fault(faults, "a harmless neighbour was touched");
        if (!field_true(run, "given_back"))
                fault(faults, "not everything was given back");
}

/* The scenario's document: the runs, their medians, and the verdict. Takes the reference to runs. */
static json_t *judge(const DrillScenario *scenario, json_t *runs, const DrillObjective *objectives, size_t n_objectives) {
        json_t *halves[2] = { json_array(), json_array() }, *judged = json_array(), *faults = json_array(), *pair, *with, *without;
        bool met = true;
        size_t i;

        json_array_foreach(runs, i, pair) {
                (void) json_array_append(halves[0], json_object_get(pair, "without"));
                (void) json_array_append(halves[1], json_object_get(pair, "with"));
                look_for_faults(scenario, json_object_get(pair, "without"), false, faults);
                look_for_faults(scenario, json_object_get(pair, "with"), true, faults);
        }
        without = drill_median(halves[0]);
        with = drill_median(halves[1]);
        for (i = 0; i < n_objectives; i++) {
                json_t *j;

                /* Nothing is to be done there, so there is no step to come in time; what is left of memory is nobody's share. */
                if (scenario->harmless && (streq(objectives[i].name, "first-step") || streq(objectives[i].name, "empty")))
                        continue;
                if (!scenario->disk && streq(objectives[i].name, "work"))
                        continue;
                j = drill_objective_judge(&objectives[i], with);
                met = met && field_true(j, "met");
                (void) json_array_append_new(judged, j);
        }
        met = met && json_array_size(faults) == 0;
        json_decref(halves[0]);
        json_decref(halves[1]);
        return json_pack("{s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "scenario", scenario->name, "summary", scenario->summary,
                         "harmless", scenario->harmless, "met", met,
                         "proves_nothing", drill_proves_nothing(scenario->harmless, without),
                         "faults", faults, "objectives", judged, "without", without, "with", with, "runs", runs);
}

static const DrillScenario *scenario_find(const char *name) {
        for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
                if (streq(scenarios[i].name, name))
                        return &scenarios[i];
        return NULL;
}

static bool needs_disk(int argc, char **argv) {
        bool disk = argc == 0;

        for (int i = 0; i < argc; i++)
                disk = disk || scenario_find(argv[i])->disk;
        return disk;
}

static void view_scenarios(_unused_ const View *v, const json_t *list, Str *out) {
        json_t *scenario;
        size_t i;

        json_array_foreach(list, i, scenario)
                str_appendf(out, "%-12s %s\n", field_text(scenario, "scenario"), field_text(scenario, "summary"));
}

static CliExit list_scenarios(const Cli *cli) {
        json_t *list = json_array();

        for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
                (void) json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "scenario", scenarios[i].name, "summary",
                                                             scenarios[i].summary, "harmless", scenarios[i].harmless));
        return output_document(cli, list, view_scenarios);
}

/* *ret: what was rehearsed, of which there may be nothing; then NULL. */
static CliExit drill(Cli *cli, const DrillStage *stage, int argc, char **argv, const DrillObjective *objectives, size_t n_objectives,
                     uint64_t *pid, json_t **ret) {
        json_t *results = json_array();
        bool met = true, all = true, cut = false;

        for (size_t i = 0; !cut && i < (argc > 0 ? (size_t) argc : ARRAY_SIZE(scenarios)); i++) {
                const DrillScenario *scenario = argc > 0 ? scenario_find(argv[i]) : &scenarios[i];
                json_t *runs, *result;

                if (argc == 0 && scenario->disk && !drill_disk_possible()) {
                        cli_error("drill: %s is left out: this kernel has no null_blk module to make a disk of", scenario->name);
                        all = false;
                        continue;
                }
                runs = drill_rehearse(cli, stage, scenario, pid, &cut);
                if (!runs)
                        break;
                result = judge(scenario, runs, objectives, n_objectives);
                met = met && field_true(result, "met");
                (void) json_array_append_new(results, result);
        }
        all = all && !cut && json_array_size(results) > 0;
        if (json_array_size(results) == 0)
                json_decref(results);
        else
                *ret = json_pack("{s:I, s:I, s:I, s:b, s:b, s:o}", "bound_bytes", (json_int_t) stage->bound_bytes, "for_usec",
                                 (json_int_t) (cli->for_usec / USEC_PER_SEC * USEC_PER_SEC), "repeat", (json_int_t) cli->repeat,
                                 "complete", all, "met", met && all, "scenarios", results);
        return !all ? CLI_FAILED : met ? CLI_DONE : CLI_FALSE;
}

CliExit verb_drill(Cli *cli, int argc, char **argv) {
        DrillObjective objectives[CLI_SLO_MAX];
        json_t *status, *result = NULL;
        DrillStage stage;
        CliExit r, shown;
        uint64_t pid;
        bool left;

        if (cli->from) {
                r = client_json(cli, &result, "", NULL, NULL);
                return r != CLI_DONE ? r : output_document(cli, result, view_drill);
        }
        if (argc == 1 && streq(argv[0], "list"))
                return list_scenarios(cli);
        if (cli->n_slo == 0)
                cli->slo[cli->n_slo++] = "isol-p01=95";
        for (size_t i = 0; i < cli->n_slo; i++)
                if (drill_objective_parse(cli->slo[i], &objectives[i]) < 0) {
                        cli_error("--slo=%s: FIGURE=VALUE, where FIGURE is one of %s", cli->slo[i], drill_objective_names());
                        return CLI_USAGE;
                }
        for (int i = 0; i < argc; i++)
                if (!scenario_find(argv[i])) {
                        _cleanup_free_ char *name = str_escape(argv[i]);

                        cli_error("%s: there is no such scenario; see 'cgctl drill list'", name ? name : "");
                        return CLI_USAGE;
                }
        if (geteuid() != 0) {
                cli_error("drill: it starts services and bounds them, which only root may do");
                return CLI_FAILED;
        }
        if ((r = client_json(cli, &status, "GetStatus", NULL, NULL)) != CLI_DONE)
                return r;
        pid = field_u64(status, "pid");
        json_decref(status);
        if (!drill_no_mode_by_hand(cli, &left))
                return CLI_FAILED;
        drill_stop_on_signals();
        /* What is left of one that was killed goes first: its trouble is none of the machine's. */
        if (!drill_stage_clear(&stage))
                return CLI_FAILED;
        if (!drill_may_begin(cli, &stage, needs_disk(argc, argv)) || !drill_stage_open(&stage)) {
                drill_stage_close(&stage);
                /* No drill follows by whose reload cgd would hear that what was left is gone. */
                if (left && client_is_running(cli))
                        (void) client_call(cli, NULL, "Reload", NULL, NULL);
                return CLI_FAILED;
        }
        r = client_call(cli, NULL, "Reload", NULL, NULL);
        if (r == CLI_DONE)
                r = drill(cli, &stage, argc, argv, objectives, cli->n_slo, &pid, &result);
        drill_policies_remove();
        if (client_is_running(cli) && client_call(cli, NULL, "Reload", NULL, NULL) != CLI_DONE && r == CLI_DONE)
                r = CLI_FAILED;
        drill_stage_close(&stage);
        if (r == CLI_FAILED && drill_was_stopped())
                cli_error("drill: stopped; what it had set up is gone");
        if (!result)
                return r == CLI_DONE ? CLI_FAILED : r;
        shown = output_document(cli, result, view_drill);
        return shown != CLI_DONE ? shown : r;
}
