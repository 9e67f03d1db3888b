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
/* This share of what is taken in now is taking part; … */
#define PART_PERMYRIAD 1000
/* … and this share of what was taken in over the long window makes a recent culprit believable. */
#define FAIR_SHARE_PERMYRIAD 2500
#define SLICE_LOOK_USEC (400 * USEC_PER_MSEC)
/* What somebody had on its way when he was capped counts for his slice before it counts for him. */
#define SLICE_SETTLE_USEC (5 * USEC_PER_SEC)
#define SECOND_LOOK_USEC USEC_PER_SEC
/* Whoever waits for memory does so for a while after the culprit is held: not each of these moments is another's. */
#define MEMORY_SECOND_USEC (5 * USEC_PER_SEC)
/* Less io than this in the window is no reason for anybody's trouble. */
#define IO_NOISE (UINT64_C(1) << 20)
/* So long after a change of io.max the queue of before is worked off. */
#define IO_SETTLE_USEC (150 * USEC_PER_MSEC)
#define RECHECK_MAX_USEC (10 * USEC_PER_SEC)
/* What could not be done: each look tries it anew, and writes. */
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

static AlarmState *incident_alarm(const Engine *e, const OpenIncident *o) {
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

/* What an alarm is about: its first condition tells. */
static IncidentResource alarm_resource(const Alarm *a) {
        return a->n_conditions > 0 && (a->conditions[0].type == CONDITION_IO_PRESSURE || a->conditions[0].type == CONDITION_IO_LATENCY) ?
                       RESOURCE_IO : RESOURCE_MEMORY;
}

/* The slice that it is in where pages are stolen because a limit was reached, so who turns over what that leaves may be its trouble. */
static const CgroupSample *at_limit(const Engine *e, const Domain *victim) {
        for (size_t i = 0; i < e->sample->n_cgroups; i++) {
                const CgroupSample *c = &e->sample->cgroups[i];
                const Track *t;

                if (c->kind != CGROUP_KIND_SLICE || !path_within(victim->cgroup, c->path))
                        continue;
                t = tracks_find(&e->tracks, c->id);
                if (t && track_turns_over(t))
                        return c;
        }
        return NULL;
}

/* How much memory is left: page cache takes nothing of that. But a slice's use has its own in it (alarm.c), it drives others into swap,
 * and where somebody must stall besides, it may be page cache that he stalls for. */
static bool is_about_kept(const Domain *victim, const Alarm *alarm) {
        for (size_t i = 0; i < alarm->n_conditions; i++)
                if (alarm->conditions[i].type != CONDITION_MEMORY_EXHAUSTION &&
                    (alarm->conditions[i].type != CONDITION_MEMORY_USED || !streq(victim->cgroup, "/")))
                        return false;
        return true;
}

/* Who stalls waits for pages, and those that were stolen in between are what somebody else took. */
static void measure_choose(const Engine *e, const Domain *victim, const Alarm *alarm, BlameScope *scope) {
        if (is_about_kept(victim, alarm))
                scope->measure = INTAKE_KEPT;
        else
                scope->at_limit = at_limit(e, victim);
}

void incident_scope(const Engine *e, const OpenIncident *o, BlameScope *ret) {
        const AlarmState *a = incident_alarm(e, o);
        const Domain *victim = incident_victim(e, o);

        blame_scope(ret, a ? alarm_resource(&victim->alarms[a->alarm]) : RESOURCE_MEMORY, &e->tracks, &e->waits, e->sample,
                    victim ? victim->cgroup : "/", e->config.page_bytes);
        if (a && ret->resource == RESOURCE_MEMORY)
                measure_choose(e, victim, &victim->alarms[a->alarm], ret);
        /* Who is outside of it takes nothing of what a limit leaves. */
        for (size_t i = 0; a && alarm_is_about_limit(a) && i < victim->alarms[a->alarm].n_conditions; i++)
                if (victim->alarms[a->alarm].conditions[i].type == CONDITION_MEMORY_EXHAUSTION)
                        ret->within = victim->cgroup;
}

/* One condition, by what was seen since the last step only: what came before it is no verdict on it. Where that was long ago, by
 * the last moments: an hour of calm excuses no new trouble. */
static bool condition_hurts(const Engine *e, const OpenIncident *o, const Condition *c, const ConditionState *st,
                            unsigned recent, unsigned longer, unsigned share_min) {
        const Forecast *forecast = alarm_forecast(e, incident_alarm(e, o));
        uint64_t usec = e->now - o->mark_usec, before = o->mark_available, available = forecast->last.available, stall, total;

        switch (c->type) {
        case CONDITION_MEMORY_PRESSURE:
                total = st->mark_total;
                if (st->older_usec > o->mark_usec) {
                        usec = e->now - st->older_usec;
                        total = st->older_total;
                }
                /* A slice that was gone counts from when it came again, which may be now. */
                if (usec < c->window_usec / 4)
                        return false;
                stall = mul_div_u64(st->total - MIN(total, st->total), PERMYRIAD, usec);
                /* Relief is judged on the part of the stall that is laid on the culprit. */
                return mul_div_u64(stall, MAX(recent, longer), PERMYRIAD) >= c->threshold_permyriad;
        case CONDITION_IO_PRESSURE:
                /* What was in the disk's queue at the last step is still being waited for, and what a rise lets in shows
                 * itself late: so it is the last moment that counts. Half of the alarm still hurts: who waits for a disk
                 * a fifth of the time waits in a queue. */
                if (st->late_usec < o->mark_usec + IO_SETTLE_USEC || e->now <= st->late_usec)
                        return false;
                stall = mul_div_u64(st->total - st->late_total, PERMYRIAD, e->now - st->late_usec);
                return mul_div_u64(stall, MAX(recent, longer), PERMYRIAD) >= c->threshold_permyriad / 2;
        case CONDITION_MEMORY_EXHAUSTION:
                if (forecast->older.usec > o->mark_usec) {
                        usec = e->now - forecast->older.usec;
                        before = forecast->older.available;
                }
                return usec >= HOT_USEC && recent >= share_min && available < before &&
                       mul_div_u64(available, usec, before - available) <= c->threshold_usec;
        case CONDITION_SWAP_USED:
        case CONDITION_MEMORY_USED:
                return st->holds && MAX(recent, longer) >= share_min;
        case CONDITION_IO_LATENCY:
                /* Who was queued before the step does not count. */
                return st->holds && st->older_usec >= o->mark_usec + IO_SETTLE_USEC && MAX(recent, longer) >= share_min;
        case CONDITION_CPU_PRESSURE:
        case CONDITION_RECLAIM_STALL:
        case _CONDITION_TYPE_MAX:
                break;
        }
        return false;
}

bool incident_hurts(const Engine *e, const OpenIncident *o, uint64_t cgroup_id) {
        const AlarmState *a = incident_alarm(e, o);
        const Domain *victim = incident_victim(e, o);
        const Alarm *alarm;
        unsigned recent, longer = 0;
        BlameScope scope;

        if (!a || !e->sample)
                return false;
        alarm = &victim->alarms[a->alarm];
        incident_scope(e, o, &scope);
        /* Of io only the present counts, for a disk forgets; and who is held up at a cap works in bursts. */
        if (scope.resource == RESOURCE_IO) {
                recent = blame_share(&e->tracks, e->sample, WINDOW_RECENT, cgroup_id, IO_NOISE / 4, &scope);
                longer = blame_share(&e->tracks, e->sample, WINDOW_LAST, cgroup_id, IO_NOISE / 4, &scope);
        } else {
                recent = blame_share(&e->tracks, e->sample, WINDOW_RECENT, cgroup_id, intake_noise(e) / 4, &scope);
                longer = blame_share(&e->tracks, e->sample, WINDOW_LONG, cgroup_id, intake_noise(e), &scope);
        }
        for (size_t i = 0; i < MIN(alarm->n_conditions, (size_t) CONDITIONS_MAX); i++)
                if (!condition_hurts(e, o, &alarm->conditions[i], &a->conditions[i], recent, longer,
                                     victim->blame_share_min_permyriad))
                        return false;
        return alarm->n_conditions > 0;
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

static bool is_told_of(const Incident *i, uint64_t id) {
        for (size_t k = 0; k < i->n_entries; k++)
                if (i->entries[k].cgroup_id == id)
                        return true;
        return false;
}

/* Room in the list of those considered: at its end, or in place of one before *last, neither the culprit nor told of. */
static Candidate *candidate_place(Incident *i, size_t *last) {
        if (i->n_candidates < INCIDENT_CANDIDATES_MAX)
                return &i->candidates[i->n_candidates++];
        for (; *last > 0; (*last)--) {
                uint64_t id = i->candidates[*last - 1].cgroup_id;

                if (id != i->culprit_id && !is_told_of(i, id))
                        return &i->candidates[--*last];
        }
        return NULL;
}

void incident_list(Incident *i, uint64_t id, const char *path, Verdict verdict) {
        size_t last = i->n_candidates;
        Candidate *place = incident_path_of(i, id) ? NULL : candidate_place(i, &last);

        if (!place)
                return;
        *place = (Candidate) { .cgroup_id = id, .verdict = verdict };
        path_shown(place->path, path);
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
        o->recheck_wait_usec = MIN(o->recheck_wait_usec * 2, o->refused_id ? REFUSED_MAX_USEC : RECHECK_MAX_USEC);
        if (told)
                return;
        if (who)
                incident_list(i, who->id, who->path, verdict);
        chronicle_enter(&e->chronicle, i, &(IncidentEntry) {
                .usec = e->now, .type = type, .step = step, .verdict = verdict,
                .cgroup_id = who ? who->id : i->culprit_id });
}

/* What is thought of the culprit by now. */
static Verdict culprit_verdict(const Incident *i) {
        for (size_t k = 0; k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == i->culprit_id)
                        return i->candidates[k].verdict;
        return VERDICT_CULPRIT;
}

/* Takes in now, or stands and waits for room. */
static bool takes_part(const Engine *e, const CgroupSample *c, const BlameScope *scope) {
        const Track *t = tracks_find(&e->tracks, c->id);
        unsigned some, full;

        return blame_share(&e->tracks, e->sample, WINDOW_RECENT, c->id, 0, scope) >= PART_PERMYRIAD ||
               (t && track_stall(t, &some, &full) && some >= 2 * PART_PERMYRIAD);
}

/* Two windows must not contradict each other. The recent one tells who takes in now, but who breathes, taking and
 * giving back a little all the time, fills it as well, and a leak that reclaim has just stopped does not. The long
 * one knows those two apart, but also names who grew some seconds ago and is done. So: the long one's
 * culprit where it is the same, or the smaller cgroup of the two, and still takes part; else the recent one's
 * if the long one gives it a fair share. Where the recent one shows a slice taking in what nobody in it took in (in a
 * tenth of a second one huge page does that), it says no more than that somebody in there takes part. */
static void incident_blame(const Engine *e, const Domain *victim, const BlameScope *scope, Blame *b) {
        unsigned share_min = victim->blame_share_min_permyriad;
        uint64_t noise = intake_noise(e);
        Blame recent, longer;
        bool part;

        /* A disk forgets: who keeps it busy now is who keeps others waiting now, whatever was before. But a slow one does too
         * little between two looks to tell, and a daemon that is short of CPU looks too seldom. */
        if (scope->resource == RESOURCE_IO) {
                blame_find(&e->tracks, e->sample, WINDOW_LAST, share_min, IO_NOISE, scope, b);
                if (!b->measured || b->noise)
                        blame_find(&e->tracks, e->sample, WINDOW_RECENT, share_min, IO_NOISE, scope, b);
                return;
        }

        blame_find(&e->tracks, e->sample, WINDOW_RECENT, share_min, noise, scope, &recent);
        blame_find(&e->tracks, e->sample, WINDOW_LONG, share_min, noise, scope, &longer);
        if (!recent.measured || !longer.measured || longer.whole_bytes < noise) {
                *b = recent;
                return;
        }
        *b = longer;
        if (recent.whole_bytes < noise)
                return;
        part = longer.culprit && takes_part(e, longer.culprit, scope);
        if (longer.culprit && (part || recent.unexplained) &&
            (!recent.culprit || path_within(longer.culprit->path, recent.culprit->path)))
                return;
        if (recent.culprit && !recent.unexplained &&
            blame_share(&e->tracks, e->sample, WINDOW_LONG, recent.culprit->id, noise, scope) >= FAIR_SHARE_PERMYRIAD) {
                *b = recent;
                return;
        }
        if (!part)
                b->culprit = NULL;
}

/* Whoever is contained for this incident, or told of, stays in the list though he does little now: it has his name. */
static void keep_told(Engine *e, Incident *i, const Candidate *old, size_t n_old) {
        size_t last = i->n_candidates;

        for (int told = 0; told < 2; told++)
                for (size_t k = 0; k < n_old; k++) {
                        const Containment *c = containment_find(e, old[k].cgroup_id);
                        Candidate *place;

                        if (incident_path_of(i, old[k].cgroup_id) ||
                            (told ? !is_told_of(i, old[k].cgroup_id) : !c || c->incident_id != i->id))
                                continue;
                        place = candidate_place(i, &last);
                        if (!place)
                                return;
                        *place = (Candidate) { .cgroup_id = old[k].cgroup_id };
                        place->verdict = told ? old[k].verdict : VERDICT_TAKEN;
                        memcpy(place->path, old[k].path, sizeof(place->path));
                }
}

static void incident_record_blame(Engine *e, const Domain *victim, Incident *i, const Blame *b) {
        const Domain *d;

        i->window_usec = b->usec;
        i->whole_bytes = b->whole_bytes;
        i->whole_operations = b->whole_operations;
        i->whole_waited_usec = b->whole_waited_usec;
        i->low_confidence = i->resource == RESOURCE_IO && b->whole_waited_usec == 0;
        i->n_candidates = b->n_candidates;
        memcpy(i->candidates, b->candidates, sizeof(i->candidates));
        for (size_t k = 0; k < i->n_candidates; k++) {
                const CgroupSample *c = sample_find(e->sample, i->candidates[k].cgroup_id);

                if (i->candidates[k].share_permyriad >= victim->blame_share_min_permyriad && c) {
                        i->candidates[k].verdict = contain_verdict(e, victim, i->resource, c, &d);
                        if (i->candidates[k].verdict == VERDICT_CULPRIT && c != b->culprit)
                                i->candidates[k].verdict = VERDICT_SMALL_SHARE;
                }
        }
}

static void incident_record_culprit(Engine *e, const Domain *victim, Incident *i, const Blame *b, Verdict verdict,
                                    const Domain *d) {
        Candidate old[INCIDENT_CANDIDATES_MAX];
        size_t n_old = i->n_candidates;

        memcpy(old, i->candidates, sizeof(old));
        incident_record_blame(e, victim, i, b);
        i->culprit_id = b->culprit->id;
        path_shown(i->culprit, b->culprit->path);
        path_shown(i->culprit_domain, d ? d->name : "");
        path_shown(i->contract_file, d && d->contain.mode_span.file ? d->contain.mode_span.file : "");
        i->contract_line = d ? d->contain.mode_span.line : 0;

        /* A slice is no leaf: enter it as the candidate that it is. */
        if (i->n_candidates == 0 || i->candidates[0].cgroup_id != b->culprit->id) {
                bool listed = false;

                for (size_t k = 0; k < i->n_candidates; k++)
                        listed = listed || i->candidates[k].cgroup_id == b->culprit->id;
                if (!listed) {
                        i->n_candidates = MIN(i->n_candidates + 1, (size_t) INCIDENT_CANDIDATES_MAX);
                        memmove(i->candidates + 1, i->candidates, (i->n_candidates - 1) * sizeof(Candidate));
                        i->candidates[0] = (Candidate) {
                                .cgroup_id = b->culprit->id,
                                .intake_bytes = mul_div_u64(b->whole_bytes, b->share_permyriad, PERMYRIAD),
                                .operations = mul_div_u64(b->whole_operations, b->share_permyriad, PERMYRIAD),
                                .share_permyriad = b->share_permyriad,
                                .verdict = verdict };
                        path_shown(i->candidates[0].path, b->culprit->path);
                }
        }
        for (size_t k = 0; k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == i->culprit_id)
                        i->candidates[k].verdict = verdict;
        keep_told(e, i, old, n_old);
}

/* Nobody is to blame, or what was taken did no harm. Those whom entries are about keep their names. */
static void incident_record_nobody(Engine *e, const Domain *victim, Incident *i, const Blame *b, Verdict harmless) {
        Candidate old[INCIDENT_CANDIDATES_MAX];
        size_t n_old = i->n_candidates;

        memcpy(old, i->candidates, sizeof(old));
        incident_record_blame(e, victim, i, b);
        i->culprit_id = 0;
        i->culprit[0] = i->culprit_domain[0] = i->contract_file[0] = '\0';
        i->contract_line = 0;
        for (size_t k = 0; b->culprit && k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == b->culprit->id)
                        i->candidates[k].verdict = harmless;
        keep_told(e, i, old, n_old);
}

/* Who stalls on memory waits for room, which somebody took from somebody, or for pages of his own that were taken from
 * him before. While nothing is taken from anybody it is the latter, and no fault of whoever takes in what is free. */
static bool took_from_somebody(const Engine *e, const OpenIncident *o, const CgroupSample *c) {
        const Alarm *alarm = &incident_victim(e, o)->alarms[incident_alarm(e, o)->alarm];

        for (size_t i = 0; i < alarm->n_conditions; i++)
                if (alarm->conditions[i].type == CONDITION_MEMORY_PRESSURE)
                        return forecast_reclaims(&e->forecast, intake_noise(e) / 4 / e->config.page_bytes) ||
                               slice_is_full(e, c->path);
        return true;
}

/* Who only reads keeps others waiting in the disk's queue and nowhere else, and in there it was counted for whom they waited.
 * What has not ended is not counted, and in a flood's first moment nothing has: so next to all of the time that the victim
 * stood must be accounted for; an alarm's worth, 150 ms of at most a second, is more than an eighth. */
static bool nobody_waited_for(const Engine *e, const BlameScope *scope, const CgroupSample *c) {
        return !scope->credit && scope->waits.own_usec > 0 &&
               scope->waits.own_usec + scope->waits.whole_usec >= scope->stall_usec - scope->stall_usec / 8 &&
               caps_only_reads(e, scope, c);
}

/* Beside somebody who is held, and takes in nothing more, the window is filled by those who breathe, and by whoever had just started
 * when it came to that. Another culprit has more than any of them: a sixteenth of it all that he did not have when the long window
 * began, and it began after the last step; in an incident about io after the first, for those are marked anew with each change of
 * a cap, and each look. Who is only capped takes in what he did. */
static bool is_another(Engine *e, const OpenIncident *o, const Incident *i, const BlameScope *scope, const CgroupSample *c) {
        const Containment *first = containment_find(e, i->culprit_id);
        const Track *t = tracks_find(&e->tracks, c->id);
        TrackPoint from;
        Intake in;

        if (!first->memory)
                return true;
        if (!t)
                return false;
        from = track_since(t, WINDOW_LONG);
        if (from.usec <= (i->resource == RESOURCE_IO ? i->first_step_usec : o->mark_usec))
                return false;
        /* Page cache is part of what he has, but where it does not count. */
        if (scope->measure != INTAKE_KEPT)
                in.bytes = t->last.current + t->last.swap - MIN(from.current + from.swap, t->last.current + t->last.swap);
        else if (!track_intake(t, INTAKE_KEPT, WINDOW_LONG, e->config.page_bytes, &in))
                return false;
        return in.bytes >= alarm_forecast(e, incident_alarm(e, o))->total / 16;
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

/* Io that is swap traffic is cured where the leak is; and what a leak drives out of others is written in their name. So the
 * culprit is who takes in memory, if anybody does, and is not of the domain that complains: that is for its alarm about
 * memory. */
static void blame_leak(const Engine *e, const Domain *victim, const BlameScope *scope, Blame *b) {
        BlameScope memory;
        Blame leak;

        blame_scope(&memory, RESOURCE_MEMORY, &e->tracks, &e->waits, e->sample, victim->cgroup, e->config.page_bytes);
        incident_blame(e, victim, &memory, &leak);
        b->culprit = NULL;
        if (!leak.culprit || (!streq(victim->cgroup, "/") && path_within(leak.culprit->path, victim->cgroup)))
                return;
        b->culprit = leak.culprit;
        b->share_permyriad = blame_share(&e->tracks, e->sample, WINDOW_LAST, leak.culprit->id, 0, scope);
}

/* Who took it seconds ago lies in a slice that takes in nothing now, and so was not gone into. That is no reason to blame all that
 * lie in there; nor is one that was gone into blamed while it has such a one in it, where somebody may be who forbids that: the
 * next look is at every cgroup. */
static bool is_closed(Engine *e, const Blame *b) {
        bool closed = b->culprit && b->culprit->kind != CGROUP_KIND_UNIT && b->culprit->closed;

        for (size_t i = 0; b->culprit && b->culprit->kind == CGROUP_KIND_SLICE && !closed && i < e->sample->n_cgroups; i++) {
                const CgroupSample *c = &e->sample->cgroups[i];

                closed = c->kind == CGROUP_KIND_SLICE && c->closed && path_within(c->path, b->culprit->path);
        }
        e->look_at_all = e->look_at_all || closed;
        return closed;
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
        Verdict verdict, harmless = VERDICT_CULPRIT;
        BlameScope scope;
        IncidentResource lever;
        bool same;
        Blame b;

        if (!e->sample || !victim)
                return;
        incident_scope(e, o, &scope);
        incident_blame(e, victim, &scope, &b);
        if (!b.measured || is_closed(e, &b))
                return;
        lever = scope.resource;
        if (scope.resource == RESOURCE_IO && b.culprit && !caps_help(e, &scope, b.culprit)) {
                lever = RESOURCE_MEMORY;
                blame_leak(e, victim, &scope, &b);
                if (is_closed(e, &b))
                        return;
        }
        /* What is not there yet to be seen, the dirt of others that is on its way, leaves whoever does a little. */
        if (lever == RESOURCE_IO && b.culprit && !containment_find(e, b.culprit->id) &&
            contain_verdict(e, victim, lever, b.culprit, &d) == VERDICT_CULPRIT && !caps_bite(e, &scope, b.culprit, d))
                b.culprit = NULL;
        if (lever == RESOURCE_MEMORY && b.culprit && b.culprit->id != i->culprit_id && incident_acts_on(o, i->culprit_id) &&
            containment_find(e, i->culprit_id) && !is_another(e, o, i, &scope, b.culprit))
                b.culprit = NULL;
        if (b.culprit && !containment_find(e, b.culprit->id)) {
                if (scope.resource == RESOURCE_MEMORY && !took_from_somebody(e, o, b.culprit))
                        harmless = VERDICT_FREE_MEMORY;
                else if (lever == RESOURCE_IO && nobody_waited_for(e, &scope, b.culprit))
                        harmless = VERDICT_NOT_WAITED_FOR;
        }
        if (!b.culprit || harmless != VERDICT_CULPRIT) {
                if (e->now < o->look_until_usec || incident_keeps(e, o, i))
                        return;
                if (i->first_step_usec == 0) {
                        incident_record_nobody(e, victim, i, &b, harmless);
                        o->acts_on = 0;
                }
                incident_quiet(e, o, i, NULL, ENTRY_NO_CULPRIT, RESULT_NO_CULPRIT, STEP_HOLD, harmless);
                return;
        }

        verdict = contain_verdict(e, victim, lever, b.culprit, &d);
        if (verdict == VERDICT_CULPRIT && !containment_find(e, b.culprit->id) && !containment_free(e))
                verdict = VERDICT_NO_ROOM;
        /* A look at every cgroup does not read the limits of who takes in nothing now, which are what he gets back. The next one does. */
        if ((verdict == VERDICT_CULPRIT || verdict == VERDICT_NO_STEP) && !b.culprit->detail) {
                plan->close_id = b.culprit->id;
                if (e->now < o->look_until_usec)
                        return;
        }
        /* The first moments on a disk may show anybody: only what may be acted on is believed at once, and a slice only
         * when what lies in it has been looked at twice. */
        if (scope.resource == RESOURCE_IO && e->now < o->look_until_usec &&
            (verdict != VERDICT_CULPRIT || (b.culprit->kind == CGROUP_KIND_SLICE && e->now - i->started_usec < SLICE_LOOK_USEC)))
                return;
        if (verdict != VERDICT_CULPRIT && incident_keeps(e, o, i))
                return;
        if (scope.resource == RESOURCE_IO && b.culprit->kind == CGROUP_KIND_SLICE && caps_settle_within(e, b.culprit->path))
                return;
        /* An incident in which something was done stays the account of that; who comes after him and may not be
         * touched is one entry in it. */
        same = i->culprit_id == b.culprit->id;
        if (i->first_step_usec == 0 || verdict == VERDICT_CULPRIT) {
                incident_record_culprit(e, victim, i, &b, verdict, d);
                if (verdict != VERDICT_CULPRIT)
                        o->acts_on = 0;
        }
        switch (verdict) {
        case VERDICT_CULPRIT:
                if (containment_find(e, b.culprit->id)) {
                        for (size_t k = 0; k < i->n_candidates; k++)
                                if (i->candidates[k].cgroup_id == b.culprit->id)
                                        i->candidates[k].verdict = VERDICT_TAKEN;
                        if (!containment_join(e, plan, &scope, lever, b.culprit))
                                return;
                        if (!same || i->resource == RESOURCE_IO)
                                incident_mark(e, o);
                } else if (containment_begin(e, plan, i, &scope, lever, b.culprit))
                        incident_mark(e, o);
                else
                        return;
                i->state = INCIDENT_CONTAINING;
                /* What could not be done, or was forbidden, is tried less and less often. */
                if (o->refused_id != b.culprit->id)
                        o->recheck_wait_usec = RECHECK_MIN_USEC;
                i->result = RESULT_NONE;
                o->acts_on = b.culprit->id;
                return;
        case VERDICT_MODE_MONITOR:
                incident_quiet(e, o, i, b.culprit, ENTRY_WOULD, RESULT_MONITORED, lever == RESOURCE_IO ? STEP_IO_CAP : STEP_HOLD, verdict);
                return;
        case VERDICT_PROTECTED:
        case VERDICT_OMIT:
        case VERDICT_EXCLUDED:
        case VERDICT_RANK:
        case VERDICT_NO_DOMAIN:
        case VERDICT_MODE_OFF:
        case VERDICT_NO_STEP:
        case VERDICT_NO_ROOM:
                incident_quiet(e, o, i, b.culprit, d == victim ? ENTRY_SELF : ENTRY_NOT_ALLOWED,
                               d == victim ? RESULT_SELF : RESULT_NOT_ALLOWED, STEP_HOLD, verdict);
                return;
        case VERDICT_FREE_MEMORY:
        case VERDICT_NOT_WAITED_FOR:
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
        incident_scope(e, o, &scope);
        return caps_help(e, &scope, row);
}

bool incident_listens(const Engine *e, const OpenIncident *o) {
        const AlarmState *a = incident_alarm(e, o);
        ConditionType type;

        /* Who did it may be he who could not be contained. */
        if (!a || !a->raised || o->refused_id != 0)
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
                                incident_quiet(e, o, i, NULL, ENTRY_NOT_ALLOWED, RESULT_NOT_ALLOWED, STEP_HOLD, culprit_verdict(i));
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
