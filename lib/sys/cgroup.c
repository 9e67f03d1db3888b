/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Cgroups as directories: which hierarchy this is, opening without escaping it, identity, and the four text
 * formats that cgroup v2 files have.
 *
 * Invariant: a parser gives a value only where the kernel wrote the whole of it; what is missing, cut off
 * or no number leaves the caller's variable alone, so that "unknown" never turns into zero. */

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/macro.h"
#include "base/units.h"
#include "sys/cgroup.h"

/* Names of cgroups are at most 255 bytes; a path in the kernel has no limit, the ones we handle have
 * this. */
#define CGROUP_PATH_MAX 4096

/* FILEID_KERNFS of the kernel's include/linux/exportfs.h: the handle is the 64-bit id and nothing else. */
#define HANDLE_TYPE_KERNFS 0xfe

int cgroup_hierarchy(const char *root, CgroupHierarchy *ret) {
        _cleanup_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct statfs sb;

        if (fd < 0) {
                if (errno != ENOENT)
                        return -errno;
                *ret = HIERARCHY_NONE;
                return 0;
        }
        if (fstatfs(fd, &sb) < 0)
                return -errno;
        if ((unsigned long) sb.f_type == CGROUP2_SUPER_MAGIC) {
                *ret = HIERARCHY_UNIFIED;
                return 0;
        }
        /* A fake tree has the files of a cgroup2 root on some other file system. */
        if (faccessat(fd, "cgroup.controllers", F_OK, 0) == 0) {
                *ret = HIERARCHY_UNIFIED;
                return 0;
        }
        /* systemd mounts the cgroup2 of a hybrid setup at unified/, before version 233 at systemd/. */
        if (faccessat(fd, "unified/cgroup.controllers", F_OK, 0) == 0 ||
            faccessat(fd, "systemd/cgroup.controllers", F_OK, 0) == 0)
                *ret = HIERARCHY_HYBRID;
        else if (faccessat(fd, "systemd", F_OK, 0) == 0 || faccessat(fd, "memory", F_OK, 0) == 0)
                *ret = HIERARCHY_LEGACY;
        else
                *ret = HIERARCHY_NONE;
        return 0;
}

static bool path_has_dotdot(const char *path) {
        for (const char *p = path; *p;) {
                size_t n = strcspn(p, "/");

                if (n == 2 && p[0] == '.' && p[1] == '.')
                        return true;
                p += n;
                p += strspn(p, "/");
        }
        return false;
}

int cgroup_open(int root_fd, const char *path) {
        int fd;

        if (path_has_dotdot(path) || strlen(path) >= CGROUP_PATH_MAX)
                return -EINVAL;
        path += strspn(path, "/");
        fd = openat(root_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENODEV || errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
        return fd;
}

int cgroup_id(int dir_fd, uint64_t *ret) {
        union {
                struct file_handle handle;
                char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } u = { .handle.handle_bytes = MAX_HANDLE_SZ };
        struct stat st;
        int mount_id;

        if (name_to_handle_at(dir_fd, "", &u.handle, &mount_id, AT_EMPTY_PATH) >= 0 &&
            u.handle.handle_type == HANDLE_TYPE_KERNFS && u.handle.handle_bytes == sizeof(uint64_t)) {
                memcpy(ret, u.room + offsetof(struct file_handle, f_handle), sizeof(uint64_t));
                return 0;
        }
        if (fstat(dir_fd, &st) < 0)
                return -errno;
        *ret = st.st_ino;
        return 0;
}

bool cgroup_is_alive(int dir_fd, uint64_t id) {
        struct stat st;
        uint64_t now;

        if (cgroup_id(dir_fd, &now) < 0 || now != id)
                return false;
        /* On cgroupfs a removed directory keeps its link count but finds no file any more; every cgroup,
         * the root included, has this one. Elsewhere the link count tells. */
        if (faccessat(dir_fd, "cgroup.controllers", F_OK, 0) < 0 && errno == ENOENT) {
                struct statfs sb;

                if (fstatfs(dir_fd, &sb) < 0 || (unsigned long) sb.f_type == CGROUP2_SUPER_MAGIC)
                        return false;
        }
        return fstat(dir_fd, &st) == 0 && st.st_nlink > 0;
}

/* Digits up to (not including) `end`; all of it must be digits. */
static bool number_parse(const char *p, const char *end, uint64_t *ret) {
        uint64_t v = 0;

        if (p == end)
                return false;
        for (; p < end; p++) {
                unsigned digit = (unsigned char) *p - '0';

                if (digit > 9 || v > (UINT64_MAX - digit) / 10)
                        return false;
                v = v * 10 + digit;
        }
        *ret = v;
        return true;
}

uint32_t cgroup_keyed_scan(const char *text, const char *const *keys, size_t n_keys, uint64_t *ret_values) {
        uint32_t found = 0;
        const char *end;

        for (const char *line = text; (end = strchr(line, '\n')); line = end + 1) {
                size_t n = strcspn(line, " \n");

                if (line[n] != ' ')
                        continue;
                for (size_t i = 0; i < n_keys; i++)
                        if (strncmp(line, keys[i], n) == 0 && keys[i][n] == 0) {
                                if (number_parse(line + n + 1, end, &ret_values[i]))
                                        found |= UINT32_C(1) << i;
                                break;
                        }
        }
        return found;
}

bool cgroup_keyed_get(const char *text, const char *key, uint64_t *ret) {
        return cgroup_keyed_scan(text, &key, 1, ret) != 0;
}

int cgroup_limit_parse(const char *text, uint64_t *ret) {
        const char *end = strchr(text, '\n');

        if (!end || end[1])
                return -EINVAL;
        if (end - text == 3 && strncmp(text, "max", 3) == 0) {
                *ret = LIMIT_MAX;
                return 0;
        }
        return number_parse(text, end, ret) ? 0 : -EINVAL;
}

/* "MAJOR:MINOR" */
static bool io_device_parse(const char *p, const char *end, IoLine *ret) {
        const char *colon = memchr(p, ':', (size_t) (end - p));
        uint64_t major, minor;

        if (!colon || !number_parse(p, colon, &major) || !number_parse(colon + 1, end, &minor) || major > UINT32_MAX ||
            minor > UINT32_MAX)
                return false;
        ret->major = (uint32_t) major;
        ret->minor = (uint32_t) minor;
        return true;
}

/* "MAJOR:MINOR KEY=VALUE KEY=VALUE …": all of keys[] must be there. Linux 5.15 to 5.18 leave out the newline after a device
 * that did nothing: of several the last one is meant. */
static bool io_line_parse(const char *line, const char *end, const char *const keys[static _IO_KEY_MAX], IoLine *ret) {
        IoLine l = {};
        unsigned found = 0;
        const char *p = memchr(line, ' ', (size_t) (end - line));

        if (!p || !io_device_parse(line, p, &l))
                return false;
        while (p < end) {
                const char *word = p + 1, *next = memchr(word, ' ', (size_t) (end - word));

                p = next ?: end;
                if (found == 0 && io_device_parse(word, p, &l))
                        continue;
                for (int i = 0; i < _IO_KEY_MAX; i++) {
                        size_t n = strlen(keys[i]);
                        const char *value = word + n + 1;

                        if ((size_t) (p - word) <= n || strncmp(word, keys[i], n) != 0 || word[n] != '=')
                                continue;
                        if (p - value == 3 && strncmp(value, "max", 3) == 0)
                                l.v[i] = LIMIT_MAX;
                        else if (!number_parse(value, p, &l.v[i]))
                                return false;
                        found |= 1u << i;
                }
        }
        if (found != (1u << _IO_KEY_MAX) - 1 || !io_line_used(&l))
                return false;
        *ret = l;
        return true;
}

static size_t io_lines_parse(const char *text, const char *const keys[static _IO_KEY_MAX], IoLine *ret, size_t size) {
        size_t n = 0;

        for (const char *line = text, *end; n < size && (end = strchr(line, '\n')); line = end + 1)
                n += io_line_parse(line, end, keys, &ret[n]);
        return n;
}

size_t cgroup_io_stat_parse(const char *text, IoLine *ret, size_t size) {
        static const char *const keys[_IO_KEY_MAX] = {
                [IO_READ_BYTES] = "rbytes",
                [IO_WRITE_BYTES] = "wbytes",
                [IO_READS] = "rios",
                [IO_WRITES] = "wios",
        };

        return io_lines_parse(text, keys, ret, size);
}

size_t cgroup_io_max_parse(const char *text, IoLine *ret, size_t size) {
        static const char *const keys[_IO_KEY_MAX] = {
                [IO_READ_BYTES] = "rbps",
                [IO_WRITE_BYTES] = "wbps",
                [IO_READS] = "riops",
                [IO_WRITES] = "wiops",
        };

        return io_lines_parse(text, keys, ret, size);
}
