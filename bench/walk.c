/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What seeing every cgroup costs: their files opened, read and closed; their files kept open and read; one
 * walk of the BPF program. Same fields, same cgroups, one run, in turns.
 *
 * Between two looks every cgroup is stirred (a process visits each and touches pages), because statistics
 * that nobody changed cost nothing to flush: the walk's flush is in its figure. The texts are read and not
 * parsed, which is in favour of the files. Kept descriptors are measured a few hundred cgroups at a time,
 * which is in their favour as well: all at once they would take gigabytes of the kernel's memory.
 *
 * --compare: no measuring; for a while, on the cgroups there are, every field of the walk against its file,
 * read before and after. One JSON object. */

#include <fcntl.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/census.h"
#include "sense/stat-search.h"
#include "sys/cgroup.h"
#include "sys/psi.h"
#include "sys/small-file.h"

#define ROUNDS 5
#define KEPT_MAX 400
#define COMPARED_MAX 24
/* sched_clock() is known to within a tick; use moves between two readings. */
#define PSI_SLACK_USEC 10000
#define USE_SLACK_BYTES (UINT64_C(1) << 20)

static const char *const files[] = {
        "memory.current", "memory.swap.current", "memory.high", "memory.swap.high", "memory.max", "memory.low",
        "memory.min", "memory.stat", "memory.events.local", "memory.pressure", "io.pressure", "cpu.pressure",
        "cpu.stat", "cgroup.events",
};

/* Every field of a record, and where it stands in files; keys are summed up. */
static const struct {
        WalkField field;
        const char *name, *file, *keys[5];
        uint64_t per_unit;              /* 1: as in the file; 1000: nanoseconds; 4096: pages */
} fields[] = {
        { WALK_MEMORY_CURRENT, "memory.current", "memory.current", {}, 4096 },
        { WALK_SWAP_CURRENT, "memory.swap.current", "memory.swap.current", {}, 4096 },
        { WALK_MEMORY_HIGH, "memory.high", "memory.high", {}, 4096 },
        { WALK_SWAP_HIGH, "memory.swap.high", "memory.swap.high", {}, 4096 },
        { WALK_MEMORY_MAX, "memory.max", "memory.max", {}, 4096 },
        { WALK_MEMORY_LOW, "memory.low", "memory.low", {}, 4096 },
        { WALK_MEMORY_MIN, "memory.min", "memory.min", {}, 4096 },
        { WALK_ANON, "anon", "memory.stat", { "anon" }, 4096 },
        { WALK_CACHE, "cache", "memory.stat", { "active_file", "inactive_file", "swapcached" }, 4096 },
        { WALK_FILE_DIRTY, "dirty", "memory.stat", { "file_dirty" }, 4096 },
        { WALK_FILE_WRITEBACK, "writeback", "memory.stat", { "file_writeback" }, 4096 },
        { WALK_FAULTS, "faults", "memory.stat", { "pgfault" }, 1 },
        { WALK_MAJOR_FAULTS, "major faults", "memory.stat", { "pgmajfault" }, 1 },
        { WALK_REFAULT, "refault", "memory.stat", { "workingset_refault_anon", "workingset_refault_file" }, 1 },
        { WALK_ACTIVATE, "activate", "memory.stat", { "workingset_refault_anon", "workingset_activate_file" }, 1 },
        { WALK_PGSCAN, "pgscan", "memory.stat", { "pgscan" }, 1 },
        { WALK_PGSTEAL, "pgsteal", "memory.stat", { "pgsteal" }, 1 },
        { WALK_EVENTS_LOW, "events low", "memory.events.local", { "low" }, 1 },
        { WALK_EVENTS_HIGH, "events high", "memory.events.local", { "high" }, 1 },
        { WALK_EVENTS_MAX, "events max", "memory.events.local", { "max" }, 1 },
        { WALK_EVENTS_OOM, "events oom", "memory.events.local", { "oom" }, 1 },
        { WALK_EVENTS_OOM_KILL, "events oom_kill", "memory.events.local", { "oom_kill" }, 1 },
        { WALK_MEMORY_SOME, "memory some", "memory.pressure", { "some" }, 1000 },
        { WALK_MEMORY_FULL, "memory full", "memory.pressure", { "full" }, 1000 },
        { WALK_IO_SOME, "io some", "io.pressure", { "some" }, 1000 },
        { WALK_IO_FULL, "io full", "io.pressure", { "full" }, 1000 },
        { WALK_CPU_SOME, "cpu some", "cpu.pressure", { "some" }, 1000 },
        { WALK_CPU_FULL, "cpu full", "cpu.pressure", { "full" }, 1000 },
        { WALK_CPU_USAGE, "cpu usage", "cpu.stat", { "usage_usec" }, 1000 },
        { WALK_POPULATED, "populated", "cgroup.events", { "populated" }, 1 },
        { WALK_FROZEN, "frozen", "cgroup.events", { "frozen" }, 1 },
};
_Static_assert(ARRAY_SIZE(fields) == _WALK_FIELD_MAX, "each field once");

static const char *const flushes[] = {
        [WALK_FLUSH_NONE] = "nothing", [WALK_FLUSH_CPU] = "processor times", [WALK_FLUSH_ALL] = "all statistics",
};

/* Processor time, the kernel's on our behalf included: what else the computer does shall not count. */
static uint64_t now_nsec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void __attribute__((__noreturn__)) die(const char *what) {
        (void) fprintf(stderr, "walk: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void census_open(Census *c, const char *root, const char *loader, size_t n) {
        sd_event *event = NULL;

        if (sd_event_new(&event) < 0 || census_init(c, event, root, loader) < 0)
                die("cannot start");
        (void) census_load(c, n);
        while (loading_is_on(&c->loading))
                if (sd_event_run(event, UINT64_MAX) < 0)
                        die("cannot wait for the loader");
        sd_event_unref(event);
}

/* Measuring */

static size_t read_once(int fd) {
        char buf[8192];
        ssize_t k = pread(fd, buf, sizeof buf, 0);

        return k > 0 ? (size_t) k : 0;
}

static int make_tree(const char *root, size_t n, int *dirs) {
        int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), top = -EBADF;
        char name[64];

        if (root_fd < 0 || (mkdirat(root_fd, "cgd-bench", 0755) < 0 && errno != EEXIST))
                return -errno;
        top = openat(root_fd, "cgd-bench", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void) close(root_fd);
        (void) file_write_at(top, "cgroup.subtree_control", "+memory\n");
        for (size_t i = 0; i < n; i++) {
                (void) snprintf(name, sizeof name, "%zu", i);
                if (mkdirat(top, name, 0755) < 0 && errno != EEXIST)
                        return -errno;
                dirs[i] = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (dirs[i] < 0)
                        return -errno;
        }
        return top;
}

static void remove_tree(const char *root, size_t n) {
        char path[4096];

        for (size_t i = 0; i < n; i++) {
                (void) snprintf(path, sizeof path, "%s/cgd-bench/%zu", root, i);
                (void) rmdir(path);
        }
        (void) snprintf(path, sizeof path, "%s/cgd-bench", root);
        if (rmdir(path) < 0)
                (void) fprintf(stderr, "walk: %s stays: %s\n", path, strerror(errno));
}

/* A process visits each cgroup and touches pages there: every counter has something to flush. */
static void stir(const int *dirs, size_t n) {
        pid_t pid = fork();
        int status;

        if (pid < 0)
                die("cannot fork");
        if (pid == 0) {
                for (size_t i = 0; i < n; i++) {
                        char *p;

                        if (file_write_at(dirs[i], "cgroup.procs", "0\n") < 0)
                                _exit(1);
                        p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                        if (p == MAP_FAILED)
                                _exit(1);
                        memset(p, 1, 16 * 4096);
                        (void) munmap(p, 16 * 4096);
                }
                _exit(0);
        }
        (void) waitpid(pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                (void) fprintf(stderr, "walk: the cgroups could not be stirred\n");
}

static int compare_u64(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

static double median_usec(uint64_t *nsec, size_t n, size_t cgroups) {
        qsort(nsec, n, sizeof *nsec, compare_u64);
        return (double) nsec[n / 2] / 1000 / (double) cgroups;
}

static int measure(const char *root, const char *loader, size_t n) {
        uint64_t open_nsec[ROUNDS], kept_nsec[ROUNDS], walk_nsec[ROUNDS];
        _cleanup_free_ int *dirs = calloc(n, sizeof(int));
        const char *present[ARRAY_SIZE(files)];
        double opened, kept, walked;
        size_t n_present = 0, bytes = 0;
        char path[4096];
        Census c;
        int top, root_stat;

        if (!dirs)
                die("no memory");
        top = make_tree(root, n, dirs);
        if (top < 0) {
                remove_tree(root, n);
                errno = -top;
                die("cannot make the cgroups");
        }
        for (size_t f = 0; f < ARRAY_SIZE(files); f++)
                if (faccessat(dirs[0], files[f], R_OK, 0) == 0)
                        present[n_present++] = files[f];
        (void) snprintf(path, sizeof path, "%s/cgd-bench", root);
        census_open(&c, path, loader, n + 64);
        (void) snprintf(path, sizeof path, "%s/memory.stat", root);
        root_stat = open(path, O_RDONLY | O_CLOEXEC);

        for (size_t round = 0; round < ROUNDS; round++) {
                uint64_t begin;

                stir(dirs, n);
                begin = now_nsec();
                for (size_t i = 0; i < n; i++)
                        for (size_t f = 0; f < n_present; f++) {
                                int fd = openat(dirs[i], present[f], O_RDONLY | O_CLOEXEC);

                                bytes += read_once(fd);
                                (void) close(fd);
                        }
                open_nsec[round] = now_nsec() - begin;

                kept_nsec[round] = 0;
                for (size_t first = 0; first < n; first += KEPT_MAX) {
                        size_t last = MIN(first + KEPT_MAX, n);
                        static int fds[KEPT_MAX][ARRAY_SIZE(files)];

                        for (size_t i = first; i < last; i++)
                                for (size_t f = 0; f < n_present; f++)
                                        fds[i - first][f] = openat(dirs[i], present[f], O_RDONLY | O_CLOEXEC);
                        /* The first read allocates the buffer that is then kept, and flushes: so it is stirred after. */
                        for (size_t i = first; i < last; i++)
                                for (size_t f = 0; f < n_present; f++)
                                        bytes += read_once(fds[i - first][f]);
                        stir(dirs + first, last - first);
                        begin = now_nsec();
                        for (size_t i = first; i < last; i++)
                                for (size_t f = 0; f < n_present; f++)
                                        bytes += read_once(fds[i - first][f]);
                        kept_nsec[round] += now_nsec() - begin;
                        for (size_t i = first; i < last; i++)
                                for (size_t f = 0; f < n_present; f++)
                                        (void) close(fds[i - first][f]);
                }

                if (c.link_fd < 0)
                        continue;
                stir(dirs, n);
                begin = now_nsec();
                /* As the daemon does: it has the kernel flush where the program cannot. */
                if (root_stat >= 0)
                        (void) read_once(root_stat);
                if (!census_take(&c) || c.n != n + 1)
                        (void) fprintf(stderr, "walk: %zu of %zu cgroups were seen %s\n", c.n, n + 1, census_reason(&c));
                walk_nsec[round] = now_nsec() - begin;
        }
        opened = median_usec(open_nsec, ROUNDS, n);
        kept = median_usec(kept_nsec, ROUNDS, n);
        (void) printf("%zu cgroups, %zu files each (%zu MiB of text read): microseconds of processor time per cgroup, medians of %d\n",
                      n, n_present, bytes >> 20, ROUNDS);
        (void) printf("  open, read, close %.2f\n  pread of kept fds %.2f\n", opened, kept);
        if (c.link_fd < 0)
                (void) printf("  walk: not here: %s\n", census_reason(&c));
        else {
                walked = median_usec(walk_nsec, ROUNDS, n);
                (void) printf("  walk, flushing %s: %.2f (%.1f times cheaper than kept fds, %.1f times than opening),"
                              " maps %zu KiB\n", flushes[c.control->flush], walked, kept / walked,
                              opened / walked, census_bytes(&c) >> 10);
        }
        census_done(&c);
        (void) safe_close(root_stat);
        for (size_t i = 0; i < n; i++)
                (void) close(dirs[i]);
        (void) close(top);
        remove_tree(root, n);
        return 0;
}

/* Comparing */

typedef struct Agreement {
        unsigned compared, agreed, nonzero;
        uint64_t worst;                 /* distance from the nearer reading, in the file's unit */
} Agreement;

/* The field from its text; false where it is not there. */
static bool parse(size_t f, const char *text, uint64_t *ret) {
        uint64_t v, sum = 0;
        PsiTotals psi;

        if (!fields[f].keys[0])
                return cgroup_limit_parse(text, ret) == 0;
        if (endswith(fields[f].file, ".pressure")) {
                if (psi_parse(text, &psi) < 0)
                        return false;
                *ret = streq(fields[f].keys[0], "some") ? psi.some_usec : psi.full_usec;
                return true;
        }
        for (size_t k = 0; fields[f].keys[k]; k++) {
                if (!cgroup_keyed_get(text, fields[f].keys[k], &v))
                        return false;
                sum += v;
        }
        *ret = sum;
        return true;
}

static uint64_t read_fields(int dir, uint64_t values[static _WALK_FIELD_MAX]) {
        static char text[16384];
        uint64_t have = 0;
        int r = -ENOENT;

        for (size_t f = 0; f < ARRAY_SIZE(fields); f++) {
                if (f == 0 || !streq(fields[f].file, fields[f - 1].file))
                        r = file_read_at(dir, fields[f].file, text, sizeof text);
                if (r >= 0 && parse(f, text, &values[f]))
                        have |= UINT64_C(1) << f;
        }
        return have;
}

static uint64_t in_file_units(size_t f, uint64_t v) {
        if (fields[f].per_unit == 4096) {
                uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);

                return v >= INT64_MAX / page ? LIMIT_MAX : v * page;
        }
        return v / fields[f].per_unit;
}

static uint64_t slack_of(size_t f, uint64_t high) {
        WalkField w = fields[f].field;

        if (w >= WALK_IO_SOME && w <= WALK_CPU_USAGE)
                return PSI_SLACK_USEC;
        if (w == WALK_MEMORY_CURRENT || w == WALK_SWAP_CURRENT || w == WALK_ANON || w == WALK_CACHE)
                return MAX(USE_SLACK_BYTES, high / 50);
        return 0;
}

typedef struct Busy {
        uint64_t id, value;
} Busy;

static int compare_busy(const void *a, const void *b) {
        const Busy *x = a, *y = b;

        return x->value != y->value ? (x->value < y->value ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static const WalkRecord *record_find(const Census *c, uint64_t id) {
        for (size_t i = 0; i < c->n; i++)
                if (c->records[i].id == id)
                        return &c->records[i];
        return NULL;
}

/* Opens the cgroup with that id anywhere below root_fd, by its handle. */
static int open_by_id(int root_fd, uint64_t id) {
        union {
                struct file_handle handle;
                char space[sizeof(struct file_handle) + sizeof(uint64_t)];
        } h = {};

        h.handle.handle_bytes = sizeof(uint64_t);
        h.handle.handle_type = 0xfe; /* FILEID_KERNFS */
        memcpy(h.handle.f_handle, &id, sizeof id);
        return open_by_handle_at(root_fd, &h.handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void compare_once(Census *c, StatSearch *search, int root_fd, uint64_t root_id, Agreement *sums) {
        static char before_text[16384], after_text[16384];
        static uint64_t before[COMPARED_MAX][_WALK_FIELD_MAX], after[_WALK_FIELD_MAX];
        _cleanup_free_ Busy *busy = calloc(MAX(c->n, (size_t) 1), sizeof(Busy));
        uint64_t have[COMPARED_MAX], ids[COMPARED_MAX];
        int dirs[COMPARED_MAX];
        size_t n = 0;
        bool stat;

        if (!busy)
                die("no memory");
        for (size_t i = 0; i < c->n; i++)
                busy[i] = (Busy) { c->records[i].id, c->records[i].value[WALK_MEMORY_CURRENT] + c->records[i].value[WALK_CPU_USAGE] / 1000000 };
        qsort(busy, c->n, sizeof *busy, compare_busy);

        stat = file_read_at(root_fd, "memory.stat", before_text, sizeof before_text) >= 0;
        c->control->stat_have = stat ? stat_search_terms(search, before_text, c->control->terms, &c->control->n_terms) : 0;
        c->control->probe_id = root_id;
        for (size_t i = 0; i < c->n && n < COMPARED_MAX; i++) {
                int dir = busy[i].id == root_id ? -EBADF : open_by_id(root_fd, busy[i].id);

                if (dir < 0)
                        continue;
                have[n] = read_fields(dir, before[n]);
                ids[n] = busy[i].id;
                dirs[n++] = dir;
        }
        if (!census_take(c))
                die(census_reason(c));
        if (stat && file_read_at(root_fd, "memory.stat", after_text, sizeof after_text) >= 0)
                stat_search_learn(search, before_text, (const uint64_t *) c->control->probe, c->control->n_words, after_text);
        for (size_t i = 0; i < n; i++) {
                const WalkRecord *r = record_find(c, ids[i]);
                uint64_t both = have[i] & read_fields(dirs[i], after);

                (void) close(dirs[i]);
                for (size_t f = 0; r && f < ARRAY_SIZE(fields); f++) {
                        uint64_t v, low = MIN(before[i][f], after[f]), high = MAX(before[i][f], after[f]), away;

                        if (!(both & (UINT64_C(1) << f)) || !(r->have & (UINT64_C(1) << fields[f].field)))
                                continue;
                        v = in_file_units(f, r->value[fields[f].field]);
                        away = v < low ? low - v : v > high ? v - high : 0;
                        sums[f].compared++;
                        sums[f].nonzero += high > 0;
                        sums[f].agreed += away <= slack_of(f, high);
                        sums[f].worst = MAX(sums[f].worst, away);
                }
        }
}

static int compare(const char *root, const char *loader, unsigned seconds) {
        int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Agreement sums[ARRAY_SIZE(fields)] = {};
        StatSearch search;
        uint64_t root_id;
        Census c;

        if (root_fd < 0 || cgroup_id(root_fd, &root_id) < 0)
                die(root);
        census_open(&c, root, loader, 4096);
        if (c.link_fd < 0) {
                (void) printf("{\"reason\": \"%s\"}\n", census_reason(&c));
                return 1;
        }
        stat_search_init(&search, (uint64_t) sysconf(_SC_PAGESIZE));
        (void) census_take(&c);
        for (unsigned i = 0; i < seconds * 2; i++) {
                compare_once(&c, &search, root_fd, root_id, sums);
                (void) usleep(500000);
        }
        (void) printf("{\"cgroups\": %zu, \"flushes\": \"%s\", \"fields\": {", c.n, flushes[c.control->flush]);
        for (size_t f = 0; f < ARRAY_SIZE(fields); f++)
                (void) printf("%s\"%s\": {\"compared\": %u, \"agreed\": %u, \"nonzero\": %u, \"worst\": %llu}", f ? ", " : "",
                              fields[f].name, sums[f].compared, sums[f].agreed, sums[f].nonzero,
                              (unsigned long long) sums[f].worst);
        (void) printf("}}\n");
        census_done(&c);
        (void) close(root_fd);
        return 0;
}

int main(int argc, char *argv[]) {
        enum { ARG_ROOT = 0x100, ARG_LOADER, ARG_COMPARE, ARG_CGROUPS };
        static const struct option options[] = {
                { "root", required_argument, NULL, ARG_ROOT },
                { "loader", required_argument, NULL, ARG_LOADER },
                { "compare", required_argument, NULL, ARG_COMPARE },
                { "cgroups", required_argument, NULL, ARG_CGROUPS },
                {}
        };
        const char *root = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
        const char *loader = LIBEXECDIR "/cgd-bpf";
        struct rlimit l = { 65536, 65536 };
        unsigned long seconds = 0, n = 0;
        int k;

        while ((k = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (k) {
                case ARG_ROOT:
                        root = optarg;
                        break;
                case ARG_LOADER:
                        loader = optarg;
                        break;
                case ARG_COMPARE:
                        seconds = strtoul(optarg, NULL, 10);
                        break;
                case ARG_CGROUPS:
                        n = strtoul(optarg, NULL, 10);
                        break;
                default:
                        (void) fprintf(stderr, "usage: walk [--root=HIERARCHY] [--loader=cgd-bpf] [--cgroups=N | --compare=SECONDS]\n");
                        return 2;
                }
        (void) setrlimit(RLIMIT_NOFILE, &l);
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        if (seconds)
                return compare(root, loader, (unsigned) seconds);
        if (n)
                return measure(root, loader, n);
        return measure(root, loader, 1000) || measure(root, loader, 5000);
}
