/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A made-up engine and manager: three domains and one that is left out, an incident, a lease, who waited for whom. */

#include "base/test.h"
#include "base/units.h"
#include "serve/test-world.h"

static char file_workload[] = "/usr/lib/cgd/policies/workload.policy";
static char file_sideload[] = "/usr/lib/cgd/policies/sideload.policy";
static char *files_workload[] = { file_workload,
                                  (char *) "/etc/cgd/policies/workload.policy.d/10-local.conf", NULL };
static char *files_sideload[] = { file_sideload, NULL };

static Condition conditions[] = {
        { .type = CONDITION_MEMORY_PRESSURE,
          .threshold_permyriad = 1000,
          .window_usec = USEC_PER_SEC,
          .active = true,
          .text = (char *) "MemoryPressureAbove=some 10% over 1s",
          .span = { file_workload, 24, 1 } },
        { .type = CONDITION_IO_PRESSURE,
          .threshold_permyriad = 3000,
          .window_usec = USEC_PER_SEC,
          .active = false,
          .text = (char *) "IOPressureAbove=some 30% over 1s",
          .span = { file_workload, 26, 1 } },
};
static Alarm alarms[] = {
        { .name = (char *) "memory", .conditions = &conditions[0], .n_conditions = 1 },
        { .name = (char *) "io", .conditions = &conditions[1], .n_conditions = 1 },
};
static Resource resources[] = {
        { .key = "MemoryLow", .value = (char *) "40%" },
        { .key = "IOWeight", .value = (char *) "500" },
};
static Domain domains[] = {
        { .name = (char *) "sideload",
          .description = (char *) "Batch work",
          .slice = (char *) "sideload.slice",
          .cgroup = (char *) "/sideload.slice",
          .rank = 100,
          .blame_share_min_permyriad = 5000,
          .contain = { .present = true,
                       .mode = MODE_ENFORCE,
                       .mode_span = { file_sideload, 12, 1 },
                       .steps = { [STEP_HOLD] = true, [STEP_SQUEEZE] = true, [STEP_KILL] = true },
                       .step_usec = 500 * USEC_PER_MSEC,
                       .kill_budget = 3,
                       .kill_budget_usec = 600 * USEC_PER_SEC },
          .files = files_sideload },
        { .name = (char *) "workload",
          .description = (char *) "Services that people wait for",
          .slice = (char *) "workload.slice",
          .cgroup = (char *) "/workload.slice",
          .rank = 500,
          .blame_share_min_permyriad = 5000,
          .resources = resources,
          .n_resources = ARRAY_SIZE(resources),
          .alarms = alarms,
          .n_alarms = ARRAY_SIZE(alarms),
          .contain = { .present = true,
                       .mode = MODE_CONTAIN,
                       .mode_span = { file_workload, 30, 1 },
                       .steps = { [STEP_HOLD] = true } },
          .files = files_workload },
        { .name = (char *) "system",
          .slice = (char *) "system.slice",
          .cgroup = (char *) "/system.slice",
          .rank = 600 },
        { .name = (char *) "faulty",
          .slice = (char *) "faulty.slice",
          .cgroup = (char *) "/faulty.slice",
          .left_out = true },
};
static Policy policy = { domains, ARRAY_SIZE(domains) };

#define T0 (UINT64_C(100) * USEC_PER_SEC)
static const Incident incidents[] = {
        { .id = 8, .state = INCIDENT_CONTAINING, .domain = "workload", .alarm = "memory",
          .condition = "MemoryPressureAbove=some 10% over "
                       "1s", .file = "/usr/lib/cgd/policies/workload.policy", .line = 24,
          .measured = 1830, .threshold = 1000, .started_usec = T0, .first_step_usec = T0 + 12000,
          .window_usec = 2 * USEC_PER_SEC, .whole_bytes = 512 << 20, .culprit_id = 42,
          .culprit = "/sideload.slice/hog\x1b[31m.service", .culprit_domain = "sideload",
          .contract_file = "/usr/lib/cgd/policies/sideload.policy", .contract_line = 12,
          .candidates = {
                  { 42, "/sideload.slice/hog\x1b[31m.service", 467 << 20, 9121, VERDICT_CULPRIT },
                  { 43, "/workload.slice/web.service", 21 << 20, 410, VERDICT_SMALL_SHARE },
          },
          .n_candidates = 2,
          .entries = {
                  { .usec = T0, .type = ENTRY_ALARM, .before = 1830, .after = 1000 },
                  { .usec = T0 + 12000, .type = ENTRY_ACTION, .step = STEP_HOLD,
                                  .action = ACTION_SET_MEMORY_HIGH,
                    .action_id = 1, .cgroup_id = 42, .before = LIMIT_MAX, .after = 642252800 },
                  { .usec = T0 + 13100, .type = ENTRY_OUTCOME, .step = STEP_HOLD,
                                  .action = ACTION_SET_MEMORY_HIGH,
                    .action_id = 1, .cgroup_id = 42, .before = LIMIT_MAX, .after = 642252800 },
          },
          .n_entries = 3 },
        { .id = 7, .state = INCIDENT_OVER, .result = RESULT_PASSED, .domain = "workload", .alarm = "memory",
          .condition = "MemoryPressureAbove=some 10% over 1s", .started_usec = T0 - 50 * USEC_PER_SEC,
          .ended_usec = T0 - 48 * USEC_PER_SEC },
};

static const Lease leases[] = {
        { .cgroup_id = 42,
          .incident_id = 8,
          .step = STEP_HOLD,
          .original = LIMIT_MAX,
          .value = 642252800,
          .taken_usec = T0 + 12000,
          .expires_usec = T0 + 15 * USEC_PER_SEC,
          .path = "/sideload.slice/hog\x1b[31m.service" },
};

/* The made-up engine. */
const Incident *engine_incident(_unused_ const Engine *e, size_t i) {
        return i < ARRAY_SIZE(incidents) ? &incidents[i] : NULL;
}

const Incident *engine_incident_by_id(_unused_ const Engine *e, uint64_t id) {
        for (size_t i = 0; i < ARRAY_SIZE(incidents); i++)
                if (incidents[i].id == id)
                        return &incidents[i];
        return NULL;
}

Mode engine_mode(_unused_ const Engine *e, const Domain *d) {
        return d->contain.mode;
}

void engine_status(_unused_ const Engine *e, EngineStatus *ret) {
        *ret = (EngineStatus){
                .open_incidents = 1, .contained = 1, .exhaustion_usec = USEC_INFINITY, .samples = 123
        };
}

/* The made-up manager. */
static const Policy *op_policy(_unused_ void *u) {
        return &policy;
}

static const Engine *op_engine(_unused_ void *u) {
        return (const Engine *) 1;
}

static const Lease *op_lease(_unused_ void *u, size_t i) {
        return i < ARRAY_SIZE(leases) ? &leases[i] : NULL;
}

static void op_info(_unused_ void *u, ServerInfo *ret) {
        *ret = (ServerInfo){
                .now_usec = T0 + USEC_PER_SEC,
                .realtime_offset_usec = INT64_C(1795341600) * 1000000,
                .started_usec = 40 * USEC_PER_SEC,
                .loaded_usec = 40 * USEC_PER_SEC,
                .heartbeat_usec = 10 * USEC_PER_SEC,
                .psi = "full",
                .bus = true,
        };
}

unsigned world_n_waits;

static bool op_wait(_unused_ void *u, size_t i, uint64_t since_usec, ServerWait *ret) {
        static const ServerWait waits[] = {
                { "/workload.slice/web.service", "/sideload.slice/hog\x1b[31m.service", 2400000 },
                { "/workload.slice/web.service", "/", 300000 },
                { "/workload.slice/web.service", "/workload.slice/web.service", 300000 },
                { "/sideload.slice", "/sideload.slice", 9960000 },
                { "/sideload.slice", "/workload.slice/web.service", 40000 },
        };

        world_n_waits++;
        /* All of it was in the last minute. */
        if (i >= ARRAY_SIZE(waits) || since_usec >= T0 + USEC_PER_SEC)
                return false;
        *ret = waits[i];
        return true;
}

static bool op_latency(_unused_ void *u, size_t i, ServerLatency *ret) {
        static const ServerLatency latencies[] = { {}, { "/workload.slice/web.service", 6120, 1151, 4608 } };

        if (i >= ARRAY_SIZE(latencies))
                return false;
        *ret = latencies[i];
        return true;
}

static int op_set_mode(_unused_ void *u, const char *domain, Mode mode) {
        for (size_t i = 0; i < policy.n_domains; i++)
                if (streq(domains[i].name, domain)) {
                        if (!domains[i].contain.present)
                                return -EINVAL;
                        domains[i].contain.mode = mode;
                        return 0;
                }
        return -ENOENT;
}

static int on_later(sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        sd_event_source_unref(source);
        server_request_done(userdata, 0, "3 domains; nothing would move");
        return 0;
}

static void op_reload(void *u, ServerRequest *q) {
        sd_event_source *source;

        assert_true(sd_event_add_time_relative(u, &source, CLOCK_MONOTONIC, 20000, 1000, on_later, q) >= 0);
}

static void op_place(_unused_ void *u, ServerRequest *q, const char *unit) {
        char text[256];

        if (streq(unit, "none.service")) {
                server_request_done(q, -ENOENT, "none.service: there is no such unit");
                return;
        }
        (void) snprintf(text, sizeof(text), "%s: restarted, now in workload.slice", unit);
        server_request_done(q, 0, text);
}

static void op_run(_unused_ void *u, ServerRequest *q, const ServerRun *run) {
        char text[256];

        (void) snprintf(text, sizeof(text), "%s-%s-%d-%s-%s-%s.scope", run->domain,
                        run->scope ? "scope" : "service", run->scope ? (int) (run->pid > 1) : (int) run->uid,
                        run->argv ? run->argv[0] : "", run->env ? run->env[0] : "", run->cwd);
        server_request_done(q, 0, text);
}

const ServerOps world_ops = {
        .policy = op_policy,
        .engine = op_engine,
        .lease = op_lease,
        .wait = op_wait,
        .latency = op_latency,
        .info = op_info,
        .set_mode = op_set_mode,
        .reload = op_reload,
        .place = op_place,
        .run = op_run,
        .release = op_place,
};
