/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cgctl check`: what the machine offers, what it lacks, what each lack costs and the way out. Looks at
 * files alone, below --root, so that it works where nothing else does. */

#include <dirent.h>
#include <fcntl.h>
#include <sys/utsname.h>

#include "base/units.h"
#include "cli.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"

typedef struct Check {
        const char *root;
        json_t *items;
        bool missing;
} Check;

static void add(Check *c, const char *group, const char *name, const char *state, const char *found,
                const char *cost, const char *remedy) {
        _cleanup_str_ Str safe = {};

        view_text(&safe, found);
        c->missing = c->missing || streq(state, "missing");
        (void) json_array_append_new(c->items,
                                     json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "group", group, "name",
                                               name, "state", state, "found", safe.data ? safe.data : "",
                                               "cost", cost, "remedy", remedy));
}

/* The file's text below the root, or -1. */
static int read_below(const Check *c, const char *path, char *buf, size_t size) {
        _cleanup_free_ char *whole = NULL;

        if (asprintf(&whole, "%s%s", c->root, path) < 0)
                return -ENOMEM;
        return file_read_at(AT_FDCWD, whole, buf, size);
}

static bool exists_below(const Check *c, const char *path) {
        _cleanup_free_ char *whole = NULL;

        return asprintf(&whole, "%s%s", c->root, path) >= 0 && access(whole, F_OK) >= 0;
}

/* Sources: uname(2); Documentation/admin-guide/cgroup-v2.rst for what came when. */
static void check_kernel(Check *c) {
        char release[128] = "";
        struct utsname u;
        unsigned major = 0, minor = 0;

        if (read_below(c, "/proc/sys/kernel/osrelease", release, sizeof(release)) > 0)
                release[strcspn(release, "\n")] = '\0';
        else if (!*c->root && uname(&u) == 0)
                (void) snprintf(release, sizeof(release), "%s", u.release);
        (void) sscanf(release, "%u.%u", &major, &minor);
        if (major > 5 || (major == 5 && minor >= 14))
                add(c, "Kernel", "version", "ok", release, "", "");
        else
                add(c, "Kernel", "version", "missing", *release ? release : "unknown",
                    "Kernels before 5.14 cannot kill a cgroup as a whole.",
                    "Run kernel 5.14 or newer; 6.1 is tested.");
}

static bool has_capability_resource(void) {
        char text[8192], *p;
        unsigned long long effective = 0;

        if (file_read_at(AT_FDCWD, "/proc/self/status", text, sizeof(text)) < 0 ||
            !(p = strstr(text, "CapEff:")))
                return false;
        (void) sscanf(p + 7, "%llx", &effective);
        return effective & (1ULL << 24); /* CAP_SYS_RESOURCE, see capabilities(7) */
}

/* Source: Documentation/accounting/psi.rst. */
static void check_psi(Check *c) {
        char text[512];

        if (read_below(c, "/proc/pressure/memory", text, sizeof(text)) < 0) {
                bool built = exists_below(c, "/proc/pressure");

                add(c, "Kernel", "pressure", "lack", built ? "off" : "this kernel has none",
                    "Stalls cannot be seen: only the forecast and the swap can raise an alarm.",
                    built ? "Boot with psi=1 on the kernel's command line." :
                            "Boot with psi=1 on the kernel's command line, or a kernel with CONFIG_PSI=y.");
                return;
        }
        if (*c->root || has_capability_resource())
                add(c, "Kernel", "pressure", "ok", "there, with windows from 500 ms", "", "");
        else
                add(c, "Kernel", "pressure", "note", "there; this shell may only set windows of 2 s",
                    "Without CAP_SYS_RESOURCE the kernel takes windows of whole 2 s, so that an alarm "
                    "comes up to 2 s "
                    "late. cgd.service has that right unless it was taken from it.",
                    "");
}

static void check_cgroups(Check *c) {
        static const struct {
                const char *name, *state, *cost;
        } controllers[] = {
                { "memory", "missing", "Nothing can be held, squeezed or measured." },
                { "io", "lack", "Io cannot be blamed or capped, and IO weights and limits of policies have no effect." },
                { "cpu", "lack", "CPU weights and quotas of policies have no effect." },
                { "pids", "lack", "TasksMax= of policies has no effect." },
        };
        CgroupHierarchy hierarchy = HIERARCHY_NONE;
        _cleanup_free_ char *path = NULL;
        char text[512];

        if (asprintf(&path, "%s/sys/fs/cgroup", c->root) < 0)
                return;
        /* A fake tree is no mount of any kind: there the controllers' file tells. */
        if (cgroup_hierarchy(path, &hierarchy) < 0 || (*c->root && hierarchy == HIERARCHY_NONE))
                hierarchy = exists_below(c, "/sys/fs/cgroup/cgroup.controllers") ? HIERARCHY_UNIFIED :
                            exists_below(c, "/sys/fs/cgroup/unified")            ? HIERARCHY_HYBRID :
                            exists_below(c, "/sys/fs/cgroup/memory")             ? HIERARCHY_LEGACY :
                                                                                   HIERARCHY_NONE;
        switch (hierarchy) {
        case HIERARCHY_UNIFIED:
                add(c, "Cgroups", "hierarchy", "ok", "unified (cgroup v2 alone)", "", "");
                break;
        case HIERARCHY_HYBRID:
        case HIERARCHY_LEGACY:
                add(c, "Cgroups", "hierarchy", "missing",
                    hierarchy == HIERARCHY_HYBRID ? "hybrid (cgroup v1 with v2 beside it)" :
                                                    "legacy (cgroup v1)",
                    "The memory controller belongs to cgroup v1 here, which knows no memory.high per "
                    "service: cgd "
                    "refuses to start.",
                    "Boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line, and without "
                    "systemd.legacy_systemd_cgroup_controller.");
                return;
        case HIERARCHY_NONE:
                add(c, "Cgroups", "hierarchy", "missing", "no cgroups at /sys/fs/cgroup",
                    "There is nothing for cgd to look at.",
                    "Run on a system with systemd, not inside a bare chroot.");
                return;
        }
        if (read_below(c, "/sys/fs/cgroup/cgroup.controllers", text, sizeof(text)) < 0)
                text[0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
                _cleanup_free_ char *copy = strdup(text);
                char *rest = copy, *word;
                bool found = false;

                while (copy && (word = strsep(&rest, " ")))
                        found = found || streq(word, controllers[i].name);
                if (found)
                        add(c, "Cgroups", controllers[i].name, "ok", "controller there", "", "");
                else
                        add(c, "Cgroups", controllers[i].name, controllers[i].state, "controller missing",
                            controllers[i].cost,
                            streq(controllers[i].name, "memory") ?
                                    "Boot without cgroup_disable=memory, or with cgroup_enable=memory." :
                                    "");
        }
        /* Source: cgroup-v2.rst, "memory.low": without it the root cannot be told its children's
         * protection. */
        if (exists_below(c, "/sys/fs/cgroup/cgroup.controllers") &&
            !exists_below(c, "/sys/fs/cgroup/cgroup.kill") &&
            !exists_below(c, "/sys/fs/cgroup/init.scope/cgroup.kill"))
                add(c, "Cgroups", "cgroup.kill", "lack", "missing",
                    "Step kill cannot be taken; everything that can be undone still works.",
                    "Run kernel 5.14 or newer.");
}

/* Percent; data/sysctl.conf has less. */
#define DIRTY_RATIO_FINE 2

/* Source: Documentation/admin-guide/sysctl/vm.rst, dirty_bytes and dirty_ratio. The kernel takes a ratio of what is free
 * or page cache, which MemAvailable is near to. */
static void check_dirty(Check *c, uint64_t available) {
        char text[64], found[128], a[FORMAT_MAX];
        unsigned long long bytes = 0, ratio = 0;

        if (read_below(c, "/proc/sys/vm/dirty_bytes", text, sizeof(text)) >= 0)
                (void) sscanf(text, "%llu", &bytes);
        if (read_below(c, "/proc/sys/vm/dirty_ratio", text, sizeof(text)) >= 0)
                (void) sscanf(text, "%llu", &ratio);
        if (bytes > 0) {
                (void) snprintf(found, sizeof(found), "%s at most wait to be written (vm.dirty_bytes)", bytes_format_human(bytes, a));
                add(c, "Memory", "dirty", "ok", found, "", "");
        } else if (ratio > 0) {
                (void) snprintf(found, sizeof(found), "%s may wait to be written (vm.dirty_ratio, %llu %%)",
                                bytes_format_human(available / 100 * ratio, a), ratio);
                if (ratio <= DIRTY_RATIO_FINE)
                        add(c, "Memory", "dirty", "ok", found, "", "");
                else
                        add(c, "Memory", "dirty", "note", found,
                            "Whoever syncs waits for what others wrote on the same file system. cgd caps who floods a disk so, "
                            "but what is dirty by then still has to be written.",
                            "/usr/lib/sysctl.d/10-cgd.conf makes it 1 % at boot, where no other file there or in /etc/sysctl.d "
                            "sets it; now: systemctl restart systemd-sysctl.");
        }
}

static void check_memory(Check *c) {
        char text[8192], found[128], a[FORMAT_MAX], *p;
        unsigned long long total = 0, available = 0, swap = 0;

        if (read_below(c, "/proc/meminfo", text, sizeof(text)) < 0) {
                add(c, "Memory", "memory", "missing", "/proc/meminfo cannot be read",
                    "Nothing can be forecast.", "");
                return;
        }
        if ((p = strstr(text, "MemTotal:")))
                (void) sscanf(p + 9, "%llu", &total);
        if ((p = strstr(text, "MemAvailable:")))
                (void) sscanf(p + 13, "%llu", &available);
        if ((p = strstr(text, "SwapTotal:")))
                (void) sscanf(p + 10, "%llu", &swap);
        add(c, "Memory", "memory", "ok", bytes_format_human(total * 1024, a), "", "");
        if (swap > 0) {
                (void) snprintf(found, sizeof(found), "%s", bytes_format_human(swap * 1024, a));
                add(c, "Memory", "swap", "ok", found, "", "");
        } else
                add(c, "Memory", "swap", "lack", "none",
                    "A contained service cannot be squeezed below what it holds, and memory runs out at "
                    "once instead of "
                    "slowly: less can be undone, more has to be killed.",
                    "A swap file or zram of an eighth of the memory is enough.");
        check_dirty(c, available * 1024);
}

/* iocost is on for a disk where io.cost.qos of the root says so. Source: cgroup-v2.rst, "IO Interface Files". */
static bool iocost_is_on(const Check *c, const char *number) {
        char text[4096], *rest = text, *line;

        if (read_below(c, "/sys/fs/cgroup/io.cost.qos", text, sizeof(text)) < 0)
                return false;
        while ((line = strsep(&rest, "\n")))
                if (startswith(line, number) && line[strlen(number)] == ' ' && strstr(line, "enable=1"))
                        return true;
        return false;
}

/* Weights mean nothing but where a scheduler keeps them. A partition is its disk's; what has no queue of its own (a
 * stacked device) hands on to one that has. */
static void check_disks(Check *c) {
        _cleanup_free_ char *path = NULL;
        struct dirent **names = NULL;
        int n;

        if (asprintf(&path, "%s/sys/block", c->root) < 0)
                return;
        n = scandir(path, &names, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                char file[400], text[256], number[64], found[512], *end, *scheduler;

                (void) snprintf(file, sizeof(file), "/sys/block/%s/size", names[i]->d_name);
                if (names[i]->d_name[0] == '.' || read_below(c, file, text, sizeof(text)) < 0 || strtoull(text, NULL, 10) == 0)
                        continue;
                (void) snprintf(file, sizeof(file), "/sys/block/%s/queue/scheduler", names[i]->d_name);
                if (read_below(c, file, text, sizeof(text)) < 0 || !(scheduler = strchr(text, '[')) ||
                    !(end = strchr(++scheduler, ']')))
                        continue;
                *end = '\0';
                (void) snprintf(file, sizeof(file), "/sys/block/%s/dev", names[i]->d_name);
                if (read_below(c, file, number, sizeof(number)) < 0)
                        continue;
                number[strcspn(number, "\n")] = '\0';
                if (iocost_is_on(c, number) || streq(scheduler, "bfq")) {
                        (void) snprintf(found, sizeof(found), "%s keeps io weights", streq(scheduler, "bfq") ? "bfq" : "iocost");
                        add(c, "Disks", names[i]->d_name, "ok", found, "", "");
                        continue;
                }
                /* Of those that keep no weights this one looks at the io priority: the kernel's Documentation/block/ioprio.rst. */
                (void) snprintf(found, sizeof(found), "nothing keeps io weights (scheduler %s)", scheduler);
                add(c, "Disks", names[i]->d_name, "note", found,
                    streq(scheduler, "mq-deadline") ? "IOWeight= has no effect on it. Floods are capped, and floods of reads served after everybody else." :
                                                      "IOWeight= has no effect on it. Floods are capped all the same.",
                    "To have weights: the scheduler bfq, or iocost: /usr/share/doc/cgd/iocost.conf tells how.");
        }
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

/* Programs that act on memory trouble by themselves, by the name of the process or of the unit's cgroup. */
static bool process_runs(const Check *c, const char *comm) {
        _cleanup_free_ char *path = NULL;
        struct dirent *e;
        bool found = false;
        DIR *dir;

        if (asprintf(&path, "%s/proc", c->root) < 0 || !(dir = opendir(path)))
                return false;
        while (!found && (e = readdir(dir))) {
                char file[300], text[64];

                if (e->d_name[0] < '0' || e->d_name[0] > '9')
                        continue;
                (void) snprintf(file, sizeof(file), "%s/%s/comm", path, e->d_name);
                if (file_read_at(AT_FDCWD, file, text, sizeof(text)) < 0)
                        continue;
                text[strcspn(text, "\n")] = '\0';
                found = streq(text, comm);
        }
        (void) closedir(dir);
        return found;
}

static void check_others(Check *c) {
        static const struct {
                const char *comm, *shown, *unit;
        } others[] = {
                { "systemd-oomd", "systemd-oomd", "systemd-oomd" },
                { "earlyoom", "earlyoom", "earlyoom" },
                { "oomd", "oomd", "oomd" },
                { "oomd_bin", "oomd", "oomd" },
                { "nohang", "nohang", "nohang" },
                { "nohang-desktop", "nohang-desktop", "nohang-desktop" },
        };
        bool any = false;

        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                char remedy[128];

                if (!process_runs(c, others[i].comm))
                        continue;
                any = true;
                (void) snprintf(remedy, sizeof(remedy),
                                "To let cgd decide alone: systemctl disable --now %s.", others[i].unit);
                add(c, "Others", others[i].shown, "lack", "runs, and kills when memory is short",
                    "It may kill what cgd is still containing. cgd acts earlier, so the two can live "
                    "together.",
                    remedy);
        }
        if (!any)
                add(c, "Others", "killers", "ok", "nobody else acts on memory trouble", "", "");
}

static void check_level(Check *c, const json_t *sensing) {
        char found[512];

        if (streq(field_text(sensing, "level"), "walk")) {
                (void) snprintf(found, sizeof(found),
                                "level 2: %" JSON_INTEGER_FORMAT " cgroups in one walk of %" JSON_INTEGER_FORMAT
                                " us; %" JSON_INTEGER_FORMAT " KiB of maps",
                                json_integer_value(json_object_get(sensing, "walk_cgroups")),
                                json_integer_value(json_object_get(sensing, "walk_usec")),
                                json_integer_value(json_object_get(sensing, "walk_bytes")) >> 10);
                if (!*field_text(sensing, "reason")) {
                        add(c, "cgd", "sensing", "ok", found, "", "");
                        return;
                }
                add(c, "cgd", "sensing", "note", found, field_text(sensing, "reason"), "");
                return;
        }
        (void) snprintf(found, sizeof(found), "level 1, files: %s", field_text(sensing, "reason"));
        add(c, "cgd", "sensing", "note", found,
            "It sees the same, and takes more processor time for it where there are hundreds of cgroups.",
            "Level 2 needs a cgd built with libbpf, a kernel with CONFIG_DEBUG_INFO_BTF, and in cgd.service "
            "CAP_BPF and CAP_PERFMON.");
}

static void check_watch(Check *c, const json_t *watch) {
        char found[512];

        if (json_is_true(json_object_get(watch, "watched"))) {
                add(c, "cgd", "fast leaks", "ok", "the kernel wakes cgd when memory would be gone within seconds", "", "");
                return;
        }
        (void) snprintf(found, sizeof(found), "seen at heartbeats, or when the kernel first stalls: %s", field_text(watch, "reason"));
        add(c, "cgd", "fast leaks", "note", found, "The first step against a leak that takes all memory between two heartbeats comes "
            "seconds later.", "");
}

static void check_exec(Check *c, const json_t *exec) {
        char found[512];

        if (json_is_true(json_object_get(exec, "seen"))) {
                add(c, "cgd", "placement", "ok", "programs that User= and Executable= name are placed as they start", "", "");
                return;
        }
        (void) snprintf(found, sizeof(found), "at heartbeats: %s", field_text(exec, "reason"));
        add(c, "cgd", "placement", "note", found, "A program that User= or Executable= names runs up to a heartbeat where it was started.",
            "");
}

static void check_credit(Check *c, const json_t *credit) {
        char found[512];

        if (!json_is_true(json_object_get(credit, "measured"))) {
                (void) snprintf(found, sizeof(found), "by shares of the work on a disk: %s", field_text(credit, "reason"));
                add(c, "cgd", "blame for io", "note", found,
                    "Shares say who keeps a disk busy, not who makes whom wait: they are of low confidence. IOLatencyAbove= never holds.", "");
                return;
        }
        (void) snprintf(found, sizeof(found), "by who waits for whom, counted in the kernel; %" JSON_INTEGER_FORMAT " KiB of maps",
                        json_integer_value(json_object_get(credit, "bytes")) >> 10);
        if (json_integer_value(json_object_get(credit, "lost")) == 0) {
                add(c, "cgd", "blame for io", "ok", found, "", "");
                return;
        }
        add(c, "cgd", "blame for io", "note", found,
            "Some requests were not counted: there were more than 4096 at a time, or more than 16 disks in use.", "");
}

static void check_cgd(Check *c, Cli *cli) {
        json_t *status = NULL;
        int r;

        if (*c->root)
                return;
        if (!exists_below(c, "/run/systemd/system"))
                add(c, "cgd", "systemd", "lack", "systemd is not running here",
                    "Nothing can be placed, and no long hold is handed over.", "");
        else
                add(c, "cgd", "systemd", "ok", "runs", "", "");
        r = client_find(cli);
        if (r == -ESRCH)
                add(c, "cgd", "cgd", "lack", "is not running", "Nothing is contained.",
                    "Start it: systemctl start cgd.");
        else if (r == -EACCES || r == -EPERM)
                add(c, "cgd", "cgd", "note", "this user may not ask it", "", "");
        else if (r < 0)
                add(c, "cgd", "cgd", "lack", "is there and does not answer",
                    "What it holds stays held meanwhile, and nobody else is contained.",
                    "See 'systemctl status cgd'; a restart gives back what it holds.");
        if (r < 0)
                return;
        if (client_json(cli, &status, "GetStatus", NULL, NULL) == CLI_DONE) {
                const char *psi = field_text(json_object_get(status, "sensing"), "pressure");

                if (streq(psi, "full"))
                        add(c, "cgd", "cgd", "ok", "runs, and wakes within 0.1 s of a stall", "", "");
                else if (streq(psi, "coarse"))
                        add(c, "cgd", "cgd", "lack", "runs, with windows of 2 s",
                            "It has no CAP_SYS_RESOURCE, so an alarm by pressure comes up to 2 s late. The "
                            "forecast is as "
                            "fast as ever.",
                            "Give the right back: systemctl revert cgd.");
                else
                        add(c, "cgd", "cgd", "lack", "runs, without pressure triggers",
                            "Pressure is seen only where something else wakes it.", "");
                check_level(c, json_object_get(status, "sensing"));
                check_watch(c, json_object_get(json_object_get(status, "sensing"), "memory_watch"));
                check_exec(c, json_object_get(json_object_get(status, "sensing"), "exec"));
                check_credit(c, json_object_get(json_object_get(status, "sensing"), "io_credit"));
                json_decref(status);
        }
}

CliExit verb_check(Cli *cli, _unused_ int argc, _unused_ char **argv) {
        Check c = { .root = cli->root ? cli->root : "" };
        bool missing;
        CliExit r;

        if (cli->from) {
                json_t *j;

                r = client_json(cli, &j, NULL, NULL, NULL);
                return r != CLI_DONE ? r : output_document(cli, j, view_check);
        }
        c.items = json_array();
        check_kernel(&c);
        check_psi(&c);
        check_cgroups(&c);
        check_memory(&c);
        check_disks(&c);
        check_others(&c);
        check_cgd(&c, cli);
        missing = c.missing;
        r = output_document(cli, json_pack("{s:b, s:o}", "works", (int) !missing, "items", c.items),
                            view_check);
        return r != CLI_DONE ? r : missing ? CLI_FALSE : CLI_DONE;
}
