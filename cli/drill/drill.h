/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A drill: what happens (rehearsal.c), where (stage.c, disk.c), and what comes out of it (figures.c). cgctl(1) defines the figures. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/io.h"

/* Not cgd-drill.slice: that would be below cgd's own slice, where no domain may be. */
#define DRILL_SLICE "cgddrill.slice"
#define DRILL_VICTIM_SLICE "cgddrill-victim.slice"
#define DRILL_CULPRIT_SLICE "cgddrill-culprit.slice"
#define DRILL_WHOLE "drill"                     /* the domain of all of it */
#define DRILL_VICTIM "drill-victim"             /* domains, and services in their slices */
#define DRILL_CULPRIT "drill-culprit"
#define DRILL_CULPRITS_MAX 2
/* The highest rank of the three: nobody in another domain that ranks as high or higher gives way to them. */
#define DRILL_RANK 2
#define DRILL_HIERARCHY "/sys/fs/cgroup"
/* After the harm: until the service has told how it was, and then until cgd has given back everything and closed its incidents. */
#define DRILL_SETTLE_SECONDS 40

/* figures.c: pure. Documents are new references, NULL when out of memory. */

/* What cgd-victim reported, between two moments of CLOCK_MONOTONIC in microseconds; the seconds before the first of them
 * are the base that latency is compared with. report NULL: it died, and nothing was kept. */
json_t *drill_figures(const json_t *report, uint64_t begin_usec, uint64_t end_usec);

/* The median of each number that the documents have in the same place; numbers that one of them lacks are left out. */
json_t *drill_median(const json_t *documents);

/* What happened without containment says that there is nothing to be learnt from the run with it: of harm that did none, or of
 * a harmless neighbour beside whom the service was not well. */
bool drill_proves_nothing(bool harmless, const json_t *without);

typedef struct DrillIo {
        uint64_t bytes, ios;
} DrillIo;

/* Work conservation: what the culprits did to the disk as a share (1/10000, at most all) of what it does in that time and
 * the service left over, of bytes or of operations, whichever is more. */
uint64_t drill_work(DrillIo culprits, DrillIo service, DrillIo disk);

/* "isol-p01=95", "silence=300ms": an objective, checked against figures of a run. */
typedef struct DrillObjective {
        const char *name;       /* static */
        uint64_t value;         /* 1/10000 or milliseconds */
} DrillObjective;

/* -EINVAL: no such figure, or no such value. */
int drill_objective_parse(const char *text, DrillObjective *ret);
/* {"objective", "wanted", "measured", "met"} */
json_t *drill_objective_judge(const DrillObjective *o, const json_t *figures);
/* Of all that there are, for help and errors: "isol-min, isol-p01, …" */
const char *drill_objective_names(void);

/* disk.c: a disk of its own for those who flood one. It says on standard error what went wrong, once. */

#define DRILL_DISK_DIR "/run/cgd-drill"
/* Memory that its files may take. */
#define DRILL_DISK_BYTES (UINT64_C(160) << 20)

typedef struct DrillDisk {
        char device[32];        /* its path */
        IoLine line;            /* major and minor */
} DrillDisk;

/* Whether the kernel has what it is made of. */
bool drill_disk_possible(void);
/* Clears what a drill that was killed has left, and makes one, mounted at DRILL_DISK_DIR. */
bool drill_disk_open(DrillDisk *d);
void drill_disk_close(void);
/* What a cgroup (path below the root) has done there since it was made. False: it cannot be read. */
bool drill_disk_done(const DrillDisk *d, const char *cgroup, DrillIo *ret);

/* stage.c: slices, policies and services. They say on standard error what went wrong, once. */

typedef struct DrillStage {
        uint64_t bound_bytes;   /* memory of everything in it */
        int lock_fd;
} DrillStage;

/* Takes the lock, and clears what a drill that was killed has left. False: told why. */
bool drill_stage_clear(DrillStage *s);
/* There is memory (disk: for one as well) and room for the service's file. False: not, which was told. */
bool drill_stage_has_room(const DrillStage *s, bool disk);
/* Sets up slices and policies; cgd has to be told to reload. False: told why; drill_stage_close() clears up. */
bool drill_stage_open(const DrillStage *s);
/* Ends the services and removes the policies; then cgd has to be told to reload, which gives back what it set on the
 * slices; and then they go. */
void drill_policies_remove(void);
void drill_stage_close(DrillStage *s);
/* What cgd may do for whom. dir: where policies are (injected by tests). A negative errno. */
int drill_policies_write(const DrillStage *s, const char *dir);

/* It is asked to end, and tells how it was (SIGTERM). */
void drill_victim_end(void);
/* Its report, waited for; NULL: it died, or it was asked to stop. */
json_t *drill_victim_report(unsigned wait_seconds);

typedef struct DrillScenario {
        const char *name, *summary;
        const char *shape;              /* of cgd-hog */
        unsigned rate_divisor, size_divisor;    /* of the bound, a second and at a time; 0: the program's own */
        const char *options[3];
        bool restarts;
        unsigned n_culprits;
        bool harmless;                  /* nothing may be done to it */
        bool files;                     /* it works on files of the drill's */
        bool disk;                      /* it floods the drill's disk, which the service needs too */
} DrillScenario;

/* Starts the service, ready when it returns; it ends by itself. */
bool drill_victim_start(const DrillStage *s, const DrillScenario *scenario, unsigned seconds);

/* begin_usec: now, of CLOCK_MONOTONIC. */
bool drill_culprits_start(const DrillStage *s, const DrillScenario *scenario, uint64_t begin_usec, unsigned seconds);
/* None of those who do the harm lives now. */
bool drill_culprits_gone(void);
/* They stand still from now on, and keep what they have (SIGSTOP). */
void drill_culprits_freeze(void);
/* Somebody in there has a memory.high, memory.swap.high or io.max that is not the drill's own. */
bool drill_stage_is_limited(void);
void drill_services_stop(void);

/* For how long processes outside the drill, and not cgd, have waited for memory or io, by the slices below the root and both together,
 * in microseconds: never less than it was before. hierarchy: DRILL_HIERARCHY (injected by tests). */
uint64_t drill_others_stall(const char *hierarchy);

/* rehearsal.c: it says on standard error what went wrong, once. */

typedef struct Cli Cli;

/* From now on SIGINT, SIGTERM, SIGHUP, and that nobody reads what is said (SIGPIPE), end a rehearsal, and nothing else. */
void drill_stop_on_signals(void);
bool drill_was_stopped(void);

/* A drill has cgd reload its policies, which ends what 'cgctl set-mode' said. False: somebody said something, which was told.
 * *ret_left: cgd has the domains of a drill, which one that was killed has left if none is running. */
bool drill_no_mode_by_hand(Cli *cli, bool *ret_left);
/* Whether harm may be done to this machine, once a drill before this one has ended; disk: and a disk made. False: not, which was told. */
bool drill_may_begin(Cli *cli, const DrillStage *stage, bool disk);

/* --repeat= times: an array of {"without", "with"}, a new reference. *ret_cut: it was not done as often, and why was told; what was
 * done before that counts all the same. NULL: nothing was done. *pid: cgd's, which is another where it died. */
json_t *drill_rehearse(Cli *cli, const DrillStage *stage, const DrillScenario *scenario, uint64_t *pid, bool *ret_cut);
/* What cgd did since then (CLOCK_MONOTONIC) in the drill's incidents, which are as ListIncidents has them: the first alarm, 0 ms where
 * it was raised already, the first step and whom its incident blames go into run, and with them `touched`, which whoever has no part in the harm
 * and was contained is added to. */
void drill_tell_incidents(const json_t *incidents, uint64_t begin_usec, json_t *run, json_t *touched);

/* A cgroup's path is of those who do the harm. */
bool drill_is_culprit(const char *cgroup);

/* Runs a program to its end; its exit status, or -1. Quiet: nobody is interested in what it says. */
int drill_run(const char *const argv[], bool quiet);
