/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a look reads: of which cgroups and of which of many disks, in trouble and at rest. */

#include "sense/test-tree.h"

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

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_io),
                TEST(test_many_disks),
                TEST(test_very_many_disks),
                TEST(test_stat_follows_parent),
                TEST(test_page_cache_at_rest),
                TEST(test_hot),
                TEST(test_stream_at_rest),
                TEST(test_hot_stream),
        };

        return TREE_RUN(tests);
}
