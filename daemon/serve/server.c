/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The org.cgd1 object: the vtable, its handlers, and the requests that wait for an answer.
 *
 * Every method goes the same way: request_start() -> auth.c -> its handler -> server_request_done(). At
 * most REQUESTS_MAX of those that come by the system bus wait at a time, each of CALL_BYTES_MAX at most, so
 * that callers cannot make the locked process grow. */

#include <inttypes.h>
#include <systemd/sd-journal.h>

#include "engine/chronicle.h"
#include "serve/json.h"
#include "serve/server.h"

static const char no_such_domain[] = "there is no such domain; see 'cgctl domains'";

static ServerRequest *request_free(ServerRequest *q) {
        ServerRequest **p;

        if (!q)
                return NULL;
        for (p = q->server ? &q->server->requests : NULL; p && *p; p = &(*p)->next)
                if (*p == q) {
                        *p = q->next;
                        q->server->n_requests--;
                        break;
                }
        sd_bus_slot_unref(q->slot);
        sd_bus_message_unref(q->call);
        free(q->run.argv);
        free(q->run.env);
        free(q);
        return NULL;
}

static const char *error_name(int r) {
        switch (-r) {
        case ENOENT:
                return CGD_ERROR_NOT_FOUND;
        case EACCES:
        case EPERM:
                return SD_BUS_ERROR_ACCESS_DENIED;
        case EINVAL:
        case EBADMSG:
                return CGD_ERROR_REFUSED;
        default:
                return CGD_ERROR_FAILED;
        }
}

static void request_answer(ServerRequest *q, int r, const char *text) {
        bool answers = !streq(sd_bus_message_get_member(q->call), "SetMode");

        /* A caller that has left, or does not want an answer, gets none: ignoring. */
        if (r < 0)
                (void) sd_bus_reply_method_errorf(q->call, error_name(r), "%s", text ? text : strerror(-r));
        else if (answers)
                (void) sd_bus_reply_method_return(q->call, "s", text ? text : "");
        else
                (void) sd_bus_reply_method_return(q->call, NULL);
}

void server_request_done(ServerRequest *q, int r, const char *text) {
        if (q->server)
                request_answer(q, r, text);
        request_free(q);
}

/* The server goes: the caller is told now, and what the manager still has in hand ends with its own
 * server_request_done(), whenever that comes. */
static void requests_end(Server *s) {
        for (ServerRequest *q; (q = s->requests);) {
                request_answer(q, -ESHUTDOWN, "cgd is stopping");
                if (q->slot) {
                        request_free(q);
                        continue;
                }
                s->requests = q->next;
                s->n_requests--;
                q->server = NULL;
                q->call = sd_bus_message_unref(q->call);
        }
}

/* Whether a call, from whoever may not even have the right to it, is small enough to be held until that is known. */
static bool call_fits(sd_bus_message *m) {
        const char *contents, *text;
        size_t bytes = 0;
        char type;
        int r;

        while (bytes <= CALL_BYTES_MAX && (r = sd_bus_message_peek_type(m, &type, &contents)) >= 0) {
                bytes += sizeof(uint64_t);
                if (r == 0)
                        r = sd_bus_message_exit_container(m);
                else if (type == 'a')
                        r = sd_bus_message_enter_container(m, type, contents);
                else if (type != 's')
                        r = sd_bus_message_skip(m, NULL);
                else if ((r = sd_bus_message_read_basic(m, type, &text)) >= 0)
                        bytes += strlen(text);
                /* There is no container left to leave: that was all. */
                if (r == -ENXIO)
                        return sd_bus_message_rewind(m, true) >= 0;
                if (r < 0)
                        break;
        }
        return false;
}

static bool does_not_read(sd_bus *bus) {
        uint64_t queued = 0;

        return sd_bus_get_n_queued_write(bus, &queued) >= 0 && queued > QUEUE_MAX;
}

static int request_start(Server *s, sd_bus_message *m, Right right, RequestHandler handler,
                         sd_bus_error *e) {
        Peer *peer = server_peer(s, sd_bus_message_get_bus(m));
        ServerRequest *q;

        if (peer && does_not_read(peer->bus)) {
                peer_drop(peer);
                return 1;
        }
        /* Anybody can fill the bus's places, and keep an operator out of these but not of his own. */
        if (s->n_requests >= (peer ? 2 : 1) * REQUESTS_MAX)
                return sd_bus_error_setf(e, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                         "%u requests wait already; try again", s->n_requests);
        if (!peer && !call_fits(m))
                return sd_bus_error_set(e, SD_BUS_ERROR_LIMITS_EXCEEDED, "the call is too large");
        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = (ServerRequest) {
                .server = s, .next = s->requests, .call = sd_bus_message_ref(m),
                .right = right, .handler = handler,
        };
        s->requests = q;
        s->n_requests++;
        request_authorize(q);
        return 1;
}

static void request_answer_json(ServerRequest *q, json_t *j) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = json_finish(j, &text);
        server_request_done(q, r, text);
}

static void get_status(ServerRequest *q) {
        request_answer_json(q, json_status(q->server->ops, q->server->userdata));
}

static void list_domains(ServerRequest *q) {
        Server *s = q->server;

        request_answer_json(q, json_domains(s->ops->policy(s->userdata), s->ops->engine(s->userdata)));
}

static void list_incidents(ServerRequest *q) {
        Server *s = q->server;
        ServerInfo info = {};
        uint32_t limit;

        if (sd_bus_message_read(q->call, "u", &limit) < 0) {
                server_request_done(q, -EINVAL, NULL);
                return;
        }
        s->ops->info(s->userdata, &info);
        request_answer_json(q, json_incidents(s->ops->engine(s->userdata), &info, limit));
}

static void get_incident(ServerRequest *q) {
        Server *s = q->server;
        const Engine *engine = s->ops->engine(s->userdata);
        const Incident *i;
        ServerInfo info = {};
        char text[192];
        uint64_t id;

        if (sd_bus_message_read(q->call, "t", &id) < 0) {
                server_request_done(q, -EINVAL, NULL);
                return;
        }
        i = id == 0 ? engine_incident(engine, 0) : engine_incident_by_id(engine, id);
        if (!i) {
                if (id == 0)
                        server_request_done(q, -ENOENT, "there has been no incident since cgd started; 'journalctl -u cgd -x' tells of those before");
                else {
                        (void) snprintf(text, sizeof(text), "incident %" PRIu64 " is not known; only the last %d since cgd "
                                        "started are kept, 'journalctl CGD_INCIDENT_ID=%" PRIu64 " -x' tells of those before",
                                        id, INCIDENTS_MAX, id);
                        server_request_done(q, -ENOENT, text);
                }
                return;
        }
        s->ops->info(s->userdata, &info);
        request_answer_json(q, json_incident(i, &info, s->ops->policy(s->userdata), false));
}

static void get_blame(ServerRequest *q) {
        Server *s = q->server;
        ServerInfo info = {};
        uint64_t span;

        if (sd_bus_message_read(q->call, "t", &span) < 0) {
                server_request_done(q, -EINVAL, NULL);
                return;
        }
        s->ops->info(s->userdata, &info);
        request_answer_json(q, json_blame(s->ops, s->userdata, info.now_usec - MIN(span, info.now_usec)));
}

static void reload(ServerRequest *q) {
        q->server->ops->reload(q->server->userdata, q);
}

static void set_mode(ServerRequest *q) {
        Server *s = q->server;
        const char *domain, *text;
        char reason[512];
        Mode mode = _MODE_MAX;
        int r;

        r = sd_bus_message_read(q->call, "ss", &domain, &text);
        if (r >= 0 && !streq(text, "policy"))
                r = mode_from_string(text, &mode);
        if (r < 0) {
                server_request_done(q, -EINVAL, "the mode is off, monitor, contain, enforce, or policy");
                return;
        }
        r = s->ops->set_mode(s->userdata, domain, mode);
        if (r < 0) {
                const Domain *d = policy_find(s->ops->policy(s->userdata), domain);

                if (d)
                        (void) snprintf(reason, sizeof(reason), "%s: its policy %s, so it has no mode", d->name,
                                        d->left_out ? "had a fault when cgd started" : "has no [Contain] section");
                server_request_done(q, d ? -EINVAL : -ENOENT, d ? reason : no_such_domain);
                return;
        }
        server_request_done(q, 0, NULL);
}

static void place_unit(ServerRequest *q) {
        const char *unit;

        if (sd_bus_message_read(q->call, "s", &unit) < 0)
                server_request_done(q, -EINVAL, NULL);
        else
                q->server->ops->place(q->server->userdata, q, unit);
}

static void release_unit(ServerRequest *q) {
        const char *unit;

        if (sd_bus_message_read(q->call, "s", &unit) < 0)
                server_request_done(q, -EINVAL, NULL);
        else
                q->server->ops->release(q->server->userdata, q, unit);
}

/* An array of strings that point into the message, which the request holds. */
static int read_strings(sd_bus_message *m, char ***ret) {
        _cleanup_free_ char **l = NULL;
        const char *s;
        size_t n = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "s", &s)) > 0) {
                char **grown = reallocarray(l, n + 2, sizeof(char *));

                if (!grown)
                        return -ENOMEM;
                l = grown;
                l[n++] = (char *) s;
                l[n] = NULL;
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(l);
        return sd_bus_message_exit_container(m);
}

static void run(ServerRequest *q) {
        ServerRun *run = &q->run;
        const Domain *d;
        char reason[512];
        int scope, r;

        r = sd_bus_message_read(q->call, "sb", &run->domain, &scope);
        if (r >= 0)
                r = read_strings(q->call, &run->argv);
        if (r >= 0)
                r = read_strings(q->call, &run->env);
        if (r >= 0)
                r = sd_bus_message_read(q->call, "s", &run->cwd);
        if (r < 0) {
                server_request_done(q, -EINVAL, NULL);
                return;
        }
        run->scope = scope;
        run->uid = q->caller.uid;
        run->gid = q->caller.gid;
        run->pid = q->caller.pid;
        d = policy_find(q->server->ops->policy(q->server->userdata), run->domain);
        if (!d) {
                server_request_done(q, -ENOENT, no_such_domain);
                return;
        }
        /* Its slice has neither resources nor a contract: not what the caller asks for. */
        if (d->left_out) {
                (void) snprintf(reason, sizeof(reason), "%s: its policy had a fault when cgd started, so nothing is run in it; "
                                "see 'cgctl verify'", d->name);
                server_request_done(q, -EINVAL, reason);
                return;
        }
        if (!scope && (!run->argv || run->argv[0][0] != '/')) {
                server_request_done(q, -EINVAL, "a command with its whole path is needed");
                return;
        }
        if (scope && run->pid <= 1) {
                server_request_done(q, -EINVAL, "it is not known which process calls");
                return;
        }
        q->server->ops->run(q->server->userdata, q, run);
}

#define DEFINE_METHOD(name, right)                                                              \
        static int method_##name(sd_bus_message *m, void *userdata, sd_bus_error *e) {          \
                return request_start(userdata, m, right, name, e);                              \
        }

DEFINE_METHOD(get_status, RIGHT_INSPECT)
DEFINE_METHOD(list_domains, RIGHT_INSPECT)
DEFINE_METHOD(list_incidents, RIGHT_INSPECT)
DEFINE_METHOD(get_blame, RIGHT_INSPECT)
DEFINE_METHOD(get_incident, RIGHT_INSPECT)
DEFINE_METHOD(reload, RIGHT_MANAGE)
DEFINE_METHOD(set_mode, RIGHT_MANAGE)
DEFINE_METHOD(place_unit, RIGHT_MANAGE)
DEFINE_METHOD(release_unit, RIGHT_MANAGE)
DEFINE_METHOD(run, RIGHT_MANAGE)

static int property_version(_unused_ sd_bus *bus, _unused_ const char *path, _unused_ const char *interface,
                            _unused_ const char *property, sd_bus_message *reply, _unused_ void *userdata,
                            _unused_ sd_bus_error *e) {
        return sd_bus_message_append(reply, "s", CGD_VERSION);
}

static int property_count(_unused_ sd_bus *bus, _unused_ const char *path, _unused_ const char *interface,
                          const char *property, sd_bus_message *reply, void *userdata,
                          _unused_ sd_bus_error *e) {
        Server *s = userdata;
        EngineStatus es = {};

        engine_status(s->ops->engine(s->userdata), &es);
        return sd_bus_message_append(reply, "u",
                                     streq(property, "Contained") ? es.contained : es.open_incidents);
}

/* UNPRIVILEGED: sd-bus lets everybody call; auth.c is what decides. */
#define METHOD(member, in, in_names, out, out_names, handler) \
        SD_BUS_METHOD_WITH_NAMES(member, in, in_names, out, out_names, handler, SD_BUS_VTABLE_UNPRIVILEGED)

const sd_bus_vtable server_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", property_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("OpenIncidents", "u", property_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Contained", "u", property_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        METHOD("GetStatus", NULL, , "s", SD_BUS_PARAM(json), method_get_status),
        METHOD("ListDomains", NULL, , "s", SD_BUS_PARAM(json), method_list_domains),
        METHOD("ListIncidents", "u", SD_BUS_PARAM(limit), "s", SD_BUS_PARAM(json), method_list_incidents),
        METHOD("GetIncident", "t", SD_BUS_PARAM(id), "s", SD_BUS_PARAM(json), method_get_incident),
        METHOD("GetBlame", "t", SD_BUS_PARAM(span_usec), "s", SD_BUS_PARAM(json), method_get_blame),
        METHOD("Reload", NULL, , "s", SD_BUS_PARAM(report), method_reload),
        METHOD("SetMode", "ss", SD_BUS_PARAM(domain) SD_BUS_PARAM(mode), NULL, , method_set_mode),
        METHOD("PlaceUnit", "s", SD_BUS_PARAM(unit), "s", SD_BUS_PARAM(report), method_place_unit),
        METHOD("Release", "s", SD_BUS_PARAM(unit), "s", SD_BUS_PARAM(report), method_release_unit),
        METHOD("Run", "sbasass",
               SD_BUS_PARAM(domain) SD_BUS_PARAM(scope) SD_BUS_PARAM(argv)
               SD_BUS_PARAM(environment) SD_BUS_PARAM(directory),
               "s", SD_BUS_PARAM(unit), method_run),
        SD_BUS_SIGNAL_WITH_NAMES("IncidentChanged", "ts", SD_BUS_PARAM(id) SD_BUS_PARAM(what), 0),
        SD_BUS_VTABLE_END
};

int server_new(sd_event *event, const ServerOps *ops, void *userdata, Server **ret) {
        Server *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        json_init();
        *s = (Server) {
                .event = sd_event_ref(event), .ops = ops, .userdata = userdata, .listen_fd = -EBADF,
                .group = (gid_t) -1,
        };
        *ret = s;
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;
        requests_end(s);
        server_close_private(s);
        (void) server_attach_system_bus(s, NULL);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

static int on_name(sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        Server *s = userdata;
        const sd_bus_error *error = sd_bus_message_get_error(m);
        uint32_t result = 0;

        s->name_slot = sd_bus_slot_unref(s->name_slot);
        if (error)
                sd_journal_print(LOG_WARNING, "Cannot take the bus name %s: %s; root can still use cgctl",
                                 CGD_BUS_NAME, error->message ? error->message : error->name);
        else if (sd_bus_message_read(m, "u", &result) >= 0 && result != 1 && result != 4)
                sd_journal_print(LOG_WARNING, "The bus name %s is taken by another process; root can still "
                                 "use cgctl", CGD_BUS_NAME);
        return 1;
}

int server_attach_system_bus(Server *s, sd_bus *bus) {
        int r;

        if (s->bus) {
                /* Whose right is still being asked for on the old connection is gone with it. What the
                 * manager has in hand stays: its answer then goes nowhere. */
                for (ServerRequest *q = s->requests, *next; q; q = next) {
                        next = q->next;
                        if (q->slot && sd_bus_message_get_bus(q->call) == s->bus)
                                request_free(q);
                }
                s->name_slot = sd_bus_slot_unref(s->name_slot);
                s->object_slot = sd_bus_slot_unref(s->object_slot);
                s->bus = sd_bus_unref(s->bus);
        }
        if (!bus)
                return 0;
        r = sd_bus_add_object_vtable(bus, &s->object_slot, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                     server_vtable, s);
        if (r < 0)
                return r;
        r = sd_bus_request_name_async(bus, &s->name_slot, CGD_BUS_NAME, 0, on_name, s);
        if (r < 0)
                return r;
        s->bus = sd_bus_ref(bus);
        return 0;
}

static void tell(sd_bus *bus, uint64_t id, const char *what, bool open, bool contained) {
        (void) sd_bus_emit_signal(bus, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, "IncidentChanged", "ts", id, what);
        if (open && contained)
                (void) sd_bus_emit_properties_changed(bus, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                "OpenIncidents",
                                                      "Contained", NULL);
        else if (open || contained)
                (void) sd_bus_emit_properties_changed(bus, CGD_BUS_OBJECT, CGD_BUS_INTERFACE,
                                                      open ? "OpenIncidents" : "Contained", NULL);
}

void server_incident_changed(Server *s, uint64_t id, const char *what) {
        bool open, contained, deaf = s->bus && does_not_read(s->bus);
        EngineStatus es = {};

        engine_status(s->ops->engine(s->userdata), &es);
        open = es.open_incidents != s->told_open;
        contained = es.contained != s->told_contained;
        /* What the broker is not told of now is told with what comes next. */
        if (!deaf) {
                s->told_open = es.open_incidents;
                s->told_contained = es.contained;
        }

        if (s->bus && !deaf)
                tell(s->bus, id, what, open, contained);
        for (size_t i = 0; i < PEERS_MAX; i++) {
                Peer *p = &s->peers[i];

                if (!p->bus)
                        continue;
                if (does_not_read(p->bus))
                        peer_drop(p);
                else
                        tell(p->bus, id, what, open, contained);
        }
}
