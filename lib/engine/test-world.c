/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tests' world. See test-world.h. */

#include "base/test.h"
#include "engine/test-world.h"

static Condition workload_condition = {
        .type = CONDITION_MEMORY_PRESSURE, .threshold_permyriad = 1000, .window_usec = USEC_PER_SEC, .active = true,
        .text = (char *) "MemoryPressureAbove=some 10% over 1s", .span = { "workload.policy", 20, 1 },
};
static Condition host_condition = {
        .type = CONDITION_MEMORY_EXHAUSTION, .threshold_usec = 2 * USEC_PER_SEC, .active = true,
        .text = (char *) "MemoryExhaustionWithin=2s", .span = { "host.policy", 7, 1 },
};
static Condition io_condition = {
        .type = CONDITION_IO_PRESSURE, .threshold_permyriad = 4000, .window_usec = 500 * USEC_PER_MSEC, .active = true,
        .text = (char *) "IOPressureAbove=some 40% over 500ms", .span = { "workload.policy", 24, 1 },
};
static Condition limit_condition = {
        .type = CONDITION_MEMORY_EXHAUSTION, .threshold_usec = 2 * USEC_PER_SEC, .active = true,
        .text = (char *) "MemoryExhaustionWithin=2s", .span = { "workload.policy", 28, 1 },
};
static Alarm workload_alarms[] = {
        { .name = (char *) "memory", .conditions = &workload_condition, .n_conditions = 1 },
        { .name = (char *) "io", .conditions = &io_condition, .n_conditions = 1 },
        { .name = (char *) "limit", .conditions = &limit_condition, .n_conditions = 1 },
};
static Alarm host_alarm = { .name = (char *) "exhaustion", .conditions = &host_condition, .n_conditions = 1 };
static char *excluded[] = { (char *) "backup.service", NULL };

#define CONTAIN(m, kill)                                                                                \
        { .present = true, .mode = m, .steps = { [STEP_HOLD] = true, [STEP_SQUEEZE] = true, [STEP_IO_CAP] = true, [STEP_KILL] = kill }, \
          .step_usec = 500 * USEC_PER_MSEC, .squeeze_floor_bytes = 64 * MIB, .io_cap_floor_bytes = MIB, .lease_usec = 15 * USEC_PER_SEC,      \
          .kill_after_usec = 10 * USEC_PER_SEC, .kill_budget = 3, .kill_budget_usec = 600 * USEC_PER_SEC,          \
          .exclude = excluded }

static const Domain domains_template[] = {
        { .name = (char *) "host", .slice = (char *) "-.slice", .cgroup = (char *) "/", .rank = 1000,
          .blame_share_min_permyriad = 5000, .alarms = &host_alarm, .n_alarms = 1 },
        { .name = (char *) "sideload", .slice = (char *) "sideload.slice", .cgroup = (char *) "/sideload.slice", .rank = 100,
          .blame_share_min_permyriad = 5000, .contain = CONTAIN(MODE_ENFORCE, true) },
        { .name = (char *) "system", .slice = (char *) "system.slice", .cgroup = (char *) "/system.slice", .rank = 700,
          .blame_share_min_permyriad = 5000, .contain = CONTAIN(MODE_MONITOR, false) },
        { .name = (char *) "workload", .slice = (char *) "workload.slice", .cgroup = (char *) "/workload.slice", .rank = 500,
          .blame_share_min_permyriad = 5000, .alarms = workload_alarms, .n_alarms = ARRAY_SIZE(workload_alarms) - 1,
          .contain = CONTAIN(MODE_CONTAIN, false) },
};
static Domain domains[ARRAY_SIZE(domains_template)];

void world_init(World *w, uint64_t total, uint64_t swap_total) {
        static const char *const base[] = { "/", "/init.scope", "/sideload.slice", "/system.slice",
                                            "/system.slice/systemd-journald.service", "/workload.slice" };

        *w = (World) { .now = 1000 * USEC_PER_SEC, .total = total, .swap_total = swap_total, .swap_free = swap_total, .seed = 1,
                       .disk_operations = 800, .disk_bytes = 60 * MIB };
        memcpy(domains, domains_template, sizeof(domains));
        w->policy = (Policy) { .domains = domains, .n_domains = ARRAY_SIZE(domains) };
        for (size_t i = 0; i < ARRAY_SIZE(base); i++) {
                int k = world_add(w, base[i], i == 0 ? CGROUP_KIND_ROOT : endswith(base[i], ".slice") ? CGROUP_KIND_SLICE : CGROUP_KIND_UNIT,
                                  endswith(base[i], ".slice") || i == 0 ? 0 : 20 * MIB);

                if (endswith(base[i], "init.scope") || endswith(base[i], "journald.service"))
                        w->c[k].flags = CGROUP_PROTECTED;
        }
        assert_int_equal(engine_new(&(EngineConfig) { .page_bytes = 4096, .heartbeat_usec = 10 * USEC_PER_SEC,
                                                      .first_incident_id = 1 }, &w->engine), 0);
}

void world_without_host_alarm(World *w _unused_) {
        domains[0].n_alarms = 0;
}

void world_with_limit_alarm(World *w _unused_) {
        domains[3].n_alarms = ARRAY_SIZE(workload_alarms);
}

void world_done(World *w) {
        w->engine = engine_free(w->engine);
}

int world_find(World *w, const char *path) {
        for (int i = 0; i < w->n; i++)
                if (!w->c[i].gone && streq(w->c[i].path, path))
                        return i;
        return -1;
}

int world_add(World *w, const char *path, CgroupKind kind, uint64_t current) {
        char parent[128];
        WorldCgroup *c = &w->c[w->n];
        char *slash;

        assert_true(w->n < WORLD_MAX);
        *c = (WorldCgroup) { .kind = kind, .id = (uint64_t) w->n + 100, .current = current, .high = LIMIT_MAX,
                             .original_high = LIMIT_MAX, .swap_high = LIMIT_MAX, .max = LIMIT_MAX, .until = UINT64_MAX, .leaf = true };
        for (int d = 0; d < WORLD_DISKS; d++) {
                c->done[d] = (IoLine) { .major = 8, .minor = (uint32_t) (16 * d) };
                c->io_max[d] = (IoLine) { 8, (uint32_t) (16 * d), { LIMIT_MAX, LIMIT_MAX, LIMIT_MAX, LIMIT_MAX } };
                c->original_io_max[d] = c->io_max[d];
        }
        (void) snprintf(c->path, sizeof(c->path), "%s", path);
        (void) snprintf(parent, sizeof(parent), "%s", path);
        slash = strrchr(parent, '/');
        slash[slash == parent] = '\0';
        c->parent = streq(path, "/") ? -1 : world_find(w, parent);
        if (c->parent >= 0)
                w->c[c->parent].leaf = false;
        return w->n++;
}

uint64_t world_random(World *w, uint64_t below) {
        w->seed ^= w->seed << 13;
        w->seed ^= w->seed >> 7;
        w->seed ^= w->seed << 17;
        return w->seed % below;
}

static uint64_t sum(const World *w, int node, size_t offset) {
        uint64_t s = *(const uint64_t *) ((const char *) &w->c[node] + offset);

        for (int i = node + 1; i < w->n; i++)
                if (w->c[i].parent == node && !w->c[i].gone)
                        s += sum(w, i, offset);
        return s;
}

static uint64_t available(const World *w) {
        uint64_t used = sum(w, 0, offsetof(WorldCgroup, current)) + w->total / 16;

        return used < w->total ? w->total - used : 0;
}

/* The smallest room that a limit on the way up leaves. */
static uint64_t room(const World *w, int i) {
        uint64_t left = UINT64_MAX;

        for (int k = i; k >= 0; k = w->c[k].parent)
                if (MIN(w->c[k].high, w->c[k].max) != LIMIT_MAX) {
                        uint64_t used = sum(w, k, offsetof(WorldCgroup, current)), limit = MIN(w->c[k].high, w->c[k].max);

                        left = MIN(left, limit > used ? limit - used : 0);
                }
        return left;
}

/* Ran into a limit, its own or one above. */
static void throttle(World *w, int i) {
        for (int k = i; k >= 0; k = w->c[k].parent) {
                uint64_t used = sum(w, k, offsetof(WorldCgroup, current));

                w->c[k].events_high += used >= w->c[k].high;
                w->c[k].events_max += used >= w->c[k].max;
        }
}

static void stall(World *w, int i, uint64_t usec, bool throttled) {
        for (int k = i; k >= 0; k = w->c[k].parent) {
                w->c[k].stall += usec;
                if (k == i || w->c[k].kind != CGROUP_KIND_SLICE)
                        w->c[k].full += usec;
        }
        if (throttled)
                throttle(w, i);
        w->host_stall += usec;
}

static void services_ache(World *w, int but, uint64_t usec) {
        for (int k = 0; k < w->n; k++)
                if (k != but && w->c[k].leaf && !w->c[k].gone && startswith(w->c[k].path, "/workload"))
                        stall(w, k, usec * 30 / 100, false);
}

static void world_live(World *w, uint64_t usec) {
        if (w->now < w->ache_until)
                services_ache(w, -1, usec);
        for (int i = 0; i < w->n; i++) {
                WorldCgroup *c = &w->c[i];
                uint64_t want, left, got;

                if (c->gone)
                        continue;
                if (c->breath > 0) {
                        uint64_t in = MIN(40 * MIB * usec / USEC_PER_SEC, room(w, i));

                        c->current -= c->breathed;
                        c->breathed = c->breathed >= c->breath ? 0 : c->breathed + in;
                        c->current += c->breathed;
                }
                if (c->rate == 0 && c->stream == 0)
                        continue;
                if (w->now < c->nap_until) {
                        stall(w, i, usec, false);
                        continue;
                }
                want = c->current >= c->until ? 0 : MIN(c->rate * usec / USEC_PER_SEC, c->until - c->current);
                left = MIN(room(w, i), available(w));
                got = MIN(want, left);
                c->current += got;
                if (c->stream > 0) {
                        uint64_t in = c->stream * usec / USEC_PER_SEC;
                        uint64_t grow = MIN(in, MIN(left, c->until > c->current ? c->until - c->current : 0));

                        c->current += grow;
                        c->pgsteal += (in - grow) / 4096;
                        /* At a limit it turns over what it has; else whatever gives way first is its own too. */
                        if (grow < in && room(w, i) < in)
                                throttle(w, i);
                        else
                                w->stolen += (in - grow) / 4096;
                }
                if (got < want && c->gasps && w->now % (6 * USEC_PER_SEC) < 1500 * USEC_PER_MSEC)
                        c->current += 10 * MIB * usec / USEC_PER_SEC;
                else if (got < want) {
                        stall(w, i, usec * 95 / 100, room(w, i) == 0);
                        /* What does not fit is fought for: everybody else in the machine stalls too. */
                        if (available(w) < w->total / 32) {
                                w->stolen += (want - got) / 4096;
                                services_ache(w, i, usec);
                                w->ache_until = w->now + w->ache_usec;
                        }
                }
        }
}

/* Operations that one wants in this step: what it asks for, within its own cap and those above. */
static uint64_t io_wanted(const World *w, int i, uint64_t usec) {
        const WorldCgroup *c = &w->c[i];
        uint64_t rate = c->operations;

        for (int k = i; k >= 0; k = w->c[k].parent) {
                const IoLine *m = &w->c[k].io_max[c->disk];

                if (m->v[c->writes ? IO_WRITES : IO_READS] != LIMIT_MAX)
                        rate = MIN(rate, m->v[c->writes ? IO_WRITES : IO_READS]);
                if (m->v[c->writes ? IO_WRITE_BYTES : IO_READ_BYTES] != LIMIT_MAX)
                        rate = MIN(rate, m->v[c->writes ? IO_WRITE_BYTES : IO_READ_BYTES] / c->io_bytes);
        }
        return (c->rest + rate * usec) / USEC_PER_SEC;
}

static void io_stall(World *w, int i, uint64_t usec) {
        for (int k = i; k >= 0; k = w->c[k].parent)
                w->c[k].io_stall += usec;
}

/* A disk that is asked for more than it can do makes everybody wait, and serves all in proportion. */
static void disk_live(World *w, int disk, uint64_t usec) {
        uint64_t operations = 0, bytes = 0, share = PERMYRIAD, load;

        for (int i = 0; i < w->n; i++)
                if (!w->c[i].gone && w->c[i].operations > 0 && w->c[i].disk == disk) {
                        operations += io_wanted(w, i, usec);
                        bytes += io_wanted(w, i, usec) * w->c[i].io_bytes;
                }
        if (operations > w->disk_operations * usec / USEC_PER_SEC)
                share = MIN(share, w->disk_operations * usec / USEC_PER_SEC * PERMYRIAD / operations);
        if (bytes > w->disk_bytes * usec / USEC_PER_SEC)
                share = MIN(share, w->disk_bytes * usec / USEC_PER_SEC * PERMYRIAD / bytes);
        load = MAX(operations * USEC_PER_SEC / w->disk_operations, bytes * USEC_PER_SEC / w->disk_bytes) * USEC_PER_SEC / usec;
        w->busy_usec[disk] += MIN(load, USEC_PER_SEC) * usec / USEC_PER_SEC;
        for (int i = 0; i < w->n; i++) {
                WorldCgroup *c = &w->c[i];
                uint64_t want, got, stalled;

                if (c->gone || c->operations == 0 || c->disk != disk)
                        continue;
                want = io_wanted(w, i, usec);
                got = want * share / PERMYRIAD;
                /* Asked for more than its cap: it waits for that. */
                if (share < PERMYRIAD * 95 / 100 || c->operations * usec > (want + 1) * USEC_PER_SEC)
                        stalled = usec * 9 / 10;
                else
                        stalled = usec * 4 / 100;
                /* A queue as long as the disk is busy (M/M/1). */
                c->io_waited += got * 1000 * USEC_PER_SEC / (USEC_PER_SEC - MIN(load, 95 * USEC_PER_SEC / 100));
                io_stall(w, i, MIN(stalled + got * c->slow_usec, usec));
                c->io_slow += got * c->slow_usec;
                c->rest = got == want ? MIN(c->rest + c->operations * usec - MIN(want * USEC_PER_SEC, c->rest + c->operations * usec),
                                            USEC_PER_SEC) : 0;
                for (int k = i; k >= 0 && (k == i || !c->unseen); k = w->c[k].parent) {
                        w->c[k].done[disk].v[c->writes ? IO_WRITES : IO_READS] += got;
                        w->c[k].done[disk].v[c->writes ? IO_WRITE_BYTES : IO_READ_BYTES] += got * c->io_bytes;
                }
        }
}

/* Page cache of a writer: all but 8 MiB of it; half of that is on its way to the disk. */
static uint64_t writeback(const World *w, int i) {
        const WorldCgroup *c = &w->c[i];
        uint64_t sum_below = 0;

        for (int k = i + 1; k < w->n; k++)
                if (w->c[k].parent == i && !w->c[k].gone)
                        sum_below += writeback(w, k);
        return sum_below + c->backlog + (c->buffered && c->operations > 0 && c->current > 8 * MIB ? (c->current - 8 * MIB) / 2 : 0);
}

/* Who syncs waits for all that is on its way. */
static void commit_live(World *w, uint64_t usec) {
        if (writeback(w, 0) < 40 * MIB)
                return;
        for (int k = 0; k < w->n; k++)
                if (startswith(w->c[k].path, "/workload") && w->c[k].operations > 0 && !w->c[k].gone)
                        io_stall(w, k, usec * 8 / 10);
}

/* What it swaps out, it writes. */
static void swap_live(World *w, uint64_t usec) {
        for (int i = 0; i < w->n; i++) {
                WorldCgroup *c = &w->c[i];
                uint64_t out;

                if (c->gone || !c->swaps)
                        continue;
                /* Held, it swaps no more. */
                out = room(w, c->taken_by ? c->taken_by : i) == UINT64_MAX ? MIN(40 * MIB * usec / USEC_PER_SEC, w->swap_free) : 0;
                if (c->taken_by) {
                        out = MIN(out, c->current / 2);
                        c->current -= out;
                        w->c[c->taken_by].current += out;
                }
                c->swap += out;
                w->swap_free -= out;
                for (int k = i; k >= 0 && out > 0; k = w->c[k].parent) {
                        w->c[k].done[0].v[IO_WRITE_BYTES] += out;
                        w->c[k].done[0].v[IO_WRITES] += out / 4096 / 8;
                }
                for (int k = 0; k < w->n && out > 0; k++)
                        if (startswith(w->c[k].path, "/workload") && w->c[k].operations > 0 && !w->c[k].gone)
                                io_stall(w, k, usec * 8 / 10);
        }
}

static OutcomeResult io_act(WorldCgroup *c, const Action *a, bool original) {
        OutcomeResult r = OUTCOME_DONE;

        for (size_t i = 0; i < a->n_io; i++)
                for (int d = 0; d < WORLD_DISKS; d++) {
                        const IoLine *value = original ? &a->io[i].original : &a->io[i].value;

                        if (!io_same_device(&c->io_max[d], value))
                                continue;
                        if (memcmp(c->io_max[d].v, a->io[i].expect.v, sizeof(value->v)) != 0)
                                r = OUTCOME_DRIFTED;
                        else
                                memcpy(c->io_max[d].v, value->v, sizeof(value->v));
                }
        return r;
}

/* Somebody else changed one of the limits: the lease ends, and what is still ours goes back, as act does it. */
static void lease_ends(WorldCgroup *c, const Action *a) {
        for (size_t i = 0; i < a->n_io; i++)
                for (int d = 0; d < WORLD_DISKS; d++)
                        if (io_same_device(&c->io_max[d], &a->io[i].value) &&
                            (memcmp(c->io_max[d].v, a->io[i].expect.v, sizeof(c->io_max[d].v)) == 0 ||
                             memcmp(c->io_max[d].v, a->io[i].value.v, sizeof(c->io_max[d].v)) == 0))
                                memcpy(c->io_max[d].v, a->io[i].original.v, sizeof(c->io_max[d].v));
        if (!a->io_only && c->high == a->expect)
                c->high = a->original;
        if (!a->io_only)
                c->swap_high = a->swap_original;
}

static void world_act(World *w, const Action *a) {
        WorldCgroup *c = NULL;
        Outcome *o = &w->outcomes[w->n_outcomes++];

        *o = (Outcome) { .action_id = a->id, .cgroup_id = a->cgroup_id, .type = a->type, .result = OUTCOME_GONE,
                         .started_usec = w->now, .finished_usec = w->now };
        for (int i = 0; i < w->n; i++)
                if (w->c[i].id == a->cgroup_id && !w->c[i].gone)
                        c = &w->c[i];
        if (!c)
                return;
        c->touched++;
        if (w->first_touch == 0)
                w->first_touch = w->now;
        if (w->refuse_writes || c->refuses) {
                o->result = OUTCOME_FAILED;
                o->error = -EIO;
                return;
        }
        o->result = OUTCOME_DONE;
        o->before = c->high;
        switch (a->type) {
        case ACTION_SET_IO_MAX:
                o->result = io_act(c, a, false);
                if (o->result == OUTCOME_DRIFTED)
                        lease_ends(c, a);
                break;
        case ACTION_RESTORE:
                o->result = io_act(c, a, true);
                if (a->io_only)
                        return;
                _fallthrough_;
        case ACTION_SET_MEMORY_HIGH:
                if (c->high != a->expect) {
                        o->result = OUTCOME_DRIFTED;
                        o->after = c->high;
                        lease_ends(c, a);
                        return;
                }
                c->high = o->after = a->value;
                c->swap_high = a->type == ACTION_RESTORE ? a->swap_original : a->swap_value;
                if (c->current > c->high && c->leaf) {
                        uint64_t out = MIN(c->current - c->high, w->swap_free);

                        c->current -= out;
                        c->swap += out;
                        w->swap_free -= out;
                }
                break;
        case ACTION_KILL:
                w->kills++;
                c->killed++;
                c->gone = true;
                w->swap_free += c->swap;
                c->current = 0;
                if (w->kill_takes_usec > 0) {
                        w->kill = *o;
                        w->n_outcomes--;
                        w->killed_usec = w->now + w->kill_takes_usec;
                }
                break;
        case _ACTION_TYPE_MAX:
                break;
        }
}

static uint64_t done_operations(const WorldCgroup *c) {
        uint64_t n = 0;

        for (int d = 0; d < WORLD_DISKS; d++)
                n += c->done[d].v[IO_READS] + c->done[d].v[IO_WRITES];
        return n;
}

/* The root, its slices, and everybody who works and is seen have a slot; with the slices' nobody is counted. */
static const IoCredit *credit_of(World *w) {
        size_t slot = 1;

        if (!w->credited)
                return NULL;
        if (w->credit_step_usec > 0 && w->credit.usec / w->credit_step_usec == w->now / w->credit_step_usec) {
                w->credit.usec = w->now;
                return &w->credit;
        }
        w->credit = (IoCredit) { .usec = w->now, .n_devices = w->uncounted ? 0 : WORLD_DISKS };
        for (size_t d = 0; d < WORLD_DISKS; d++)
                w->credit.busy_usec[d] = w->busy_usec[d] / (w->allowance ? 2 : 1);
        for (size_t k = 0; k < IO_SLOTS; k++)
                for (int d = 0; d < WORLD_DISKS; d++)
                        w->credit.done[k][d] = (IoLine) { .major = w->c[0].done[d].major, .minor = w->c[0].done[d].minor };
        for (int i = 0; i < w->n && slot < IO_SLOTS; i++) {
                bool slice = !w->c[i].leaf && w->c[i].parent <= 0;

                if (!slice && (!w->c[i].leaf || w->c[i].io_bytes == 0))
                        continue;
                if (!w->c[i].unseen) {
                        w->credit.slots[slot].cgroup_id = w->c[i].id;
                        w->credit.slots[slot].path = w->c[i].path;
                        w->credit.slots[slot].since_usec = 1;
                }
                if (!slice)
                        memcpy(w->credit.done[slot], w->c[i].done, sizeof(w->c[i].done));
                /* For whom it waited is not said in here: no longer than for itself, or blame would go by that (waits.c). */
                w->credit.wait_usec[slot][slot] = slice ? 0 : w->c[i].io_waited + w->c[i].io_slow;
                w->credit.wait_usec[slot][0] = slice ? 0 : w->c[i].io_waited - done_operations(&w->c[i]) * 1000;
                slot++;
        }
        return &w->credit;
}

static bool has_its_limits(const WorldCgroup *c) {
        return c->high == c->original_high && c->swap_high == LIMIT_MAX && memcmp(c->io_max, c->original_io_max, sizeof(c->io_max)) == 0;
}

/* What moves while somebody takes in memory, or does io. */
static uint64_t moves(const World *w, int node) {
        uint64_t m = sum(w, node, offsetof(WorldCgroup, current)) + sum(w, node, offsetof(WorldCgroup, pgsteal));

        for (int d = 0; d < WORLD_DISKS; d++)
                m += w->c[node].done[d].v[IO_READS] + w->c[node].done[d].v[IO_WRITES];
        return m;
}

/* What a walk would not go into now. */
static bool is_closed(const World *w, int node, bool all) {
        if (w->c[node].shut && !all)
                return true;
        if (!w->closes || all || w->c[node].kind != CGROUP_KIND_SLICE || w->c[node].leaf || moves(w, node) != w->c[node].looked)
                return false;
        for (int i = node + 1; i < w->n; i++)
                if (!w->c[i].gone && path_within(w->c[i].path, w->c[node].path) && (!has_its_limits(&w->c[i]) || w->c[i].close))
                        return false;
        return true;
}

/* A look at every cgroup reads no more than what all have of who is in such a slice; another, of whom it finds cold. */
static bool is_unread(const World *w, int node, bool all) {
        bool closed = false;

        if (!all && w->c[node].parent >= 0 && w->c[w->c[node].parent].cold)
                return true;
        for (int i = w->c[node].parent; all && i >= 0; i = w->c[i].parent)
                closed = closed || (!w->c[i].shut && is_closed(w, i, false));
        return closed && w->c[node].kind == CGROUP_KIND_UNIT;
}

/* Those that are looked at in the order of a walk: each followed by what is in it. */
static int walk_order(const World *w, int node, bool all, int order[static WORLD_MAX], int n) {
        order[n++] = node;
        for (int i = node + 1; i < w->n && !is_closed(w, node, all); i++)
                if (w->c[i].parent == node && !w->c[i].gone)
                        n = walk_order(w, i, all, order, n);
        return n;
}

static void world_tick(World *w, bool all, bool cgroups) {
        static IoLine io[WORLD_MAX][WORLD_DISKS];
        static RowValues values[WORLD_MAX];
        CgroupSample rows[WORLD_MAX];
        Sample s = { .usec = w->now, .cgroups = rows, .all = all, .complete = all && !w->overlooked, .credit = credit_of(w) };
        EngineInput in = { .now_usec = w->now, .sample = &s, .outcomes = w->outcomes, .n_outcomes = w->n_outcomes };
        Event gone = { .type = EVENT_CGROUP_GONE, .usec = w->now, .cgroup_id = w->vanished };
        Outcome outcomes[PLAN_ACTIONS_MAX];
        size_t kills = 0;
        int order[WORLD_MAX], n = cgroups ? walk_order(w, 0, all, order, 0) : 0;

        sample_host_set(&s, HOST_MEMORY_TOTAL, w->total);
        sample_host_set(&s, HOST_MEMORY_AVAILABLE, available(w));
        sample_host_set(&s, HOST_SWAP_TOTAL, w->swap_total);
        sample_host_set(&s, HOST_SWAP_FREE, w->swap_free);
        sample_host_set(&s, HOST_MEMORY_SOME, w->host_stall);
        sample_host_set(&s, HOST_PGSTEAL, w->stolen);
        for (int k = 0; k < n; k++) {
                int i = order[k];
                WorldCgroup *c = &w->c[i];
                CgroupSample *r = &rows[s.n_cgroups++];

                *r = (CgroupSample) { .id = c->id, .parent_id = c->parent < 0 ? 0 : w->c[c->parent].id, .path = c->path,
                                      .kind = c->kind, .flags = c->flags, .closed = is_closed(w, i, all), .use = values[i].use, .detail = values[i].detail };
                if (c->parent < 0)
                        continue;
                cgroup_sample_set(r, CGROUP_MEMORY_CURRENT, c->shown ?: sum(w, i, offsetof(WorldCgroup, current)));
                cgroup_sample_set(r, CGROUP_SWAP_CURRENT, sum(w, i, offsetof(WorldCgroup, swap)));
                cgroup_sample_set(r, CGROUP_PGSTEAL, sum(w, i, offsetof(WorldCgroup, pgsteal)));
                cgroup_sample_set(r, CGROUP_WORKINGSET_ACTIVATE, sum(w, i, offsetof(WorldCgroup, activate)));
                cgroup_sample_set(r, CGROUP_MEMORY_HIGH, c->high);
                cgroup_sample_set(r, CGROUP_SWAP_HIGH, c->swap_high);
                cgroup_sample_set(r, CGROUP_MEMORY_MAX, c->max);
                cgroup_sample_set(r, CGROUP_MEMORY_LOW, c->low);
                cgroup_sample_set(r, CGROUP_MEMORY_MIN, c->min);
                cgroup_sample_set(r, CGROUP_EVENTS_HIGH, c->events_high);
                cgroup_sample_set(r, CGROUP_EVENTS_MAX, c->events_max);
                cgroup_sample_set(r, CGROUP_MEMORY_SOME, c->stall);
                cgroup_sample_set(r, CGROUP_MEMORY_FULL, c->full);
                cgroup_sample_set(r, CGROUP_IO_SOME, c->io_stall);
                cgroup_sample_set(r, CGROUP_IO_FULL, c->io_stall / 2);
                cgroup_sample_set(r, CGROUP_FILE_WRITEBACK, writeback(w, i));
                cgroup_sample_set(r, CGROUP_FILE_DIRTY, writeback(w, i) / 4);
                cgroup_sample_set(r, CGROUP_CACHE, 2 * writeback(w, i) + sum(w, i, offsetof(WorldCgroup, cache)));
                if (c->unread && !all)
                        r->have &= ~(UINT32_C(1) << CGROUP_PGSTEAL | UINT32_C(1) << CGROUP_WORKINGSET_ACTIVATE | UINT32_C(1) << CGROUP_CACHE);
                r->io = io[i];
                r->io_max = c->io_max;
                r->n_io_max = WORLD_DISKS;
                for (int d = 0; d < WORLD_DISKS && !c->unseen; d++)
                        if (c->done[d].v[IO_READS] + c->done[d].v[IO_WRITES] > 0)
                                io[i][r->n_io++] = c->done[d];
                if (is_unread(w, i, all)) {
                        r->have &= (UINT32_C(1) << CGROUP_DETAIL_FIRST) - 1;
                        r->detail = NULL;
                        r->io_max = NULL;
                        r->n_io_max = 0;
                }
        }
        for (int k = 0; k < n; k++)
                w->c[order[k]].looked = moves(w, order[k]);
        if (w->killed_usec > 0 && w->now >= w->killed_usec) {
                w->outcomes[in.n_outcomes++] = w->kill;
                w->killed_usec = 0;
        }
        memcpy(outcomes, w->outcomes, sizeof(outcomes));
        in.outcomes = outcomes;
        if (w->vanished != 0) {
                in.events = &gone;
                in.n_events = 1;
                w->vanished = 0;
        }
        w->n_outcomes = 0;
        engine_step(w->engine, &w->policy, &in, &w->plan);
        for (int i = 0; i < w->n; i++)
                w->c[i].close = w->c[i].close || w->c[i].id == w->plan.close_id;
        for (size_t i = 0; i < w->plan.n_actions; i++) {
                kills += w->plan.actions[i].type == ACTION_KILL;
                world_act(w, &w->plan.actions[i]);
        }
        w->kills_in_flight_max = MAX(w->kills_in_flight_max, kills);
}

static uint64_t workload_io_stall(const World *w) {
        for (int i = 0; i < w->n; i++)
                if (streq(w->c[i].path, "/workload.slice"))
                        return w->c[i].io_stall;
        return 0;
}

/* The kernel's trigger of the workload's io alarm: two fifths of half a second. */
static bool io_triggers(World *w, uint64_t stall) {
        uint64_t sum = 0;

        memmove(w->io_trigger, w->io_trigger + 1, sizeof(w->io_trigger) - sizeof(w->io_trigger[0]));
        w->io_trigger[ARRAY_SIZE(w->io_trigger) - 1] = MIN(stall, 50 * USEC_PER_MSEC);
        for (size_t i = 0; i < ARRAY_SIZE(w->io_trigger); i++)
                sum += w->io_trigger[i];
        return sum >= 200 * USEC_PER_MSEC;
}

void world_event(World *w, const Event *event) {
        EngineInput in = { .now_usec = w->now, .events = event, .n_events = 1 };

        engine_step(w->engine, &w->policy, &in, &w->plan);
        for (size_t i = 0; i < w->plan.n_actions; i++)
                world_act(w, &w->plan.actions[i]);
        w->due_usec = MIN(w->due_usec, w->plan.next_usec + w->lag_usec);
}

void world_run(World *w, uint64_t usec) {
        uint64_t end = w->now + usec, stall_before = w->host_stall, io_before = workload_io_stall(w);

        while (w->now < end) {
                uint64_t step = 50 * USEC_PER_MSEC;

                world_live(w, step);
                for (int d = 0; d < WORLD_DISKS; d++)
                        disk_live(w, d, step);
                swap_live(w, step);
                commit_live(w, step);
                w->now += step;
                /* The host's early trigger. */
                if (w->host_stall - stall_before > 10 * USEC_PER_MSEC)
                        world_event(w, &(Event) { .type = EVENT_STIR, .usec = w->now });
                if (io_triggers(w, workload_io_stall(w) - io_before))
                        world_event(w, &(Event) { .type = EVENT_PRESSURE, .usec = w->now, .domain = 3, .alarm = 1 });
                io_before = workload_io_stall(w);
                stall_before = w->host_stall;
                if (w->now >= w->due_usec) {
                        bool all = w->plan.sample_all || w->plan.next_usec == 0;

                        world_tick(w, all, all || w->plan.sample_cgroups);
                        w->due_usec = w->plan.next_usec + w->lag_usec;
                }
        }
}

bool world_clean(const World *w) {
        for (int i = 0; i < w->n; i++)
                if (!w->c[i].gone && !has_its_limits(&w->c[i]))
                        return false;
        return true;
}

void world_assert_only_touched(const World *w, int culprit) {
        for (int i = 0; i < w->n; i++)
                if (i != culprit)
                        assert_int_equal(w->c[i].touched, 0);
}

const Incident *world_incident(const World *w, const char *alarm) {
        const Incident *i, *found = NULL;

        for (size_t k = 0; (i = engine_incident(w->engine, k)); k++)
                if (streq(i->alarm, alarm))
                        found = i;
        return found;
}

int world_hog(World *w, const char *path, uint64_t rate) {
        int hog;

        (void) world_add(w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 250 * MIB);
        hog = world_add(w, path, CGROUP_KIND_UNIT, 10 * MIB);
        world_run(w, 25 * USEC_PER_SEC);
        w->c[hog].rate = rate;
        return hog;
}

void world_run_until_held(World *w, int i) {
        for (int k = 0; k < 1000 && w->c[i].high == LIMIT_MAX; k++)
                world_run(w, 50 * USEC_PER_MSEC);
        assert_true(w->c[i].high < LIMIT_MAX);
}

int world_flood(World *w, const char *flood_path, uint64_t operations, uint64_t bytes) {
        int flood, web = world_add(w, "/workload.slice/web.service", CGROUP_KIND_UNIT, 50 * MIB);

        w->c[web].operations = 100;
        w->c[web].io_bytes = 4096;
        flood = world_add(w, flood_path, CGROUP_KIND_UNIT, 10 * MIB);
        world_run(w, 25 * USEC_PER_SEC);
        assert_null(engine_incident(w->engine, 0));
        w->c[flood].operations = operations;
        w->c[flood].io_bytes = bytes;
        return flood;
}

const IncidentEntry *world_entry(const Incident *i, IncidentEntryType type, ActionType action) {
        for (size_t k = i->n_entries; k > 0; k--)
                if (i->entries[k - 1].type == type && i->entries[k - 1].action == action)
                        return &i->entries[k - 1];
        return NULL;
}
