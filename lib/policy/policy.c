/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Policy: lookups in the compiled set, comparison, and its end. Everything here reads only. */

#include "base/str.h"
#include "policy/glob.h"
#include "policy/policy.h"

static const char *const mode_names[_MODE_MAX] = {
        [MODE_OFF] = "off",
        [MODE_MONITOR] = "monitor",
        [MODE_CONTAIN] = "contain",
        [MODE_ENFORCE] = "enforce",
};

const char *mode_to_string(Mode m) {
        return (size_t) m < ARRAY_SIZE(mode_names) ? mode_names[m] : "unknown";
}

int mode_from_string(const char *s, Mode *ret) {
        for (size_t i = 0; i < _MODE_MAX; i++)
                if (streq(mode_names[i], s)) {
                        *ret = (Mode) i;
                        return 0;
                }
        return -EINVAL;
}

static const char *const condition_type_names[_CONDITION_TYPE_MAX] = {
        [CONDITION_MEMORY_PRESSURE] = "MemoryPressureAbove",
        [CONDITION_IO_PRESSURE] = "IOPressureAbove",
        [CONDITION_CPU_PRESSURE] = "CPUPressureAbove",
        [CONDITION_IO_LATENCY] = "IOLatencyAbove",
        [CONDITION_SWAP_USED] = "SwapUsedAbove",
        [CONDITION_MEMORY_USED] = "MemoryUsedAbove",
        [CONDITION_RECLAIM_STALL] = "ReclaimStallAbove",
        [CONDITION_MEMORY_EXHAUSTION] = "MemoryExhaustionWithin",
};

const char *condition_type_to_string(ConditionType t) {
        return (size_t) t < ARRAY_SIZE(condition_type_names) ? condition_type_names[t] : "unknown";
}

void domain_done(Domain *d) {
        free(d->name);
        free(d->description);
        free(d->slice);
        free(d->cgroup);
        strv_free(d->match.units);
        strv_free(d->match.users);
        strv_free(d->match.executables);
        for (size_t i = 0; i < d->n_resources; i++)
                free(d->resources[i].value);
        free(d->resources);
        for (size_t i = 0; i < d->n_alarms; i++) {
                for (size_t j = 0; j < d->alarms[i].n_conditions; j++)
                        free(d->alarms[i].conditions[j].text);
                free(d->alarms[i].conditions);
                free(d->alarms[i].name);
        }
        free(d->alarms);
        free(d->contain.pre_kill_exec);
        strv_free(d->contain.exclude);
        strv_free(d->files);
        strv_free(d->inactive);
        *d = (Domain) {};
}

Policy *policy_free(Policy *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_domains; i++)
                domain_done(&p->domains[i]);
        free(p->domains);
        free(p);
        return NULL;
}

bool path_within(const char *path, const char *cgroup) {
        size_t n = streq(cgroup, "/") ? 0 : strlen(cgroup);

        return strncmp(path, cgroup, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

const Domain *policy_domain_of(const Policy *p, const char *path) {
        const Domain *best = NULL;

        for (size_t i = 0; i < p->n_domains; i++) {
                const Domain *d = &p->domains[i];

                if (path_within(path, d->cgroup) && (!best || strlen(d->cgroup) > strlen(best->cgroup)))
                        best = d;
        }
        return best;
}

const Domain *policy_find(const Policy *p, const char *name) {
        for (size_t i = 0; i < p->n_domains; i++)
                if (streq(p->domains[i].name, name))
                        return &p->domains[i];
        return NULL;
}

size_t policy_n_in_force(const Policy *p) {
        size_t n = 0;

        for (size_t i = 0; i < p->n_domains; i++)
                n += !p->domains[i].left_out;
        return n;
}

/* How well the best of the patterns takes the name in: 0 not at all, SIZE_MAX by its exact name, else one
 * more than the bytes before the glob's first special character. */
static size_t match_precision(char *const *patterns, const char *name) {
        size_t best = 0;

        for (; patterns && *patterns; patterns++)
                if (glob_is_literal(*patterns)) {
                        if (streq(*patterns, name))
                                return SIZE_MAX;
                } else if (glob_match(*patterns, name))
                        best = MAX(best, glob_prefix(*patterns) + 1);
        return best;
}

const Domain *policy_unit_domain(const Policy *p, const char *unit) {
        const Domain *ret = NULL;
        size_t best = 0;

        if (unit_is_protected(unit) || strlen(unit) > POLICY_UNIT_NAME_MAX)
                return NULL;
        for (size_t i = 0; i < p->n_domains; i++) {
                size_t n = match_precision(p->domains[i].match.units, unit);

                if (n > best) {
                        ret = &p->domains[i];
                        best = n;
                }
        }
        return ret;
}

const Domain *policy_process_domain(const Policy *p, const char *user, const char *uid, const char *executable) {
        const Domain *ret = NULL;
        size_t best = 0;

        for (size_t i = 0; executable && i < p->n_domains; i++) {
                size_t n = match_precision(p->domains[i].match.executables, executable);

                if (n > best) {
                        ret = &p->domains[i];
                        best = n;
                }
        }
        for (size_t i = 0; !ret && i < p->n_domains; i++) {
                char *const *users = p->domains[i].match.users;

                if ((user && strv_contains(users, user)) || (uid && strv_contains(users, uid)))
                        ret = &p->domains[i];
        }
        return ret;
}

bool domain_excludes(const Domain *d, const char *unit) {
        return match_precision(d->contain.exclude, unit) > 0;
}

/* And other names that they have in Debian; the generator looks for more (generator/generate.c). */
static const char *const protected_units[] = {
        "init.scope",
        "cgd.service",
        "dbus.service",
        "dbus-broker.service",
        "systemd-journald.service",
        "systemd-logind.service",
        "systemd-udevd.service",
        "dbus-org.freedesktop.login1.service",
        "udev.service",
};

bool unit_is_protected(const char *unit) {
        for (size_t i = 0; i < ARRAY_SIZE(protected_units); i++)
                if (streq(unit, protected_units[i]))
                        return true;
        return false;
}

const char *unit_protected_by(const char *pattern) {
        for (size_t i = 0; i < ARRAY_SIZE(protected_units); i++)
                if (glob_match(pattern, protected_units[i]))
                        return protected_units[i];
        return NULL;
}

static bool slice_name_is_valid(const char *s) {
        const char *end = endswith(s, ".slice");
        bool dash = true;       /* none at the start, at the end or doubled: systemd.slice(5) */

        if (!end || end == s || strlen(s) > POLICY_UNIT_NAME_MAX)
                return false;
        if (streq(s, "-.slice"))
                return true;
        for (; s < end; s++) {
                if (!(*s >= 'a' && *s <= 'z') && !(*s >= 'A' && *s <= 'Z') && !(*s >= '0' && *s <= '9') &&
                    !strchr(":-_.\\", *s))
                        return false;
                if (*s == '-' && dash)
                        return false;
                dash = *s == '-';
        }
        return !dash;
}

/* What systemd calls a controller: a cgroup of a name that could be one of its files gets another (cg_needs_escape()). */
static const char *const controllers[] = {
        "cgroup", "cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids", "bpf-firewall", "bpf-devices",
        "bpf-foreign", "bpf-socket-bind", "bpf-restrict-network-interfaces",
};

static bool slice_is_escaped(const char *name) {
        if (*name == '_' || *name == '.')
                return true;
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
                const char *rest = startswith(name, controllers[i]);

                if (rest && *rest == '.')
                        return true;
        }
        return false;
}

int slice_to_cgroup(const char *slice, char **ret) {
        _cleanup_str_ Str s = {};
        const char *end = endswith(slice, ".slice");

        if (!slice_name_is_valid(slice))
                return -EINVAL;
        if (streq(slice, "-.slice"))
                str_append(&s, "/");
        else
                for (const char *p = slice; p; p = p < end ? p + 1 : NULL)
                        if (p == end || *p == '-') {
                                char name[256];

                                (void) snprintf(name, sizeof name, "%.*s.slice", (int) (p - slice), slice);
                                str_append(&s, slice_is_escaped(name) ? "/_" : "/");
                                str_append(&s, name);
                        }
        return str_finish(&s, ret);
}

static bool text_equal(const char *a, const char *b) {
        return a == b || (a && b && streq(a, b));
}

static bool list_equal(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (strv_length(b) != n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (!streq(a[i], b[i]))
                        return false;
        return true;
}

static bool condition_equal(const Condition *a, const Condition *b) {
        return a->type == b->type && a->full == b->full && a->threshold_permyriad == b->threshold_permyriad &&
               a->percentile == b->percentile && a->threshold_usec == b->threshold_usec &&
               a->window_usec == b->window_usec && a->active == b->active && streq(a->text, b->text);
}

static bool alarm_equal(const Alarm *a, const Alarm *b) {
        if (!streq(a->name, b->name) || a->lasting_usec != b->lasting_usec || a->n_conditions != b->n_conditions)
                return false;
        for (size_t i = 0; i < a->n_conditions; i++)
                if (!condition_equal(&a->conditions[i], &b->conditions[i]))
                        return false;
        return true;
}

static bool contain_equal(const Contain *a, const Contain *b) {
        return a->present == b->present && a->mode == b->mode &&
               memcmp(a->steps, b->steps, sizeof(a->steps)) == 0 && a->step_usec == b->step_usec &&
               a->squeeze_floor_bytes == b->squeeze_floor_bytes &&
               a->io_cap_floor_bytes == b->io_cap_floor_bytes && a->lease_usec == b->lease_usec &&
               a->kill_after_usec == b->kill_after_usec && a->kill_budget == b->kill_budget &&
               a->kill_budget_usec == b->kill_budget_usec && a->freeze_max_usec == b->freeze_max_usec &&
               a->pre_kill_timeout_usec == b->pre_kill_timeout_usec &&
               text_equal(a->pre_kill_exec, b->pre_kill_exec) && list_equal(a->exclude, b->exclude);
}

bool domain_equal(const Domain *a, const Domain *b) {
        if (!streq(a->name, b->name) || !text_equal(a->description, b->description) ||
            !streq(a->slice, b->slice) || !streq(a->cgroup, b->cgroup) || a->rank != b->rank ||
            a->blame_share_min_permyriad != b->blame_share_min_permyriad ||
            !list_equal(a->match.units, b->match.units) || !list_equal(a->match.users, b->match.users) ||
            !list_equal(a->match.executables, b->match.executables) || a->n_resources != b->n_resources ||
            a->n_alarms != b->n_alarms || !contain_equal(&a->contain, &b->contain))
                return false;
        for (size_t i = 0; i < a->n_resources; i++)
                if (!streq(a->resources[i].key, b->resources[i].key) ||
                    !streq(a->resources[i].value, b->resources[i].value))
                        return false;
        for (size_t i = 0; i < a->n_alarms; i++)
                if (!alarm_equal(&a->alarms[i], &b->alarms[i]))
                        return false;
        return true;
}

bool policy_equal(const Policy *a, const Policy *b) {
        if (a->n_domains != b->n_domains)
                return false;
        for (size_t i = 0; i < a->n_domains; i++)
                if (!domain_equal(&a->domains[i], &b->domains[i]))
                        return false;
        return true;
}
