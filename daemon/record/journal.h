/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Record: the journal. One line a change, none at rest, each with a MESSAGE_ID that the catalog explains. */

#include <stdint.h>

#include "base/macro.h"
#include "model/incident.h"
#include "model/message-id.h"

typedef struct Journal Journal;

/* Starts the thread that writes. 0 or a negative errno. */
int journal_new(Journal **ret);
/* Writes what is queued (for at most a second), ends the thread. NULL is fine; returns NULL. */
Journal *journal_free(Journal *j);
DEFINE_CLEANUP(Journal *, journal_free)

/* Queues one line; never blocks. A full queue drops the line and says later how many were dropped.
 * priority as in syslog(3). */
void journal_say(Journal *j, MessageKind kind, int priority, const char *format, ...) _printf_(4, 5);

/* Queues the line about a command that is run before a kill. i: the kill's incident, or NULL. what: one
 * sentence without its end. */
void journal_hook(Journal *j, const Incident *i, const Action *kill, bool failed, const char *what);

/* Queues the line about a process that the kernel killed for want of memory; name, path of its cgroup and domain are "" where
 * they are not known, and as they came from outside. */
void journal_oom(Journal *j, uint32_t pid, const char *name, const char *path, const char *domain);

/* Queues the line for an entry of an incident, if it is one that changed something. */
void journal_entry(Journal *j, const Incident *i, const IncidentEntry *e);
