/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Serve: org.cgd1 on the system bus and, without a broker, on /run/cgd/private: one vtable for both.
 *
 * Reads what the manager shows it through ServerOps and never changes anything itself: each method that
 * changes something is checked for the caller's right first and then handed to the manager. Nothing here
 * waits: rights are asked for asynchronously, and a manager that needs time answers later. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/macro.h"
#include "engine/engine.h"
#include "model/bus.h"
#include "model/lease.h"
#include "policy/policy.h"

typedef struct Server Server;

/* A method call that waits for the manager. Exactly one server_request_done() for each, from within the op
 * itself or at any time later, be it after server_free(). A caller that went away meanwhile is no error. */
typedef struct ServerRequest ServerRequest;

/* r >= 0: text is the answer (NULL = ""). r < 0: text is the reason, for people (NULL = strerror(-r));
 * -ENOENT becomes org.cgd1.Error.NotFound (cgctl exits 4), -EACCES and -EPERM AccessDenied, -EINVAL and
 * -EBADMSG Refused, others Failed. text is copied; foreign text in it is to be escaped already. */
void server_request_done(ServerRequest *request, int r, const char *text);

/* What `cgctl run` asks for. Borrowed: valid until the request is done. */
typedef struct ServerRun {
        const char *domain;
        bool scope;                     /* move the process `pid` into a scope; else a service */
        pid_t pid;                      /* the caller, as the kernel or the broker vouches: none other */
        char **argv;                    /* the command; argv[0] absolute; for a scope only to describe it */
        char **env;                     /* "NAME=value" */
        const char *cwd;                /* "" = / */
        uid_t uid;                      /* the caller: a service runs as this user */
        gid_t gid;                      /* (gid_t) -1 = the user's own */
} ServerRun;

/* The manager's state for `cgctl status` that is in no other place. */
typedef struct ServerInfo {
        uint64_t now_usec;              /* CLOCK_MONOTONIC */
        int64_t realtime_offset_usec;   /* CLOCK_REALTIME minus CLOCK_MONOTONIC */
        uint64_t started_usec;
        uint64_t loaded_usec;           /* when the policy set in force was loaded */
        uint64_t heartbeat_usec;
        const char *psi;                /* "full", "coarse", "polled", "off": PsiState as a word */
        uint64_t events_dropped;        /* events that found no place in a tick */
        unsigned level;                 /* of sensing: 1 files, 2 the walk */
        const char *level_reason;       /* why not more, or what is left out; "" = nothing to say */
        uint64_t walk_usec, walk_cgroups, walk_bytes;   /* what the last walk cost, saw, and keeps; 0 at level 1 */
        uint64_t walk_longest_usec;     /* the longest yet */
        bool exec;                      /* programs are placed as they start */
        const char *exec_reason;        /* why not; "" = they are */
        bool watch;                     /* the kernel wakes us when memory falls fast */
        const char *watch_reason;       /* why not; "" = it does */
        uint64_t watch_woken;           /* times yet */
        uint64_t oom_kills;             /* by the kernel, likewise */
        bool credit;                    /* it is measured who waits for whom at the disks */
        const char *credit_reason;      /* why not; "" = it is */
        uint64_t credit_lost, credit_bytes;     /* requests that were not counted; what its map takes */
        bool bus;                       /* the system bus is connected */
        const char *refused;            /* a line for each fault, of the last reload or of the start; NULL = none */
        char *const *left_out;          /* domains and directories not in force since the start, for their faults */
} ServerInfo;

/* Units, or slices for the rest of those in them, of which one waited for the other at the disks; or was at work itself,
 * which is what shares are measured against. */
typedef struct ServerWait {
        const char *victim, *culprit;
        uint64_t usec;
} ServerWait;

/* Requests of a cgroup, and of those below it that are not told apart, in the last minute. */
typedef struct ServerLatency {
        const char *cgroup;             /* NULL = there is nothing to tell of this one */
        uint64_t requests, p50_usec, p99_usec;
} ServerLatency;

typedef struct ServerOps {
        const Policy *(*policy)(void *userdata);                /* never NULL */
        const Engine *(*engine)(void *userdata);                /* never NULL */
        const Lease *(*lease)(void *userdata, size_t i);        /* NULL past the last */
        void (*info)(void *userdata, ServerInfo *ret);
        bool (*wait)(void *userdata, size_t i, uint64_t since_usec, ServerWait *ret);   /* false past the last */
        bool (*latency)(void *userdata, size_t i, ServerLatency *ret);                  /* likewise */

        /* 0, -ENOENT: no such domain, -EINVAL: it has no [Contain]. _MODE_MAX: back to what the policy
         * says. */
        int (*set_mode)(void *userdata, const char *domain, Mode mode);

        /* These may answer later. */
        void (*reload)(void *userdata, ServerRequest *request);
        void (*place)(void *userdata, ServerRequest *request, const char *unit);
        void (*run)(void *userdata, ServerRequest *request, const ServerRun *run); /* answer: the unit */
        void (*release)(void *userdata, ServerRequest *request, const char *unit);
} ServerOps;

/* ops is borrowed and outlives the server. */
int server_new(sd_event *event, const ServerOps *ops, void *userdata, Server **ret);
Server *server_free(Server *s);
DEFINE_CLEANUP(Server *, server_free)

/* Listens at path (CGD_SOCKET), 0660 root:group cgd (root alone where there is no such group). A
 * left-over socket is replaced: the caller has made sure already that no other daemon runs. */
int server_listen(Server *s, const char *path);

/* Adds the vtable and asks for the name. The bus is already attached to the event loop; a reference is
 * taken. bus NULL or a new one: lets go of the one before (call it when the connection is lost). */
int server_attach_system_bus(Server *s, sd_bus *bus);

/* Signals. what: "started", "step", "changed", "over". Also tells PropertiesChanged of the counts if they
 * did. */
void server_incident_changed(Server *s, uint64_t id, const char *what);
