/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Schema: the key table, and what is found by looking through it. Each fact about a key stands in its row
 * and nowhere else. */

#include "base/units.h"
#include "policy/schema.h"

#define NO_CPU "cpu trouble is not acted on in this version"
#define NO_RECLAIM "needs the reclaim events of a later version"
#define NO_STEP "the step it belongs to comes in a later version"

#define AT(field) .offset = offsetof(Domain, field)
#define ANY_SIZE 0, UINT64_MAX

const char *const schema_sections[] = { "Domain", "Match", "Resources", "Alarm", "Contain", NULL };

const Key schema_keys[] = {
        /* [Domain] */
        { "Domain", "Description", VALUE_TEXT, AT(description),
          .help = "What the domain is for, in a few words. Shown by cgctl domains." },
        { "Domain", "Slice", VALUE_SLICE, AT(slice),
          .help = "The slice that is the domain. Default: the file's name with .slice in place of .policy. "
                  "-.slice is the whole host: it may carry alarms and is never contained." },
        { "Domain", "Rank", VALUE_NUMBER, 0, 1000, .fallback = "500", AT(rank),
          .help = "Who gives way to whom: a unit is contained for another domain only if its own domain ranks "
                  "lower. -.slice counts as 1000." },
        { "Domain", "BlameShareMin", VALUE_PERCENT, 100, PERMYRIAD, .fallback = "50%",
          AT(blame_share_min_permyriad),
          .help = "A cgroup that holds less than this share of the evidence is not to blame for this domain's "
                  "trouble, and nothing is done to it." },

        /* [Match] */
        { "Match", "Unit", VALUE_UNITS, AT(match.units),
          .help = "Units that belong into the slice, as names or globs. They are placed when they start, by a "
                  "drop-in. An exact name goes before a glob, a longer literal beginning before a shorter one." },
        { "Match", "User", VALUE_USERS, AT(match.users),
          .help = "Users whose processes outside any service are moved into a scope of the slice: names or "
                  "numbers." },
        { "Match", "Executable", VALUE_EXECUTABLES, AT(match.executables),
          .help = "Programs whose processes outside any service are moved into a scope of the slice: absolute "
                  "paths or globs of them. Goes before User=." },

        /* [Resources]: systemd.resource-control(5), same names, same units. */
        { "Resources", "CPUAccounting", VALUE_R_BOOLEAN, .help = "Account for CPU time." },
        { "Resources", "CPUWeight", VALUE_R_CPU_WEIGHT, 1, 10000,
          .help = "Share of CPU time among siblings when they compete: 1 to 10000, the kernel's default is "
                  "100, or idle." },
        { "Resources", "StartupCPUWeight", VALUE_R_CPU_WEIGHT, 1, 10000,
          .help = "CPUWeight= while the system starts up or shuts down." },
        { "Resources", "CPUQuota", VALUE_R_QUOTA, 1, UINT64_MAX,
          .help = "Most CPU time, as a percentage of one CPU; over 100% for more than one CPU." },
        { "Resources", "CPUQuotaPeriodSec", VALUE_R_USEC, .help = "Period that CPUQuota= is measured over." },
        { "Resources", "AllowedCPUs", VALUE_R_INDICES, 0, 8191, .help = "CPUs that may be used." },
        { "Resources", "StartupAllowedCPUs", VALUE_R_INDICES, 0, 8191,
          .help = "AllowedCPUs= while the system starts up or shuts down." },
        { "Resources", "AllowedMemoryNodes", VALUE_R_INDICES, 0, 8191, .help = "NUMA nodes that may be used." },
        { "Resources", "StartupAllowedMemoryNodes", VALUE_R_INDICES, 0, 8191,
          .help = "AllowedMemoryNodes= while the system starts up or shuts down." },
        { "Resources", "MemoryAccounting", VALUE_R_BOOLEAN, .help = "Account for memory." },
        { "Resources", "MemoryMin", VALUE_R_MEMORY, ANY_SIZE, .help = "Memory that is never reclaimed." },
        { "Resources", "MemoryLow", VALUE_R_MEMORY, ANY_SIZE,
          .help = "Memory that is reclaimed only when nothing else is left. A domain is never squeezed below "
                  "it." },
        { "Resources", "StartupMemoryLow", VALUE_R_MEMORY, ANY_SIZE, .since = 253,
          .help = "MemoryLow= while the system starts up or shuts down." },
        { "Resources", "DefaultMemoryMin", VALUE_R_MEMORY, ANY_SIZE, .help = "MemoryMin= of units below." },
        { "Resources", "DefaultMemoryLow", VALUE_R_MEMORY, ANY_SIZE, .help = "MemoryLow= of units below." },
        { "Resources", "DefaultStartupMemoryLow", VALUE_R_MEMORY, ANY_SIZE, .since = 253,
          .help = "StartupMemoryLow= of units below." },
        { "Resources", "MemoryHigh", VALUE_R_MEMORY, 1, UINT64_MAX,
          .help = "Above it, memory is reclaimed and allocations are slowed down." },
        { "Resources", "StartupMemoryHigh", VALUE_R_MEMORY, 1, UINT64_MAX, .since = 253,
          .help = "MemoryHigh= while the system starts up or shuts down." },
        { "Resources", "MemoryMax", VALUE_R_MEMORY, 1, UINT64_MAX,
          .help = "Most memory; the kernel kills in the slice when it cannot be kept." },
        { "Resources", "StartupMemoryMax", VALUE_R_MEMORY, 1, UINT64_MAX, .since = 253,
          .help = "MemoryMax= while the system starts up or shuts down." },
        { "Resources", "MemorySwapMax", VALUE_R_MEMORY, ANY_SIZE, .help = "Most swap." },
        { "Resources", "StartupMemorySwapMax", VALUE_R_MEMORY, ANY_SIZE, .since = 253,
          .help = "MemorySwapMax= while the system starts up or shuts down." },
        { "Resources", "MemoryZSwapMax", VALUE_R_MEMORY, ANY_SIZE, .since = 253, .help = "Most zswap." },
        { "Resources", "StartupMemoryZSwapMax", VALUE_R_MEMORY, ANY_SIZE, .since = 253,
          .help = "MemoryZSwapMax= while the system starts up or shuts down." },
        { "Resources", "MemoryZSwapWriteback", VALUE_R_BOOLEAN, .since = 256,
          .help = "Whether zswap may write out to the disk." },
        { "Resources", "ManagedOOMSwap", VALUE_R_WORD, .words = "auto kill",
          .help = "Whether systemd-oomd kills in the slice when swap runs out." },
        { "Resources", "ManagedOOMMemoryPressure", VALUE_R_WORD, .words = "auto kill",
          .help = "Whether systemd-oomd kills in the slice under memory pressure." },
        { "Resources", "ManagedOOMMemoryPressureLimit", VALUE_R_PERCENT, 0, PERMYRIAD,
          .help = "The pressure at which systemd-oomd does." },
        { "Resources", "ManagedOOMPreference", VALUE_R_WORD, .words = "none avoid omit",
          .help = "Whether systemd-oomd and cgd take the slice last (avoid) or never (omit)." },
        { "Resources", "TasksAccounting", VALUE_R_BOOLEAN, .help = "Account for tasks." },
        { "Resources", "TasksMax", VALUE_R_TASKS, 1, UINT64_MAX,
          .help = "Most tasks: a number, a percentage of the system's maximum, or infinity." },
        { "Resources", "IOAccounting", VALUE_R_BOOLEAN, .help = "Account for io." },
        { "Resources", "IOWeight", VALUE_R_WEIGHT, 1, 10000,
          .help = "Share of io among siblings, where the disk's scheduler (bfq) or iocost keeps weights." },
        { "Resources", "StartupIOWeight", VALUE_R_WEIGHT, 1, 10000,
          .help = "IOWeight= while the system starts up or shuts down." },
        { "Resources", "IODeviceWeight", VALUE_R_DEVICE_WEIGHT, 1, 10000, .help = "IOWeight= for one device." },
        { "Resources", "IOReadBandwidthMax", VALUE_R_DEVICE_LIMIT, 1, UINT64_MAX,
          .help = "Most bytes a second read from a device." },
        { "Resources", "IOWriteBandwidthMax", VALUE_R_DEVICE_LIMIT, 1, UINT64_MAX,
          .help = "Most bytes a second written to a device." },
        { "Resources", "IOReadIOPSMax", VALUE_R_DEVICE_LIMIT, 1, UINT64_MAX,
          .help = "Most reads a second from a device." },
        { "Resources", "IOWriteIOPSMax", VALUE_R_DEVICE_LIMIT, 1, UINT64_MAX,
          .help = "Most writes a second to a device." },
        { "Resources", "IODeviceLatencyTargetSec", VALUE_R_DEVICE_USEC,
          .help = "Latency that the kernel's io.latency controller keeps for the slice on a device." },

        /* [Alarm NAME] */
        { "Alarm", "MemoryPressureAbove", VALUE_PRESSURE, .condition = CONDITION_MEMORY_PRESSURE,
          .help = "Tasks of the slice stall on memory for this share of the window." },
        { "Alarm", "IOPressureAbove", VALUE_PRESSURE, .condition = CONDITION_IO_PRESSURE,
          .help = "Tasks of the slice stall on io for this share of the window." },
        { "Alarm", "CPUPressureAbove", VALUE_PRESSURE, .condition = CONDITION_CPU_PRESSURE, .inactive = NO_CPU,
          .help = "Tasks of the slice wait for a CPU for this share of the window." },
        { "Alarm", "IOLatencyAbove", VALUE_LATENCY, 10, 60 * USEC_PER_SEC, .condition = CONDITION_IO_LATENCY,
          .help = "This percentile of the slice's io takes longer at the disks. Needs cgd's BPF programs." },
        { "Alarm", "SwapUsedAbove", VALUE_SHARE, 0, PERMYRIAD, .condition = CONDITION_SWAP_USED,
          .help = "The host's swap is used by more than this." },
        { "Alarm", "MemoryUsedAbove", VALUE_SHARE, 1, PERMYRIAD, .condition = CONDITION_MEMORY_USED,
          .help = "Memory is used by more than this: of the slice's MemoryHigh= or MemoryMax= where it has one, "
                  "else of the host." },
        { "Alarm", "ReclaimStallAbove", VALUE_STALL, .condition = CONDITION_RECLAIM_STALL, .inactive = NO_RECLAIM,
          .help = "Tasks of the slice reclaim memory themselves for this share of the window." },
        { "Alarm", "MemoryExhaustionWithin", VALUE_WITHIN, 100 * USEC_PER_MSEC, 10 * USEC_PER_MINUTE,
          .condition = CONDITION_MEMORY_EXHAUSTION,
          .help = "At the pace of the last moments memory lasts less long than this: what the slice's MemoryHigh= or "
                  "MemoryMax= leaves where it has one, else the host's, and its swap; and two fifths of what there was when it "
                  "began to shrink are gone, for a service that starts takes memory at such a pace too. The one alarm that "
                  "comes before any stall." },
        { "Alarm", "LastingSec", VALUE_LASTING, 0, 60 * USEC_PER_MINUTE, .fallback = "0",
          .help = "How long the conditions must hold before the alarm is raised." },

        /* [Contain] */
        { "Contain", "Mode", VALUE_MODE, .fallback = "monitor", AT(contain.mode),
          .help = "What may be done to the domain's units when others are hurt: off, monitor (only says what it "
                  "would do), contain (only what can be undone), enforce (kill too)." },
        { "Contain", "Steps", VALUE_STEPS, .fallback = "hold squeeze io-cap freeze kill", AT(contain.steps),
          .help = "The steps that may be taken, always in this order; one that is left out is forbidden. The "
                  "last line counts, an empty one forbids all." },
        { "Contain", "StepSec", VALUE_USEC, 100 * USEC_PER_MSEC, USEC_PER_MINUTE, .fallback = "500ms",
          AT(contain.step_usec), .help = "How long a step may show no relief before the next is taken." },
        { "Contain", "SqueezeFloor", VALUE_BYTES, 1024 * 1024, UINT64_MAX - 1, .fallback = "64M",
          AT(contain.squeeze_floor_bytes), .help = "A unit is never squeezed below this, nor below MemoryLow=." },
        { "Contain", "IOCapFloor", VALUE_BANDWIDTH, 4096, UINT64_MAX - 1, .fallback = "1M",
          AT(contain.io_cap_floor_bytes), .help = "A unit's io is never capped below this, in bytes a second, nor below 64 operations a second." },
        { "Contain", "LeaseSec", VALUE_USEC, USEC_PER_SEC, 60 * USEC_PER_MINUTE, .fallback = "15s",
          AT(contain.lease_usec), .help = "Longest life of one change without fresh evidence." },
        { "Contain", "KillAfterSec", VALUE_USEC, 0, 60 * USEC_PER_MINUTE, .fallback = "10s",
          AT(contain.kill_after_usec),
          .help = "A unit is killed only after it was at its floor, or made no progress, for this long." },
        { "Contain", "KillBudget", VALUE_BUDGET, 0, 16, .fallback = "3 per 10min", AT(contain.kill_budget),
          .help = "Most kills in this domain in that time. When spent, nothing more is killed: it is held." },
        { "Contain", "FreezeMaxSec", VALUE_USEC, 100 * USEC_PER_MSEC, USEC_PER_MINUTE, .fallback = "5s",
          .inactive = NO_STEP, AT(contain.freeze_max_usec), .help = "Longest time that a unit stays frozen." },
        { "Contain", "Exclude", VALUE_UNITS, AT(contain.exclude),
          .help = "Units of the domain that are never contained, as names or globs; nor is a slice that one of them runs in." },
        { "Contain", "PreKillExec", VALUE_COMMAND, AT(contain.pre_kill_exec),
          .help = "A command that is run before a kill; %i is the unit. Its failure never stops the kill." },
        { "Contain", "PreKillTimeoutSec", VALUE_USEC, 100 * USEC_PER_MSEC, USEC_PER_MINUTE, .fallback = "5s",
          AT(contain.pre_kill_timeout_usec), .help = "Longest time that a kill waits for PreKillExec=." },
};

const size_t schema_n_keys = ARRAY_SIZE(schema_keys);

const Key *schema_find(const char *section, const char *name) {
        for (size_t i = 0; i < schema_n_keys; i++)
                if ((!section || streq(schema_keys[i].section, section)) && streq(schema_keys[i].name, name))
                        return &schema_keys[i];
        return NULL;
}

bool schema_has_section(const char *name) {
        for (size_t i = 0; schema_sections[i]; i++)
                if (streq(schema_sections[i], name))
                        return true;
        return false;
}

static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

#define NAME_MAX_COMPARED 40

/* Letters to change, add, drop or swap with a neighbour to get from a to b, whatever their case. */
static unsigned edit_distance(const char *a, const char *b) {
        unsigned rows[3][NAME_MAX_COMPARED + 1];
        size_t n = strlen(a), m = strlen(b);

        if (n > NAME_MAX_COMPARED || m > NAME_MAX_COMPARED)
                return UINT32_MAX;
        for (size_t j = 0; j <= m; j++)
                rows[0][j] = (unsigned) j;
        for (size_t i = 1; i <= n; i++) {
                unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *twice = rows[(i + 1) % 3];

                row[0] = (unsigned) i;
                for (size_t j = 1; j <= m; j++) {
                        unsigned cost = lower(a[i - 1]) != lower(b[j - 1]);

                        row[j] = MIN(MIN(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
                        if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                            lower(a[i - 2]) == lower(b[j - 1]))
                                row[j] = MIN(row[j], twice[j - 2] + 1);
                }
        }
        return rows[n % 3][m];
}

/* Up to a third of the letters may be wrong: farther off it is a guess and no help. */
static unsigned slips_allowed(const char *name) {
        return MAX((unsigned) strlen(name) / 3, 1u);
}

const Key *schema_suggest_key(const char *section, const char *name) {
        const Key *best = NULL;
        unsigned least = slips_allowed(name) + 1;

        for (int pass = 0; pass < 2 && !best; pass++)
                for (size_t i = 0; i < schema_n_keys; i++) {
                        unsigned n;

                        if (section && pass == 0 && !streq(schema_keys[i].section, section))
                                continue;
                        n = edit_distance(name, schema_keys[i].name);
                        if (n < least) {
                                best = &schema_keys[i];
                                least = n;
                        }
                }
        return best;
}

const char *schema_suggest_section(const char *name) {
        const char *best = NULL;
        unsigned least = slips_allowed(name) + 1;

        for (size_t i = 0; schema_sections[i]; i++) {
                unsigned n = edit_distance(name, schema_sections[i]);

                if (n < least) {
                        best = schema_sections[i];
                        least = n;
                }
        }
        return best;
}

static const char *const value_type_texts[_VALUE_TYPE_MAX] = {
        [VALUE_TEXT] = "text",
        [VALUE_SLICE] = "the name of a slice, such as workload.slice",
        [VALUE_NUMBER] = "a whole number",
        [VALUE_PERCENT] = "a percentage such as 40% or 12.5%",
        [VALUE_USEC] = "a time span such as 500ms, 15s or 1min 30s",
        [VALUE_BYTES] = "a size such as 64M or 1.5G",
        [VALUE_BANDWIDTH] = "bytes a second, such as 1M (a million)",
        [VALUE_MODE] = "off, monitor, contain or enforce",
        [VALUE_STEPS] = "steps in the order: hold squeeze io-cap freeze kill",
        [VALUE_BUDGET] = "NUMBER per TIME, such as 3 per 10min",
        [VALUE_COMMAND] = "a command with an absolute path; %i is the unit",
        [VALUE_UNITS] = "units, such as nginx.service postgresql@*.service",
        [VALUE_USERS] = "users, by name or number",
        [VALUE_EXECUTABLES] = "absolute paths of programs, such as /usr/bin/ffmpeg",
        [VALUE_PRESSURE] = "some|full PERCENT over TIME, such as some 10% over 1s",
        [VALUE_STALL] = "PERCENT over TIME, such as 10% over 1s",
        [VALUE_LATENCY] = "pN TIME over TIME, such as p99 50ms over 1s",
        [VALUE_SHARE] = "a percentage such as 90%",
        [VALUE_WITHIN] = "a time span such as 2s",
        [VALUE_LASTING] = "a time span such as 2s",
        [VALUE_R_BOOLEAN] = "yes or no",
        [VALUE_R_MEMORY] = "a size such as 512M, a percentage of physical memory such as 40%, or infinity",
        [VALUE_R_WEIGHT] = "a whole number from 1 to 10000",
        [VALUE_R_CPU_WEIGHT] = "a whole number from 1 to 10000, or idle",
        [VALUE_R_QUOTA] = "a percentage of one CPU such as 50% or 200%",
        [VALUE_R_USEC] = "a time span such as 100ms",
        [VALUE_R_INDICES] = "numbers and ranges, such as 0-3 5",
        [VALUE_R_TASKS] = "a whole number, a percentage such as 10%, or infinity",
        [VALUE_R_WORD] = "one of the words",
        [VALUE_R_PERCENT] = "a percentage such as 60%",
        [VALUE_R_DEVICE_WEIGHT] = "a device and a weight from 1 to 10000, such as /dev/sda 1000",
        [VALUE_R_DEVICE_LIMIT] = "a device and a number a second, such as /dev/sda 5M, or infinity",
        [VALUE_R_DEVICE_USEC] = "a device and a time span, such as /dev/sda 25ms",
};

const char *value_type_expected(ValueType t) {
        return (size_t) t < ARRAY_SIZE(value_type_texts) ? value_type_texts[t] : "a value";
}

bool key_is_list(const Key *k) {
        return (k->type >= VALUE_UNITS && k->type <= VALUE_WITHIN) || k->type >= VALUE_R_DEVICE_WEIGHT;
}

char *key_range(const Key *k, char *buf) {
        char a[FORMAT_MAX], b[FORMAT_MAX];
        bool open = k->max >= UINT64_MAX - 1;

        *buf = '\0';
        if (k->min == 0 && (k->max == 0 || open))
                return buf;
        switch (k->type) {
        case VALUE_USEC:
        case VALUE_WITHIN:
        case VALUE_LASTING:
        case VALUE_LATENCY:
                usec_format(k->min, a);
                usec_format(k->max, b);
                break;
        case VALUE_BYTES:
        case VALUE_R_MEMORY:
                bytes_format(k->min, a);
                bytes_format(k->max, b);
                break;
        case VALUE_PERCENT:
        case VALUE_SHARE:
        case VALUE_R_PERCENT:
        case VALUE_R_QUOTA:
                permyriad_format((unsigned) k->min, a);
                permyriad_format((unsigned) k->max, b);
                break;
        default:
                (void) snprintf(a, sizeof(a), "%llu", (unsigned long long) k->min);
                (void) snprintf(b, sizeof(b), "%llu", (unsigned long long) k->max);
        }
        if (open)
                (void) snprintf(buf, RANGE_MAX, "%s or more", a);
        else
                (void) snprintf(buf, RANGE_MAX, "%s to %s", a, b);
        return buf;
}
