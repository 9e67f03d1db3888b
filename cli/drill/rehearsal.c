/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A rehearsal: the service, whoever does it harm, and what cgd does about it, once while cgd looks on and once while it contains.
 *
 * Invariant: whoever does the harm is there until it was seen that everything was given back, and then nobody is. The machine is
 * looked at before each time harm is done, and meanwhile. */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "base/units.h"
#include "cli.h"
#include "drill/drill.h"
#include "sys/small-file.h"

#define CALM_SECONDS 5
/* Of these it may be that the service's start is still looked into. */
#define START_SECONDS 4
/* The service lives so much longer than it is needed, for starting it and the harm may take a busy machine a while. */
#define LATE_SECONDS 30
#define LOOK_USEC (100 * USEC_PER_MSEC)
/* While harm is done. */
#define ANSWER_USEC (5 * USEC_PER_SEC)
#define INCIDENTS_MAX 50
/* Until cgd is there again after it died. */
#define RESTART_SECONDS 10
/* A machine on which somebody waits so much, in 1/100 of the last ten seconds, is in trouble. */
#define PRESSURE_MAX 10
/* Where those outside the drill wait for so much more of the time than in the calm before, in 1/100, it is stopped; not judged
 * before so many seconds. */
#define OTHERS_MAX 25
#define OTHERS_SECONDS 3
/* What is judged began one to two of these ago: that it was calm for minutes before makes up for nothing. */
#define OTHERS_SPAN_USEC (10 * USEC_PER_SEC)

static volatile sig_atomic_t stopped;

static void on_signal(int sig) {
        stopped = sig;
}

void drill_stop_on_signals(void) {
        /* In `cgctl drill 2>&1 | tee log` a ^C ends tee as well: what is said then would end cgctl before it has cleared up. */
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                struct sigaction was;

                /* nohup(1), and jobs in the background of a script: whoever started it does not want it ended by that. */
                if (sigaction(signals[i], NULL, &was) < 0 || was.sa_handler != SIG_IGN)
                        (void) sigaction(signals[i], &(struct sigaction){ .sa_handler = on_signal }, NULL);
        }
}

bool drill_was_stopped(void) {
        return stopped;
}

static uint64_t now_usec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

/* False: it was asked to stop. */
static bool sleep_until(uint64_t usec) {
        struct timespec ts = { .tv_sec = (time_t) (usec / USEC_PER_SEC), .tv_nsec = (long) (usec % USEC_PER_SEC) * 1000 };

        while (!stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
                ;
        return !stopped;
}

static int fill_incidents(sd_bus_message *m, _unused_ void *arg) {
        return sd_bus_message_append(m, "u", (uint32_t) INCIDENTS_MAX);
}

static int fill_mode(sd_bus_message *m, void *arg) {
        return sd_bus_message_append(m, "ss", ((const char **) arg)[0], ((const char **) arg)[1]);
}

/* Both, for while cgd looks on nothing may be done to anybody. */
static CliExit set_modes(Cli *cli, const char *mode) {
        static const char *const domains[] = { DRILL_VICTIM, DRILL_CULPRIT };
        CliExit r = CLI_DONE;

        for (size_t i = 0; r == CLI_DONE && i < ARRAY_SIZE(domains); i++)
                r = client_call(cli, NULL, "SetMode", fill_mode, (void *) (const char *[]){ domains[i], mode });
        return r;
}

/* One that asks for help. */
static bool is_drill(const char *domain) {
        return streq(domain, DRILL_WHOLE) || streq(domain, DRILL_VICTIM);
}

static bool is_domain_of_drill(const json_t *domain) {
        const char *name = field_text(domain, "name");

        return is_drill(name) || streq(name, DRILL_CULPRIT);
}

static bool in_drill(const char *cgroup) {
        return strncmp(cgroup, "/" DRILL_SLICE "/", strlen("/" DRILL_SLICE "/")) == 0;
}

bool drill_is_culprit(const char *cgroup) {
        static const char prefix[] = "/" DRILL_SLICE "/" DRILL_CULPRIT_SLICE;

        return strncmp(cgroup, prefix, strlen(prefix)) == 0;
}

/* Why nobody should be harmed on this machine now, or NULL. The pressure of the last ten seconds would be the drill's own once it has
 * begun. */
static const char *trouble(const json_t *status, bool begun) {
        static const char *const files[] = { "/proc/pressure/memory", "/proc/pressure/io" };

        if (json_array_size(json_object_get(status, "incidents")) > 0 || json_array_size(json_object_get(status, "contained")) > 0)
                return "there is an incident already; see 'cgctl status'";
        for (size_t i = 0; !begun && i < ARRAY_SIZE(files); i++) {
                char text[512], *full;
                double avg10 = 0;

                if (file_read_at(AT_FDCWD, files[i], text, sizeof(text)) >= 0 && (full = strstr(text, "full avg10=")) &&
                    sscanf(full, "full avg10=%lf", &avg10) == 1 && avg10 > PRESSURE_MAX)
                        return i == 0 ? "everybody waits for memory already; see /proc/pressure/memory" :
                                        "everybody waits for io already; see /proc/pressure/io";
        }
        return NULL;
}

/* Blame looks at the whole machine, and finds who takes most. False: such a one may be contained for a drill, which was told. */
static bool nobody_gives_way(Cli *cli) {
        json_t *domains, *d;
        bool nobody = true;
        size_t i;

        if (client_json(cli, &domains, "ListDomains", NULL, NULL) != CLI_DONE)
                return false;
        json_array_foreach(domains, i, d) {
                if (is_domain_of_drill(d) || !json_is_object(json_object_get(d, "contain")) || field_u64(d, "rank") >= DRILL_RANK)
                        continue;
                cli_error("drill: %s ranks below %d, as the domains of a drill do, so that its units could be contained for one; see Rank= in "
                          "cgd.policy(5)", field_text(d, "name"), DRILL_RANK);
                nobody = false;
        }
        json_decref(domains);
        return nobody;
}

/* False: not now, which was told. */
static bool may_harm(Cli *cli, const DrillStage *stage, bool disk, bool begun) {
        const char *why;
        json_t *status;

        if (client_json(cli, &status, "GetStatus", NULL, NULL) != CLI_DONE)
                return false;
        why = trouble(status, begun);
        json_decref(status);
        if (why)
                cli_error("drill: not now: %s", why);
        return !why && nobody_gives_way(cli) && drill_stage_has_room(stage, disk);
}

bool drill_no_mode_by_hand(Cli *cli, bool *ret_left) {
        json_t *domains, *d;
        bool none = true, left = false;
        size_t i;

        if (client_json(cli, &domains, "ListDomains", NULL, NULL) != CLI_DONE)
                return false;
        json_array_foreach(domains, i, d) {
                const json_t *contain = json_object_get(d, "contain");
                const char *name = field_text(d, "name"), *mode = field_text(contain, "mode");

                /* What a drill that was killed has left does not count. */
                if (is_domain_of_drill(d)) {
                        left = true;
                        continue;
                }
                if (streq(mode, field_text(contain, "mode_configured")))
                        continue;
                cli_error("drill: the mode of %s was set to %s by hand, and the reload for a drill would end that; "
                          "'cgctl set-mode %s policy' does so", name, mode, name);
                none = false;
        }
        json_decref(domains);
        *ret_left = left;
        return none;
}

/* cgd's process, waited for where it is being started again; 0, told: it is not there. */
static uint64_t cgd_pid(Cli *cli) {
        for (unsigned i = 0; i < RESTART_SECONDS * 2; i++) {
                json_t *status;
                uint64_t pid;

                if (!client_is_running(cli)) {
                        (void) nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
                        continue;
                }
                if (client_json(cli, &status, "GetStatus", NULL, NULL) != CLI_DONE)
                        return 0;
                pid = field_u64(status, "pid");
                json_decref(status);
                return pid;
        }
        cli_error("drill: cgd is gone and does not come back; see 'systemctl status cgd'");
        return 0;
}

/* Processor time, that of all its threads, and memory of cgd. */
static void cgd_usage(uint64_t pid, uint64_t *ret_cpu_usec, uint64_t *ret_bytes) {
        char path[64], text[4096], *p;
        struct timespec ts = {};
        uint64_t kib = 0;
        clockid_t clock;

        if (clock_getcpuclockid((pid_t) pid, &clock) == 0)
                (void) clock_gettime(clock, &ts);
        *ret_cpu_usec = (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
        (void) snprintf(path, sizeof(path), "/proc/%" PRIu64 "/status", pid);
        if (file_read_at(AT_FDCWD, path, text, sizeof(text)) >= 0 && (p = strstr(text, "VmRSS:")))
                (void) sscanf(p, "VmRSS: %" SCNu64, &kib);
        *ret_bytes = kib << 10;
}

/* Waits until nothing of the drill is held and none of its incidents is open. False: in vain, or it was asked to stop. */
static bool settle(Cli *cli) {
        for (unsigned i = 0; i < DRILL_SETTLE_SECONDS * 2 && !stopped; i++) {
                json_t *status, *list[2], *item;
                bool busy = false;
                size_t k;

                if (client_json(cli, &status, "GetStatus", NULL, NULL) != CLI_DONE)
                        return false;
                list[0] = json_object_get(status, "contained");
                list[1] = json_object_get(status, "incidents");
                json_array_foreach(list[0], k, item)
                        busy = busy || in_drill(field_text(item, "cgroup"));
                json_array_foreach(list[1], k, item)
                        busy = busy || is_drill(field_text(item, "domain")) || in_drill(field_text(item, "culprit"));
                json_decref(status);
                if (!busy)
                        return true;
                (void) nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
        }
        return false;
}

static void set_msec(json_t *run, const char *key, uint64_t usec, uint64_t since_usec) {
        if (usec != 0)
                (void) json_object_set_new(run, key, json_integer((json_int_t) ((usec - MIN(since_usec, usec)) / USEC_PER_MSEC)));
}

/* What is seen while harm is done. */
typedef struct Sight {
        bool ran;               /* somebody did it at all */
        uint64_t empty_usec;    /* since when nobody who does it is left, 0 = somebody is */
        json_t *touched;        /* the paths of those that were contained in the drill, or for it, and do none */
} Sight;

static void note_touched(json_t *touched, const char *who) {
        json_t *t;
        size_t i;

        json_array_foreach(touched, i, t)
                if (streq(json_string_value(t), who))
                        return;
        (void) json_array_append_new(touched, json_string(who));
}

/* Whose call for help it was that somebody is contained for; "" where that is over. */
static const char *asked_by(const json_t *status, const json_t *contained) {
        json_t *i;
        size_t k;

        json_array_foreach(json_object_get(status, "incidents"), k, i)
                if (field_u64(i, "id") == field_u64(contained, "incident"))
                        return field_text(i, "domain");
        return "";
}

/* An incident names its last culprit only, so it is looked at meanwhile: a lease lasts for seconds. */
static void look_at_contained(Cli *cli, Sight *sight) {
        json_t *status = NULL, *c;
        size_t i;

        /* A cgd that stands still is waited for no longer, and not for minutes: meanwhile nobody looks at those outside. That it died is told
         * at the end. */
        cli->call_usec = ANSWER_USEC;
        if (client_is_running(cli))
                (void) client_json(cli, &status, "GetStatus", NULL, NULL);
        cli->call_usec = 0;
        json_array_foreach(json_object_get(status, "contained"), i, c) {
                const char *who = field_text(c, "cgroup");

                if (!drill_is_culprit(who) && (in_drill(who) || is_drill(asked_by(status, c))))
                        note_touched(sight->touched, who);
        }
        json_decref(status);
}

void drill_tell_incidents(const json_t *incidents, uint64_t begin_usec, json_t *run, json_t *touched) {
        uint64_t alarm = 0, step = UINT64_MAX;
        const char *culprit = NULL;
        json_t *i;
        size_t k;

        /* Newest first: the last one here is the first one. The first step may be another's. */
        json_array_foreach(incidents, k, i) {
                uint64_t first = field_usec(i, "first_step");
                const char *who = field_text(i, "culprit");

                if (!is_drill(field_text(i, "domain")) && !in_drill(who))
                        continue;
                /* What began in the calm and was not over is about the harm as well. */
                if (!json_is_null(json_object_get(i, "ended")) && field_usec(i, "ended") < begin_usec)
                        continue;
                alarm = MAX(field_usec(i, "started"), begin_usec);
                if (first < begin_usec)
                        continue;
                if (first <= step) {
                        step = first;
                        culprit = who;
                }
                if (!drill_is_culprit(who))
                        note_touched(touched, who);
        }
        set_msec(run, "alarm_ms", alarm, begin_usec);
        set_msec(run, "first_step_ms", culprit ? step : 0, begin_usec);
        (void) json_object_set_new(run, "culprit", culprit ? json_string(culprit) : json_null());
        (void) json_object_set(run, "others_touched", touched);
}

static CliExit tell_incidents(Cli *cli, json_t *run, uint64_t begin, const Sight *sight) {
        json_t *incidents;
        CliExit r = client_json(cli, &incidents, "ListIncidents", fill_incidents, NULL);

        if (r != CLI_DONE)
                return r;
        drill_tell_incidents(incidents, begin, run, sight->touched);
        json_decref(incidents);
        return CLI_DONE;
}

/* What the culprits' slice and the service's have done to the drill's disk. */
static bool disk_done(const DrillDisk *d, DrillIo io[static 2]) {
        return drill_disk_done(d, DRILL_SLICE "/" DRILL_CULPRIT_SLICE, &io[0]) &&
               drill_disk_done(d, DRILL_SLICE "/" DRILL_VICTIM_SLICE, &io[1]);
}

/* *full: what the disk does while nobody is contained, which the first of a pair tells. */
static void set_work(json_t *run, DrillIo io[static 2][2], bool contain, DrillIo *full) {
        DrillIo did[2];

        for (size_t i = 0; i < ARRAY_SIZE(did); i++)
                did[i] = (DrillIo) { io[1][i].bytes - MIN(io[0][i].bytes, io[1][i].bytes), io[1][i].ios - MIN(io[0][i].ios, io[1][i].ios) };
        if (!contain)
                *full = (DrillIo) { did[0].bytes + did[1].bytes, did[0].ios + did[1].ios };
        (void) json_object_set_new(run, "work", json_integer((json_int_t) drill_work(did[0], did[1], *full)));
}

/* For what part of the time since then, in 1/100, those outside the drill waited. */
static uint64_t others_wait(uint64_t stall_then, uint64_t then) {
        return (drill_others_stall(DRILL_HIERARCHY) - stall_then) * 100 / MAX(now_usec() - then, UINT64_C(1));
}

/* Until the harm's time is over. stall: that of others when it began; usual: what part of the time they waited before it, in 1/100.
 * False: it was asked to stop, or others suffer, which was told. */
static bool sit_through(Cli *cli, uint64_t begin, uint64_t usec, uint64_t stall, uint64_t usual, Sight *sight) {
        uint64_t now, second = 1, since = begin, later = begin, later_stall = stall;

        while ((now = now_usec()) < begin + usec) {
                if (!sleep_until(MIN(now + LOOK_USEC, begin + usec)))
                        return false;
                if (!drill_culprits_gone()) {
                        sight->ran = true;
                        sight->empty_usec = 0;
                } else if (sight->empty_usec == 0)
                        sight->empty_usec = now_usec();
                if (now_usec() < begin + second * USEC_PER_SEC)
                        continue;
                look_at_contained(cli, sight);
                if (second++ >= OTHERS_SECONDS && others_wait(stall, since) > usual + OTHERS_MAX) {
                        cli_error("drill: stopped, for programs outside it wait for memory or io %" PRIu64 " %% of the time, and before it "
                                  "waited %" PRIu64 " %%", others_wait(stall, since), usual);
                        return false;
                }
                if (now_usec() >= later + OTHERS_SPAN_USEC) {
                        since = later;
                        stall = later_stall;
                        later = now_usec();
                        later_stall = drill_others_stall(DRILL_HIERARCHY);
                }
        }
        return true;
}

/* Half of a pair. NULL: it could not be done, which was told, or it was asked to stop. *pid: cgd's, which is another when
 * it died meanwhile; whatever was kept then, it was not cgd that kept it. */
static json_t *phase(Cli *cli, const DrillStage *stage, const DrillScenario *scenario, bool contain, DrillIo *full, uint64_t *pid) {
        unsigned seconds = (unsigned) (cli->for_usec / USEC_PER_SEC), life = CALM_SECONDS + seconds + LATE_SECONDS;
        uint64_t begin, calm, cpu[2], bytes, stall, stalled, usual, pid_now;
        Sight sight = { .touched = json_array() };
        json_t *report, *run = NULL;
        DrillIo io[2][2] = {};
        DrillDisk disk;
        bool counted;

        if (stopped || !may_harm(cli, stage, scenario->disk, true))
                goto finish;
        /* A new one each time: what was written to the last is on no way to anywhere. */
        if (scenario->disk && !drill_disk_open(&disk))
                goto finish;
        if (set_modes(cli, "off") != CLI_DONE || !drill_victim_start(stage, scenario, life))
                goto finish;
        calm = now_usec();
        stall = drill_others_stall(DRILL_HIERARCHY);
        /* What the service takes as it starts is a good part of all there is, and no harm: the alarm about it is to be over before
         * anything may be done. */
        if (!sleep_until(calm + START_SECONDS * USEC_PER_SEC) || (contain && set_modes(cli, "policy") != CLI_DONE) ||
            !sleep_until(calm + CALM_SECONDS * USEC_PER_SEC))
                goto finish;
        usual = others_wait(stall, calm);
        cgd_usage(*pid, &cpu[0], &bytes);
        stall = drill_others_stall(DRILL_HIERARCHY);
        begin = now_usec();
        counted = scenario->disk && disk_done(&disk, io[0]);
        if (!drill_culprits_start(stage, scenario, begin, seconds + 1) || !sit_through(cli, begin, seconds * USEC_PER_SEC, stall, usual, &sight))
                goto finish;
        counted = counted && disk_done(&disk, io[1]);
        stalled = drill_others_stall(DRILL_HIERARCHY);
        drill_culprits_freeze();
        drill_victim_end();
        report = drill_victim_report(DRILL_SETTLE_SECONDS);
        /* What comes after its time is no loss, and not known either. */
        if (report && field_u64(report, "t0_usec") + life * USEC_PER_SEC < begin + seconds * USEC_PER_SEC) {
                cli_error("drill: this machine is too busy: the service's time was over before the harm's");
                json_decref(report);
                goto finish;
        }
        cgd_usage(*pid, &cpu[1], &bytes);
        pid_now = cgd_pid(cli);
        run = drill_figures(pid_now == *pid ? report : NULL, begin, begin + seconds * USEC_PER_SEC);
        if (run) {
                (void) json_object_set_new(run, "victim_died", json_boolean(report == NULL));
                (void) json_object_set_new(run, "cgd_died", json_boolean(pid_now != *pid));
                (void) json_object_set_new(run, "culprit_ran", json_boolean(sight.ran));
                (void) json_object_set_new(run, "others_stall_ms", json_integer((json_int_t) ((stalled - stall) / USEC_PER_MSEC)));
        }
        json_decref(report);
        *pid = pid_now;
        if (!run || pid_now == 0 || tell_incidents(cli, run, begin, &sight) != CLI_DONE) {
                json_decref(run);
                run = NULL;
                goto finish;
        }
        set_msec(run, "empty_ms", sight.empty_usec, begin);
        if (counted)
                set_work(run, io, contain, full);
        /* Who did the harm stands still and is there, so what he gets back is seen at himself. */
        (void) json_object_set_new(run, "given_back", json_boolean(settle(cli) && !drill_stage_is_limited()));
        (void) json_object_set_new(run, "cgd", json_pack("{s:I, s:I}", "cpu_usec", (json_int_t) (cpu[1] - MIN(cpu[0], cpu[1])),
                                                         "resident_bytes", (json_int_t) bytes));
        /* Whether more came of it was not waited for. */
        if (stopped) {
                json_decref(run);
                run = NULL;
        }
finish:
        drill_services_stop();
        if (scenario->disk)
                drill_disk_close();
        json_decref(sight.touched);
        return run;
}

bool drill_may_begin(Cli *cli, const DrillStage *stage, bool disk) {
        (void) settle(cli);
        if (stopped)
                cli_error("drill: stopped before it began");
        return !stopped && may_harm(cli, stage, disk, false);
}

json_t *drill_rehearse(Cli *cli, const DrillStage *stage, const DrillScenario *scenario, uint64_t *pid, bool *ret_cut) {
        json_t *runs = json_array();

        *ret_cut = false;
        for (unsigned n = 0; n < cli->repeat && !*ret_cut; n++) {
                json_t *without, *with;
                DrillIo full = {};

                if (isatty(STDERR_FILENO))
                        (void) fprintf(stderr, "%s, %u of %u: %s\n", scenario->name, n + 1, cli->repeat, scenario->summary);
                without = phase(cli, stage, scenario, false, &full, pid);
                with = without ? phase(cli, stage, scenario, true, &full, pid) : NULL;
                if (with)
                        (void) json_array_append_new(runs, json_pack("{s:o, s:o}", "without", without, "with", with));
                else
                        json_decref(without);
                *ret_cut = !with;
        }
        if (json_array_size(runs) == 0) {
                json_decref(runs);
                return NULL;
        }
        return runs;
}
