/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /run/cgd/private: the same object without a broker, so that cgctl works while the bus is down, and early
 * in boot. Whoever the kernel says is root or in group cgd may do everything; others are not let in.
 *
 * Bounded: at most PEERS_MAX connections (a new one takes the place of the one idle longest), and a peer
 * that does not read its answers is dropped. */

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-id128.h>
#include <systemd/sd-journal.h>

#include "serve/server.h"

#define GROUP_NAME "cgd"

/* From /etc/group itself: NSS would load libraries into a locked process and may ask the network. */
static gid_t group_find(void) {
        _cleanup_fclose_ FILE *f = fopen("/etc/group", "re");
        struct group *g;

        while (f && (g = fgetgrent(f)))
                if (streq(g->gr_name, GROUP_NAME))
                        return g->gr_gid;
        return (gid_t) -1;
}

static bool peer_may(int fd, const struct ucred *u, gid_t group) {
        gid_t groups[256];
        socklen_t n = sizeof(groups);

        if (u->uid == 0)
                return true;
        if (group == (gid_t) -1)
                return false;
        if (u->gid == group)
                return true;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) < 0)
                return false;
        for (size_t i = 0; i < n / sizeof(gid_t); i++)
                if (groups[i] == group)
                        return true;
        return false;
}

Peer *server_peer(Server *s, sd_bus *bus) {
        for (size_t i = 0; i < PEERS_MAX; i++)
                if (s->peers[i].bus && s->peers[i].bus == bus)
                        return &s->peers[i];
        return NULL;
}

void peer_drop(Peer *p) {
        sd_bus *bus = TAKE_PTR(p->bus);

        if (!bus)
                return;
        (void) sd_bus_detach_event(bus);
        sd_bus_close(bus);
        sd_bus_unref(bus);
}

static int on_disconnected(_unused_ sd_bus_message *m, void *userdata, _unused_ sd_bus_error *e) {
        Peer *p = userdata;

        (void) sd_bus_flush(p->bus);
        peer_drop(p);
        return 0;
}

/* A free slot, or that of the peer that has been quiet longest. */
static Peer *server_slot(Server *s) {
        Peer *oldest = &s->peers[0];

        for (size_t i = 0; i < PEERS_MAX; i++) {
                if (!s->peers[i].bus)
                        return &s->peers[i];
                if (s->peers[i].last_usec < oldest->last_usec)
                        oldest = &s->peers[i];
        }
        peer_drop(oldest);
        return oldest;
}

static int peer_open(Server *s, int fd, const struct ucred *u) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        sd_id128_t id;
        Peer *p;
        int r;

        r = sd_bus_new(&bus);
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        r = sd_bus_set_fd(bus, fd, fd);
        if (r < 0) {
                (void) close(fd);
                return r;
        }
        /* From here on the bus owns the fd. Before the loop ends it would be flushed, for as long as the peer likes. */
        (void) sd_bus_set_close_on_exit(bus, false);
        if ((r = sd_id128_randomize(&id)) < 0 ||
            (r = sd_bus_set_server(bus, 1, id)) < 0 ||
            (r = sd_bus_set_sender(bus, CGD_BUS_NAME)) < 0 ||
            /* To close what somebody passed may wait for ever. */
            (r = sd_bus_negotiate_fds(bus, false)) < 0 ||
            (r = sd_bus_start(bus)) < 0)
                return r;

        p = server_slot(s);
        *p = (Peer) { .server = s, .caller = { .uid = u->uid, .gid = u->gid, .pid = u->pid } };
        (void) sd_event_now(s->event, CLOCK_MONOTONIC, &p->last_usec);
        r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local",
                                      "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                      "Disconnected", on_disconnected, NULL, p);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, CGD_BUS_OBJECT, CGD_BUS_INTERFACE, server_vtable, s);
        if (r >= 0)
                r = sd_bus_attach_event(bus, s->event, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;
        p->bus = TAKE_PTR(bus);
        return 0;
}

static int on_connection(_unused_ sd_event_source *source, int fd, _unused_ uint32_t revents,
                         void *userdata) {
        Server *s = userdata;
        _cleanup_close_ int peer = -EBADF;
        struct ucred u;
        socklen_t n = sizeof(u);

        peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer < 0)
                return 0;
        if (getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &u, &n) < 0 || !peer_may(peer, &u, s->group))
                return 0;
        (void) peer_open(s, TAKE_FD(peer), &u);
        return 0;
}

int server_listen(Server *s, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;

        /* Nobody but root until the group is set. */
        mode_t mask = umask(0177);
        r = bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        (void) umask(mask);
        if (r < 0)
                return r;
        s->group = group_find();
        if (s->group != (gid_t) -1) {
                if (chown(path, (uid_t) -1, s->group) < 0 || chmod(path, 0660) < 0) {
                        sd_journal_print(LOG_WARNING, "Cannot give %s to group " GROUP_NAME ": %m; only "
                                         "root can use it, ignoring.", address.sun_path);
                        (void) chmod(path, 0600);
                }
        }
        if (listen(fd, PEERS_MAX) < 0)
                return -errno;
        r = sd_event_add_io(s->event, &s->listen_source, fd, EPOLLIN, on_connection, s);
        if (r < 0)
                return r;
        /* After the tick: a person can wait, the domain cannot. */
        (void) sd_event_source_set_priority(s->listen_source, SD_EVENT_PRIORITY_IDLE);
        s->socket_path = strdup(path);
        s->listen_fd = TAKE_FD(fd);
        return 0;
}

void server_close_private(Server *s) {
        for (size_t i = 0; i < PEERS_MAX; i++)
                peer_drop(&s->peers[i]);
        s->listen_source = sd_event_source_disable_unref(s->listen_source);
        if (s->listen_fd >= 0 && s->socket_path)
                (void) unlink(s->socket_path);
        s->listen_fd = safe_close(s->listen_fd);
        free(TAKE_PTR(s->socket_path));
}
