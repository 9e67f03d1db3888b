/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bus face with a made-up engine behind it: who is let in, what comes back, what a full house does.
 * The server runs in a child process, as in life; the parent is its caller. With `--serve SOCKET` it is a
 * stand-in for the daemon, for trying cgctl by hand and for tests/golden. */

#include <jansson.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/test.h"
#include "base/units.h"
#include "serve/json.h"
#include "serve/server.h"

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

static unsigned n_waits;

static bool op_wait(_unused_ void *u, size_t i, uint64_t since_usec, ServerWait *ret) {
        static const ServerWait waits[] = {
                { "/workload.slice/web.service", "/sideload.slice/hog\x1b[31m.service", 2400000 },
                { "/workload.slice/web.service", "/", 300000 },
                { "/workload.slice/web.service", "/workload.slice/web.service", 300000 },
                { "/sideload.slice", "/sideload.slice", 9960000 },
                { "/sideload.slice", "/workload.slice/web.service", 40000 },
        };

        n_waits++;
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

static const ServerOps ops = {
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

/* The allocation that fails; 0: none does. */
static unsigned n_asked, fails;

static bool refused(void) {
        return ++n_asked == fails;
}

#define WRAP(type, name, parameters, arguments)                                 \
        type __real_##name parameters;                                          \
        type __wrap_##name parameters;                                          \
        type __wrap_##name parameters {                                         \
                return refused() ? NULL : __real_##name arguments;              \
        }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))

static json_t *document(unsigned which) {
        ServerInfo info = {};

        op_info(NULL, &info);
        switch (which) {
        case 0:
                return json_status(&ops, NULL);
        case 1:
                return json_domains(op_policy(NULL), op_engine(NULL));
        case 2:
                return json_incidents(op_engine(NULL), &info, 0);
        case 3:
                return json_incident(engine_incident(op_engine(NULL), 0), &info, op_policy(NULL), false);
        case 4:
                return json_blame(&ops, NULL, 0);
        default:
                return NULL;
        }
}

/* A document that there is no memory for is refused: without a part it would read like a whole one. */
static void test_all_or_nothing(_unused_ void **state) {
        json_init();
        for (unsigned which = 0; which < 5; which++) {
                _cleanup_free_ char *whole = NULL;
                unsigned n;

                n_asked = fails = 0;
                assert_int_equal(json_finish(document(which), &whole), 0);
                n = n_asked;
                assert_true(n > 10);
                for (unsigned k = 1; k <= n; k++) {
                        _cleanup_free_ char *text = NULL;
                        int r;

                        n_asked = 0;
                        fails = k;
                        r = json_finish(document(which), &text);
                        fails = 0;
                        if (r != -ENOMEM && !streq(text, whole))
                                print_error("document %u, allocation %u: %s\n", which, k, text);
                        assert_true(r == -ENOMEM || streq(text, whole));
                }
        }
}

static int on_tell(sd_event_source *source, _unused_ uint64_t usec, void *userdata) {
        server_incident_changed(userdata, 8, "step");
        (void) sd_event_source_set_time_relative(source, 50000);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* A stand-in for polkit, as its D-Bus interface says: (sa{sv}) action details flags id -> (bba{ss}). What it
 * answers is TEST_POLKIT: yes, no, challenge or silent. */
static int on_check(sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *e) {
        const char *answer = getenv("TEST_POLKIT"), *kind, *key, *name, *action;
        uint32_t flags;
        int r;

        if ((r = sd_bus_message_enter_container(m, 'r', "sa{sv}")) < 0 || (r = sd_bus_message_read(m, "s",
                        &kind)) < 0 ||
            (r = sd_bus_message_enter_container(m, 'a', "{sv}")) < 0 ||
            (r = sd_bus_message_read(m, "{sv}", &key, "s", &name)) < 0 ||
                            (r = sd_bus_message_exit_container(m)) < 0 ||
            (r = sd_bus_message_exit_container(m)) < 0 || (r = sd_bus_message_read(m, "s", &action)) < 0 ||
            (r = sd_bus_message_skip(m, "a{ss}")) < 0 || (r = sd_bus_message_read(m, "us", &flags,
                            NULL)) < 0)
                return r;
        if (!streq(kind, "system-bus-name") || !streq(key, "name") || name[0] != ':' || !startswith(action,
                        "org.cgd1."))
                return -EINVAL;
        if (streq(answer, "silent"))
                return 1;
        return sd_bus_reply_method_return(m, "(bba{ss})", streq(answer, "yes"), streq(answer, "challenge"),
                        0);
}

static const sd_bus_vtable polkit_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END
};

static int serve(const char *path, int ready) {
        _cleanup_(server_freep) Server *s = NULL;
        sd_event *event = NULL;
        int r;

        if ((r = sd_event_new(&event)) < 0 || (r = server_new(event, &ops, event, &s)) < 0 ||
            (r = server_listen(s, path)) < 0 ||
            (r = sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, 50000, 1000, on_tell, s)) < 0)
                return r;
        if (getenv("TEST_SYSTEM_BUS")) {
                sd_bus *bus = NULL;

                if ((r = sd_bus_open_system(&bus)) < 0 || (r = sd_bus_attach_event(bus, event, 0)) < 0 ||
                    (r = server_attach_system_bus(s, bus)) < 0)
                        return r;
                if (getenv("TEST_POLKIT") &&
                    ((r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
                                                   "org.freedesktop.PolicyKit1.Authority", polkit_vtable,
                                                                   NULL)) < 0 ||
                     (r = sd_bus_request_name(bus, "org.freedesktop.PolicyKit1", 0)) < 0))
                        return r;
        }
        if (ready >= 0)
                (void) close(ready);
        return sd_event_loop(event);
}

typedef struct House {
        char path[64];
        pid_t pid;
        sd_bus *bus;
} House;

static sd_bus *house_connect(House *h) {
        char address[128];
        sd_bus *bus = NULL;

        (void) snprintf(address, sizeof(address), "unix:path=%s", h->path);
        assert_true(sd_bus_new(&bus) >= 0);
        assert_true(sd_bus_set_address(bus, address) >= 0);
        assert_true(sd_bus_start(bus) >= 0);
        return bus;
}

static int setup(void **state) {
        House *h = calloc(1, sizeof(*h));
        int fds[2];
        char c;

        assert_non_null(h);
        assert_int_equal(pipe(fds), 0);
        (void) snprintf(h->path, sizeof(h->path), "/tmp/cgd-test-%d.socket", (int) getpid());
        h->pid = fork();
        assert_true(h->pid >= 0);
        if (h->pid == 0) {
                (void) close(fds[0]);
                _exit(serve(h->path, fds[1]) < 0);
        }
        (void) close(fds[1]);
        (void) !read(fds[0], &c, 1);
        (void) close(fds[0]);
        h->bus = house_connect(h);
        *state = h;
        return 0;
}

static int teardown(void **state) {
        House *h = *state;

        sd_bus_flush_close_unref(h->bus);
        (void) kill(h->pid, SIGKILL);
        (void) waitpid(h->pid, NULL, 0);
        (void) unlink(h->path);
        free(h);
        return 0;
}

static json_t *call_json(House *h, const char *member, const char *types, uint64_t arg) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *text;
        json_t *j;
        int r;

        if (!*types)
                r = sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, member, &error,
                                       &reply, "");
        else if (*types == 'u')
                r = sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, member, &error,
                                       &reply, "u", (uint32_t) arg);
        else
                r = sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, member, &error,
                                       &reply, "t", arg);
        if (r < 0)
                fail_msg("%s: %s", member, error.message);
        assert_true(sd_bus_message_read(reply, "s", &text) > 0);
        j = json_loads(text, 0, NULL);
        assert_non_null(j);
        return j;
}

static void test_status(void **state) {
        json_t *j = call_json(*state, "GetStatus", "", 0), *first;

        assert_int_equal(json_array_size(json_object_get(j, "incidents")), 1);
        assert_int_equal(json_array_size(json_object_get(j, "io_latency")), 1);
        assert_int_equal(json_array_size(json_object_get(j, "contained")), 1);
        assert_true(json_is_null(json_object_get(j, "exhaustion_usec")));
        assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "last_incident"), "id")), 7);
        first = json_array_get(json_object_get(j, "contained"), 0);
        assert_true(json_is_null(json_object_get(first, "memory_high_before")));
        assert_string_equal(json_string_value(json_object_get(first, "domain")), "sideload");
        /* Terminal sequences do not come through. */
        assert_string_equal(json_string_value(json_object_get(first, "cgroup")),
                            "/sideload.slice/hog\\x1b[31m.service");
        assert_int_equal(json_array_size(json_object_get(json_object_get(j, "policy"), "directories")), 2);
        json_decref(j);
}

static void test_domains(void **state) {
        json_t *j = call_json(*state, "ListDomains", "", 0), *workload, *list;

        assert_int_equal(json_array_size(j), 4);
        workload = json_array_get(j, 1);
        list = json_object_get(workload, "alarms");
        assert_true(json_is_true(json_object_get(json_array_get(list, 0), "active")));
        assert_true(json_is_false(json_object_get(json_array_get(list, 1), "active")));
        assert_true(json_is_null(json_object_get(json_array_get(j, 2), "contain")));
        json_decref(j);
}

static void test_blame(void **state) {
        json_t *j = call_json(*state, "GetBlame", "t", UINT64_C(60) * USEC_PER_SEC), *row;

        /* Three measured pairs, and what an incident says. */
        assert_int_equal(json_array_size(j), 4);
        row = json_array_get(j, 0);
        assert_string_equal(json_string_value(json_object_get(row, "confidence")), "measured");
        assert_int_equal(json_integer_value(json_object_get(row, "share_permyriad")), 8000);
        row = json_array_get(j, 3);
        assert_string_equal(json_string_value(json_object_get(row, "resource")), "memory");
        assert_string_equal(json_string_value(json_object_get(row, "victim")), "workload");
        assert_int_equal(json_integer_value(json_object_get(row, "incidents")), 1);
        assert_int_equal(json_integer_value(json_object_get(row, "share_permyriad")), 9121);
        assert_true(json_is_null(json_object_get(row, "waited_usec")));
        json_decref(j);
}

/* To find a pair is a search, on the loop, and anybody may ask: each is looked for once. */
static void test_blame_cost(_unused_ void **state) {
        json_t *j;

        n_waits = 0;
        j = json_blame(&ops, NULL, 0);
        assert_int_equal(json_array_size(j), 4);
        assert_int_equal(n_waits, 6);
        json_decref(j);
}

static void test_incidents(void **state) {
        json_t *j = call_json(*state, "ListIncidents", "u", 0);

        assert_int_equal(json_array_size(j), 2);
        json_decref(j);
        j = call_json(*state, "ListIncidents", "u", 1);
        assert_int_equal(json_array_size(j), 1);
        assert_string_equal(json_string_value(json_object_get(json_array_get(j, 0), "step")), "hold");
        json_decref(j);
        j = call_json(*state, "GetIncident", "t", 0);
        assert_int_equal(json_integer_value(json_object_get(j, "id")), 8);
        assert_string_equal(json_string_value(json_object_get(json_object_get(j, "started"), "time")),
                            "2026-11-22T10:01:40.000000Z");
        assert_int_equal(json_array_size(json_object_get(j, "candidates")), 2);
        assert_int_equal(json_integer_value(json_object_get(j, "culprit_rank")), 100);
        json_decref(j);
        /* What is not known is null, and there. */
        j = call_json(*state, "GetIncident", "t", 7);
        assert_int_equal(json_integer_value(json_object_get(j, "rank")), 500);
        assert_true(json_is_null(json_object_get(j, "culprit_rank")));
        json_decref(j);
}

/* Calls with up to two strings; the error's name, or NULL. */
static char *call_error(House *h, const char *member, const char *a, const char *b) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char *name = NULL;

        assert_true(sd_bus_message_new_method_call(h->bus, &m, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                                   member) >= 0);
        assert_true(sd_bus_message_append(m, "s", a) >= 0);
        if (b)
                assert_true(sd_bus_message_append(m, "s", b) >= 0);
        if (sd_bus_call(h->bus, m, 0, &error, &reply) < 0)
                name = strdup(error.name);
        sd_bus_error_free(&error);
        return name;
}

static void expect_error(House *h, const char *member, const char *a, const char *b, const char *expected) {
        _cleanup_free_ char *name = call_error(h, member, a, b);

        if (!expected)
                assert_null(name);
        else {
                assert_non_null(name);
                assert_string_equal(name, expected);
        }
}

static void test_changes(void **state) {
        House *h = *state;

        expect_error(h, "SetMode", "sideload", "monitor", NULL);
        expect_error(h, "SetMode", "sideload", "policy", NULL);
        expect_error(h, "SetMode", "sideload", "fierce", CGD_ERROR_REFUSED);
        expect_error(h, "SetMode", "nobody", "off", CGD_ERROR_NOT_FOUND);
        expect_error(h, "SetMode", "system", "off", CGD_ERROR_REFUSED);
        expect_error(h, "PlaceUnit", "web.service", NULL, NULL);
        expect_error(h, "PlaceUnit", "none.service", NULL, CGD_ERROR_NOT_FOUND);
}

/* Its file may well have a [Contain], and resources. */
static void test_left_out(void **state) {
        House *h = *state;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "SetMode", &error, NULL, "ss", "faulty",
                                       "off") < 0);
        assert_non_null(strstr(error.message, "had a fault"));
        sd_bus_error_free(&error);
        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", &error, NULL, "sbasass", "faulty",
                                       1, 0, 0, "") < 0);
        assert_string_equal(error.name, CGD_ERROR_REFUSED);
        assert_non_null(strstr(error.message, "faulty: its policy had a fault"));
        sd_bus_error_free(&error);
}

static void test_answer_later(void **state) {
        House *h = *state;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *text;

        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Reload", NULL,
                                       &reply, "") >= 0);
        assert_true(sd_bus_message_read(reply, "s", &text) > 0);
        assert_string_equal(text, "3 domains; nothing would move");
}

static void test_run(void **state) {
        House *h = *state;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *service = NULL, *scope = NULL;
        const char *text;

        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", NULL,
                                       &service, "sbasass", "sideload", 0, 2, "/bin/sleep", "9", 1, "A=b",
                                       "/tmp") >= 0);
        assert_true(sd_bus_message_read(service, "s", &text) > 0);
        if (getuid() == 0)
                assert_string_equal(text, "sideload-service-0-/bin/sleep-A=b-/tmp.scope");
        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", NULL, &scope,
                                       "sbasass", "sideload", 1, 0, 0, "") >= 0);
        assert_true(sd_bus_message_read(scope, "s", &text) > 0);
        assert_string_equal(text, "sideload-scope-1---.scope");
        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", NULL, NULL,
                                       "sbasass", "sideload", 0, 1, "sleep", 0, "") < 0);
        assert_true(sd_bus_call_method(h->bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", NULL, NULL,
                                       "sbasass", "nobody", 0, 1, "/bin/sleep", 0, "") < 0);
}

static int on_signal(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        uint64_t id;
        const char *what;

        assert_true(sd_bus_message_read(m, "ts", &id, &what) > 0);
        assert_int_equal(id, 8);
        assert_string_equal(what, "step");
        *(bool *) userdata = true;
        return 0;
}

static void test_signal(void **state) {
        House *h = *state;
        bool seen = false;

        assert_true(sd_bus_match_signal(h->bus, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                        "IncidentChanged", on_signal, &seen) >= 0);
        for (int i = 0; i < 100 && !seen; i++) {
                (void) sd_bus_wait(h->bus, 100000);
                while (sd_bus_process(h->bus, NULL) > 0)
                        ;
        }
        assert_true(seen);
}

/* More peers than there is room for: the quietest makes room, the newest is served, nobody else suffers. */
static void test_many_peers(void **state) {
        House *h = *state;
        sd_bus *peers[PEERS_MAX + 8];

        for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
                peers[i] = house_connect(h);
                assert_true(sd_bus_call_method(peers[i], NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                               "GetStatus", NULL, NULL, "") >= 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
                sd_bus_close_unref(peers[i]);
}

/* A peer that asks and never reads is dropped; the next one is served all the same. */
static void test_slow_peer(void **state) {
        House *h = *state;
        sd_bus *slow = house_connect(h), *good;
        int r = 0;

        assert_true(sd_bus_call_method(slow, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "GetStatus", NULL,
                                       NULL, "") >= 0);
        for (int i = 0; i < 20000 && r >= 0; i++) {
                r = sd_bus_call_method_async(slow, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                             "ListDomains", NULL, NULL, "");
        }
        good = house_connect(h);
        assert_true(sd_bus_call_method(good, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "GetStatus", NULL,
                                       NULL, "") >= 0);
        sd_bus_close_unref(good);
        sd_bus_close_unref(slow);
}

/* Garbage instead of D-Bus, and a peer that only connects. */
static void test_garbage(void **state) {
        House *h = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int silent, loud;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", h->path);
        silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        loud = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(silent, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(connect(loud, (struct sockaddr *) &address, sizeof(address)), 0);
        for (int i = 0; i < 100; i++)
                (void) send(loud, "\0GARBAGE\xff\xfe\r\n", 12, MSG_NOSIGNAL);
        json_decref(call_json(h, "GetStatus", "", 0));
        (void) close(silent);
        (void) close(loud);
}

/* Neither root nor of the group: the kernel keeps them out already. */
static void test_stranger(void **state) {
        House *h = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct stat st;
        int status;
        pid_t pid;

        assert_int_equal(stat(h->path, &st), 0);
        assert_int_equal(st.st_mode & 0007, 0);
        if (getuid() != 0)
                skip();
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", h->path);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

                if (setgid(65534) < 0 || setuid(65534) < 0)
                        _exit(2);
                _exit(connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

/* To close what somebody passed may wait for ever for whoever serves its file system. */
static void test_no_descriptors(void **state) {
        House *h = *state;

        json_decref(call_json(h, "GetStatus", "", 0));
        assert_int_equal(sd_bus_can_send(h->bus, 's'), 1);
        assert_int_equal(sd_bus_can_send(h->bus, 'h'), 0);
}

/* The way out does not wait for a peer that says nothing. */
static void test_end_beside_silent_peer(_unused_ void **state) {
        _cleanup_(server_freep) Server *s = NULL;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        sd_event *event = NULL;
        int silent;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/cgd-test-%d.socket", (int) getpid());
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(server_new(event, &ops, event, &s), 0);
        assert_int_equal(server_listen(s, address.sun_path), 0);
        silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(silent, (struct sockaddr *) &address, sizeof(address)), 0);
        while (sd_event_run(event, 100 * USEC_PER_MSEC) > 0)
                ;
        assert_non_null(s->peers[0].bus);
        (void) alarm(10);
        assert_true(sd_event_exit(event, 0) >= 0);
        assert_int_equal(sd_event_loop(event), 0);
        (void) alarm(0);
        (void) close(silent);
        sd_event_unref(event);
}

/* A server in this process, with a bus where nobody ever says who calls, unless it is one that does. */
typedef struct Bus {
        char path[64];
        sd_event *event;
        Server *server;
        sd_bus *near, *far, *operator;
        unsigned answers, refused;      /* LimitsExceeded */
        bool says;
        char said[64];                  /* what was answered last */
} Bus;

static int on_answer(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        Bus *b = userdata;

        const char *text;

        b->answers++;
        b->refused += sd_bus_message_is_method_error(m, SD_BUS_ERROR_LIMITS_EXCEEDED) > 0;
        if (sd_bus_message_read(m, "s", &text) > 0)
                (void) snprintf(b->said, sizeof(b->said), "%s", text);
        return 1;
}

/* dbus-broker has a descriptor for whoever asks for credentials, and hangs up on who takes none. */
static int on_question(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        const Bus *b = userdata;

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", NULL) <= 0)
                return 0;
        if (b->says && sd_bus_message_is_method_call(m, NULL, "GetConnectionCredentials"))
                sd_bus_close(b->far);
        else if (b->says)
                assert_true(sd_bus_reply_method_return(m, "u", sd_bus_message_is_method_call(m, NULL, "GetConnectionUnixUser") ?
                                                               0U : 4711U) >= 0);
        return 1;
}

static int bus_setup(void **state) {
        Bus *b = calloc(1, sizeof(*b));
        char address[128];
        sd_id128_t id;
        int fds[2];

        assert_non_null(b);
        (void) snprintf(b->path, sizeof(b->path), "/tmp/cgd-test-%d.socket", (int) getpid());
        (void) snprintf(address, sizeof(address), "unix:path=%s", b->path);
        assert_true(sd_event_new(&b->event) >= 0);
        assert_int_equal(server_new(b->event, &ops, b->event, &b->server), 0);
        assert_int_equal(server_listen(b->server, b->path), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        assert_true(sd_id128_randomize(&id) >= 0);
        assert_true(sd_bus_new(&b->near) >= 0 && sd_bus_set_fd(b->near, fds[0], fds[0]) >= 0);
        assert_true(sd_bus_new(&b->far) >= 0 && sd_bus_set_fd(b->far, fds[1], fds[1]) >= 0);
        assert_true(sd_bus_set_server(b->far, true, id) >= 0 && sd_bus_set_anonymous(b->far, true) >= 0);
        assert_true(sd_bus_add_filter(b->far, NULL, on_question, b) >= 0);
        assert_true(sd_bus_new(&b->operator) >= 0 && sd_bus_set_address(b->operator, address) >= 0);
        assert_true(sd_bus_start(b->near) >= 0 && sd_bus_attach_event(b->near, b->event, 0) >= 0);
        assert_true(sd_bus_start(b->far) >= 0 && sd_bus_attach_event(b->far, b->event, 0) >= 0);
        assert_true(sd_bus_start(b->operator) >= 0 && sd_bus_attach_event(b->operator, b->event, 0) >= 0);
        assert_true(sd_bus_add_object_vtable(b->near, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, server_vtable, b->server) >= 0);
        *state = b;
        return 0;
}

static int bus_teardown(void **state) {
        Bus *b = *state;

        server_free(b->server);
        sd_bus_close_unref(b->operator);
        sd_bus_close_unref(b->near);
        sd_bus_close_unref(b->far);
        sd_event_unref(b->event);
        free(b);
        return 0;
}

static void bus_wait_ready(Bus *b) {
        for (int i = 0; i < 100 && sd_bus_is_ready(b->near) <= 0; i++)
                assert_true(sd_event_run(b->event, 10 * USEC_PER_MSEC) >= 0);
}

/* Until so many were answered since the last time; how many of them were refused. */
static unsigned bus_refused(Bus *b, unsigned answers) {
        unsigned refused;

        for (int i = 0; i < 2000 && b->answers < answers; i++)
                assert_true(sd_event_run(b->event, USEC_PER_MSEC) >= 0);
        assert_int_equal(b->answers, answers);
        refused = b->refused;
        b->answers = b->refused = 0;
        return refused;
}

/* The broker says who calls, and stays. */
static void test_who_calls(void **state) {
        Bus *b = *state;

        b->says = true;
        bus_wait_ready(b);
        assert_true(sd_bus_call_method_async(b->far, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", on_answer, b,
                                             "sbasass", "sideload", 1, 1, "/bin/true", 0, "/") >= 0);
        assert_int_equal(bus_refused(b, 1), 0);
        assert_string_equal(b->said, "sideload-scope-1-/bin/true--/.scope");
        assert_true(sd_bus_is_open(b->near) > 0);
}

/* As many as can wait do, for anybody: an operator is heard on his own socket. */
static void test_full_house(void **state) {
        Bus *b = *state;

        for (int i = 0; i < REQUESTS_MAX + 1; i++)
                assert_true(sd_bus_call_method_async(b->far, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "GetStatus",
                                                     on_answer, b, "") >= 0);
        assert_int_equal(bus_refused(b, 1), 1);
        assert_true(sd_bus_call_method_async(b->operator, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "GetStatus",
                                             on_answer, b, "") >= 0);
        assert_int_equal(bus_refused(b, 1), 0);
}

/* Who has not yet the right to call does not have a megabyte of his kept in locked memory. */
static void test_large_call(void **state) {
        _cleanup_free_ char *large = malloc((1 << 20) + 1);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *domain;
        Bus *b = *state;

        assert_non_null(large);
        memset(large, 'a', 1 << 20);
        large[1 << 20] = '\0';
        assert_true(sd_bus_call_method_async(b->far, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "PlaceUnit",
                                             on_answer, b, "s", large) >= 0);
        assert_int_equal(bus_refused(b, 1), 1);

        /* Many that are empty. */
        assert_true(sd_bus_message_new_method_call(b->far, &m, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run") >= 0);
        assert_true(sd_bus_message_append(m, "sb", "sideload", 0) >= 0 && sd_bus_message_open_container(m, 'a', "s") >= 0);
        for (int i = 0; i < 1 << 17; i++)
                assert_true(sd_bus_message_append(m, "s", "") >= 0);
        assert_true(sd_bus_message_close_container(m) >= 0 && sd_bus_message_append(m, "ass", 0, "/") >= 0);
        assert_true(sd_bus_call_async(b->far, NULL, m, on_answer, b, 0) >= 0);
        assert_int_equal(bus_refused(b, 1), 1);

        assert_true(sd_bus_call_method_async(b->far, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "Run", on_answer, b,
                                             "sbasass", "sideload", 0, 2, "/bin/sleep", "9", 1, "A=b", "/tmp") >= 0);
        assert_true(sd_bus_call_method_async(b->operator, NULL, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "PlaceUnit",
                                             on_answer, b, "s", large) >= 0);
        assert_int_equal(bus_refused(b, 1), 0);
        /* This one waits, and nothing of it has been read. */
        assert_int_equal(b->server->n_requests, 1);
        assert_true(sd_bus_message_read(b->server->requests->call, "s", &domain) > 0);
        assert_string_equal(domain, "sideload");
}

/* A broker that does not read, in an incident of hours: nothing piles up in locked memory. */
static void test_silent_broker(void **state) {
        uint64_t queued = 0;
        Bus *b = *state;

        bus_wait_ready(b);
        b->server->bus = sd_bus_ref(b->near);
        for (int i = 0; i < 50000; i++)
                server_incident_changed(b->server, 8, "step");
        assert_true(sd_bus_get_n_queued_write(b->near, &queued) >= 0);
        assert_in_range(queued, 1, QUEUE_MAX + 2);
        /* What it was not told is not taken for told. */
        b->server->told_open = 0;
        server_incident_changed(b->server, 8, "step");
        assert_int_equal(b->server->told_open, 0);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_status, setup, teardown),
                cmocka_unit_test_setup_teardown(test_domains, setup, teardown),
                cmocka_unit_test_setup_teardown(test_incidents, setup, teardown),
                cmocka_unit_test_setup_teardown(test_blame, setup, teardown),
                cmocka_unit_test(test_blame_cost),
                cmocka_unit_test(test_all_or_nothing),
                cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_left_out, setup, teardown),
                cmocka_unit_test_setup_teardown(test_answer_later, setup, teardown),
                cmocka_unit_test_setup_teardown(test_run, setup, teardown),
                cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_peers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_slow_peer, setup, teardown),
                cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stranger, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
                cmocka_unit_test(test_end_beside_silent_peer),
                cmocka_unit_test_setup_teardown(test_who_calls, bus_setup, bus_teardown),
                cmocka_unit_test_setup_teardown(test_full_house, bus_setup, bus_teardown),
                cmocka_unit_test_setup_teardown(test_large_call, bus_setup, bus_teardown),
                cmocka_unit_test_setup_teardown(test_silent_broker, bus_setup, bus_teardown),
        };

        if (argc == 3 && streq(argv[1], "--serve"))
                return serve(argv[2], -EBADF) < 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
