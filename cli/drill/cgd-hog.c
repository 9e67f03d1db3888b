/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The neighbours: every shape in which a program takes memory, and the bystanders that only look as if
 * they did. One table of shapes; each shape is a function that is called until the time is up.
 *
 * The shapes of io use the disk instead: they read and write a file in --path= that --prepare made before, so that
 * making it is no part of what is measured, and begin at --at=, so that it is known when they did.
 *
 * Invariant: every shape ends. --seconds bounds its life by alarm(2), which children set for themselves,
 * and --total what it takes; at its total it idles and holds what it has. Files are unlinked as soon as
 * they are open, so that what was taken is given back when the process dies, however it dies; those that
 * --prepare made are their maker's to remove.
 *
 * A blocked step is not made up for: a program that was held goes on at its rate afterwards.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define TICK_USEC (10 * USEC_PER_MSEC)
#define TOO_LATE 76

static volatile sig_atomic_t enough;
static volatile uint64_t sink;

static void on_enough(int sig) {
        (void) sig;
        enough = 1;
}

typedef struct Hog {
        uint64_t rate, total, size;
        unsigned count, seconds;
        const char *path;
        bool prepare;           /* only make the file that the shape works on */
        uint64_t at;            /* CLOCK_MONOTONIC when to begin; 0 = at once */

        uint64_t taken;         /* bytes so far */
        uint64_t next;          /* when the next step is due */
        uint64_t random;
        uint8_t *area;
} Hog;

typedef struct Shape {
        const char *name;
        void (*run)(Hog *h);
        const char *help;
} Shape;

/* Wait for the next tick; how much may be taken in it, 0 once the total is reached or SIGUSR1 came. */
static uint64_t hog_step(Hog *h) {
        uint64_t now = now_usec(), step = h->rate * TICK_USEC / USEC_PER_SEC;

        if (h->next > now)
                (void) sleep_until(h->next);
        else
                h->next = now;
        h->next += TICK_USEC;
        if (step < PAGE_BYTES)
                step = PAGE_BYTES;
        step = step / PAGE_BYTES * PAGE_BYTES;
        if (enough)
                return 0;
        return h->taken >= h->total ? 0 : step < h->total - h->taken ? step : h->total - h->taken;
}

__attribute__((noreturn))
static void hog_idle(void) {
        for (;;)
                pause();
}

static void touch(uint8_t *p, uint64_t bytes, uint64_t *random) {
        /* At a limit the kernel may make each of these pages wait for seconds. */
        for (uint64_t i = 0; i + sizeof(uint64_t) <= bytes && !enough; i += PAGE_BYTES)
                *(uint64_t *) (p + i) = random_next(random);
}

static uint8_t *map_area(uint64_t bytes, int flags, int fd) {
        uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, fd, 0);

        if (p == MAP_FAILED)
                die("cannot map %llu bytes", (unsigned long long) bytes);
        return p;
}

static void grow_area(Hog *h) {
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += step)
                touch(h->area + h->taken, step, &h->random);
}

static void run_leak(Hog *h) {
        h->area = map_area(h->total, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        grow_area(h);
        hog_idle();
}

static void run_thp(Hog *h) {
        h->area = map_area(h->total, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        (void) madvise(h->area, h->total, MADV_HUGEPAGE);
        grow_area(h);
        hog_idle();
}

static void run_small(Hog *h) {
        h->area = map_area(h->total, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        (void) madvise(h->area, h->total, MADV_NOHUGEPAGE);
        grow_area(h);
        hog_idle();
}

/* What a program that forgets to free really does. */
static void run_heap(Hog *h) {
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += step)
                for (uint64_t i = 0; i < step; i += 2000) {
                        uint8_t *p = malloc(2000);

                        if (!p)
                                die("malloc");
                        memset(p, (int) i, 2000);
                        __asm__ volatile ("" : : "r" (p) : "memory");
                }
        hog_idle();
}

/* Grows and keeps using all of it, so that it refaults as a victim would. */
static void run_retouch(Hog *h) {
        h->area = map_area(h->total, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        for (;;) {
                uint64_t step = hog_step(h);

                touch(h->area + h->taken, step, &h->random);
                h->taken += step;
                for (unsigned i = 0; i < 64; i++)
                        h->area[random_next(&h->random) % h->taken]++;
        }
}

static void run_burst(Hog *h) {
        h->area = map_area(h->total, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        for (uint64_t at = now_usec(); h->taken + h->size <= h->total; at += USEC_PER_SEC) {
                (void) sleep_until(at);
                touch(h->area + h->taken, h->size, &h->random);
                h->taken += h->size;
        }
        hog_idle();
}

static void run_refuse(Hog *h) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        run_leak(h);
}

/* Children that leak a share each; the parent only waits. */
static void run_many(Hog *h) {
        h->rate /= h->count;
        h->total /= h->count;
        for (unsigned i = 0; i < h->count; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        die("fork");
                if (pid == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        alarm(h->seconds);
                        h->random += i;
                        run_leak(h);
                }
        }
        hog_idle();
}

/* Leaks by forking: each child takes its piece and stays. */
static void run_fork(Hog *h) {
        for (uint64_t at = now_usec(); h->taken + h->size <= h->total; h->taken += h->size) {
                pid_t pid = fork();

                if (pid < 0)
                        die("fork");
                if (pid == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        alarm(h->seconds);
                        touch(map_area(h->size, MAP_PRIVATE | MAP_ANONYMOUS, -1), h->size, &h->random);
                        hog_idle();
                }
                at += h->size * USEC_PER_SEC / h->rate;
                (void) sleep_until(at);
        }
        hog_idle();
}

static void *thread_leak(void *p) {
        run_leak(p);
        return NULL;
}

static void run_threads(Hog *h) {
        for (unsigned i = 0; i < h->count; i++) {
                Hog *own = malloc(sizeof(*own));
                pthread_t t;

                if (!own)
                        die("malloc");
                *own = *h;
                own->rate /= h->count;
                own->total /= h->count;
                if (pthread_create(&t, NULL, thread_leak, own) != 0)
                        die("pthread_create");
        }
        hog_idle();
}

static int open_unlinked(const char *directory, int flags) {
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);

        if (fd < 0)
                die("cannot make a file in %s", directory);
        return fd;
}

/* write() into a file without a name: on tmpfs it is memory, on a disk page cache that gets dirty. */
static void write_file(Hog *h, const char *directory) {
        static uint8_t chunk[64 << 10];
        int fd = open_unlinked(directory, 0);

        touch(chunk, sizeof(chunk), &h->random);
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += step)
                for (uint64_t done = 0; done < step;) {
                        size_t n = step - done < sizeof(chunk) ? (size_t) (step - done) : sizeof(chunk);
                        ssize_t w = write(fd, chunk, n);

                        if (w < 0 && errno == ENOSPC)
                                hog_idle();
                        if (w < 0)
                                die("cannot write into %s", directory);
                        done += (uint64_t) w;
                }
        hog_idle();
}

static void run_tmpfs(Hog *h) {
        write_file(h, h->path ? h->path : "/dev/shm");
}

static void run_file(Hog *h) {
        write_file(h, h->path ? h->path : "/data");
}

static void run_mmapfile(Hog *h) {
        int fd = open_unlinked(h->path ? h->path : "/data", 0);

        if (ftruncate(fd, (off_t) h->total) < 0)
                die("ftruncate");
        h->area = map_area(h->total, MAP_SHARED, fd);
        grow_area(h);
        hog_idle();
}

static void run_memfd(Hog *h) {
        int fd = memfd_create("cgd-hog", MFD_CLOEXEC);

        if (fd < 0 || ftruncate(fd, (off_t) h->total) < 0)
                die("memfd");
        h->area = map_area(h->total, MAP_SHARED, fd);
        grow_area(h);
        hog_idle();
}

static void run_sysv(Hog *h) {
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += h->size) {
                int id = shmget(IPC_PRIVATE, h->size, IPC_CREAT | 0600);
                uint8_t *p = id < 0 ? (void *) -1 : shmat(id, NULL, 0);

                if (p == (void *) -1)
                        die("shmget");
                (void) shmctl(id, IPC_RMID, NULL);
                touch(p, h->size, &h->random);
                h->next += (h->size - step) * USEC_PER_SEC / h->rate;
        }
        hog_idle();
}

static void run_pipe(Hog *h) {
        static uint8_t chunk[64 << 10];
        struct rlimit limit = { 65536, 65536 };

        /* As much as the limit on files and pipes allows; then the rest comes from the heap. */
        (void) setrlimit(RLIMIT_NOFILE, &limit);
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += step)
                for (uint64_t i = 0; i < step; i += sizeof(chunk)) {
                        int fd[2];

                        if (pipe2(fd, O_NONBLOCK) < 0)
                                run_heap(h);
                        (void) !write(fd[1], chunk, sizeof(chunk));
                }
        hog_idle();
}

static unsigned stack_grow(Hog *h) {
        volatile uint8_t frame[64 << 10];

        for (unsigned i = 0; i < sizeof(frame); i += PAGE_BYTES)
                frame[i] = (uint8_t) i;
        h->taken += sizeof(frame);
        if (h->taken >= h->total) {
                (void) pause();
                return 0;
        }
        if (h->taken % (1 << 20) == 0) {
                h->next = h->next ? h->next + (1 << 20) * USEC_PER_SEC / h->rate : now_usec();
                (void) sleep_until(h->next);
        }
        return stack_grow(h) + frame[h->taken % sizeof(frame)];
}

static void *thread_stack(void *p) {
        (void) stack_grow(p);
        return NULL;
}

static void run_stack(Hog *h) {
        pthread_attr_t attr;
        pthread_t t;

        pthread_attr_init(&attr);
        if (pthread_attr_setstacksize(&attr, h->total + (16 << 20)) != 0 ||
            pthread_create(&t, &attr, thread_stack, h) != 0)
                die("cannot make a thread with a stack of %llu bytes", (unsigned long long) h->total);
        hog_idle();
}

static void write_text(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                die("cannot write \"%s\" to %s", text, path);
        close(fd);
}

/* In a cgroup of its own below that of its service (Delegate=yes), as container runtimes do. */
static void run_child(Hog *h) {
        char line[4096] = "", top[4096 + 32], path[4096 + 96];
        FILE *f = fopen("/proc/self/cgroup", "re");

        if (!f || !fgets(line, sizeof(line), f) || strncmp(line, "0::", 3) != 0)
                die("not in a unified cgroup hierarchy");
        fclose(f);
        line[strcspn(line, "\n")] = '\0';
        snprintf(top, sizeof(top), "/sys/fs/cgroup%s", line + 3);
        for (const char *const *name = (const char *const []) { "hog", "calm", NULL }; *name; name++) {
                snprintf(path, sizeof(path), "%s/%s", top, *name);
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        die("cannot make %s", path);
        }
        snprintf(path, sizeof(path), "%s/hog/cgroup.procs", top);
        write_text(path, "0");
        snprintf(path, sizeof(path), "%s/cgroup.subtree_control", top);
        write_text(path, "+memory");
        run_leak(h);
}

/* Bystanders: they use memory, and take none. */
static void run_steady(Hog *h) {
        h->area = map_area(h->size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        for (uint64_t at = now_usec();; at += USEC_PER_SEC) {
                touch(h->area, h->size, &h->random);
                (void) sleep_until(at);
        }
}

static void run_heavy(Hog *h) {
        for (;;) {
                uint8_t *p = map_area(h->size, MAP_PRIVATE | MAP_ANONYMOUS, -1);

                for (uint64_t done = 0; done < h->size; done += h->rate / 100) {
                        touch(p + done, h->size - done < h->rate / 100 ? h->size - done : h->rate / 100, &h->random);
                        (void) hog_step(h);
                }
                munmap(p, h->size);
        }
}

static void run_cache(Hog *h) {
        static uint8_t chunk[64 << 10];
        int fd = open_unlinked(h->path ? h->path : "/data", 0);

        touch(chunk, sizeof(chunk), &h->random);
        for (uint64_t done = 0; done < h->size; done += sizeof(chunk))
                if (write(fd, chunk, sizeof(chunk)) < 0)
                        die("cannot write the file to read");
        (void) fsync(fd);
        h->total = UINT64_MAX;
        for (;;)
                for (uint64_t at = 0, step; at < h->size; at += step) {
                        step = hog_step(h);
                        for (uint64_t i = 0; i < step && at + i < h->size; i += sizeof(chunk))
                                if (pread(fd, chunk, sizeof(chunk), (off_t) (at + i)) < 0)
                                        die("cannot read");
                }
}

/* The file that an io shape works on. */
static void io_path(const Hog *h, char *buf, size_t size) {
        (void) snprintf(buf, size, "%s/cgd-hog.dat", h->path ? h->path : "/data");
}

/* Opens it, makes it first where it is not there in full; a disk in its place is read as it is. Does not return where only that was asked for. */
static int io_open(Hog *h, int flags) {
        static uint8_t chunk[1 << 20];
        char path[4096];
        int fd, access_mode;
        struct stat st;

        io_path(h, path, sizeof(path));
        /* The kernel may refuse to open a mounted disk for writing (CONFIG_BLK_DEV_WRITE_MOUNTED). */
        access_mode = stat(path, &st) == 0 && S_ISBLK(st.st_mode) ? O_RDONLY : O_RDWR | O_CREAT;
        fd = open(path, access_mode | O_CLOEXEC, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                die("cannot open %s", path);
        if (S_ISREG(st.st_mode) && (uint64_t) st.st_size < h->size) {
                touch(chunk, sizeof(chunk), &h->random);
                for (uint64_t done = 0; done < h->size; done += sizeof(chunk))
                        if (pwrite(fd, chunk, sizeof(chunk), (off_t) done) < 0)
                                die("cannot write %s", path);
                if (fsync(fd) < 0)
                        die("cannot sync %s", path);
        }
        if (h->prepare)
                exit(0);
        close(fd);
        fd = open(path, access_mode | O_CLOEXEC | flags, 0600);
        if (fd < 0)
                die("cannot open %s", path);
        if (h->at)
                (void) sleep_until(h->at);
        return fd;
}

typedef struct IoThread {
        const Hog *hog;
        int fd;
        unsigned index;
} IoThread;

/* Runs --count= threads of it and waits for the end that alarm(2) brings. */
__attribute__((noreturn))
static void io_threads(Hog *h, int fd, void *(*run)(void *)) {
        pthread_attr_t attr;

        (void) pthread_attr_init(&attr);
        (void) pthread_attr_setstacksize(&attr, 64 << 10);
        for (unsigned i = 0; i < h->count; i++) {
                IoThread *t = malloc(sizeof(*t));
                pthread_t id;

                if (!t)
                        die("malloc");
                *t = (IoThread) { h, fd, i };
                if (pthread_create(&id, &attr, run, t) != 0)
                        die("pthread_create");
        }
        hog_idle();
}

static void *thread_reads(void *p) {
        IoThread *t = p;
        uint64_t random = t->hog->random + t->index;
        void *block;

        if (posix_memalign(&block, PAGE_BYTES, PAGE_BYTES) != 0)
                die("no memory for a block");
        for (uint64_t next = now_usec();; next += PAGE_BYTES * USEC_PER_SEC * t->hog->count / t->hog->rate) {
                uint64_t now = now_usec();

                if (next > now)
                        (void) sleep_until(next);
                else
                        next = now;

                off_t at = (off_t) (random_next(&random) % (t->hog->size / PAGE_BYTES) * PAGE_BYTES);

                if (pread(t->fd, block, PAGE_BYTES, at) < 0)
                        die("cannot read");
        }
}

static void run_reads(Hog *h) {
        io_threads(h, io_open(h, O_DIRECT), thread_reads);
}

static void *thread_stream(void *p) {
        IoThread *t = p;
        uint64_t part = t->hog->size / t->hog->count / PAGE_BYTES * PAGE_BYTES;
        uint8_t *chunk = malloc(128 << 10);

        if (!chunk)
                die("malloc");
        /* Each goes round the whole file from its own place on, so that nobody lives on another's reading. */
        for (uint64_t at = t->index * part;; at += 128 << 10)
                if (pread(t->fd, chunk, 128 << 10, (off_t) (at % t->hog->size)) < 0)
                        die("cannot read");
}

static void run_stream(Hog *h) {
        io_threads(h, io_open(h, 0), thread_stream);
}

#define WRITER_CHUNK ((size_t) 256 << 10)

/* A file of its own, and what is written to it. */
static int writer_begin(const IoThread *t, uint8_t **ret_chunk) {
        int fd = open_unlinked(t->hog->path ? t->hog->path : "/data", 0);

        *ret_chunk = malloc(WRITER_CHUNK);
        if (!*ret_chunk)
                die("malloc");
        memset(*ret_chunk, 1, WRITER_CHUNK);
        return fd;
}

static void *thread_sync(void *p) {
        IoThread *t = p;
        uint8_t *chunk;
        int fd = writer_begin(t, &chunk);

        for (;;) {
                for (uint64_t at = 0; at < t->hog->size; at += WRITER_CHUNK)
                        if (pwrite(fd, chunk, WRITER_CHUNK, (off_t) at) < 0)
                                die("cannot write");
                /* New blocks each time round: a journal has nothing to do with those that are there. */
                if (fdatasync(fd) < 0 || ftruncate(fd, 0) < 0)
                        die("cannot sync");
        }
}

/* Over and over the same pages, for what is cut off a file before it is on the disk never gets there. */
static void *thread_dirty(void *p) {
        IoThread *t = p;
        uint8_t *chunk;
        int fd = writer_begin(t, &chunk);

        for (uint64_t at = 0;; at = (at + WRITER_CHUNK) % t->hog->size)
                if (pwrite(fd, chunk, WRITER_CHUNK, (off_t) at) < 0)
                        die("cannot write");
}

static void run_writers(Hog *h, void *(*run)(void *)) {
        if (h->prepare)
                exit(0);
        if (h->at)
                (void) sleep_until(h->at);
        io_threads(h, -1, run);
}

static void run_sync(Hog *h) {
        run_writers(h, thread_sync);
}

static void run_dirty(Hog *h) {
        run_writers(h, thread_dirty);
}

__attribute__((noreturn))
static void *thread_compute(void *p) {
        uint64_t random = ((const IoThread *) p)->hog->random + ((const IoThread *) p)->index;

        for (;;)
                sink = random_next(&random);
}

static void run_compute(Hog *h) {
        io_threads(h, -1, thread_compute);
}

/* As fast as each of them can. */
static void run_forks(Hog *h) {
        for (unsigned i = 1; i < h->count; i++)
                if (fork() == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        alarm(h->seconds);
                        break;
                }
        for (;;) {
                pid_t pid = fork();

                if (pid == 0)
                        _exit(0);
                /* At the limit on tasks there is none to wait for. */
                if (pid < 0 || waitpid(pid, NULL, 0) < 0)
                        (void) usleep(1000);
        }
}

/* Each name that is not there takes the kernel a dentry and the room for the name, some 512 bytes. */
static void run_names(Hog *h) {
        char path[4096];
        struct stat st;
        int n = snprintf(path, sizeof(path), "%s/", h->path ? h->path : "/data");

        memset(path + n, 'x', 255);
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += step)
                for (uint64_t i = 0; i < step / 512 && !enough; i++) {
                        (void) snprintf(path + n + 200, sizeof(path) - (size_t) n - 200, "%016llx",
                                        (unsigned long long) random_next(&h->random));
                        (void) stat(path, &st);
                }
        hog_idle();
}

/* Each empty file takes the kernel an inode and a dentry, some kilobyte; on a file system of its own, in memory, they are gone when
 * it dies. */
static void run_inodes(Hog *h) {
        uint64_t n = 0;
        char path[64];

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nr_inodes=0") < 0)
                die("cannot mount a file system in memory");
        for (uint64_t step; (step = hog_step(h)) > 0; h->taken += step)
                for (uint64_t i = 0; i < step >> 10 && !enough; i++) {
                        (void) snprintf(path, sizeof(path), "/dev/shm/%llu", (unsigned long long) n++);
                        if (mknod(path, S_IFREG | 0600, 0) < 0)
                                hog_idle();
                }
        hog_idle();
}

static void run_idle(Hog *h) {
        (void) h;
        hog_idle();
}

static const Shape shapes[] = {
        { "leak",     run_leak,     "anonymous memory, never given back" },
        { "small",    run_small,    "the same without huge pages" },
        { "thp",      run_thp,      "the same with huge pages asked for" },
        { "heap",     run_heap,     "malloc of 2,000 bytes a time" },
        { "slow",     run_leak,     "leak at 5 MB/s unless --rate= is given" },
        { "burst",    run_burst,    "--size= at once, each second" },
        { "retouch",  run_retouch,  "a leak that keeps using all it took" },
        { "refuse",   run_refuse,   "a leak that ignores SIGTERM" },
        { "many",     run_many,     "--count= processes that leak a share each" },
        { "threads",  run_threads,  "--count= threads that leak a share each" },
        { "fork",     run_fork,     "leaks by children that take --size= and stay" },
        { "child",    run_child,    "a leak in a child cgroup of its own (Delegate=yes)" },
        { "tmpfs",    run_tmpfs,    "a growing file in --path= (/dev/shm)" },
        { "file",     run_file,     "a growing file in --path= (/data): dirty page cache" },
        { "mmapfile", run_mmapfile, "a growing shared mapping of a file in --path= (/data)" },
        { "memfd",    run_memfd,    "a growing memfd" },
        { "sysv",     run_sysv,     "System V segments of --size=" },
        { "pipe",     run_pipe,     "full pipes: kernel memory" },
        { "stack",    run_stack,    "a recursion without end" },
        { "steady",   run_steady,   "bystander: touches the same --size= each second" },
        { "heavy",    run_heavy,    "bystander: allocates --size= and frees it, over and over" },
        { "cache",    run_cache,    "bystander: reads a file of --size= in --path= (/data) over and over" },
        { "reads",    run_reads,    "--count= threads of direct 4 KiB reads in a file of --size=" },
        { "stream",   run_stream,   "--count= threads that read a file of --size= through the page cache" },
        { "sync",     run_sync,     "--count= threads that each write --size= and fdatasync it, over and over" },
        { "dirty",    run_dirty,    "--count= threads that each write --size= over and over, and sync nothing" },
        { "inodes",   run_inodes,   "empty files without end: kernel memory" },
        { "names",    run_names,    "names looked up in --path= (/data) that are not there: kernel memory" },
        { "compute",  run_compute,  "bystander: --count= threads that compute without end" },
        { "forks",    run_forks,    "bystander: --count= processes that start others, which end at once" },
        { "idle",     run_idle,     "bystander: nothing" },
};

static void usage(FILE *f) {
        fputs("cgd-hog SHAPE [OPTION...]\n"
              "Takes memory or the disk, bounded in size and time.\n\n"
              "  --rate=SIZE     bytes a second (default 100M)\n"
              "  --total=SIZE    then idle, holding it (default 4G)\n"
              "  --seconds=N     then end (default 120)\n"
              "  --delay=N       seconds of calm before\n"
              "  --size=SIZE     of a piece (default 16M)\n"
              "  --count=N       of processes or threads (default 20)\n"
              "  --path=DIR      where files are made\n"
              "  --at=USEC       io shapes: begin at that time of CLOCK_MONOTONIC\n"
              "  --end=USEC      end by that time, within a second; started after it: do nothing and exit 76\n"
              "  --prepare       io shapes: make the file and end\n\n", f);
        for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
                fprintf(f, "  %-10s %s\n", shapes[i].name, shapes[i].help);
}

int main(int argc, char **argv) {
        Hog h = { .rate = UINT64_C(100) << 20, .total = UINT64_C(4) << 30, .size = UINT64_C(16) << 20,
                  .count = 20, .seconds = 120, .random = 88172645463325252u };
        const Shape *shape = NULL;
        unsigned delay = 0;
        uint64_t end = 0;

        for (size_t i = 0; argc > 1 && i < sizeof(shapes) / sizeof(*shapes); i++)
                if (strcmp(argv[1], shapes[i].name) == 0)
                        shape = shapes + i;
        if (!shape) {
                bool asked = argc > 1 && strcmp(argv[1], "--help") == 0;

                usage(asked ? stdout : stderr);
                return asked ? 0 : 2;
        }
        if (strcmp(shape->name, "slow") == 0)
                h.rate = UINT64_C(5) << 20;
        for (int i = 2; i < argc; i++) {
                const char *s;

                if ((s = option(argv[i], "rate")))
                        h.rate = parse_size(s);
                else if ((s = option(argv[i], "total")))
                        h.total = parse_size(s);
                else if ((s = option(argv[i], "size")))
                        h.size = parse_size(s) / PAGE_BYTES * PAGE_BYTES;
                else if ((s = option(argv[i], "count")))
                        h.count = (unsigned) parse_size(s);
                else if ((s = option(argv[i], "seconds")))
                        h.seconds = (unsigned) parse_size(s);
                else if ((s = option(argv[i], "delay")))
                        delay = (unsigned) parse_size(s);
                else if ((s = option(argv[i], "path")))
                        h.path = s;
                else if ((s = option(argv[i], "at")))
                        h.at = parse_size(s);
                else if ((s = option(argv[i], "end")))
                        end = parse_size(s);
                else if (strcmp(argv[i], "--prepare") == 0)
                        h.prepare = true;
                else {
                        usage(stderr);
                        return 2;
                }
        }
        if (h.rate < PAGE_BYTES || h.size < PAGE_BYTES || h.count == 0 || h.count > 1000 || h.seconds == 0) {
                fputs("cgd-hog: --rate and --size are at least 4K, --count 1 to 1000, --seconds at least 1\n", stderr);
                return 2;
        }
        /* systemd starts who ends by alarm(2) again where it was told to: so it knows when to stay away, and ends by then. */
        if (end) {
                uint64_t now = now_usec(), left;

                if (now >= end)
                        return TOO_LATE;
                left = (end - now + USEC_PER_SEC - 1) / USEC_PER_SEC;
                h.seconds = left < h.seconds ? (unsigned) left : h.seconds;
        }
        signal(SIGUSR1, on_enough);
        if (shape->run == run_fork)
                signal(SIGCHLD, SIG_IGN);
        alarm(h.seconds + delay);
        if (delay)
                (void) sleep_until(now_usec() + delay * USEC_PER_SEC);
        shape->run(&h);
        return 0;
}
