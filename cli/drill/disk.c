/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The disk of a drill: made of memory by the kernel's null_blk, so that it can be flooded and nobody else's is. It does
 * what a small disk does: so many requests at a time, each a fixed time, and so many bytes a second. Only what was written
 * to it takes memory, and the file system on it is as large as that may become; the rest of the device is there to be
 * read, as zeros.
 *
 * Source: the kernel's Documentation/block/null_blk.rst; its configfs attributes are drivers/block/null_blk/main.c's. */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/macro.h"
#include "cli.h"
#include "drill/drill.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"

#define CONFIG_DIR "/sys/kernel/config/nullb"
#define ITEM "cgddrill"
#define DEVICE_MIB 4096
/* One after the other, each 0.5 ms: 2,000 a second, and a service that asks for 100 has time left without a flood. A disk that
 * bounds bytes by this alone, max_sectors_kb=32 instead of mbps=, was tried: the service lost a third beside a capped stream
 * instead of a tenth, for io.max lets through at once what it allows in 100 ms (block/blk-throttle.c). */
#define QUEUE_DEPTH 1
#define COMPLETION_NSEC 500000
#define MB_PER_SEC 60

static int set(const char *key, uint64_t value) {
        char path[128], text[32];

        (void) snprintf(path, sizeof(path), CONFIG_DIR "/" ITEM "/%s", key);
        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        return file_write_at(AT_FDCWD, path, text);
}

/* Since Linux 6.2 a device has the name of its configfs item, before that a number. */
static bool find_device(DrillDisk *d) {
        char text[64];
        struct stat st;

        (void) snprintf(d->device, sizeof(d->device), "/dev/" ITEM);
        if (stat(d->device, &st) < 0) {
                if (file_read_at(AT_FDCWD, CONFIG_DIR "/" ITEM "/index", text, sizeof(text)) < 0)
                        return false;
                (void) snprintf(d->device, sizeof(d->device), "/dev/nullb%lu", strtoul(text, NULL, 10));
                if (stat(d->device, &st) < 0)
                        return false;
        }
        d->line = (IoLine) { .major = major(st.st_rdev), .minor = minor(st.st_rdev) };
        return S_ISBLK(st.st_mode);
}

static int make_device(void) {
        static const struct {
                const char *key;
                uint64_t value;
        } attributes[] = {
                { "size", DEVICE_MIB }, { "blocksize", 4096 }, { "memory_backed", 1 }, { "submit_queues", 1 }, { "queue_mode", 2 },
                { "irqmode", 2 }, { "hw_queue_depth", QUEUE_DEPTH }, { "completion_nsec", COMPLETION_NSEC }, { "mbps", MB_PER_SEC },
                { "power", 1 },
        };
        int r;

        if (mkdir(CONFIG_DIR "/" ITEM, 0755) < 0)
                return -errno;
        for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
                if ((r = set(attributes[i].key, attributes[i].value)) < 0)
                        return r;
        return 0;
}

/* As long a queue as disks have by default: a scheduler gets twice the depth of the device, and who finds it full waits
 * where nobody can see for whom. */
static void set_queue(const DrillDisk *d) {
        char path[128];

        (void) snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/scheduler", d->line.major, d->line.minor);
        (void) file_write_at(AT_FDCWD, path, "mq-deadline");
        (void) snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/nr_requests", d->line.major, d->line.minor);
        (void) file_write_at(AT_FDCWD, path, "256");
}

void drill_disk_close(void) {
        (void) umount2(DRILL_DISK_DIR, MNT_DETACH);
        (void) rmdir(DRILL_DISK_DIR);
        (void) rmdir(CONFIG_DIR "/" ITEM);
}

bool drill_disk_possible(void) {
        return access(CONFIG_DIR, F_OK) == 0 || drill_run((const char *[]){ "modprobe", "--dry-run", "--quiet", "null_blk", NULL }, true) == 0;
}

bool drill_disk_open(DrillDisk *d) {
        char files[32];
        int r;

        drill_disk_close();
        if (access(CONFIG_DIR, F_OK) < 0 && drill_run((const char *[]){ "modprobe", "null_blk", "nr_devices=0", NULL }, true) != 0) {
                cli_error("drill: this kernel has no null_blk module, which the disk of a drill is made of");
                return false;
        }
        r = make_device();
        if (r < 0 || !find_device(d)) {
                cli_error("drill: cannot make a disk of null_blk in " CONFIG_DIR ": %s", strerror(r < 0 ? -r : ENODEV));
                drill_disk_close();
                return false;
        }
        set_queue(d);
        (void) snprintf(files, sizeof(files), "%" PRIu64 "M", DRILL_DISK_BYTES >> 20);
        if (drill_run((const char *[]){ "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", d->device, files, NULL },
                      false) != 0) {
                cli_error("drill: mkfs.ext4 cannot make a file system on %s", d->device);
                drill_disk_close();
                return false;
        }
        if ((mkdir(DRILL_DISK_DIR, 0700) < 0 && errno != EEXIST) ||
            mount(d->device, DRILL_DISK_DIR, "ext4", MS_NOATIME, NULL) < 0 ||
            symlink(d->device, DRILL_DISK_DIR "/cgd-hog.dat") < 0) {
                cli_error("drill: cannot mount %s at " DRILL_DISK_DIR ": %s", d->device, strerror(errno));
                drill_disk_close();
                return false;
        }
        return true;
}

bool drill_disk_done(const DrillDisk *d, const char *cgroup, DrillIo *io) {
        char path[256], text[16384];
        /* Stacked devices count each of theirs. */
        IoLine lines[64];
        const IoLine *l;
        size_t n;

        (void) snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/io.stat", cgroup);
        if (file_read_at(AT_FDCWD, path, text, sizeof(text)) < 0)
                return false;
        n = cgroup_io_stat_parse(text, lines, ARRAY_SIZE(lines));
        l = io_line_find(lines, n, &d->line);
        /* No line yet: it has done nothing there. */
        *io = l ? (DrillIo) { l->v[IO_READ_BYTES] + l->v[IO_WRITE_BYTES], l->v[IO_READS] + l->v[IO_WRITES] } : (DrillIo) {};
        return true;
}
