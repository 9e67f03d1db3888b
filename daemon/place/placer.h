/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Inside place/: the placer and its operations. */

#include "base/str.h"
#include "place/place.h"
#include "sys/unit.h"

typedef struct Op Op;

/* One thing that was asked for, until its handler has been called. */
struct Op {
        Placer *placer;
        Op *next;
        PlaceHandler handler;
        PlaceMovesHandler moves_handler;
        void *userdata;
        bool of_policy;                 /* uses the policy: ends with it */
        sd_bus_slot *slot;              /* the call under way */
        sd_event_source *timer;         /* or what it waits for */
        void (*step)(Op *op, int r, const char *message);
        void (*given_up)(Op *op);       /* before the end that no step has seen; may be NULL */
        void (*done)(Op *op);           /* frees .data */
        void *data;
};

struct Placer {
        sd_event *event;
        sd_bus *bus;
        const Policy *policy;
        char *proc, *run;
        int hierarchy_fd;
        Op *ops;
        char **applied;                 /* "SLICE KEY" that this daemon set */
        struct Scan *scan;
        uint64_t exec_usec;             /* until when the moves of programs that start are used up */
};

int op_new(Placer *p, PlaceHandler handler, void *userdata, Op **ret);
/* Calls the handler and frees the op. message as in place.h. */
void op_finish(Op *op, int r, const char *message);
void op_finishf(Op *op, int r, const char *format, ...) _printf_(3, 4);
/* What the op waits for has come: a UnitHandler. */
void op_on_reply(int r, const char *message, void *userdata);
/* r of starting a call: if it failed, ends the op at the next turn of the loop. */
void op_started(Op *op, int r);
/* Calls op->step(op, 0, NULL) after usec. */
int op_wait(Op *op, uint64_t usec);

/* One scope takes what one look finds of a domain in one cgroup. What is more comes with the next look. */
#define GROUP_PIDS_MAX 64

typedef struct Group {
        const Domain *domain;                   /* of the policy of the look: for nobody later */
        char cgroup[1024];
        char slice[UNIT_NAME_SIZE], unit[UNIT_NAME_SIZE], description[UNIT_NAME_SIZE];
        char scope[1024 + UNIT_NAME_SIZE];      /* its cgroup; "" where that is too long a path for us */
        bool raw;                               /* we put them there already */
        unsigned asked;                         /* … again, for some were gone */
        uint32_t pids[GROUP_PIDS_MAX];
        uint64_t starts[GROUP_PIDS_MAX];
        size_t n;
} Group;

/* Looks at a process that just started a program: 1, with *ret, where it is to be moved, and if raw is asked for, and can
 * be, is moved. */
int scan_exec(Placer *p, const ExecEvent *event, bool raw, Group *ret);
void scan_free(struct Scan *s);
int scan_set_policy(Placer *p);
const char *scan_hangs(const struct Scan *s);
