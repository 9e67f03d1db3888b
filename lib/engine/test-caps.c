/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Floods of a disk in the tests' world: who is capped, how far, and that all is given back. */

#include "engine/state.h"
#include "engine/test-scenario.h"

static uint64_t done_by(int i) {
        return w.c[i].done[0].v[IO_READS] + w.c[i].done[0].v[IO_WRITES];
}

static void test_flood_is_capped_and_given_back(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);
        uint64_t began = w.now, before;
        unsigned relief = 0;
        const Incident *i;

        world_run(&w, USEC_PER_SEC);
        assert_true(w.c[flood].touched > 0);
        assert_true(w.first_touch - began <= 500 * USEC_PER_MSEC);
        i = world_incident(&w, "io");
        assert_non_null(i);
        assert_int_equal(i->resource, RESOURCE_IO);
        assert_true(i->low_confidence);
        assert_string_equal(i->culprit, "/sideload.slice/flood.service");
        assert_int_equal(i->candidates[0].verdict, VERDICT_CULPRIT);
        /* Bytes and operations, of what it does and of nothing else. */
        assert_true(w.c[flood].io_max[0].v[IO_READS] >= 300 && w.c[flood].io_max[0].v[IO_READS] <= 400);
        assert_true(w.c[flood].io_max[0].v[IO_READ_BYTES] < 2 * MIB);
        assert_true(w.c[flood].io_max[0].v[IO_WRITES] == LIMIT_MAX);
        assert_true(w.c[flood].io_max[1].v[IO_READS] == LIMIT_MAX);
        assert_true(w.c[flood].high == LIMIT_MAX);

        /* It keeps three quarters of what is left, and more. */
        world_run(&w, 5 * USEC_PER_SEC);
        before = done_by(flood);
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(done_by(flood) - before >= 60 * 700 * 3 / 4);
        world_assert_only_touched(&w, flood);
        assert_int_equal(w.kills, 0);

        /* Who does nothing needs no cap, and does not wait for the lease to end. */
        w.c[flood].operations = 0;
        world_run(&w, 10 * USEC_PER_SEC);
        assert_true(world_clean(&w));
        world_run(&w, 10 * USEC_PER_SEC);
        assert_int_equal(world_incident(&w, "io")->state, INCIDENT_OVER);
        i = world_incident(&w, "io");
        assert_int_equal(i->result, RESULT_RECOVERED);
        /* And it is told of what, and to what. */
        for (size_t k = 0; k < i->n_entries; k++)
                if (i->entries[k].type == ENTRY_RELIEF) {
                        assert_int_equal(i->entries[k].major, 8);
                        assert_true(i->entries[k].operations_before < i->entries[k].operations_after);
                        relief++;
                }
        assert_int_equal(relief, 1);
}

static void test_flood_that_may_not_be_capped(void **state _unused_) {
        w.policy.domains[1].contain.steps[STEP_IO_CAP] = false;
        (void) world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);
        world_run(&w, 10 * USEC_PER_SEC);
        world_assert_only_touched(&w, -1);
        assert_int_equal(world_incident(&w, "io")->candidates[0].verdict, VERDICT_NO_STEP);
}

/* What others do there is theirs, and the queue stays short; but what is left is the flood's. */
static void test_room_on_the_disk(void **state _unused_) {
        uint64_t before, flooded;
        int flood, other = world_add(&w, "/sideload.slice/other.service", CGROUP_KIND_UNIT, 10 * MIB);

        w.c[other].operations = 200;
        w.c[other].io_bytes = 16 << 10;
        flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);
        world_run(&w, 10 * USEC_PER_SEC);
        before = done_by(flood);
        world_run(&w, 20 * USEC_PER_SEC);
        flooded = (done_by(flood) - before) / 20;
        assert_true(flooded + 300 <= 800 * 86 / 100);
        assert_true(flooded + 300 >= 800 * 78 / 100);
        world_assert_only_touched(&w, flood);
}

/* A device that comes to do less than was measured is not run into again and again; nor believed to be slow for ever. */
static void test_device_that_does_less(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096), web = world_find(&w, "/workload.slice/web.service");
        uint64_t stalled;

        world_run(&w, 5 * USEC_PER_SEC);
        w.disk_operations = 400;
        world_run(&w, 5 * USEC_PER_SEC);
        stalled = w.c[web].io_stall;
        world_run(&w, 12 * USEC_PER_SEC);
        assert_true(w.c[web].io_stall - stalled <= 12 * USEC_PER_SEC * 6 / 100);
        assert_true(w.c[flood].io_max[0].v[IO_READS] >= 100);
        w.disk_operations = 800;
        world_run(&w, 90 * USEC_PER_SEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] >= 450);
        world_assert_only_touched(&w, flood);
}

/* It alone, and all is given back when it ends. */
static void flood_is_capped_within(int flood, uint64_t usec) {
        world_run(&w, usec);
        assert_true(w.c[flood].touched > 0);
        world_run(&w, 30 * USEC_PER_SEC);
        world_assert_only_touched(&w, flood);
        w.c[flood].operations = 0;
        world_run(&w, 20 * USEC_PER_SEC);
        assert_true(world_clean(&w));
}

/* A disk with an arm: in a tenth of a second it does little, whoever keeps it busy. */
static void test_slow_disk(void **state _unused_) {
        int flood, web = world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);

        w.disk_operations = 120;
        w.c[web].operations = 20;
        w.c[web].io_bytes = 4096;
        flood = world_add(&w, "/sideload.slice/flood.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run(&w, 25 * USEC_PER_SEC);
        assert_null(engine_incident(w.engine, 0));
        w.c[flood].operations = 1000;
        w.c[flood].io_bytes = 4096;
        flood_is_capped_within(flood, 2 * USEC_PER_SEC);
}

/* Where the daemon gets its CPU so late that two looks are nearly half a second apart, they still tell. */
static void test_late_looks(void **state _unused_) {
        int flood;

        w.lag_usec = 350 * USEC_PER_MSEC;
        flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);
        flood_is_capped_within(flood, 3 * USEC_PER_SEC);
}

/* Where the disk is too slow for the victim alone, nobody is pressed below the floor, and nobody is killed. */
static void test_floor_of_caps(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);

        w.disk_operations = 80;
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] >= 64);
        assert_true(w.c[flood].io_max[0].v[IO_READ_BYTES] >= MIB);
        assert_int_equal(w.kills, 0);
        world_assert_only_touched(&w, flood);
}

static void test_harmless_io_is_left(void **state _unused_) {
        int other = world_add(&w, "/sideload.slice/other.service", CGROUP_KIND_UNIT, 10 * MIB), flood;

        w.c[other].operations = 790;
        w.c[other].io_bytes = 64 << 10;
        w.c[other].disk = 1;
        flood = world_flood(&w, "/sideload.slice/flood.service", 2000, 16 << 10);
        world_run(&w, 30 * USEC_PER_SEC);
        assert_true(w.c[flood].touched > 0);
        world_assert_only_touched(&w, flood);
}

/* A service that has lost its cache reads it back: that is what was done to it. */
/* A flood that is not to be seen yet, and one who does a little all the time: to cap him would help nobody. */
static void test_little_io_is_no_flood(void **state _unused_) {
        int little = world_flood(&w, "/sideload.slice/little.service", 40, 4096), web = world_find(&w, "/workload.slice/web.service");

        int dirty = world_add(&w, "/sideload.slice/dirty.service", CGROUP_KIND_UNIT, 120 * MIB);

        w.c[web].operations = 10;
        w.c[dirty].buffered = w.c[dirty].writes = true;
        world_run(&w, 15 * USEC_PER_SEC);
        w.c[dirty].operations = 1;
        w.c[dirty].io_bytes = 4096;
        world_run(&w, 5 * USEC_PER_SEC);
        assert_non_null(world_incident(&w, "io"));
        assert_int_equal(w.c[little].touched, 0);
        assert_int_equal(w.c[world_find(&w, "/sideload.slice")].touched, 0);
}

static void test_refaults_are_not_blamed(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 0, 4096), web = world_find(&w, "/workload.slice/web.service");

        w.c[flood].operations = 500;
        w.c[web].operations = 1500;
        for (int k = 0; k < 40; k++) {
                uint64_t before = done_by(web);

                world_run(&w, 50 * USEC_PER_MSEC);
                w.c[web].activate += done_by(web) - before;
        }
        assert_true(w.c[flood].touched > 0);
        world_assert_only_touched(&w, flood);
}

static void test_own_io_is_own_trouble(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 20, 4096), web = world_find(&w, "/workload.slice/web.service");

        w.c[web].operations = 3000;
        world_run(&w, 20 * USEC_PER_SEC);
        assert_int_equal(w.c[flood].touched, 0);
        world_assert_only_touched(&w, -1);
        assert_non_null(world_incident(&w, "io"));
        assert_int_equal(world_incident(&w, "io")->result, RESULT_SELF);
}

/* Once is not always: the first cap that could not be written is written again. */
static void test_first_cap_that_fails_is_made_again(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);

        w.refuse_writes = true;
        for (int k = 0; k < 200 && w.c[flood].touched == 0; k++)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.refuse_writes = false;
        world_run(&w, 2 * USEC_PER_SEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] < LIMIT_MAX);
}

static void test_two_floods(void **state _unused_) {
        int leak = world_flood(&w, "/sideload.slice/leak.service", 0, 4096), flood;

        flood = world_add(&w, "/sideload.slice/flood.service", CGROUP_KIND_UNIT, 10 * MIB);
        world_run(&w, 15 * USEC_PER_SEC);
        w.c[leak].swaps = true;
        world_run(&w, 2 * USEC_PER_SEC);
        assert_true(w.c[leak].high < LIMIT_MAX);
        w.c[flood].operations = 5000;
        w.c[flood].io_bytes = 4096;
        world_run(&w, 4 * USEC_PER_SEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] < 800);
        w.c[leak].swaps = false;
        w.c[flood].operations = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        for (int i = 0; i < w.n; i++)
                assert_true(i == leak || i == flood || w.c[i].touched == 0);
        assert_true(world_clean(&w));
        for (size_t k = 0; engine_incident(w.engine, k); k++)
                assert_int_equal(engine_incident(w.engine, k)->state, INCIDENT_OVER);
}

/* Others wait for what a writer has on its way to the disk: it is capped in bytes, for an operation of the flusher is large,
 * and at little less than the disk does, for what is made to wait holds up who syncs; then little may be dirty. */
static void test_buffered_writer(void **state _unused_) {
        int writer = world_flood(&w, "/sideload.slice/writer.service", 0, 512 << 10);

        w.c[writer].buffered = w.c[writer].writes = true;
        w.c[writer].current = 300 * MIB;
        w.c[writer].operations = 2000;
        world_run(&w, 1500 * USEC_PER_MSEC);
        assert_non_null(world_incident(&w, "io"));
        assert_string_equal(world_incident(&w, "io")->culprit, "/sideload.slice/writer.service");
        assert_true(w.c[writer].io_max[0].v[IO_WRITE_BYTES] <= 50 * MIB);
        assert_true(w.c[writer].io_max[0].v[IO_WRITE_BYTES] >= 40 * MIB);
        assert_true(w.c[writer].io_max[0].v[IO_WRITES] == LIMIT_MAX);
        assert_true(w.c[writer].io_max[0].v[IO_READS] == LIMIT_MAX);
        /* The floor; 8 MiB and the room for writing would be less. */
        assert_true(w.c[writer].high >= 64 * MIB && w.c[writer].high <= 128 * MIB);
        w.c[writer].operations = 0;
        world_run(&w, 60 * USEC_PER_SEC);
        world_assert_only_touched(&w, writer);
        assert_int_equal(w.kills, 0);
        assert_true(world_clean(&w));
}

static uint64_t write_cap(int i) {
        return w.c[i].io_max[0].v[IO_WRITE_BYTES];
}

/* A buffered writer on a disk whose requests are counted, and that writes so much a second just when he is measured. */
static int capped_writer(uint64_t disk_bytes) {
        int writer;

        w.credited = true;
        w.disk_operations = 4000;
        writer = world_flood(&w, "/sideload.slice/writer.service", 0, 64 << 10);
        w.c[writer].buffered = w.c[writer].writes = true;
        w.c[writer].current = 60 * MIB;
        w.c[writer].operations = 2000;
        w.disk_bytes = disk_bytes;
        for (int i = 0; i < 20 && write_cap(writer) == LIMIT_MAX; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        return writer;
}

/* The service's requests take so long by themselves, and somebody beside it uses the disk more than it does. */
static int slow_by_itself(uint64_t slow_usec, uint64_t operations, bool neighbour_writes) {
        int neighbour, web;

        w.credited = true;
        w.disk_operations = 2000;
        neighbour = world_flood(&w, "/sideload.slice/busy.service", operations, 4096);
        web = world_find(&w, "/workload.slice/web.service");
        w.c[neighbour].writes = neighbour_writes;
        w.c[web].slow_usec = slow_usec;
        world_run(&w, 20 * USEC_PER_SEC);
        return neighbour;
}

static void test_reader_whom_nobody_waits_for(void **state _unused_) {
        const Incident *i;

        (void) slow_by_itself(6 * USEC_PER_MSEC, 300, false);
        world_assert_only_touched(&w, -1);
        i = world_incident(&w, "io");
        assert_non_null(i);
        assert_string_equal(i->candidates[0].path, "/sideload.slice/busy.service");
        assert_int_equal(i->candidates[0].verdict, VERDICT_NOT_WAITED_FOR);
}

/* For writes others wait elsewhere too, in a journal. */
static void test_writer_whom_nobody_waits_for(void **state _unused_) {
        world_assert_only_touched(&w, slow_by_itself(6 * USEC_PER_MSEC, 300, true));
        assert_string_equal(world_incident(&w, "io")->culprit, "/sideload.slice/busy.service");
}

/* Most of what a flood makes wait has not ended yet, and what has took its time by itself. */
static void test_requests_that_have_not_ended(void **state _unused_) {
        world_assert_only_touched(&w, slow_by_itself(2 * USEC_PER_MSEC, 6000, false));
        assert_string_equal(world_incident(&w, "io")->culprit, "/sideload.slice/busy.service");
}

/* The first moments may flatter a disk, which takes a burst in its cache. What it does when it is full is what counts. */
static void test_disk_that_took_a_burst(void **state _unused_) {
        uint64_t lowest = LIMIT_MAX;
        int writer;

        writer = capped_writer(100 * MIB);
        assert_true(write_cap(writer) >= 60 * MIB && write_cap(writer) < LIMIT_MAX);
        w.disk_bytes = 60 * MIB;
        for (int i = 0; i < 400; i++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                lowest = MIN(lowest, write_cap(writer));
        }
        assert_true(lowest >= 40 * MIB);
        assert_true(write_cap(writer) >= 44 * MIB && write_cap(writer) <= 54 * MIB);
}

/* The disk did less when it was measured than it can do, because somebody else was on the computer. */
static void test_disk_that_was_held_up(void **state _unused_) {
        uint64_t highest = 0;
        int writer;

        writer = capped_writer(40 * MIB);
        assert_true(write_cap(writer) <= 34 * MIB);
        w.disk_bytes = 60 * MIB;
        for (int i = 0; i < 1200; i++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                highest = MAX(highest, write_cap(writer));
        }
        assert_true(write_cap(writer) >= 37 * MIB);
        assert_true(highest <= 50 * MIB);
}

/* The first moments of a flood flatter a disk that takes a burst: by what was counted in them a cap of 650 would leave a fifth
 * free, and there is nothing left. The service's requests tell. */
static void test_disk_that_read_a_burst(void **state _unused_) {
        uint64_t cap;
        int flood;

        w.credited = w.allowance = true;
        w.disk_operations = 1000;
        flood = world_flood(&w, "/sideload.slice/flood.service", 4000, 4096);
        for (int i = 0; i < 40 && w.c[flood].touched == 0; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        w.disk_operations = 760;
        for (int i = 0; i < 160; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        cap = w.c[flood].io_max[0].v[IO_READS];
        assert_true(cap >= 400 && cap <= 600);
        for (int i = 0; i < 400; i++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                assert_true(w.c[flood].io_max[0].v[IO_READS] <= 640);
        }
}

/* He had only just begun when he was measured; what he had on its way by then tells what the disk does. */
static void test_writer_who_had_just_begun(void **state _unused_) {
        int writer, backlog = world_add(&w, "/system.slice/backlog.service", CGROUP_KIND_UNIT, 10 * MIB);

        w.c[backlog].writes = true;
        w.c[backlog].io_bytes = 64 << 10;
        writer = capped_writer(9 * MIB);
        assert_true(write_cap(writer) <= 9 * MIB);
        w.disk_bytes = 60 * MIB;
        w.c[backlog].operations = 2000;
        world_run(&w, 1500 * USEC_PER_MSEC);
        w.c[backlog].operations = 0;
        world_run(&w, 40 * USEC_PER_SEC);
        assert_true(write_cap(writer) >= 20 * MIB && write_cap(writer) <= 52 * MIB);
}

/* Who syncs waits for what a writer has on its way: the less he is let write the longer. */
static void test_writer_keeps_half(void **state _unused_) {
        uint64_t first, lowest = LIMIT_MAX;
        int writer = world_flood(&w, "/sideload.slice/writer.service", 0, 512 << 10);

        w.c[writer].buffered = w.c[writer].writes = true;
        w.c[writer].current = 300 * MIB;
        w.c[writer].operations = 2000;
        w.c[writer].backlog = 45 * MIB;
        for (int i = 0; i < 60 && write_cap(writer) == LIMIT_MAX; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        first = write_cap(writer);
        assert_true(first < LIMIT_MAX);
        for (int i = 0; i < 600; i++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                lowest = MIN(lowest, write_cap(writer));
        }
        /* It was tried. */
        assert_true(lowest < first && lowest >= first / 2);
}

/* A disk that is given so many requests a second takes no time for each: by the clock it idles, and is full. */
static void test_disk_with_an_allowance(void **state _unused_) {
        uint64_t highest = 0;
        int flood;

        w.credited = w.allowance = true;
        flood = world_flood(&w, "/sideload.slice/flood.service", 4000, 4096);
        for (int i = 0; i < 40 && w.c[flood].touched == 0; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[flood].touched > 0);
        for (int i = 0; i < 600; i++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                highest = MAX(highest, w.c[flood].io_max[0].v[IO_READS]);
        }
        /* It was tried whether more harms, and it did: three quarters of the disk it is, and a tenth is free. */
        assert_true(highest <= 620);
        assert_true(w.c[flood].io_max[0].v[IO_READS] >= 500 && w.c[flood].io_max[0].v[IO_READS] <= 580);
}

/* Requests end many at a time; what ends within half a second is no measure of what a disk can do. */
static void test_requests_that_end_together(void **state _unused_) {
        uint64_t highest = 0;
        int writer;

        writer = capped_writer(w.disk_bytes);
        assert_true(write_cap(writer) < LIMIT_MAX);
        w.credit_step_usec = 700 * USEC_PER_MSEC;
        for (int i = 0; i < 600; i++) {
                world_run(&w, 50 * USEC_PER_MSEC);
                highest = MAX(highest, write_cap(writer));
        }
        assert_true(highest <= 56 * MIB);
}

/* A machine has more disks than the credit tells apart: what is done to the others is asked of io.stat. */
static void test_disk_that_is_not_counted(void **state _unused_) {
        int hog;

        w.credited = w.uncounted = true;
        hog = world_flood(&w, "/sideload.slice/hog.service", 5000, 4096);
        world_run(&w, 2 * USEC_PER_SEC);
        /* It pushes all the while. */
        for (int i = 0; i < 600; i++) {
                assert_true(w.c[hog].io_max[0].v[IO_READS] <= 800);
                world_run(&w, 50 * USEC_PER_MSEC);
        }
}

/* A writer's first requests stand in no io.stat while they wait to be let in to the queue: what is on its way tells. */
static void test_writes_not_yet_counted(void **state _unused_) {
        int writer;

        w.credited = true;
        w.disk_operations = 4000;
        writer = world_flood(&w, "/sideload.slice/writer.service", 0, 64 << 10);
        w.c[writer].buffered = w.c[writer].writes = w.c[writer].unseen = true;
        w.c[writer].backlog = 150 * MIB;
        w.c[writer].operations = 2000;
        for (int i = 0; i < 20 && write_cap(writer) == LIMIT_MAX; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(write_cap(writer) >= 40 * MIB && write_cap(writer) <= 50 * MIB);
}

/* What a flood had on its way when it was capped stands in its slice's figures first. Only what goes on is the slice's. */
static void test_slice_of_a_flood_is_left(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 0, 64 << 10), slice = world_find(&w, "/sideload.slice");

        w.disk_operations = 4000;
        w.c[flood].operations = 2000;
        for (int i = 0; i < 20 && w.c[flood].io_max[0].v[IO_READS] == LIMIT_MAX; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] < LIMIT_MAX);
        w.disk_bytes = 4 * MIB;
        for (int i = 0; i < 600; i++) {
                w.c[slice].done[0].v[IO_READ_BYTES] += 8 * MIB;
                w.c[slice].done[0].v[IO_READS] += 128;
                world_run(&w, 50 * USEC_PER_MSEC);
                if (i < 90)
                        assert_true(w.c[slice].io_max[0].v[IO_READS] == LIMIT_MAX);
        }
        assert_true(w.c[slice].io_max[0].v[IO_READS] < LIMIT_MAX);
}

/* While what it had on its way drains, nothing is gained by a lower cap, and afterwards only by one that lets it drain. */
static void test_backlog_may_drain(void **state _unused_) {
        int writer = world_flood(&w, "/sideload.slice/writer.service", 0, 64 << 10);

        w.disk_operations = 4000;
        w.c[writer].buffered = w.c[writer].writes = true;
        w.c[writer].current = 60 * MIB;
        w.c[writer].backlog = 150 * MIB;
        w.c[writer].operations = 2000;
        for (int i = 0; i < 20 && write_cap(writer) == LIMIT_MAX; i++)
                world_run(&w, 50 * USEC_PER_MSEC);
        assert_true(write_cap(writer) >= 40 * MIB && write_cap(writer) <= 50 * MIB);
        world_run(&w, 4500 * USEC_PER_MSEC);
        assert_true(write_cap(writer) >= 40 * MIB);
        /* It goes on hurting. */
        world_run(&w, 60 * USEC_PER_SEC);
        assert_true(write_cap(writer) >= 15 * MIB && write_cap(writer) <= 40 * MIB);
}

static void test_work_on_a_disk_is_no_stir(void **state _unused_) {
        EngineStatus s;

        (void) world_add(&w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);
        world_run(&w, 10 * USEC_PER_SEC);
        for (int k = 0; k < 240; k++) {
                world_event(&w, &(Event) { .type = EVENT_IO_STIR, .usec = w.now });
                world_run(&w, 500 * USEC_PER_MSEC);
        }
        engine_status(w.engine, &s);
        assert_true(s.samples > 50);
        assert_true(s.samples < 250);
}

/* Who worked hard when it was started stirs in earnest later. */
static void test_stir_after_a_pause(void **state _unused_) {
        for (int k = 0; k < 20; k++) {
                world_event(&w, &(Event) { .type = EVENT_IO_STIR, .usec = w.now });
                world_run(&w, 500 * USEC_PER_MSEC);
        }
        world_event(&w, &(Event) { .type = EVENT_IO_STIR, .usec = w.now });
        assert_true(w.plan.next_usec > w.now + USEC_PER_SEC);
        world_run(&w, 3 * USEC_PER_SEC);
        world_event(&w, &(Event) { .type = EVENT_IO_STIR, .usec = w.now });
        assert_int_equal(w.plan.next_usec, w.now);
}

/* Who has stirred was looked at since, and is capped as soon as the alarm comes, between two looks as well. */
static void test_alarm_is_looked_into_at_once(void **state _unused_) {
        for (unsigned before = 0; before < 2; before++) {
                int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);

                world_run(&w, before * 50 * USEC_PER_MSEC);
                world_event(&w, &(Event) { .type = EVENT_IO_STIR, .usec = w.now });
                for (unsigned i = 0; i < 20 && !world_incident(&w, "io"); i++)
                        world_run(&w, 50 * USEC_PER_MSEC);
                assert_non_null(world_incident(&w, "io"));
                assert_true(w.c[flood].io_max[0].v[IO_READS] < LIMIT_MAX);
                world_teardown(state);
                world_setup(state);
        }
}

/* Two looks tell who it is, and they need not be farther apart than that takes: where the alarm comes from rest, and where it
 * was looked at closely for long. */
static void test_looks_after_an_alarm_are_close(void **state _unused_) {
        static const Event stir = { .type = EVENT_IO_STIR };
        uint64_t last;

        (void) world_flood(&w, "/sideload.slice/flood.service", 20, 4096);
        world_event(&w, &(Event) { .type = EVENT_PRESSURE, .usec = w.now, .domain = 3, .alarm = 1 });
        assert_non_null(world_incident(&w, "io"));
        assert_int_equal(w.plan.next_usec, w.now);
        world_run(&w, 50 * USEC_PER_MSEC);
        assert_int_equal(w.plan.next_usec, w.now + 90 * USEC_PER_MSEC);
        world_teardown(state);
        world_setup(state);

        (void) world_flood(&w, "/sideload.slice/flood.service", 20, 4096);
        for (unsigned i = 0; i < 20; i++) {
                world_event(&w, &stir);
                world_run(&w, 100 * USEC_PER_MSEC);
        }
        last = w.plan.next_usec - 100 * USEC_PER_MSEC;
        w.now = last + 60 * USEC_PER_MSEC;
        world_event(&w, &(Event) { .type = EVENT_PRESSURE, .usec = w.now, .domain = 3, .alarm = 1 });
        assert_non_null(world_incident(&w, "io"));
        assert_int_equal(w.plan.next_usec, last + 90 * USEC_PER_MSEC);
}

/* Where it was looked at closely before the flood began, what is measured in that moment would hold the time before it. */
static void test_flood_begins_while_looked_at(void **state _unused_) {
        for (unsigned before = 0; before < 2; before++) {
                int flood = world_flood(&w, "/sideload.slice/flood.service", 20, 4096);

                for (unsigned i = 0; i < 20 + before; i++) {
                        world_event(&w, &(Event) { .type = EVENT_IO_STIR, .usec = w.now });
                        world_run(&w, 50 * USEC_PER_MSEC);
                }
                w.c[flood].operations = 5000;
                for (unsigned i = 0; i < 20 && w.c[flood].io_max[0].v[IO_READS] == LIMIT_MAX; i++)
                        world_run(&w, 50 * USEC_PER_MSEC);
                assert_in_range(w.c[flood].io_max[0].v[IO_READS], w.disk_operations * 2 / 5, w.disk_operations / 2);
                world_teardown(state);
                world_setup(state);
        }
}

static void test_foreign_io_max_is_left(void **state _unused_) {
        int flood = world_flood(&w, "/sideload.slice/flood.service", 5000, 4096);

        world_run(&w, 2 * USEC_PER_SEC);
        assert_true(w.c[flood].io_max[0].v[IO_READS] < LIMIT_MAX);
        w.c[flood].io_max[0].v[IO_READS] = 77;
        w.c[flood].operations = 0;
        world_run(&w, 30 * USEC_PER_SEC);
        assert_int_equal(w.c[flood].io_max[0].v[IO_READS], 77);
}

/* A cap that did not rise with the others goes back to what it was, and not to what it was before it was there. */
static void test_rise_of_one_disk_of_two(void **state _unused_) {
        static const Sample nothing;
        Engine *e;
        Containment c = { .cgroup_id = 1, .n_caps = 2, .cap_wait_usec = USEC_PER_SEC };

        assert_int_equal(engine_new(&(EngineConfig) { .page_bytes = 4096 }, &e), 0);
        e->sample = &nothing;
        e->now = c.cap_usec = c.cap_hurt_usec = 10 * USEC_PER_SEC;
        for (uint32_t k = 0; k < 2; k++) {
                DeviceCap *cap = &c.caps[k];

                cap->original = (IoLine) { 8, 16 * k, { LIMIT_MAX, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };
                cap->level = cap->lower = cap->original;
                cap->level.v[IO_READS] = 1000;
        }
        /* The second one has what is left of its disk. */
        c.caps[1].measured.v[IO_READS] = 1000;
        c.caps[1].share_permyriad = c.caps[1].trust_permyriad = PERMYRIAD;
        assert_int_equal(caps_raise(e, &c, NULL), CAPS_RISEN);
        assert_int_equal(c.caps[0].level.v[IO_READS], 1250);
        assert_int_equal(c.caps[0].lower.v[IO_READS], 1000);
        assert_int_equal(c.caps[1].level.v[IO_READS], 1000);
        assert_int_equal(c.caps[1].lower.v[IO_READS], 1000);
        engine_free(e);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_flood_is_capped_and_given_back),
                T(test_flood_that_may_not_be_capped),
                T(test_room_on_the_disk),
                T(test_device_that_does_less),
                T(test_slow_disk),
                T(test_late_looks),
                T(test_floor_of_caps),
                T(test_harmless_io_is_left),
                T(test_little_io_is_no_flood),
                T(test_refaults_are_not_blamed),
                T(test_own_io_is_own_trouble),
                T(test_first_cap_that_fails_is_made_again),
                T(test_rise_of_one_disk_of_two),
                T(test_two_floods),
                T(test_buffered_writer),
                T(test_reader_whom_nobody_waits_for),
                T(test_writer_whom_nobody_waits_for),
                T(test_requests_that_have_not_ended),
                T(test_disk_that_took_a_burst),
                T(test_disk_that_was_held_up),
                T(test_disk_with_an_allowance),
                T(test_writer_keeps_half),
                T(test_disk_that_read_a_burst),
                T(test_writer_who_had_just_begun),
                T(test_requests_that_end_together),
                T(test_disk_that_is_not_counted),
                T(test_writes_not_yet_counted),
                T(test_slice_of_a_flood_is_left),
                T(test_backlog_may_drain),
                T(test_work_on_a_disk_is_no_stir),
                T(test_stir_after_a_pause),
                T(test_alarm_is_looked_into_at_once),
                T(test_looks_after_an_alarm_are_close),
                T(test_flood_begins_while_looked_at),
                T(test_foreign_io_max_is_left),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
