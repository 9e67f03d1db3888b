/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Incident: its life, from an alarm until calm.
 *
 * looking -> (culprit, allowed) containing -> lifting -> over
 *         -> (nobody, or not allowed)  quiet, looked at again at growing intervals -> over
 *
 * It acts on what the samples of this incident show: a culprit needs two of them, so the first step comes one
 * sampling period after the alarm. Left out on purpose: any judgement by names. */

#include "base/macro.h"
#include "engine/state.h"

/* How long an alarm may look for its culprit before it is put down as nobody's. */
#define LOOK_USEC (3 * USEC_PER_SEC)
#define SLICE_LOOK_USEC (400 * USEC_PER_MSEC)
/* What somebody had on its way when he was capped counts for his slice before it counts for him. */
#define SLICE_SETTLE_USEC (5 * USEC_PER_SEC)
#define SECOND_LOOK_USEC USEC_PER_SEC
/* Whoever waits for memory does so for a while after the culprit is held: not each of these moments is another's. */
#define MEMORY_SECOND_USEC (5 * USEC_PER_SEC)
#define RECHECK_MAX_USEC (10 * USEC_PER_SEC)
/* What could not be done is tried anew, which writes, after this at the latest. */
#define REFUSED_MAX_USEC (60 * USEC_PER_SEC)
/* An alarm may be up for hours, for what its own services do. Worse is half more stall than that, or half of what is left of all
 * the time, and no less than this; or so much more of the time of its requests waited for those of others, which also tells
 * where somebody waits all the time. */
#define WORSE_MIN UINT64_C(500)
#define WORSE_OTHERS UINT64_C(2500)
/* What it was before rises by so much a second, for it may stay like that. */
#define WORSE_CREEP UINT64_C(100)
/* One that comes and goes by itself is looked into less and less often, until it did not do so for this long. */
#define WORSE_FORGET_USEC USEC_PER_MINUTE

OpenIncident *incident_state(Engine *e, uint64_t id) {
        for (size_t i = 0; id != 0 && i < INCIDENTS_MAX; i++)
                if (e->open[i].id == id)
                        return &e->open[i];
        return NULL;
}

bool incident_acts_on(const OpenIncident *o, uint64_t cgroup_id) {
        return o->id != 0 && cgroup_id != 0 && o->acts_on == cgroup_id;
}

static Refused *refused_find(OpenIncident *o, uint64_t cgroup_id) {
        for (size_t k = 0; k < ARRAY_SIZE(o->refused); k++)
                if (o->refused[k].id == cgroup_id)
                        return &o->refused[k];
        return NULL;
}

void incident_refused(OpenIncident *o, uint64_t cgroup_id, bool refused) {
        Refused *r = refused_find(o, cgroup_id);

        if (refused && !r)
                r = refused_find(o, 0);
        if (refused && !r) {
                r = &o->refused[0];
                for (size_t k = 1; k < ARRAY_SIZE(o->refused); k++)
                        if (o->refused[k].usec < r->usec)
                                r = &o->refused[k];
        }
        /* How soon it is tried anew, incident_step() says. Where more take turns than are remembered, the next one waits as long as one
         * of those did. */
        if (r)
                *r = refused ? (Refused) { .id = cgroup_id, .wait_usec = MAX(r->wait_usec, RECHECK_MIN_USEC) } : (Refused) {};
}

AlarmState *incident_alarm(const Engine *e, const OpenIncident *o) {
        return o->alarm < 0 ? NULL : (AlarmState *) &e->alarms[o->alarm];
}

const Domain *incident_victim(const Engine *e, const OpenIncident *o) {
        const AlarmState *a = incident_alarm(e, o);

        return a ? &e->policy->domains[a->domain] : NULL;
}

void incident_mark(Engine *e, OpenIncident *o) {
        AlarmState *a = incident_alarm(e, o);

        o->mark_usec = e->now;
        o->mark_available = a ? alarm_forecast(e, a)->last.available : 0;
        for (size_t i = 0; a && i < CONDITIONS_MAX; i++)
                a->conditions[i].mark_total = a->conditions[i].total;
}

static void enter(Engine *e, Incident *i, IncidentEntryType type, Step step, uint64_t before, uint64_t after) {
        chronicle_enter(&e->chronicle, i, &(IncidentEntry) {
                .usec = e->now, .type = type, .step = step, .cgroup_id = i->culprit_id, .before = before, .after = after });
}

static void copy_text(char *dest, size_t size, const char *text) {
        (void) snprintf(dest, size, "%s", text ?: "");
}

void incident_open(Engine *e, size_t alarm_index) {
        AlarmState *a = &e->alarms[alarm_index];
        const Domain *d = &e->policy->domains[a->domain];
        const Alarm *alarm = &d->alarms[a->alarm];
        OpenIncident *o = NULL;
        Incident *i;

        for (size_t k = 0; k < INCIDENTS_MAX && !o; k++)
                if (e->open[k].id == 0)
                        o = &e->open[k];
        i = o ? chronicle_open(&e->chronicle, e->now) : NULL;
        if (!i)
                return;

        *o = (OpenIncident) { .id = i->id, .alarm = (int) alarm_index, .look_until_usec = e->now + LOOK_USEC,
                              .recheck_wait_usec = RECHECK_MIN_USEC, .worse_wait_usec = RECHECK_MIN_USEC,
                              .quiet_stall = PERMYRIAD, .quiet_others = PERMYRIAD };
        a->incident_id = i->id;
        incident_mark(e, o);

        i->resource = alarm_resource(alarm);
        i->low_confidence = i->resource == RESOURCE_IO;
        path_shown(i->domain, d->name);
        copy_text(i->alarm, sizeof(i->alarm), alarm->name);
        copy_text(i->condition, sizeof(i->condition), alarm->conditions[0].text);
        path_shown(i->file, alarm->conditions[0].span.file ?: "");
        i->line = alarm->conditions[0].span.line;
        i->measured = a->conditions[0].measured;
        i->threshold = alarm->conditions[0].type == CONDITION_MEMORY_EXHAUSTION ||
                                       alarm->conditions[0].type == CONDITION_IO_LATENCY ?
                               alarm->conditions[0].threshold_usec : alarm->conditions[0].threshold_permyriad;
        enter(e, i, ENTRY_ALARM, STEP_HOLD, i->measured, i->threshold);
}

void incident_end(Engine *e, OpenIncident *o, Incident *i, IncidentResult result) {
        AlarmState *a = incident_alarm(e, o);

        if (a && a->incident_id == o->id)
                a->incident_id = 0;
        chronicle_close(&e->chronicle, i, e->now, result);
        *o = (OpenIncident) {};
}

/* who: whom it is about, the culprit or one that came after; NULL: the culprit. */
static void incident_quiet(Engine *e, OpenIncident *o, Incident *i, const CgroupSample *who, IncidentEntryType type,
                           IncidentResult result, Step step, Verdict verdict) {
        /* Say it once; what is found again at a recheck is no news. */
        bool told = i->n_entries > 0 && i->entries[i->n_entries - 1].type == type;

        i->state = INCIDENT_QUIET;
        /* What was done about it remains how it ended. */
        if (i->first_step_usec == 0 || i->result == RESULT_NONE)
                i->result = result;
        o->recheck_usec = e->now + o->recheck_wait_usec;
        o->recheck_wait_usec = MIN(o->recheck_wait_usec * 2, RECHECK_MAX_USEC);
        if (told)
                return;
        if (who)
                account_list(i, who->id, who->path, verdict);
        chronicle_enter(&e->chronicle, i, &(IncidentEntry) {
                .usec = e->now, .type = type, .step = step, .verdict = verdict,
                .cgroup_id = who ? who->id : i->culprit_id });
}

/* Nobody else is to blame: it goes on with the one that it has. */
static bool incident_keeps(Engine *e, OpenIncident *o, Incident *i) {
        if (!incident_acts_on(o, i->culprit_id) || !containment_find(e, i->culprit_id))
                return false;
        i->state = INCIDENT_CONTAINING;
        /* A disk forgets; what memory's last step did is still to be judged. */
        if (i->resource == RESOURCE_IO)
                incident_mark(e, o);
        return true;
}

static bool caps_settle_within(const Engine *e, const char *slice) {
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++) {
                const Containment *c = &e->containments[i];

                if (c->cgroup_id != 0 && c->n_caps > 0 && e->now - c->cap_begun_usec < SLICE_SETTLE_USEC &&
                    path_within(c->path, slice) && !streq(c->path, slice))
                        return true;
        }
        return false;
}

static void incident_look(Engine *e, Plan *plan, OpenIncident *o, Incident *i) {
        const Domain *victim = incident_victim(e, o), *d;
        const CgroupSample *c;
        const Refused *refused;
        Verdict verdict;
        Suspect s;
        bool same;

        if (!e->sample || !victim || !suspect_find(e, o, i, &s))
                return;
        c = s.blame.culprit;
        if (!c || s.harmless != VERDICT_CULPRIT) {
                if (e->now < o->look_until_usec || incident_keeps(e, o, i))
                        return;
                if (i->first_step_usec == 0) {
                        account_nobody(e, victim, i, &s.blame, s.harmless);
                        o->acts_on = 0;
                }
                if (s.harmless == VERDICT_OWN_LIMIT)
                        incident_quiet(e, o, i, c, ENTRY_SELF, RESULT_SELF, STEP_HOLD, s.harmless);
                else
                        incident_quiet(e, o, i, NULL, ENTRY_NO_CULPRIT, RESULT_NO_CULPRIT, STEP_HOLD, s.harmless);
                return;
        }

        verdict = contain_verdict(e, victim, s.lever, c, &d);
        if (verdict == VERDICT_CULPRIT && !containment_find(e, c->id) && !containment_free(e))
                verdict = VERDICT_NO_ROOM;
        /* A look at every cgroup does not read the limits of who takes in nothing now, which are what he gets back. The next one does. */
        if ((verdict == VERDICT_CULPRIT || verdict == VERDICT_NO_STEP) && !c->detail) {
                plan->close_id = c->id;
                if (e->now < o->look_until_usec)
                        return;
        }
        refused = refused_find(o, c->id);
        if (verdict == VERDICT_CULPRIT && refused && e->now < refused->usec && !containment_find(e, c->id)) {
                if (e->now >= o->look_until_usec && !incident_keeps(e, o, i))
                        incident_quiet(e, o, i, c, ENTRY_NOT_ALLOWED, RESULT_NOT_ALLOWED, STEP_HOLD, account_verdict(i, c->id));
                return;
        }
        /* The first moments on a disk may show anybody: only what may be acted on is believed at once, and a slice only
         * when what lies in it has been looked at twice. */
        if (s.scope.resource == RESOURCE_IO && e->now < o->look_until_usec &&
            (verdict != VERDICT_CULPRIT || (c->kind == CGROUP_KIND_SLICE && e->now - i->started_usec < SLICE_LOOK_USEC)))
                return;
        if (verdict != VERDICT_CULPRIT && incident_keeps(e, o, i))
                return;
        if (s.scope.resource == RESOURCE_IO && c->kind == CGROUP_KIND_SLICE && caps_settle_within(e, c->path))
                return;
        /* An incident in which something was done stays the account of that; who comes after him and may not be
         * touched is one entry in it. */
        same = i->culprit_id == c->id;
        if (i->first_step_usec == 0 || verdict == VERDICT_CULPRIT) {
                account_culprit(e, victim, i, &s.blame, verdict, d);
                if (verdict != VERDICT_CULPRIT)
                        o->acts_on = 0;
        }
        switch (verdict) {
        case VERDICT_CULPRIT:
                if (containment_find(e, c->id)) {
                        for (size_t k = 0; k < i->n_candidates; k++)
                                if (i->candidates[k].cgroup_id == c->id)
                                        i->candidates[k].verdict = VERDICT_TAKEN;
                        if (!containment_join(e, plan, &s))
                                return;
                        if (!same || i->resource == RESOURCE_IO)
                                incident_mark(e, o);
                } else if (containment_begin(e, plan, i, &s))
                        incident_mark(e, o);
                else
                        return;
                i->state = INCIDENT_CONTAINING;
                /* What could not be done, or was forbidden, is tried less and less often. */
                if (!refused)
                        o->recheck_wait_usec = RECHECK_MIN_USEC;
                i->result = RESULT_NONE;
                o->acts_on = c->id;
                return;
        case VERDICT_MODE_MONITOR:
                incident_quiet(e, o, i, c, ENTRY_WOULD, RESULT_MONITORED, s.lever == RESOURCE_IO ? STEP_IO_CAP : STEP_HOLD, verdict);
                return;
        case VERDICT_PROTECTED:
        case VERDICT_OMIT:
        case VERDICT_EXCLUDED:
        case VERDICT_RANK:
        case VERDICT_NO_DOMAIN:
        case VERDICT_MODE_OFF:
        case VERDICT_NO_STEP:
        case VERDICT_NO_ROOM:
                incident_quiet(e, o, i, c, d == victim ? ENTRY_SELF : ENTRY_NOT_ALLOWED,
                               d == victim ? RESULT_SELF : RESULT_NOT_ALLOWED, STEP_HOLD, verdict);
                return;
        case VERDICT_FREE_MEMORY:
        case VERDICT_NOT_WAITED_FOR:
        case VERDICT_OWN_LIMIT:
        case VERDICT_SMALL_SHARE:
        case VERDICT_TAKEN:
        case VERDICT_FOREIGN_LIMIT:
        case _VERDICT_MAX:
                return;
        }
}

/* What is done to its culprit was given back, or is there for another resource: so that it hurts is no reason not to look. What
 * caps do not help against, swap traffic, is held. */
static bool is_let_go(Engine *e, const OpenIncident *o, const Incident *i) {
        const Containment *c = containment_find(e, i->culprit_id);
        const Domain *d = policy_domain_of(e->policy, c->path);
        const CgroupSample *row;
        BlameScope scope;

        if (i->resource == RESOURCE_MEMORY)
                return !c->memory || c->for_writes;
        row = c->n_caps == 0 && d && d->contain.steps[STEP_IO_CAP] ? sample_find(e->sample, c->cgroup_id) : NULL;
        if (!row)
                return false;
        suspect_scope(e, o, &scope);
        return caps_help(e, &scope, row);
}

bool incident_listens(const Engine *e, const OpenIncident *o) {
        const AlarmState *a = incident_alarm(e, o);
        ConditionType type;

        if (!a || !a->raised)
                return false;
        type = incident_victim(e, o)->alarms[a->alarm].conditions[0].type;
        return type == CONDITION_MEMORY_PRESSURE || type == CONDITION_IO_PRESSURE;
}

/* What part of the time of the victim's requests since the last look they waited for those of others. False: not known. */
static bool waits_for_others(const Engine *e, OpenIncident *o, const Domain *victim, uint64_t *ret) {
        const IoCredit *credit = e->sample->credit;
        const Pace before = o->pace;
        uint64_t usec, others, since = o->pace_usec;

        if (!waits_pace(credit, victim->cgroup, o->pace_usec, &o->pace)) {
                o->pace_usec = waits_pace(credit, victim->cgroup, credit ? credit->usec : 0, &o->pace) ? credit->usec : 0;
                return false;
        }
        o->pace_usec = credit->usec;
        usec = o->pace.usec - MIN(before.usec, o->pace.usec);
        others = o->pace.others_usec - MIN(before.others_usec, o->pace.others_usec);
        /* It did next to nothing. */
        if (usec == 0 || usec < (credit->usec - since) / 10)
                return false;
        *ret = mul_div_u64(MIN(others, usec), PERMYRIAD, usec);
        return true;
}

/* Somebody came to what made it wait before. */
static bool got_worse(const Engine *e, OpenIncident *o, const AlarmState *a) {
        const Domain *victim = incident_victim(e, o);
        uint64_t stall = a->conditions[0].measured, others = 0, creep, rise;

        if (!e->sample || !incident_listens(e, o))
                return false;
        /* By time: whoever makes others stall has looks come ten times a second, and is not to be crept after. */
        creep = mul_div_u64(WORSE_CREEP, MIN(e->now - o->listened_usec, LISTEN_USEC), LISTEN_USEC);
        o->listened_usec = e->now;
        if (alarm_resource(&victim->alarms[a->alarm]) == RESOURCE_IO && waits_for_others(e, o, victim, &others))
                o->quiet_others = MIN(o->quiet_others + creep, others);
        o->quiet_stall = MIN(o->quiet_stall + creep, MIN(stall, PERMYRIAD));
        rise = MAX(MIN(o->quiet_stall, PERMYRIAD - o->quiet_stall) / 2, WORSE_MIN);
        if (e->now < o->worse_usec + o->worse_wait_usec ||
            (stall < o->quiet_stall + rise && others < o->quiet_others + WORSE_OTHERS))
                return false;
        o->worse_wait_usec = e->now - o->worse_usec > WORSE_FORGET_USEC ? RECHECK_MIN_USEC :
                                                                          MIN(o->worse_wait_usec * 2, RECHECK_MAX_USEC);
        o->worse_usec = e->now;
        return true;
}

void incident_step(Engine *e, Plan *plan, OpenIncident *o) {
        Incident *i = chronicle_find(&e->chronicle, o->id);
        const AlarmState *a = incident_alarm(e, o);
        bool raised = a && a->raised, contained, let_go;

        if (!i) {
                *o = (OpenIncident) {};
                return;
        }
        if (raised)
                o->calm_usec = 0;
        else if (o->calm_usec == 0)
                o->calm_usec = e->now;

        contained = incident_acts_on(o, i->culprit_id) && containment_find(e, i->culprit_id);
        switch (i->state) {
        case INCIDENT_LOOKING:
                if (raised)
                        incident_look(e, plan, o, i);
                else if (contained)
                        i->state = INCIDENT_LIFTING;
                else if (e->now - o->calm_usec >= CALM_USEC)
                        incident_end(e, o, i, RESULT_PASSED);
                return;
        case INCIDENT_CONTAINING:
        case INCIDENT_LIFTING:
                if (!contained) {
                        /* Raised or not, and however long it was calm: that it comes back a moment later is no new trouble. */
                        if (i->result == RESULT_NOT_ALLOWED) {
                                Refused *r = refused_find(o, i->culprit_id);

                                if (r) {
                                        r->usec = e->now + r->wait_usec;
                                        r->wait_usec = MIN(r->wait_usec * 2, REFUSED_MAX_USEC);
                                }
                                incident_quiet(e, o, i, NULL, ENTRY_NOT_ALLOWED, RESULT_NOT_ALLOWED, STEP_HOLD, account_verdict(i, i->culprit_id));
                                o->calm_usec = raised ? 0 : e->now;
                        }
                        /* Ended, and the trouble with it? Else look anew for who is to blame now. */
                        else if (raised) {
                                i->state = INCIDENT_LOOKING;
                                o->look_until_usec = e->now + LOOK_USEC;
                        } else
                                incident_end(e, o, i, i->result != RESULT_NONE ? i->result : RESULT_RECOVERED);
                        return;
                }
                i->state = raised ? INCIDENT_CONTAINING : INCIDENT_LIFTING;
                /* There is room for a second culprit beside the one that is contained: then it is that one now. Or it is the
                 * same once more, who was let go. */
                if (!raised || !e->sample || e->now < o->second_usec)
                        return;
                let_go = is_let_go(e, o, i);
                if (let_go || (e->now - o->mark_usec >= SECOND_LOOK_USEC && !incident_hurts(e, o, i->culprit_id))) {
                        i->state = INCIDENT_LOOKING;
                        o->look_until_usec = e->now + 5 * HOT_USEC;
                        o->second_usec = i->resource == RESOURCE_MEMORY ? e->now + MEMORY_SECOND_USEC :
                                         let_go                         ? e->now + SECOND_LOOK_USEC : 0;
                }
                return;
        case INCIDENT_QUIET:
                if (!raised) {
                        if (e->now - o->calm_usec >= CALM_USEC)
                                incident_end(e, o, i, i->result);
                } else if (got_worse(e, o, a)) {
                        i->state = INCIDENT_LOOKING;
                        o->look_until_usec = e->now + 10 * HOT_USEC;
                } else if (e->now >= o->recheck_usec) {
                        i->state = INCIDENT_LOOKING;
                        o->look_until_usec = e->now + 5 * HOT_USEC;
                }
                return;
        case INCIDENT_OVER:
        case _INCIDENT_STATE_MAX:
                *o = (OpenIncident) {};
                return;
        }
}
