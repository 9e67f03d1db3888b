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

/* a{sv} of GetConnectionCredentials: only what is wanted is read. */
static int read_credentials(sd_bus_message *m, Caller *ret) {
        Caller c = { .uid = (uid_t) -1, .gid = (gid_t) -1, .pid = 0 };
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const char *key;
                uint32_t v;

                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        break;
                if (streq(key, "UnixUserID") || streq(key, "ProcessID")) {
                        r = sd_bus_message_read(m, "v", "u", &v);
                        if (r >= 0 && streq(key, "UnixUserID"))
                                c.uid = v;
                        else if (r >= 0)
                                c.pid = (pid_t) v;
                } else
                        r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r < 0)
                return r;
        if (c.uid == (uid_t) -1)
                return -ENODATA;
        *ret = c;
        return 0;
}

static int on_credentials(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        ServerRequest *q = userdata;
        int r;

        q->slot = sd_bus_slot_unref(q->slot);
        if (sd_bus_message_is_method_error(m, NULL) || read_credentials(m, &q->caller) < 0) {
                request_deny(q, "the bus did not say who calls");
                return 1;
        }
        if (q->caller.uid == 0) {
                q->handler(q);
                return 1;
        }
        r = request_ask_polkit(q);
        if (r < 0)
                request_deny(q, "polkit cannot be asked");
        return 1;
}

void request_authorize(ServerRequest *q) {
        sd_bus *bus = sd_bus_message_get_bus(q->call);
        Peer *peer = server_peer(q->server, bus);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (peer) {
                q->caller = peer->caller;
                (void) sd_event_now(q->server->event, CLOCK_MONOTONIC, &peer->last_usec);
                q->handler(q);
                return;
        }
        q->caller.uid = (uid_t) -1;
        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetConnectionCredentials");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", sd_bus_message_get_sender(q->call));
        if (r >= 0)
                r = sd_bus_call_async(bus, &q->slot, m, on_credentials, q, ASK_USEC);
        if (r < 0)
                request_deny(q, "the bus cannot be asked who calls");
}
