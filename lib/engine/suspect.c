/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Suspect: whom the samples show to be behind an incident, and by which resource he is to be contained. Whether he may be is not
 * asked here (verdict.c). Left out on purpose: any judgement by names. */

#include "base/macro.h"
#include "engine/state.h"

/* This share of what is taken in now is taking part; … */
#define PART_PERMYRIAD 1000
/* … and this share of what was taken in over the long window makes a recent culprit believable. */
#define FAIR_SHARE_PERMYRIAD 2500

IncidentResource alarm_resource(const Alarm *a) {
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

void suspect_scope(const Engine *e, const OpenIncident *o, BlameScope *ret) {
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
static void windows_blame(const Engine *e, const Domain *victim, const BlameScope *scope, Blame *b) {
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

/* The alarm's first condition about memory's pressure; NULL: it has none. */
static const Condition *pressure_of(const Alarm *alarm) {
        for (size_t i = 0; i < alarm->n_conditions; i++)
                if (alarm->conditions[i].type == CONDITION_MEMORY_PRESSURE)
                        return &alarm->conditions[i];
        return NULL;
}

/* Who stalls on memory waits for room, which somebody took from somebody, or for pages of his own that were taken from
 * him before. While nothing is taken from anybody it is the latter, and no fault of whoever takes in what is free. */
static bool took_from_somebody(const Engine *e, const CgroupSample *c) {
        return forecast_reclaims(&e->forecast, intake_noise(e) / 4 / e->config.page_bytes) || slice_is_full(e, c->path);
}

/* A leak shows over seconds; one that pages of went there while it came to its limit has ended. */
static bool grows_in_swap(const Engine *e, const Track *t) {
        return t->last.swap >= track_since(t, WINDOW_LONG).swap + intake_noise(e) &&
               t->last.swap >= track_since(t, WINDOW_RECENT).swap + intake_noise(e) / 16;
}

/* What is stolen from it is at a limit of its own, and it does not go on from there: into swap, or at the cost of those that lie
 * below the same limit. */
static bool stays_at_limit(const Engine *e, const CgroupSample *c) {
        const Track *t = tracks_find(&e->tracks, c->id), *above = tracks_find(&e->tracks, c->parent_id);

        return t && track_stolen_by_itself(t) > 0 && !grows_in_swap(e, t) && !(above && track_turns_over(above));
}

/* Half a second without that is its end, however much it was before. */
static bool steals_on(const Track *t) {
        const TrackPoint from = track_since(t, WINDOW_RECENT);

        return t->last.own != from.own || t->last.usec < from.usec + TRACK_RECENT_USEC;
}

/* The victim's units from which most of what is stolen is stolen at limits of their own. */
typedef struct OwnUnits {
        const Track *whole;             /* the victim's slice; NULL: not known */
        const CgroupSample *first;      /* the one that turned over most; NULL: there is none */
        uint64_t stall;                 /* of all of them, in 1/10000 of the time */
        bool stall_known;
        bool closed;                    /* some of the victim's units were not looked at closely */
} OwnUnits;

static OwnUnits own_units(const Engine *e, const Domain *victim, bool full) {
        OwnUnits u = { .stall_known = true };
        uint64_t most = 0;

        for (size_t i = 0; i < e->sample->n_cgroups; i++) {
                const CgroupSample *c = &e->sample->cgroups[i];
                const Track *t = path_within(c->path, victim->cgroup) ? tracks_find(&e->tracks, c->id) : NULL;
                uint64_t own = t ? track_stolen_by_itself(t) : 0;
                unsigned some, all;

                if (streq(c->path, victim->cgroup))
                        u.whole = t;
                if (!t || c->kind == CGROUP_KIND_SLICE || !sample_is_leaf(e->sample, c)) {
                        u.closed = u.closed || (t && c->kind == CGROUP_KIND_SLICE && c->closed);
                        continue;
                }
                u.closed = u.closed || (!c->detail && (t->unjudged > 0 || own > 0));
                if (own == 0 || !steals_on(t))
                        continue;
                if (own > most)
                        u.first = c;
                most = MAX(most, own);
                if (track_stall_is_whole(t) && track_stall(t, &some, &all))
                        u.stall += full ? all : some;
                else
                        u.stall_known = false;
        }
        return u;
}

/* *ret: where most of what was stolen from the victim was stolen at limits of its own units, these have a quarter of its stall, and
 * the host has room, the one of them that turned over most: what they stall for is nobody else's doing, though the kernel reclaims
 * page cache all day on a machine that has read more than there is room for. NULL: it is not like that. False: not known yet. */
static bool stole_from_itself(Engine *e, const OpenIncident *o, const Domain *victim, bool full, const CgroupSample **ret) {
        const OwnUnits u = own_units(e, victim, full);
        unsigned some, all;

        *ret = NULL;
        if (room_on_host(e) == 0 || !u.whole)
                return true;
        if (!u.first || track_stolen_by_itself(u.whole) == 0) {
                if (e->sample->all || !u.closed || u.whole->last.pgsteal == track_since(u.whole, WINDOW_LONG).pgsteal)
                        return true;
                e->look_at_all = true;
                return false;
        }
        /* Whoever turns over what his limit leaves may not wait for it at all. */
        if (!track_stall(u.whole, &some, &all) || u.stall >= (full ? all : some) / 4 || (!u.stall_known && e->now >= o->look_until_usec)) {
                *ret = u.first;
                return true;
        }
        return u.stall_known;
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

/* Io that is swap traffic is cured where the leak is; and what a leak drives out of others is written in their name. So the
 * culprit is who takes in memory, if anybody does, and is not of the domain that complains: that is for its alarm about
 * memory. */
static void blame_leak(const Engine *e, const Domain *victim, const BlameScope *scope, Blame *b) {
        BlameScope memory;
        Blame leak;

        blame_scope(&memory, RESOURCE_MEMORY, &e->tracks, &e->waits, e->sample, victim->cgroup, e->config.page_bytes);
        windows_blame(e, victim, &memory, &leak);
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

bool suspect_find(Engine *e, const OpenIncident *o, const Incident *i, Suspect *ret) {
        const Domain *victim = incident_victim(e, o), *d;
        const Condition *pressure = pressure_of(&victim->alarms[incident_alarm(e, o)->alarm]);
        const BlameScope *scope = &ret->scope;
        const CgroupSample *own = NULL;
        Blame *b = &ret->blame;

        *ret = (Suspect) { .harmless = VERDICT_CULPRIT };
        suspect_scope(e, o, &ret->scope);
        ret->lever = scope->resource;
        windows_blame(e, victim, scope, b);
        if (!b->measured || is_closed(e, b))
                return false;
        if (scope->resource == RESOURCE_IO && b->culprit && !caps_help(e, scope, b->culprit)) {
                ret->lever = RESOURCE_MEMORY;
                blame_leak(e, victim, scope, b);
                if (is_closed(e, b))
                        return false;
        }
        /* What is not there yet to be seen, the dirt of others that is on its way, leaves whoever does a little. */
        if (ret->lever == RESOURCE_IO && b->culprit && !containment_find(e, b->culprit->id) &&
            contain_verdict(e, victim, ret->lever, b->culprit, &d) == VERDICT_CULPRIT && !caps_bite(e, scope, b->culprit, d))
                b->culprit = NULL;
        if (ret->lever == RESOURCE_MEMORY && b->culprit && b->culprit->id != i->culprit_id && incident_acts_on(o, i->culprit_id) &&
            containment_find(e, i->culprit_id) && !is_another(e, o, i, scope, b->culprit))
                b->culprit = NULL;
        /* A leak of its own domain is one beside that too. */
        if (scope->resource == RESOURCE_MEMORY && pressure && !scope->at_limit &&
            (!b->culprit || (!containment_find(e, b->culprit->id) &&
                             (!path_within(b->culprit->path, victim->cgroup) || stays_at_limit(e, b->culprit)))) &&
            !stole_from_itself(e, o, victim, pressure->full, &own) && b->culprit)
                return false;
        if (own) {
                b->culprit = own;
                ret->harmless = VERDICT_OWN_LIMIT;
        } else if (b->culprit && !containment_find(e, b->culprit->id)) {
                if (scope->resource == RESOURCE_MEMORY && pressure && !took_from_somebody(e, b->culprit))
                        ret->harmless = VERDICT_FREE_MEMORY;
                else if (ret->lever == RESOURCE_IO && nobody_waited_for(e, scope, b->culprit))
                        ret->harmless = VERDICT_NOT_WAITED_FOR;
        }
        return true;
}
