/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>

#include "sense/test-tree.h"

const char *where = P_tmpdir;

void put_file(const char *dir, const char *file, const char *text) {
        char path[8192];
        int fd;

        (void) snprintf(path, sizeof path, "%s/%s", dir, file);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        safe_close(fd);
}

void set_text(Fixture *f, const char *cgroup, const char *file, const char *text) {
        char dir[8192];

        (void) snprintf(dir, sizeof dir, "%s/%s", f->root, cgroup);
        put_file(dir, file, text);
}

void set(Fixture *f, const char *cgroup, const char *file, uint64_t v) {
        char text[32];

        (void) snprintf(text, sizeof text, "%llu\n", (unsigned long long) v);
        set_text(f, cgroup, file, text);
}

void set_stat(Fixture *f, const char *cgroup, uint64_t pgsteal, uint64_t activate) {
        char text[256];

        (void) snprintf(text, sizeof text,
                        "anon 1\npgscan %llu\npgsteal %llu\nworkingset_refault_anon 0\nworkingset_refault_file 7\n"
                        "workingset_activate_anon 0\nworkingset_activate_file %llu\n",
                        (unsigned long long) pgsteal, (unsigned long long) pgsteal, (unsigned long long) activate);
        set_text(f, cgroup, "memory.stat", text);
}

void make(Fixture *f, const char *cgroup, uint64_t current) {
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

void delete(Fixture *f, const char *cgroup) {
        char dir[8192];

        (void) snprintf(dir, sizeof dir, "%s/%s", f->root, cgroup);
        /* The storm deletes what may not be there yet. */
        if (access(dir, F_OK) == 0)
                test_dir_remove(dir);
}

void on_event(const Event *e, void *userdata) {
        Fixture *f = userdata;

        if (f->n_events < ARRAY_SIZE(f->events))
                f->events[f->n_events++] = *e;
}

void open_sensor(Fixture *f) {
        assert_int_equal(sensor_new(f->event, f->root, f->proc, on_event, f, &f->sensor), 0);
}

int setup(void **state) {
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

int teardown(void **state) {
        Fixture *f = *state;

        sensor_free(f->sensor);
        sd_event_unref(f->event);
        test_dir_remove(f->root);
        test_dir_remove(f->proc);
        free(f);
        return 0;
}

const CgroupSample *row_of(const Sample *s, const char *path) {
        for (size_t i = 0; i < s->n_cgroups; i++)
                if (streq(s->cgroups[i].path, path))
                        return &s->cgroups[i];
        return NULL;
}

bool has(const Sample *s, const char *path, CgroupField field) {
        const CgroupSample *c = row_of(s, path);
        uint64_t v;

        return c && cgroup_sample_get(c, field, &v);
}

uint64_t value(const Sample *s, const char *path, CgroupField field) {
        const CgroupSample *c = row_of(s, path);
        uint64_t v = 0;

        assert_non_null(c);
        assert_true(cgroup_sample_get(c, field, &v));
        return v;
}

void set_policy(Fixture *f) {
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

void set_io_policy(Fixture *f) {
        Condition condition = {
                .type = CONDITION_IO_PRESSURE, .threshold_permyriad = 4000, .window_usec = SEC / 2, .active = true,
        };
        Alarm alarm = { .name = (char *) "io", .conditions = &condition, .n_conditions = 1 };
        Domain domain = { .name = (char *) "a", .slice = (char *) "a.slice", .cgroup = (char *) "/a.slice", .alarms = &alarm,
                          .n_alarms = 1 };
        Policy policy = { .domains = &domain, .n_domains = 1 };

        assert_int_equal(sensor_set_policy(f->sensor, &policy), 0);
}
