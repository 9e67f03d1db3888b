/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Hook: a command that systemd runs for us and that is waited for, for a bounded time. */

#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

typedef struct Hook Hook;

/* Once for each hook_start() that returned 0, on the loop. message: NULL where the command ended well, else
 * what came of it, "/bin/x was not over within 5s". Borrowed. */
typedef void (*HookHandler)(const char *message, void *userdata);

int hook_new(sd_event *event, HookHandler handler, void *userdata, Hook **ret);
/* The handler is not called; a command that runs goes on until its time is over. */
Hook *hook_free(Hook *h);

/* NULL: away. Takes a reference. */
void hook_set_bus(Hook *h, sd_bus *bus);

/* Runs argv as the service `unit` in system.slice. All is copied. -ENOTCONN: no bus; -EBUSY: another one
 * runs; or what else kept it from being asked for. */
int hook_start(Hook *h, const char *unit, const char *description, char *const *argv,
               uint64_t timeout_usec);
/* Waits no longer; the handler is not called. */
void hook_cancel(Hook *h);
