/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Small kernel and state files, relative to a held directory fd.
 *
 * Invariant: a caller gets the whole text or an error, never a part of it; a write is one write().
 * Why: cgroup files take a value in one piece, and a truncated read would become a wrong number further on.
 * Nothing here allocates, so that the kill path may use it. Left out on purpose: retries other than EINTR,
 * and any meaning of the text beyond a single number. */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/types.h>

#include "base/macro.h"
#include "base/units.h"
#include "sys/small-file.h"

/* "18446744073709551615", a newline, NUL, and room to notice that there is more. */
#define LIMIT_TEXT_MAX 32

int file_read_at(int dir_fd, const char *name, char *buf, size_t size) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

        if (fd < 0)
                return -errno;
        return file_pread(fd, buf, size);
}

int file_pread(int fd, char *buf, size_t size) {
        size_t n = 0;

        if (size < 1)
                return -ENOBUFS;
        for (;;) {
                /* The last byte is for the NUL; reading into it tells "just fits" from "does not fit". */
                ssize_t k = pread(fd, buf + n, size - n, (off_t) n);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t) k;
                if (n >= size)
                        return -ENOBUFS;
        }
        buf[n] = 0;
        return (int) n;
}

int file_write_at(int dir_fd, const char *name, const char *text) {
        /* O_TRUNC means nothing to the kernel's own files and lets a fake tree behave like them. */
        _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
        size_t length = strlen(text);
        ssize_t k;

        if (fd < 0)
                return -errno;
        do
                k = write(fd, text, length);
        while (k < 0 && errno == EINTR);
        if (k < 0)
                return -errno;
        return (size_t) k == length ? 0 : -EIO;
}

int file_read_limit_at(int dir_fd, const char *name, uint64_t *ret) {
        char buf[LIMIT_TEXT_MAX];
        int r = file_read_at(dir_fd, name, buf, sizeof buf);
        uint64_t v = 0;
        const char *p = buf;

        if (r == -ENOBUFS)
                return -EINVAL;
        if (r < 0)
                return r;
        if (r > 0 && buf[r - 1] == '\n')
                buf[--r] = 0;
        if (strlen(buf) != (size_t) r)
                return -EINVAL; /* a NUL byte inside */
        if (streq(buf, "max")) {
                *ret = LIMIT_MAX;
                return 0;
        }
        if (!*p)
                return -EINVAL;
        for (; *p; p++) {
                unsigned digit = (unsigned char) *p - '0';

                if (digit > 9 || v > (UINT64_MAX - digit) / 10)
                        return -EINVAL;
                v = v * 10 + digit;
        }
        *ret = v;
        return 0;
}

int file_write_limit_at(int dir_fd, const char *name, uint64_t value) {
        char buf[LIMIT_TEXT_MAX];

        if (value == LIMIT_MAX)
                return file_write_at(dir_fd, name, "max\n");
        (void) snprintf(buf, sizeof buf, "%" PRIu64 "\n", value);
        return file_write_at(dir_fd, name, buf);
}

int file_lock_at(int dir_fd, const char *name) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return -errno;
        if (fcntl(fd, F_OFD_SETLK, &(struct flock) { .l_type = F_WRLCK, .l_whence = SEEK_SET }) < 0)
                return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
        return TAKE_FD(fd);
}
