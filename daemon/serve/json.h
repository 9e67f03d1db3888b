/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON builders: what the bus hands out. Pure: from the model, the policy and times to text.
 *
 * Data travels as one JSON text a method, as in systemd's Describe(): fields can be added without a new
 * signature, and `cgctl --json` hands on what a program on the bus sees. A limit that is "max" is null, a
 * time is {"usec": monotonic, "time": "2026-01-31T12:00:00.000000Z"} or null. */

#include <jansson.h>

#include "serve/serve.h"

/* Foreign text: as it is where it is UTF-8 without control characters, else escaped. Never NULL but for
 * lack of memory; text NULL or "" is null. */
json_t *json_text(const char *text);
json_t *json_limit(uint64_t bytes);
json_t *json_time(const ServerInfo *info, uint64_t usec);
json_t *json_strv(char *const *l);

json_t *json_status(const ServerOps *ops, void *userdata);
json_t *json_domains(const Policy *policy, const Engine *engine);
/* brief: one row of a list; else all there is to explain it. */
json_t *json_incident(const Incident *i, const ServerInfo *info, const Policy *policy, bool brief);
json_t *json_incidents(const Engine *engine, const ServerInfo *info, unsigned limit);
json_t *json_blame(const ServerOps *ops, void *userdata, uint64_t since_usec);

/* Before the first document: from here on jansson's allocations are watched. */
void json_init(void);
/* A part of the document being made is left out for want of memory. */
void json_out_of_memory(void);
/* Takes the reference. 0, or -ENOMEM where j is NULL or is not all there. */
int json_finish(json_t *j, char **ret);
