/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Unit property: resource-control directives as text -> the D-Bus properties that systemd takes for them.
 *
 * One row a directive; the row's kind says how its value is written and which property carries it. Names and
 * types are those of org.freedesktop.systemd1(5). Left out: what concerns neither memory, io, cpu nor tasks
 * (ip, bpf, devices). A directive that the running systemd does not know yet is refused by it, with its own
 * words. */

#include <ctype.h>
#include <fcntl.h>

#include "base/macro.h"
#include "base/str.h"
#include "base/units.h"
#include "sys/small-file.h"
#include "sys/unit-property.h"

typedef enum Kind {
        KIND_BOOL,              /* b */
        KIND_STRING,            /* s, checked by systemd */
        KIND_WEIGHT,            /* t, 1 to 10000; default: not set */
        KIND_CPU_WEIGHT,        /* … or "idle" */
        KIND_MEMORY_LOW,        /* t bytes; default 0 */
        KIND_MEMORY_HIGH,       /* t bytes; default infinity */
        KIND_TASKS,             /* t number; default infinity */
        KIND_CPU_QUOTA,         /* CPUQuotaPerSecUSec t */
        KIND_SPAN,              /* KEY without "Sec", then "USec": t; default infinity */
        KIND_SCALE,             /* u, a percentage of UINT32_MAX */
        KIND_CPU_SET,           /* ay, a bitmap */
        /* From here on lists: */
        KIND_DEVICE_BYTES,      /* a(st), base 1000 */
        KIND_DEVICE_IOPS,       /* a(st) */
        KIND_DEVICE_WEIGHT,     /* a(st) */
        KIND_DEVICE_SPAN,       /* KEY without "Sec", then "USec": a(st) */
} Kind;

static const struct {
        const char *key;
        Kind kind;
} table[] = {
        { "AllowedCPUs",                      KIND_CPU_SET },
        { "AllowedMemoryNodes",               KIND_CPU_SET },
        { "CPUAccounting",                    KIND_BOOL },
        { "CPUQuota",                         KIND_CPU_QUOTA },
        { "CPUQuotaPeriodSec",                KIND_SPAN },
        { "CPUWeight",                        KIND_CPU_WEIGHT },
        { "DefaultMemoryLow",                 KIND_MEMORY_LOW },
        { "DefaultMemoryMin",                 KIND_MEMORY_LOW },
        { "DefaultStartupMemoryLow",          KIND_MEMORY_LOW },
        { "IOAccounting",                     KIND_BOOL },
        { "IODeviceLatencyTargetSec",         KIND_DEVICE_SPAN },
        { "IODeviceWeight",                   KIND_DEVICE_WEIGHT },
        { "IOReadBandwidthMax",               KIND_DEVICE_BYTES },
        { "IOReadIOPSMax",                    KIND_DEVICE_IOPS },
        { "IOWeight",                         KIND_WEIGHT },
        { "IOWriteBandwidthMax",              KIND_DEVICE_BYTES },
        { "IOWriteIOPSMax",                   KIND_DEVICE_IOPS },
        { "ManagedOOMMemoryPressure",         KIND_STRING },
        { "ManagedOOMMemoryPressureDurationSec", KIND_SPAN },
        { "ManagedOOMMemoryPressureLimit",    KIND_SCALE },
        { "ManagedOOMPreference",             KIND_STRING },
        { "ManagedOOMSwap",                   KIND_STRING },
        { "MemoryAccounting",                 KIND_BOOL },
        { "MemoryHigh",                       KIND_MEMORY_HIGH },
        { "MemoryLow",                        KIND_MEMORY_LOW },
        { "MemoryMax",                        KIND_MEMORY_HIGH },
        { "MemoryMin",                        KIND_MEMORY_LOW },
        { "MemoryPressureThresholdSec",       KIND_SPAN },
        { "MemoryPressureWatch",              KIND_STRING },
        { "MemorySwapMax",                    KIND_MEMORY_HIGH },
        { "MemoryZSwapMax",                   KIND_MEMORY_HIGH },
        { "MemoryZSwapWriteback",             KIND_BOOL },
        { "StartupAllowedCPUs",               KIND_CPU_SET },
        { "StartupAllowedMemoryNodes",        KIND_CPU_SET },
        { "StartupCPUWeight",                 KIND_CPU_WEIGHT },
        { "StartupIOWeight",                  KIND_WEIGHT },
        { "StartupMemoryHigh",                KIND_MEMORY_HIGH },
        { "StartupMemoryLow",                 KIND_MEMORY_LOW },
        { "StartupMemoryMax",                 KIND_MEMORY_HIGH },
        { "StartupMemorySwapMax",             KIND_MEMORY_HIGH },
        { "StartupMemoryZSwapMax",            KIND_MEMORY_HIGH },
        { "TasksAccounting",                  KIND_BOOL },
        { "TasksMax",                         KIND_TASKS },
};

/* As many as systemd takes (CPU_SETSIZE is 1024, it allows 8192). */
#define CPU_SET_MAX 8192

static uint32_t scale_of_permyriad(unsigned p) {
        return (uint32_t) (((uint64_t) p * UINT32_MAX + 5000) / 10000);
}

/* v, or what the hierarchy's root, which has a limit in a container only, says in that file. */
static uint64_t min_with_root(uint64_t v, const char *hierarchy, const char *file) {
        uint64_t limit;
        char path[4096];

        if ((size_t) snprintf(path, sizeof path, "%s/%s", hierarchy, file) < sizeof path &&
            file_read_limit_at(AT_FDCWD, path, &limit) >= 0)
                v = MIN(v, limit);
        return v;
}

uint64_t unit_property_memory(const char *hierarchy) {
        return min_with_root((uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE), hierarchy, "memory.max");
}

int unit_property_tasks(const char *hierarchy, uint64_t *ret) {
        uint64_t pid_max, threads_max;
        int r = file_read_limit_at(AT_FDCWD, "/proc/sys/kernel/pid_max", &pid_max);

        if (r >= 0)
                r = file_read_limit_at(AT_FDCWD, "/proc/sys/kernel/threads-max", &threads_max);
        if (r < 0)
                return r;
        *ret = min_with_root(MIN(pid_max, threads_max), hierarchy, "pids.max");
        return 0;
}

static int append_u64(sd_bus_message *m, const char *name, uint64_t v) {
        return sd_bus_message_append(m, "(sv)", name, "t", v);
}

/* A percentage is resolved here, as systemd does it on setting (src/basic/limits-util.c), and not sent as
 * KEYScale: the drop-in of that name would, at the next reload, win over a later one of KEY itself. */
static uint64_t memory_of_scale(uint32_t scale) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE), pages = unit_property_memory("/sys/fs/cgroup") / page;

        return mul_div_u64(pages, scale, UINT32_MAX) * page;
}

static int tasks_of_scale(uint32_t scale, uint64_t *ret) {
        uint64_t tasks;
        int r = unit_property_tasks("/sys/fs/cgroup", &tasks);

        if (r < 0)
                return r;
        *ret = mul_div_u64(tasks, scale, UINT32_MAX);
        return 0;
}

/* "CPUQuotaPeriodSec" -> "CPUQuotaPeriodUSec" */
static int usec_name(const char *key, char *buf, size_t size) {
        size_t n = strlen(key) - strlen("Sec");

        return snprintf(buf, size, "%.*sUSec", (int) n, key);
}

static int bool_parse(const char *s, int *ret) {
        static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
        static const char *const no[] = { "0", "no", "n", "false", "f", "off" };

        for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
                if (strcasecmp(s, yes[i]) == 0) {
                        *ret = 1;
                        return 0;
                }
                if (strcasecmp(s, no[i]) == 0) {
                        *ret = 0;
                        return 0;
                }
        }
        return -EINVAL;
}

/* "0-3 7,9" -> bitmap; returns the bytes in use. */
static int cpu_set_parse(const char *s, unsigned char *bits) {
        int used = 0;

        memset(bits, 0, CPU_SET_MAX / 8);
        for (;;) {
                unsigned long from, to;
                char *end;

                s += strspn(s, " \t,");
                if (!*s)
                        return used;
                if (!isdigit((unsigned char) *s))
                        return -EINVAL;
                from = to = strtoul(s, &end, 10);
                if (*end == '-') {
                        s = end + 1;
                        if (!isdigit((unsigned char) *s))
                                return -EINVAL;
                        to = strtoul(s, &end, 10);
                }
                if (from > to || to >= CPU_SET_MAX || (*end && !strchr(" \t,", *end)))
                        return -EINVAL;
                for (unsigned long i = from; i <= to; i++)
                        bits[i / 8] |= (unsigned char) (1u << (i % 8));
                used = MAX(used, (int) (to / 8) + 1);
                s = end;
        }
}

static int append_cpu_set(sd_bus_message *m, const char *key, const char *value) {
        unsigned char bits[CPU_SET_MAX / 8];
        int n = cpu_set_parse(value, bits), r;

        if (n < 0)
                return n;
        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "ay");
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', bits, (size_t) n);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

static int device_value_parse(Kind kind, const char *s, uint64_t *ret) {
        int r;

        if (kind == KIND_DEVICE_SPAN)
                return usec_parse(s, ret);
        if (kind == KIND_DEVICE_WEIGHT) {
                r = u64_parse(s, ret);
                return r < 0 ? r : *ret < 1 || *ret > 10000 ? -EINVAL : 0;
        }
        if (streq(s, "infinity")) {
                *ret = LIMIT_MAX;
                return 0;
        }
        /* systemd reads operations like bytes: "5K" is 5000. */
        return bytes_parse(s, 1000, ret);
}

/* "DEVICE VALUE", where a time may be in several words; empties the list where there is no value. */
static int append_device(sd_bus_message *m, Kind kind, const char *name, const char *value) {
        _cleanup_free_ char *device = NULL;
        const char *space;
        uint64_t v;
        int r;

        if (!*value)
                return sd_bus_message_append(m, "(sv)", name, "a(st)", 0);
        space = strchr(value, ' ');
        if (!space || space == value)
                return -EINVAL;
        r = device_value_parse(kind, space + strspn(space, " "), &v);
        if (r < 0)
                return r;
        device = strndup(value, (size_t) (space - value));
        if (!device)
                return -ENOMEM;
        return sd_bus_message_append(m, "(sv)", name, "a(st)", 1, device, v);
}

static int append_size(sd_bus_message *m, Kind kind, const char *key, const char *value) {
        unsigned permyriad;
        uint64_t v;
        int r;

        if (!*value)
                return append_u64(m, key, kind == KIND_MEMORY_LOW ? 0 : LIMIT_MAX);
        if (streq(value, "infinity"))
                return append_u64(m, key, LIMIT_MAX);
        if (endswith(value, "%")) {
                r = permyriad_parse(value, &permyriad);
                if (r < 0)
                        return r;
                if (permyriad > PERMYRIAD)
                        return -EINVAL;
                if (kind != KIND_TASKS)
                        return append_u64(m, key, memory_of_scale(scale_of_permyriad(permyriad)));
                r = tasks_of_scale(scale_of_permyriad(permyriad), &v);
                return r < 0 ? r : append_u64(m, key, v);
        }
        r = kind == KIND_TASKS ? u64_parse(value, &v) : bytes_parse(value, 1024, &v);
        return r < 0 ? r : append_u64(m, key, v);
}

bool unit_property_is_list(const char *key) {
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (streq(table[i].key, key))
                        return table[i].kind >= KIND_DEVICE_BYTES;
        return false;
}

static int append_property(sd_bus_message *m, const char *key, const char *value) {
        char name[64];
        size_t i;
        unsigned permyriad;
        uint64_t v;
        int r, flag;

        for (i = 0; i < ARRAY_SIZE(table); i++)
                if (streq(table[i].key, key))
                        break;
        if (i == ARRAY_SIZE(table))
                return -EOPNOTSUPP;
        if (!value)
                value = "";

        switch (table[i].kind) {
        case KIND_BOOL:
                /* Accounting is on where the default is asked for, as in systemd-system.conf(5). */
                flag = 1;
                r = *value ? bool_parse(value, &flag) : 0;
                return r < 0 ? r : sd_bus_message_append(m, "(sv)", key, "b", flag);
        case KIND_STRING:
                if (!*value)
                        value = streq(key, "ManagedOOMPreference") ? "none" : "auto";
                return sd_bus_message_append(m, "(sv)", key, "s", value);
        case KIND_CPU_WEIGHT:
                if (streq(value, "idle"))
                        return append_u64(m, key, 0);
                _fallthrough_;
        case KIND_WEIGHT:
                if (!*value)
                        return append_u64(m, key, UINT64_MAX);
                r = u64_parse(value, &v);
                if (r < 0)
                        return r;
                return v < 1 || v > 10000 ? -EINVAL : append_u64(m, key, v);
        case KIND_MEMORY_LOW:
        case KIND_MEMORY_HIGH:
        case KIND_TASKS:
                return append_size(m, table[i].kind, key, value);
        case KIND_CPU_QUOTA:
                if (!*value || streq(value, "infinity"))
                        return append_u64(m, "CPUQuotaPerSecUSec", USEC_INFINITY);
                r = permyriad_parse(value, &permyriad);
                if (r < 0)
                        return r;
                if (permyriad == 0)
                        return -EINVAL;
                return append_u64(m, "CPUQuotaPerSecUSec", permyriad * USEC_PER_SEC / PERMYRIAD);
        case KIND_SPAN:
                (void) usec_name(key, name, sizeof name);
                if (!*value)
                        return append_u64(m, name, USEC_INFINITY);
                r = usec_parse(value, &v);
                return r < 0 ? r : append_u64(m, name, v);
        case KIND_SCALE:
                r = *value ? permyriad_parse(value, &permyriad) : 0;
                if (r < 0)
                        return r;
                if (!*value)
                        permyriad = 0;
                if (permyriad > PERMYRIAD)
                        return -EINVAL;
                return sd_bus_message_append(m, "(sv)", key, "u", scale_of_permyriad(permyriad));
        case KIND_CPU_SET:
                return append_cpu_set(m, key, value);
        case KIND_DEVICE_SPAN:
                (void) usec_name(key, name, sizeof name);
                return append_device(m, KIND_DEVICE_SPAN, name, value);
        case KIND_DEVICE_BYTES:
        case KIND_DEVICE_IOPS:
        case KIND_DEVICE_WEIGHT:
                return append_device(m, table[i].kind, key, value);
        }
        return -EOPNOTSUPP;
}

int unit_property_append(sd_bus_message *m, const char *key, const char *value) {
        int r = append_property(m, key, value);

        return MIN(r, 0);
}

/* Finds `name` in a{sv} and enters its variant if it is of that type. */
static bool find_variant(sd_bus_message *m, const char *name, const char *type) {
        const char *key, *contents;

        if (sd_bus_message_rewind(m, true) < 0 || sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
                return false;
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                if (sd_bus_message_read_basic(m, 's', &key) < 0)
                        return false;
                if (streq(key, name))
                        return sd_bus_message_peek_type(m, NULL, &contents) > 0 && streq(contents, type) &&
                               sd_bus_message_enter_container(m, 'v', contents) >= 0;
                if (sd_bus_message_skip(m, "v") < 0 || sd_bus_message_exit_container(m) < 0)
                        return false;
        }
        return false;
}

/* Both have their variant entered. systemd leaves out the bytes at the end that are 0, or does not. */
static bool same_bytes(sd_bus_message *a, sd_bus_message *b) {
        const void *x, *y;
        size_t n, m;

        if (sd_bus_message_read_array(a, 'y', &x, &n) < 0 || sd_bus_message_read_array(b, 'y', &y, &m) < 0)
                return false;
        while (n > 0 && ((const unsigned char *) x)[n - 1] == 0)
                n--;
        while (m > 0 && ((const unsigned char *) y)[m - 1] == 0)
                m--;
        return n == m && (n == 0 || memcmp(x, y, n) == 0);
}

/* Both have their variant entered: the list has n entries, and that of `wanted`, if it has one, among them. */
static bool has_device(sd_bus_message *wanted, sd_bus_message *list, size_t n) {
        const char *path, *device = NULL;
        uint64_t value = 0, v;
        size_t there = 0;
        bool found;
        int r;

        if (sd_bus_message_enter_container(wanted, 'a', "(st)") < 0 ||
            sd_bus_message_read(wanted, "(st)", &device, &value) < 0 ||
            sd_bus_message_enter_container(list, 'a', "(st)") < 0)
                return false;
        found = !device;
        while ((r = sd_bus_message_read(list, "(st)", &path, &v)) > 0) {
                found = found || (streq(path, device) && v == value);
                there++;
        }
        return r == 0 && found && there == n;
}

/* n: how many entries, of a list. */
static bool property_is(sd_bus_message *properties, const char *key, const char *value, size_t n) {
        sd_bus_message *m = NULL;
        const char *name, *contents, *text, *there_text;
        uint64_t t, there;
        uint32_t u, there_u;
        int b, there_b;
        bool is = false;

        /* The directive as it would be sent, read back: (sv). */
        if (sd_bus_message_new_method_call(sd_bus_message_get_bus(properties), &m, NULL, "/", NULL, "X") < 0)
                return false;
        if (unit_property_append(m, key, value) < 0 || sd_bus_message_seal(m, 1, 0) < 0 ||
            sd_bus_message_rewind(m, true) < 0 || sd_bus_message_enter_container(m, 'r', "sv") <= 0 ||
            sd_bus_message_read_basic(m, 's', &name) < 0 ||
            sd_bus_message_peek_type(m, NULL, &contents) <= 0 ||
            sd_bus_message_enter_container(m, 'v', contents) < 0 || !find_variant(properties, name, contents))
                goto finish;
        if (streq(contents, "t"))
                is = sd_bus_message_read_basic(m, 't', &t) > 0 &&
                     sd_bus_message_read_basic(properties, 't', &there) > 0 && t == there;
        else if (streq(contents, "u"))
                is = sd_bus_message_read_basic(m, 'u', &u) > 0 &&
                     sd_bus_message_read_basic(properties, 'u', &there_u) > 0 && u == there_u;
        else if (streq(contents, "b"))
                is = sd_bus_message_read_basic(m, 'b', &b) > 0 &&
                     sd_bus_message_read_basic(properties, 'b', &there_b) > 0 && !b == !there_b;
        else if (streq(contents, "s"))
                is = sd_bus_message_read_basic(m, 's', &text) > 0 &&
                     sd_bus_message_read_basic(properties, 's', &there_text) > 0 && streq(text, there_text);
        else if (streq(contents, "ay"))
                is = same_bytes(m, properties);
        else if (streq(contents, "a(st)"))
                is = has_device(m, properties, n);

finish:
        sd_bus_message_unref(m);
        return is;
}

bool unit_property_is(sd_bus_message *properties, const char *key, const char *value) {
        return property_is(properties, key, value, value && *value ? 1 : 0);
}

bool unit_property_list_has(sd_bus_message *properties, const char *key, const char *value, size_t n) {
        return property_is(properties, key, value, n);
}
