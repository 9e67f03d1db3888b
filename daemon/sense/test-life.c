/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The real program, where this kernel takes it: what it tells of the processes of this test and what it does not. */

#include <spawn.h>
#include <sys/wait.h>

#include "base/test.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sense/life.h"

static sd_event *event;
static Life life;
static ExecEvent told[8];
static size_t n_told;
static char base[TEST_DIR_SIZE];

static bool again;                      /* each that is told of is followed by another */
static pid_t start(const char *name);

static void on_exec(const ExecEvent *e, void *userdata _unused_) {
        if (n_told < ARRAY_SIZE(told))
                told[n_told] = *e;
        n_told++;
        if (again)
                (void) start("other");
}

static int setup(void **state _unused_) {
        n_told = 0;
        again = false;
        test_dir_make(base);
        test_sh("cp /bin/true %s/wanted-program; cp /bin/true %s/other", base, base);
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(life_init(&life, event, CGD_BPF, on_exec, NULL), 0);
        return 0;
}

static int teardown(void **state _unused_) {
        life_done(&life);
        event = sd_event_unref(event);
        test_dir_remove(base);
        return 0;
}

static void loaded(void) {
        FILE *f = fopen("/proc/self/cgroup", "re");
        char text[4096], *own;

        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        (void) fclose(f);
        own = strstr(text, "0::");
        if (!own || (strcspn(own, "\n") != strlen("0::/") && !strstr(own, "/session-"))) {
                print_message("this test runs in somebody's unit, of which nothing is told\n");
                skip();
        }
        assert_int_equal(life_load(&life), 0);
        while (loading_is_on(&life.loading))
                assert_true(sd_event_run(event, UINT64_MAX) >= 0);
        if (!life.control) {
                print_message("%s\n", life.loading.reason);
                assert_true(*life.loading.reason);
                skip();
        }
}

static pid_t start(const char *name) {
        char path[256], *argv[] = { path, NULL };
        int status;
        pid_t pid;

        (void) snprintf(path, sizeof path, "%s/%s", base, name);
        assert_int_equal(posix_spawn(&pid, path, NULL, NULL, argv, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return pid;
}

static void run(void) {
        while (sd_event_run(event, 50 * USEC_PER_MSEC) > 0)
                ;
}

static void test_names_and_users(void **state _unused_) {
        char *names[] = { (char *) "wanted-program", NULL };
        uint32_t uids[] = { 4242, getuid() };
        ExecFilter f = { .names = names };
        pid_t pid;

        assert_int_equal(life_set(&life, &f), 0);
        loaded();
        (void) start("other");
        pid = start("wanted-program");
        run();
        assert_int_equal(n_told, 1);
        assert_int_equal(told[0].pid, pid);
        assert_int_equal(told[0].uid, getuid());
        assert_true(told[0].usec > 0);

        /* Another filter: nothing is left of the first. */
        f = (ExecFilter) { .uids = uids, .n_uids = 1 };
        assert_int_equal(life_set(&life, &f), 0);
        pid = start("wanted-program");
        run();
        for (size_t i = 0; i < MIN(n_told, ARRAY_SIZE(told)); i++)
                assert_int_not_equal(told[i].pid, pid);
        f.n_uids = 2;
        assert_int_equal(life_set(&life, &f), 0);
        n_told = 0;
        (void) start("other");
        run();
        assert_true(n_told > 0);
        assert_false(life_has_lost(&life));
}

/* Nobody reads while more programs start than the ring holds. */
static void test_lost(void **state _unused_) {
        char *names[] = { (char *) "other", NULL };
        ExecFilter f = { .names = names };

        assert_int_equal(life_set(&life, &f), 0);
        loaded();
        for (int i = 0; i < 2800; i++)
                (void) start("other");
        assert_true(life_has_lost(&life));
        assert_false(life_has_lost(&life));
        run();
        assert_in_range(n_told, 2000, 2799);
        n_told = 0;
        (void) start("other");
        run();
        assert_int_equal(n_told, 1);
}

static int on_tick(sd_event_source *s _unused_, void *userdata) {
        ++*(unsigned *) userdata;
        return 0;
}

/* Programs start without end: whatever else the loop has to do has its turn, and soon. */
static void test_turns(void **state _unused_) {
        char *names[] = { (char *) "other", NULL };
        ExecFilter f = { .names = names };
        sd_event_source *tick = NULL;
        unsigned ticks = 0;

        assert_int_equal(life_set(&life, &f), 0);
        loaded();
        for (int i = 0; i < 100; i++)
                (void) start("other");
        assert_true(sd_event_add_defer(event, &tick, on_tick, &ticks) >= 0);
        assert_true(sd_event_source_set_priority(tick, SD_EVENT_PRIORITY_IDLE) >= 0);
        again = true;
        for (int i = 0; i < 2; i++)
                assert_true(sd_event_run(event, 0) > 0);
        assert_int_equal(ticks, 1);
        assert_in_range(n_told, 1, 99);
        sd_event_source_unref(tick);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_names_and_users, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
                cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
