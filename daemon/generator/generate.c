/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Generate: a policy as systemd's units.
 *
 * For each domain its [Resources] as a drop-in of the slice (40-cgd.conf: after a vendor's 10-defaults.conf,
 * before what `systemctl set-property` or cgd itself writes as 50-KEY.conf and what `systemctl edit` writes as override.conf),
 * and the slice itself where nobody else has a file for it.
 *
 * For [Match] Unit= a drop-in with Slice= (50-cgd-slice.conf) under
 *   - each exact name;
 *   - the template, for a glob such as postgresql@*.service: all instances, whenever they are made;
 *   - the dash prefix, for a glob such as nightly-*.service, which systemd.unit(5) reads from
 *     nightly-.service.d: units that do not exist yet too, transient ones included;
 *   - each name found on disk that any other glob takes in. A unit that appears later is placed from the next
 *     daemon-reload on.
 * Where several hold, systemd reads the most specific directory's file of one name, and that is the
 * precision of policy_unit_domain() too: an exact name goes before a template, this before a prefix, a
 * longer prefix before a shorter one. Names on disk get their own file in any case, so for them the order is exact.
 *
 * Invariant: writes below its two directories only; the same policy and the same disk give the same files. */

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/str.h"
#include "generator/generate.h"
#include "policy/glob.h"

/* As many links as systemd follows from one name of a unit to the next. */
#define LINKS_MAX 8

/* Where unit files lie that can be in a domain. The output of other generators is not looked at: they run at
 * the same time. */
static const char *const unit_places[] = {
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
};

static const struct {
        const char *suffix, *section;
} unit_types[] = {
        { ".service", "Service" },
        { ".scope", "Scope" },
        { ".socket", "Socket" },
        { ".mount", "Mount" },
        { ".swap", "Swap" },
};

static const char *unit_section(const char *unit) {
        for (size_t i = 0; i < ARRAY_SIZE(unit_types); i++)
                if (endswith(unit, unit_types[i].suffix))
                        return unit_types[i].section;
        return NULL;
}

static int write_text(const char *path, const char *text) {
        _cleanup_close_ int fd = -EBADF;
        size_t n = strlen(text);

        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
                return -errno;
        while (n > 0) {
                ssize_t k = write(fd, text, n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                text += k;
                n -= (size_t) k;
        }
        return 0;
}

/* Writes DIRECTORY/NAME, or DIRECTORY/UNIT.d/NAME where unit is given. */
static int write_file(const char *directory, const char *unit, const char *name, const char *text,
                      char **ret_failed) {
        _cleanup_free_ char *parent = NULL, *path = NULL;
        int r;

        if (asprintf(&parent, "%s/%s%s", directory, unit ? unit : "", unit ? ".d" : "") < 0) {
                parent = NULL;
                return -ENOMEM;
        }
        if (asprintf(&path, "%s/%s", parent, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = mkdir(parent, 0755) < 0 && errno != EEXIST ? -errno : write_text(path, text);
        if (r < 0)
                *ret_failed = TAKE_PTR(path);
        return r;
}

/* Text in a unit file, where % begins a specifier. */
static void append_plain(Str *s, const char *text) {
        for (; *text; text++)
                str_append_n(s, *text == '%' ? "%%" : text, *text == '%' ? 2 : 1);
}

static void append_head(Str *s, const Domain *d) {
        str_append(s, "# Made by cgd-generator from");
        for (char *const *f = d->files; f && *f; f++)
                str_appendf(s, " %s", *f);
        str_append(s, "\n");
}

static int generate_slice(const Domain *d, const GeneratePaths *paths, char **ret_failed) {
        _cleanup_str_ Str unit = {}, resources = {};
        _cleanup_free_ char *unit_text = NULL, *resources_text = NULL;
        bool accounting = false;
        int r;

        /* The kernel has no limits at the root, and systemd makes these two itself. */
        if (streq(d->slice, "-.slice"))
                return 0;
        if (!streq(d->slice, "system.slice")) {
                append_head(&unit, d);
                str_append(&unit, "[Unit]\nDescription=");
                if (*d->description)
                        append_plain(&unit, d->description);
                else
                        str_appendf(&unit, "Domain %s", d->name);
                str_append(&unit, "\nDocumentation=man:cgd.policy(5)\n");
                r = str_finish(&unit, &unit_text);
                if (r < 0)
                        return r;
                r = write_file(paths->late, NULL, d->slice, unit_text, ret_failed);
                if (r < 0)
                        return r;
        }

        append_head(&resources, d);
        str_append(&resources, "[Slice]\n");
        for (size_t i = 0; i < d->n_resources; i++) {
                accounting = accounting || streq(d->resources[i].key, "MemoryAccounting");
                str_appendf(&resources, "%s=%s\n", d->resources[i].key, d->resources[i].value);
        }
        /* Without it the units of the slice have no memory files, and nothing can be measured or held. */
        if (!accounting)
                str_append(&resources, "MemoryAccounting=yes\n");
        r = str_finish(&resources, &resources_text);
        if (r < 0)
                return r;
        return write_file(paths->normal, d->slice, "40-cgd.conf", resources_text, ret_failed);
}

/* 1 where a link, or one after the other, makes the name another one of a unit that is never placed, and its drop-ins that
 * unit's; 0; -ENOMEM. */
static int is_alias_of_protected(const char *unit, unsigned links, const GeneratePaths *paths) {
        for (size_t i = 0; i < ARRAY_SIZE(unit_places); i++) {
                _cleanup_free_ char *path = NULL;
                char target[PATH_MAX];
                const char *name;
                ssize_t n;
                int r;

                if (asprintf(&path, "%s%s/%s", paths->root, unit_places[i], unit) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                n = readlink(path, target, sizeof target - 1);
                if (n < 0)
                        continue;
                target[n] = '\0';
                name = strrchr(target, '/');
                name = name ? name + 1 : target;
                if (unit_is_protected(name))
                        return 1;
                /* A unit of the same name somewhere else is looked at in its turn. */
                r = links > 1 && !streq(name, unit) ? is_alias_of_protected(name, links - 1, paths) : 0;
                if (r != 0)
                        return r;
        }
        return 0;
}

static int generate_placement(const Domain *d, const char *unit, const GeneratePaths *paths, char **ret_failed) {
        _cleanup_str_ Str s = {};
        _cleanup_free_ char *text = NULL;
        int r = is_alias_of_protected(unit, LINKS_MAX, paths);

        if (r != 0)
                return MIN(r, 0);
        append_head(&s, d);
        str_appendf(&s, "[%s]\nSlice=%s\n", unit_section(unit), d->slice);
        r = str_finish(&s, &text);
        if (r < 0)
                return r;
        return write_file(paths->normal, unit, "50-cgd-slice.conf", text, ret_failed);
}

/* What stands for the glob in systemd's own terms, or nothing. At most two names. */
static int generate_glob(const Domain *d, const char *glob, const GeneratePaths *paths, char **ret_failed) {
        size_t n = glob_prefix(glob);
        const char *suffix = glob + n + 1;
        _cleanup_free_ char *first = NULL, *second = NULL;
        int r = 0;

        /* "PREFIX@*.TYPE" or "PREFIX-*.TYPE", and nothing more. */
        if (glob[n] != '*' || n < 2 || *suffix != '.' || strchr(suffix + 1, '.') || !glob_is_literal(suffix))
                return 0;
        if (glob[n - 1] == '@' && strchr(glob, '@') == glob + n - 1) {
                if (asprintf(&first, "%.*s%s", (int) n, glob, suffix) < 0) {
                        first = NULL;
                        return -ENOMEM;
                }
        } else if (glob[n - 1] == '-' && !memchr(glob, '@', n)) {
                if (asprintf(&first, "%.*s%s", (int) n, glob, suffix) < 0) {
                        first = NULL;
                        return -ENOMEM;
                }
                /* systemd cuts the prefix off the instances' templates apart from the rest. */
                if (asprintf(&second, "%.*s@%s", (int) n, glob, suffix) < 0) {
                        second = NULL;
                        return -ENOMEM;
                }
        }
        if (first)
                r = generate_placement(d, first, paths, ret_failed);
        if (r >= 0 && second)
                r = generate_placement(d, second, paths, ret_failed);
        return r;
}

/* The directory's units, and those of its NAME.wants, NAME.requires and NAME.upholds, where enabled instances are. */
static int generate_found(const Policy *policy, const char *directory, bool top, const GeneratePaths *paths,
                          char **ret_failed) {
        struct dirent *de;
        DIR *dir;
        int r = 0;

        dir = opendir(directory);
        if (!dir)
                return 0;       /* a place that is not there, or not for us to read, has no units for us */
        while (r >= 0 && (de = readdir(dir))) {
                const Domain *d;

                if (de->d_name[0] == '.')
                        continue;
                if (top && (endswith(de->d_name, ".wants") || endswith(de->d_name, ".requires") ||
                            endswith(de->d_name, ".upholds"))) {
                        _cleanup_free_ char *sub = NULL;

                        if (asprintf(&sub, "%s/%s", directory, de->d_name) < 0) {
                                sub = NULL;
                                r = -ENOMEM;
                                break;
                        }
                        r = generate_found(policy, sub, false, paths, ret_failed);
                        continue;
                }
                if (!unit_section(de->d_name))
                        continue;
                d = policy_unit_domain(policy, de->d_name);
                if (d)
                        r = generate_placement(d, de->d_name, paths, ret_failed);
        }
        (void) closedir(dir);
        return r;
}

int generate(const Policy *policy, const GeneratePaths *paths, char **ret_failed) {
        bool any_glob = false;
        int r;

        for (size_t i = 0; i < policy->n_domains; i++) {
                const Domain *d = &policy->domains[i];

                if (d->left_out)
                        continue;
                r = generate_slice(d, paths, ret_failed);
                if (r < 0)
                        return r;
                for (char *const *unit = d->match.units; unit && *unit; unit++) {
                        if (glob_is_literal(*unit))
                                r = generate_placement(d, *unit, paths, ret_failed);
                        else {
                                any_glob = true;
                                r = generate_glob(d, *unit, paths, ret_failed);
                        }
                        if (r < 0)
                                return r;
                }
        }
        for (size_t i = 0; any_glob && i < ARRAY_SIZE(unit_places); i++) {
                _cleanup_free_ char *directory = NULL;

                if (asprintf(&directory, "%s%s", paths->root, unit_places[i]) < 0) {
                        directory = NULL;
                        return -ENOMEM;
                }
                r = generate_found(policy, directory, true, paths, ret_failed);
                if (r < 0)
                        return r;
        }
        return 0;
}
