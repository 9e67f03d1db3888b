/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lease file: what is in it after a crash at any moment. */

#include <fcntl.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>

#include "act/leases.h"
#include "base/test-dir.h"
#include "base/units.h"

static char dir[TEST_DIR_SIZE], file[128];

static int setup(void **state) {
        (void) state;
        test_dir_make(dir);
        (void) snprintf(file, sizeof file, "%s/leases", dir);
        return 0;
}

static int teardown(void **state) {
        (void) state;
        test_dir_remove(dir);
        return 0;
}

static Lease lease_of(uint64_t id) {
        Lease l = {
                .cgroup_id = id,
                .incident_id = 7,
                .step = STEP_HOLD,
                .original = LIMIT_MAX,
                .value = 4096 * id,
                .taken_usec = 100,
                .expires_usec = 200,
        };

        (void) snprintf(l.path, sizeof l.path, "/sideload.slice/a b \xff %d.service", (int) id);
        return l;
}

static HeldLease *take(Leases *l, uint64_t id) {
        Lease lease = lease_of(id);
        HeldLease *h;

        assert_int_equal(leases_take(l, &lease, LIMIT_MAX, &h), 0);
        return h;
}

static struct {
        HeldLease held[LEASES_MAX];
        size_t n;
} seen;

static void reader(const HeldLease *h, void *userdata) {
        (void) userdata;
        seen.held[seen.n++] = *h;
}

static size_t read_back(void) {
        seen.n = 0;
        assert_int_equal(leases_read(file, reader, NULL), 0);
        return seen.n;
}

static void test_round_trip(void **state) {
        Leases *l;
        HeldLease *a, *b, *c;

        (void) state;
        assert_int_equal(leases_new(file, &l), 0);
        assert_int_equal(read_back(), 0);
        a = take(l, 1);
        assert_int_equal(read_back(), 1);
        b = take(l, 2);
        c = take(l, 3);
        assert_int_equal(leases_set(l, b, 12288, LIMIT_MAX, STEP_SQUEEZE, 300), 0);
        assert_int_equal(leases_hand_over(l, c, 40960, true), 0);
        leases_end(l, a);
        assert_int_equal(read_back(), 2);
        assert_true(seen.held[0].lease.cgroup_id == 2);
        assert_string_equal(seen.held[0].lease.path, "/sideload.slice/a b \xff 2.service");
        assert_int_equal(seen.held[0].lease.step, STEP_SQUEEZE);
        assert_true(seen.held[0].lease.value == 12288 && seen.held[0].previous == 8192);
        assert_true(seen.held[0].lease.original == LIMIT_MAX);
        assert_true(seen.held[0].lease.expires_usec == 300 && seen.held[0].lease.taken_usec == 100);
        assert_true(seen.held[0].lease.incident_id == 7);
        assert_true(seen.held[1].lease.handed_over && seen.held[1].had_dropin);
        assert_true(seen.held[1].handed_value == 40960);
        leases_free(l);

        /* A second daemon takes them over, and they survive its fresh file. */
        assert_int_equal(leases_new(file, &l), 0);
        assert_int_equal(read_back(), 2);
        assert_true(seen.held[1].lease.handed_over && seen.held[1].had_dropin);
        b = leases_find(l, 2);
        assert_non_null(b);
        leases_end(l, b);
        leases_end(l, leases_find(l, 3));
        assert_int_equal(read_back(), 0);
        /* After the beginning again, nothing of what stands behind is read. */
        (void) take(l, 9);
        assert_int_equal(read_back(), 1);
        assert_true(seen.held[0].lease.cgroup_id == 9);
        leases_free(l);
}

static void test_torn(void **state) {
        Leases *l;
        char text[8192];
        ssize_t n = 0, ends[3];
        int fd;

        (void) state;
        assert_int_equal(leases_new(file, &l), 0);
        for (uint64_t id = 1; id <= 3; id++) {
                (void) take(l, id);
                fd = open(file, O_RDONLY | O_CLOEXEC);
                n = read(fd, text, sizeof text);
                ends[id - 1] = (ssize_t) strlen(text);
                close(fd);
        }
        leases_free(l);
        /* Cut off after every byte: whole records before the cut are read, nothing else. */
        for (ssize_t cut = 0; cut <= ends[2]; cut++) {
                fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
                assert_int_equal(write(fd, text, (size_t) cut), cut);
                close(fd);
                assert_int_equal(read_back(), (cut >= ends[0]) + (cut >= ends[1]) + (cut >= ends[2]));
        }
        /* One bit turned: that record and what is behind it are not believed. */
        for (ssize_t at = 0; at < ends[2]; at++) {
                text[at] ^= 4;
                fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
                assert_int_equal(write(fd, text, (size_t) ends[2]), ends[2]);
                close(fd);
                text[at] ^= 4;
                assert_int_equal(read_back(), (at >= ends[0]) + (at >= ends[1]));
        }
        (void) n;
}

static void test_many(void **state) {
        Leases *l;
        HeldLease *h;
        struct stat st;

        (void) state;
        assert_int_equal(leases_new(file, &l), 0);
        h = take(l, 1);
        (void) take(l, 2);
        for (uint64_t i = 0; i < 20000; i++)
                assert_int_equal(leases_set(l, h, 4096 * (i + 1), LIMIT_MAX, STEP_SQUEEZE, i), 0);
        assert_int_equal(read_back(), 2);
        assert_true(seen.held[0].lease.value == 4096 * 20000);
        assert_int_equal(stat(file, &st), 0);
        assert_true(st.st_size <= 32 * 1024);
        for (uint64_t id = 3; id <= LEASES_MAX; id++)
                (void) take(l, id);
        {
                Lease lease = lease_of(999);

                assert_int_equal(leases_take(l, &lease, 0, &h), -ENOSPC);
                strcpy(lease.path, "/a\nb");
                assert_int_equal(leases_take(l, &lease, 0, &h), -EINVAL);
        }
        assert_int_equal(read_back(), LEASES_MAX);
        for (uint64_t id = 1; id <= LEASES_MAX; id++)
                leases_end(l, leases_find(l, id));
        assert_int_equal(read_back(), 0);
        leases_remove_if_empty(l);
        assert_int_equal(access(file, F_OK), -1);
        leases_free(l);
}

/* The file is written anew just when a lease ends: what comes after that is read nevertheless. */
static void test_full_at_an_end(void **state) {
        Leases *l;

        (void) state;
        assert_int_equal(leases_new(file, &l), 0);
        (void) take(l, 1);
        for (int i = 0; i < 1000; i++) {
                HeldLease *h = take(l, 2);

                assert_int_equal(read_back(), 2);
                leases_end(l, h);
                assert_int_equal(read_back(), 1);
        }
        leases_free(l);
}

/* … or while a write is under way: what was there before it is still known. */
static void test_full_in_a_set(void **state) {
        HeldLease *a, *b;
        Leases *l;

        (void) state;
        assert_int_equal(leases_new(file, &l), 0);
        a = take(l, 1);
        b = take(l, 2);
        assert_int_equal(leases_set(l, a, 8192, 8192, STEP_SQUEEZE, 300), 0);
        assert_int_equal(leases_set(l, a, 4096, 4096, STEP_SQUEEZE, 300), 0);
        assert_int_equal(leases_hand_over(l, a, 8192, true), 0);
        assert_int_equal(leases_hand_over(l, a, 4096, true), 0);
        for (uint64_t i = 0; i < 1000; i++)
                assert_int_equal(leases_set(l, b, 4096 * (i + 1), LIMIT_MAX, STEP_SQUEEZE, i), 0);
        assert_int_equal(read_back(), 2);
        assert_true(seen.held[0].handed_before == 8192 && seen.held[0].handed_value == 4096 && seen.held[0].had_dropin);
        assert_true(seen.held[0].previous == 8192 && seen.held[0].lease.value == 4096);
        assert_true(seen.held[0].swap_previous == 8192 && seen.held[0].lease.swap_value == 4096);
        leases_free(l);
}

static void test_no_room(void **state) {
        struct rlimit old, none;
        Lease lease = lease_of(1);
        HeldLease *h = NULL;
        Leases *l;

        (void) state;
        (void) signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        none = old;
        none.rlim_cur = 0;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        assert_int_equal(leases_new(file, &l), 0);
        assert_true(leases_take(l, &lease, LIMIT_MAX, &h) < 0);
        assert_null(h);
        assert_null(leases_find(l, 1));
        /* There is room again: so are leases. */
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(leases_take(l, &lease, LIMIT_MAX, &h), 0);
        assert_int_equal(read_back(), 1);
        /* The file is as large as it gets from the start: the reserved room still serves. */
        none.rlim_cur = 16 * 1024;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        assert_int_equal(leases_set(l, h, 4096, LIMIT_MAX, STEP_HOLD, 1), 0);
        /* A record that cannot be written leaves the lease as it was. */
        none.rlim_cur = 0;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        assert_true(leases_set(l, h, 8192, LIMIT_MAX, STEP_HOLD, 1) < 0);
        assert_true(h->lease.value == 4096);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(leases_set(l, h, 8192, LIMIT_MAX, STEP_HOLD, 1), 0);
        assert_int_equal(read_back(), 1);
        assert_true(seen.held[0].lease.value == 8192);
        leases_free(l);
}

static void test_foreign(void **state) {
        static const char *const texts[] = { "", "\n", "leases\n", "00000000 1 take 1\n", "cgd" };
        Leases *l;

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

                assert_true(write(fd, texts[i], strlen(texts[i])) >= 0);
                close(fd);
                assert_int_equal(read_back(), 0);
                assert_int_equal(leases_new(file, &l), 0);
                (void) take(l, 1);
                assert_int_equal(read_back(), 1);
                leases_end(l, leases_find(l, 1));
                leases_free(l);
        }
        /* A link is nobody's lease file. */
        (void) unlink(file);
        assert_int_equal(symlink("/etc/passwd", file), 0);
        seen.n = 0;
        assert_true(leases_read(file, reader, NULL) < 0);
        assert_int_equal(leases_new(file, &l), 0);
        (void) take(l, 1);
        assert_int_equal(read_back(), 1);
        leases_free(l);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_full_at_an_end, setup, teardown),
                cmocka_unit_test_setup_teardown(test_full_in_a_set, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
                cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
