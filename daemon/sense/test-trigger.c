/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Triggers of slices that are not there, on a fake tree: they are armed as soon as the slice is made, and waiting costs nothing. */

#include <fcntl.h>
#include <sys/stat.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "sense/trigger.h"
#include "sys/small-file.h"

static char root[TEST_DIR_SIZE];
static int root_fd;
static sd_event *event;
static Triggers triggers;

static void on_event(const Event *e, void *userdata) {
        (void) e;
        (void) userdata;
}

static void put(const char *cgroup, const char *file) {
        char path[512];
        int fd;

        (void) snprintf(path, sizeof path, "%s/%s/%s", root, cgroup, file);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        safe_close(fd);
}

static void make(const char *cgroup) {
        char path[512];

        (void) snprintf(path, sizeof path, "%s/%s", root, cgroup);
        assert_int_equal(mkdir(path, 0755), 0);
        put(cgroup, "memory.pressure");
}

/* Domains with these cgroups, each with an alarm about memory. */
static void set_domains(const char *const *cgroups, size_t n) {
        Condition condition = {
                .type = CONDITION_MEMORY_PRESSURE, .threshold_permyriad = 1000, .window_usec = USEC_PER_SEC, .active = true,
        };
        Alarm alarm = { .name = (char *) "memory", .conditions = &condition, .n_conditions = 1 };
        Domain domains[4] = {};

        assert_true(n <= ARRAY_SIZE(domains));
        for (size_t i = 0; i < n; i++)
                domains[i] = (Domain) { .name = (char *) "x", .slice = (char *) "x.slice", .cgroup = (char *) cgroups[i],
                                        .alarms = &alarm, .n_alarms = 1 };
        assert_int_equal(triggers_set(&triggers, &(Policy) { .domains = domains, .n_domains = n }), 0);
}

static void run(void) {
        int r;

        while ((r = sd_event_run(event, 0)) > 0)
                ;
        assert_int_equal(r, 0);
}

static int setup(void **state _unused_) {
        test_dir_make(root);
        root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(root_fd >= 0);
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(triggers_init(&triggers, event, root_fd, root, on_event, NULL), 0);
        return 0;
}

static int teardown(void **state _unused_) {
        triggers_done(&triggers);
        event = sd_event_unref(event);
        root_fd = safe_close(root_fd);
        test_dir_remove(root);
        return 0;
}

/* A domain's slice is made when its first service starts, and looked after from then on, not from a heartbeat on. */
static void test_slice_that_comes_later(void **state _unused_) {
        static const char *const cgroups[] = { "/later.slice", "/a.slice/a-b.slice" };

        set_domains(cgroups, ARRAY_SIZE(cgroups));
        make("other.slice");
        run();
        make("later.slice");
        make("a.slice");
        run();
        make("a.slice/a-b.slice");
        run();
        for (size_t i = 0; i < ARRAY_SIZE(cgroups); i++) {
                char path[512], text[256];

                (void) snprintf(path, sizeof path, "%s%s/memory.pressure", root, cgroups[i]);
                assert_true(file_read_at(AT_FDCWD, path, text, sizeof text) > 0);
                assert_true(startswith(text, "some 100000 1000000"));
        }
}

/* That it is still not there costs nothing at each heartbeat; and what is watched is what is nearest then. */
static void test_watch_stays(void **state _unused_) {
        static const char *const cgroups[] = { "/a.slice/a-b.slice" };
        Trigger *t;

        set_domains(cgroups, 1);
        t = triggers.list[triggers.n - 1];
        assert_int_equal(t->state, TRIGGER_MISSING);
        assert_non_null(t->appears);
        for (int i = 0; i < 3; i++) {
                const char *text;

                assert_true(sd_event_source_set_description(t->appears, "this one") >= 0);
                triggers_retry(&triggers);
                assert_true(sd_event_source_get_description(t->appears, &text) >= 0);
                assert_string_equal(text, "this one");
                /* The nearest is another one. */
                if (i % 2 == 0)
                        make("a.slice");
                else {
                        char path[512];

                        (void) snprintf(path, sizeof path, "%s/a.slice", root);
                        test_dir_remove(path);
                }
                triggers_retry(&triggers);
                assert_true(sd_event_source_get_description(t->appears, &text) >= 0);
                assert_string_equal(text, cgroups[0]);
        }
        make("a.slice/a-b.slice");
        triggers_retry(&triggers);
        assert_int_not_equal(t->state, TRIGGER_MISSING);
        assert_null(t->appears);
}

/* cgroup.pressure=0 takes the files away; when they are back the next retry finds them. */
static void test_pressure_turned_on_again(void **state _unused_) {
        static const char *const cgroups[] = { "/a.slice" };
        char path[512], text[256];

        make("a.slice");
        (void) snprintf(path, sizeof path, "%s/a.slice/memory.pressure", root);
        assert_int_equal(unlink(path), 0);
        put("a.slice", "cgroup.controllers");
        set_domains(cgroups, 1);
        assert_int_equal(triggers.list[triggers.n - 1]->state, TRIGGER_OFF);
        triggers_retry(&triggers);
        assert_int_equal(triggers.list[triggers.n - 1]->state, TRIGGER_OFF);
        assert_true(triggers_are_missing(&triggers));
        put("a.slice", "memory.pressure");
        triggers_retry(&triggers);
        assert_true(file_read_at(AT_FDCWD, path, text, sizeof text) > 0);
        assert_true(startswith(text, "some 100000 1000000"));
        assert_false(triggers_are_missing(&triggers));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_slice_that_comes_later, setup, teardown),
                cmocka_unit_test_setup_teardown(test_watch_stays, setup, teardown),
                cmocka_unit_test_setup_teardown(test_pressure_turned_on_again, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
