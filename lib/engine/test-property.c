/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Invariants of the engine on generated machines: trees, loads, faults and interference from a seed.
 * CGD_SEEDS=N runs more of them; a failure prints its seed, and CGD_SEED=N runs that one alone. */

#include <inttypes.h>

#include "base/test.h"
#include "engine/test-world.h"

#define SEEDS 100
#define ROUNDS 60

static World w;

static bool may_be_touched(const WorldCgroup *c) {
        return !(c->flags & (CGROUP_PROTECTED | CGROUP_OMIT)) && !strstr(c->path, "backup.service") &&
               (startswith(c->path, "/sideload.slice") || startswith(c->path, "/workload.slice"));
}

static void tree(World *x) {
        static const char *const slices[] = { "/sideload.slice", "/workload.slice", "/system.slice" };
        uint64_t n = 3 + world_random(x, 25);

        (void) world_add(x, "/sideload.slice/sideload-a.slice", CGROUP_KIND_SLICE, 0);
        (void) world_add(x, "/foreign", CGROUP_KIND_FOREIGN, 10 * MIB);
        (void) world_add(x, "/sideload.slice/backup.service", CGROUP_KIND_UNIT, 10 * MIB);
        for (uint64_t i = 0; i < n; i++) {
                char path[100];
                int k;

                if (world_random(x, 5) == 0)
                        (void) snprintf(path, sizeof(path), "/sideload.slice/sideload-a.slice/u%" PRIu64 ".service", i);
                else
                        (void) snprintf(path, sizeof(path), "%s/u%" PRIu64 ".service", slices[world_random(x, 3)], i);
                k = world_add(x, path, CGROUP_KIND_UNIT, world_random(x, 30) * MIB);
                if (world_random(x, 10) == 0)
                        x->c[k].flags |= CGROUP_OMIT;
        }
}

/* One thing happens to one cgroup. */
static void disturb(World *x) {
        WorldCgroup *c = &x->c[world_random(x, (uint64_t) x->n)];

        if (!c->leaf || c->gone)
                return;
        switch (world_random(x, 12)) {
        case 0:
        case 1:
                c->rate = (1 + world_random(x, 300)) * MIB;
                c->until = world_random(x, 3) ? UINT64_MAX : (50 + world_random(x, 800)) * MIB;
                break;
        case 2:
                c->stream = (1 + world_random(x, 300)) * MIB;
                break;
        case 3:
        case 4:
                c->rate = c->stream = 0;
                break;
        case 5:                                 /* gives up memory */
                c->current /= 2;
                break;
        case 6:                                 /* ends by itself */
                if (world_random(x, 4) == 0 && !(c->flags & CGROUP_PROTECTED))
                        c->gone = true, x->swap_free += c->swap, c->current = 0;
                break;
        case 7:                                 /* somebody else sets the limit */
                if (world_random(x, 4) == 0 && c->kind == CGROUP_KIND_UNIT)
                        c->high = c->original_high = (100 + world_random(x, 1000)) * MIB;
                break;
        case 8:
        case 9:                                 /* floods a disk, or works on it */
                c->operations = world_random(x, 3) ? 1 + world_random(x, 200) : 500 + world_random(x, 5000);
                c->io_bytes = UINT64_C(4096) << world_random(x, 9);
                c->writes = world_random(x, 2);
                c->buffered = c->writes && world_random(x, 2);
                c->disk = (int) world_random(x, WORLD_DISKS);
                break;
        case 10:
                c->operations = 0;
                break;
        case 11:                                /* somebody else limits its io */
                if (world_random(x, 4) == 0 && c->kind == CGROUP_KIND_UNIT) {
                        int d = (int) world_random(x, WORLD_DISKS);

                        c->io_max[d].v[IO_READS] = c->original_io_max[d].v[IO_READS] = 50 + world_random(x, 1000);
                        c->io_max[d].v[IO_READ_BYTES] = c->original_io_max[d].v[IO_READ_BYTES];
                        c->io_max[d].v[IO_WRITE_BYTES] = c->original_io_max[d].v[IO_WRITE_BYTES];
                        c->io_max[d].v[IO_WRITES] = c->original_io_max[d].v[IO_WRITES];
                }
                break;
        }
}

/* Fowler-Noll-Vo over what was done: two runs of one seed must agree. */
static uint64_t digest(const World *x) {
        uint64_t h = UINT64_C(14695981039346656037);

        for (int i = 0; i < x->n; i++)
                for (size_t k = 0; k < 4; k++)
                        h = (h ^ (k == 0 ? x->c[i].touched : k == 1 ? x->c[i].high : k == 2 ? x->c[i].current :
                                                                                             x->c[i].io_max[0].v[IO_READS])) *
                            UINT64_C(1099511628211);
        for (size_t i = 0; engine_incident(x->engine, i); i++) {
                const unsigned char *p = (const unsigned char *) engine_incident(x->engine, i);

                for (size_t k = 0; k < sizeof(Incident); k++)
                        h = (h ^ p[k]) * UINT64_C(1099511628211);
        }
        return h;
}

static uint64_t run(uint64_t seed) {
        static bool ever_grew[WORLD_MAX], ever_did_io[WORLD_MAX];
        uint64_t kill_times[64] = {}, kills = 0;

        memset(ever_grew, 0, sizeof(ever_grew));
        memset(ever_did_io, 0, sizeof(ever_did_io));
        world_init(&w, (512 + world_random(&(World) { .seed = seed * 7919 + 1 }, 3000)) * MIB, seed % 3 ? 1024 * MIB : 0);
        w.seed = seed * 2654435761u + 1;
        w.closes = seed % 2;
        tree(&w);
        world_run(&w, 15 * USEC_PER_SEC);
        for (int r = 0; r < ROUNDS; r++) {
                disturb(&w);
                w.refuse_writes = world_random(&w, 50) == 0;
                for (int i = 0; i < w.n; i++)
                        for (int k = i; k >= 0; k = w.c[k].parent) {
                                ever_grew[k] = ever_grew[k] || w.c[i].rate || w.c[i].stream;
                                ever_did_io[k] = ever_did_io[k] || w.c[i].operations;
                        }
                world_run(&w, (1 + world_random(&w, 60)) * 100 * USEC_PER_MSEC);

                assert_true(w.kills_in_flight_max <= 1);
                for (; kills < w.kills && kills < ARRAY_SIZE(kill_times); kills++)
                        kill_times[kills] = w.now;
                if (kills >= 4)                                         /* KillBudget=3 per 10min */
                        assert_true(kill_times[kills - 1] - kill_times[kills - 4] >= 590 * USEC_PER_SEC);
                for (int i = 0; i < w.n; i++) {
                        for (int d = 0; d < WORLD_DISKS; d++)
                                for (int k = 0; k < _IO_KEY_MAX; k++) {
                                        uint64_t v = w.c[i].io_max[d].v[k];

                                        if (v == w.c[i].original_io_max[d].v[k] || w.c[i].gone)
                                                continue;
                                        /* Never below the floor, never above what was there, and never the domain's own. */
                                        assert_true(v >= (k == IO_READS || k == IO_WRITES ? 64 : MIB));
                                        assert_true(v < w.c[i].original_io_max[d].v[k]);
                                        assert_true(startswith(w.c[i].path, "/sideload.slice"));
                                }
                        if (w.c[i].touched == 0)
                                continue;
                        assert_true(may_be_touched(&w.c[i]));           /* nothing protected, nothing out of reach */
                        if (!ever_grew[i] && !ever_did_io[i])           /* nothing without evidence */
                                fail_msg("%s was touched, and neither grew nor did io", w.c[i].path);
                        if (!ever_grew[i] && w.c[i].killed)             /* nobody is killed for io */
                                fail_msg("%s was killed and never grew", w.c[i].path);
                        if (w.c[i].killed && !startswith(w.c[i].path, "/sideload.slice/"))
                                fail_msg("%s was killed", w.c[i].path);
                        assert_true(w.c[i].kind != CGROUP_KIND_SLICE || !w.c[i].killed);
                }
        }
        /* Quiet means nothing left changed. */
        w.refuse_writes = false;
        for (int i = 0; i < w.n; i++)
                w.c[i].rate = w.c[i].stream = w.c[i].operations = 0;
        world_run(&w, 180 * USEC_PER_SEC);
        for (int i = 0; i < w.n; i++)
                if (!w.c[i].gone && w.c[i].high != w.c[i].original_high)
                        fail_msg("%s: memory.high left at %" PRIu64, w.c[i].path, w.c[i].high);
        assert_true(world_clean(&w));
        for (size_t i = 0; engine_incident(w.engine, i); i++)
                assert_int_equal(engine_incident(w.engine, i)->state, INCIDENT_OVER);

        seed = digest(&w);
        world_done(&w);
        return seed;
}

static void test_invariants(void **state _unused_) {
        const char *one = getenv("CGD_SEED"), *many = getenv("CGD_SEEDS");
        uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one ? first : many ? strtoull(many, NULL, 10) : SEEDS;

        for (uint64_t seed = first; seed <= last; seed++) {
                uint64_t a;

                print_message("seed %" PRIu64 "\r", seed);
                a = run(seed);
                if (seed % 10 == 0)
                        assert_true(a == run(seed));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_invariants) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
