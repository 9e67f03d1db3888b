/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scan: finds the processes that [Match] User= and Executable= name and has systemd move them into scopes.
 *
 * Invariant: only processes that are in nobody's unit are moved: at the root, in a slice itself, or in a
 * login session's scope. What is in a service, in a user's manager, or in a container's scope is its
 * owner's.
 *
 * Looking costs one stat a process; only those of a user that is named, or all where an executable is, are
 * looked at closer. Users are resolved from /etc/passwd alone: a directory service could keep the loop
 * waiting, so its users are named by number. The kernel knows a program by the path without links, so where a
 * policy names a link, what it leads to is found out, once for each policy (sys/real-path.c: a file system that
 * hangs is not waited for). Between the look and the move a
 * process may end and its number be used again; the time between is a few milliseconds, and the kernel hands
 * numbers out in turn. */

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/units.h"
#include "place/placer.h"
#include "policy/glob.h"
#include "sys/real-path.h"
#include "sys/small-file.h"
#include "sys/unit.h"

/* Of one look, each a scope: PID 1 has other things to do. */
#define GROUPS_MAX 64
/* Processes that systemd refused to move, not to be asked for again. */
#define REFUSED_MAX 1024
#define PF_KTHREAD 0x00200000
/* Each scope costs PID 1 milliseconds and some files, and whoever may start a program that a policy names can start
 * it without end: so many at once, and then one in so long. The rest is left to the next look, which asks for 64 in
 * one scope. */
#define EXEC_BURST 64
#define EXEC_EVERY_USEC (50 * USEC_PER_MSEC)
/* Of a request in which a process was gone meanwhile, with the others. */
#define ASK_AGAIN_MAX 3
/* Rounds of taking back who is in a cgroup, for they may fork meanwhile. */
#define BACK_MAX 3
/* By then systemd has put them into the scope. */
#define LOOK_USEC USEC_PER_SEC
/* Links are followed for so long: a path on a file system that hangs must not keep the loop. */
#define RESOLVE_USEC (500 * USEC_PER_MSEC)

typedef struct Named {
        uid_t uid;
        char *name;
} Named;

typedef struct Scan {
        Named *users;
        size_t n_users;
        bool by_user, by_executable;
        uint32_t *uids;                 /* of users[] */
        char **names;                   /* file names of the executables */
        char **links;                   /* what an executable leads to, then that, one after the other */
        char *hangs;                    /* the first executable of which that is not known, for its file system hangs */
        bool any_name;                  /* one of them is a glob, or there are too many */
        struct {
                uint32_t pid;
                uint64_t start;
        } refused[REFUSED_MAX];
        bool more;                      /* a look found more than there is room for */
        size_t n_refused;               /* ever; the place is this modulo the size */
} Scan;

void scan_free(Scan *s) {
        if (!s)
                return;
        for (size_t i = 0; i < s->n_users; i++)
                free(s->users[i].name);
        free(s->users);
        free(s->uids);
        strv_free(s->names);
        strv_free(s->links);
        free(s->hangs);
        free(s);
}

const char *scan_hangs(const Scan *s) {
        return s ? s->hangs : NULL;
}

static int scan_add_user(Scan *s, const char *name, uid_t uid) {
        Named *users = realloc(s->users, (s->n_users + 1) * sizeof *users);

        if (!users)
                return -ENOMEM;
        s->users = users;
        users[s->n_users].name = strdup(name);
        users[s->n_users].uid = uid;
        if (!users[s->n_users].name)
                return -ENOMEM;
        s->n_users++;
        return 0;
}

static bool domains_name_user(const Policy *p, const char *user) {
        for (size_t i = 0; i < p->n_domains; i++)
                if (strv_contains(p->domains[i].match.users, user))
                        return true;
        return false;
}

static bool domains_name_executable(const Policy *p, const char *path) {
        for (size_t i = 0; i < p->n_domains; i++)
                if (strv_contains(p->domains[i].match.executables, path))
                        return true;
        return false;
}

/* Who names the program by its own path goes first, then who names a link to it, in the order of the domains. */
static int scan_resolve(Scan *s, const Policy *policy) {
        _cleanup_strv_ char **named = NULL, **real = NULL;
        size_t n;
        int r = 0;

        for (size_t i = 0; i < policy->n_domains; i++)
                for (char **e = policy->domains[i].match.executables; e && *e && r >= 0; e++)
                        if (glob_is_literal(*e))
                                r = strv_extend(&named, *e);
        if (r >= 0)
                r = real_paths(named, RESOLVE_USEC, &real);
        n = strv_length(real);
        if (r >= 0 && n < strv_length(named) && !(s->hangs = strdup(named[n])))
                return -ENOMEM;
        for (size_t i = 0; i < n && r >= 0; i++) {
                const char *path = real[i];

                if (!*path || streq(path, named[i]) || domains_name_executable(policy, path) || strv_contains(s->links, path))
                        continue;
                r = strv_extend(&s->links, path);
                if (r >= 0)
                        r = strv_extend(&s->links, named[i]);
        }
        return r;
}

static int scan_add_name(Scan *s, const char *path) {
        const char *name = strrchr(path, '/');

        /* Then none is asked for. */
        if (s->any_name || strv_length(s->names) > EXEC_NAMES_MAX)
                return 0;
        if (name && glob_is_literal(name) && strlen(name) <= EXEC_NAME_SIZE)
                return strv_contains(s->names, name + 1) ? 0 : strv_extend(&s->names, name + 1);
        s->any_name = true;
        return 0;
}

/* What the kernel is asked for: by number, and by the last part of the path. */
static int scan_filter(Scan *s, const Policy *policy) {
        int r = 0;

        s->uids = calloc(s->n_users + 1, sizeof *s->uids);
        if (!s->uids)
                return -ENOMEM;
        for (size_t i = 0; i < s->n_users; i++)
                s->uids[i] = s->users[i].uid;
        for (size_t i = 0; i < policy->n_domains; i++)
                for (char **e = policy->domains[i].match.executables; e && *e && r >= 0; e++)
                        r = scan_add_name(s, *e);
        for (char **l = s->links; l && *l && r >= 0; l += 2)
                r = scan_add_name(s, *l);
        s->any_name = s->any_name || strv_length(s->names) > EXEC_NAMES_MAX || s->n_users > EXEC_USERS_MAX;
        return r;
}

int scan_set_policy(Placer *p) {
        _cleanup_fclose_ FILE *f = NULL;
        const Policy *policy = p->policy;
        Scan *s;
        int r = 0;

        scan_free(TAKE_PTR(p->scan));
        if (!policy)
                return 0;
        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        for (size_t i = 0; i < policy->n_domains && r >= 0; i++) {
                char **users = policy->domains[i].match.users;

                s->by_executable = s->by_executable || strv_length(policy->domains[i].match.executables) > 0;
                for (; users && *users && r >= 0; users++) {
                        uint64_t uid;

                        s->by_user = true;
                        if (u64_parse(*users, &uid) >= 0 && uid < UINT32_MAX)
                                r = scan_add_user(s, *users, (uid_t) uid);
                }
        }
        if (s->by_user)
                f = fopen("/etc/passwd", "re");
        /* Another name of root's takes in as much as root does, which no policy may name. */
        for (struct passwd *pw; f && r >= 0 && (pw = fgetpwent(f));)
                if (pw->pw_uid != 0 && domains_name_user(policy, pw->pw_name))
                        r = scan_add_user(s, pw->pw_name, pw->pw_uid);
        if (r >= 0)
                r = scan_resolve(s, policy);
        if (r >= 0)
                r = scan_filter(s, policy);
        if (r < 0) {
                scan_free(s);
                return r;
        }
        p->scan = s;
        return 0;
}

/* True where the process is in no unit of anybody's. */
static bool is_loose(const char *cgroup) {
        const char *last = strrchr(cgroup, '/'), *p = cgroup;

        if (!last)
                return false;
        /* Every part but the last must be a slice. */
        while (p < last) {
                size_t n;

                p += strspn(p, "/");
                n = strcspn(p, "/");
                if (p >= last + 1)
                        break;
                if (n <= 6 || strncmp(p + n - 6, ".slice", 6) != 0)
                        return false;
                p += n;
        }
        last++;
        return !*last || endswith(last, ".slice") ||
               (startswith(last, "session-") && endswith(last, ".scope"));
}

/* flags and starttime of /proc/PID/stat, proc(5): fields 9 and 22. The name in field 2 may hold anything. False too for
 * who is dead and was not waited for (fields 3 and 20): systemd can put nobody of him into a scope, and would keep that
 * for ever, because a scope ends when it becomes empty, and this one is from the beginning. */
static bool stat_parse(const char *text, uint64_t *ret_flags, uint64_t *ret_start) {
        const char *p = strrchr(text, ')');
        bool dead = false;
        uint64_t v = 0;

        if (!p)
                return false;
        p++;
        for (int field = 3; field <= 22; field++) {
                char *end;

                p += strspn(p, " ");
                if (!*p)
                        return false;
                v = strtoull(p, &end, 10);
                if (field == 3)
                        dead = *p == 'Z' || *p == 'X';
                else if (field == 9)
                        *ret_flags = v;
                else if (field == 20 && dead && v <= 1)
                        return false;
                p += strcspn(p, " ");
        }
        *ret_start = v;
        return true;
}

static bool was_refused(const Scan *s, uint32_t pid, uint64_t start) {
        for (size_t i = 0; i < MIN(s->n_refused, (size_t) REFUSED_MAX); i++)
                if (s->refused[i].pid == pid && s->refused[i].start == start)
                        return true;
        return false;
}

static void refuse(Scan *s, const Group *g) {
        for (size_t i = 0; i < g->n; i++) {
                s->refused[s->n_refused % REFUSED_MAX].pid = g->pids[i];
                s->refused[s->n_refused % REFUSED_MAX].start = g->starts[i];
                s->n_refused++;
        }
}

/* What the policy calls the program of /proc/PID/exe. One that was replaced since it was started is the same. */
static const char *program_name(const Scan *s, char *executable) {
        const char *deleted = endswith(executable, " (deleted)");

        if (deleted)
                executable[deleted - executable] = 0;
        for (char **l = s->links; l && *l; l += 2)
                if (streq(l[0], executable))
                        return l[1];
        return executable;
}

static void look_at(Placer *p, int proc_fd, const char *name, uid_t uid, Group *groups, size_t *n_groups) {
        _cleanup_close_ int fd = openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const Named *user = NULL;
        const Domain *d = NULL;
        char text[1024], executable[1024], uid_text[16], *cgroup;
        const char *program;
        uint64_t flags = 0, start = 0, pid;
        ssize_t n;
        Group *g = NULL;

        if (fd < 0 || u64_parse(name, &pid) < 0 || file_read_at(fd, "stat", text, sizeof text) < 0 ||
            !stat_parse(text, &flags, &start) || (flags & PF_KTHREAD) || pid == 1 ||
            pid == (uint64_t) getpid() || was_refused(p->scan, (uint32_t) pid, start))
                return;
        n = readlinkat(fd, "exe", executable, sizeof executable - 1);
        executable[MAX(n, (ssize_t) 0)] = 0;
        program = n > 0 ? program_name(p->scan, executable) : NULL;
        (void) snprintf(uid_text, sizeof uid_text, "%" PRIu32, (uint32_t) uid);
        /* Two names may stand for one number, each in a domain of its own: the first that matches. */
        for (size_t i = 0; i < p->scan->n_users && !d; i++)
                if (p->scan->users[i].uid == uid) {
                        user = &p->scan->users[i];
                        d = policy_process_domain(p->policy, user->name, uid_text, program);
                }
        if (!d)
                d = policy_process_domain(p->policy, NULL, uid_text, program);
        if (!d || file_read_at(fd, "cgroup", text, sizeof text) < 0)
                return;
        /* "0::/user.slice/…" is the unified hierarchy's line. */
        cgroup = startswith(text, "0::") ? text : strstr(text, "\n0::");
        if (!cgroup)
                return;
        cgroup = strchr(cgroup, '/');
        if (!cgroup)
                return;
        cgroup[strcspn(cgroup, "\n")] = 0;
        if (!is_loose(cgroup) || policy_domain_of(p->policy, cgroup) == d)
                return;
        for (size_t i = 0; i < *n_groups && !g; i++)
                if (groups[i].domain == d && groups[i].n < GROUP_PIDS_MAX && streq(groups[i].cgroup, cgroup))
                        g = &groups[i];
        if (!g && *n_groups < GROUPS_MAX) {
                g = &groups[(*n_groups)++];
                *g = (Group) { .domain = d };
                strcpy(g->cgroup, cgroup);
        }
        if (!g) {
                p->scan->more = true;
                return;
        }
        g->starts[g->n] = start;
        g->pids[g->n++] = (uint32_t) pid;
}

/* The scope is named after the first process, and when that started: it outlives it while there are children, and
 * numbers are used again. */
static void name_scope(Group *g) {
        const Domain *d = g->domain;

        (void) snprintf(g->slice, sizeof g->slice, "%s", d->slice);
        (void) snprintf(g->unit, sizeof g->unit, "cgd-%.200s-%" PRIu32 "-%" PRIu64 ".scope", d->name, g->pids[0],
                        g->starts[0]);
        (void) snprintf(g->description, sizeof g->description, "Processes of domain %.200s", d->name);
        if ((size_t) snprintf(g->scope, sizeof g->scope, "%s/%s", d->cgroup, g->unit) >= sizeof g->scope)
                g->scope[0] = 0;
}

static int enter(const Placer *p, const char *cgroup, uint32_t pid) {
        char path[2048], text[16];
        _cleanup_close_ int fd = -EBADF;
        int n = snprintf(text, sizeof text, "%" PRIu32, pid);

        if ((size_t) snprintf(path, sizeof path, ".%s/cgroup.procs", cgroup) >= sizeof path)
                return -ENAMETOOLONG;
        fd = openat(p->hierarchy_fd, path, O_WRONLY | O_CLOEXEC);
        return fd < 0 || write(fd, text, (size_t) n) < 0 ? -errno : 0;
}

/* The cgroup that systemd will make for the scope, made before it does, which it then takes over: a hundred times as
 * fast. Where that cannot be, systemd alone does it. */
static void move_raw(Placer *p, Group *g) {
        char path[sizeof g->scope + 1];

        (void) snprintf(path, sizeof path, ".%s", g->scope);
        if (!*g->scope || (mkdirat(p->hierarchy_fd, path, 0755) < 0 && errno != EEXIST))
                return;
        g->raw = enter(p, g->scope, g->pids[0]) >= 0;
        if (!g->raw)
                (void) unlinkat(p->hierarchy_fd, path, AT_REMOVEDIR);
}

/* The first of those in the cgroup. */
static size_t members(const Placer *p, const char *cgroup, uint32_t pids[static GROUP_PIDS_MAX]) {
        char path[2048], text[GROUP_PIDS_MAX * 11], *save = NULL;
        _cleanup_close_ int fd = -EBADF;
        size_t n = 0;
        ssize_t k;

        (void) snprintf(path, sizeof path, ".%s/cgroup.procs", cgroup);
        fd = openat(p->hierarchy_fd, path, O_RDONLY | O_CLOEXEC);
        k = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        text[MAX(k, (ssize_t) 0)] = 0;
        /* The last number may be cut. */
        if (k == (ssize_t) sizeof text - 1)
                text[(strrchr(text, '\n') ?: text) - text] = 0;
        for (char *t = strtok_r(text, "\n", &save); t && n < GROUP_PIDS_MAX; t = strtok_r(NULL, "\n", &save)) {
                uint64_t pid;

                if (u64_parse(t, &pid) >= 0 && pid > 0)
                        pids[n++] = (uint32_t) pid;
        }
        return n;
}

/* It is no scope's: as it was, with the children that came meanwhile. Where they were is a session that may have ended: then
 * they stay, for the slice's limits hold here, and none would at the root. */
static void move_back(Placer *p, const Group *g) {
        char path[sizeof g->scope + 1];
        uint32_t pids[GROUP_PIDS_MAX];
        size_t n;

        if (!g->raw)
                return;
        for (int i = 0; i < BACK_MAX && (n = members(p, g->scope, pids)) > 0; i++)
                for (size_t k = 0; k < n; k++)
                        (void) enter(p, g->cgroup, pids[k]);
        (void) snprintf(path, sizeof path, ".%s", g->scope);
        (void) unlinkat(p->hierarchy_fd, path, AT_REMOVEDIR);
}

/* Systemd may have made the scope or not: what it has not would be in a cgroup of no unit, and what it has is found and moved
 * again. */
static void scan_given_up(Op *op) {
        move_back(op->placer, op->data);
}

static void scan_op_done(Op *op) {
        free(op->data);
}

static void scan_moved(Op *op, int r, const char *message);

static int ask(Op *op) {
        const Group *g = op->data;
        const UnitTransient t = {
                .name = g->unit,
                .description = g->description,
                .slice = g->slice,
                .pids = g->pids,
                .n_pids = g->n,
        };

        op->step = scan_moved;
        return unit_start_transient(op->placer->bus, &t, op_on_reply, op, &op->slot);
}

/* Leaves those who are still there, and the children of who is not; how many. */
static size_t keep_living(const Placer *p, Group *g) {
        size_t n = 0;

        if (g->raw) {
                memset(g->starts, 0, sizeof g->starts);
                return g->n = members(p, g->scope, g->pids);
        }
        for (size_t i = 0; i < g->n; i++) {
                char path[256], text[1024];
                uint64_t flags, start;

                (void) snprintf(path, sizeof path, "%s/%" PRIu32 "/stat", p->proc, g->pids[i]);
                if (file_read_at(AT_FDCWD, path, text, sizeof text) < 0 || !stat_parse(text, &flags, &start) ||
                    start != g->starts[i])
                        continue;
                g->pids[n] = g->pids[i];
                g->starts[n++] = start;
        }
        return g->n = n;
}

static void scan_done(Op *op, int r, const char *message) {
        (void) r;
        (void) message;
        op_finish(op, 0, NULL);
}

/* Who ended after systemd was asked and before it moved him leaves it a scope that is empty from the beginning, which it
 * would keep for ever. */
static void scan_look(Op *op, int r, const char *message) {
        const Group *g = op->data;
        char path[2048], text[512];

        (void) r;
        (void) message;
        (void) snprintf(path, sizeof path, ".%s/cgroup.events", g->scope);
        op->step = scan_done;
        if (!*g->scope || file_read_at(op->placer->hierarchy_fd, path, text, sizeof text) < 0 ||
            !strstr(text, "populated 0") || unit_stop(op->placer->bus, g->unit, op_on_reply, op, &op->slot) < 0)
                op_finish(op, 0, NULL);
}

/* Systemd said no, and it was not only that it is away or busy. */
static bool is_refusal(int r) {
        return !unit_is_silence(r) && r != -ENOBUFS;
}

/* -ESRCH: a process is gone, and systemd then takes none of them. -EEXIST: the scope is there, from a request before. */
static void scan_moved(Op *op, int r, const char *message) {
        Placer *p = op->placer;
        Group *g = op->data;

        if (r == -ESRCH && g->asked++ < ASK_AGAIN_MAX && keep_living(p, g) > 0 && ask(op) >= 0)
                return;
        if (r < 0 && r != -EEXIST) {
                if (r != -ESRCH && is_refusal(r) && p->scan)
                        refuse(p->scan, g);
                move_back(p, g);
                if (r == -ESRCH)
                        op->handler = NULL; /* programs end */
                op_finish(op, r, message);
                return;
        }
        op->handler = NULL; /* nobody asked: told only of what went wrong */
        op->given_up = NULL;
        op->step = scan_look;
        if (op_wait(op, LOOK_USEC) < 0)
                op_finish(op, 0, NULL);
}

static int move(Placer *p, const Group *g, PlaceHandler handler, void *userdata) {
        Group *copy = malloc(sizeof *copy);
        Op *op;
        int r;

        if (!copy)
                return -ENOMEM;
        *copy = *g;
        r = op_new(p, handler, userdata, &op);
        if (r < 0) {
                free(copy);
                return r;
        }
        op->data = copy;
        op->done = scan_op_done;
        op->given_up = scan_given_up;
        r = ask(op);
        if (r < 0) {
                op->handler = NULL;
                op_finish(op, r, NULL);
        }
        return r;
}

int place_scan(Placer *p, PlaceHandler handler, void *userdata) {
        _cleanup_free_ Group *groups = NULL;
        size_t n_groups = 0;
        DIR *dir;
        int moved = 0, r = 0;

        if (!p->scan || (!p->scan->by_user && !p->scan->by_executable))
                return 0;
        if (!p->bus)
                return -ENOTCONN;
        p->scan->more = false;
        groups = calloc(GROUPS_MAX, sizeof *groups);
        dir = opendir(p->proc);
        if (!groups || !dir) {
                r = groups ? -errno : -ENOMEM;
                if (dir)
                        (void) closedir(dir);
                return r;
        }
        for (struct dirent *e; (e = readdir(dir));) {
                bool wanted = p->scan->by_executable;
                struct stat st;

                if (!isdigit((unsigned char) e->d_name[0]) || fstatat(dirfd(dir), e->d_name, &st, 0) < 0)
                        continue;
                for (size_t i = 0; i < p->scan->n_users && !wanted; i++)
                        wanted = p->scan->users[i].uid == st.st_uid;
                if (wanted)
                        look_at(p, dirfd(dir), e->d_name, st.st_uid, groups, &n_groups);
        }
        (void) closedir(dir);
        for (size_t i = 0; i < n_groups && r >= 0; i++) {
                name_scope(&groups[i]);
                r = move(p, &groups[i], handler, userdata);
                if (r >= 0)
                        moved += (int) groups[i].n;
        }
        if (r >= 0 && p->scan->more)
                return -EBUSY;
        return r < 0 && moved == 0 ? r : moved;
}

int scan_exec(Placer *p, const ExecEvent *event, bool raw, Group *ret) {
        size_t n = 0;
        char name[16];
        _cleanup_close_ int proc_fd = -EBADF;

        if (!p->scan)
                return 0;
        proc_fd = open(p->proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (proc_fd < 0)
                return -errno;
        (void) snprintf(name, sizeof name, "%" PRIu32, event->pid);
        look_at(p, proc_fd, name, event->uid, ret, &n);
        if (n == 0)
                return 0;
        name_scope(ret);
        if (raw)
                move_raw(p, ret);
        return 1;
}

static bool may_move(Placer *p, uint64_t now_usec) {
        uint64_t due_usec = MAX(p->exec_usec, now_usec);

        if (due_usec >= now_usec + EXEC_BURST * EXEC_EVERY_USEC)
                return false;
        p->exec_usec = due_usec + EXEC_EVERY_USEC;
        return true;
}

int place_exec(Placer *p, const ExecEvent *event, bool raw, PlaceHandler handler, void *userdata) {
        Group g = {};
        int r;

        if (!p->bus)
                return -ENOTCONN;
        r = scan_exec(p, event, false, &g);
        if (r <= 0)
                return r;
        if (!may_move(p, event->usec))
                return -EBUSY;
        if (raw)
                move_raw(p, &g);
        r = move(p, &g, handler, userdata);
        if (r < 0)
                move_back(p, &g);
        return r < 0 ? r : 1;
}

void placer_exec_filter(const Placer *p, ExecFilter *ret) {
        *ret = (ExecFilter) {};
        if (p->scan)
                *ret = (ExecFilter) {
                        .uids = p->scan->uids, .n_uids = MIN(p->scan->n_users, (size_t) EXEC_USERS_MAX),
                        .names = p->scan->any_name ? NULL : p->scan->names, .all = p->scan->any_name };
}
