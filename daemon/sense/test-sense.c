/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sense, on fake trees: the order and kinds of the rows, and everything that a tree can do to its reader. */

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/str.h"
#include "sense/registry.h"
#include "sense/test-tree.h"
#include "sys/small-file.h"

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
        const struct CMUnitTest tests[] = {
                TEST(test_order_and_kinds),
                TEST(test_xattrs),
                TEST(test_marks_of_another_user),
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

        return TREE_RUN(tests);
}
