/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Registry: the cgroups that are known. See registry.h.
 *
 * Invariant: a node is one cgroup for its whole life, known by its kernfs id: another cgroup that took its
 * name is another node. Children are sorted by name, so that walking the tree gives the order a sample
 * needs.
 *
 * Why a tree of kept directory fds: listing the directories costs more than reading the counters. On
 * cgroupfs the link count of a directory is its subdirectories plus two, and the read that every pass makes
 * of each child anyway proves that the child lives. As many living children as there are subdirectories are
 * all of them, so a directory is listed only when something changed.
 *
 * fds: directories and files have a bounded number each; whoever finds no room is opened and closed at each
 * read. Nothing is evicted: the slow pass reads all in turn, and under that an LRU only misses.
 *
 * Left out on purpose: what lies deeper than DEPTH_MAX or beyond KNOWN_MAX. Counters are hierarchical, so
 * it is seen in its ancestors; without these bounds a user with a delegated cgroup could grow us without
 * end. What is in one unit has a share of KNOWN_MAX, and what is in all of them too, so that nobody who can make
 * cgroups in there keeps out a slice or a unit that comes later. */

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "base/macro.h"
#include "base/str.h"
#include "sense/registry.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"

#define DEPTH_MAX 32
#define KNOWN_MAX 20000
#define INSIDE_MAX(known_max) ((known_max) / 4 * 3)
#define INSIDE_ONE_MAX(known_max) ((known_max) / 8)
#define PATH_BYTES_MAX 4096
/* For everyone else in the daemon: bus, leases, sockets. */
#define FDS_RESERVE 128
/* A kept directory pins its dentry and inode, 1 KiB; a kept file holds 5 KiB of the kernel's memory, and
 * that is taken when memory is short. */
#define DIRS_MAX 4096
#define FILES_MAX 1024

static const char *const file_names[_KNOWN_FILE_MAX] = {
        [FILE_MEMORY_CURRENT] = "memory.current",
        [FILE_SWAP_CURRENT] = "memory.swap.current",
        [FILE_MEMORY_STAT] = "memory.stat",
        [FILE_MEMORY_EVENTS] = "memory.events.local",
        [FILE_MEMORY_PRESSURE] = "memory.pressure",
        [FILE_IO_PRESSURE] = "io.pressure",
        [FILE_MEMORY_HIGH] = "memory.high",
        [FILE_SWAP_HIGH] = "memory.swap.high",
        [FILE_MEMORY_MAX] = "memory.max",
        [FILE_MEMORY_LOW] = "memory.low",
        [FILE_MEMORY_MIN] = "memory.min",
        [FILE_IO_STAT] = "io.stat",
        [FILE_IO_MAX] = "io.max",
};

/* Whose failure would take the means of recovery with it. init.scope is PID 1. */
static const char *const protected_units[] = {
        "init.scope",
        "systemd-journald.service",
        "systemd-logind.service",
        "systemd-udevd.service",
        "dbus.service",
        "dbus-broker.service",
        "cgd.service",
};

const char *known_name(const Known *n) {
        return n->path + n->name_offset;
}

const char *registry_file_name(KnownFile f) {
        return file_names[f];
}

static bool is_unit_name(const char *name) {
        /* All unit types that systemd gives a cgroup to, but slices. */
        return endswith(name, ".service") || endswith(name, ".scope") || endswith(name, ".mount") ||
               endswith(name, ".swap") || endswith(name, ".socket");
}

static CgroupKind kind_below(const Known *parent, const char *name) {
        switch (parent->kind) {
        case CGROUP_KIND_ROOT:
        case CGROUP_KIND_SLICE:
                if (endswith(name, ".slice"))
                        return CGROUP_KIND_SLICE;
                return is_unit_name(name) ? CGROUP_KIND_UNIT : CGROUP_KIND_FOREIGN;
        case CGROUP_KIND_UNIT:
        case CGROUP_KIND_INNER:
                return CGROUP_KIND_INNER;
        case CGROUP_KIND_FOREIGN:
                return CGROUP_KIND_FOREIGN;
        }
        return CGROUP_KIND_FOREIGN;
}

/* By name only where systemd itself gives the names: in a delegated tree anyone could hide behind them. */
static bool is_protected(const Registry *g, const Known *n) {
        if (n->parent && n->parent->flags & CGROUP_PROTECTED)
                return true;
        if (g->own_cgroup && streq(g->own_cgroup, n->path))
                return true;
        if (n->kind != CGROUP_KIND_UNIT)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(protected_units); i++)
                if (streq(known_name(n), protected_units[i]))
                        return true;
        return false;
}

static bool xattr_is_set(int fd, const char *name) {
        char value[8];
        ssize_t n = fgetxattr(fd, name, value, sizeof value);

        /* systemd writes "1"; a parser of booleans would take these too. */
        return n >= 1 && (value[0] == '1' || value[0] == 'y' || value[0] == 't');
}

static void drop_fd(int *fd, size_t *kept) {
        if (*fd < 0)
                return;
        *fd = safe_close(*fd);
        (*kept)--;
}

KnownDetail *registry_detail(Known *n) {
        if (!n->detail && (n->detail = calloc(1, sizeof *n->detail)))
                for (size_t i = 0; i < _KNOWN_FILE_MAX; i++)
                        n->detail->fds[i] = -EBADF;
        return n->detail;
}

void registry_cool(Registry *g, Known *n) {
        for (size_t i = 0; n->detail && i < _KNOWN_FILE_MAX; i++)
                drop_fd(&n->detail->fds[i], &g->files_kept);
        free(n->detail);
        n->detail = NULL;
}

static Known **bucket(const Registry *g, uint64_t id) {
        /* Ids are handed out one after the other. */
        return &g->buckets[id & (g->n_buckets - 1)];
}

/* Where there is no memory for a larger table the old one does, only slower. */
static void table_grow(Registry *g) {
        size_t old_n = g->n_buckets;
        Known **old = g->buckets, **buckets = calloc(MAX(old_n * 2, (size_t) 64), sizeof(Known *));

        if (!buckets)
                return;
        g->buckets = buckets;
        g->n_buckets = MAX(old_n * 2, (size_t) 64);
        for (size_t i = 0; i < old_n; i++)
                for (Known *n = old[i], *next; n; n = next) {
                        Known **b = bucket(g, n->id);

                        next = n->same_bucket;
                        n->same_bucket = *b;
                        *b = n;
                }
        free(old);
}

static void set_left_out(Registry *g, Known *n, unsigned k) {
        g->n_left_out = g->n_left_out - n->n_left_out + k;
        n->n_left_out = k;
}

/* The unit that a child of n is in, or whoever stands in the place of one; NULL: in none. */
static Known *unit_of_child(Known *n) {
        Known *unit = NULL;

        for (; n && n->kind != CGROUP_KIND_SLICE && n->kind != CGROUP_KIND_ROOT; n = n->parent)
                unit = n;
        return unit;
}

static void known_free_one(Registry *g, Known *n) {
        Known **link = bucket(g, n->id), *unit = unit_of_child(n->parent);

        if (unit) {
                unit->n_inside--;
                g->n_inside--;
        }
        while (*link != n)
                link = &(*link)->same_bucket;
        *link = n->same_bucket;
        if ((n->held_until_usec > 0 || n->hot_until_usec > 0) && g->n_gone < REGISTRY_GONE_MAX)
                g->gone_ids[g->n_gone++] = n->id;
        set_left_out(g, n, 0);
        registry_cool(g, n);
        drop_fd(&n->dir_fd, &g->dirs_kept);
        if (n->io)
                free(n->io->all);
        free(n->io);
        free(n);
        g->n_known--;
}

/* The whole subtree, without recursion: the leaves first. */
static void known_free(Registry *g, Known *n) {
        Known *top = n;

        for (;;) {
                if (n->children) {
                        n = n->children;
                        continue;
                }
                if (n == top)
                        break;

                Known *parent = n->parent;

                parent->children = n->next;
                known_free_one(g, n);
                n = parent;
        }
        known_free_one(g, top);
}

Known *known_next(const Known *n) {
        if (n->children)
                return n->children;
        while (n && !n->next)
                n = n->parent;
        return n ? n->next : NULL;
}

static Known *known_new(Registry *g, Known *parent, const char *name, uint64_t id) {
        size_t parent_length = parent && parent->parent ? strlen(parent->path) : 0;
        Known *n, **b, *unit = unit_of_child(parent);

        if (g->n_known >= g->n_buckets)
                table_grow(g);
        if (!g->n_buckets)
                return NULL;
        n = calloc(1, sizeof *n + parent_length + 1 + strlen(name) + 1);
        if (!n)
                return NULL;
        (void) sprintf(n->path, "%.*s/%s", (int) parent_length, parent ? parent->path : "", name);
        n->name_offset = (unsigned) parent_length + 1;
        n->id = id;
        n->parent = parent;
        n->depth = parent ? parent->depth + 1 : 0;
        n->kind = parent ? kind_below(parent, name) : CGROUP_KIND_ROOT;
        n->unlisted = true;
        n->dir_fd = -EBADF;
        if (is_protected(g, n))
                n->flags |= CGROUP_PROTECTED;
        n->domain = strv_contains(g->domains, n->path);
        b = bucket(g, id);
        n->same_bucket = *b;
        *b = n;
        g->n_known++;
        if (unit) {
                unit->n_inside++;
                g->n_inside++;
        }
        return n;
}

int registry_init(Registry *g, const char *root, const char *own_cgroup) {
        struct rlimit limit;
        struct statfs sb;
        uint64_t id;
        int r;

        *g = (Registry) { .root_fd = -EBADF, .known_max = KNOWN_MAX };
        if (own_cgroup) {
                g->own_cgroup = strdup(own_cgroup);
                if (!g->own_cgroup)
                        return -ENOMEM;
        }
        g->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (g->root_fd < 0) {
                r = -errno;
                goto fail;
        }
        r = cgroup_id(g->root_fd, &id);
        if (r < 0)
                goto fail;
        if (fstatfs(g->root_fd, &sb) == 0)
                g->trust_links = (unsigned long) sb.f_type == CGROUP2_SUPER_MAGIC ||
                                 (unsigned long) sb.f_type == TMPFS_MAGIC;
        g->dirs_max = g->files_max = 32;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > FDS_RESERVE + 64) {
                size_t half = MIN(((size_t) limit.rlim_cur - FDS_RESERVE) / 2, (size_t) DIRS_MAX);

                g->dirs_max = half;
                g->files_max = MIN(half, (size_t) FILES_MAX);
        }

        r = -ENOMEM;
        g->root = known_new(g, NULL, "", id);
        if (!g->root)
                goto fail;
        g->root->dir_fd = fcntl(g->root_fd, F_DUPFD_CLOEXEC, 3);
        if (g->root->dir_fd < 0) {
                r = -errno;
                goto fail;
        }
        g->dirs_kept++;
        return 0;

fail:
        registry_done(g);
        return r;
}

void registry_done(Registry *g) {
        if (g->root)
                known_free(g, g->root);
        g->root = NULL;
        g->root_fd = safe_close(g->root_fd);
        free(g->own_cgroup);
        g->own_cgroup = NULL;
        g->domains = strv_free(g->domains);
        free(g->buckets);
        g->buckets = NULL;
        g->n_buckets = 0;
}

int registry_set_domains(Registry *g, char *const *paths) {
        _cleanup_strv_ char **copy = NULL;

        for (char *const *p = paths; p && *p; p++) {
                int r = strv_extend(&copy, *p);

                if (r < 0)
                        return r;
        }
        strv_free(g->domains);
        g->domains = TAKE_PTR(copy);
        for (Known *n = g->root; n; n = known_next(n))
                n->domain = strv_contains(g->domains, n->path);
        return 0;
}

Known *registry_find(const Registry *g, uint64_t id) {
        for (Known *n = *bucket(g, id); n; n = n->same_bucket)
                if (n->id == id && !n->gone)
                        return n;
        return NULL;
}

/* Opens the directory and makes sure that it is the same cgroup. Only "not there" marks it gone: with no fd
 * left, for one, nothing is known about it. */
static int known_open(Registry *g, Known *n) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t id;
        int r;

        if (n->parent && n->parent->dir_fd >= 0)
                fd = cgroup_open(n->parent->dir_fd, known_name(n));
        else
                fd = cgroup_open(g->root_fd, n->path);
        if (fd < 0) {
                r = fd;
                fd = -EBADF;
                if (r == -ENOENT)
                        n->gone = true;
                return r;
        }
        r = cgroup_id(fd, &id);
        if (r < 0)
                return r;
        if (id != n->id) {
                n->gone = true;
                return -ENOENT;
        }
        return TAKE_FD(fd);
}

int registry_dir(Registry *g, Known *n, int *ret_close) {
        int fd;

        *ret_close = -EBADF;
        if (n->gone)
                return -ENOENT;
        if (n->dir_fd >= 0)
                return n->dir_fd;
        if (g->dirs_kept < g->dirs_max)
                return registry_hold_dir(g, n);
        fd = known_open(g, n);
        if (fd < 0)
                return fd;
        return *ret_close = fd;
}

int registry_hold_dir(Registry *g, Known *n) {
        int fd;

        if (n->gone)
                return -ENOENT;
        if (n->dir_fd >= 0)
                return n->dir_fd;
        fd = known_open(g, n);
        if (fd < 0)
                return fd;
        g->dirs_kept++;
        return n->dir_fd = fd;
}

/* A file is gone with its cgroup, or without it: a controller is taken out of the parent's cgroup.subtree_control, or
 * cgroup.pressure is 0. An open one gives ENODEV then as well, and still does when the file is back. */
static int no_file(Known *n, int dir_fd) {
        if (cgroup_is_alive(dir_fd, n->id))
                return -ENOENT;
        n->gone = true;
        return -ENODEV;
}

int registry_read(Registry *g, Known *n, KnownFile f, bool keep, char *buf, size_t size) {
        _cleanup_close_ int dir_close = -EBADF, file_close = -EBADF;
        int dir_fd = -EBADF, fd = n->detail ? n->detail->fds[f] : -EBADF, e;
        ssize_t k;

        if (n->gone)
                return -ENODEV;
        if (fd < 0) {
                dir_fd = registry_dir(g, n, &dir_close);
                if (dir_fd < 0)
                        return n->gone ? -ENODEV : dir_fd;
                fd = openat(dir_fd, file_names[f], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
                if (fd < 0) {
                        e = errno;
                        return e == ENODEV || e == ENOENT ? no_file(n, dir_fd) : -e;
                }
                if (keep && g->files_kept < g->files_max && registry_detail(n)) {
                        g->files_kept++;
                        n->detail->fds[f] = fd;
                } else
                        file_close = fd;
        }

        /* One read gives the whole of a kernel file as it was at one moment; a second would only say EOF. */
        do
                k = pread(fd, buf, size - 1, 0);
        while (k < 0 && errno == EINTR);
        if (k < 0) {
                e = errno;
                if (e != ENODEV)
                        return -e;
                if (file_close < 0)
                        drop_fd(&n->detail->fds[f], &g->files_kept);
                if (dir_fd < 0)
                        dir_fd = registry_dir(g, n, &dir_close);
                if (dir_fd < 0)
                        return n->gone ? -ENODEV : dir_fd;
                return no_file(n, dir_fd);
        }
        buf[k] = 0;
        return (size_t) k == size - 1 ? -ENOBUFS : (int) k;
}

void registry_reflag(Registry *g, Known *n) {
        _cleanup_close_ int dir_close = -EBADF;
        int dir_fd = registry_dir(g, n, &dir_close);
        CgroupFlags flags = n->flags & CGROUP_PROTECTED;
        struct stat st, root_st;
        uint64_t v;

        if (dir_fd < 0)
                return;
        /* Only the preference of who owns the machine counts: else any user could shield what he
         * delegates to himself (systemd-oomd has the same rule), or have himself held where he can write memory.high as well. */
        if (fstat(dir_fd, &st) == 0 && fstat(g->root_fd, &root_st) == 0 && st.st_uid == root_st.st_uid) {
                if (xattr_is_set(dir_fd, "user.oomd_omit"))
                        flags |= CGROUP_OMIT;
                if (xattr_is_set(dir_fd, "user.oomd_avoid"))
                        flags |= CGROUP_AVOID;
                if (n->parent && file_read_limit_at(dir_fd, "memory.oom.group", &v) == 0 && v == 1)
                        flags |= CGROUP_OOM_GROUP;
        }
        n->flags = flags;
}

typedef struct Entry {
        char *name;                     /* offset into the names while they may still move */
        uint64_t ino;
} Entry;

static int entry_compare(const void *a, const void *b) {
        return strcmp(((const Entry *) a)->name, ((const Entry *) b)->name);
}

/* The subdirectories, sorted by name. All names are one allocation, *ret_names. */
static int list_directory(int dir_fd, Entry **ret, size_t *ret_n, char **ret_names) {
        _cleanup_free_ Entry *entries = NULL;
        _cleanup_free_ char *names = NULL;
        size_t n = 0, entries_size = 0, names_length = 0, names_size = 0;
        char buf[4096] __attribute__((__aligned__(8)));

        if (lseek(dir_fd, 0, SEEK_SET) < 0)
                return -errno;
        for (;;) {
                ssize_t k = getdents64(dir_fd, buf, sizeof buf);

                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                for (ssize_t i = 0; i < k;) {
                        const struct dirent64 *d = (const struct dirent64 *) (buf + i);
                        size_t length = strlen(d->d_name);

                        i += d->d_reclen;
                        if (d->d_type != DT_DIR || streq(d->d_name, ".") || streq(d->d_name, ".."))
                                continue;
                        if (n == entries_size) {
                                size_t size = MAX(entries_size * 2, (size_t) 16);
                                Entry *e = realloc(entries, size * sizeof *e);

                                if (!e)
                                        return -ENOMEM;
                                entries = e;
                                entries_size = size;
                        }
                        if (names_length + length + 1 > names_size) {
                                size_t size = MAX(names_size * 2, names_length + length + 512);
                                char *p = realloc(names, size);

                                if (!p)
                                        return -ENOMEM;
                                names = p;
                                names_size = size;
                        }
                        memcpy(names + names_length, d->d_name, length + 1);
                        entries[n++] = (Entry) { (char *) names_length, d->d_ino };
                        names_length += length + 1;
                }
        }
        for (size_t i = 0; i < n; i++)
                entries[i].name = names + (size_t) entries[i].name;
        if (n > 1)
                qsort(entries, n, sizeof *entries, entry_compare);
        *ret = TAKE_PTR(entries);
        *ret_n = n;
        *ret_names = TAKE_PTR(names);
        return 0;
}

/* The bounds leave no room for more children of the parent. */
static bool is_full(const Registry *g, Known *parent) {
        const Known *unit = unit_of_child(parent);

        return g->n_known >= g->known_max ||
               (unit && (g->n_inside >= INSIDE_MAX(g->known_max) || unit->n_inside >= INSIDE_ONE_MAX(g->known_max)));
}

bool registry_lists_later(const Registry *g, Known *parent) {
        return (parent->n_left_out > 0 || parent->depth >= DEPTH_MAX) && (is_full(g, parent) || unit_of_child(parent));
}

static Known *child_add(Registry *g, Known *parent, const char *name) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t id;
        Known *n;

        if (is_full(g, parent) || strlen(parent->path) + strlen(name) + 2 > PATH_BYTES_MAX) {
                set_left_out(g, parent, parent->n_left_out + 1);
                return NULL;
        }
        fd = parent->dir_fd >= 0 ? cgroup_open(parent->dir_fd, name) : -EBADF;
        if (fd == -EBADF) {
                char path[PATH_BYTES_MAX];

                (void) snprintf(path, sizeof path, "%s/%s", parent->parent ? parent->path : "", name);
                fd = cgroup_open(g->root_fd, path);
        }
        if (fd < 0) {
                if (fd != -ENOENT)
                        g->incomplete = true;
                fd = -EBADF;
                return NULL;
        }
        if (cgroup_id(fd, &id) < 0)
                return NULL;
        n = known_new(g, parent, name, id);
        if (!n) {
                g->incomplete = true;
                return NULL;
        }
        if (g->dirs_kept < g->dirs_max) {
                g->dirs_kept++;
                n->dir_fd = TAKE_FD(fd);
        }
        registry_reflag(g, n);
        return n;
}

/* Is the entry the cgroup that the node knows? On a 64-bit kernel the inode number is the id; where they
 * differ (a 32-bit kernel, overlayfs under a fake tree) opening tells. */
static bool entry_is(Registry *g, const Entry *e, Known *n) {
        _cleanup_close_ int fd = -EBADF;

        if (n->gone)
                return false;
        if (e->ino == n->id)
                return true;
        fd = known_open(g, n);
        return fd >= 0;
}

/* Merges the directory with the children, both sorted by name. */
static void merge(Registry *g, Known *n, const Entry *entries, size_t n_entries) {
        Known **link = &n->children;
        bool late = n->n_left_out > 0 || n->holds_late;

        set_left_out(g, n, 0);
        n->holds_late = false;
        for (size_t i = 0; i < n_entries;) {
                Known *c = *link;
                int order = c ? strcmp(known_name(c), entries[i].name) : 1;

                if (order < 0 || (order == 0 && !entry_is(g, &entries[i], c))) {
                        *link = c->next;
                        c->next = NULL;
                        n->n_children--;
                        known_free(g, c);
                } else if (order == 0) {
                        link = &c->next;
                        i++;
                } else {
                        Known *added = child_add(g, n, entries[i].name);

                        if (added) {
                                added->late = added->holds_late = late;
                                added->next = *link;
                                *link = added;
                                link = &added->next;
                                n->n_children++;
                        }
                        i++;
                }
        }
        while (*link) {
                Known *c = *link;

                *link = c->next;
                c->next = NULL;
                n->n_children--;
                known_free(g, c);
        }
}

void registry_refresh(Registry *g, Known *n) {
        _cleanup_close_ int dir_close = -EBADF;
        _cleanup_free_ Entry *entries = NULL;
        _cleanup_free_ char *names = NULL;
        size_t n_entries;
        struct stat st;
        int dir_fd, r;

        dir_fd = registry_dir(g, n, &dir_close);
        if (n->depth >= DEPTH_MAX) {
                if (dir_fd >= 0 && g->trust_links && fstat(dir_fd, &st) == 0 && st.st_nlink >= 2)
                        set_left_out(g, n, (unsigned) st.st_nlink - 2);
                return;
        }
        if (dir_fd < 0) {
                if (!n->gone)
                        g->incomplete = true;
                return;
        }
        /* 1 is what file systems say that do not count; 2 is a leaf. Where some are left out, one of ours that is gone may
         * make up for one of them. */
        if (g->trust_links && !n->unlisted && n->n_left_out == 0 && fstat(dir_fd, &st) == 0 && st.st_nlink >= 2 &&
            st.st_nlink - 2 == n->n_children)
                return;

        r = list_directory(dir_fd, &entries, &n_entries, &names);
        if (r < 0) {
                if (r == -ENOENT || r == -ENODEV)
                        n->gone = true;
                else
                        g->incomplete = true;
                return;
        }
        merge(g, n, entries, n_entries);
        n->unlisted = false;
}

bool registry_sweep(Registry *g, Known *n) {
        bool any = false;

        for (Known **link = &n->children; *link;) {
                Known *c = *link;

                if (!c->gone) {
                        link = &c->next;
                        continue;
                }
                *link = c->next;
                c->next = NULL;
                n->n_children--;
                known_free(g, c);
                any = true;
        }
        return any;
}
