/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What it costs to count who waits for whom at a disk: random direct reads of 4 KiB, 32 at a time, with the programs and
 * without, in turns; each pair begins with the other one. And the time that the kernel spends in the programs, by its
 * own statistics, which are only on while that is measured.
 *
 * --fio: fio makes the requests, instead of a reader of our own that needs nothing installed.
 *
 * The difference of the two times for a request means something where the processor is what limits (null_blk), the loss
 * of IOPS anywhere. Reads the given file or device and writes nothing. */

#include <fcntl.h>
#include <getopt.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/credit.h"

#define DEPTH 32
#define BLOCK 4096
#define PAIRS_MAX 64

static const char *loader = LIBEXECDIR "/cgd/cgd-bpf";
static unsigned pairs = 5, msec = 2000;
static const char *fio_path;            /* the file that fio reads; NULL: we read it */

static void die(const char *what) {
        (void) fprintf(stderr, "iocredit: %s\n", what);
        exit(EXIT_FAILURE);
}

static void die_errno(const char *what) {
        (void) fprintf(stderr, "iocredit: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static uint64_t now_nsec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static uint64_t random_next(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* Requests a second, by fio's terse output: its 8th field (fio(1), "TERSE OUTPUT", version 3). */
static double fio_reads(uint64_t *ret_done) {
        char command[4096 + 512], line[8192], *field = line;
        double rate;
        FILE *f;

        (void) snprintf(command, sizeof command, "fio --name=iocredit --filename='%s' --readonly --rw=randread --bs=%d --iodepth=%d --ioengine=libaio"
                        " --direct=1 --time_based --runtime=%ums --output-format=terse --terse-version=3", fio_path, BLOCK, DEPTH, msec);
        f = popen(command, "re");
        if (!f || !fgets(line, sizeof line, f))
                die("fio says nothing; is it installed?");
        (void) pclose(f);
        for (int i = 0; i < 7; i++) {
                field = strchr(field, ';');
                if (!field++)
                        die("fio says something else than was expected");
        }
        rate = atof(field);
        if (rate <= 0)
                die("fio read nothing");
        *ret_done += (uint64_t) (rate * msec / 1000);
        return rate;
}

/* Requests a second. */
static double reads(int fd, uint64_t blocks, uint64_t *ret_done) {
        static uint8_t buffers[DEPTH][BLOCK] __attribute__((aligned(BLOCK)));
        static uint64_t state = 88172645463325252u;
        struct iocb iocbs[DEPTH] = {}, *list[DEPTH];
        struct io_event events[DEPTH];
        uint64_t begin, end, done = 0;
        aio_context_t context = 0;

        if (fio_path)
                return fio_reads(ret_done);
        if (syscall(SYS_io_setup, DEPTH, &context) < 0)
                die_errno("io_setup");
        for (size_t i = 0; i < DEPTH; i++) {
                iocbs[i] = (struct iocb) { .aio_fildes = (uint32_t) fd, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_data = i,
                                           .aio_buf = (uintptr_t) buffers[i], .aio_nbytes = BLOCK,
                                           .aio_offset = (int64_t) (random_next(&state) % blocks * BLOCK) };
                list[i] = &iocbs[i];
        }
        begin = now_nsec();
        end = begin + (uint64_t) msec * 1000000;
        if (syscall(SYS_io_submit, context, DEPTH, list) != DEPTH)
                die_errno("io_submit");
        while (now_nsec() < end) {
                long n = syscall(SYS_io_getevents, context, 1, DEPTH, events, NULL);

                if (n < 0)
                        die_errno("io_getevents");
                for (long i = 0; i < n; i++) {
                        struct iocb *b = &iocbs[events[i].data];

                        if (events[i].res != BLOCK)
                                die("a read was cut short or failed");
                        b->aio_offset = (int64_t) (random_next(&state) % blocks * BLOCK);
                        list[i] = b;
                }
                done += (uint64_t) n;
                if (syscall(SYS_io_submit, context, n, list) != n)
                        die_errno("io_submit");
        }
        end = now_nsec();
        (void) syscall(SYS_io_destroy, context);
        *ret_done += done;
        return (double) done * 1e9 / (double) (end - begin);
}

static void load(Credit *c) {
        sd_event *event = NULL;

        if (sd_event_new(&event) < 0 || credit_init(c, event, loader) < 0)
                die("out of memory");
        (void) credit_load(c);
        while (loading_is_on(&c->loading))
                if (sd_event_run(event, UINT64_MAX) < 0)
                        die("the loader cannot be followed");
        sd_event_unref(event);
        if (!c->control)
                die(c->loading.reason);
}

static long bpf(int command, union bpf_attr *attr) {
        return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int info(int fd, void *ret, size_t size) {
        union bpf_attr attr;

        memset(&attr, 0, sizeof attr);
        attr.info.bpf_fd = (uint32_t) fd;
        attr.info.info_len = (uint32_t) size;
        attr.info.info = (uintptr_t) ret;
        return (int) bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

/* Nanoseconds spent in all of the programs. */
static uint64_t spent(const Credit *c) {
        uint64_t sum = 0;

        for (size_t i = 0; i < ARRAY_SIZE(c->link_fds); i++) {
                struct bpf_prog_info program = {};
                struct bpf_link_info link = {};
                union bpf_attr attr;
                int fd;

                if (info(c->link_fds[i], &link, sizeof link) < 0)
                        die_errno("a link does not say what it is");
                memset(&attr, 0, sizeof attr);
                attr.prog_id = link.prog_id;
                fd = (int) bpf(BPF_PROG_GET_FD_BY_ID, &attr);
                if (fd < 0 || info(fd, &program, sizeof program) < 0)
                        die_errno("a program does not say what it did");
                sum += program.run_time_ns;
                (void) close(fd);
        }
        return sum;
}

static uint64_t counted(const Credit *c) {
        uint64_t sum = 0;

        for (size_t d = 0; d < CREDIT_DEVICES; d++)
                for (size_t i = 0; i < CREDIT_SLOTS; i++)
                        for (size_t b = 0; b < LATENCY_BUCKETS; b++)
                                sum += c->control->devices[d].latency[i][b];
        return sum;
}

static int by_value(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
        qsort(values, n, sizeof *values, by_value);
        return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "loader", required_argument, NULL, 'l' },
                { "pairs", required_argument, NULL, 'p' },
                { "msec", required_argument, NULL, 'm' },
                { "fio", no_argument, NULL, 'f' },
                {},
        };
        double without[PAIRS_MAX], with[PAIRS_MAX], loss[PAIRS_MAX], more[PAIRS_MAX];
        uint64_t size = 0, done = 0, seen = 0, before;
        union bpf_attr attr;
        int fd, o, statistics;
        bool fio = false;
        Credit c;

        while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (o) {
                case 'l':
                        loader = optarg;
                        break;
                case 'p':
                        pairs = CLAMP((unsigned) atoi(optarg), 1u, (unsigned) PAIRS_MAX);
                        break;
                case 'm':
                        msec = MAX((unsigned) atoi(optarg), 100u);
                        break;
                case 'f':
                        fio = true;
                        break;
                default:
                        return 2;
                }
        if (optind != argc - 1 || (fio && strchr(argv[optind], '\''))) {
                (void) fprintf(stderr, "usage: iocredit [--loader=CGD-BPF] [--pairs=N] [--msec=N] [--fio] FILE\n");
                return 2;
        }
        fio_path = fio ? argv[optind] : NULL;
        fd = open(argv[optind], O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0)
                die_errno(argv[optind]);
        if (ioctl(fd, BLKGETSIZE64, &size) < 0)
                size = (uint64_t) lseek(fd, 0, SEEK_END);
        if (size < DEPTH * BLOCK)
                die("the file is too small");

        (void) reads(fd, size / BLOCK, &done);
        for (unsigned i = 0; i < pairs; i++)
                for (unsigned k = 0; k < 2; k++) {
                        uint64_t n = 0;

                        if (k == i % 2) {
                                without[i] = reads(fd, size / BLOCK, &n);
                                continue;
                        }
                        load(&c);
                        with[i] = reads(fd, size / BLOCK, &n);
                        seen += counted(&c);
                        done += n;
                        credit_done(&c);
                        if (i == 0)
                                done = n;
                }
        for (unsigned i = 0; i < pairs; i++) {
                loss[i] = 100 * (1 - with[i] / without[i]);
                more[i] = 1e9 / with[i] - 1e9 / without[i];
                (void) printf("  pair %u: %.0f IOPS without, %.0f with\n", i + 1, without[i], with[i]);
        }
        (void) printf("%s: median %.0f IOPS without, %.0f with; loss %.2f %%, %.0f ns a request (median of %u pairs)\n",
                      argv[optind], median(without, pairs), median(with, pairs), median(loss, pairs), median(more, pairs), pairs);
        (void) printf("counted: %.3f of the requests\n", (double) seen / (double) done);

        load(&c);
        memset(&attr, 0, sizeof attr);
        attr.enable_stats.type = BPF_STATS_RUN_TIME;
        statistics = (int) bpf(BPF_ENABLE_STATS, &attr);
        if (statistics < 0)
                die_errno("the kernel keeps no statistics of programs");
        before = spent(&c);
        done = 0;
        (void) reads(fd, size / BLOCK, &done);
        (void) printf("in the programs: %.0f ns a request\n", (double) (spent(&c) - before) / (double) done);
        (void) close(statistics);
        credit_done(&c);
        (void) close(fd);
        return EXIT_SUCCESS;
}
