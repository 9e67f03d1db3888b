/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Handover: tells systemd of leases that last, so that a daemon-reload does not undo them, and tells it
 * again when they end. */

#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "act/leases.h"

typedef struct Handover Handover;

/* A lease was taken anew while systemd was being told that it is over: the raw value may be lost. */
typedef void (*HandoverLost)(HeldLease *l, void *userdata);

/* run: "/run/systemd". */
int handover_new(sd_event *event, const char *run, Leases *leases, HandoverLost lost, void *userdata,
                 Handover **ret);
Handover *handover_free(Handover *h);

/* NULL: away. Takes a reference. */
void handover_set_bus(Handover *h, sd_bus *bus);

/* A lease was taken, changed, or ended: looks when there is something to tell. Cheap. */
void handover_wake(Handover *h);

/* The lease is over and memory.high is as it should be. With value: systemd is told .original; without
 * (drift): only our drop-in goes. Ends the lease, now or once systemd has answered. */
void handover_end(Handover *h, HeldLease *l, bool tell_original);

/* Removes the drop-in that systemd made for us, below run. One that was there before us stays with .original in it (told:
 * systemd was told of that), and goes where it would keep our value. */
void handover_dropin_remove(const char *run, const HeldLease *l, bool told);

/* For the way out: does what handover_end() left for later, waiting at most until deadline_usec
 * (CLOCK_MONOTONIC). Returns of how many systemd could not be told: their records stay. */
int handover_finish(Handover *h, uint64_t deadline_usec);
