/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the manager's own files share: manager.c runs the loop, operations.c answers the bus. */

#include <time.h>

#include "act/act.h"
#include "base/units.h"
#include "engine/engine.h"
#include "manager.h"
#include "place/place.h"
#include "record/journal.h"
#include "record/ledger.h"
#include "sense/sense.h"
#include "serve/serve.h"

#define EVENTS_MAX 256
#define OUTCOMES_MAX 128

struct Manager {
        ManagerConfig config;
        sd_event *event;
        sd_event_source *timer, *wake;
        sd_bus *bus;
        int lock_fd, runtime_fd;

        Policy *policy;
        Engine *engine;
        Sensor *sensor;
        Actor *actor;
        Placer *placer;
        Server *server;
        Journal *journal;

        Plan plan;
        Event events[EVENTS_MAX];
        size_t n_events;
        Outcome outcomes[OUTCOMES_MAX];
        size_t n_outcomes;
        uint64_t events_dropped;

        uint64_t started_usec, loaded_usec, heartbeat_usec;
        bool scan_due;                  /* processes are to be looked for */
        uint64_t scan_usec;             /* when they last were */
        char *refused;                  /* diagnostics of the last reload, or of the start, if anything was refused */
        char **left_out;                /* domains that are not in force since the start for their faults */
        uint64_t oom_usec;              /* the kernel killed: the second that this counts in began */
        unsigned oom_lines;             /* … so many lines about it … */
        uint64_t oom_untold;            /* … and so many without one */
        unsigned told_open, told_contained;     /* to systemd */
        unsigned told_level;            /* of sensing, in the journal; 0 = none yet */
        Ledger ledger;
};

static inline uint64_t now_usec(clockid_t clock) {
        struct timespec t;

        (void) clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

/* The tick comes as soon as the loop is free. */
void manager_wake(Manager *m);
/* A kill that waits for its command may come to be forbidden meanwhile. */
void manager_recheck_kill(Manager *m);
/* All or nothing; request may be NULL. */
void manager_reload(Manager *m, ServerRequest *request);

extern const ServerOps manager_operations;
