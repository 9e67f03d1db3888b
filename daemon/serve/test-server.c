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
#include "serve/test-world.h"

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

        world_ops.info(NULL, &info);
        switch (which) {
        case 0:
                return json_status(&world_ops, NULL);
        case 1:
                return json_domains(world_ops.policy(NULL), world_ops.engine(NULL));
        case 2:
                return json_incidents(world_ops.engine(NULL), &info, 0);
        case 3:
                return json_incident(engine_incident(world_ops.engine(NULL), 0), &info, world_ops.policy(NULL), false);
        case 4:
                return json_blame(&world_ops, NULL, 0);
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

        if ((r = sd_event_new(&event)) < 0 || (r = server_new(event, &world_ops, event, &s)) < 0 ||
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

        world_n_waits = 0;
        j = json_blame(&world_ops, NULL, 0);
        assert_int_equal(json_array_size(j), 4);
        assert_int_equal(world_n_waits, 6);
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
        assert_int_equal(server_new(event, &world_ops, event, &s), 0);
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
        };

        if (argc == 3 && streq(argv[1], "--serve"))
                return serve(argv[2], -EBADF) < 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
