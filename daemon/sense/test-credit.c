/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who gets a slot, what becomes of the kernel's counts, and the real programs where this kernel takes them. */

#include <fcntl.h>
#include <sys/stat.h>

#include "base/test.h"
#include "base/test-dir.h"
#include "base/units.h"
#include "sense/credit.h"
#include "sys/cgroup.h"

#define MIB (UINT64_C(1) << 20)

typedef struct Fixture {
        char root[64];
        Registry registry;
        CreditControl control;
        Credit credit;
        unsigned walk;
} Fixture;

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof *f);

        *state = f;
        test_dir_make_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : P_tmpdir, f->root);
        assert_int_equal(registry_init(&f->registry, f->root, NULL), 0);
        assert_int_equal(registry_set_domains(&f->registry, (char *[]) { (char *) "/a.slice", NULL }), 0);
        assert_int_equal(credit_init(&f->credit, NULL, "/nowhere"), 0);
        f->credit.control = &f->control;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        f->credit.control = NULL;
        credit_done(&f->credit);
        registry_done(&f->registry);
        test_dir_remove(f->root);
        free(f);
        return 0;
}

/* A cgroup that did so much since the walk before. */
static Known *make(Fixture *f, const char *path) {
        char whole[256];

        (void) snprintf(whole, sizeof whole, "%s%s", f->root, path);
        assert_int_equal(mkdir(whole, 0755), 0);
        for (Known *n = f->registry.root; n; n = known_next(n)) {
                n->unlisted = true;
                registry_refresh(&f->registry, n);
        }
        for (Known *n = f->registry.root; n; n = known_next(n))
                if (streq(n->path, path))
                        return n;
        fail_msg("%s is not there", path);
        return NULL;
}

static void did(Fixture *f, Known *n, uint64_t bytes) {
        if (!n->io)
                n->io = calloc(1, sizeof *n->io);
        n->io->work = bytes;
        n->io_walk = f->walk;
}

static size_t slot(const Fixture *f, const Known *n) {
        for (size_t i = 1; i < IO_SLOTS; i++)
                if (f->control.slots[i] == n->id) {
                        assert_int_equal(f->credit.io.slots[i].cgroup_id, n->id);
                        return i;
                }
        return CREDIT_REST;
}

static const IoCredit *look(Fixture *f, uint64_t usec) {
        const IoCredit *io = credit_read(&f->credit, &f->registry, f->walk, usec);

        f->walk++;
        return io;
}

static void test_slots(void **state) {
        Fixture *f = *state;
        Known *domain = make(f, "/a.slice"), *idle = make(f, "/a.slice/idle.service"), *busy[IO_SLOTS];
        size_t n_have = 0;

        f->walk = 1;
        for (size_t i = 0; i < IO_SLOTS; i++) {
                char path[64];

                (void) snprintf(path, sizeof path, "/a.slice/%02zu.service", i);
                busy[i] = make(f, path);
        }
        did(f, busy[0], 2 * MIB);
        look(f, USEC_PER_SEC);
        assert_true(slot(f, f->registry.root) != CREDIT_REST && slot(f, domain) != CREDIT_REST);
        assert_int_equal(slot(f, idle), CREDIT_REST);
        assert_true(slot(f, busy[0]) != CREDIT_REST);

        /* More than there are slots: nobody is put out by his equals, and the domain never is. */
        for (size_t i = 0; i < IO_SLOTS; i++)
                did(f, busy[i], 2 * MIB);
        look(f, 2 * USEC_PER_SEC);
        for (size_t i = 0; i < IO_SLOTS; i++)
                n_have += slot(f, busy[i]) != CREDIT_REST;
        assert_int_equal(n_have, IO_SLOTS - 3);
        assert_true(slot(f, busy[0]) != CREDIT_REST && slot(f, domain) != CREDIT_REST);

        /* By somebody who does much more, he who does least is. */
        for (size_t i = 0; i < IO_SLOTS; i++)
                did(f, busy[i], i == 3 ? MIB : 2 * MIB);
        did(f, idle, 9 * MIB);
        look(f, 3 * USEC_PER_SEC);
        assert_true(slot(f, idle) != CREDIT_REST);
        assert_int_equal(slot(f, busy[3]), CREDIT_REST);
        assert_int_equal(f->credit.io.slots[slot(f, idle)].since_usec, 3 * USEC_PER_SEC);
}

/* Who stands at a cap is let through in bursts, and many others do a little all the time. */
static void test_bursts_keep_their_slot(void **state) {
        Fixture *f = *state;
        Known *n[2 * IO_SLOTS], *domain = make(f, "/a.slice");
        uint64_t usec = USEC_PER_SEC;
        size_t mine[ARRAY_SIZE(n)];

        assert_non_null(domain);
        f->walk = 1;
        for (size_t i = 0; i < ARRAY_SIZE(n); i++) {
                char path[64];

                (void) snprintf(path, sizeof path, "/a.slice/%02zu.service", i);
                n[i] = make(f, path);
        }
        for (int k = 0; k < 40; k++, usec += 100 * USEC_PER_MSEC) {
                for (size_t i = 0; i < ARRAY_SIZE(n); i++)
                        if (i % 8 == 0 ? k % 3 == 0 : (i + (size_t) k) % 4 == 0)
                                did(f, n[i], i % 8 == 0 ? 4 * MIB : MIB / 3);
                look(f, usec);
                for (size_t i = 0; i < ARRAY_SIZE(n); i += 8) {
                        if (k == 0)
                                mine[i] = slot(f, n[i]);
                        assert_int_not_equal(mine[i], CREDIT_REST);
                        assert_int_equal(slot(f, n[i]), mine[i]);
                }
        }
}

/* A domain's slice that is met when others have all slots: in the same look, and in a later one. */
static void test_domain_among_many(void **state) {
        Fixture *f = *state;
        Known *busy[IO_SLOTS], *late, *first;
        size_t n_have = 0;

        assert_int_equal(registry_set_domains(&f->registry, (char *[]) { (char *) "/z.slice", (char *) "/y.slice", NULL }), 0);
        f->walk = 1;
        (void) make(f, "/b.slice");
        for (size_t i = 0; i < IO_SLOTS; i++) {
                char path[64];

                (void) snprintf(path, sizeof path, "/b.slice/%02zu.service", i);
                busy[i] = make(f, path);
        }
        first = make(f, "/z.slice");
        for (size_t i = 0; i < IO_SLOTS; i++)
                did(f, busy[i], i == 4 ? MIB : 2 * MIB);
        look(f, USEC_PER_SEC);
        assert_true(slot(f, first) != CREDIT_REST);

        late = make(f, "/y.slice");
        for (size_t i = 0; i < IO_SLOTS; i++)
                did(f, busy[i], i == 4 ? MIB : 2 * MIB);
        look(f, 2 * USEC_PER_SEC);
        assert_true(slot(f, late) != CREDIT_REST && slot(f, first) != CREDIT_REST);
        assert_true(slot(f, f->registry.root) != CREDIT_REST);
        assert_int_equal(f->credit.io.slots[slot(f, late)].since_usec, 2 * USEC_PER_SEC);
        /* It is he who does least who has none any more. */
        assert_int_equal(slot(f, busy[4]), CREDIT_REST);
        for (size_t i = 0; i < IO_SLOTS; i++)
                n_have += slot(f, busy[i]) != CREDIT_REST;
        assert_int_equal(n_have, IO_SLOTS - 4);
}

static void test_gone(void **state) {
        Fixture *f = *state;
        Known *n = (make(f, "/a.slice"), make(f, "/a.slice/b.service"));
        size_t i;

        f->walk = 1;
        did(f, n, MIB);
        look(f, USEC_PER_SEC);
        i = slot(f, n);
        assert_true(i != CREDIT_REST);
        n->gone = true;
        look(f, 2 * USEC_PER_SEC);
        assert_int_equal(f->control.slots[i], 0);
        assert_null(f->credit.io.slots[i].path);
}

static void test_counts(void **state) {
        Fixture *f = *state;
        const IoCredit *io;

        f->control.devices[0].device = UINT64_C(254) << 32;
        f->control.devices[0].wait[2][3] = UINT64_C(1500000) << CREDIT_SHIFT;
        f->control.devices[0].latency[2][7] = 4;
        f->control.devices[1].device = UINT64_C(8) << 32;
        f->control.devices[1].wait[2][3] = UINT64_C(2000000) << CREDIT_SHIFT;
        f->control.devices[1].latency[2][7] = 5;
        io = look(f, USEC_PER_SEC);
        assert_non_null(io);
        assert_int_equal(io->wait_usec[2][3], 3500);
        assert_int_equal(io->latency[2][7], 9);
        assert_int_equal(io->usec, USEC_PER_SEC);
        f->credit.control = NULL;
        assert_null(look(f, 2 * USEC_PER_SEC));
}

/* A disk that finds no room gets that of one at rest, and what that one did is not forgotten. */
static void test_disks_come_and_go(void **state) {
        Fixture *f = *state;

        for (size_t d = 0; d < CREDIT_DEVICES; d++) {
                f->control.devices[d].device = d + 1;
                f->control.devices[d].latency[2][7] = 1;
        }
        f->control.devices[3].wait[2][3] = UINT64_C(1000000) << CREDIT_SHIFT;
        look(f, USEC_PER_SEC);
        f->control.lost_device = 5;
        look(f, 10 * USEC_PER_SEC);
        for (size_t d = 0; d < CREDIT_DEVICES; d++)
                assert_int_not_equal(f->control.devices[d].device, 0);
        for (size_t d = 0; d < CREDIT_DEVICES; d++)
                f->control.devices[d].latency[2][7] += d != 3;
        look(f, 30 * USEC_PER_SEC);
        look(f, 40 * USEC_PER_SEC);
        assert_int_equal(f->control.devices[3].device, 4);
        f->control.lost_device = 6;
        assert_int_equal(look(f, 41 * USEC_PER_SEC)->wait_usec[2][3], 1000);
        for (size_t d = 0; d < CREDIT_DEVICES; d++)
                assert_int_equal(f->control.devices[d].device, d == 3 ? 0 : d + 1);

        /* The others stay where they are, beside nobody and beside the next one. */
        for (int k = 0; k < 2; k++) {
                const IoCredit *io = look(f, 42 * USEC_PER_SEC);

                assert_int_equal(io->n_devices, CREDIT_DEVICES);
                for (size_t d = 0; d < CREDIT_DEVICES; d++)
                        for (size_t i = 0; i < IO_SLOTS; i++)
                                assert_int_equal(io->done[i][d].minor, d != 3 ? d + 1 : k == 0 ? 0 : 77);
                f->control.devices[3].device = 77;
        }
}

#ifdef CGD_BPF
/* Reads of a file's blocks are requests somewhere, where the file lies on a disk. */
static void test_real_programs(void **state _unused_) {
        sd_event *event = NULL;
        uint64_t requests = 0;
        Credit c;

        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(credit_init(&c, event, CGD_BPF), 0);
        assert_int_equal(credit_load(&c), 0);
        while (loading_is_on(&c.loading))
                assert_true(sd_event_run(event, 10 * USEC_PER_SEC) > 0);
        if (!c.control) {
                print_message("this kernel refuses: %s\n", c.loading.reason);
                credit_done(&c);
                sd_event_unref(event);
                skip();
        }
        for (int i = 0; i < 100; i++) {
                char name[64];
                int fd;

                (void) snprintf(name, sizeof name, "cgd-test-credit.%d", getpid());
                fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                assert_true(fd >= 0);
                (void) unlink(name);
                assert_int_equal(write(fd, name, sizeof name), sizeof name);
                assert_int_equal(fsync(fd), 0);
                (void) close(fd);
        }
        for (size_t d = 0; d < CREDIT_DEVICES; d++)
                for (size_t b = 0; b < LATENCY_BUCKETS; b++)
                        requests += c.control->devices[d].latency[CREDIT_REST][b];
        if (requests == 0)
                print_message("nothing here lies on a disk\n");
        else
                assert_true(c.control->devices[0].wait[CREDIT_REST][CREDIT_REST] > 0);
        credit_done(&c);
        sd_event_unref(event);
}
#endif

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_slots, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bursts_keep_their_slot, setup, teardown),
                cmocka_unit_test_setup_teardown(test_domain_among_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
                cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
                cmocka_unit_test_setup_teardown(test_disks_come_and_go, setup, teardown),
#ifdef CGD_BPF
                cmocka_unit_test(test_real_programs),
#endif
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
