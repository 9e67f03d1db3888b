/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Life: the kernel tells us of processes as they start the programs that somebody asked for, where it lets us ask.
 * Without it they are found at the next heartbeat. */

#include <systemd/sd-event.h>

#include "model/exec.h"
#include "sense/bpf/life/life-api.h"
#include "sense/loading.h"
#include "sense/ring.h"
#include "sense/sense.h"

typedef struct Life {
        Loading loading;
        int link_fd, users_fd, names_fd;
        Ring starts;
        LifeControl *control;           /* NULL = there is no program: see loading.reason */
        uint64_t lost;                  /* of the control block, when it was looked at last */
        SensorExecHandler handler;
        void *userdata;
        ExecFilter filter;              /* as of life_set(); borrowed */
} Life;

/* loader: cgd-bpf. Nothing is started yet. -ENOMEM. */
int life_init(Life *l, sd_event *event, const char *loader, SensorExecHandler handler, void *userdata);
void life_done(Life *l);
/* Has the program loaded in the background. */
int life_load(Life *l);
/* Takes the program out of the kernel; it may be loaded again. */
void life_unload(Life *l);
/* What is asked for from now on, whether the program is there yet or not. The filter's arrays are borrowed until the
 * next call. -E2BIG: more than the maps hold, which is then answered by hearing of all. */
int life_set(Life *l, const ExecFilter *f);
/* True once after starts were lost: they are to be looked for. */
bool life_has_lost(Life *l);
