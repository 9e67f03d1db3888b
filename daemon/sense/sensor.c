/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sensor: PSI triggers, the host's files, and the walk of the cgroups, behind one face.
 *
 * Invariant: what a sample points to (paths, rows, directory fds) lives until the next sensor_sample();
 * nothing is freed in between. Left out on purpose: the loop's timing. When to sample, and what, is in
 * the engine's plan. */

#include <fcntl.h>
#include <inttypes.h>

#include "base/macro.h"
#include "base/str.h"
#include "base/units.h"
#include "sense/credit.h"
#include "sense/life.h"
#include "sense/registry.h"
#include "sense/sense.h"
#include "sense/trigger.h"
#include "sense/walk.h"
#include "sense/watch.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/procfs.h"
#include "sys/psi.h"

/* Whoever is acted on stays in every sample for so long after the last action, and while its limit is
 * set. */
#define HELD_USEC (60 * USEC_PER_SEC)
/* Records for this many cgroups more than there are, so that few births ask for a larger map. */
#define CENSUS_SPARE(n) ((n) / 16 + 64)
/* As many as the registry knows: 5 MiB of records. */
#define CENSUS_MAX 20000

typedef enum HostFile {
        HOST_MEMINFO,
        HOST_VMSTAT,
        HOST_PRESSURE_MEMORY,
        HOST_PRESSURE_IO,
        _HOST_FILE_MAX,
} HostFile;

static const char *const host_files[_HOST_FILE_MAX] = {
        [HOST_MEMINFO] = "meminfo",
        [HOST_VMSTAT] = "vmstat",
        [HOST_PRESSURE_MEMORY] = "pressure/memory",
        [HOST_PRESSURE_IO] = "pressure/io",
};

struct Sensor {
        sd_event *event;
        SensorHandler handler;
        void *userdata;
        int proc_fd;
        int host_fds[_HOST_FILE_MAX];   /* kept; -EBADF where it could not be opened */
        Registry registry;
        Walk walk;
        Triggers triggers;
        Census census;
        Credit credit;
        bool have_credit;
        Watch watch;
        bool have_watch;
        char **limits;                  /* cgroups of which it is asked how long their limit leaves something; NULL = none */
        Life life;
        bool have_life;
        ExecFilter exec;
        SensorExecHandler exec_handler;
        void *exec_userdata;
        char *root;
        char reason[512];               /* of sensor_level() */
        bool have_registry, have_triggers;
        size_t n_known;                 /* when missing triggers were tried last */
        Sample sample;
};

static char *own_cgroup(int proc_fd) {
        char buf[4096 + 1024], path[4096];

        if (file_read_at(proc_fd, "self/cgroup", buf, sizeof buf) < 0 ||
            proc_cgroup_parse(buf, path, sizeof path) < 0 || streq(path, "/"))
                return NULL;
        return strdup(path);
}

int sensor_new(sd_event *event, const char *root, const char *proc, SensorHandler handler, void *userdata,
               Sensor **ret) {
        Sensor *s = calloc(1, sizeof *s);
        _cleanup_free_ char *own = NULL;
        int r;

        if (!s)
                return -ENOMEM;
        s->handler = handler;
        s->userdata = userdata;
        for (size_t i = 0; i < _HOST_FILE_MAX; i++)
                s->host_fds[i] = -EBADF;
        s->proc_fd = open(proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->proc_fd < 0) {
                r = -errno;
                goto fail;
        }
        own = own_cgroup(s->proc_fd);

        r = registry_init(&s->registry, root, own);
        if (r < 0)
                goto fail;
        s->have_registry = true;
        walk_init(&s->walk, &s->registry, (uint64_t) sysconf(_SC_PAGESIZE));

        s->root = strdup(root);
        if (!s->root) {
                r = -ENOMEM;
                goto fail;
        }
        s->event = sd_event_ref(event);
        r = triggers_init(&s->triggers, event, s->registry.root_fd, proc, handler, userdata);
        if (r < 0)
                goto fail;
        s->have_triggers = true;
        *ret = s;
        return 0;

fail:
        sensor_free(s);
        return r;
}

Sensor *sensor_free(Sensor *s) {
        if (!s)
                return NULL;
        if (s->have_triggers)
                triggers_done(&s->triggers);
        if (s->walk.census)
                census_done(s->walk.census);
        if (s->have_credit)
                credit_done(&s->credit);
        if (s->have_watch)
                watch_done(&s->watch);
        if (s->have_life)
                life_done(&s->life);
        if (s->have_registry) {
                walk_done(&s->walk);
                registry_done(&s->registry);
        }
        for (size_t i = 0; i < _HOST_FILE_MAX; i++)
                safe_close(s->host_fds[i]);
        safe_close(s->proc_fd);
        sd_event_unref(s->event);
        strv_free(s->limits);
        free(s->root);
        free(s);
        return NULL;
}

/* It costs something with each request: only while an alarm asks about io. */
static void load_credit(Sensor *s) {
        if (!s->have_credit)
                return;
        if (s->walk.io && !s->credit.control)
                (void) credit_load(&s->credit);
        else if (!s->walk.io && s->credit.control)
                credit_unload(&s->credit);
}

/* Likewise with each program that starts. */
static void load_life(Sensor *s, const char *loader) {
        if (exec_filter_is_empty(&s->exec)) {
                if (s->have_life)
                        life_unload(&s->life);
                return;
        }
        if (!s->have_life && life_init(&s->life, s->event, loader, s->exec_handler, s->exec_userdata) == 0) {
                s->have_life = true;
                (void) life_set(&s->life, &s->exec);
        }
        if (s->have_life)
                (void) life_load(&s->life);
}

void sensor_set_exec(Sensor *s, const ExecFilter *f, SensorExecHandler handler, void *userdata) {
        s->exec = *f;
        s->exec_handler = handler;
        s->exec_userdata = userdata;
        if (s->have_life)
                (void) life_set(&s->life, f);
}

bool sensor_has_lost_exec(Sensor *s) {
        return !s->have_life || !s->life.control || life_has_lost(&s->life);
}

bool sensor_load_bpf(Sensor *s, const char *loader) {
        /* One at a time: each takes 20 MiB for a moment. */
        s->have_watch = s->have_watch || watch_init(&s->watch, s->event, loader, s->handler, s->userdata) == 0;
        if (s->have_watch)
                (void) watch_load(&s->watch);
        if (s->have_watch && !watch_is_settled(&s->watch))
                return true;
        load_life(s, loader);
        if (s->have_life && loading_is_on(&s->life.loading))
                return true;
        if (!s->walk.census && census_init(&s->census, s->event, s->root, loader) == 0) {
                s->walk.census = &s->census;
                (void) census_load(&s->census, s->registry.n_known + CENSUS_SPARE(s->registry.n_known));
        }
        if (!s->walk.census || loading_is_on(&s->census.loading))
                return s->walk.census;
        s->have_credit = s->have_credit || credit_init(&s->credit, s->event, loader) == 0;
        load_credit(s);
        return s->have_credit && loading_is_on(&s->credit.loading);
}

/* A map that is too small is replaced by a larger one, at the heartbeat's pace. */
static void census_grow(Sensor *s) {
        size_t n;

        if (!s->walk.census || !census_is_cut(&s->census) || s->census.n_max >= CENSUS_MAX)
                return;
        n = (size_t) s->census.control->n_records;
        (void) census_load(&s->census, MIN(n + CENSUS_SPARE(n), (size_t) CENSUS_MAX));
}

#define NOT_YET "it is being loaded at the next calm heartbeat"

/* Why a feature is not there; "": it is. One that was taken out may be wanted again. */
static const char *why_not(bool tried, bool works, const Loading *l) {
        return tried && (works || *l->reason) ? l->reason : NOT_YET;
}

void sensor_level(const Sensor *s, SensorLevel *ret) {
        const Census *c = s->walk.census;
        char *reason = ((Sensor *) s)->reason;
        bool works = c && c->link_fd >= 0;
        size_t length;

        (void) snprintf(reason, sizeof s->reason, "%s", c ? census_reason(c) : NOT_YET);
        if (works && !*reason && s->walk.trial.distrusted) {
                char words[200];

                trial_words(&s->walk.trial, words, sizeof words);
                (void) snprintf(reason, sizeof s->reason, "read from files, for the walk says otherwise: %s", words);
        }
        length = strlen(reason);
        if (s->registry.n_left_out > 0)
                (void) snprintf(reason + length, sizeof s->reason - length,
                                "%scgroups that count with those above them, because they are too many, lie too deep or have too "
                                "long a path: %zu", length > 0 ? "; " : "", s->registry.n_left_out);
        *ret = (SensorLevel) {
                .level = works ? 2 : 1,
                .settled = c && !loading_is_on(&c->loading) && (!s->have_credit || !loading_is_on(&s->credit.loading)),
                .reason = reason,
                .cost_usec = works ? c->cost_usec : 0,
                .longest_usec = works ? c->longest_usec : 0,
                .cgroups = works ? c->n : 0,
                .bytes = works ? census_bytes(c) : 0,
                .exec = s->have_life && s->life.control,
                .exec_reason = exec_filter_is_empty(&s->exec) ? "no policy names a program or a user" :
                               why_not(s->have_life, s->life.control, &s->life.loading),
                .watch = s->have_watch && watch_works(&s->watch),
                .watch_reason = why_not(s->have_watch, s->have_watch && watch_works(&s->watch), &s->watch.loading),
                .watch_woken = s->have_watch ? s->watch.woken : 0,
                .oom_kills = s->have_watch ? s->watch.oom_kills : 0,
                .credit = s->have_credit && s->credit.control,
                .credit_reason = !s->walk.io && !(s->have_credit && s->credit.control) ? "no policy has an alarm about io" :
                                 why_not(s->have_credit, s->credit.control, &s->credit.loading),
                .credit_lost = s->have_credit && s->credit.control ? s->credit.control->lost + s->credit.control->lost_device : 0,
                .credit_bytes = s->have_credit ? credit_bytes(&s->credit) : 0,
        };
}

static bool asks(const Domain *d, ConditionType type) {
        for (size_t a = 0; a < d->n_alarms; a++)
                for (size_t k = 0; k < d->alarms[a].n_conditions; k++)
                        if (d->alarms[a].conditions[k].active && d->alarms[a].conditions[k].type == type)
                                return true;
        return false;
}

int sensor_set_policy(Sensor *s, const Policy *policy) {
        _cleanup_strv_ char **paths = NULL, **limits = NULL;
        bool io = false;
        int r;

        for (size_t i = 0; i < policy->n_domains; i++) {
                const Domain *d = &policy->domains[i];

                r = strv_extend(&paths, d->cgroup);
                if (r >= 0 && asks(d, CONDITION_MEMORY_EXHAUSTION) && !streq(d->cgroup, "/"))
                        r = strv_extend(&limits, d->cgroup);
                if (r < 0)
                        return r;
                io = io || asks(d, CONDITION_IO_PRESSURE) || asks(d, CONDITION_IO_LATENCY);
        }
        r = registry_set_domains(&s->registry, paths);
        if (r < 0)
                return r;
        s->walk.io = io;
        strv_free(s->limits);
        s->limits = TAKE_PTR(limits);
        s->n_known = 0;                 /* with the next sample, not with the next complete one */
        return triggers_set(&s->triggers, policy);
}

static int read_host(Sensor *s, HostFile f, char *buf, size_t size) {
        ssize_t n;

        if (s->host_fds[f] < 0)
                s->host_fds[f] = openat(s->proc_fd, host_files[f], O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (s->host_fds[f] < 0)
                return -errno;
        /* One read, as of one moment; the parsers notice what is cut off. */
        do
                n = pread(s->host_fds[f], buf, size - 1, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0) {
                n = -errno;
                s->host_fds[f] = safe_close(s->host_fds[f]);
                return (int) n;
        }
        buf[n] = 0;
        return (int) n;
}

static void sample_host(Sensor *s, Sample *sample) {
        static const struct {
                HostFile file;
                HostField some, full;
        } pressure[] = {
                { HOST_PRESSURE_MEMORY, HOST_MEMORY_SOME, HOST_MEMORY_FULL },
                { HOST_PRESSURE_IO, HOST_IO_SOME, HOST_IO_FULL },
        };
        char buf[4096];
        PsiTotals psi;

        if (read_host(s, HOST_MEMINFO, buf, sizeof buf) >= 0)
                meminfo_parse(buf, sample);
        if (read_host(s, HOST_VMSTAT, buf, sizeof buf) >= 0)
                vmstat_parse(buf, sample);
        for (size_t i = 0; i < ARRAY_SIZE(pressure); i++) {
                if (read_host(s, pressure[i].file, buf, sizeof buf) < 0 || psi_parse(buf, &psi) < 0)
                        continue;
                if (psi.have_some)
                        sample_host_set(sample, pressure[i].some, psi.some_usec);
                if (psi.have_full)
                        sample_host_set(sample, pressure[i].full, psi.full_usec);
        }
}

/* Those that the kernel should watch for us. One that cannot be is seen a little later, by its pressure. */
static void follow_limits(Sensor *s) {
        size_t place = 0;

        if (!s->have_watch || !watch_works(&s->watch))
                return;
        for (char **path = s->limits; path && *path && place < MEMWATCH_SLICES_MAX; path++)
                for (Known *n = s->registry.root; n; n = known_next(n)) {
                        int to_close = -EBADF, fd;

                        if (!n->domain || !streq(n->path, *path))
                                continue;
                        fd = registry_dir(&s->registry, n, &to_close);
                        if (fd >= 0)
                                (void) watch_follow(&s->watch, place++, n->id, fd);
                        safe_close(to_close);
                        break;
                }
        for (; place < MEMWATCH_SLICES_MAX; place++)
                (void) watch_follow(&s->watch, place, 0, -EBADF);
}

static void report_gone(Sensor *s, uint64_t now_usec) {
        for (size_t i = 0; i < s->registry.n_gone; i++) {
                Event e = { .type = EVENT_CGROUP_GONE, .usec = now_usec, .cgroup_id = s->registry.gone_ids[i] };

                s->handler(&e, s->userdata);
        }
        s->registry.n_gone = 0;
}

const Sample *sensor_sample(Sensor *s, SampleScope scope, uint64_t now_usec) {
        Sample *sample = &s->sample;
        uint64_t swap_total;

        *sample = (Sample) { .usec = now_usec };
        sample_host(s, sample);
        if (scope == SAMPLE_HOST)
                return sample;

        s->walk.host_swapless = sample_host_get(sample, HOST_SWAP_TOTAL, &swap_total) && swap_total == 0;
        /* A hot walk measures from the last complete one. */
        if (scope == SAMPLE_ALL || !s->walk.have_base) {
                walk_all(&s->walk, now_usec);
                sample->all = true;
                sample->complete = !s->walk.incomplete && !s->registry.incomplete;
                census_grow(s);
        } else
                walk_hot(&s->walk, now_usec);
        sample->cgroups = s->walk.rows;
        sample->n_cgroups = s->walk.n_rows;
        if (s->have_credit)
                sample->credit = credit_read(&s->credit, &s->registry, s->walk.number, now_usec);

        /* A slice that starts later than we do, or again: the heartbeat tries, and whenever somebody is
         * new. */
        if (triggers_are_missing(&s->triggers) && (scope == SAMPLE_ALL || s->registry.n_known != s->n_known))
                triggers_retry(&s->triggers);
        if (scope == SAMPLE_ALL || s->registry.n_known != s->n_known)
                follow_limits(s);
        s->n_known = s->registry.n_known;
        report_gone(s, now_usec);
        return sample;
}

int sensor_cgroup(Sensor *s, uint64_t id, int *ret_fd, const char **ret_path) {
        Known *n = registry_find(&s->registry, id);
        int fd;

        if (!n)
                return -ENOENT;
        fd = registry_hold_dir(&s->registry, n);
        if (fd < 0)
                return fd;
        n->held_until_usec = s->walk.now_usec + HELD_USEC;
        *ret_fd = fd;
        *ret_path = n->path;
        return 0;
}

int sensor_process(const Sensor *s, uint32_t pid, char *ret_path, size_t path_size, char *ret_name, size_t name_size) {
        char file[64], text[4096 + 1024], name[64];
        int r;

        (void) snprintf(file, sizeof file, "%" PRIu32 "/comm", pid);
        r = (int) file_read_at(s->proc_fd, file, name, sizeof name);
        if (r < 0)
                return r;
        name[strcspn(name, "\n")] = '\0';
        (void) snprintf(file, sizeof file, "%" PRIu32 "/cgroup", pid);
        r = (int) file_read_at(s->proc_fd, file, text, sizeof text);
        if (r >= 0)
                r = proc_cgroup_parse(text, ret_path, path_size);
        if (r < 0)
                return r;
        (void) snprintf(ret_name, name_size, "%s", name);
        return 0;
}

PsiState sensor_psi_state(const Sensor *s) {
        return triggers_state(&s->triggers);
}

const char *psi_state_to_string(PsiState s) {
        switch (s) {
        case PSI_FULL:
                return "full";
        case PSI_COARSE:
                return "coarse";
        case PSI_POLLED:
                return "polled";
        case PSI_OFF:
                return "off";
        }
        return "off";
}
