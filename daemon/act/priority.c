/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Io priority. What io.max allows in a tenth of a second it lets through at once (the kernel's block/blk-throttle.c), and all
 * of that stands in the disk's queue before the next request of anybody else. The schedulers mq-deadline and bfq serve the
 * idle class last, so there it stands behind, and a cap can leave more. Without a scheduler ("none") nobody looks at it. The
 * kernel has it by cgroup as well (io.prio.class), which Debian does not build.
 *
 * Only threads that never had a priority get one, and it carries a mark: the level, which the kernel ignores in that class.
 * So what is ours can be told by looking, and nothing has to be written down. Threads that start inherit it with the mark, and
 * take it along where they are moved (a container's first process, a login's session): so once nobody is capped the
 * mark is looked for everywhere.
 *
 * Source: ioprio_set(2), include/uapi/linux/ioprio.h. */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "act/priority.h"
#include "act/worker.h"
#include "base/macro.h"
#include "base/units.h"

#define IOPRIO_WHO_PROCESS 1
#define NOBODYS 0
/* ionice(1) uses level 7 with this class, systemd 4, and most others 0. */
#define OURS ((3 << 13) | 5)
/* Threads that start meanwhile inherit of one that was not reached yet. */
#define ROUNDS_MAX 4
#define DEPTH_MAX 16
/* For one cgroup, which may have as many below it as their owner likes: about 5,000 of them. Giving back waits for it, and the
 * end does for each lease. Whoever was not reached is looked for when nobody is capped. */
#define SET_USEC (250 * USEC_PER_MSEC)

/* How many were changed. A thread that has ended meanwhile, or has none of the two, is passed over. */
static unsigned change_threads(int dir_fd, int from, int to) {
        int fd = openat(dir_fd, "cgroup.threads", O_RDONLY | O_CLOEXEC | O_NOCTTY);
        FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
        unsigned changed = 0;
        int tid;

        if (!f) {
                (void) safe_close(fd);
                return 0;
        }
        while (fscanf(f, "%d", &tid) == 1)
                changed += tid > 0 && syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid) == from &&
                           syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, to) == 0;
        (void) fclose(f);
        return changed;
}

static unsigned change_below(int dir_fd, int from, int to, unsigned depth, const atomic_bool *cancelled,
                             uint64_t deadline_usec) {
        unsigned changed = change_threads(dir_fd, from, to);
        int copy = depth < DEPTH_MAX ? openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        DIR *d = copy < 0 ? NULL : fdopendir(copy);
        const struct dirent *e;

        if (!d) {
                (void) safe_close(copy);
                return changed;
        }
        while (!(cancelled && atomic_load(cancelled)) && now_monotonic_usec() < deadline_usec && (e = readdir(d))) {
                _cleanup_close_ int child = -EBADF;

                if (e->d_type != DT_DIR || e->d_name[0] == '.')
                        continue;
                child = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (child >= 0)
                        changed += change_below(child, from, to, depth + 1, cancelled, deadline_usec);
        }
        (void) closedir(d);
        return changed;
}

void io_priority_set(int dir_fd, bool idle) {
        uint64_t deadline = now_monotonic_usec() + SET_USEC;
        unsigned rounds = 0;

        while (change_below(dir_fd, idle ? NOBODYS : OURS, idle ? OURS : NOBODYS, 0, NULL, deadline) > 0 &&
               ++rounds < ROUNDS_MAX)
                ;
}

void io_priority_clear_all(int root_fd, const atomic_bool *cancelled, uint64_t deadline_usec) {
        unsigned rounds = 0;

        while (change_below(root_fd, OURS, NOBODYS, 0, cancelled, deadline_usec) > 0 && ++rounds < ROUNDS_MAX)
                ;
}
