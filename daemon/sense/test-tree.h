/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by the tests of sense/: a made-up tree of cgroups, and a sensor that reads it. */

#include "base/test-dir.h"
#include "base/units.h"
#include "sense/sense.h"

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

/* Where trees are made. */
extern const char *where;

/* cgroup is a path in the tree, without the first slash. */
void put_file(const char *dir, const char *file, const char *text);
void set_text(Fixture *f, const char *cgroup, const char *file, const char *text);
void set(Fixture *f, const char *cgroup, const char *file, uint64_t v);
void set_stat(Fixture *f, const char *cgroup, uint64_t pgsteal, uint64_t activate);
void make(Fixture *f, const char *cgroup, uint64_t current);
void delete(Fixture *f, const char *cgroup);
/* A sensor of it, whose events are kept in the fixture. */
void open_sensor(Fixture *f);
void on_event(const Event *e, void *userdata);
int setup(void **state);
int teardown(void **state);
/* Of a sample; row_of(): NULL where there is none. value() fails where the field is not known. */
const CgroupSample *row_of(const Sample *s, const char *path);
bool has(const Sample *s, const char *path, CgroupField field);
uint64_t value(const Sample *s, const char *path, CgroupField field);
void set_policy(Fixture *f);
void set_io_policy(Fixture *f);

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* All of them in both ways: children listed each time, and trusted link counts. How many failed. */
#define TREE_RUN(tests) ({                                                                              \
        int _r = cmocka_run_group_tests_name("listed each time", tests, NULL, NULL);                    \
                                                                                                        \
        if (access("/dev/shm", W_OK) >= 0) {                                                            \
                where = "/dev/shm";                                                                     \
                _r += cmocka_run_group_tests_name("link counts", tests, NULL, NULL);                    \
        }                                                                                               \
        _r;                                                                                             \
})
