/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Kill: the last step. */

#include <stdint.h>

#include "act/worker.h"

/* Thread function: kills the whole cgroup and waits until it is empty, at most timeout_usec; fills
 * job->outcome. spare[] are two descriptors that it may close to have room, and that it opens again. */
void kill_run(Job *job, uint64_t timeout_usec, int spare[2]);
