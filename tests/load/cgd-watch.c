/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A witness that owes cgd nothing: every 100 ms it looks at the limits of every cgroup and writes down
 * each change with its time, so that a test can prove that all was given back and no bystander touched.
 * Beside that, one line a period with the host's memory, swap and stall times.
 *
 * Its fds stay open and its memory is locked, because it runs while memory is short; new cgroups are
 * found by walking the tree again, every fifth period. A cgroup that lives less than that is missed.
 * What limits a new one already when it is found is a change where systemd has no setting for it. Its
 * memory.high, memory.max and io.max may be its unit's own, which nobody can tell here, and so have no old
 * value.
 * --except= leaves out one cgroup and all below it: a look at 10,000 takes seconds.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"

#define TOP "/sys/fs/cgroup"
/* io.max has a line a device */
#define VALUE_BYTES 192
#define RESCAN_PERIODS 5

/* What a file holds without a limit, and whether systemd fills it from a unit's settings. Source:
 * systemd.resource-control(5). */
static const struct {
        const char *name, *plain;
        bool of_unit;
} files[] = {
        { "memory.high", "max", true },
        { "memory.swap.high", "max", false },
        { "memory.max", "max", true },
        { "cgroup.freeze", "0", false },
        { "io.max", "", true },
};
#define N_FILES (sizeof(files) / sizeof(*files))

typedef struct Cgroup {
        char *path;             /* below TOP, with a leading slash; "" is the root */
        uint64_t id;            /* the inode: a path may be used again */
        int fd[N_FILES];
        char value[N_FILES][VALUE_BYTES];
        bool seen;
} Cgroup;

static Cgroup *cgroups;
static size_t n_cgroups, max_cgroups;
/* All that were there at the start are known. */
static bool begun;
static FILE *out;
static const char *except;
static volatile sig_atomic_t stopped;

static void on_signal(int sig) {
        (void) sig;
        stopped = 1;
}

static void print_string(const char *s) {
        fputc('"', out);
        for (; *s; s++)
                if (*s == '"' || *s == '\\')
                        fprintf(out, "\\%c", *s);
                else if ((unsigned char) *s < 0x20 || (unsigned char) *s >= 0x7f)
                        fprintf(out, "\\u%04x", (unsigned char) *s);
                else
                        fputc(*s, out);
        fputc('"', out);
}

static void print_event(uint64_t now, const char *path, const char *event) {
        fprintf(out, "{\"t\":%llu,\"path\":", (unsigned long long) now);
        print_string(path);
        fprintf(out, ",\"event\":\"%s\"}\n", event);
}

static void print_change(uint64_t now, const char *path, const char *file, const char *old, const char *new) {
        fprintf(out, "{\"t\":%llu,\"path\":", (unsigned long long) now);
        print_string(path);
        fprintf(out, ",\"file\":\"%s\",\"old\":", file);
        if (old)
                print_string(old);
        else
                fputs("null", out);
        fputs(",\"new\":", out);
        print_string(new);
        fputs("}\n", out);
}

/* A file's lines, with a semicolon between; false if it is gone. io.max without a limit is empty. */
static bool read_value(int fd, char value[VALUE_BYTES]) {
        ssize_t n = pread(fd, value, VALUE_BYTES - 1, 0);

        if (n < 0)
                return false;
        value[n] = '\0';
        for (char *p = value; (p = strchr(p, '\n'));)
                *p = p[1] ? ';' : '\0';
        return true;
}

/* What is not there yet, for systemd enables a controller a moment after the cgroup is made. */
static void open_files(Cgroup *c, int dir, uint64_t now) {
        for (size_t i = 0; i < N_FILES; i++) {
                if (c->fd[i] >= 0)
                        continue;
                c->fd[i] = openat(dir, files[i].name, O_RDONLY | O_CLOEXEC);
                if (c->fd[i] >= 0 && read_value(c->fd[i], c->value[i]) && strcmp(c->value[i], files[i].plain) != 0)
                        print_change(now, c->path, files[i].name, begun && !files[i].of_unit ? files[i].plain : NULL, c->value[i]);
        }
}

static void cgroup_add(int dir, const char *path, uint64_t id, uint64_t now) {
        Cgroup *c;

        if (n_cgroups == max_cgroups) {
                max_cgroups = max_cgroups ? 2 * max_cgroups : 256;
                cgroups = realloc(cgroups, max_cgroups * sizeof(*cgroups));
                if (!cgroups)
                        die("realloc");
        }
        c = cgroups + n_cgroups++;
        *c = (Cgroup) { .path = strdup(path), .id = id, .seen = true };
        if (!c->path)
                die("strdup");
        print_event(now, path, "new");
        for (size_t i = 0; i < N_FILES; i++)
                c->fd[i] = -1;
        open_files(c, dir, now);
}

static void walk(int dir, const char *path, uint64_t now) {
        struct stat st;
        struct dirent *de;
        size_t i;
        DIR *d;

        if ((except && strcmp(path, except) == 0) || fstat(dir, &st) < 0) {
                close(dir);
                return;
        }
        for (i = 0; i < n_cgroups; i++)
                if (cgroups[i].id == st.st_ino && strcmp(cgroups[i].path, path) == 0)
                        break;
        if (i < n_cgroups) {
                cgroups[i].seen = true;
                open_files(cgroups + i, dir, now);
        } else
                cgroup_add(dir, path, st.st_ino, now);

        d = fdopendir(dir);
        if (!d) {
                close(dir);
                return;
        }
        while ((de = readdir(d))) {
                char below[4096];
                int fd;

                if (de->d_type != DT_DIR || strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
                        continue;
                if (snprintf(below, sizeof(below), "%s/%s", path, de->d_name) >= (int) sizeof(below))
                        continue;
                fd = openat(dir, de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd >= 0)
                        walk(fd, below, now);
        }
        closedir(d);
}

static void rescan(uint64_t now) {
        int fd = open(TOP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        size_t kept = 0;

        if (fd < 0)
                die("cannot open " TOP);
        for (size_t i = 0; i < n_cgroups; i++)
                cgroups[i].seen = false;
        walk(fd, "", now);
        for (size_t i = 0; i < n_cgroups; i++) {
                if (cgroups[i].seen) {
                        cgroups[kept++] = cgroups[i];
                        continue;
                }
                print_event(now, cgroups[i].path, "gone");
                for (size_t j = 0; j < N_FILES; j++)
                        if (cgroups[i].fd[j] >= 0)
                                close(cgroups[i].fd[j]);
                free(cgroups[i].path);
        }
        n_cgroups = kept;
        begun = true;
}

static void look(uint64_t now) {
        for (size_t i = 0; i < n_cgroups; i++)
                for (size_t j = 0; j < N_FILES; j++) {
                        char value[VALUE_BYTES];

                        if (cgroups[i].fd[j] < 0)
                                continue;
                        if (!read_value(cgroups[i].fd[j], value)) {
                                /* Its controller was disabled, and may come back as another file. */
                                close(cgroups[i].fd[j]);
                                cgroups[i].fd[j] = -1;
                                continue;
                        }
                        if (strcmp(value, cgroups[i].value[j]) == 0)
                                continue;
                        print_change(now, cgroups[i].path, files[j].name, cgroups[i].value[j], value);
                        memcpy(cgroups[i].value[j], value, VALUE_BYTES);
                }
}

static char *read_whole(int fd, char *buffer, size_t bytes) {
        ssize_t n = pread(fd, buffer, bytes - 1, 0);

        buffer[n > 0 ? n : 0] = '\0';
        return buffer;
}

/* The number after the given word; 0 if there is none. */
static unsigned long long number_after(const char *text, const char *word) {
        const char *p = strstr(text, word);

        return p ? strtoull(p + strlen(word), NULL, 10) : 0;
}

static void print_pressure(const char *name, const char *text) {
        const char *full = strstr(text, "full");

        fprintf(out, ",\"%s_some_usec\":%llu,\"%s_full_usec\":%llu", name, number_after(text, "total="),
                name, full ? number_after(full, "total=") : 0);
}

static void sample(uint64_t now, const char *follow) {
        static int meminfo = -1, memory = -1, io = -1;
        char text[4096];

        if (meminfo < 0) {
                meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
                memory = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
                io = open("/proc/pressure/io", O_RDONLY | O_CLOEXEC);
        }
        read_whole(meminfo, text, sizeof(text));
        fprintf(out, "{\"t\":%llu,\"avail_kb\":%llu,\"swapfree_kb\":%llu", (unsigned long long) now,
                number_after(text, "MemAvailable:"), number_after(text, "SwapFree:"));
        print_pressure("memory", read_whole(memory, text, sizeof(text)));
        print_pressure("io", read_whole(io, text, sizeof(text)));
        if (follow) {
                char path[4096];
                int fd;

                snprintf(path, sizeof(path), TOP "/%s/memory.current", follow);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd >= 0) {
                        fprintf(out, ",\"follow_bytes\":%llu", strtoull(read_whole(fd, text, sizeof(text)), NULL, 10));
                        close(fd);
                }
                snprintf(path, sizeof(path), TOP "/%s/memory.swap.current", follow);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd >= 0) {
                        fprintf(out, ",\"follow_swap\":%llu", strtoull(read_whole(fd, text, sizeof(text)), NULL, 10));
                        close(fd);
                }
        }
        fputs("}\n", out);
}

int main(int argc, char **argv) {
        struct sigaction sa = { .sa_handler = on_signal };
        struct rlimit limit = { 65536, 65536 };
        uint64_t period = 100 * USEC_PER_MSEC, next;
        const char *output = NULL, *follow = NULL;

        for (int i = 1; i < argc; i++) {
                const char *s;

                if ((s = option(argv[i], "output")))
                        output = s;
                else if ((s = option(argv[i], "follow")))
                        follow = s;
                else if ((s = option(argv[i], "except")))
                        except = s;
                else if ((s = option(argv[i], "period")))
                        period = parse_size(s) * USEC_PER_MSEC;
                else {
                        fputs("cgd-watch [--output=PATH] [--period=MSEC] [--follow=CGROUP] [--except=CGROUP]\n"
                              "Writes every change of a cgroup's limits as a JSON line.\n", stderr);
                        return 2;
                }
        }
        out = output ? fopen(output, "we") : stdout;
        if (!out || period == 0)
                die("cannot write %s", output ? output : "with no period");
        sigaction(SIGTERM, &sa, NULL);
        sigaction(SIGINT, &sa, NULL);
        (void) setrlimit(RLIMIT_NOFILE, &limit);
        if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
                fputs("cgd-watch: cannot lock its memory, going on\n", stderr);

        next = now_usec();
        for (unsigned n = 0; !stopped; n++) {
                uint64_t now = now_usec();

                if (n % RESCAN_PERIODS == 0)
                        rescan(now);
                look(now);
                sample(now, follow);
                if (fflush(out) != 0)
                        die("cannot write");
                next += period;
                if (next < now)
                        next = now + period;
                (void) sleep_until(next);
        }
        return 0;
}
