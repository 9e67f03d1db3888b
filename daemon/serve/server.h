/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of serve/ share with each other and nobody else includes. */

#include "serve/serve.h"

#define REQUESTS_MAX 64
/* Far above any command with its environment. */
#define CALL_BYTES_MAX ((size_t) 256 << 10)
/* Each private peer is root or of group cgd: few, and a person's. */
#define PEERS_MAX 16
/* Who lets this many messages pile up does not read: a peer is dropped, a broker is told of no more incidents meanwhile. */
#define QUEUE_MAX 64

typedef enum Right {
        RIGHT_INSPECT,          /* org.cgd1.inspect: everybody, unless an administrator says otherwise */
        RIGHT_MANAGE,           /* org.cgd1.manage: an administrator */
} Right;

typedef struct Caller {
        uid_t uid;
        gid_t gid;
        pid_t pid;
} Caller;

typedef struct Peer {
        Server *server;
        sd_bus *bus;            /* NULL: free slot */
        Caller caller;
        uint64_t last_usec;     /* when it last asked something */
} Peer;

/* Answers the request (server_request_done() exactly once), now or later. */
typedef void (*RequestHandler)(ServerRequest *request);

struct ServerRequest {
        Server *server;
        ServerRequest *next;
        sd_bus_message *call;
        sd_bus_slot *slot;      /* the question to the broker or polkit that is under way */
        Right right;
        RequestHandler handler;
        Caller caller;
        ServerRun run;          /* Run() only: owns argv and env */
};

struct Server {
        sd_event *event;
        const ServerOps *ops;
        void *userdata;
        sd_bus *bus;
        sd_bus_slot *name_slot, *object_slot;
        int listen_fd;
        sd_event_source *listen_source;
        char *socket_path;
        gid_t group;            /* cgd; (gid_t) -1 where there is none */
        Peer peers[PEERS_MAX];
        ServerRequest *requests;
        unsigned n_requests;
        unsigned told_open, told_contained;
};

/* auth.c: finds out who calls and whether it may, then calls request->handler or refuses. */
void request_authorize(ServerRequest *request);

/* private.c */
Peer *server_peer(Server *s, sd_bus *bus);
void peer_drop(Peer *p);
void server_close_private(Server *s);

/* server.c */
extern const sd_bus_vtable server_vtable[];
