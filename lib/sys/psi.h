/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pressure stall information: the text of a pressure file, and triggers on it.
 * Source: Documentation/accounting/psi.rst. */

#include <stdbool.h>
#include <stdint.h>

typedef struct PsiTotals {
        bool have_some, have_full;
        uint64_t some_usec, full_usec;  /* stalled, ever */
} PsiTotals;

/* Takes the total= of the "some" and "full" lines. A line that is missing or cut off is absent. -EINVAL
 * where neither is there. */
int psi_parse(const char *text, PsiTotals *ret);

/* What came of asking for a trigger; 0 is all that was asked for. */
typedef enum PsiTriggerResult {
        PSI_TRIGGER_FULL = 0,
        PSI_TRIGGER_COARSE,             /* window of whole 2 s, threshold in proportion: no CAP_SYS_RESOURCE */
        PSI_TRIGGER_REFUSED,            /* no right to it, or the kernel has no room: no fd */
        PSI_TRIGGER_OFF,                /* kernel without PSI, psi=0, or cgroup.pressure=0: no fd */
        PSI_TRIGGER_GONE,               /* no such cgroup: no fd */
} PsiTriggerResult;

/* The window and threshold that the kernel takes from somebody without CAP_SYS_RESOURCE. */
void psi_coarsen(uint64_t *threshold_usec, uint64_t *window_usec);

/* Opens `name` ("memory.pressure") below dir_fd, or `name` alone if absolute, and sets a trigger: stalled
 * for threshold within window. Poll the fd for EPOLLPRI; EPOLLERR means that the cgroup is gone. Closing
 * it waits for an RCU grace period. Returns a PsiTriggerResult, with *ret_fd set for the first two, or a
 * negative errno: -EINVAL (window outside 500 ms to 10 s, threshold 0 or above the window), -EMFILE,
 * -ENFILE, -ENOMEM. */
int psi_trigger_open(int dir_fd, const char *name, bool full, uint64_t threshold_usec, uint64_t window_usec,
                     int *ret_fd);
