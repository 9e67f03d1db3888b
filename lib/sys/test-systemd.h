/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A systemd for tests: the other end of a socket pair, which writes down what it is asked in one line a call
 * and answers as the test says. */

#include <inttypes.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>

#include "base/str.h"
#include "base/test.h"

typedef struct FakeSystemd FakeSystemd;
struct FakeSystemd {
        sd_bus *server, *client;
        Str log;                        /* "SetUnitProperties sideload.slice 1 MemoryHigh=t:4096\n" */
        /* Answers a call: fills reply (made already) or returns a negative errno for an error reply; -EHOSTUNREACH for
         * what the broker says where there is no systemd, -ENOBUFS for what it says where too many are not answered. */
        int (*answer)(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply);
        void *userdata;
};

/* An answer for every call: no. */
static inline int fake_refuse(FakeSystemd *f, sd_bus_message *call, const char *line, sd_bus_message *reply) {
        (void) f;
        (void) call;
        (void) line;
        (void) reply;
        return -EINVAL;
}

/* Everything of a message as text: strings bare, numbers with their type, variants "TYPE:VALUE". */
static inline void fake_dump(Str *s, sd_bus_message *m) {
        for (;;) {
                const char *contents, *text;
                char type;
                int r = sd_bus_message_peek_type(m, &type, &contents);
                union {
                        uint64_t t;
                        uint32_t u;
                        uint8_t y;
                        int b;
                } v;

                assert_true(r >= 0);
                if (r == 0)
                        return;
                if (s->length > 0 && !strchr(" ([=:", s->data[s->length - 1]))
                        str_append(s, " ");
                switch (type) {
                case 's':
                case 'o':
                        assert_true(sd_bus_message_read_basic(m, type, &text) >= 0);
                        str_append(s, text);
                        break;
                case 't':
                        assert_true(sd_bus_message_read_basic(m, type, &v.t) >= 0);
                        str_appendf(s, "t:%" PRIu64, v.t);
                        break;
                case 'u':
                        assert_true(sd_bus_message_read_basic(m, type, &v.u) >= 0);
                        str_appendf(s, "u:%" PRIu32, v.u);
                        break;
                case 'y':
                        assert_true(sd_bus_message_read_basic(m, type, &v.y) >= 0);
                        str_appendf(s, "%02x", v.y);
                        break;
                case 'b':
                        assert_true(sd_bus_message_read_basic(m, type, &v.b) >= 0);
                        str_appendf(s, "b:%d", v.b);
                        break;
                default:
                        str_append(s, type == 'a' ? "[" : type == 'r' ? "(" : "");
                        assert_true(sd_bus_message_enter_container(m, type, contents) >= 0);
                        fake_dump(s, m);
                        assert_true(sd_bus_message_exit_container(m) >= 0);
                        str_append(s, type == 'a' ? "]" : type == 'r' ? ")" : "");
                }
        }
}

static inline int fake_on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        FakeSystemd *f = userdata;
        _cleanup_str_ Str line = {};
        sd_bus_message *reply = NULL;
        int r = 0;

        (void) error;
        if (!sd_bus_message_is_method_call(m, NULL, NULL))
                return 0;
        str_append(&line, sd_bus_message_get_member(m));
        if (strcmp(sd_bus_message_get_member(m), "Get") == 0)
                str_appendf(&line, " %s", strrchr(sd_bus_message_get_path(m), '/') + 1);
        fake_dump(&line, m);
        str_append(&f->log, line.data);
        str_append(&f->log, "\n");
        assert_true(sd_bus_message_new_method_return(m, &reply) >= 0);
        if (f->answer)
                r = f->answer(f, m, line.data, reply);
        if (r == -EHOSTUNREACH || r == -ENOBUFS) {
                sd_bus_message *no = NULL;

                assert_true(sd_bus_message_new_method_errorf(
                                    m, &no, r == -ENOBUFS ? SD_BUS_ERROR_LIMITS_EXCEEDED :
                                                            "org.freedesktop.DBus.Error.Spawn.ChildExited",
                                    r == -ENOBUFS ? "The maximum number of pending replies per connection has been reached" :
                                                    "Launch helper exited with unknown return code 1") >= 0);
                assert_true(sd_bus_message_set_sender(no, "org.freedesktop.DBus") >= 0);
                assert_true(sd_bus_send(f->server, no, NULL) >= 0);
                sd_bus_message_unref(no);
        } else if (r < 0)
                assert_true(sd_bus_reply_method_errorf(m, r == -ETIMEDOUT ? SD_BUS_ERROR_NO_REPLY :
                                                       r == -ESRCH        ? SD_BUS_ERROR_UNIX_PROCESS_ID_UNKNOWN
                                                                          : SD_BUS_ERROR_FAILED,
                                                       "The test says %d.", r) >= 0);
        else
                assert_true(sd_bus_send(f->server, reply, NULL) >= 0);
        sd_bus_message_unref(reply);
        return 1;
}

static inline void fake_systemd_start(FakeSystemd *f, sd_event *event) {
        sd_id128_t id;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        assert_true(sd_id128_randomize(&id) >= 0);
        assert_true(sd_bus_new(&f->server) >= 0);
        assert_true(sd_bus_set_fd(f->server, fds[0], fds[0]) >= 0);
        assert_true(sd_bus_set_server(f->server, true, id) >= 0);
        assert_true(sd_bus_set_anonymous(f->server, true) >= 0);
        assert_true(sd_bus_add_filter(f->server, NULL, fake_on_message, f) >= 0);
        assert_true(sd_bus_start(f->server) >= 0);
        assert_true(sd_bus_new(&f->client) >= 0);
        assert_true(sd_bus_set_fd(f->client, fds[1], fds[1]) >= 0);
        assert_true(sd_bus_start(f->client) >= 0);
        assert_true(sd_bus_attach_event(f->server, event, 0) >= 0);
        assert_true(sd_bus_attach_event(f->client, event, 0) >= 0);
}

static inline void fake_systemd_stop(FakeSystemd *f) {
        f->client = sd_bus_close_unref(f->client);
        f->server = sd_bus_close_unref(f->server);
        str_done(&f->log);
}

/* What was asked since the last time, to be freed. */
static inline char *fake_log(FakeSystemd *f) {
        char *text;

        assert_int_equal(str_finish(&f->log, &text), 0);
        f->log = (Str) {};
        return text;
}
