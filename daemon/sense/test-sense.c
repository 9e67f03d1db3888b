/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sense, on fake trees: the order and kinds of the rows, what each walk reads, and everything that a tree
 * can do to its reader. */

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/str.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sense/registry.h"
#include "sense/sense.h"
#include "sys/small-file.h"

#define SEC USEC_PER_SEC
#define MB (UINT64_C(1) << 20)
#define PRESSURE \
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"

/* One tree a test, made where the environment says: link counts are trusted on tmpfs only, so both ways
 * count. */
typedef struct Fixture {
        char root[TEST_DIR_SIZE], proc[80];
        sd_event *event;
        Sensor *sensor;
        Event events[16];
        size_t n_events;
} Fixture;

static const char *where = P_tmpdir;

static void put_file(const char *dir, const char *file, const char *text) {
        char path[8192];
        int fd;

        (void) snprintf(path, sizeof path, "%s/%s", dir, file);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        safe_close(fd);
}

static void set_text(Fixture *f, const char *cgroup, const char *file, const char *text) {
        char dir[8192];

        (void) snprintf(dir, sizeof dir, "%s/%s", f->root, cgroup);
        put_file(dir, file, text);
}

static void set(Fixture *f, const char *cgroup, const char *file, uint64_t v) {
        char text[32];

        (void) snprintf(text, sizeof text, "%llu\n", (unsigned long long) v);
        set_text(f, cgroup, file, text);
}

static void set_stat(Fixture *f, const char *cgroup, uint64_t pgsteal, uint64_t activate) {
        char text[256];

        (void) snprintf(text, sizeof text,
                        "anon 1\npgscan %llu\npgsteal %llu\nworkingset_refault_anon 0\nworkingset_refault_file 7\n"
                        "workingset_activate_anon 0\nworkingset_activate_file %llu\n",
                        (unsigned long long) pgsteal, (unsigned long long) pgsteal, (unsigned long long) activate);
        set_text(f, cgroup, "memory.stat", text);
}

static void make(Fixture *f, const char *cgroup, uint64_t current) {
        char dir[8192];

        (void) snprintf(dir, sizeof dir, "%s/%s", f->root, cgroup);
        assert_int_equal(mkdir(dir, 0755), 0);
        put_file(dir, "cgroup.controllers", "memory\n");
        put_file(dir, "memory.swap.current", "0\n");
        put_file(dir, "memory.high", "max\n");
        put_file(dir, "memory.max", "max\n");
        put_file(dir, "memory.low", "0\n");
        put_file(dir, "memory.min", "0\n");
        put_file(dir, "memory.oom.group", "0\n");
        put_file(dir, "memory.events.local", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\n");
        put_file(dir, "memory.pressure", PRESSURE);
        set(f, cgroup, "memory.current", current);
        set_stat(f, cgroup, 0, 0);
}

static void delete(Fixture *f, const char *cgroup) {
        char dir[8192];

        (void) snprintf(dir, sizeof dir, "%s/%s", f->root, cgroup);
        /* The storm deletes what may not be there yet. */
        if (access(dir, F_OK) == 0)
                test_dir_remove(dir);
}

static void on_event(const Event *e, void *userdata) {
        Fixture *f = userdata;

        if (f->n_events < ARRAY_SIZE(f->events))
                f->events[f->n_events++] = *e;
}

static void open_sensor(Fixture *f) {
        assert_int_equal(sensor_new(f->event, f->root, f->proc, on_event, f, &f->sensor), 0);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof *f);
        char dir[160];

        test_dir_make_in(where, f->root);
        (void) snprintf(f->proc, sizeof f->proc, "%s.proc", f->root);
        assert_int_equal(mkdir(f->proc, 0755), 0);
        (void) snprintf(dir, sizeof dir, "%s/self", f->proc);
        assert_int_equal(mkdir(dir, 0755), 0);
        put_file(dir, "cgroup", "0::/system.slice/me.service\n");
        put_file(f->proc, "meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\nSwapTotal: 10 kB\nSwapFree: 9 kB\n");
        put_file(f->root, "cgroup.controllers", "memory\n");
        set_stat(f, ".", 0, 0);
        assert_true(sd_event_new(&f->event) >= 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        sensor_free(f->sensor);
        sd_event_unref(f->event);
        test_dir_remove(f->root);
        test_dir_remove(f->proc);
        free(f);
        return 0;
}

static const CgroupSample *row_of(const Sample *s, const char *path) {
        for (size_t i = 0; i < s->n_cgroups; i++)
                if (streq(s->cgroups[i].path, path))
                        return &s->cgroups[i];
        return NULL;
}

static bool has(const Sample *s, const char *path, CgroupField field) {
        const CgroupSample *c = row_of(s, path);
        uint64_t v;

        return c && cgroup_sample_get(c, field, &v);
}

static uint64_t value(const Sample *s, const char *path, CgroupField field) {
        const CgroupSample *c = row_of(s, path);
        uint64_t v = 0;

        assert_non_null(c);
        assert_true(cgroup_sample_get(c, field, &v));
        return v;
}

static void set_policy(Fixture *f) {
        Condition condition = {
                .type = CONDITION_MEMORY_PRESSURE, .threshold_permyriad = 1000, .window_usec = SEC, .active = true,
        };
        Alarm alarm = { .name = (char *) "memory", .conditions = &condition, .n_conditions = 1 };
        Domain domains[] = {
                { .name = (char *) "host", .slice = (char *) "-.slice", .cgroup = (char *) "/", .alarms = &alarm,
                  .n_alarms = 1 },
                { .name = (char *) "a-b", .slice = (char *) "a-b.slice", .cgroup = (char *) "/a.slice/a-b.slice",
                  .alarms = &alarm, .n_alarms = 1 },
                { .name = (char *) "later", .slice = (char *) "later.slice", .cgroup = (char *) "/later.slice",
                  .alarms = &alarm, .n_alarms = 1 },
        };
        Policy policy = { .domains = domains, .n_domains = ARRAY_SIZE(domains) };

        assert_int_equal(sensor_set_policy(f->sensor, &policy), 0);
}

static void set_io_policy(Fixture *f) {
        Condition condition = {
                .type = CONDITION_IO_PRESSURE, .threshold_permyriad = 4000, .window_usec = SEC / 2, .active = true,
        };
        Alarm alarm = { .name = (char *) "io", .conditions = &condition, .n_conditions = 1 };
        Domain domain = { .name = (char *) "a", .slice = (char *) "a.slice", .cgroup = (char *) "/a.slice", .alarms = &alarm,
                          .n_alarms = 1 };
        Policy policy = { .domains = &domain, .n_domains = 1 };

        assert_int_equal(sensor_set_policy(f->sensor, &policy), 0);
}

static void test_io(void **state) {
        Fixture *f = *state;
        const CgroupSample *c;
        const Sample *s;

        make(f, "a.slice", MB);
        make(f, "a.slice/x.service", MB);
        make(f, "b.slice", MB);
        make(f, "b.slice/hog.service", MB);
        make(f, "b.slice/none.service", MB);
        put_file(f->root, "io.stat", "");
        set_text(f, "a.slice", "io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        set_text(f, "a.slice/x.service", "io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        set_text(f, "b.slice", "io.stat", "");
        set_text(f, "b.slice/hog.service", "io.stat", "");
        set_text(f, "b.slice/hog.service", "io.max", "8:0 rbps=max wbps=max riops=500 wiops=max\n");

        /* Nobody asks: nothing is read. */
        open_sensor(f);
        set_policy(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 100 * SEC);
        assert_null(row_of(s, "/a.slice")->io);

        set_io_policy(f);
        /* Now, for in a fake tree the trigger's text stays in the file. */
        set_text(f, "a.slice", "io.pressure", PRESSURE);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 110 * SEC);
        c = row_of(s, "/a.slice");
        assert_non_null(c->io);
        assert_int_equal(c->n_io, 1);
        assert_int_equal(c->io[0].v[IO_READ_BYTES], 4096);
        assert_int_equal(value(s, "/a.slice", CGROUP_IO_SOME), 11);
        assert_int_equal(value(s, "/a.slice", CGROUP_IO_FULL), 5);
        assert_int_equal(row_of(s, "/a.slice/x.service")->n_io, 1);
        /* Read and empty is nothing done; not there is not known. */
        assert_non_null(row_of(s, "/b.slice")->io);
        assert_int_equal(row_of(s, "/b.slice")->n_io, 0);
        assert_null(row_of(s, "/b.slice/none.service")->io);

        /* The hot walk goes where work is done, and brings the limits of who does it. */
        set_text(f, "b.slice", "io.stat", "8:0 rbytes=16777216 wbytes=0 rios=400 wios=0 dbytes=0 dios=0\n");
        set_text(f, "b.slice/hog.service", "io.stat", "8:0 rbytes=16777216 wbytes=0 rios=400 wios=0 dbytes=0 dios=0\n");
        s = sensor_sample(f->sensor, SAMPLE_HOT, 110 * SEC + SEC / 10);
        c = row_of(s, "/b.slice/hog.service");
        assert_non_null(c);
        assert_int_equal(c->n_io, 1);
        assert_int_equal(c->io[0].v[IO_READS], 400);
        assert_true(c->io_usec >= s->usec);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 110 * SEC + SEC / 5);
        c = row_of(s, "/b.slice/hog.service");
        assert_non_null(c);
        assert_int_equal(c->n_io_max, 1);
        assert_int_equal(c->io_max[0].v[IO_READS], 500);
        assert_true(c->io_max[0].v[IO_READ_BYTES] == LIMIT_MAX);

        /* The disk went and came anew: what is there now is less than there was, and no standstill. */
        set_text(f, "b.slice", "io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        set_text(f, "b.slice/hog.service", "io.stat", "8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        s = sensor_sample(f->sensor, SAMPLE_HOT, 110 * SEC + 3 * SEC / 10);
        c = row_of(s, "/b.slice/hog.service");
        assert_non_null(c);
        assert_int_equal(c->io[0].v[IO_READS], 1);
}

/* io.stat and io.max of a machine with so many disks that not all are looked at. */
static void set_disks(Fixture *f, const char *cgroup, const uint64_t *reads, size_t n) {
        char stat[16384] = "", max[16384] = "";

        for (size_t i = 0; i < n; i++) {
                (void) snprintf(stat + strlen(stat), sizeof stat - strlen(stat),
                                "8:%zu rbytes=0 wbytes=0 rios=%" PRIu64 " wios=0 dbytes=0 dios=0\n", 16 * i, reads[i]);
                (void) snprintf(max + strlen(max), sizeof max - strlen(max), "8:%zu rbps=max wbps=max riops=%zu wiops=max\n",
                                16 * i, 100 + i);
        }
        set_text(f, cgroup, "io.stat", stat);
        set_text(f, cgroup, "io.max", max);
}

/* Of many disks those are looked at where it does most, with their limits. */
static void test_many_disks(void **state) {
        uint64_t reads[] = { 9000, 8000, 7000, 6000, 10, 20 };
        IoLine last = { .major = 8, .minor = 80 }, first = { .major = 8, .minor = 0 };
        Fixture *f = *state;
        const CgroupSample *c;
        const Sample *s;

        make(f, "a.slice", MB);
        make(f, "b.slice", MB);
        make(f, "b.slice/hog.service", MB);
        put_file(f->root, "io.stat", "");
        set_text(f, "a.slice", "io.stat", "");
        set_disks(f, "b.slice", reads, ARRAY_SIZE(reads));
        set_disks(f, "b.slice/hog.service", reads, ARRAY_SIZE(reads));
        open_sensor(f);
        set_io_policy(f);
        set_text(f, "a.slice", "io.pressure", PRESSURE);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 110 * SEC);
        c = row_of(s, "/b.slice/hog.service");
        assert_int_equal(c->n_io, IO_DEVICES_MAX);
        assert_true(c->io_chosen);
        assert_null(io_line_find(c->io, c->n_io, &last));

        for (int look = 1; look < 4; look++) {
                reads[5] += 500;
                set_disks(f, "b.slice", reads, ARRAY_SIZE(reads));
                set_disks(f, "b.slice/hog.service", reads, ARRAY_SIZE(reads));
                s = sensor_sample(f->sensor, SAMPLE_HOT, 110 * SEC + (uint64_t) look * SEC / 10);
                c = row_of(s, "/b.slice/hog.service");
                assert_non_null(c);
                assert_non_null(io_line_find(c->io, c->n_io, &last));
                assert_int_equal(io_line_find(c->io, c->n_io, &last)->v[IO_READS], reads[5]);
        }
        assert_int_equal(c->n_io_max, IO_DEVICES_MAX);
        assert_int_equal(io_line_find(c->io_max, c->n_io_max, &last)->v[IO_READS], 105);

        /* The others are gone, and there is room for all again. */
        set_disks(f, "b.slice", reads, 3);
        set_disks(f, "b.slice/hog.service", reads, 3);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 110 * SEC + 4 * SEC / 10);
        c = row_of(s, "/b.slice/hog.service");
        assert_int_equal(c->n_io, 3);
        assert_false(c->io_chosen);
        assert_non_null(io_line_find(c->io, c->n_io, &first));
}

/* So many that their lines do not fit: who is in a slice that uses all of them is looked at nevertheless. */
static void test_very_many_disks(void **state) {
        uint64_t reads[200];
        IoLine busy = { .major = 8, .minor = 80 };
        Fixture *f = *state;
        const CgroupSample *c;
        const Sample *s;

        for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
                reads[i] = 1000 + i;
        make(f, "a.slice", MB);
        make(f, "b.slice", MB);
        make(f, "b.slice/hog.service", MB);
        put_file(f->root, "io.stat", "");
        set_text(f, "a.slice", "io.stat", "");
        set_disks(f, "b.slice", reads, ARRAY_SIZE(reads));
        set_disks(f, "b.slice/hog.service", reads, 6);
        open_sensor(f);
        set_io_policy(f);
        set_text(f, "a.slice", "io.pressure", PRESSURE);
        (void) sensor_sample(f->sensor, SAMPLE_ALL, 110 * SEC);
        reads[5] += 500;
        set_disks(f, "b.slice", reads, ARRAY_SIZE(reads));
        set_disks(f, "b.slice/hog.service", reads, 6);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 110 * SEC + SEC / 10);
        for (int i = 0; i < 2; i++) {
                c = row_of(s, i ? "/b.slice/hog.service" : "/b.slice");
                assert_non_null(c);
                assert_int_equal(c->n_io, IO_DEVICES_MAX);
                assert_int_equal(io_line_find(c->io, c->n_io, &busy)->v[IO_READS], 1505);
                assert_int_equal(io_line_find(c->io_max, c->n_io_max, &busy)->v[IO_READS], 105);
        }
}

static void test_order_and_kinds(void **state) {
        static const struct {
                const char *path;
                CgroupKind kind;
                CgroupFlags flags;
        } expected[] = {
                { "/", CGROUP_KIND_ROOT, 0 },
                { "/docker", CGROUP_KIND_FOREIGN, 0 },
                { "/docker/x.service", CGROUP_KIND_FOREIGN, 0 },
                { "/init.scope", CGROUP_KIND_UNIT, CGROUP_PROTECTED },
                { "/system.slice", CGROUP_KIND_SLICE, 0 },
                { "/system.slice/a.service", CGROUP_KIND_UNIT, 0 },
                { "/system.slice/a.service/dbus.service", CGROUP_KIND_INNER, 0 },
                { "/system.slice/b.scope", CGROUP_KIND_UNIT, CGROUP_OOM_GROUP },
                { "/system.slice/dbus.service", CGROUP_KIND_UNIT, CGROUP_PROTECTED },
                { "/system.slice/dbus.service/child", CGROUP_KIND_INNER, CGROUP_PROTECTED },
                { "/system.slice/me.service", CGROUP_KIND_UNIT, CGROUP_PROTECTED },
                { "/system.slice/z\033[1m\xff.service", CGROUP_KIND_UNIT, 0 },
        };
        Fixture *f = *state;
        const Sample *s;

        /* Made in another order than they are told. */
        for (size_t n = 0; n < 3; n++)
                for (size_t i = ARRAY_SIZE(expected); i-- > 1;) {
                        const char *p = expected[i].path + 1;
                        size_t depth = 0;

                        for (const char *q = p; *q; q++)
                                depth += *q == '/';
                        if (depth == n)
                                make(f, p, MB);
                }
        set_text(f, "system.slice/b.scope", "memory.oom.group", "1\n");
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_true(s->complete);
        assert_int_equal(s->n_cgroups, ARRAY_SIZE(expected));
        for (size_t i = 0; i < s->n_cgroups; i++) {
                const CgroupSample *c = &s->cgroups[i];
                bool parent_before = i == 0;

                assert_string_equal(c->path, expected[i].path);
                assert_int_equal(c->kind, expected[i].kind);
                assert_int_equal(c->flags, expected[i].flags);
                for (size_t k = 0; k < i; k++) {
                        assert_true(s->cgroups[k].id != c->id);
                        parent_before |= s->cgroups[k].id == c->parent_id;
                }
                assert_true(parent_before);
        }
        assert_int_equal(s->cgroups[0].parent_id, 0);
        assert_false(has(s, "/", CGROUP_MEMORY_CURRENT));
        assert_int_equal(value(s, "/docker", CGROUP_MEMORY_CURRENT), MB);
        assert_int_equal(value(s, "/docker", CGROUP_SWAP_CURRENT), 0);
        assert_int_equal(value(s, "/docker", CGROUP_WORKINGSET_REFAULT), 7);
}

static void test_xattrs(void **state) {
        Fixture *f = *state;
        char path[128];
        const Sample *s;

        make(f, "a.service", MB);
        (void) snprintf(path, sizeof path, "%s/a.service", f->root);
        if (setxattr(path, "user.oomd_omit", "1", 1, 0) < 0)
                skip();
        assert_int_equal(setxattr(path, "user.oomd_avoid", "0", 1, 0), 0);
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_int_equal(row_of(s, "/a.service")->flags, CGROUP_OMIT);
}

/* What a user delegates to himself he can mark as he likes, and write the limits of: it does not stand for itself. */
static void test_marks_of_another_user(void **state) {
        Fixture *f = *state;
        const Sample *s;
        char path[128];

        make(f, "a.service", MB);
        make(f, "a.service/mine", MB);
        make(f, "a.service/his", MB);
        set_text(f, "a.service/mine", "memory.oom.group", "1\n");
        set_text(f, "a.service/his", "memory.oom.group", "1\n");
        (void) snprintf(path, sizeof path, "%s/a.service/his", f->root);
        if (chown(path, getuid() + 1000, (gid_t) -1) < 0)
                skip();
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_int_equal(row_of(s, "/a.service/mine")->flags, CGROUP_OOM_GROUP);
        assert_int_equal(row_of(s, "/a.service/his")->flags, 0);
}

/* memory.stat is read again only where the parent's moved. */
static void test_stat_follows_parent(void **state) {
        Fixture *f = *state;
        const Sample *s;

        make(f, "a.slice", MB);
        make(f, "a.slice/x.service", MB);
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_int_equal(value(s, "/a.slice/x.service", CGROUP_PGSTEAL), 0);

        set_stat(f, "a.slice/x.service", 5, 0);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 11 * SEC);
        assert_int_equal(value(s, "/a.slice/x.service", CGROUP_PGSTEAL), 0);

        set_stat(f, ".", 5, 0);
        set_stat(f, "a.slice", 5, 0);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 21 * SEC);
        assert_int_equal(value(s, "/a.slice/x.service", CGROUP_PGSTEAL), 5);

        /* Counters that go back are handed on. */
        set_stat(f, ".", 1, 0);
        set_stat(f, "a.slice", 1, 0);
        set_stat(f, "a.slice/x.service", 1, 0);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 31 * SEC);
        assert_int_equal(value(s, "/a.slice/x.service", CGROUP_PGSTEAL), 1);
}

/* Page cache comes without reclaim, and goes without it where files are deleted: whose use changed is asked for it, or his first look
 * from close by would show a day's worth of it as one step. */
static void test_page_cache_at_rest(void **state) {
        Fixture *f = *state;
        const Sample *s;

        make(f, "a.service", 10 * MB);
        make(f, "b.service", 10 * MB);
        set_text(f, "a.service", "memory.stat", "active_file 0\ninactive_file 0\npgsteal 7\n");
        set_text(f, "b.service", "memory.stat", "active_file 0\ninactive_file 0\npgsteal 7\n");
        open_sensor(f);
        (void) sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        set(f, "a.service", "memory.current", 90 * MB);
        set_text(f, "a.service", "memory.stat", "active_file 30000000\ninactive_file 50000000\nswapcached 8192\npgsteal 7\n");
        set_text(f, "b.service", "memory.stat", "active_file 4096\ninactive_file 4096\npgsteal 7\n");
        s = sensor_sample(f->sensor, SAMPLE_ALL, 11 * SEC);
        assert_int_equal(value(s, "/a.service", CGROUP_CACHE), 80008192);
        /* What cannot be much is not worth reading. */
        assert_int_equal(value(s, "/b.service", CGROUP_CACHE), 0);
        set(f, "a.service", "memory.current", 10 * MB);
        set_text(f, "a.service", "memory.stat", "active_file 0\ninactive_file 0\npgsteal 7\n");
        s = sensor_sample(f->sensor, SAMPLE_ALL, 21 * SEC);
        assert_int_equal(value(s, "/a.service", CGROUP_CACHE), 0);
}

static void test_hot(void **state) {
        Fixture *f = *state;
        const Sample *s;
        const char *path;
        int fd;

        make(f, "a.slice", 10 * MB);
        make(f, "a.slice/a-b.slice", 5 * MB);
        make(f, "a.slice/a-b.slice/victim.service", 5 * MB);
        make(f, "quiet.slice", 10 * MB);
        make(f, "quiet.slice/q.service", 10 * MB);
        make(f, "side.slice", 20 * MB);
        make(f, "side.slice/calm.service", 10 * MB);
        make(f, "side.slice/hog.service", 10 * MB);
        open_sensor(f);
        set_policy(f);
        /* A trigger was written into this file, which only the kernel's own takes as such. */
        set_text(f, "a.slice/a-b.slice", "memory.pressure", PRESSURE);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_true(s->complete);
        assert_int_equal(s->n_cgroups, 9);
        assert_true(has(s, "/a.slice/a-b.slice", CGROUP_MEMORY_SOME));

        /* At rest the hot walk sees the first level and the way to the domains. */
        s = sensor_sample(f->sensor, SAMPLE_HOT, 2 * SEC);
        assert_false(s->complete);
        assert_non_null(row_of(s, "/quiet.slice"));
        assert_null(row_of(s, "/quiet.slice/q.service"));
        assert_null(row_of(s, "/side.slice/hog.service"));
        assert_int_equal(value(s, "/a.slice/a-b.slice", CGROUP_MEMORY_SOME), 11);
        assert_int_equal(value(s, "/a.slice/a-b.slice", CGROUP_MEMORY_FULL), 5);
        assert_null(row_of(s, "/a.slice/a-b.slice/victim.service"));

        set(f, "side.slice", "memory.current", 60 * MB);
        set(f, "side.slice/hog.service", "memory.current", 50 * MB);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 2 * SEC + 100000);
        assert_int_equal(value(s, "/side.slice/hog.service", CGROUP_MEMORY_CURRENT), 50 * MB);
        assert_true(value(s, "/side.slice/hog.service", CGROUP_MEMORY_HIGH) == LIMIT_MAX);
        assert_int_equal(value(s, "/side.slice/hog.service", CGROUP_EVENTS_HIGH), 1);
        assert_int_equal(value(s, "/side.slice/hog.service", CGROUP_EVENTS_MAX), 2);
        assert_int_equal(value(s, "/side.slice/hog.service", CGROUP_PGSTEAL), 0);
        assert_true(has(s, "/side.slice/calm.service", CGROUP_MEMORY_CURRENT));
        assert_false(has(s, "/side.slice/calm.service", CGROUP_MEMORY_HIGH));
        assert_null(row_of(s, "/quiet.slice/q.service"));

        /* Stays in view for a while, so that its rows do not flicker; not for ever. */
        s = sensor_sample(f->sensor, SAMPLE_ALL, 3 * SEC);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 4 * SEC);
        assert_true(has(s, "/side.slice/hog.service", CGROUP_MEMORY_HIGH));
        s = sensor_sample(f->sensor, SAMPLE_HOT, 20 * SEC);
        assert_null(row_of(s, "/side.slice/hog.service"));
        assert_true(row_of(s, "/side.slice")->closed);
        assert_false(row_of(s, "/a.slice")->closed);
        assert_true(row_of(s, "/a.slice/a-b.slice")->closed);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 21 * SEC);
        for (size_t i = 0; i < s->n_cgroups; i++)
                assert_false(s->cgroups[i].closed);
        /* That does not look closely at who stands still, until he is asked for. */
        assert_null(row_of(s, "/side.slice/hog.service")->detail);
        assert_int_equal(sensor_cgroup(f->sensor, row_of(s, "/side.slice/hog.service")->id, &fd, &path), 0);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 21 * SEC + 100000);
        assert_true(value(s, "/side.slice/hog.service", CGROUP_MEMORY_HIGH) == LIMIT_MAX);
}

/* At the heartbeat one from which much was stolen is asked for its limits: it may be that which it took from itself. */
static void test_stream_at_rest(void **state) {
        Fixture *f = *state;
        const Sample *s;

        make(f, "calm.service", 10 * MB);
        make(f, "stream.service", 10 * MB);
        open_sensor(f);
        (void) sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        for (uint64_t i = 1; i <= 2; i++) {
                set_stat(f, ".", 10000 * i, 0);
                set_stat(f, "stream.service", 10000 * i, 0);
                set_stat(f, "calm.service", 10 * i, 0);
                s = sensor_sample(f->sensor, SAMPLE_ALL, (1 + 10 * i) * SEC);
                assert_int_equal(value(s, "/stream.service", CGROUP_EVENTS_HIGH), 1);
                assert_false(has(s, "/calm.service", CGROUP_EVENTS_HIGH));
        }
        s = sensor_sample(f->sensor, SAMPLE_ALL, 31 * SEC);
        assert_false(has(s, "/stream.service", CGROUP_EVENTS_HIGH));
        /* Where such looks come one after the other, much is less. */
        set_stat(f, ".", 20200, 0);
        set_stat(f, "stream.service", 20200, 0);
        set_stat(f, "calm.service", 22, 0);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 31 * SEC + 200000);
        assert_int_equal(value(s, "/stream.service", CGROUP_EVENTS_HIGH), 1);
        assert_false(has(s, "/calm.service", CGROUP_EVENTS_HIGH));
}

/* A page-cache stream: what it uses stands about still while pages are stolen from it. */
static void test_hot_stream(void **state) {
        Fixture *f = *state;
        const Sample *s;

        make(f, "side.slice", 20 * MB);
        make(f, "side.slice/calm.service", 10 * MB);
        make(f, "side.slice/stream.service", 10 * MB);
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        s = sensor_sample(f->sensor, SAMPLE_HOT, SEC + 100000);

        set_stat(f, ".", 10000, 0);
        set_stat(f, "side.slice", 10000, 0);
        set(f, "side.slice", "memory.current", 20 * MB + 4096);
        set_stat(f, "side.slice/stream.service", 10000, 0);
        set(f, "side.slice/stream.service", "memory.current", 10 * MB + 4096);
        s = sensor_sample(f->sensor, SAMPLE_HOT, SEC + 200000);
        assert_int_equal(value(s, "/side.slice/stream.service", CGROUP_PGSTEAL), 10000);
        assert_true(has(s, "/side.slice/stream.service", CGROUP_MEMORY_HIGH));
        assert_false(has(s, "/side.slice/calm.service", CGROUP_MEMORY_HIGH));

        /* The same, but all of it was fetched back: a victim, not a stream. */
        (void) sensor_sample(f->sensor, SAMPLE_ALL, 20 * SEC);
        set_stat(f, ".", 20000, 10000);
        set_stat(f, "side.slice", 20000, 10000);
        set(f, "side.slice", "memory.current", 20 * MB);
        set_stat(f, "side.slice/stream.service", 20000, 10000);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 21 * SEC);
        assert_false(has(s, "/side.slice", CGROUP_MEMORY_HIGH));
}

static void test_born_and_gone(void **state) {
        Fixture *f = *state;
        const char *path;
        const Sample *s;
        uint64_t id;
        int fd;

        make(f, "side.slice", MB);
        make(f, "side.slice/a.service", MB);
        open_sensor(f);
        (void) sensor_sample(f->sensor, SAMPLE_ALL, SEC);

        /* Born since: all it has is intake. */
        make(f, "side.slice/new.service", 30 * MB);
        make(f, "side.slice/new.service/inner", 30 * MB);
        set(f, "side.slice", "memory.current", 31 * MB);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 2 * SEC);
        assert_true(has(s, "/side.slice/new.service", CGROUP_MEMORY_HIGH));
        assert_true(has(s, "/side.slice/new.service/inner", CGROUP_MEMORY_HIGH));
        id = row_of(s, "/side.slice/new.service")->id;

        assert_int_equal(sensor_cgroup(f->sensor, id, &fd, &path), 0);
        assert_string_equal(path, "/side.slice/new.service");
        assert_int_equal(faccessat(fd, "memory.high", F_OK, 0), 0);
        assert_int_equal(sensor_cgroup(f->sensor, 1, &fd, &path), -ENOENT);

        /* What somebody asked for stays in view while its limit is set. */
        set(f, "side.slice/new.service", "memory.high", 30 * MB);
        (void) sensor_sample(f->sensor, SAMPLE_ALL, 3 * SEC);
        (void) sensor_sample(f->sensor, SAMPLE_ALL, 70 * SEC);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 200 * SEC);
        assert_int_equal(value(s, "/side.slice/new.service", CGROUP_MEMORY_HIGH), 30 * MB);
        set_text(f, "side.slice/new.service", "memory.high", "max\n");
        (void) sensor_sample(f->sensor, SAMPLE_HOT, 201 * SEC);
        s = sensor_sample(f->sensor, SAMPLE_HOT, 202 * SEC);
        assert_null(row_of(s, "/side.slice/new.service"));

        /* Another one under the same name is another one, and the old one's going is told. */
        f->n_events = 0;
        delete(f, "side.slice/new.service");
        /* On cgroupfs a kept fd of a removed cgroup gives ENODEV; on tmpfs it reads on, and only the
         * count tells. */
        if (streq(where, "/dev/shm"))
                (void) sensor_sample(f->sensor, SAMPLE_ALL, 203 * SEC);
        make(f, "side.slice/new.service", 40 * MB);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 203 * SEC);
        assert_true(s->complete);
        assert_true(row_of(s, "/side.slice/new.service")->id != id);
        assert_null(row_of(s, "/side.slice/new.service/inner"));
        assert_true(f->n_events >= 1);
        for (size_t i = 0; i < f->n_events; i++)
                assert_int_equal(f->events[i].type, EVENT_CGROUP_GONE);
        assert_int_equal(sensor_cgroup(f->sensor, id, &fd, &path), -ENOENT);

        delete(f, "side.slice");
        s = sensor_sample(f->sensor, SAMPLE_HOT, 204 * SEC);
        assert_int_equal(s->n_cgroups, 1);
}

static void test_bad_files(void **state) {
        Fixture *f = *state;
        const Sample *s;
        char path[128];

        make(f, "cut.service", MB);
        make(f, "dir.service", MB);
        make(f, "empty.service", MB);
        make(f, "off.slice", MB);
        make(f, "off.slice/x.service", MB);
        set_text(f, "cut.service", "memory.current", "104857");
        set_text(f, "cut.service", "memory.stat", "pgscan 1\npgsteal 12");
        set_text(f, "empty.service", "memory.current", "");
        set_text(f, "empty.service", "memory.stat", "");
        (void) snprintf(path, sizeof path, "%s/dir.service/memory.current", f->root);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0755), 0);
        for (const char *const *name = (const char *const[]) { "memory.current", "memory.stat", "memory.swap.current",
                                                               NULL };
             *name; name++) {
                (void) snprintf(path, sizeof path, "%s/off.slice/%s", f->root, *name);
                assert_int_equal(unlink(path), 0);
        }

        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_non_null(row_of(s, "/cut.service"));
        assert_false(has(s, "/cut.service", CGROUP_MEMORY_CURRENT));
        assert_true(has(s, "/cut.service", CGROUP_PGSCAN));
        assert_false(has(s, "/cut.service", CGROUP_PGSTEAL));
        assert_false(has(s, "/cut.service", CGROUP_WORKINGSET_REFAULT));
        assert_int_equal(row_of(s, "/empty.service")->have, 0);
        assert_false(has(s, "/dir.service", CGROUP_MEMORY_CURRENT));
        assert_int_equal(row_of(s, "/off.slice")->have, 0);
        assert_int_equal(row_of(s, "/off.slice/x.service")->have, 0);
        (void) sensor_sample(f->sensor, SAMPLE_HOT, 2 * SEC);
        (void) sensor_sample(f->sensor, SAMPLE_HOT, 3 * SEC);

        /* The controller was enabled meanwhile. */
        set(f, "off.slice", "memory.current", MB);
        s = sensor_sample(f->sensor, SAMPLE_ALL, 4 * SEC);
        assert_int_equal(value(s, "/off.slice/x.service", CGROUP_MEMORY_CURRENT), MB);
}

static void test_host(void **state) {
        Fixture *f = *state;
        const Sample *s;
        uint64_t v;

        make(f, "a.service", MB);
        set(f, "a.service", "memory.swap.current", 12345);
        open_sensor(f);
        set_policy(f);
        assert_int_equal(sensor_psi_state(f->sensor), PSI_OFF);
        s = sensor_sample(f->sensor, SAMPLE_HOST, SEC);
        assert_int_equal(s->n_cgroups, 0);
        assert_true(sample_host_get(s, HOST_MEMORY_TOTAL, &v));
        assert_int_equal(v, 1000 * 1024);
        assert_false(sample_host_get(s, HOST_MEMORY_SOME, &v));
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_int_equal(value(s, "/a.service", CGROUP_SWAP_CURRENT), 12345);

        /* No swap: the file is not even asked. */
        put_file(f->proc, "meminfo", "MemTotal: 1000 kB\nSwapTotal: 0 kB\n");
        s = sensor_sample(f->sensor, SAMPLE_ALL, 2 * SEC);
        assert_int_equal(value(s, "/a.service", CGROUP_SWAP_CURRENT), 0);
        assert_false(sample_host_get(s, HOST_SWAP_FREE, &v));
}

/* With hardly any fds all is still seen, only by opening more often. */
static void test_few_fds(void **state) {
        Fixture *f = *state;
        struct rlimit old, few;
        const Sample *s;

        make(f, "side.slice", 100 * MB);
        for (int i = 0; i < 300; i++) {
                char name[64];

                (void) snprintf(name, sizeof name, "side.slice/s%03d.service", i);
                make(f, name, MB);
        }
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
        few = (struct rlimit) { 160, old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_true(s->complete);
        assert_int_equal(s->n_cgroups, 302);
        set(f, "side.slice", "memory.current", 200 * MB);
        set(f, "side.slice/s299.service", "memory.current", 100 * MB);
        for (int i = 0; i < 5; i++)
                s = sensor_sample(f->sensor, SAMPLE_HOT, (uint64_t) (2 + i) * SEC);
        assert_true(has(s, "/side.slice/s299.service", CGROUP_MEMORY_HIGH));
        assert_int_equal(value(s, "/side.slice/s298.service", CGROUP_MEMORY_CURRENT), MB);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void test_wide_and_deep(void **state) {
        Fixture *f = *state;
        char path[4096] = "deep.slice";
        const Sample *s;
        size_t hogs = 0;

        make(f, "wide.slice", MB);
        for (int i = 0; i < 1200; i++) {
                char name[64];

                (void) snprintf(name, sizeof name, "wide.slice/s%04d.service", i);
                make(f, name, MB);
        }
        make(f, path, MB);
        for (int i = 0; i < 40; i++) {
                strcat(path, "/d");
                make(f, path, MB);
        }
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_true(s->complete);
        assert_true(s->n_cgroups > 1230 && s->n_cgroups < 1245);

        set(f, "wide.slice", "memory.current", 100 * MB);
        set(f, "wide.slice/s1111.service", "memory.current", 100 * MB);
        for (int i = 0; i < 3; i++) {
                s = sensor_sample(f->sensor, SAMPLE_HOT, 2 * SEC + (uint64_t) i * 100000);
                assert_true(s->n_cgroups < 600);
                hogs += has(s, "/wide.slice/s1111.service", CGROUP_MEMORY_HIGH);
        }
        assert_true(hogs >= 1);
}

/* What the bounds keep out is told of, and is no failure. Made step by step, for no call takes a path of that length. */
static void test_too_long(void **state) {
        Fixture *f = *state;
        int fds[17] = { open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
        char name[251];
        SensorLevel l;
        const Sample *s;

        memset(name, 'd', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                assert_true(fds[i] >= 0);
                assert_int_equal(mkdirat(fds[i], name, 0755), 0);
                if (i + 1 < ARRAY_SIZE(fds))
                        fds[i + 1] = openat(fds[i], name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        open_sensor(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_true(s->all && s->complete);
        assert_int_equal(s->n_cgroups, 17);
        sensor_level(f->sensor, &l);
        assert_non_null(strstr(l.reason, "too long a path: 1"));
        s = sensor_sample(f->sensor, SAMPLE_HOT, 2 * SEC);
        assert_false(s->all || s->complete);
        for (size_t i = ARRAY_SIZE(fds); i-- > 0;) {
                assert_int_equal(unlinkat(fds[i], name, AT_REMOVEDIR), 0);
                (void) close(fds[i]);
        }
        s = sensor_sample(f->sensor, SAMPLE_ALL, 11 * SEC);
        assert_true(s->complete);
        sensor_level(f->sensor, &l);
        assert_null(strstr(l.reason, "too long a path"));
}

typedef struct Storm {
        Fixture *f;
        bool stop;
} Storm;

static void *storm(void *p) {
        Storm *x = p;
        unsigned seed = 1;

        while (!__atomic_load_n(&x->stop, __ATOMIC_RELAXED)) {
                char name[64];

                (void) snprintf(name, sizeof name, "side.slice/s%u.service", rand_r(&seed) % 8);
                delete(x->f, name);
                make(x->f, name, (uint64_t) (rand_r(&seed) % 64) * MB);
        }
        return NULL;
}

static void test_storm(void **state) {
        Fixture *f = *state;
        Storm x = { .f = f };
        pthread_t thread;

        make(f, "side.slice", MB);
        open_sensor(f);
        assert_int_equal(pthread_create(&thread, NULL, storm, &x), 0);
        for (unsigned i = 0; i < 400; i++) {
                const Sample *s = sensor_sample(f->sensor, i % 10 ? SAMPLE_HOT : SAMPLE_ALL, (uint64_t) (i + 1) * 100000);

                for (size_t k = 0; k < s->n_cgroups; k++) {
                        const char *path;
                        int fd;

                        assert_true(s->cgroups[k].path[0] == '/');
                        if (i % 7 == 0)
                                (void) sensor_cgroup(f->sensor, s->cgroups[k].id, &fd, &path);
                }
        }
        __atomic_store_n(&x.stop, true, __ATOMIC_RELAXED);
        assert_int_equal(pthread_join(thread, NULL), 0);
}

/* The real /proc and whatever hierarchy this machine has: it must do without rights and without a file. */
static void test_real(void **state) {
        Fixture *f = *state;
        const Sample *s;
        uint64_t v;

        assert_int_equal(sensor_new(f->event, f->root, "/proc", on_event, f, &f->sensor), 0);
        set_policy(f);
        s = sensor_sample(f->sensor, SAMPLE_ALL, SEC);
        assert_true(sample_host_get(s, HOST_MEMORY_TOTAL, &v));
        assert_true(v > 0);
        print_message("PSI state here: %d\n", (int) sensor_psi_state(f->sensor));
        assert_int_equal(sd_event_run(f->event, 0) < 0, 0);
        set_policy(f);
}

#ifdef CGD_BPF
static void on_exec(const ExecEvent *e _unused_, void *userdata _unused_) {
}

static void load_all(Fixture *f, SensorLevel *ret) {
        while (sensor_load_bpf(f->sensor, CGD_BPF))
                assert_true(sd_event_run(f->event, SEC / 10) >= 0);
        sensor_level(f->sensor, ret);
}

/* What costs something with each request and each program is in the kernel only while somebody asks for it. */
static void test_programs_come_and_go(void **state) {
        Fixture *f = *state;
        char *names[] = { (char *) "wanted-program", NULL };
        SensorLevel l;

        open_sensor(f);
        for (int i = 0; i < 2; i++) {
                set_io_policy(f);
                sensor_set_exec(f->sensor, &(ExecFilter) { .names = names }, on_exec, f);
                load_all(f, &l);
                if (i == 0 && !(l.credit && l.exec)) {
                        print_message("%s; %s\n", l.credit_reason, l.exec_reason);
                        skip();
                }
                assert_true(l.credit && l.exec);
                set_policy(f);
                sensor_set_exec(f->sensor, &(ExecFilter) {}, on_exec, f);
                load_all(f, &l);
                assert_false(l.credit || l.exec);
                assert_string_equal(l.credit_reason, "no policy has an alarm about io");
        }
        /* Wanted again, and not there yet. */
        set_io_policy(f);
        sensor_set_exec(f->sensor, &(ExecFilter) { .names = names }, on_exec, f);
        sensor_level(f->sensor, &l);
        assert_true(*l.credit_reason && *l.exec_reason);
}
#endif

/* A cgroup of the kernel's own that lives while a kept file of it dies: cgroup.pressure=0 takes the file away, as a controller
 * that is disabled does, and the open one stays dead when the file is back. */
static void test_file_goes_alone(void **state _unused_) {
        const char *top = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
        char dir[TEST_DIR_SIZE], path[160], text[KNOWN_TEXT_MAX];
        Registry g;
        Known *n;

        (void) snprintf(dir, sizeof dir, "%s/cgd-test-%d", top, (int) getpid());
        (void) snprintf(path, sizeof path, "%s/cgroup.pressure", dir);
        if (mkdir(dir, 0755) < 0 || access(path, W_OK) < 0) {
                (void) rmdir(dir);
                print_message("needs root and a cgroup2 with cgroup.pressure (Linux 6.1)\n");
                skip();
        }
        assert_int_equal(registry_init(&g, top, NULL), 0);
        registry_refresh(&g, g.root);
        for (n = g.root->children; n && !streq(known_name(n), strrchr(dir, '/') + 1); n = n->next)
                ;
        assert_non_null(n);
        assert_true(registry_read(&g, n, FILE_MEMORY_PRESSURE, true, text, sizeof text) > 0);
        assert_int_equal(g.files_kept, 1);

        put_file(dir, "cgroup.pressure", "0");
        assert_int_equal(registry_read(&g, n, FILE_MEMORY_PRESSURE, true, text, sizeof text), -ENOENT);
        assert_false(n->gone);
        assert_int_equal(g.files_kept, 0);
        assert_int_equal(registry_read(&g, n, FILE_MEMORY_PRESSURE, true, text, sizeof text), -ENOENT);
        put_file(dir, "cgroup.pressure", "1");
        assert_true(registry_read(&g, n, FILE_MEMORY_PRESSURE, true, text, sizeof text) > 0);

        assert_int_equal(rmdir(dir), 0);
        assert_int_equal(registry_read(&g, n, FILE_MEMORY_PRESSURE, true, text, sizeof text), -ENODEV);
        assert_true(n->gone);
        registry_done(&g);
}

int main(void) {
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_order_and_kinds),
                TEST(test_io),
                TEST(test_many_disks),
                TEST(test_very_many_disks),
                TEST(test_xattrs),
                TEST(test_marks_of_another_user),
                TEST(test_stat_follows_parent),
                TEST(test_page_cache_at_rest),
                TEST(test_hot),
                TEST(test_stream_at_rest),
                TEST(test_hot_stream),
                TEST(test_born_and_gone),
                TEST(test_bad_files),
                TEST(test_host),
                TEST(test_few_fds),
                TEST(test_wide_and_deep),
                TEST(test_too_long),
                TEST(test_storm),
#ifdef CGD_BPF
                TEST(test_programs_come_and_go),
#endif
                cmocka_unit_test(test_file_goes_alone),
                TEST(test_real),
        };
        int r;

        r = cmocka_run_group_tests_name("listed each time", tests, NULL, NULL);
        if (access("/dev/shm", W_OK) < 0)
                return r;
        where = "/dev/shm";
        return r + cmocka_run_group_tests_name("link counts", tests, NULL, NULL);
}
