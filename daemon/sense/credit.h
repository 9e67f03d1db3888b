/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Credit: who waits for whom at the disks (level 4), where the kernel lets us see it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "model/io-credit.h"
#include "sense/bpf/iocredit/iocredit-api.h"
#include "sense/loading.h"
#include "sense/registry.h"

typedef struct Credit {
        Loading loading;
        int link_fds[_CREDIT_FD_MAX - CREDIT_LINK_FIRST];
        CreditControl *control;         /* NULL = there are no programs: see loading.reason */
        uint64_t busy_usec[IO_SLOTS];   /* when the slot's owner was last seen at work */
        uint64_t rate[IO_SLOTS];        /* its work a second, over about a second */
        uint64_t usec;                  /* of the last look */
        uint64_t device_requests[CREDIT_DEVICES], device_usec[CREDIT_DEVICES];  /* that ended there, and since when none did */
        uint64_t lost_device;           /* of the control block, when it was looked at last */
        IoCredit io;                    /* as of the last credit_read() */
} Credit;

/* loader: cgd-bpf. Nothing is started yet. -ENOMEM. */
int credit_init(Credit *c, sd_event *event, const char *loader);
void credit_done(Credit *c);
/* Has the programs loaded in the background. */
int credit_load(Credit *c);
/* Takes them out of the kernel, with all that was counted; they may be loaded again. */
void credit_unload(Credit *c);

/* Gives slots to the domains' slices and to those who did most io in the present walk, and brings c->io up to date.
 * NULL where there are no programs. Valid until the registry's next walk. */
const IoCredit *credit_read(Credit *c, const Registry *g, unsigned walk, uint64_t now_usec);

/* Memory of the map, which is the kernel's and mapped by us. */
size_t credit_bytes(const Credit *c);
