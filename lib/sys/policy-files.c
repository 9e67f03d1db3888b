/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Policy files: the search path, precedence, masks, drop-ins, and what a file must be to be believed.
 *
 * A policy decides who is killed, so a file counts only if nobody but root can have written it: regular,
 * owned by root, in a directory of root's, writable by no one else. Links are followed and their target is
 * judged; a link to /dev/null masks. Files are opened without blocking: a FIFO must not hang the boot.
 *
 * Invariant: the order of the result depends on names alone, never on the order of a directory. */

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "policy/document.h"
#include "sys/policy-files.h"

/* Both far above any real set: they bound what a mistaken directory can make us read. */
#define FILES_MAX 512
#define TOTAL_MAX (16 * DOCUMENT_SIZE_MAX)

const char *const policy_places[] = {
        "/etc/cgd/policies",
        "/run/cgd/policies",
        "/usr/local/lib/cgd/policies",
        "/usr/lib/cgd/policies",
        NULL,
};

const PolicyPaths policy_paths = { .root = "", .places = policy_places, .owner = 0 };

/* One name found in one place. */
typedef struct Entry {
        char *name;             /* "workload.policy", "10-more.conf" */
        char *directory;        /* as shown, without the root */
        size_t place;
        bool untrusted;         /* as its directory */
} Entry;

typedef struct Entries {
        Entry *items;
        size_t n;
} Entries;

static void entries_done(Entries *e) {
        for (size_t i = 0; i < e->n; i++) {
                free(e->items[i].name);
                free(e->items[i].directory);
        }
        free(e->items);
        *e = (Entries) {};
}

void policy_sources_done(PolicySources *s) {
        for (size_t i = 0; i < s->n_items; i++) {
                free(s->items[i].domain);
                free(s->items[i].file);
                free(s->items[i].text);
        }
        free(s->items);
        *s = (PolicySources) {};
}

static void refuse(Diagnostics *d, const char *file, const char *format, ...) _printf_(3, 4);
static void refuse(Diagnostics *d, const char *file, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        diagnostics_add(d, SEVERITY_ERROR, (Span) { .file = file, .line = 1, .column = 1 }, "%s",
                        text ? text : "out of memory");
}

static int compare_entries(const void *a, const void *b) {
        const Entry *x = a, *y = b;
        int r = strcmp(x->name, y->name);

        return r != 0 ? r : (x->place > y->place) - (x->place < y->place);
}

/* True where no one but the owner can have changed it. */
static bool trusted(const struct stat *st, uid_t owner, const char *file, Diagnostics *d) {
        if (st->st_uid != owner)
                refuse(d, file, "is not owned by %s (but by user %u)", owner == 0 ? "root" : "its user",
                       (unsigned) st->st_uid);
        else if (st->st_mode & 022)
                refuse(d, file, "can be written by others than its owner (mode %04o): expected %s or less",
                       (unsigned) st->st_mode & 07777, S_ISDIR(st->st_mode) ? "0755" : "0644");
        else
                return true;
        return false;
}

/* Adds the names with the suffix in one directory. One that is not trusted has its names added all the same: they may be meant to
 * replace or to mask what lies in a later place. */
static int entries_collect(const PolicyPaths *paths, const char *directory, size_t place, const char *suffix,
                           Diagnostics *d, Entries *entries) {
        _cleanup_free_ char *path = NULL;
        struct dirent *de;
        bool untrusted;
        struct stat st;
        DIR *dir;
        int r = 0;

        if (asprintf(&path, "%s%s", paths->root, directory) < 0)
                return -ENOMEM;
        dir = opendir(path);
        if (!dir) {
                if (errno == ENOMEM)
                        return -ENOMEM;
                if (errno != ENOENT)
                        refuse(d, directory, "the directory cannot be read: %s", strerror(errno));
                return 0;
        }
        untrusted = fstat(dirfd(dir), &st) < 0 || !trusted(&st, paths->owner, directory, d);
        while (r >= 0 && (errno = 0, de = readdir(dir))) {
                Entry *items;

                if (de->d_name[0] == '.' || !endswith(de->d_name, suffix) || streq(de->d_name, suffix))
                        continue;
                if (entries->n >= FILES_MAX) {
                        refuse(d, directory, "more than %d files", FILES_MAX);
                        break;
                }
                items = realloc(entries->items, (entries->n + 1) * sizeof(Entry));
                if (!items) {
                        r = -ENOMEM;
                        break;
                }
                entries->items = items;
                items[entries->n] = (Entry) { strdup(de->d_name), strdup(directory), place, untrusted };
                if (!items[entries->n].name || !items[entries->n].directory)
                        r = -ENOMEM;
                entries->n++;
        }
        if (r >= 0 && !de && errno != 0)
                refuse(d, directory, "the directory cannot be read: %s", strerror(errno));
        (void) closedir(dir);
        return r;
}

/* Sorts by name and keeps the first place's of each. */
static void entries_settle(Entries *e) {
        size_t kept = 0;

        if (e->n > 1)
                qsort(e->items, e->n, sizeof(Entry), compare_entries);
        for (size_t i = 0; i < e->n; i++)
                if (kept > 0 && streq(e->items[kept - 1].name, e->items[i].name)) {
                        free(e->items[i].name);
                        free(e->items[i].directory);
                } else
                        e->items[kept++] = e->items[i];
        e->n = kept;
}

typedef enum ReadResult {
        READ_TEXT,
        READ_MASKED,
        READ_REFUSED,
} ReadResult;

/* Reads path, shown as file. owner (uid_t) -1: anybody's. A ReadResult or -ENOMEM. */
static int read_file(const char *path, const char *file, uid_t owner, size_t *total, Diagnostics *d, char **ret,
                     size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        struct stat st;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
                refuse(d, file, "cannot be read: %s", strerror(errno));
                return READ_REFUSED;
        }
        if (fstat(fd, &st) < 0) {
                refuse(d, file, "cannot be read: %s", strerror(errno));
                return READ_REFUSED;
        }
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
                return READ_MASKED;
        if (!S_ISREG(st.st_mode)) {
                refuse(d, file, "is not a regular file");
                return READ_REFUSED;
        }
        if (owner != (uid_t) -1 && !trusted(&st, owner, file, d))
                return READ_REFUSED;
        if (st.st_size > DOCUMENT_SIZE_MAX) {
                refuse(d, file, "the file is larger than 1 MiB");
                return READ_REFUSED;
        }
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        /* What is appended while we read is not part of this version of the file. */
        while (size < (size_t) st.st_size) {
                ssize_t n = read(fd, text + size, (size_t) st.st_size - size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        refuse(d, file, "cannot be read: %s", strerror(errno));
                        return READ_REFUSED;
                }
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        text[size] = '\0';
        *total += size;
        if (*total > TOTAL_MAX) {
                refuse(d, file, "all policies together are larger than 16 MiB");
                return READ_REFUSED;
        }
        *ret = TAKE_PTR(text);
        *ret_size = size;
        return READ_TEXT;
}

/* Takes over text. */
static int sources_append(PolicySources *s, const char *domain, size_t domain_length, const char *file, char *text,
                          size_t size) {
        PolicySource *items;
        PolicySource x = {
                .domain = strndup(domain, domain_length),
                .file = strdup(file),
                .text = text,
                .size = size,
        };

        items = realloc(s->items, (s->n_items + 1) * sizeof(PolicySource));
        if (items)
                s->items = items;
        if (!items || !x.domain || !x.file) {
                free(x.domain);
                free(x.file);
                free(x.text);
                return -ENOMEM;
        }
        s->items[s->n_items++] = x;
        return 0;
}

/* Reads one entry and appends it as a source of the domain. Sets *masked. */
static int load_entry(const PolicyPaths *paths, const Entry *e, const char *domain, size_t domain_length,
                      size_t *total, Diagnostics *d, PolicySources *sources, bool *masked) {
        _cleanup_free_ char *file = NULL, *path = NULL, *text = NULL;
        size_t size = 0;
        int r;

        if (asprintf(&file, "%s/%s", e->directory, e->name) < 0) {
                file = NULL;
                return -ENOMEM;
        }
        if (e->untrusted) {
                refuse(d, file, "is in a directory that is not trusted");
                return 0;
        }
        if (asprintf(&path, "%s%s", paths->root, file) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = read_file(path, file, paths->owner, total, d, &text, &size);
        if (r < 0)
                return r;
        *masked = r == READ_MASKED;
        if (r != READ_TEXT)
                return 0;
        return sources_append(sources, domain, domain_length, file, TAKE_PTR(text), size);
}

static int load_dropins(const PolicyPaths *paths, const char *policy, size_t domain_length, bool masked,
                        size_t *total, Diagnostics *d, PolicySources *sources) {
        _cleanup_(entries_done) Entries dropins = {};
        int r;

        for (size_t place = 0; paths->places[place]; place++) {
                _cleanup_free_ char *directory = NULL;

                if (asprintf(&directory, "%s/%s.d", paths->places[place], policy) < 0) {
                        directory = NULL;
                        return -ENOMEM;
                }
                r = entries_collect(paths, directory, place, ".conf", d, &dropins);
                if (r < 0)
                        return r;
        }
        entries_settle(&dropins);
        if (masked)
                return 0;
        for (size_t i = 0; i < dropins.n; i++) {
                bool dropin_masked;

                r = load_entry(paths, &dropins.items[i], policy, domain_length, total, d, sources, &dropin_masked);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Drop-ins for what is not there are a slip that would else go unseen. */
static int warn_lone_dropins(const PolicyPaths *paths, const Entries *policies, Diagnostics *d) {
        _cleanup_(entries_done) Entries directories = {};
        int r;

        for (size_t place = 0; paths->places[place]; place++) {
                r = entries_collect(paths, paths->places[place], place, ".policy.d", NULL, &directories);
                if (r < 0)
                        return r;
        }
        entries_settle(&directories);
        for (size_t i = 0; i < directories.n; i++) {
                const Entry *e = &directories.items[i];
                size_t n = strlen(e->name) - strlen(".d");
                bool known = false;
                _cleanup_free_ char *file = NULL;

                for (size_t j = 0; j < policies->n; j++)
                        known = known || (strlen(policies->items[j].name) == n &&
                                          strncmp(policies->items[j].name, e->name, n) == 0);
                if (known)
                        continue;
                if (asprintf(&file, "%s/%s", e->directory, e->name) < 0) {
                        file = NULL;
                        return -ENOMEM;
                }
                diagnostics_add(d, SEVERITY_WARNING, (Span) { .file = file, .line = 1, .column = 1 },
                                "drop-ins of no policy: there is no %.*s in any place; ignoring", (int) n, e->name);
        }
        return 0;
}

int policy_files_load(const PolicyPaths *paths, Diagnostics *d, PolicySources *ret) {
        _cleanup_(entries_done) Entries policies = {};
        _cleanup_policy_sources_ PolicySources sources = {};
        size_t total = 0;
        int r;

        for (size_t place = 0; paths->places[place]; place++) {
                r = entries_collect(paths, paths->places[place], place, ".policy", d, &policies);
                if (r < 0)
                        return r;
        }
        entries_settle(&policies);

        for (size_t i = 0; i < policies.n; i++) {
                const Entry *e = &policies.items[i];
                size_t n = strlen(e->name) - strlen(".policy");
                bool masked = false;

                r = load_entry(paths, e, e->name, n, &total, d, &sources, &masked);
                if (r < 0)
                        return r;
                r = load_dropins(paths, e->name, n, masked, &total, d, &sources);
                if (r < 0)
                        return r;
        }
        r = warn_lone_dropins(paths, &policies, d);
        if (r < 0)
                return r;
        *ret = sources;
        sources = (PolicySources) {};
        return 0;
}

/* Moves the last one behind the others of its domain. */
static void sources_gather(PolicySources *s) {
        size_t last = s->n_items - 1, to = last;
        const PolicySource x = s->items[last];

        while (to > 0 && !streq(s->items[to - 1].domain, x.domain))
                to--;
        if (to == 0)
                return;
        memmove(&s->items[to + 1], &s->items[to], (last - to) * sizeof(PolicySource));
        s->items[to] = x;
}

int policy_file_read(const char *path, Diagnostics *d, PolicySources *sources) {
        const char *base = strrchr(path, '/'), *domain;
        _cleanup_free_ char *text = NULL;
        size_t size = 0, total = 0, n;
        int r;

        domain = policy_file_domain(path, &n);
        if (!domain) {
                domain = endswith(path, ".conf") && sources->n_items > 0 ? sources->items[sources->n_items - 1].domain :
                         base                                            ? base + 1 :
                                                                           path;
                n = strlen(domain);
        }
        r = read_file(path, path, (uid_t) -1, &total, d, &text, &size);
        if (r < 0)
                return r;
        if (r != READ_TEXT)
                return r == READ_MASKED ? 0 : -EBADMSG;
        r = sources_append(sources, domain, n, path, TAKE_PTR(text), size);
        if (r >= 0 && endswith(path, ".conf"))
                sources_gather(sources);
        return r;
}
