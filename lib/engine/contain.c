/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Containments: the steps against one cgroup and their undoing.
 *
 * hold -> squeeze … squeeze -> kill while it hurts; a quarter up a second when it does not, until the limit
 * no longer binds; back to the last level, and twice the wait, when a rise brings the trouble back. A cgroup
 * that pushes against its limit, or stands past it, is given no more than half of what the host has to spare, so
 * that a leak is not let loose again only to be caught again; one that makes no progress at all for
 * KillAfterSec= is what killing is for.
 *
 * memory.high alone does not hold a leak where there is swap: what no longer fits is swapped out and the leak
 * goes on at the speed of the swap disk, on the neighbours' time. So memory.swap.high is pinned along with it;
 * it slows who exceeds it and keeps nobody from swapping the cgroup's pages out (cgroup-v2.rst).
 *
 * io has steps of its own (caps.c) beside those of memory, and both may be taken against one cgroup: halved while it
 * hurts, a quarter up a second while it does not. What hurts by its io alone is never killed: shares of the work are
 * too little evidence for that.
 *
 * Invariant: one action a containment is under way, and one kill on the host. */

#include "base/macro.h"
#include "engine/state.h"

/* All of its tasks wait this much of the time: it makes no progress worth the name. */
#define STUCK_PERMYRIAD 5000
#define RISE_WAIT_MAX_USEC (64 * USEC_PER_SEC)
/* An alarm this soon after a rise is laid on the rise. */
#define RELAPSE_USEC (3 * USEC_PER_SEC)
/* Who works in bursts uses little of a cap between them; without it for so long it is not needed. */
#define UNBOUND_USEC (3 * USEC_PER_SEC)
/* What a writer had on its way when it was capped and squeezed is waited for: so long; and where more than so much of it
 * is left, longer. */
#define WRITE_SETTLE_USEC (1500 * USEC_PER_MSEC)
#define WRITE_BACKLOG_USEC (500 * USEC_PER_MSEC)
#define WRITE_SETTLE_MAX_USEC (5 * USEC_PER_SEC)
/* A lower cap makes it take longer, for whoever waits for a journal commit behind it, and for itself, which cannot even be
 * stopped before its fdatasync() is through. Never longer than this. */
#define WRITE_DRAIN_USEC (10 * USEC_PER_SEC)
/* One a second: what is ours is not given up as soon. */
#define RESTORE_FAILURES_MAX 60
/* Less is not worth a write; this much is, for who lacked only a little more when it was held. */
#define RISE_BYTES_MIN (UINT64_C(4) << 20)
/* Page cache of a writer that is capped: up to a fifth of it may be dirty (vm.dirty_ratio, where nobody makes it less), and
 * all of that may stand between somebody else's fdatasync and its end. */
#define WRITE_ROOM_BYTES (UINT64_C(32) << 20)
/* What reclaim takes along when a hold is written. */
#define SWAP_SLACK_BYTES (UINT64_C(4) << 20)

static uint64_t page_floor(const Engine *e, uint64_t bytes) {
        return bytes == LIMIT_MAX ? LIMIT_MAX : bytes - bytes % e->config.page_bytes;
}

Containment *containment_find(Engine *e, uint64_t cgroup_id) {
        for (size_t i = 0; cgroup_id != 0 && i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id == cgroup_id)
                        return &e->containments[i];
        return NULL;
}

Containment *containment_free(Engine *e) {
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id == 0)
                        return &e->containments[i];
        return NULL;
}

bool containments_any(const Engine *e) {
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id != 0)
                        return true;
        return false;
}

static void enter(Engine *e, const Containment *c, const IncidentEntry *entry) {
        Incident *i = chronicle_find(&e->chronicle, c->incident_id);
        IncidentEntry x = *entry;

        if (!i)
                return;
        x.usec = e->now;
        x.cgroup_id = x.action == ACTION_KILL ? c->kill_target : c->cgroup_id;
        chronicle_enter(&e->chronicle, i, &x);
}

/* Puts one action into the plan. False where the plan is full: the next tick tries again. */
static bool plan_action(Engine *e, Plan *plan, Containment *c, ActionType type, Step step, uint64_t value, const Domain *d) {
        Action *a;
        Incident *i;

        if (plan->n_actions == PLAN_ACTIONS_MAX)
                return false;
        a = &plan->actions[plan->n_actions++];
        *a = (Action) {
                .id = e->next_action_id++,
                .type = type,
                .step = step,
                .incident_id = c->incident_id,
                .cgroup_id = type == ACTION_KILL ? c->kill_target : c->cgroup_id,
                .value = value,
                .expect = c->written,
                .original = c->original,
                .swap_value = c->swap_level,
                .swap_original = c->swap_original,
                .io_only = !c->memory,
                .n_io = c->n_caps,
                .lease_usec = d ? d->contain.lease_usec : 15 * USEC_PER_SEC,
        };
        for (size_t k = 0; k < c->n_caps; k++)
                a->io[k] = (IoCap) { .value = c->caps[k].level, .expect = c->caps[k].written, .original = c->caps[k].original };
        path_shown(a->path, c->path);
        c->pending_action = a->id;
        c->pending_type = type;
        i = chronicle_find(&e->chronicle, c->incident_id);
        if (i && i->first_step_usec == 0 && type != ACTION_RESTORE)
                i->first_step_usec = e->now;
        return true;
}

static bool plan_level(Engine *e, Plan *plan, Containment *c, Step step, uint64_t level, IncidentEntryType type, const Domain *d) {
        uint64_t before = c->level;

        level = MIN(page_floor(e, level), c->original);
        if (!plan_action(e, plan, c, ACTION_SET_MEMORY_HIGH, step, level, d))
                return false;
        enter(e, c, &(IncidentEntry) {
                .type = type, .step = step, .action = ACTION_SET_MEMORY_HIGH, .action_id = c->pending_action,
                .before = before, .after = level });
        c->level = level;
        c->step = MAX(c->step, step);
        c->step_usec = e->now;
        return true;
}

/* The direction in which a cap is tightest, for telling: a read or a write, by what is left of it. */
static bool cap_shows_writes(const DeviceCap *cap) {
        return cap->level.v[IO_READ_BYTES] >= cap->original.v[IO_READ_BYTES] &&
               (cap->level.v[IO_WRITE_BYTES] < cap->original.v[IO_WRITE_BYTES] ||
                cap->lower.v[IO_WRITE_BYTES] < cap->original.v[IO_WRITE_BYTES]);
}

/* What one entry tells of the caps: the first device, the direction that is capped. */
static void tell_caps(const Containment *c, IncidentEntry *entry, const IoLine *before) {
        const DeviceCap *cap = &c->caps[0];
        bool writes = cap_shows_writes(cap);

        entry->major = cap->level.major;
        entry->minor = cap->level.minor;
        entry->writes = writes;
        entry->before = before->v[writes ? IO_WRITE_BYTES : IO_READ_BYTES];
        entry->after = cap->level.v[writes ? IO_WRITE_BYTES : IO_READ_BYTES];
        entry->operations_before = before->v[writes ? IO_WRITES : IO_READS];
        entry->operations_after = cap->level.v[writes ? IO_WRITES : IO_READS];
}

static bool plan_caps(Engine *e, Plan *plan, Containment *c, IncidentEntryType type, const Domain *d) {
        IncidentEntry entry = { .type = type, .step = STEP_IO_CAP, .action = ACTION_SET_IO_MAX };
        bool first;

        if (!plan_action(e, plan, c, ACTION_SET_IO_MAX, STEP_IO_CAP, c->level, d))
                return false;
        entry.action_id = c->pending_action;
        /* The first cap is told beside what was done without one. */
        first = memcmp(c->caps[0].written.v, c->caps[0].original.v, sizeof(c->caps[0].written.v)) == 0;
        tell_caps(c, &entry, first ? &c->caps[0].measured : &c->caps[0].written);
        enter(e, c, &entry);
        c->step = MAX(c->step, STEP_IO_CAP);
        c->cap_usec = e->now;
        return true;
}

static void plan_restore(Engine *e, Plan *plan, Containment *c, IncidentEntryType type, const Domain *d) {
        IncidentEntry entry = { .type = type, .step = c->step, .action = ACTION_RESTORE, .before = c->level, .after = c->original };

        if (!plan_action(e, plan, c, ACTION_RESTORE, c->step, c->original, d))
                return;
        entry.action_id = c->pending_action;
        if (!c->memory && c->n_caps > 0) {
                caps_lift(c);
                tell_caps(c, &entry, &c->caps[0].written);
        }
        enter(e, c, &entry);
        c->phase = PHASE_RESTORING;
}

/* Memory is given back; with it all, if nothing else is held. */
static void plan_memory_back(Engine *e, Plan *plan, Containment *c, IncidentEntryType type, const Domain *d) {
        if (c->n_caps == 0) {
                plan_restore(e, plan, c, type, d);
                return;
        }
        c->swap_level = c->swap_original;
        c->memory_ends = plan_level(e, plan, c, STEP_HOLD, c->original, type, d);
}

/* The same of io. */
static void plan_caps_back(Engine *e, Plan *plan, Containment *c, IncidentEntryType type, const Domain *d) {
        if (!c->memory || c->for_writes) {
                plan_restore(e, plan, c, type, d);
                return;
        }
        caps_lift(c);
        c->caps_end = plan_caps(e, plan, c, type, d);
}

/* Never below SqueezeFloor=, nor below what the cgroup is promised; of a promise without end, what it has. */
static uint64_t level_floor(const CgroupSample *row, const Domain *d) {
        uint64_t floor = d->contain.squeeze_floor_bytes, current, v;

        for (CgroupField f = CGROUP_MEMORY_LOW; f <= CGROUP_MEMORY_MIN; f++) {
                if (!cgroup_sample_get(row, f, &v))
                        continue;
                if (v == LIMIT_MAX)
                        v = cgroup_sample_get(row, CGROUP_MEMORY_CURRENT, &current) ? current : 0;
                floor = MAX(floor, v);
        }
        return floor;
}

static uint64_t hold_level(const Engine *e, const CgroupSample *row, const Domain *d) {
        const Track *t = tracks_find(&e->tracks, row->id);
        uint64_t slack = 1 << 20, current = row->use[CGROUP_MEMORY_CURRENT];
        Intake in;

        /* A level at or above current use is written at once; one below makes the writer reclaim. The sample
         * is a little old already, so allow for what was taken in since. */
        if (t && track_intake(t, INTAKE_ALL, WINDOW_RECENT, e->config.page_bytes, &in))
                slack = MAX(slack, in.rate / 20);
        return MAX(current + MIN(slack, MAX(current / 8, UINT64_C(1) << 20)), level_floor(row, d));
}

/* What is no page cache stays, whatever it is. */
static uint64_t write_level(const CgroupSample *row, const Domain *d) {
        uint64_t current, cache;

        if (!cgroup_sample_get(row, CGROUP_MEMORY_CURRENT, &current) || !cgroup_sample_get(row, CGROUP_CACHE, &cache))
                return LIMIT_MAX;
        return MAX(current - MIN(cache, current) + WRITE_ROOM_BYTES, level_floor(row, d));
}

static uint64_t swap_use(const CgroupSample *row) {
        uint64_t v;

        return cgroup_sample_get(row, CGROUP_SWAP_CURRENT, &v) ? v : 0;
}

/* The first step against its memory. What keeps little dirty becomes part of it. */
static bool hold(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d) {
        const Containment before = *c;

        c->memory = true;
        c->for_writes = false;
        /* It may have been held before, and risen. */
        c->phase = PHASE_HELD;
        c->floor_usec = c->stuck_usec = 0;
        c->evidence_usec = e->now;
        c->swap_level = MIN(swap_use(row) + SWAP_SLACK_BYTES, c->swap_original);
        if (plan_level(e, plan, c, d->contain.steps[STEP_HOLD] ? STEP_HOLD : STEP_SQUEEZE, MIN(hold_level(e, row, d), c->level),
                       ENTRY_ACTION, d))
                return true;
        *c = before;
        return false;
}

bool containment_begin(Engine *e, Plan *plan, Incident *i, const Suspect *s) {
        const CgroupSample *row = s->blame.culprit;
        const Domain *d = policy_domain_of(e->policy, row->path);
        Containment *c = containment_free(e);
        size_t n = strlen(row->path);
        uint64_t memory_high = LIMIT_MAX;

        (void) cgroup_sample_get(row, CGROUP_MEMORY_HIGH, &memory_high);
        if (!c || !d || n >= sizeof(c->path))
                return false;

        *c = (Containment) {
                .cgroup_id = row->id,
                .incident_id = i->id,
                .original = memory_high,
                .level = memory_high,
                .written = memory_high,
                .swap_original = LIMIT_MAX,
                .swap_level = LIMIT_MAX,
                .evidence_usec = e->now,
                .rise_wait_usec = CALM_USEC,
        };
        memcpy(c->path, row->path, n + 1);
        if (cgroup_sample_get(row, CGROUP_SWAP_HIGH, &c->swap_original))
                c->swap_level = c->swap_original;
        if (s->lever == RESOURCE_IO) {
                bool begun;

                /* What it may write; and what it may dirty as soon as that is written (writes_step()), see caps.c. */
                c->for_writes = d->contain.steps[STEP_SQUEEZE] && caps_buffered(row) && write_level(row, d) < memory_high;
                begun = caps_begin(e, c, &s->scope, row, d) && plan_caps(e, plan, c, ENTRY_ACTION, d);
                if (!begun)
                        c->cgroup_id = 0;
                return begun;
        }
        if (!hold(e, plan, c, row, d)) {
                c->cgroup_id = 0;
                return false;
        }
        return true;
}

bool containment_join(Engine *e, Plan *plan, const Suspect *s) {
        const CgroupSample *row = s->blame.culprit;
        const Domain *d = policy_domain_of(e->policy, row->path);
        Containment *c = containment_find(e, row->id);

        if (!c || !d || c->phase == PHASE_KILLING || c->phase == PHASE_RESTORING)
                return true;
        if (s->lever == RESOURCE_MEMORY)
                return (c->memory && !c->for_writes) || (c->pending_action == 0 && hold(e, plan, c, row, d));
        /* Written at the next tick: caps that differ from what is written are. */
        if (c->n_caps == 0 && d->contain.steps[STEP_IO_CAP] && row->io && caps_help(e, &s->scope, row))
                (void) caps_begin(e, c, &s->scope, row, d);
        return true;
}

static void tell_spared(Engine *e, const Containment *c, const CgroupSample *row) {
        IncidentEntry entry = { .type = ENTRY_SPARED, .step = STEP_KILL };

        if (row->kind != CGROUP_KIND_SLICE)
                kill_frees(e, row, &entry.before, &entry.after);
        enter(e, c, &entry);
}

static void try_kill(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d) {
        const CgroupSample *target;
        Incident *i;

        if (engine_mode(e, d) != MODE_ENFORCE || !d->contain.steps[STEP_KILL] || e->kill_in_flight != 0)
                return;
        if (!kill_budget_left(e, d)) {
                if (!c->budget_told)
                        enter(e, c, &(IncidentEntry) { .type = ENTRY_BUDGET, .step = STEP_KILL });
                c->budget_told = true;
                return;
        }
        target = kill_victim(e, c, row, d);
        if (!target) {
                if (!c->spared_told)
                        tell_spared(e, c, row);
                c->spared_told = true;
                return;
        }
        c->kill_target = target->id;
        if (!plan_action(e, plan, c, ACTION_KILL, STEP_KILL, 0, d))
                return;
        path_shown(plan->actions[plan->n_actions - 1].path, target->path);
        i = chronicle_find(&e->chronicle, c->incident_id);
        if (i)
                account_list(i, target->id, target->path, VERDICT_TAKEN);
        enter(e, c, &(IncidentEntry) {
                .type = ENTRY_ACTION, .step = STEP_KILL, .action = ACTION_KILL, .action_id = c->pending_action,
                .before = target->use[CGROUP_MEMORY_CURRENT] });
        kill_budget_spend(e, d);
        e->kill_in_flight = c->pending_action;
        c->phase = PHASE_KILLING;
        c->step = STEP_KILL;
        c->step_usec = e->now;
}

/* Where the host has room again, and every slice with a limit that the victim is in, the victim waits for its pages
 * to come back and not for memory: to squeeze out more would only fill the disk that they come from. */
static bool memory_is_short(const Engine *e, const Containment *c) {
        if (room_on_host(e) < e->forecast.total / 10)
                return true;
        for (size_t i = 0; i < INCIDENTS_MAX; i++) {
                const Domain *victim = incident_acts_on(&e->open[i], c->cgroup_id) ? incident_victim(e, &e->open[i]) : NULL;

                if (victim && slice_is_full(e, victim->cgroup))
                        return true;
        }
        return false;
}

static void escalate(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d) {
        uint64_t floor = level_floor(row, d), current = row->use[CGROUP_MEMORY_CURRENT], level;

        /* A rise brought it back: the last level again, and twice the patience. */
        if (c->phase == PHASE_RISING && e->now - c->rise_usec < RELAPSE_USEC) {
                c->rise_wait_usec = MIN(c->rise_wait_usec * 2, RISE_WAIT_MAX_USEC);
                c->phase = PHASE_HELD;
                (void) plan_level(e, plan, c, STEP_HOLD, MAX(c->lower_level, floor), ENTRY_BACK, d);
                return;
        }
        c->phase = PHASE_HELD;

        if (e->now - c->step_usec < d->contain.step_usec)
                return;
        if (!memory_is_short(e, c)) {
                c->floor_usec = 0;
                return;
        }
        level = MIN(c->level, current);
        level -= level / 10;
        if (d->contain.steps[STEP_SQUEEZE] && c->level > floor && MAX(level, floor) < c->level) {
                c->floor_usec = 0;
                /* What is squeezed out goes to swap, on our account and not on its own. */
                if (c->swap_level != c->swap_original)
                        c->swap_level = MIN(c->swap_level + (current - MIN(level, current)), c->swap_original);
                (void) plan_level(e, plan, c, STEP_SQUEEZE, MAX(level, floor), ENTRY_ACTION, d);
                return;
        }
        if (c->floor_usec == 0)
                c->floor_usec = e->now;
        if (e->now - c->floor_usec >= d->contain.kill_after_usec)
                try_kill(e, plan, c, row, d);
}

static void rise(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d, bool wanting) {
        uint64_t current = row->use[CGROUP_MEMORY_CURRENT], level, from, room, swapped = 0, moved;

        /* Its memory.high is what it was, for the cgd before had given it back, or only its swap is held. And nothing is more than no limit. */
        if (c->level >= c->original) {
                plan_memory_back(e, plan, c, ENTRY_RELIEF, d);
                return;
        }
        if (c->swap_level != c->swap_original && swap_use(row) > c->swap_level)
                swapped = swap_use(row) - c->swap_level;
        /* What others' trouble drove out of it went below its limit, and was not taken in: it is pinned anew as it stands now. */
        moved = MIN(swapped, c->level - MIN(current, c->level));
        from = c->level - moved;
        level = from + MAX(from / 4, RISE_BYTES_MIN);
        /* Twice its use, and it does not want more: the limit binds no more. */
        if (!wanting && level >= 2 * current && c->phase == PHASE_RISING) {
                plan_memory_back(e, plan, c, ENTRY_RELIEF, d);
                return;
        }
        /* Half of the headroom: the other half is for those who were hurt. Whether it is content does not matter: who asks
         * for nothing just now may be busy with what he has, and would take in what nobody has. What it went on to take in
         * swap is part of it, or a leak would be given as much again with each rise. */
        room = room_for(e, c->path) / 2;
        if (room < RISE_BYTES_MIN)
                return;
        level = MIN(level, MAX(from, current) + room);
        level -= MIN(level, swapped - moved);
        if (level < from + RISE_BYTES_MIN)
                return;
        if (level >= c->original) {
                plan_memory_back(e, plan, c, ENTRY_RELIEF, d);
                return;
        }
        c->lower_level = from;
        /* Who is above his swap limit is slowed whatever memory.high says: pin it anew, or the rise is none. */
        if (c->swap_level != c->swap_original)
                c->swap_level = MIN(MAX(c->swap_level, swap_use(row) + SWAP_SLACK_BYTES), c->swap_original);
        if (plan_level(e, plan, c, STEP_HOLD, level, ENTRY_RISE, d)) {
                c->phase = PHASE_RISING;
                c->rise_usec = e->now;
        }
}

/* Io that its caps are there for does not count against its memory; without caps all does. */
static bool hurts_anyone(const Engine *e, const Containment *c, IncidentResource r) {
        for (size_t i = 0; i < INCIDENTS_MAX; i++) {
                const OpenIncident *o = &e->open[i];
                const Incident *inc;

                if (o->id == 0)
                        continue;
                inc = chronicle_find((Chronicle *) &e->chronicle, o->id);
                if (inc && incident_acts_on(o, c->cgroup_id) && (inc->resource == r || (inc->resource == RESOURCE_IO && c->n_caps == 0)) &&
                    incident_hurts(e, o, c->cgroup_id))
                        return true;
        }
        return false;
}

static void mark_incidents(Engine *e, const Containment *c, IncidentResource r) {
        for (size_t i = 0; i < INCIDENTS_MAX; i++) {
                const Incident *inc = e->open[i].id ? chronicle_find(&e->chronicle, e->open[i].id) : NULL;

                if (inc && incident_acts_on(&e->open[i], c->cgroup_id) && (inc->resource == r || c->n_caps == 0))
                        incident_mark(e, &e->open[i]);
        }
}

/* Wanting more than it has: it still takes in, whether or not the limit binds just now, or it stands at its
 * limit and waits for room. False where that cannot be told: the recent window has only just begun. */
static bool pushing_known(const Engine *e, const Containment *c, const CgroupSample *row, const Track *t,
                          bool *ret_pushing, bool *ret_wanting, unsigned *ret_full) {
        const TrackPoint from = track_since(t, WINDOW_RECENT);
        uint64_t usec = t->last.usec - from.usec;
        bool waiting;
        unsigned some;
        Intake in;

        if (!track_stall(t, &some, ret_full) || !track_intake(t, INTAKE_ALL, WINDOW_RECENT, e->config.page_bytes, &in))
                return false;
        /* Who is asleep in the kernel's throttle stays so for up to two seconds after the limit was raised: that
         * it takes nothing in meanwhile says nothing of what it wants. */
        waiting = *ret_full >= STUCK_PERMYRIAD ||
                  (some >= PUSHING_PERMYRIAD &&
                   (track_throttled(t) || row->use[CGROUP_MEMORY_CURRENT] >= c->level - c->level / 16 ||
                    (c->swap_level != c->swap_original && swap_use(row) >= c->swap_level)));
        *ret_pushing = waiting || in.rate >= intake_noise(e);
        /* A stream turns over what it has, and wants no more. */
        *ret_wanting = waiting || (*ret_pushing && t->last.current + t->last.swap >= from.current + from.swap +
                                                                                     mul_div_u64(intake_noise(e), usec, USEC_PER_SEC));
        return true;
}

/* On the average since it began: the kernel's throttle lets a cgroup through now and then, which is no progress. */
static void stuck_look(Containment *c, const Track *t, bool pushing, unsigned full) {
        const TrackPoint from = track_since(t, WINDOW_RECENT), *to = &t->last;

        if (c->stuck_usec != 0 && mul_div_u64(to->memory_full - MIN(c->stuck_full, to->memory_full), PERMYRIAD,
                                              to->usec - c->stuck_usec) < STUCK_PERMYRIAD)
                c->stuck_usec = 0;
        if (c->stuck_usec == 0 && full >= STUCK_PERMYRIAD) {
                c->stuck_usec = from.usec;
                c->stuck_full = from.memory_full;
        }
        if (!pushing)
                c->stuck_usec = 0;
}

/* How long what it has on its way to the disk will take as it is capped. */
static uint64_t backlog_usec(const Containment *c, const CgroupSample *row) {
        uint64_t dirty = 0, writeback = 0, level = 0;

        (void) cgroup_sample_get(row, CGROUP_FILE_DIRTY, &dirty);
        (void) cgroup_sample_get(row, CGROUP_FILE_WRITEBACK, &writeback);
        for (size_t i = 0; i < c->n_caps; i++)
                if (c->caps[i].level.v[IO_WRITE_BYTES] < c->caps[i].original.v[IO_WRITE_BYTES])
                        level += c->caps[i].level.v[IO_WRITE_BYTES];
        return level > 0 ? mul_div_u64(dirty + writeback, USEC_PER_SEC, level) : 0;
}

/* Too early to judge what the last change did; where the cap is far too low it is itself what keeps a backlog. */
static bool writes_settle(const Engine *e, const Containment *c, const CgroupSample *row) {
        uint64_t usec = e->now - MAX(c->cap_usec, c->step_usec);

        return usec < WRITE_SETTLE_USEC ||
               (usec < WRITE_SETTLE_MAX_USEC && backlog_usec(c, row) > WRITE_BACKLOG_USEC && !caps_are_low(e, c));
}

static void caps_step(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d) {
        bool pushing, binds, hurts;

        if (caps_differ(c)) {
                if (plan_caps(e, plan, c, ENTRY_ACTION, d))
                        mark_incidents(e, c, RESOURCE_IO);
                return;
        }
        if (!row || !row->io || !caps_pushing(e, c, &pushing, &binds)) {
                if (e->now - c->cap_evidence_usec >= d->contain.lease_usec)
                        plan_caps_back(e, plan, c, ENTRY_EXPIRED, d);
                return;
        }
        hurts = hurts_anyone(e, c, RESOURCE_IO);
        if (hurts || pushing)
                c->cap_evidence_usec = e->now;
        if (binds)
                c->cap_binds_usec = e->now;

        if (hurts && c->cap_rise_usec != 0 && e->now - c->cap_rise_usec < RELAPSE_USEC) {
                /* A rise brought it back. */
                c->cap_wait_usec = MIN(c->cap_wait_usec * 2, RISE_WAIT_MAX_USEC);
                c->cap_rise_usec = 0;
                caps_back(e, c, d);
                if (plan_caps(e, plan, c, ENTRY_BACK, d))
                        mark_incidents(e, c, RESOURCE_IO);
        } else if (caps_correct(e, c, row, d)) {
                if (plan_caps(e, plan, c, ENTRY_ACTION, d))
                        mark_incidents(e, c, RESOURCE_IO);
        } else if (c->for_writes && writes_settle(e, c, row)) {
                return;
        } else if (hurts) {
                c->cap_rise_usec = 0;
                if (e->now - c->cap_usec >= d->contain.step_usec && 2 * backlog_usec(c, row) <= WRITE_DRAIN_USEC &&
                    caps_lower(e, c, d) && plan_caps(e, plan, c, ENTRY_ACTION, d))
                        mark_incidents(e, c, RESOURCE_IO);
        } else if (e->now - c->cap_evidence_usec >= d->contain.lease_usec)
                plan_caps_back(e, plan, c, ENTRY_EXPIRED, d);
        else if (e->now - c->cap_usec < (c->cap_rise_usec != 0 ? CALM_USEC : c->cap_wait_usec))
                return;
        else if (c->cap_rise_usec != 0 && e->now - c->cap_binds_usec >= UNBOUND_USEC)
                plan_caps_back(e, plan, c, ENTRY_RELIEF, d);
        else
                switch (caps_raise(e, c, d)) {
                case CAPS_RISEN:
                        if (!plan_caps(e, plan, c, ENTRY_RISE, d))
                                break;
                        c->cap_rise_usec = e->now;
                        /* What comes now is the rise's doing. */
                        mark_incidents(e, c, RESOURCE_IO);
                        break;
                case CAPS_LOWERED:
                        c->cap_rise_usec = 0;
                        if (plan_caps(e, plan, c, ENTRY_BACK, d))
                                mark_incidents(e, c, RESOURCE_IO);
                        break;
                case CAPS_STAY:
                        break;
                }
}

static void memory_step(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d) {
        const Track *t = tracks_find(&e->tracks, c->cgroup_id);
        unsigned full;
        bool hurts, pushing, wanting;
        uint64_t v;

        if (!row || !t || !cgroup_sample_get(row, CGROUP_MEMORY_CURRENT, &v) ||
            !pushing_known(e, c, row, t, &pushing, &wanting, &full)) {
                /* Nothing is known of it now, which is no reason to raise it; but what is not known to be needed
                 * is given back in time. */
                if (e->now - c->evidence_usec >= d->contain.lease_usec)
                        plan_memory_back(e, plan, c, ENTRY_EXPIRED, d);
                return;
        }

        hurts = hurts_anyone(e, c, RESOURCE_MEMORY);
        if (hurts || pushing)
                c->evidence_usec = e->now;

        stuck_look(c, t, pushing, full);
        if (!hurts)
                c->floor_usec = 0;

        if (c->stuck_usec != 0 && t->last.usec - c->stuck_usec >= d->contain.kill_after_usec) {
                try_kill(e, plan, c, row, d);
                if (c->pending_action != 0)
                        return;
        }
        if (hurts) {
                escalate(e, plan, c, row, d);
                if (c->pending_action != 0)
                        mark_incidents(e, c, RESOURCE_MEMORY);
                return;
        }
        if (e->now - c->evidence_usec >= d->contain.lease_usec) {
                plan_memory_back(e, plan, c, ENTRY_EXPIRED, d);
                return;
        }
        if (e->now - c->step_usec >= (c->phase == PHASE_RISING ? CALM_USEC : c->rise_wait_usec))
                rise(e, plan, c, row, d, wanting);
}

/* The memory.high that keeps little dirty comes after the caps, and stays as long as they do. */
static void writes_step(Engine *e, Plan *plan, Containment *c, const CgroupSample *row, const Domain *d) {
        uint64_t level = row ? write_level(row, d) : LIMIT_MAX;

        if (c->memory || level >= c->original)
                return;
        c->memory = plan_level(e, plan, c, STEP_SQUEEZE, level, ENTRY_ACTION, d);
}

static void containment_step(Engine *e, Plan *plan, Containment *c) {
        const Domain *d = policy_domain_of(e->policy, c->path);
        const CgroupSample *row = e->sample ? sample_find(e->sample, c->cgroup_id) : NULL;

        if (c->pending_action != 0 || (c->failures > 0 && e->now - c->step_usec < CALM_USEC))
                return;
        if (c->killed) {
                plan_restore(e, plan, c, ENTRY_RELIEF, d);
                return;
        }
        c->forbidden = !contain_goes_on(e, c->path, row);
        if (c->forbidden) {
                plan_restore(e, plan, c, ENTRY_EXPIRED, d);
                return;
        }
        if (c->for_writes)
                writes_step(e, plan, c, row, d);
        else if (c->memory)
                memory_step(e, plan, c, row, d);
        if (c->pending_action != 0)
                return;
        if (c->n_caps > 0)
                caps_step(e, plan, c, row, d);
        else if (!c->memory)
                plan_restore(e, plan, c, ENTRY_RELIEF, d);
}

void containments_step(Engine *e, Plan *plan) {
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id != 0)
                        containment_step(e, plan, &e->containments[i]);
}

/* Ends a containment; those incidents that it is the culprit of go on until calm, and learn how this ended, and what is to be
 * thought of it by now (_VERDICT_MAX: the same). */
static void containment_end(Engine *e, Containment *c, IncidentResult result, Verdict verdict) {
        for (size_t k = 0; k < INCIDENTS_MAX; k++) {
                Incident *i = incident_acts_on(&e->open[k], c->cgroup_id) ? chronicle_find(&e->chronicle, e->open[k].id) : NULL;

                if (!i)
                        continue;
                if (i->result == RESULT_NONE)
                        i->result = c->killed ? RESULT_KILLED : result;
                e->open[k].acts_on = 0;
                incident_refused(&e->open[k], c->cgroup_id, result == RESULT_NOT_ALLOWED || c->forbidden);
        }
        for (size_t k = 0; verdict != _VERDICT_MAX && k < INCIDENTS_MAX; k++) {
                Incident *i = e->open[k].id != 0 ? chronicle_find(&e->chronicle, e->open[k].id) : NULL;

                for (size_t n = 0; i && n < i->n_candidates; n++)
                        if (i->candidates[n].cgroup_id == c->cgroup_id)
                                i->candidates[n].verdict = verdict;
        }
        *c = (Containment) {};
}

/* Caps that were begun while something else was under way are not written by it. */
static bool is_about_io(const Outcome *o) {
        return o->type == ACTION_SET_IO_MAX || o->type == ACTION_RESTORE;
}

void containment_outcome(Engine *e, const Outcome *o) {
        Containment *c = NULL;
        bool capped;

        if (o->action_id != 0 && o->action_id == e->kill_in_flight)
                e->kill_in_flight = 0;
        for (size_t i = 0; i < CONTAINMENTS_MAX; i++)
                if (e->containments[i].cgroup_id != 0 && e->containments[i].pending_action == o->action_id)
                        c = &e->containments[i];
        if (!c)
                return;
        c->pending_action = 0;
        if (o->result == OUTCOME_GONE || o->type == ACTION_KILL)
                tracks_bury(&e->tracks, o->cgroup_id, e->now, e->config.page_bytes);
        if (o->result == OUTCOME_DONE && c->memory_ends)
                c->memory = c->memory_written = false;
        if (o->result == OUTCOME_DONE && c->caps_end)
                c->n_caps = 0;
        c->memory_ends = c->caps_end = false;
        enter(e, c, &(IncidentEntry) {
                .type = ENTRY_OUTCOME, .step = c->step, .action = o->type, .result = o->result, .error = o->error,
                .action_id = o->action_id, .before = o->before, .after = o->after });

        switch (o->result) {
        case OUTCOME_DONE:
                c->failures = 0;
                if (o->type == ACTION_SET_MEMORY_HIGH) {
                        c->written = c->level = o->after;
                        c->memory_written = c->memory;
                }
                for (size_t k = 0; k < c->n_caps && is_about_io(o); k++)
                        c->caps[k].written = c->caps[k].level;
                if (o->type == ACTION_KILL)
                        c->killed = true;
                else if (o->type == ACTION_RESTORE)
                        containment_end(e, c, RESULT_RECOVERED, _VERDICT_MAX);
                return;
        case OUTCOME_GONE:
                /* A killed unit of a contained slice may be gone while the slice is not. */
                if (o->type == ACTION_KILL && c->kill_target != c->cgroup_id)
                        c->killed = true;
                else
                        containment_end(e, c, RESULT_GONE, _VERDICT_MAX);
                return;
        case OUTCOME_DRIFTED:
                containment_end(e, c, RESULT_NOT_ALLOWED, VERDICT_FOREIGN_LIMIT);
                return;
        case OUTCOME_FAILED:
        case OUTCOME_TIMEOUT:
        case _OUTCOME_RESULT_MAX:
                c->phase = PHASE_HELD;
                c->step_usec = c->cap_usec = e->now;
                c->level = c->written;
                c->failures++;
                capped = false;
                for (size_t k = 0; k < c->n_caps; k++) {
                        if (is_about_io(o))
                                c->caps[k].level = c->caps[k].written;
                        capped = capped || memcmp(c->caps[k].written.v, c->caps[k].original.v, sizeof(c->caps[k].written.v)) != 0;
                }
                /* A first step that could not be taken leaves nothing to undo; the incident looks again, and takes it anew. */
                if (is_about_io(o) && !capped)
                        c->n_caps = 0;
                if (o->type == ACTION_SET_MEMORY_HIGH && !c->memory_written)
                        c->memory = false;
                if ((!c->memory && c->n_caps == 0) || (o->type == ACTION_RESTORE && c->failures >= RESTORE_FAILURES_MAX))
                        containment_end(e, c, RESULT_NOT_ALLOWED, VERDICT_CULPRIT);
                return;
        }
}

void containment_gone(Engine *e, uint64_t cgroup_id) {
        Containment *c = containment_find(e, cgroup_id);

        /* With an action under way its outcome will tell. */
        if (c && c->pending_action == 0)
                containment_end(e, c, RESULT_GONE, _VERDICT_MAX);
}
