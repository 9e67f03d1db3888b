/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The manager on its way out, and beside a bus that is never quiet, on an empty hierarchy, with no policies and a systemd
 * of the test's own. */

#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "base/test-dir.h"
#include "manager-internal.h"
#include "serve/json.h"
#include "sys/policy-files.h"
#include "sys/small-file.h"
#include "sys/test-systemd.h"

static char dir[TEST_DIR_SIZE];
static sd_event *event;
static FakeSystemd fake;
static Manager *manager;
static struct {
        unsigned calls;
        int r;
} answer;
static const char *policy_text;

/* This machine's policies are none of the test's. */
int __wrap_policy_files_load(const PolicyPaths *paths, Diagnostics *d, PolicySources *ret);
int __wrap_policy_files_load(_unused_ const PolicyPaths *paths, _unused_ Diagnostics *d, PolicySources *ret) {
        if (!policy_text)
                return 0;
        ret->items = calloc(1, sizeof(PolicySource));
        assert_non_null(ret->items);
        ret->items[ret->n_items++] = (PolicySource) { strdup("a"), strdup("/p/a.policy"), strdup(policy_text), strlen(policy_text) };
        return 0;
}

void __wrap_server_request_done(ServerRequest *request, int r, const char *text);
void __wrap_server_request_done(_unused_ ServerRequest *request, int r, _unused_ const char *text) {
        answer.calls++;
        answer.r = r;
}

/* Nor is its socket. */
int __wrap_server_listen(Server *s, const char *path);
int __wrap_server_listen(_unused_ Server *s, _unused_ const char *path) {
        return 0;
}

static unsigned reassertions;

void __wrap_actor_reassert(Actor *a);
void __wrap_actor_reassert(_unused_ Actor *a) {
        reassertions++;
}

/* Something new in every tick: of this incident, which need not be known any more; 0 = only what is. */
static uint64_t all_is_news;

size_t __real_engine_news(const Engine *e, const News **ret);
size_t __wrap_engine_news(const Engine *e, const News **ret);
size_t __wrap_engine_news(const Engine *e, const News **ret) {
        static News news = { .entry.type = ENTRY_ALARM };

        if (!all_is_news)
                return __real_engine_news(e, ret);
        news.incident_id = all_is_news;
        *ret = &news;
        return 1;
}

/* What the manager does with an event, and what of it came to the journal. */
static SensorHandler handle_event;
static unsigned oom_lines;

int __real_sensor_new(sd_event *e, const char *root, const char *proc, SensorHandler handler, void *userdata, Sensor **ret);
int __wrap_sensor_new(sd_event *e, const char *root, const char *proc, SensorHandler handler, void *userdata, Sensor **ret);
int __wrap_sensor_new(sd_event *e, const char *root, const char *proc, SensorHandler handler, void *userdata, Sensor **ret) {
        handle_event = handler;
        return __real_sensor_new(e, root, proc, handler, userdata, ret);
}

void __wrap_journal_oom(Journal *j, uint32_t pid, const char *name, const char *path, const char *domain);
void __wrap_journal_oom(_unused_ Journal *j, _unused_ uint32_t pid, _unused_ const char *name, _unused_ const char *path,
                        _unused_ const char *domain) {
        oom_lines++;
}

static void on_event(_unused_ const Event *e, _unused_ void *userdata) {
}

static void on_outcome(_unused_ const Outcome *o, _unused_ void *userdata) {
}

static int on_wake(_unused_ sd_event_source *s, _unused_ void *userdata) {
        return 0;
}

static int setup(void **state _unused_) {
        char leases[TEST_DIR_SIZE + 8];
        Manager *m;

        answer.calls = 0;
        test_dir_make(dir);
        (void) snprintf(leases, sizeof(leases), "%s/leases", dir);
        assert_true(sd_event_new(&event) >= 0);
        fake = (FakeSystemd) {};
        fake_systemd_start(&fake, event);
        while (sd_bus_is_ready(fake.client) == 0)
                assert_true(sd_event_run(event, USEC_PER_SEC) >= 0);
        m = manager = calloc(1, sizeof(Manager));
        assert_non_null(m);
        m->lock_fd = m->runtime_fd = -EBADF;
        m->event = sd_event_ref(event);
        assert_true(sd_event_add_defer(event, &m->wake, on_wake, m) >= 0);
        assert_true(sd_event_source_set_enabled(m->wake, SD_EVENT_OFF) >= 0);
        assert_int_equal(journal_new(&m->journal), 0);
        assert_int_equal(engine_new(&(EngineConfig) { .page_bytes = 4096, .heartbeat_usec = 10 * USEC_PER_SEC, .first_incident_id = 1 },
                                    &m->engine), 0);
        assert_int_equal(sensor_new(event, dir, "/proc", on_event, m, &m->sensor), 0);
        assert_int_equal(actor_new(event, dir, leases, on_outcome, m, &m->actor), 0);
        assert_int_equal(placer_new(event, "/proc", dir, dir, &m->placer), 0);
        assert_int_equal(server_new(event, &manager_operations, m, &m->server), 0);
        m->bus = sd_bus_ref(fake.client);
        placer_set_bus(m->placer, m->bus);
        return 0;
}

static int teardown(void **state _unused_) {
        manager = manager_free(manager);
        fake_systemd_stop(&fake);
        event = sd_event_unref(event);
        test_dir_remove(dir);
        return 0;
}

/* It is asked to stop while it puts a policy set into force: whoever asked for that is answered, and systemd, which may be about
 * to shut the machine down, is not made to reload by a cgd that leaves. */
static void test_reload_then_end(void **state _unused_) {
        manager_reload(manager, (ServerRequest *) manager);
        assert_int_equal(answer.calls, 0);
        manager = manager_free(manager);
        assert_int_equal(answer.calls, 1);
        assert_int_equal(answer.r, 0);
        for (unsigned i = 0; i < 10; i++)
                assert_true(sd_event_run(event, 10 * USEC_PER_MSEC) >= 0);
        assert_null(strstr(fake.log.data ?: "", "Reload"));
}

/* What it is refused for is told, and not what would only be warned of. */
static void test_refused(void **state _unused_) {
        policy_text = "[Domain]\nFrobnicate=1\nRank=high\n";
        manager_reload(manager, (ServerRequest *) manager);
        policy_text = NULL;
        assert_int_equal(answer.calls, 1);
        assert_int_equal(answer.r, -EBADMSG);
        assert_non_null(manager->refused);
        assert_non_null(startswith(manager->refused, "/p/a.policy:3:6: error: Rank="));
        assert_null(strstr(manager->refused, "Frobnicate"));
}

static int on_call(sd_bus_message *m, _unused_ void *userdata, _unused_ sd_bus_error *error) {
        if (!sd_bus_message_is_method_call(m, NULL, NULL))
                return 0;
        if (sd_bus_message_is_method_call(m, NULL, "Hello"))
                return sd_bus_reply_method_return(m, "s", ":1.1");
        return sd_bus_reply_method_return(m, NULL);
}

static sd_bus *broker;

/* With a bus that takes connections, and no more. Returns it. */
static int whole_start(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        ManagerConfig config = { .cgroup_root = dir, .proc = "/proc", .runtime_dir = dir, .bpf_loader = "/nowhere",
                                 .heartbeat_usec = 10 * USEC_PER_MINUTE };
        char text[sizeof(address.sun_path) + 16];
        int fd;

        test_dir_make(dir);
        test_sh(": >%s/cgroup.controllers", dir);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus", dir);
        (void) snprintf(text, sizeof(text), "unix:path=%s", address.sun_path);
        assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", text, 1), 0);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(manager_new(&config, &manager), 0);
        event = sd_event_ref(manager->event);
        return fd;
}

static int whole_setup(void **state _unused_) {
        int fd = whole_start(), peer;
        sd_id128_t id;

        peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        assert_true(peer >= 0);
        (void) close(fd);
        assert_true(sd_id128_randomize(&id) >= 0);
        assert_true(sd_bus_new(&broker) >= 0 && sd_bus_set_fd(broker, peer, peer) >= 0);
        assert_true(sd_bus_set_server(broker, true, id) >= 0 && sd_bus_set_anonymous(broker, true) >= 0);
        assert_true(sd_bus_add_filter(broker, NULL, on_call, NULL) >= 0);
        assert_true(sd_bus_start(broker) >= 0 && sd_bus_attach_event(broker, event, 0) >= 0);
        while (sd_event_run(event, 100 * USEC_PER_MSEC) > 0)
                ;
        assert_true(sd_bus_is_ready(manager->bus) > 0);
        return 0;
}

static int whole_teardown(void **state _unused_) {
        manager = manager_free(manager);
        broker = sd_bus_close_unref(broker);
        event = sd_event_unref(event);
        (void) unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
        test_dir_remove(dir);
        return 0;
}

/* Anybody may call without end, and systemd may have much to tell: the tick has its turn. */
static void test_busy_bus(void **state _unused_) {
        int enabled = SD_EVENT_ONESHOT;

        for (unsigned i = 0; i < 100; i++)
                assert_true(sd_bus_emit_signal(broker, "/", "org.example", "Noise", "") >= 0);
        assert_true(sd_bus_flush(broker) >= 0);
        manager_wake(manager);
        for (unsigned i = 0; i < 10; i++)
                assert_true(sd_event_run(event, 0) > 0);
        assert_true(sd_event_source_get_enabled(manager->wake, &enabled) >= 0);
        assert_int_equal(enabled, SD_EVENT_OFF);
}

/* Anybody may send a signal to one connection, by whatever name; what systemd tells is for all. */
static void test_forged_signal(void **state _unused_) {
        for (unsigned forged = 0; forged < 2; forged++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

                reassertions = 0;
                assert_true(sd_bus_message_new_signal(broker, &m, "/org/freedesktop/systemd1",
                                                      "org.freedesktop.systemd1.Manager", "Reloading") >= 0);
                assert_true(sd_bus_message_append(m, "b", false) >= 0);
                assert_true(sd_bus_message_set_sender(m, forged ? ":1.99" : ":1.0") >= 0);
                if (forged)
                        assert_true(sd_bus_message_set_destination(m, ":1.1") >= 0);
                assert_true(sd_bus_send(broker, m, NULL) >= 0);
                while (sd_event_run(event, 100 * USEC_PER_MSEC) > 0)
                        ;
                assert_int_equal(reassertions, !forged);
        }
}

/* To close what somebody passed may wait, beyond a SIGKILL, for whoever serves its file system. */
static void test_no_descriptors(void **state _unused_) {
        assert_int_equal(sd_bus_can_send(broker, 's'), 1);
        assert_int_equal(sd_bus_can_send(broker, 'h'), 0);
}

/* The way out does not wait for a broker that hangs. */
static void test_end_beside_silent_bus(void **state _unused_) {
        int fd = whole_start();

        (void) alarm(10);
        assert_true(sd_event_exit(event, 0) >= 0);
        assert_int_equal(sd_event_loop(event), 0);
        (void) alarm(0);
        (void) close(fd);
}

/* PID 1 reads its socket when it can, and whoever writes to a full one waits: it is told what changed. */
static void test_status(void **state _unused_) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        unsigned told = 0;
        char text[256];

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
        all_is_news = 99;
        manager->told_open = 1;
        for (unsigned i = 0; i < 5; i++) {
                manager_wake(manager);
                while (sd_event_run(event, 10 * USEC_PER_MSEC) > 0)
                        ;
        }
        all_is_news = 0;
        while (recv(fd, text, sizeof(text), 0) > 0)
                told++;
        assert_int_equal(told, 1);
        /* What was taken over from a cgd before is told by then. */
        assert_true(sd_event_exit(event, 0) >= 0);
        assert_int_equal(manager_run(manager), 0);
        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
        assert_int_equal(recv(fd, text, sizeof(text), 0), strlen("READY=1"));
        (void) close(fd);
}

/* Where /run is full, the number that was there before still is: they do not begin at 1 again. */
static void test_incident_id(void **state _unused_) {
        const Lease lease = { .cgroup_id = 7, .value = 4096, .original = LIMIT_MAX };
        struct rlimit l, full;
        uint64_t id;

        assert_int_equal(engine_adopt(manager->engine, now_usec(CLOCK_MONOTONIC), &lease, "/a.slice/b.service"), 0);
        test_sh("echo 41 >%s/incident-id", dir);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
        full = (struct rlimit) { .rlim_max = l.rlim_max };
        (void) signal(SIGXFSZ, SIG_IGN);
        all_is_news = 1;
        for (unsigned k = 0; k < 2; k++) {
                assert_int_equal(setrlimit(RLIMIT_FSIZE, k == 0 ? &full : &l), 0);
                manager_wake(manager);
                while (sd_event_run(event, 10 * USEC_PER_MSEC) > 0)
                        ;
                assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
                assert_int_equal(file_read_limit_at(manager->runtime_fd, "incident-id", &id), 0);
                assert_int_equal(id, k == 0 ? 41 : 1);
        }
        all_is_news = 0;
}

/* The kernel kills all of a container together, and the journal's places are few: what is done about it must find one. */
static void test_many_oom_kills(void **state _unused_) {
        Event e = { .type = EVENT_OOM, .usec = USEC_PER_MINUTE };

        oom_lines = 0;
        for (e.pid = 1; e.pid <= 200; e.pid++)
                handle_event(&e, manager);
        assert_int_equal(oom_lines, 10);
        assert_int_equal(manager->oom_untold, 190);
        manager_wake(manager);
        while (sd_event_run(event, 10 * USEC_PER_MSEC) > 0)
                ;
        assert_int_equal(manager->oom_untold, 0);

        e.usec += USEC_PER_SEC;
        handle_event(&e, manager);
        assert_int_equal(oom_lines, 11);
}

static size_t resident_bytes(void) {
        size_t pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");

        assert_non_null(f);
        assert_int_equal(fscanf(f, "%*u %zu", &pages), 1);
        (void) fclose(f);
        return pages * (size_t) sysconf(_SC_PAGESIZE);
}

/* Anybody may send as much as the broker takes: nothing of that is kept. */
static void test_large_messages(void **state _unused_) {
        size_t n = 8 << 20, before = resident_bytes();
        char *large;

        for (unsigned i = 0; i < 3; i++) {
                large = malloc(n + 1);
                assert_non_null(large);
                memset(large, 'a', n);
                large[n] = '\0';
                assert_true(sd_bus_emit_signal(broker, "/", "org.example", "Noise", "s", large) >= 0);
                free(large);
                while (sd_event_run(event, 100 * USEC_PER_MSEC) > 0)
                        ;
        }
#ifdef __SANITIZE_ADDRESS__
        before = SIZE_MAX / 2;  /* it keeps what is freed */
#endif
        assert_in_range(resident_bytes(), 0, before + n / 2);
}

static json_int_t domains_told(void) {
        json_t *j = json_status(&manager_operations, manager);
        json_int_t n = json_integer_value(json_object_get(json_object_get(j, "policy"), "domains"));

        json_decref(j);
        return n;
}

/* All there is had a fault at the start: that slices are kept is no guard, and is not told for one. */
static void test_left_out(void **state _unused_) {
        int fd;

        policy_text = "[Domain]\nRank=high\n";
        fd = whole_start();
        assert_true(strv_contains(manager->left_out, "a"));
        assert_int_equal(manager->policy->n_domains, 1);
        assert_int_equal(domains_told(), 0);
        manager_reload(manager, NULL);
        assert_int_equal(domains_told(), 0);
        policy_text = "[Domain]\nRank=1\n";
        manager_reload(manager, NULL);
        policy_text = NULL;
        assert_int_equal(domains_told(), 1);
        (void) close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_reload_then_end, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_busy_bus, whole_setup, whole_teardown),
                cmocka_unit_test_setup_teardown(test_forged_signal, whole_setup, whole_teardown),
                cmocka_unit_test_setup_teardown(test_no_descriptors, whole_setup, whole_teardown),
                cmocka_unit_test_teardown(test_end_beside_silent_bus, whole_teardown),
                cmocka_unit_test_setup_teardown(test_status, whole_setup, whole_teardown),
                cmocka_unit_test_setup_teardown(test_incident_id, whole_setup, whole_teardown),
                cmocka_unit_test_setup_teardown(test_many_oom_kills, whole_setup, whole_teardown),
                cmocka_unit_test_setup_teardown(test_large_messages, whole_setup, whole_teardown),
                cmocka_unit_test_teardown(test_left_out, whole_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
