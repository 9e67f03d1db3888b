/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl drill` from its beginning to its end, with a cgd, a stage and a clock of the test's own: nothing is done to this machine. */

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test.h"
#include "base/units.h"
#include "cli.h"
#include "drill/drill.h"

/* How it is. */
static struct {
        bool killed;                    /* cgd has the domains of a drill before this one */
        bool incident;                  /* somebody else's */
        bool domain;                    /* somebody else's too, of this rank, and units in it may be contained */
        int rank;
        bool contain;
        const char *mode;               /* which was set by hand; NULL = as its file has it */
        const char *outsider_held_for;  /* this domain, while harm is done */
        bool lives;                     /* the service, and answers every request; */
        uint64_t late_usec;             /* it had begun so long before whoever started it knew */
        bool held;                      /* for ten seconds after the harm, and at first after one before it */
        const char *stop_at;            /* it is interrupted at this, */
        unsigned stop_service;          /* once so many services have been started */
} world;

/* What came of it. Shared with the process that ran it, which is another each time, for once stopped it stays so. */
static struct {
        int status;
        bool open, changed;             /* the stage; and cgd was not told of that */
        bool told;                      /* of anything, on standard error */
        uint64_t patience_usec;         /* the longest that cgd is waited for at a time while harm is done, */
        bool hurried;                   /* and it was so where it is to do something */
        unsigned reloads, services;
        uint64_t stopped_usec, ended_usec;
        bool complete, met;             /* the result, if any */
        size_t n_scenarios;
        json_int_t for_usec;
        json_int_t cpu_usec;            /* of cgd in the first run, */
        size_t n_touched;               /* and how many others were touched in it */
        json_int_t kept;                /* of the worst second in it */
        uint64_t report_usec;           /* for so long the service's report was waited for */
} *seen;

/* The clock: as late as it was slept for. */

static uint64_t now = 1000 * USEC_PER_SEC;

int clock_gettime(clockid_t clock, struct timespec *ts) {
        /* Of processors nobody makes any up. */
        if (clock != CLOCK_MONOTONIC)
                return (int) syscall(SYS_clock_gettime, clock, ts);
        *ts = (struct timespec){ .tv_sec = (time_t) (now / USEC_PER_SEC), .tv_nsec = (long) (now % USEC_PER_SEC) * 1000 };
        return 0;
}

static void sleep_to(uint64_t usec) {
        now = MAX(now, usec);
}

int clock_nanosleep(_unused_ clockid_t clock, _unused_ int flags, const struct timespec *ts, _unused_ struct timespec *left) {
        sleep_to((uint64_t) ts->tv_sec * USEC_PER_SEC + (uint64_t) ts->tv_nsec / 1000);
        return 0;
}

int nanosleep(const struct timespec *ts, _unused_ struct timespec *left) {
        sleep_to(now + (uint64_t) ts->tv_sec * USEC_PER_SEC + (uint64_t) ts->tv_nsec / 1000);
        return 0;
}

uid_t geteuid(void) {
        return 0;
}

static void happens(const char *what) {
        if (!world.stop_at || !streq(what, world.stop_at) || seen->services != world.stop_service)
                return;
        world.stop_at = NULL;
        seen->stopped_usec = now;
        (void) raise(SIGINT);
}

/* cgd */

void cli_error(const char *format, ...) {
        (void) format;
        seen->told = true;
}

bool client_is_running(_unused_ Cli *cli) {
        return true;
}

CliExit client_call(Cli *cli, _unused_ char **ret, const char *member, _unused_ ClientFill fill, _unused_ void *arg) {
        seen->hurried = seen->hurried || cli->call_usec > 0;
        if (streq(member, "Reload")) {
                seen->reloads++;
                seen->changed = false;
        }
        return CLI_DONE;
}

static enum { UNKNOWN, CLEARED, BEGUN, OVER } harm;
static uint64_t held_until_usec;

CliExit client_json(Cli *cli, json_t **ret, const char *member, _unused_ ClientFill fill, _unused_ void *arg) {
        if (harm == BEGUN)
                seen->patience_usec = MAX(seen->patience_usec, cli->call_usec ?: UINT64_MAX);
        if (streq(member, "GetStatus")) {
                happens(harm == OVER ? "settling" : harm == CLEARED ? "beginning" : "");
                *ret = json_pack("{s:i, s:[], s:[]}", "pid", getpid(), "incidents", "contained");
                if (world.incident)
                        (void) json_array_append_new(json_object_get(*ret, "incidents"), json_pack("{s:s}", "domain", "workload"));
                if (harm == BEGUN && world.outsider_held_for)
                        (void) json_object_update_new(*ret, json_pack("{s:[{s:i, s:s}, {s:i, s:s}], s:[{s:i, s:s}]}", "incidents", "id", 6,
                                                      "domain", DRILL_VICTIM, "id", 7, "domain", world.outsider_held_for, "contained",
                                                      "incident", 7, "cgroup", "/sideload.slice/x.service"));
                if (now < held_until_usec)
                        (void) json_array_append_new(json_object_get(*ret, "contained"), json_pack("{s:s}", "cgroup", "/" DRILL_SLICE "/x"));
        }
        else if (streq(member, "ListDomains") && world.killed)
                *ret = json_pack("[{s:s}, {s:s}, {s:s}, {s:s}]", "name", "workload", "name", DRILL_WHOLE, "name", DRILL_VICTIM,
                                 "name", DRILL_CULPRIT);
        else if (streq(member, "ListDomains") && world.domain)
                *ret = json_pack("[{s:s, s:i, s:o}]", "name", "batch", "rank", world.rank, "contain", !world.contain ? json_null() :
                                 json_pack("{s:s, s:s}", "mode", world.mode ?: "enforce", "mode_configured", "enforce"));
        else
                *ret = json_array();
        return *ret ? CLI_DONE : CLI_FAILED;
}

CliExit output_document(_unused_ const Cli *cli, json_t *j, _unused_ void (*view)(const View *, const json_t *, Str *)) {
        json_t *touched;

        seen->complete = field_true(j, "complete");
        seen->met = field_true(j, "met");
        seen->n_scenarios = json_array_size(json_object_get(j, "scenarios"));
        seen->for_usec = field_i64(j, "for_usec");
        if (json_unpack(j, "{s:[{s:[{s:{s:{s:I}, s:o, s:{s:I}}}]}]}", "scenarios", "runs", "without", "cgd", "cpu_usec", &seen->cpu_usec,
                        "others_touched", &touched, "isolation", "min", &seen->kept) == 0)
                seen->n_touched = json_array_size(touched);
        json_decref(j);
        return CLI_DONE;
}

void view_drill(_unused_ const View *v, _unused_ const json_t *j, _unused_ Str *out) {
}

/* The stage */

int drill_run(_unused_ const char *const argv[], _unused_ bool quiet) {
        return 0;
}

bool drill_stage_clear(DrillStage *s) {
        *s = (DrillStage) { .bound_bytes = 1 << 20, .lock_fd = -EBADF };
        seen->changed = world.killed;
        harm = CLEARED;
        held_until_usec = world.held ? now + 10 * USEC_PER_SEC : 0;
        return true;
}

bool drill_stage_has_room(_unused_ const DrillStage *s, _unused_ bool disk) {
        return true;
}

bool drill_stage_open(_unused_ const DrillStage *s) {
        seen->open = seen->changed = true;
        return true;
}

void drill_policies_remove(void) {
        seen->changed = seen->changed || seen->open;
}

void drill_stage_close(_unused_ DrillStage *s) {
        seen->open = false;
}

/* From when to when the service lives. */
static uint64_t t0_usec, t1_usec;

bool drill_victim_start(_unused_ const DrillStage *s, _unused_ const DrillScenario *scenario, unsigned seconds) {
        harm = BEGUN;
        seen->services++;
        t0_usec = now;
        t1_usec = now + seconds * USEC_PER_SEC;
        sleep_to(now + world.late_usec);
        return true;
}

void drill_victim_end(void) {
        t1_usec = MIN(t1_usec, now);
}

json_t *drill_victim_report(_unused_ unsigned wait_seconds) {
        json_t *j = NULL;

        happens("reporting");
        harm = OVER;
        held_until_usec = world.held ? now + 10 * USEC_PER_SEC : 0;
        if (!world.lives)
                return NULL;
        seen->report_usec = MAX(t1_usec, now) - now;
        sleep_to(t1_usec);
        j = json_pack("{s:I, s:I, s:i, s:i, s:[]}", "t0_usec", (json_int_t) t0_usec, "t1_usec", (json_int_t) t1_usec, "rate", 100,
                      "bucket_ms", 100, "buckets");
        for (uint64_t at = t0_usec; at < t1_usec; at += 100 * USEC_PER_MSEC)
                (void) json_array_append_new(json_object_get(j, "buckets"), json_integer(10));
        return j;
}

#define COMPUTED_NSEC 20000000

/* The test is its own cgd. */
static void *compute(_unused_ void *arg) {
        struct timespec ts;

        do
                (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        while (ts.tv_sec == 0 && ts.tv_nsec < COMPUTED_NSEC);
        return NULL;
}

bool drill_culprits_start(_unused_ const DrillStage *s, _unused_ const DrillScenario *scenario, _unused_ uint64_t begin_usec,
                          _unused_ unsigned seconds) {
        pthread_t t;

        return pthread_create(&t, NULL, compute, NULL) == 0 && pthread_join(t, NULL) == 0;
}

bool drill_culprits_gone(void) {
        return false;
}

void drill_culprits_freeze(void) {
}

bool drill_stage_is_limited(void) {
        return false;
}

void drill_services_stop(void) {
        happens("stopping");
}

uint64_t drill_others_stall(_unused_ const char *hierarchy) {
        return 0;
}

bool drill_disk_possible(void) {
        return false;
}

bool drill_disk_open(_unused_ DrillDisk *d) {
        return false;
}

void drill_disk_close(void) {
}

bool drill_disk_done(_unused_ const DrillDisk *d, _unused_ const char *cgroup, _unused_ DrillIo *ret) {
        return false;
}

/* The tests */

static void drill(const char *scenario) {
        const char *argv[] = { scenario };
        Cli cli = { .for_usec = 5900 * USEC_PER_MSEC, .repeat = 1 };
        pid_t pid;
        int status;

        memset(seen, 0, sizeof(*seen));
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                /* What the tests were started with is theirs. */
                for (int sig = 1; sig < NSIG; sig++)
                        (void) signal(sig, SIG_DFL);
                seen->status = verb_drill(&cli, scenario ? 1 : 0, (char **) argv);
                seen->ended_usec = now;
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_false(seen->open);
}

static int setup(void **state _unused_) {
        memset(&world, 0, sizeof(world));
        seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return seen == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state _unused_) {
        return munmap(seen, sizeof(*seen));
}

static void test_done(void **state _unused_) {
        drill("leak");
        assert_int_equal(seen->status, CLI_FALSE);
        assert_true(seen->complete);
        assert_int_equal(seen->n_scenarios, 1);
        assert_int_equal(seen->reloads, 2);
        assert_false(seen->changed);
        /* Meanwhile nobody looks at those outside. */
        assert_in_range(seen->patience_usec, 1, 5 * USEC_PER_SEC);
        assert_false(seen->hurried);
        /* Harm is done for whole seconds. */
        assert_int_equal(seen->for_usec, 5 * USEC_PER_SEC);
        /* What writes limits is a thread of its own. */
        assert_in_range(seen->cpu_usec, COMPUTED_NSEC / 1000, USEC_PER_MINUTE);
}

/* All are asked for, and this kernel has no disk for some: the others are done, and that is not all. */
static void test_no_disk(void **state _unused_) {
        drill(NULL);
        assert_int_equal(seen->n_scenarios, 14);
        assert_false(seen->complete);
        assert_false(seen->met);
        assert_int_equal(seen->status, CLI_FAILED);
}

/* Who is refused changes nothing, but for what one that was killed has left: cgd's domains are gone as well. */
static void test_refused(void **state _unused_) {
        world.incident = true;
        drill("leak");
        assert_int_equal(seen->status, CLI_FAILED);
        assert_int_equal(seen->reloads, 0);
        world.killed = true;
        drill("leak");
        assert_int_equal(seen->status, CLI_FAILED);
        assert_int_equal(seen->reloads, 1);
        assert_false(seen->changed);
}

/* Whose domain ranks below the drill's could be contained for it; and a mode that was set by hand does not outlive a drill's reload. */
static void test_other_domains(void **state _unused_) {
        static const struct {
                int rank;
                bool contain;
                const char *mode;
                CliExit status;
        } cases[] = {
                { 0, true, NULL, CLI_FAILED }, { DRILL_RANK - 1, true, NULL, CLI_FAILED }, { DRILL_RANK, true, NULL, CLI_FALSE },
                { 0, false, NULL, CLI_FALSE }, { DRILL_RANK, true, "monitor", CLI_FAILED },
        };

        world.domain = true;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                world.rank = cases[i].rank;
                world.contain = cases[i].contain;
                world.mode = cases[i].mode;
                drill("leak");
                assert_int_equal(seen->status, cases[i].status);
                assert_int_equal(seen->n_scenarios, cases[i].status == CLI_FAILED ? 0 : 1);
                assert_int_equal(seen->services, cases[i].status == CLI_FAILED ? 0 : 2);
                assert_int_equal(seen->told, cases[i].status == CLI_FAILED);
                assert_false(seen->changed);
        }
}

/* Whoever is contained for the drill is told of, wherever he is. For somebody else it is none of the drill's. */
static void test_outsider(void **state _unused_) {
        drill("leak");
        assert_int_equal(seen->n_touched, 0);
        world.outsider_held_for = "workload";
        drill("leak");
        assert_int_equal(seen->n_touched, 0);
        world.outsider_held_for = DRILL_WHOLE;
        drill("leak");
        assert_int_equal(seen->n_touched, 1);
}

/* That a busy machine takes its time before the harm begins costs the service nothing; where it takes too long that is told. */
static void test_late(void **state _unused_) {
        world.lives = true;
        world.late_usec = 20 * USEC_PER_SEC;
        drill("leak");
        assert_true(seen->complete);
        assert_int_equal(seen->kept, PERMYRIAD);
        assert_in_range(seen->report_usec, 0, USEC_PER_SEC);
        world.late_usec = 40 * USEC_PER_SEC;
        drill("leak");
        assert_int_equal(seen->status, CLI_FAILED);
        assert_int_equal(seen->n_scenarios, 0);
        assert_true(seen->told);
}

/* Whatever it waits for, it waits no longer, starts nothing more, and clears up. */
static void test_stopped(void **state _unused_) {
        static const struct {
                const char *at;
                unsigned services, reloads;
                bool held;
        } cases[] = {
                { "beginning", 0, 0, false }, { "beginning", 0, 0, true },
                { "reporting", 1, 2, true }, { "settling", 1, 2, true }, { "stopping", 1, 2, false },
                { "reporting", 2, 2, true }, { "settling", 2, 2, true },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                world.held = cases[i].held;
                world.stop_at = cases[i].at;
                world.stop_service = cases[i].services;
                drill("leak");
                assert_int_not_equal(seen->stopped_usec, 0);
                assert_in_range(seen->ended_usec - seen->stopped_usec, 0, USEC_PER_SEC);
                assert_int_equal(seen->services, cases[i].services);
                assert_int_equal(seen->reloads, cases[i].reloads);
                assert_int_equal(seen->status, CLI_FAILED);
                assert_int_equal(seen->n_scenarios, 0);
                assert_true(seen->told);
                assert_false(seen->changed);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_done, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_disk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_other_domains, setup, teardown),
                cmocka_unit_test_setup_teardown(test_outsider, setup, teardown),
                cmocka_unit_test_setup_teardown(test_late, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stopped, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
