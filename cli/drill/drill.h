/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A drill: what happens where (stage.c), and what comes out of it (figures.c). cgctl(1) defines the figures. */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not cgd-drill.slice: that would be below cgd's own slice, where no domain may be. */
#define DRILL_SLICE "cgddrill.slice"
#define DRILL_VICTIM_SLICE "cgddrill-victim.slice"
#define DRILL_CULPRIT_SLICE "cgddrill-culprit.slice"
#define DRILL_WHOLE "drill"                     /* the domain of all of it */
#define DRILL_VICTIM "drill-victim"             /* domains, and services in their slices */
#define DRILL_CULPRIT "drill-culprit"
#define DRILL_CULPRITS_MAX 2

/* figures.c: pure. Documents are new references, NULL when out of memory. */

/* What cgd-victim reported, between two moments of CLOCK_MONOTONIC in microseconds; the seconds before the first of them
 * are the base that latency is compared with. report NULL: it died, and nothing was kept. */
json_t *drill_figures(const json_t *report, uint64_t begin_usec, uint64_t end_usec);

/* The median of each number that the documents have in the same place; numbers that one of them lacks are left out. */
json_t *drill_median(const json_t *documents);

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

/* stage.c: slices, policies and services. They say on standard error what went wrong, once. */

typedef struct DrillStage {
        uint64_t bound_bytes;   /* memory of everything in it */
        int lock_fd;
} DrillStage;

/* Clears what a drill that was killed has left, and sets up this one's slices and policies; cgd has to be told to
 * reload. False: told why; what was made is gone again. */
bool drill_stage_open(DrillStage *s);
/* Ends the services and removes the policies; then cgd has to be told to reload, which gives back what it set on the
 * slices; and then they go. */
void drill_policies_remove(void);
void drill_stage_close(DrillStage *s);

/* Starts the service, ready when it returns; it ends by itself. */
bool drill_victim_start(const DrillStage *s, unsigned seconds);
/* Its report, waited for; NULL: it died. */
json_t *drill_victim_report(unsigned wait_seconds);

typedef struct DrillScenario {
        const char *name, *summary;
        const char *shape;              /* of cgd-hog */
        unsigned rate_divisor, size_divisor;    /* of the bound, a second and at a time; 0: the program's own */
        const char *options[3];
        bool restarts;
        unsigned n_culprits;
        bool harmless;                  /* nothing may be done to it */
} DrillScenario;

bool drill_culprits_start(const DrillStage *s, const DrillScenario *scenario, unsigned seconds);
void drill_services_stop(void);
