/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pressure stall information. See psi.h.
 *
 * Invariant: of a pressure file only total= is used. The kernel's averages lag by up to 2 s and by their own
 * window; a difference of two totals is exact over exactly the time between two reads.
 * Left out on purpose: who polls the trigger, and when it is closed (that blocks). */

#include <fcntl.h>
#include <inttypes.h>

#include "base/macro.h"
#include "base/units.h"
#include "sys/psi.h"

/* kernel/sched/psi.c: WINDOW_MIN_US, WINDOW_MAX_US, and the granularity for the unprivileged. */
#define WINDOW_MIN_USEC (UINT64_C(500) * USEC_PER_MSEC)
#define WINDOW_MAX_USEC (UINT64_C(10) * USEC_PER_SEC)
#define WINDOW_COARSE_USEC (UINT64_C(2) * USEC_PER_SEC)

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n" */
static bool line_total(const char *text, const char *kind, uint64_t *ret) {
        for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
                const char *p = startswith(line, kind);
                uint64_t v = 0;

                if (!p || *p != ' ')
                        continue;
                p = strstr(p, " total=");
                if (!p || p >= end)
                        return false;
                p += strlen(" total=");
                if (p == end)
                        return false;
                for (; p < end && *p != ' '; p++) {
                        unsigned digit = (unsigned char) *p - '0';

                        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
                                return false;
                        v = v * 10 + digit;
                }
                *ret = v;
                return true;
        }
        return false;
}

int psi_parse(const char *text, PsiTotals *ret) {
        PsiTotals t = {};

        t.have_some = line_total(text, "some", &t.some_usec);
        t.have_full = line_total(text, "full", &t.full_usec);
        if (!t.have_some && !t.have_full)
                return -EINVAL;
        *ret = t;
        return 0;
}

void psi_coarsen(uint64_t *threshold_usec, uint64_t *window_usec) {
        uint64_t window = (*window_usec + WINDOW_COARSE_USEC - 1) / WINDOW_COARSE_USEC * WINDOW_COARSE_USEC;

        window = CLAMP(window, WINDOW_COARSE_USEC, WINDOW_MAX_USEC);
        *threshold_usec = CLAMP(mul_div_u64(*threshold_usec, window, *window_usec), UINT64_C(1), window);
        *window_usec = window;
}

static int trigger_write(int fd, bool full, uint64_t threshold_usec, uint64_t window_usec) {
        char buf[64];
        int n = snprintf(buf, sizeof buf, "%s %" PRIu64 " %" PRIu64, full ? "full" : "some", threshold_usec,
                         window_usec);

        /* With the NUL: psi_write() of older kernels overwrites the last byte of what it gets. */
        return write(fd, buf, (size_t) n + 1) < 0 ? -errno : 0;
}

int psi_trigger_open(int dir_fd, const char *name, bool full, uint64_t threshold_usec, uint64_t window_usec,
                     int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;
        PsiTriggerResult result = PSI_TRIGGER_FULL;
        int r;

        if (window_usec < WINDOW_MIN_USEC || window_usec > WINDOW_MAX_USEC || threshold_usec == 0 ||
            threshold_usec > window_usec)
                return -EINVAL;

        fd = openat(dir_fd, name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                switch (errno) {
                case EPERM:
                case EACCES:
                case EROFS:
                        return PSI_TRIGGER_REFUSED;
                case EOPNOTSUPP:
                        return PSI_TRIGGER_OFF;
                case ENOENT:
                        /* A cgroup that is there but lacks the file: PSI is off, in the kernel or for it. */
                        if (*name != '/' && faccessat(dir_fd, "cgroup.controllers", F_OK, 0) < 0)
                                return PSI_TRIGGER_GONE;
                        return PSI_TRIGGER_OFF;
                case ENODEV:
                        return PSI_TRIGGER_GONE;
                default:
                        return -errno;
                }

        r = trigger_write(fd, full, threshold_usec, window_usec);
        if (r == -EINVAL && window_usec % WINDOW_COARSE_USEC != 0) {
                /* The values are right, so it is the right to short windows that is missing. */
                psi_coarsen(&threshold_usec, &window_usec);
                r = trigger_write(fd, full, threshold_usec, window_usec);
                result = PSI_TRIGGER_COARSE;
        }
        switch (r) {
        case 0:
                *ret_fd = TAKE_FD(fd);
                return result;
        case -EOPNOTSUPP:
                return PSI_TRIGGER_OFF;
        case -ENODEV:
                return PSI_TRIGGER_GONE;
        case -ENOMEM:
                return r;
        default:
                return PSI_TRIGGER_REFUSED;
        }
}
