/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Relief: does an incident's trouble go on, and is it to be laid on a cgroup? Measured since the last step, for what came before it is
 * no verdict on it. */

#include "base/macro.h"
#include "engine/state.h"

/* So long after a change of io.max the queue of before is worked off. */
#define IO_SETTLE_USEC (150 * USEC_PER_MSEC)

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
        suspect_scope(e, o, &scope);
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
