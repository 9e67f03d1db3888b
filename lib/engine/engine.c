/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Engine: one tick. What came is taken in, the alarms are judged, containments and incidents each take a step (contain.c, incident.c),
 * and then it is said when to look again, and at what. Left out on purpose: freezing (later). */

#include "base/macro.h"
#include "engine/state.h"

/* Two looks that are so far apart tell something for sure. */
#define CLOSE_USEC (TRACK_MIN_USEC + 10 * USEC_PER_MSEC)
/* Somebody stalled on memory: look closer for this long. */
#define STIR_USEC (2 * USEC_PER_SEC)
/* Stirring about io for so long without a pause and without an alarm is how it works; it is not listened to for the time after. */
#define IO_STIR_USEC (5 * USEC_PER_SEC)
#define IO_DEAF_USEC (60 * USEC_PER_SEC)
/* Sample cgroups already when memory would last less than this many times an alarm's threshold … */
#define FORECAST_HOT_USEC (6 * USEC_PER_SEC)
/* … and look at the host more often than the heartbeat below this. */
#define FORECAST_WATCH_USEC (120 * USEC_PER_SEC)

int engine_new(const EngineConfig *config, Engine **ret) {
        Engine *e = calloc(1, sizeof(Engine));

        if (!e)
                return -ENOMEM;
        if (tracks_init(&e->tracks) < 0) {
                free(e);
                return -ENOMEM;
        }
        e->config = *config;
        e->chronicle.next_id = MAX(config->first_incident_id, UINT64_C(1));
        e->next_action_id = 1;
        e->forecast = (Forecast) FORECAST_NONE;
        *ret = e;
        return 0;
}

Engine *engine_free(Engine *e) {
        if (e) {
                tracks_done(&e->tracks);
                free(e);
        }
        return NULL;
}

uint64_t intake_noise(const Engine *e) {
        /* A thousandth of the machine, at least a mebibyte: less cannot be why it is short of memory. */
        return MAX(e->forecast.total / 1024, UINT64_C(1) << 20);
}

static void policy_bind(Engine *e, const Policy *policy) {
        if (e->policy == policy)
                return;
        e->policy = policy;
        e->n_modes = 0;
        alarms_bind(e, policy);
        for (size_t k = 0; k < INCIDENTS_MAX; k++) {
                OpenIncident *o = &e->open[k];
                Incident *i = o->id ? chronicle_find(&e->chronicle, o->id) : NULL;

                if (!i)
                        continue;
                o->alarm = -1;
                if (!incident_acts_on(o, i->culprit_id) || !containment_find(e, i->culprit_id))
                        incident_end(e, o, i, i->result != RESULT_NONE ? i->result : RESULT_PASSED);
        }
}

static void sample_take(Engine *e, const Sample *s) {
        /* The recent window must not begin at the last heartbeat. */
        bool after_rest = e->now - e->cgroups_usec > 5 * HOT_USEC;

        e->sample = NULL;
        if (!s)
                return;
        e->samples++;
        e->look_usec = e->now;
        forecast_host(&e->forecast, s);
        /* What was not seen now will hardly be seen in a moment: the heartbeat goes by looks, not by what they found. */
        if (s->all) {
                e->heartbeat_usec = s->usec;
                e->look_at_all = false;
        }
        if (s->n_cgroups == 0)
                return;
        for (size_t k = 0; k < CONTAINMENTS_MAX; k++)
                if (e->containments[k].cgroup_id != 0 && e->containments[k].memory)
                        tracks_hold(&e->tracks, e->containments[k].cgroup_id);
        tracks_update(&e->tracks, s, after_rest, e->config.page_bytes);
        waits_update(&e->waits, s, after_rest);
        latencies_update(&e->latencies, s);
        if (after_rest)
                e->hot_since_usec = s->usec;
        e->cgroups_usec = s->usec;
        e->sample = s;
}

/* Two looks tell who it is, and one of them may have been before the alarm. Where looking began a moment before it, the window
 * since then will do, however close the last look was. */
static uint64_t looks_apart(const Engine *e, const Incident *i) {
        uint64_t hot_usec = e->now - e->hot_since_usec;

        if (i->state != INCIDENT_LOOKING || e->now - i->started_usec > 2 * HOT_USEC)
                return HOT_USEC;
        return e->look_usec < i->started_usec && hot_usec >= CLOSE_USEC && hot_usec <= 2 * HOT_USEC ? 0 : CLOSE_USEC;
}

/* When to look again, and at what: cost follows trouble. */
static void plan_next(Engine *e, Plan *plan) {
        uint64_t heartbeat = e->heartbeat_usec + e->config.heartbeat_usec, lasts = e->forecast.exhaustion_usec, limit_lasts;
        uint64_t next = MAX(heartbeat, e->now + 1), apart_usec = HOT_USEC;
        bool hot, listens = false;

        limit_lasts = USEC_INFINITY;
        for (size_t k = 0; k < e->n_alarms; k++)
                limit_lasts = MIN(limit_lasts, e->alarms[k].forecast.exhaustion_usec);
        lasts = MIN(lasts, limit_lasts);
        hot = containments_any(e) || e->stir_until_usec > e->now || lasts < FORECAST_HOT_USEC;

        for (size_t k = 0; k < INCIDENTS_MAX; k++) {
                const OpenIncident *o = &e->open[k];
                const Incident *i = o->id ? chronicle_find(&e->chronicle, o->id) : NULL;

                if (!i)
                        continue;
                if (i->state == INCIDENT_QUIET) {
                        next = MIN(next, o->calm_usec ? o->calm_usec + CALM_USEC : o->recheck_usec);
                        listens = listens || incident_listens(e, o);
                } else
                        hot = true;
                apart_usec = MIN(apart_usec, looks_apart(e, i));
        }
        /* An alarm that holds but must last first (LastingSec=). */
        for (size_t k = 0; k < e->n_alarms; k++)
                if (e->alarms[k].since_usec != 0 && !e->alarms[k].raised)
                        hot = true;
        /* Counted from the last look, so that events in between neither delay nor multiply samples; after
         * rest that is at once. */
        if (hot)
                next = MIN(next, MAX(e->now, e->look_usec + (e->look_at_all ? CLOSE_USEC : apart_usec)));
        else if (lasts < FORECAST_WATCH_USEC)
                next = MIN(next, e->now + CLAMP(lasts / 10, HOT_USEC, e->config.heartbeat_usec));

        if (listens)
                next = MIN(next, MAX(e->now + 1, e->look_usec + LISTEN_USEC));

        plan->next_usec = next;
        plan->trouble = hot || limit_lasts < FORECAST_WATCH_USEC;
        plan->sample_cgroups = plan->trouble || listens;
        plan->sample_all = e->look_at_all || heartbeat <= plan->next_usec;
}

/* A service that works its disk hard stirs all the time and never calls for help: it must not be watched closely for
 * ever. One that only did so for a while, when it was started, is listened to again. */
static void io_stir(Engine *e) {
        if (e->now - e->io_stir_usec > STIR_USEC || e->now - e->io_stir_since_usec > IO_STIR_USEC + IO_DEAF_USEC)
                e->io_stir_since_usec = e->now;
        e->io_stir_usec = e->now;
        if (e->now - e->io_stir_since_usec <= IO_STIR_USEC)
                e->stir_until_usec = MAX(e->stir_until_usec, e->now + STIR_USEC);
}

void engine_step(Engine *e, const Policy *policy, const EngineInput *input, Plan *ret_plan) {
        *ret_plan = (Plan) {};
        e->now = input->now_usec;
        e->chronicle.n_news = 0;

        policy_bind(e, policy);
        for (size_t i = 0; i < input->n_outcomes; i++)
                containment_outcome(e, &input->outcomes[i]);
        /* Before the sample, which forgets who is gone. */
        for (size_t i = 0; i < input->n_events; i++)
                if (input->events[i].type == EVENT_CGROUP_GONE)
                        tracks_bury(&e->tracks, input->events[i].cgroup_id, e->now, e->config.page_bytes);
        sample_take(e, input->sample);
        for (size_t i = 0; i < input->n_events; i++) {
                const Event *ev = &input->events[i];

                switch (ev->type) {
                case EVENT_PRESSURE:
                        alarms_event(e, ev->domain, ev->alarm, ev->condition, ev->usec);
                        break;
                case EVENT_STIR:
                case EVENT_OOM:
                        e->stir_until_usec = e->now + STIR_USEC;
                        break;
                case EVENT_IO_STIR:
                        io_stir(e);
                        break;
                case EVENT_CGROUP_GONE:
                        containment_gone(e, ev->cgroup_id);
                        break;
                case EVENT_RELOADED:    /* act writes again what systemd reset */
                case _EVENT_TYPE_MAX:
                        break;
                }
        }

        alarms_update(e, input);
        containments_step(e, ret_plan);
        for (size_t i = 0; i < e->n_alarms; i++)
                if (e->alarms[i].raised && e->alarms[i].incident_id == 0)
                        incident_open(e, i);
        for (size_t i = 0; i < INCIDENTS_MAX; i++)
                if (e->open[i].id != 0)
                        incident_step(e, ret_plan, &e->open[i]);
        plan_next(e, ret_plan);
}

int engine_adopt(Engine *e, uint64_t now_usec, const Lease *l, const char *path) {
        Containment *c = containment_free(e);
        OpenIncident *o = NULL;
        Incident *i;

        for (size_t k = 0; k < INCIDENTS_MAX && !o; k++)
                if (e->open[k].id == 0)
                        o = &e->open[k];
        if (!c || !o || strlen(path) >= sizeof(c->path) || containment_find(e, l->cgroup_id))
                return -ENOSPC;
        e->now = now_usec;
        e->chronicle.n_news = 0;
        i = chronicle_open(&e->chronicle, now_usec);
        if (!i)
                return -ENOSPC;

        *o = (OpenIncident) { .id = i->id, .alarm = -1, .acts_on = l->cgroup_id, .mark_usec = now_usec };
        *c = (Containment) {
                .cgroup_id = l->cgroup_id, .incident_id = i->id, .step = l->step, .memory = !l->io_only, .memory_written = !l->io_only,
                .original = l->original, .level = l->value, .written = l->value,
                .swap_original = l->swap_original,
                .swap_level = l->swap_value,
                .step_usec = now_usec, .evidence_usec = now_usec, .rise_wait_usec = CALM_USEC,
                .n_caps = l->n_io,
                .cap_usec = now_usec, .cap_evidence_usec = now_usec, .cap_binds_usec = now_usec, .cap_wait_usec = CALM_USEC,
        };
        for (size_t k = 0; k < l->n_io; k++)
                c->caps[k] = (DeviceCap) { .original = l->io[k].original, .level = l->io[k].value, .written = l->io[k].value,
                                           .lower = l->io[k].value };
        strcpy(c->path, path);
        i->state = INCIDENT_LIFTING;
        i->culprit_id = l->cgroup_id;
        path_shown(i->culprit, path);
        (void) strcpy(i->alarm, "adopted");
        (void) strcpy(i->condition, "lease found at start");
        chronicle_enter(&e->chronicle, i, &(IncidentEntry) {
                .usec = e->now, .type = ENTRY_ALARM, .step = l->step, .cgroup_id = i->culprit_id, .before = l->original, .after = l->value });
        return 0;
}

int engine_set_mode(Engine *e, const Policy *policy, const char *domain, Mode mode) {
        const Domain *d = policy_find(policy, domain);
        size_t k = 0;

        if (!d || !d->contain.present || strlen(domain) >= DOMAIN_NAME_MAX)
                return -ENOENT;
        while (k < e->n_modes && !streq(e->modes[k].domain, domain))
                k++;
        if (k == POLICY_DOMAINS_MAX)
                return -ENOSPC;
        if (mode == _MODE_MAX) {
                if (k < e->n_modes)
                        e->modes[k] = e->modes[--e->n_modes];
                return 0;
        }
        e->modes[k].mode = mode;
        if (k == e->n_modes) {
                strcpy(e->modes[k].domain, domain);
                e->n_modes++;
        }
        return 0;
}

Mode engine_mode(const Engine *e, const Domain *domain) {
        for (size_t k = 0; k < e->n_modes; k++)
                if (streq(e->modes[k].domain, domain->name))
                        return e->modes[k].mode;
        return domain->contain.mode;
}

const Incident *engine_incident(const Engine *e, size_t i) {
        return chronicle_at(&e->chronicle, i);
}

const Incident *engine_incident_by_id(const Engine *e, uint64_t id) {
        return chronicle_find((Chronicle *) &e->chronicle, id);
}

size_t engine_news(const Engine *e, const News **ret) {
        *ret = e->chronicle.news;
        return e->chronicle.n_news;
}

void engine_status(const Engine *e, EngineStatus *ret) {
        *ret = (EngineStatus) { .exhaustion_usec = e->forecast.exhaustion_usec, .samples = e->samples,
                                .rows_dropped = e->tracks.dropped };
        for (size_t k = 0; k < INCIDENTS_MAX; k++)
                ret->open_incidents += e->open[k].id != 0;
        for (size_t k = 0; k < CONTAINMENTS_MAX; k++)
                ret->contained += e->containments[k].cgroup_id != 0;
}
