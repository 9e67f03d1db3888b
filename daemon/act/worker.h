/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Worker: the threads that make the writes which may block, and the bounded queue in front of them. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "model/plan.h"

#define JOBS_MAX 64
#define JOB_ACCEPT_MAX 6
/* Of one device: what the engine expects, what the lease says, what it said before, what was there before cgd. */
#define JOB_IO_ACCEPT 4

typedef enum JobState {
        JOB_FREE,
        JOB_TAKEN,              /* being filled in by the loop */
        JOB_QUEUED,
        JOB_RUNNING,
        JOB_DONE,               /* outcome is there; the loop has not taken it yet */
} JobState;

typedef struct Job {
        Action action;
        uint64_t accept[JOB_ACCEPT_MAX];        /* values of memory.high that are ours to overwrite */
        size_t n_accept;
        uint64_t swap_accept[2];                /* … and of memory.swap.high */
        IoLine io_accept[IO_DEVICES_MAX][JOB_IO_ACCEPT];        /* … and of io.max, for each of action.io */
        uint64_t lease_serial;
        bool quiet;             /* nobody outside waits for the outcome */
        bool clear_all;         /* of io priorities, and nothing else, until a restore comes; dir_fd is the root's */
        int dir_fd;             /* the cgroup's, the worker's own */
        Outcome outcome;
        atomic_bool cancelled;  /* a restore or a kill of the same cgroup came after it; of clear_all: any restore */
        atomic_bool given_back; /* of a kill: a restore came after it or had not ended, or the end */
        atomic_bool finished;   /* set by the thread as its last touch of the cgroup */
        /* The worker's, under its lock: */
        JobState state;
        uint64_t order;
        struct Job *overtaken;  /* a write of this cgroup that is still under way: see limit.c */
} Job;

typedef struct Worker Worker;
typedef void (*WorkerHandler)(Job *job, void *userdata);

/* handler runs on the loop, once for each job submitted; the job is free again when it returns. */
int worker_new(sd_event *event, WorkerHandler handler, void *userdata, Worker **ret);
Worker *worker_free(Worker *w); /* drops what is queued, waits for what runs */

/* How long a kill is watched; 5 s unless a test says otherwise. */
void worker_set_kill_timeout(Worker *w, uint64_t usec);

/* A free job with a dup of cgroup_fd in it (no new descriptor is needed), or NULL: 64 are under way. A
 * cgroup_fd below 0 makes one whose cgroup is gone. */
Job *worker_take(Worker *w, int cgroup_fd);
/* Queues it. A restore or kill cancels the older sets of its cgroup (their outcome: FAILED, -ECANCELED). */
void worker_submit(Worker *w, Job *job);
/* Its outcome is known without running it. */
void worker_refuse(Worker *w, Job *job, OutcomeResult result, int error);

/* For the way out: cancels what is queued and waits for what runs, at most until deadline_usec
 * (CLOCK_MONOTONIC). True: no thread touches a cgroup any more. The handlers have been called. */
bool worker_quiesce(Worker *w, uint64_t deadline_usec);

uint64_t now_monotonic_usec(void);
