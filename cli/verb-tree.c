/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl tree`: reads the cgroups itself, so that it works when cgd does not; what is held and which domain
 * a cgroup is in comes from cgd where it runs, and is left out where it does not. Read file by file while
 * the system goes on: a cgroup that vanishes meanwhile is left out. */

#include <dirent.h>
#include <fcntl.h>

#include "base/units.h"
#include "cli.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/policy-files.h"
#include "sys/unit.h"

#define DEPTH_MAX 64

typedef struct Walk {
        const json_t *domains, *contained, *latencies; /* or NULL */
        const char *wanted, *unit;         /* a name that is looked for, and the unit's that it may stand for; or NULL */
        json_t *found;
} Walk;

static const char *walk_domain(const Walk *w, const char *path) {
        const char *best = NULL;
        size_t longest = 0, i;
        const json_t *d;

        json_array_foreach(w->domains, i, d) {
                const char *cgroup = field_text(d, "cgroup");
                size_t n = strlen(cgroup);

                if (streq(cgroup, "/"))
                        n = 0;
                if ((n >= longest || !best) && strncmp(path, cgroup, n) == 0 &&
                    (path[n] == '/' || path[n] == '\0')) {
                        best = field_text(d, "name");
                        longest = n;
                }
        }
        return best;
}

/* What cgd says of a cgroup. */
static const json_t *find_cgroup(const json_t *list, const char *path) {
        const json_t *c;
        size_t i;

        json_array_foreach(list, i, c) if (streq(field_text(c, "cgroup"), path)) return c;
        return NULL;
}

/* Whom cgd holds it says by id, too: a name that is escaped may be so in two ways. */
static const json_t *find_lease(const json_t *list, int fd) {
        const json_t *c;
        uint64_t id;
        size_t i;

        if (json_array_size(list) == 0 || cgroup_id(fd, &id) < 0)
                return NULL;
        json_array_foreach(list, i, c) if (field_u64(c, "cgroup_id") == id) return c;
        return NULL;
}

/* "some avg10=1.23 …" in 1/10000. */
static int read_waits(int fd, const char *file, unsigned *ret) {
        char text[256], *p;
        unsigned whole, hundredths;

        if (file_read_at(fd, file, text, sizeof(text)) < 0)
                return -ENODATA;
        p = strstr(text, "some avg10=");
        if (!p || sscanf(p + strlen("some avg10="), "%u.%2u", &whole, &hundredths) != 2)
                return -ENODATA;
        *ret = whole * 100 + hundredths;
        return 0;
}

static void set_bytes(json_t *node, const char *key, int fd, const char *file) {
        uint64_t v;

        if (file_read_limit_at(fd, file, &v) < 0)
                return;
        (void) json_object_set_new(node, key, v == LIMIT_MAX ? json_null() : json_integer((json_int_t) v));
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static json_t *walk(Walk *w, int fd, const char *path, unsigned depth) {
        const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : "/", *domain;
        json_t *node = json_object(), *children = json_array();
        _cleanup_strv_ char **names = NULL;
        _cleanup_str_ Str safe = {}, safe_path = {};
        const json_t *lease, *latency;
        struct dirent *e;
        unsigned waits;
        DIR *dir;
        int copy;

        view_text(&safe, name);
        view_text(&safe_path, path);
        (void) json_object_set_new(node, "name", json_string(safe.data ? safe.data : ""));
        (void) json_object_set_new(node, "path", json_string(safe_path.data ? safe_path.data : ""));
        domain = walk_domain(w, path);
        if (domain)
                (void) json_object_set_new(node, "domain", json_string(domain));
        set_bytes(node, "memory_bytes", fd, "memory.current");
        set_bytes(node, "swap_bytes", fd, "memory.swap.current");
        set_bytes(node, "memory_high", fd, "memory.high");
        if (read_waits(fd, "memory.pressure", &waits) >= 0)
                (void) json_object_set_new(node, "pressure_permyriad", json_integer((json_int_t) waits));
        if (read_waits(fd, "io.pressure", &waits) >= 0)
                (void) json_object_set_new(node, "io_pressure_permyriad", json_integer((json_int_t) waits));
        latency = find_cgroup(w->latencies, safe_path.data ? safe_path.data : "");
        if (latency)
                (void) json_object_set(node, "io_p99_usec", json_object_get(latency, "p99_usec"));
        lease = find_lease(w->contained, fd);
        if (lease)
                (void) json_object_set_new(node, "held", json_string(field_text(lease, "step")));
        if (lease && json_object_get(lease, "io_max"))
                (void) json_object_set(node, "io_max", json_object_get(lease, "io_max"));
        (void) json_object_set_new(node, "children", children);

        copy = depth < DEPTH_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        dir = copy >= 0 ? fdopendir(copy) : NULL;
        while (dir && (e = readdir(dir)))
                if (e->d_type == DT_DIR && !streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        (void) strv_extend(&names, e->d_name);
        if (dir)
                (void) closedir(dir);
        if (names)
                qsort(names, strv_length(names), sizeof(char *), compare_names);
        for (char **n = names; n && *n; n++) {
                _cleanup_close_ int child = openat(fd, *n, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                _cleanup_free_ char *below = NULL;

                if (child < 0 || asprintf(&below, "%s/%s", streq(path, "/") ? "" : path, *n) < 0)
                        continue;
                (void) json_array_append_new(children, walk(w, child, below, depth + 1));
        }
        if (w->wanted && !w->found && (streq(name, w->wanted) || streq(name, w->unit)))
                w->found = json_incref(node);
        return node;
}

/* Without cgd: the domains as it would load them; none where the set would be refused. */
static json_t *domains_of_files(const Cli *cli) {
        _cleanup_policy_sources_ PolicySources sources = {};
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *policy = NULL;
        PolicyPaths paths = policy_paths;
        json_t *a = json_array();

        if (cli->root) {
                paths.root = cli->root;
                paths.owner = geteuid();
        }
        if (policy_files_load(&paths, &d, &sources) >= 0 &&
            policy_compile(sources.items, sources.n_items, &d, &policy) >= 0)
                for (size_t i = 0; i < policy->n_domains; i++)
                        (void) json_array_append_new(a, json_pack("{s:s, "
                                                                  "s:s}", "name", policy->domains[i].name,
                                                                  "cgroup", policy->domains[i].cgroup));
        return a;
}

CliExit verb_tree(Cli *cli, int argc, char **argv) {
        json_t *domains = NULL, *status = NULL, *tree;
        _cleanup_free_ char *root = NULL, *unit = NULL;
        _cleanup_close_ int fd = -EBADF, start = -EBADF;
        const char *from = cli->from, *path = "/";
        Walk w = {};
        int there;

        if (from) {
                CliExit r = client_json(cli, &tree, NULL, NULL, NULL);

                return r != CLI_DONE ? r : output_document(cli, tree, view_tree);
        }
        if (asprintf(&root, "%s/sys/fs/cgroup", cli->root ? cli->root : "") < 0)
                return CLI_FAILED;
        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                cli_error("%s: cannot look at the cgroups: %s; run 'cgctl check'", root, strerror(errno));
                return CLI_FAILED;
        }
        there = cli->root ? -ESRCH : client_find(cli);
        if (there != -ESRCH && there < 0)
                cli_error("whom cgd contains is not shown: %s; see 'cgctl check'", strerror(-there));
        if (there >= 0 &&
            client_json(cli, &domains, "ListDomains", NULL, NULL) == CLI_DONE &&
            client_json(cli, &status, "GetStatus", NULL, NULL) == CLI_DONE)
                w = (Walk) { .domains = domains, .contained = json_object_get(status, "contained"),
                             .latencies = json_object_get(status, "io_latency") };
        else
                w.domains = domains = domains_of_files(cli);

        if (argc > 0 && argv[0][0] == '/') {
                /* As a shell completes a directory: no name ends in one. */
                for (size_t n = strlen(argv[0]); n > 1 && argv[0][n - 1] == '/'; n--)
                        argv[0][n - 1] = '\0';
                path = argv[0];
        } else if (argc > 0) {
                unit = unit_name_complete(argv[0]);
                if (!unit)
                        return CLI_FAILED;
                w.wanted = argv[0];
                w.unit = unit;
        }
        start = cgroup_open(fd, path);
        tree = start >= 0 ? walk(&w, start, path, 0) : NULL;
        if (w.wanted) {
                json_decref(tree);
                tree = w.found;
        }
        json_decref(domains);
        json_decref(status);
        if (!tree) {
                _cleanup_free_ char *shown = str_escape(argc > 0 ? argv[0] : path);

                cli_error("%s: there is no such cgroup%s", shown ? shown : "",
                          w.wanted && endswith(w.wanted, ".slice") ? "; a slice is made when something starts in it" : "");
                return CLI_NOT_FOUND;
        }
        return output_document(cli, tree, view_tree);
}
