/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service whose wellbeing is measured: requests in an open loop, one thread.
 *
 * Request k is planned at t0 + k/rate. A slot whose time passed while the worker was blocked is lost,
 * not queued: someone who was waiting has gone. So "kept" counts the seconds in which it was of no use
 * to anyone, and the longest silence is the gap between two completions, the ends included.
 *
 * Each request touches random pages of a working set of anonymous memory and of a file, the middle more
 * often than the ends, as real sets are. With --disk it also reads one random block past the page cache,
 * and syncs a small write every tenth time.
 *
 * The log of completions is locked in memory and written out at the end: measuring must not stall. The
 * rest of the program is not locked; being paged out is part of what happens to a service.
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"

#define BUCKET_MSEC 100U

typedef struct Completion {
        uint32_t at_usec10;     /* since t0, in units of 10 usec: 11 hours fit */
        uint32_t latency_usec;  /* since the planned time */
} Completion;

typedef struct Victim {
        uint64_t anon_bytes, file_bytes, disk_bytes;
        const char *file, *disk, *output;
        unsigned rate, touch, seconds;

        uint8_t *anon;
        const uint8_t *mapped;
        int disk_fd, sync_fd;
        uint8_t *block;
        uint64_t random;

        Completion *log;
        size_t n_log, max_log;
} Victim;

static volatile sig_atomic_t stopped;
static volatile uint8_t sink;

static void on_signal(int sig) {
        (void) sig;
        stopped = 1;
}

/* Type=notify without libsystemd: one datagram. */
static void notify_ready(void) {
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd;

        if (!path || strlen(path) >= sizeof(sa.sun_path))
                return;
        memcpy(sa.sun_path, path, strlen(path));
        if (sa.sun_path[0] == '@')
                sa.sun_path[0] = '\0';
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                die("socket");
        if (sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *) &sa,
                   (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
                die("cannot notify %s", path);
        close(fd);
}

/* A file of that size with its blocks written, for a hole would cost no disk. */
static int file_make(const char *path, uint64_t bytes, int flags) {
        static uint8_t chunk[1 << 20];
        struct stat st;
        int fd;

        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                die("cannot open %s", path);
        if ((uint64_t) st.st_size != bytes) {
                if (ftruncate(fd, 0) < 0)
                        die("cannot empty %s", path);
                for (size_t i = 0; i < sizeof(chunk); i++)
                        chunk[i] = (uint8_t) (i * 131 >> 3);
                for (uint64_t done = 0; done < bytes; done += sizeof(chunk)) {
                        size_t n = bytes - done < sizeof(chunk) ? (size_t) (bytes - done) : sizeof(chunk);

                        if (write(fd, chunk, n) != (ssize_t) n)
                                die("cannot write %s", path);
                }
                if (fsync(fd) < 0)
                        die("cannot sync %s", path);
        }
        close(fd);
        fd = open(path, O_RDWR | O_CLOEXEC | flags);
        if (fd < 0)
                die("cannot open %s", path);
        return fd;
}

static void victim_warm(Victim *v) {
        if (v->anon_bytes > 0) {
                v->anon = mmap(NULL, v->anon_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (v->anon == MAP_FAILED)
                        die("cannot map %llu bytes", (unsigned long long) v->anon_bytes);
                /* A huge page would be one fault and one unit of reclaim; a heap that grew bit by bit is not. */
                (void) madvise(v->anon, v->anon_bytes, MADV_NOHUGEPAGE);
                for (uint64_t i = 0; i < v->anon_bytes; i += PAGE_BYTES)
                        *(uint64_t *) (v->anon + i) = random_next(&v->random);
        }
        if (v->file) {
                int fd = file_make(v->file, v->file_bytes, 0);

                v->mapped = mmap(NULL, v->file_bytes, PROT_READ, MAP_SHARED, fd, 0);
                if (v->mapped == MAP_FAILED)
                        die("cannot map %s", v->file);
                for (uint64_t i = 0; i < v->file_bytes; i += PAGE_BYTES)
                        sink = v->mapped[i];
                close(fd);
        }
        if (v->disk) {
                char path[4096];

                v->disk_fd = file_make(v->disk, v->disk_bytes, O_DIRECT);
                snprintf(path, sizeof(path), "%s.sync", v->disk);
                v->sync_fd = file_make(path, PAGE_BYTES, 0);
                if (posix_memalign((void **) &v->block, PAGE_BYTES, PAGE_BYTES) != 0)
                        die("no memory for a block");
        }
        v->log = mmap(NULL, v->max_log * sizeof(Completion), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (v->log == MAP_FAILED || mlock(v->log, v->max_log * sizeof(Completion)) < 0)
                die("cannot lock the log in memory");
}

/* The mean of four even draws is nearly normal, and never outside the set. */
static uint64_t page_pick(Victim *v, uint64_t bytes) {
        uint64_t r = random_next(&v->random), pages = bytes / PAGE_BYTES;
        uint64_t sum = (r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48);

        return sum * pages / (4 * UINT64_C(65536)) * PAGE_BYTES;
}

static void victim_serve(Victim *v, uint64_t k) {
        uint64_t all = v->anon_bytes + v->file_bytes;

        for (unsigned i = 0; all > 0 && i < v->touch; i++)
                if (random_next(&v->random) % all < v->anon_bytes)
                        v->anon[page_pick(v, v->anon_bytes)]++;
                else
                        sink = v->mapped[page_pick(v, v->file_bytes)];
        if (v->disk) {
                off_t at = (off_t) (random_next(&v->random) % (v->disk_bytes / PAGE_BYTES) * PAGE_BYTES);

                if (pread(v->disk_fd, v->block, PAGE_BYTES, at) < 0)
                        die("cannot read %s", v->disk);
                if (k % 10 == 0 && (pwrite(v->sync_fd, v->block, PAGE_BYTES, 0) < 0 || fdatasync(v->sync_fd) < 0))
                        die("cannot write beside %s", v->disk);
        }
}

/* Returns the number of slots whose time came. */
static uint64_t victim_run(Victim *v, uint64_t t0) {
        uint64_t slot = USEC_PER_SEC / v->rate, k = 0, end = v->seconds ? t0 + v->seconds * USEC_PER_SEC : 0;

        for (;;) {
                uint64_t planned = t0 + k * slot, done;

                if (end && planned >= end)
                        return k;
                while (!stopped && now_usec() < planned)
                        (void) sleep_until(planned);
                if (stopped || v->n_log >= v->max_log)
                        return k;
                victim_serve(v, k);
                done = now_usec();
                v->log[v->n_log++] = (Completion) {
                        .at_usec10 = (uint32_t) ((done - t0) / 10),
                        .latency_usec = (uint32_t) (done - planned),
                };
                /* The next slot whose time has not passed; those before it are lost. */
                k = done <= planned ? k + 1 : (done - t0 + slot - 1) / slot;
                if (t0 + k * slot <= planned)
                        k++;
        }
}

static int latency_compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

/* Of n sorted values, the nearest rank; 0 where there is none. */
static uint32_t percentile(const uint32_t *sorted, size_t n, unsigned percent) {
        return n == 0 ? 0 : sorted[(n * percent + 99) / 100 - 1];
}

/* Latencies of the completions from *i on that came before then, sorted; the log is in the order of its times. */
static size_t latencies(const Victim *v, size_t *i, uint64_t before_usec, uint32_t *ret) {
        size_t n = 0;

        for (; *i < v->n_log && (uint64_t) v->log[*i].at_usec10 * 10 < before_usec; (*i)++)
                n += latency_expand(v->log[*i].latency_usec, (uint32_t) (USEC_PER_SEC / v->rate), ret + n);
        qsort(ret, n, sizeof(*ret), latency_compare);
        return n;
}

/* The 95th percentile of each second's latencies; 0 where nothing was done. */
static void report_seconds(const Victim *v, uint64_t span, uint32_t *scratch, FILE *f) {
        size_t i = 0;

        fprintf(f, "\"p95_usec\":[");
        for (uint64_t second = 0; second <= span / USEC_PER_SEC; second++) {
                size_t n = latencies(v, &i, (second + 1) * USEC_PER_SEC, scratch);

                fprintf(f, "%s%u", second ? "," : "", percentile(scratch, n, 95));
        }
        fprintf(f, "],");
}

static void victim_report(Victim *v, uint64_t t0, uint64_t t1, uint64_t planned) {
        uint64_t silence = 0, silence_at = 0, last = 0, span = t1 - t0;
        size_t n_buckets = (size_t) (span / (BUCKET_MSEC * USEC_PER_MSEC)) + 1, n = v->n_log;
        unsigned *buckets = calloc(n_buckets, sizeof(*buckets));
        /* Those of the slots that were lost are among them. */
        uint32_t *latency = calloc(n + planned + 1, sizeof(*latency));
        size_t n_latencies, first = 0;
        char part[4096];
        FILE *f = stdout;

        if (!buckets || !latency)
                die("no memory for the report");
        for (size_t i = 0; i <= n; i++) {
                uint64_t at = i < n ? (uint64_t) v->log[i].at_usec10 * 10 : span;

                if (at - last > silence) {
                        silence = at - last;
                        silence_at = last;
                }
                last = at;
                if (i == n)
                        break;
                if (at / (BUCKET_MSEC * USEC_PER_MSEC) < n_buckets)
                        buckets[at / (BUCKET_MSEC * USEC_PER_MSEC)]++;
        }
        n_latencies = latencies(v, &first, UINT64_MAX, latency);

        if (v->output) {
                snprintf(part, sizeof(part), "%s.part", v->output);
                f = fopen(part, "we");
                if (!f)
                        die("cannot write %s", part);
        }
        fprintf(f, "{\"t0_usec\":%llu,\"t1_usec\":%llu,\"rate\":%u,\"planned\":%llu,\"done\":%zu,"
                "\"kept_permyriad\":%llu,\"longest_silence_ms\":%llu,\"longest_silence_at_ms\":%llu,"
                "\"p50_usec\":%u,\"p99_usec\":%u,\"max_usec\":%u,",
                (unsigned long long) t0, (unsigned long long) t1, v->rate, (unsigned long long) planned, n,
                (unsigned long long) (planned ? n * 10000 / planned : 0),
                (unsigned long long) (silence / USEC_PER_MSEC), (unsigned long long) (silence_at / USEC_PER_MSEC),
                percentile(latency, n_latencies, 50), percentile(latency, n_latencies, 99), percentile(latency, n_latencies, 100));
        report_seconds(v, span, latency, f);
        fprintf(f, "\"bucket_ms\":%u,\"buckets\":[", BUCKET_MSEC);
        for (size_t i = 0; i < n_buckets; i++)
                fprintf(f, "%s%u", i ? "," : "", buckets[i]);
        fprintf(f, "]}\n");
        if (fflush(f) != 0)
                die("cannot write the report");
        if (v->output && (fclose(f) != 0 || rename(part, v->output) < 0))
                die("cannot write %s", v->output);
        free(buckets);
        free(latency);
}

static const char help[] =
        "cgd-victim [OPTION...]\n"
        "A paced service that measures what is kept of it.\n\n"
        "  --anon=SIZE        anonymous working set (default 160M)\n"
        "  --file=PATH:SIZE   file working set, made if needed (default none)\n"
        "  --disk=PATH:SIZE   a direct read a request from that file, a sync every tenth\n"
        "  --rate=N           requests a second (default 100)\n"
        "  --touch=N          pages a request (default 64)\n"
        "  --seconds=N        end by itself (default: at SIGTERM, at most an hour)\n"
        "  --output=PATH      where the figures go at the end (default standard output)\n";

/* "PATH:SIZE" -> the path, and the size in ret. */
static const char *parse_sized(const char *text, uint64_t *ret) {
        char *path = strdup(text), *colon = path ? strrchr(path, ':') : NULL;

        if (!colon) {
                fprintf(stderr, "\"%s\" is not PATH:SIZE\n", text);
                exit(2);
        }
        *colon = '\0';
        *ret = parse_size(colon + 1);
        return path;
}

int main(int argc, char **argv) {
        Victim v = { .anon_bytes = UINT64_C(160) << 20, .rate = 100, .touch = 64, .random = 88172645463325252u };
        struct sigaction sa = { .sa_handler = on_signal };
        uint64_t t0, planned;

        for (int i = 1; i < argc; i++) {
                const char *s;

                if ((s = option(argv[i], "anon")))
                        v.anon_bytes = parse_size(s);
                else if ((s = option(argv[i], "file")))
                        v.file = parse_sized(s, &v.file_bytes);
                else if ((s = option(argv[i], "disk")))
                        v.disk = parse_sized(s, &v.disk_bytes);
                else if ((s = option(argv[i], "rate")))
                        v.rate = (unsigned) parse_size(s);
                else if ((s = option(argv[i], "touch")))
                        v.touch = (unsigned) parse_size(s);
                else if ((s = option(argv[i], "seconds")))
                        v.seconds = (unsigned) parse_size(s);
                else if ((s = option(argv[i], "output")))
                        v.output = s;
                else {
                        bool asked = strcmp(argv[i], "--help") == 0;

                        fputs(help, asked ? stdout : stderr);
                        return asked ? 0 : 2;
                }
        }
        if (v.rate == 0 || v.rate > 10000) {
                fprintf(stderr, "--rate: between 1 and 10000\n");
                return 2;
        }
        sigaction(SIGTERM, &sa, NULL);
        sigaction(SIGINT, &sa, NULL);
        v.max_log = (size_t) v.rate * (v.seconds ? v.seconds + 1 : 3600);

        victim_warm(&v);
        t0 = now_usec();
        notify_ready();
        planned = victim_run(&v, t0);
        victim_report(&v, t0, now_usec(), planned);
        return 0;
}
