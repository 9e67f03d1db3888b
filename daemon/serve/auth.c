/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who calls, and may it? On the private socket the kernel has said so already (private.c). On the system
 * bus the broker is asked for the caller's ids, root is let through, and for everybody else polkit decides.
 *
 * Invariant: nothing here waits; a broker or polkit that hangs costs its caller five seconds and nobody
 * else anything. Without polkit the defaults of data/org.cgd1.policy hold: everyone may look, only root may
 * change. polkit is spoken to over the bus; its library would bring GLib into a locked process. */

#include "base/units.h"
#include "serve/server.h"

#define ASK_USEC (5 * USEC_PER_SEC)
/* With a password prompt on the other side a person needs time. */
#define ASK_PERSON_USEC (2 * USEC_PER_MINUTE)

static const char *right_action(Right right) {
        return right == RIGHT_INSPECT ? "org.cgd1.inspect" : "org.cgd1.manage";
}

static void request_deny(ServerRequest *q, const char *why) {
        char text[256];

        (void) snprintf(text, sizeof(text), "%s: not allowed for user %u (%s): %s; be root, or in group cgd",
                        sd_bus_message_get_member(q->call), (unsigned) q->caller.uid,
                        right_action(q->right), why);
        server_request_done(q, -EACCES, text);
}

/* (bba{ss}): authorized, challenge, details */
static int on_polkit(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        ServerRequest *q = userdata;
        int authorized = 0, challenge = 0, r;

        q->slot = sd_bus_slot_unref(q->slot);
        if (sd_bus_message_is_method_error(m, NULL)) {
                if (q->right == RIGHT_INSPECT &&
                    (sd_bus_message_is_method_error(m, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                     sd_bus_message_is_method_error(m, SD_BUS_ERROR_NAME_HAS_NO_OWNER)))
                        q->handler(q);
                else
                        request_deny(q, "polkit is not there or did not answer");
                return 1;
        }
        r = sd_bus_message_enter_container(m, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(m, "bb", &authorized, &challenge);
        if (r < 0)
                request_deny(q, "polkit's answer cannot be read");
        else if (authorized)
                q->handler(q);
        else
                request_deny(q, challenge ? "polkit wants a password; use sudo" : "polkit says no");
        return 1;
}

static int request_ask_polkit(ServerRequest *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(q->call) > 0;
        int r;

        r = sd_bus_message_new_method_call(q->server->bus, &m, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
                                  sd_bus_message_get_sender(q->call), right_action(q->right), 0,
                                  (uint32_t) interactive, "");
        if (r < 0)
                return r;
        return sd_bus_call_async(q->server->bus, &q->slot, m, on_polkit, q,
                                 interactive ? ASK_PERSON_USEC : ASK_USEC);
}

static int ask_bus(ServerRequest *q, const char *member, sd_bus_message_handler_t handler) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = sd_bus_message_get_bus(q->call);
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", member);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", sd_bus_message_get_sender(q->call));
        if (r >= 0)
                r = sd_bus_call_async(bus, &q->slot, m, handler, q, ASK_USEC);
        return r;
}

static int on_process(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        ServerRequest *q = userdata;
        uint32_t pid;

        q->slot = sd_bus_slot_unref(q->slot);
        /* Only who wants to be moved needs it. */
        if (!sd_bus_message_is_method_error(m, NULL) && sd_bus_message_read(m, "u", &pid) > 0)
                q->caller.pid = (pid_t) pid;
        if (q->caller.uid == 0) {
                q->handler(q);
                return 1;
        }
        if (request_ask_polkit(q) < 0)
                request_deny(q, "polkit cannot be asked");
        return 1;
}

static int on_user(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        ServerRequest *q = userdata;
        uint32_t uid;

        q->slot = sd_bus_slot_unref(q->slot);
        if (sd_bus_message_is_method_error(m, NULL) || sd_bus_message_read(m, "u", &uid) <= 0 || uid == UINT32_MAX) {
                request_deny(q, "the bus did not say who calls");
                return 1;
        }
        q->caller.uid = uid;
        if (ask_bus(q, "GetConnectionUnixProcessID", on_process) < 0)
                request_deny(q, "the bus cannot be asked who calls");
        return 1;
}

/* By two calls: GetConnectionCredentials answers with a pidfd too, since dbus-broker 34, and hangs up on who takes none. */
void request_authorize(ServerRequest *q) {
        Peer *peer = server_peer(q->server, sd_bus_message_get_bus(q->call));

        if (peer) {
                q->caller = peer->caller;
                (void) sd_event_now(q->server->event, CLOCK_MONOTONIC, &peer->last_usec);
                q->handler(q);
                return;
        }
        q->caller = (Caller) { .uid = (uid_t) -1, .gid = (gid_t) -1 };
        if (ask_bus(q, "GetConnectionUnixUser", on_user) < 0)
                request_deny(q, "the bus cannot be asked who calls");
}
