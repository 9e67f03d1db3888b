/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Chronicle: the incidents, open and past, and what was entered in them during this step. */

#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "model/incident.h"

#define INCIDENTS_MAX 64
#define NEWS_MAX 128

typedef struct Chronicle {
        Incident incidents[INCIDENTS_MAX];      /* a ring by age: order[] is not needed, ids rise */
        size_t n;
        uint64_t next_id;
        uint64_t refused;                       /* incidents that found no place */
        News news[NEWS_MAX];
        size_t n_news;
} Chronicle;

/* A new, open incident; NULL where all places hold open ones. */
Incident *chronicle_open(Chronicle *c, uint64_t now_usec);
Incident *chronicle_find(Chronicle *c, uint64_t id);
/* i-th, newest first. */
const Incident *chronicle_at(const Chronicle *c, size_t i);
void chronicle_enter(Chronicle *c, Incident *i, const IncidentEntry *e);
void chronicle_close(Chronicle *c, Incident *i, uint64_t now_usec, IncidentResult result);
