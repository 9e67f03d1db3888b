/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The server beside a broker: who calls is asked, and what waits for the answer, or for a broker that does not read, is bounded. */

#include <sys/socket.h>

#include "base/test.h"
#include "base/units.h"
#include "serve/test-world.h"

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

static int setup(void **state) {
        Bus *b = calloc(1, sizeof(*b));
        char address[128];
        sd_id128_t id;
        int fds[2];

        assert_non_null(b);
        (void) snprintf(b->path, sizeof(b->path), "/tmp/cgd-test-%d.socket", (int) getpid());
        (void) snprintf(address, sizeof(address), "unix:path=%s", b->path);
        assert_true(sd_event_new(&b->event) >= 0);
        assert_int_equal(server_new(b->event, &world_ops, b->event, &b->server), 0);
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

static int teardown(void **state) {
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_who_calls, setup, teardown),
                cmocka_unit_test_setup_teardown(test_full_house, setup, teardown),
                cmocka_unit_test_setup_teardown(test_large_call, setup, teardown),
                cmocka_unit_test_setup_teardown(test_silent_broker, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
