/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Alarms. A pressure condition holds when the kernel's trigger said so within its window, or when the
 * samples show as much; the latter also serves where triggers cannot be had.
 *
 * Pressure that our own leases cause is no reason for more: while a cgroup inside the domain is contained,
 * its stall is taken off the domain's, and the trigger, which cannot tell the two apart, is not believed. */

#include "base/macro.h"
#include "engine/state.h"

void alarms_bind(Engine *e, const Policy *policy) {
        e->n_alarms = 0;
        latencies_forget(&e->latencies);
        for (unsigned d = 0; d < policy->n_domains; d++)
                for (unsigned a = 0; a < policy->domains[d].n_alarms && e->n_alarms < POLICY_ALARMS_MAX; a++)
                        e->alarms[e->n_alarms++] = (AlarmState) { .domain = d, .alarm = a, .forecast = FORECAST_NONE };
}

static const Domain *alarm_domain(const Engine *e, const AlarmState *s) {
        return &e->policy->domains[s->domain];
}

static const Alarm *alarm_policy(const Engine *e, const AlarmState *s) {
        return &alarm_domain(e, s)->alarms[s->alarm];
}

static bool contains_contained(const Engine *e, const Domain *d) {
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id != 0 && path_within(e->containments[i].path, d->cgroup))
                        return true;
        return false;
}

/* How far back "now" reaches, once to twice. */
#define LATE_USEC (250 * USEC_PER_MSEC)

/* What a condition on pressure reads of the host, of the domain's slice, and of a cgroup contained in it. */
typedef struct Pressure {
        HostField host;
        CgroupField cgroup;
        size_t total, have;             /* in a TrackPoint */
} Pressure;

static const Pressure *condition_pressure(const Condition *c) {
        static const Pressure memory[2] = {
                { HOST_MEMORY_SOME, CGROUP_MEMORY_SOME, offsetof(TrackPoint, memory_some), offsetof(TrackPoint, have_psi) },
                { HOST_MEMORY_FULL, CGROUP_MEMORY_FULL, offsetof(TrackPoint, memory_full), offsetof(TrackPoint, have_psi) },
        };
        static const Pressure io[2] = {
                { HOST_IO_SOME, CGROUP_IO_SOME, offsetof(TrackPoint, io_some), offsetof(TrackPoint, have_io_psi) },
                { HOST_IO_FULL, CGROUP_IO_FULL, offsetof(TrackPoint, io_full), offsetof(TrackPoint, have_io_psi) },
        };

        return c->type == CONDITION_IO_PRESSURE ? &io[c->full] : &memory[c->full];
}

/* Of one cgroup since its sample before this one; 0 where that is not known, or was longer ago than that. */
static uint64_t stall_of(const Engine *e, uint64_t cgroup_id, const Pressure *p, uint64_t limit_usec) {
        const Track *t = tracks_find(&e->tracks, cgroup_id);
        uint64_t last, previous;
        TrackPoint before;

        if (!t)
                return 0;
        before = track_since(t, WINDOW_LAST);
        if (t->last.usec - before.usec > limit_usec || !*(const bool *) ((const char *) &t->last + p->have) || !*(const bool *) ((const char *) &before + p->have))
                return 0;
        last = *(const uint64_t *) ((const char *) &t->last + p->total);
        previous = *(const uint64_t *) ((const char *) &before + p->total);
        return last - MIN(previous, last);
}

/* The contained cgroup that the path is of or lies in; other than `itself`. */
static const Containment *contained_above(const Engine *e, const char *path, const Containment *itself) {
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id != 0 && &e->containments[i] != itself && path_within(path, e->containments[i].path))
                        return &e->containments[i];
        return NULL;
}

/* Of a domain's stall, what is not that of contained cgroups in it. The two overlap in time: of its tasks some stall for at least as long
 * as those of any unit that is not contained. That all of them do says little while one is held. usec: since when the domain did. */
static uint64_t own_stall(const Engine *e, const Sample *s, const Domain *d, const Condition *condition, uint64_t stall, uint64_t usec) {
        const Pressure *p = condition_pressure(condition);
        uint64_t contained = 0, other = 0;

        if (stall == 0 || !contains_contained(e, d))
                return stall;
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++) {
                const Containment *c = &e->containments[i];

                if (c->cgroup_id != 0 && path_within(c->path, d->cgroup) && !contained_above(e, c->path, c))
                        contained += stall_of(e, c->cgroup_id, p, UINT64_MAX);
        }
        for (size_t i = 0; i < s->n_cgroups && !condition->full; i++) {
                const CgroupSample *u = &s->cgroups[i];
                uint64_t alone = u->kind == CGROUP_KIND_UNIT && path_within(u->path, d->cgroup) ? stall_of(e, u->id, p, usec) : 0;

                if (alone > other && !contained_above(e, u->path, NULL))
                        other = alone;
        }
        return MAX(stall - MIN(stall, contained), MIN(stall, other));
}

static const CgroupSample *slice_row(const Sample *s, const char *path) {
        for (size_t i = 0; i < s->n_cgroups; i++)
                if (s->cgroups[i].kind == CGROUP_KIND_SLICE && streq(s->cgroups[i].path, path))
                        return &s->cgroups[i];
        return NULL;
}

static bool pressure_counter(const Sample *s, const Domain *d, const Pressure *p, uint64_t *ret) {
        const CgroupSample *row;

        if (streq(d->cgroup, "/"))
                return sample_host_get(s, p->host, ret);
        row = slice_row(s, d->cgroup);
        return row && cgroup_sample_get(row, p->cgroup, ret);
}

static void pressure_update(Engine *e, const Sample *s, const Domain *d, const Condition *c, ConditionState *st) {
        const Pressure *p = condition_pressure(c);
        uint64_t counter, delta = 0, since, usec, stalled;

        if (!pressure_counter(s, d, p, &counter)) {
                /* A slice that is no more waits for nothing; one that was not looked at may. */
                if (s->complete) {
                        st->holds = st->have_counter = false;
                        st->older_usec = 0;
                }
                return;
        }
        if (st->have_counter && counter > st->counter)
                delta = counter - st->counter;
        since = s->usec - MIN(st->counter_usec, s->usec);
        st->counter = counter;
        st->counter_usec = s->usec;
        st->have_counter = true;

        st->total += own_stall(e, s, d, c, delta, since);

        if (st->older_usec == 0) {
                st->older_usec = st->newer_usec = st->late_usec = st->later_usec = s->usec;
                st->older_total = st->newer_total = st->late_total = st->later_total = st->total;
                return;
        }
        if (s->usec - st->later_usec >= LATE_USEC) {
                st->late_usec = st->later_usec;
                st->late_total = st->later_total;
                st->later_usec = s->usec;
                st->later_total = st->total;
        }
        /* As the kernel's trigger does: enough stall since the window began is enough, however young the
         * window is; over a longer span it must be that share of it. */
        usec = MAX(s->usec - st->older_usec, c->window_usec);
        stalled = st->total - st->older_total;
        st->measured = mul_div_u64(stalled, PERMYRIAD, usec);
        st->holds = st->measured >= c->threshold_permyriad;
        if (s->usec - st->newer_usec >= c->window_usec) {
                st->older_usec = st->newer_usec;
                st->older_total = st->newer_total;
                st->newer_usec = s->usec;
                st->newer_total = st->total;
        }
}

static void used_update(const Sample *s, HostField left, HostField total, const Condition *c, ConditionState *st) {
        uint64_t l, t;

        if (!sample_host_get(s, left, &l) || !sample_host_get(s, total, &t))
                return;
        st->measured = t == 0 ? 0 : mul_div_u64(t - MIN(l, t), PERMYRIAD, t);
        /* More than 0% is something. */
        st->holds = t > 0 && st->measured >= MAX(c->threshold_permyriad, 1U);
}

/* A slice's use against the smallest limit that is set on it, else against the host's memory. */
static void slice_used_update(const Sample *s, const Domain *d, const Condition *c, ConditionState *st) {
        for (size_t i = 0; i < s->n_cgroups; i++) {
                const CgroupSample *row = &s->cgroups[i];
                uint64_t current, limit, total, v;

                if (!streq(row->path, d->cgroup) || !cgroup_sample_get(row, CGROUP_MEMORY_CURRENT, &current) ||
                    !sample_host_get(s, HOST_MEMORY_TOTAL, &total))
                        continue;
                limit = total;
                if (cgroup_sample_get(row, CGROUP_MEMORY_HIGH, &v))
                        limit = MIN(limit, v);
                if (cgroup_sample_get(row, CGROUP_MEMORY_MAX, &v))
                        limit = MIN(limit, v);
                st->measured = limit == 0 ? 0 : mul_div_u64(current, PERMYRIAD, limit);
                st->holds = limit > 0 && st->measured >= c->threshold_permyriad;
        }
}

const Forecast *alarm_forecast(const Engine *e, const AlarmState *s) {
        return alarm_is_about_limit(s) ? &s->forecast : &e->forecast;
}

static void exhaustion_update(Engine *e, const Sample *s, const Domain *d, AlarmState *a, const Condition *c, ConditionState *st) {
        const CgroupSample *row = slice_row(s, d->cgroup);
        const Forecast *f;

        if (row)
                forecast_slice(&a->forecast, s, row, slice_limit(e, row));
        else if (s->complete)
                a->forecast = (Forecast) FORECAST_NONE;
        f = alarm_forecast(e, a);
        st->measured = f->exhaustion_usec;
        st->holds = st->measured <= c->threshold_usec && forecast_is_believed(f);
}

static void latency_update(Engine *e, const Sample *s, const Domain *d, const Condition *c, ConditionState *st) {
        /* Its place, which is another's only when the alarms are bound anew. */
        uint64_t key = (uint64_t) ((const char *) st - (const char *) e->alarms) + 1;

        if (s->n_cgroups == 0)
                return;
        st->holds = latencies_percentile(&e->latencies, key, s->credit, d->cgroup, c->window_usec, c->percentile, &st->measured) &&
                    st->measured > c->threshold_usec;
        st->older_usec = latencies_since(&e->latencies, key);
}

static bool condition_update(Engine *e, const EngineInput *input, AlarmState *a, const Condition *c, ConditionState *st) {
        const Domain *d = alarm_domain(e, a);
        const Sample *s = input->sample;

        if (s)
                switch (c->type) {
                case CONDITION_MEMORY_PRESSURE:
                case CONDITION_IO_PRESSURE:
                        pressure_update(e, s, d, c, st);
                        break;
                case CONDITION_SWAP_USED:
                        used_update(s, HOST_SWAP_FREE, HOST_SWAP_TOTAL, c, st);
                        break;
                case CONDITION_MEMORY_USED:
                        if (streq(d->cgroup, "/"))
                                used_update(s, HOST_MEMORY_AVAILABLE, HOST_MEMORY_TOTAL, c, st);
                        else
                                slice_used_update(s, d, c, st);
                        break;
                case CONDITION_MEMORY_EXHAUSTION:
                        exhaustion_update(e, s, d, a, c, st);
                        break;
                case CONDITION_IO_LATENCY:
                        latency_update(e, s, d, c, st);
                        break;
                case CONDITION_CPU_PRESSURE:
                case CONDITION_RECLAIM_STALL:
                case _CONDITION_TYPE_MAX:
                        return false;
                }

        if ((c->type == CONDITION_MEMORY_PRESSURE || c->type == CONDITION_IO_PRESSURE) && st->fired_until_usec > e->now && !contains_contained(e, d)) {
                st->measured = MAX(st->measured, (uint64_t) c->threshold_permyriad);
                return true;
        }
        return st->holds;
}

void alarms_event(Engine *e, unsigned domain, unsigned alarm, unsigned condition, uint64_t usec) {
        const Domain *d;

        /* The event may be older than the policy. */
        if (domain >= e->policy->n_domains)
                return;
        d = &e->policy->domains[domain];
        if (alarm >= d->n_alarms || condition >= MIN(d->alarms[alarm].n_conditions, (size_t) CONDITIONS_MAX))
                return;
        for (size_t i = 0; i < e->n_alarms; i++)
                if (e->alarms[i].domain == domain && e->alarms[i].alarm == alarm)
                        e->alarms[i].conditions[condition].fired_until_usec =
                                usec + d->alarms[alarm].conditions[condition].window_usec;
}

void alarms_update(Engine *e, const EngineInput *input) {
        for (size_t i = 0; i < e->n_alarms; i++) {
                AlarmState *s = &e->alarms[i];
                const Alarm *a = alarm_policy(e, s);
                size_t active = 0, held = 0;

                for (size_t c = 0; c < MIN(a->n_conditions, (size_t) CONDITIONS_MAX); c++) {
                        if (!a->conditions[c].active)
                                continue;
                        active++;
                        held += condition_update(e, input, s, &a->conditions[c], &s->conditions[c]);
                }
                /* An alarm with a condition that this build cannot judge never holds as a whole. */
                if (active == 0 || held < a->n_conditions) {
                        s->since_usec = 0;
                        s->raised = false;
                        continue;
                }
                if (s->since_usec == 0)
                        s->since_usec = e->now;
                s->raised = e->now - s->since_usec >= a->lasting_usec;
        }
}
