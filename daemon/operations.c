/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the bus asks of the manager, and what it answers. */

#include <syslog.h>

#include "manager-internal.h"

static const Policy *op_policy(void *userdata) {
        return ((Manager *) userdata)->policy;
}

static const Engine *op_engine(void *userdata) {
        return ((Manager *) userdata)->engine;
}

static const Lease *op_lease(void *userdata, size_t i) {
        return actor_lease(((Manager *) userdata)->actor, i);
}

static void op_info(void *userdata, ServerInfo *ret) {
        Manager *m = userdata;
        SensorLevel l;

        sensor_level(m->sensor, &l);
        *ret = (ServerInfo) {
                .now_usec = now_usec(CLOCK_MONOTONIC),
                .realtime_offset_usec = (int64_t) (now_usec(CLOCK_REALTIME) - now_usec(CLOCK_MONOTONIC)),
                .started_usec = m->started_usec,
                .loaded_usec = m->loaded_usec,
                .heartbeat_usec = m->config.heartbeat_usec,
                .events_dropped = m->events_dropped,
                .psi = psi_state_to_string(sensor_psi_state(m->sensor)),
                .level = l.level,
                .level_reason = l.reason,
                .walk_usec = l.cost_usec,
                .walk_longest_usec = l.longest_usec,
                .walk_cgroups = l.cgroups,
                .walk_bytes = l.bytes,
                .exec = l.exec,
                .exec_reason = l.exec_reason,
                .watch = l.watch,
                .watch_reason = l.watch_reason,
                .watch_woken = l.watch_woken,
                .oom_kills = l.oom_kills,
                .credit = l.credit,
                .credit_reason = l.credit_reason,
                .credit_lost = l.credit_lost,
                .credit_bytes = l.credit_bytes,
                .bus = m->bus && sd_bus_is_ready(m->bus) > 0,
                .refused = m->refused,
                .left_out = m->left_out,
        };
}

static int op_set_mode(void *userdata, const char *domain, Mode mode) {
        Manager *m = userdata;
        const Domain *d = policy_find(m->policy, domain);
        int r;

        if (!d)
                return -ENOENT;
        if (!d->contain.present)
                return -EINVAL;
        r = engine_set_mode(m->engine, m->policy, domain, mode);
        if (r < 0)
                return r;
        manager_recheck_kill(m);
        journal_say(m->journal, MESSAGE_MODE_SET, LOG_NOTICE, "%s: mode is now %s, by an operator.", domain,
                    mode_to_string(engine_mode(m->engine, d)));
        m->plan.next_usec = 0;          /* what the new mode no longer allows is given back now */
        m->plan.sample_cgroups = true;
        manager_wake(m);
        return 0;
}

static void op_reload(void *userdata, ServerRequest *request) {
        manager_reload(userdata, request);
}

static void on_placed(int r, const char *message, void *userdata) {
        server_request_done(userdata, r, message);
}

static void placed(ServerRequest *request, int r) {
        if (r < 0)
                server_request_done(request, r, r == -ENOTCONN ? "the system bus is not connected; see 'cgctl status'" : NULL);
}

static void op_place(void *userdata, ServerRequest *request, const char *unit) {
        placed(request, place_unit(((Manager *) userdata)->placer, unit, on_placed, request));
}

static void op_release(void *userdata, ServerRequest *request, const char *unit) {
        placed(request, place_release(((Manager *) userdata)->placer, unit, on_placed, request));
}

static void op_run(void *userdata, ServerRequest *request, const ServerRun *run) {
        uint32_t pid = (uint32_t) run->pid;
        PlaceRun p = {
                .domain = run->domain,
                .argv = run->argv,
                .environment = run->env,
                .directory = run->cwd && *run->cwd ? run->cwd : NULL,
                .uid = run->uid,
                .gid = run->gid,
                .pids = run->scope ? &pid : NULL,
                .n_pids = run->scope ? 1 : 0,
        };
        int r = place_run(((Manager *) userdata)->placer, &p, on_placed, request);

        if (r == -ENOENT)
                server_request_done(request, r, "no such domain; 'cgctl domains' lists them");
        else
                placed(request, r);
}

static bool op_wait(void *userdata, size_t i, uint64_t since_usec, ServerWait *ret) {
        return ledger_pair(&((Manager *) userdata)->ledger, i, since_usec, &ret->victim, &ret->culprit, &ret->usec);
}

static bool op_latency(void *userdata, size_t i, ServerLatency *ret) {
        *ret = (ServerLatency) {};
        (void) ledger_latency(&((Manager *) userdata)->ledger, i, &ret->cgroup, &ret->requests, &ret->p50_usec, &ret->p99_usec);
        if (ret->requests == 0)
                ret->cgroup = NULL;
        return i < IO_SLOTS;
}

const ServerOps manager_operations = {
        .policy = op_policy,
        .engine = op_engine,
        .lease = op_lease,
        .info = op_info,
        .wait = op_wait,
        .latency = op_latency,
        .set_mode = op_set_mode,
        .reload = op_reload,
        .place = op_place,
        .run = op_run,
        .release = op_release,
};
