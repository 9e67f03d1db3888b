/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Chronicle. See chronicle.h. An incident's entries are bounded: the first ones tell why it began and the
 * last ones how it stands, so where there are too many the middle gives way and is counted. */

#include "base/macro.h"
#include "engine/chronicle.h"

Incident *chronicle_open(Chronicle *c, uint64_t now_usec) {
        Incident *place = NULL;

        if (c->n < INCIDENTS_MAX)
                place = &c->incidents[c->n++];
        else
                for (size_t i = 0; i < c->n; i++)
                        if (c->incidents[i].state == INCIDENT_OVER && (!place || c->incidents[i].id < place->id))
                                place = &c->incidents[i];
        if (!place) {
                c->refused++;
                return NULL;
        }
        *place = (Incident) { .id = c->next_id++, .state = INCIDENT_LOOKING, .started_usec = now_usec };
        return place;
}

Incident *chronicle_find(Chronicle *c, uint64_t id) {
        for (size_t i = 0; i < c->n; i++)
                if (c->incidents[i].id == id)
                        return &c->incidents[i];
        return NULL;
}

const Incident *chronicle_at(const Chronicle *c, size_t i) {
        uint64_t below = UINT64_MAX;
        const Incident *found = NULL;

        /* 64 places: the i-th largest id by i + 1 passes is dearer than a sort only on paper. */
        for (size_t k = 0; k <= i; k++) {
                found = NULL;
                for (size_t j = 0; j < c->n; j++)
                        if (c->incidents[j].id < below && (!found || c->incidents[j].id > found->id))
                                found = &c->incidents[j];
                if (!found)
                        return NULL;
                below = found->id;
        }
        return found;
}

void chronicle_enter(Chronicle *c, Incident *i, const IncidentEntry *e) {
        if (i->n_entries == INCIDENT_ENTRIES_MAX) {
                size_t half = INCIDENT_ENTRIES_MAX / 2;

                memmove(i->entries + half, i->entries + half + 1, (half - 1) * sizeof(IncidentEntry));
                i->n_entries--;
                i->dropped++;
        }
        i->entries[i->n_entries++] = *e;
        if (c->n_news < NEWS_MAX)
                c->news[c->n_news++] = (News) { .incident_id = i->id, .entry = *e };
}

void chronicle_close(Chronicle *c, Incident *i, uint64_t now_usec, IncidentResult result) {
        if (i->state == INCIDENT_OVER)
                return;
        i->state = INCIDENT_OVER;
        i->result = result;
        i->ended_usec = now_usec;
        chronicle_enter(c, i, &(IncidentEntry) { .usec = now_usec, .type = ENTRY_CALM, .cgroup_id = i->culprit_id });
}
