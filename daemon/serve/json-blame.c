/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* JSON of who made whom wait: pairs of victim and culprit. Waiting at the disks is measured where the io credit is, and
 * its share is of all that the victim's requests took; the rest is what the incidents say. */

#include "base/units.h"
#include "serve/json.h"

/* What incidents lay on one culprit for one domain. */
typedef struct Laid {
        const Incident *incident;       /* the newest: names and resource */
        uint64_t bytes;
        unsigned share_permyriad;       /* the largest */
        unsigned incidents;
} Laid;
#define LAID_MAX 64

static bool same_pair(const Incident *a, const Incident *b) {
        return a->resource == b->resource && a->low_confidence == b->low_confidence && streq(a->domain, b->domain) &&
               streq(a->culprit, b->culprit);
}

static void add_incident(Laid *laid, size_t *n, const Incident *i) {
        const Candidate *c = NULL;
        size_t k;

        for (k = 0; k < i->n_candidates && !c; k++)
                if (i->candidates[k].cgroup_id == i->culprit_id)
                        c = &i->candidates[k];
        for (k = 0; k < *n && !same_pair(laid[k].incident, i); k++)
                ;
        if (k == LAID_MAX)
                return;
        if (k == *n)
                laid[(*n)++] = (Laid) { .incident = i };
        laid[k].incidents++;
        if (c) {
                laid[k].bytes += c->intake_bytes;
                laid[k].share_permyriad = MAX(laid[k].share_permyriad, c->share_permyriad);
        }
}

json_t *json_blame(const ServerOps *ops, void *userdata, uint64_t since_usec) {
        const Engine *engine = ops->engine(userdata);
        _cleanup_free_ ServerWait *waits = NULL;
        json_t *a = json_array();
        const Incident *i;
        Laid laid[LAID_MAX];
        ServerWait w;
        size_t n = 0, n_waits = 0;

        /* Each is asked for once: to find one is a search, and anybody may call. */
        while (ops->wait(userdata, n_waits, since_usec, &w)) {
                ServerWait *grown = reallocarray(waits, n_waits + 1, sizeof(ServerWait));

                if (!grown) {
                        json_out_of_memory();
                        break;
                }
                waits = grown;
                waits[n_waits++] = w;
        }
        for (size_t k = 0; k < n_waits; k++) {
                uint64_t whole = 0;

                w = waits[k];
                if (streq(w.victim, w.culprit))
                        continue;

                for (size_t o = 0; o < n_waits; o++)
                        if (streq(waits[o].victim, w.victim))
                                whole += waits[o].usec;
                (void) json_array_append_new(a, json_pack("{s:s, s:o, s:o, s:I, s:n, s:i, s:s, s:n}",
                        "resource", "io",
                        "victim", json_text(w.victim),
                        "culprit", json_text(w.culprit),
                        "waited_usec", (json_int_t) w.usec,
                        "intake_bytes",
                        "share_permyriad", (int) mul_div_u64(w.usec, PERMYRIAD, MAX(whole, UINT64_C(1))),
                        "confidence", "measured",
                        "incidents"));
        }
        for (size_t k = 0; (i = engine_incident(engine, k)); k++)
                if (*i->culprit && *i->domain && (i->ended_usec == 0 || i->ended_usec >= since_usec))
                        add_incident(laid, &n, i);
        for (size_t k = 0; k < n; k++)
                (void) json_array_append_new(a, json_pack("{s:s, s:o, s:o, s:n, s:I, s:i, s:s, s:i}",
                        "resource", incident_resource_to_string(laid[k].incident->resource),
                        "victim", json_text(laid[k].incident->domain),
                        "culprit", json_text(laid[k].incident->culprit),
                        "waited_usec",
                        "intake_bytes", (json_int_t) laid[k].bytes,
                        "share_permyriad", (int) laid[k].share_permyriad,
                        "confidence", laid[k].incident->low_confidence ? "low" : "normal",
                        "incidents", (int) laid[k].incidents));
        return a;
}
