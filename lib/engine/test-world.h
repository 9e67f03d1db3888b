/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A small world for the engine's tests: a machine in virtual time with cgroups that grow, are stalled at their
 * limits and hurt each other when memory is short. It is no model of the kernel, only of the directions in
 * which its numbers move. It also keeps the books: who was touched, what was not given back. */

#include "base/units.h"
#include "engine/engine.h"

#define MIB (UINT64_C(1) << 20)
#define WORLD_MAX 300
#define WORLD_DISKS 2

typedef struct WorldCgroup {
        char path[128];
        CgroupKind kind;
        CgroupFlags flags;
        int parent;
        bool gone, leaf;
        uint64_t id, current, swap, high, original_high, swap_high, max, low, min, stall, full, events_high, events_max, pgsteal, activate;
        uint64_t rate;                  /* grows by this many bytes a second … */
        uint64_t until;                 /* … until it has this many */
        uint64_t cache;                 /* so much of what it has is page cache */
        uint64_t stream;                /* page-cache stream: takes in this many bytes a second at constant size */
        bool shut;                      /* others move so much more that a look goes into it only if it is at every cgroup */
        bool cold;                      /* it is gone into, but only a look at every cgroup has details of those in it */
        bool unread;                    /* its row has no figures of memory.stat, but in a look at every cgroup */
        uint64_t shown;                 /* memory.current as its row has it; 0 = as it is */
        uint64_t looked;                /* what had moved in it when it was looked at */
        bool close;                     /* the engine asked for it to be looked at closely */
        uint64_t nap_until;             /* asleep in the kernel's throttle until then */
        bool gasps;                     /* past its limit: a second and a half of every six the throttle lets it through */
        uint64_t breath;                /* takes and gives back this many bytes, at 40 MiB/s */
        uint64_t breathed;              /* … of which it has these now */
        uint64_t touched;               /* writes by the engine */
        bool refuses;                   /* … which fail, here and nowhere else */
        uint64_t killed;
        uint64_t operations, io_bytes;  /* wants so many a second, of so many bytes each … */
        bool writes;
        bool buffered;                  /* writes through the page cache: half of what it may use is on its way at a time */
        uint64_t backlog;               /* … and this much, that never gets less */
        bool unseen;                    /* what it writes stands in no io.stat yet */
        bool swaps;                     /* what grows goes to swap, on the first disk, and makes io there */
        int taken_by;                   /* swaps: it is driven out by this one, which takes the memory; 0 = it grows itself */
        int disk;                       /* … on this disk */
        uint64_t rest;                  /* of an operation, in usec * operations */
        IoLine done[WORLD_DISKS], io_max[WORLD_DISKS], original_io_max[WORLD_DISKS];
        uint64_t io_stall;
        uint64_t slow_usec;             /* each request of its takes so much longer, whoever else is there */
        uint64_t io_waited;             /* what its requests took, all together … */
        uint64_t io_slow;               /* … and that on top of it */
        bool expected;                  /* the scenario's culprit: may be touched */
} WorldCgroup;

/* Room for the counters of a row. */
typedef struct RowValues {
        uint64_t use[CGROUP_DETAIL_FIRST], detail[CGROUP_DETAILS];
} RowValues;

typedef struct World {
        WorldCgroup c[WORLD_MAX];
        int n;
        uint64_t now, total, swap_total, swap_free, host_stall;
        uint64_t disk_operations, disk_bytes;   /* what a disk does in a second */
        uint64_t io_trigger[10];        /* stall of the workload in each of the last ten steps */
        Policy policy;
        Engine *engine;
        Plan plan;
        Outcome outcomes[PLAN_ACTIONS_MAX];
        size_t n_outcomes;
        uint64_t kill_takes_usec, killed_usec;  /* whose outcome comes so much later, at that time */
        Outcome kill;
        uint64_t first_touch, kills, kills_in_flight_max, seed;
        uint64_t lag_usec;              /* the daemon gets its CPU this much late … */
        uint64_t due_usec;              /* … and so ticks then */
        uint64_t stolen;                /* pages reclaimed because memory was short */
        uint64_t ache_usec;             /* the services stall this much longer than memory is short … */
        uint64_t ache_until;            /* … and so until then */
        uint64_t vanished;              /* id of one that is gone, to be told with the next look */
        bool refuse_writes;             /* everywhere */
        bool overlooked;                /* samples of every cgroup lack one */
        bool closes;                    /* other samples have no rows of what is in a slice where nothing moves */
        bool credited;                  /* the kernel's credit of io is there; nobody waits by it … */
        bool uncounted;                 /* … but counts other disks … */
        bool allowance;                 /* … and the disk keeps to its rate by letting wait: it is busy half of the time */
        uint64_t credit_step_usec;      /* … and requests end only so often, many at a time; 0 = as they come */
        IoCredit credit;
        uint64_t busy_usec[WORLD_DISKS];
} World;

void world_init(World *w, uint64_t total, uint64_t swap_total);
void world_done(World *w);
/* No forecast: nothing but pressure raises an alarm. Before anything runs. */
void world_without_host_alarm(World *w);
/* The workload asks for help when what its slice's limit leaves would be gone in two seconds. Likewise. */
void world_with_limit_alarm(World *w);
/* Parents first. Returns the index. */
int world_add(World *w, const char *path, CgroupKind kind, uint64_t current);
int world_find(World *w, const char *path);
/* A service in the workload, 25 s of calm, and then one that grows by so many bytes a second. Returns that one. */
int world_hog(World *w, const char *path, uint64_t rate);
/* Likewise a service that needs the disk, and one that floods it with so many operations a second of so many bytes. */
int world_flood(World *w, const char *path, uint64_t operations, uint64_t bytes);
/* Until its memory is held, which it must be in 50 s. */
void world_run_until_held(World *w, int i);
/* Runs for so long in steps of at most 50 ms. */
void world_run(World *w, uint64_t usec);
/* The engine is told of this, and plans when to look. */
void world_event(World *w, const Event *event);
/* Everything has the limit it had. */
bool world_clean(const World *w);
/* Nobody was but this one; -1 = nobody at all. */
void world_assert_only_touched(const World *w, int culprit);
/* The first incident of an alarm of that name that is remembered; NULL. */
const Incident *world_incident(const World *w, const char *alarm);
/* The last of its entries of that type and action; NULL. */
const IncidentEntry *world_entry(const Incident *i, IncidentEntryType type, ActionType action);
uint64_t world_random(World *w, uint64_t below);
