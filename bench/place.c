/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How long a program runs before it is where a policy wants it: cgd's raw move on an exec event, and libcgroup's
 * cgrulesengd, one after the other, with the same processes on the same machine.
 *
 * A process of the user `games` starts a program, which looks at its own /proc/self/cgroup until it is in the wanted
 * cgroup: from the call of execve(2) to there, as the process itself sees it. For cgd also from the event in the kernel
 * to the end of the move. cgrulesengd moves into a cgroup v1 hierarchy of our own, in a mount namespace of our own with
 * an /etc of its own: where it wants one process to be does not matter to what it takes, and nothing of the machine's is
 * touched. That it moves the first thread alone is in its favour. */

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/macro.h"
#include "base/str.h"
#include "base/units.h"
#include "place/placer.h"
#include "policy/compile.h"
#include "sense/life.h"

#define ROUNDS_MAX 10000
#define USER "games"
#define SLICE "cgdbench.slice"
#define FROM "cgdbenchfrom.slice"
#define WAIT_USEC (2 * USEC_PER_SEC)

/* One start, as its process saw it. */
typedef struct Start {
        uint64_t called, began, placed; /* usec; placed 0 = never */
} Start;

typedef struct Shared {
        volatile bool ready;
        char reason[256];
        size_t n;
        uint64_t took[ROUNDS_MAX];      /* usec from the event to the end of the move */
} Shared;

static Shared *shared;
static const char *hierarchy = "/sys/fs/cgroup", *loader = LIBEXECDIR "/cgd-bpf";
static unsigned rounds = 300;

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

static _Noreturn _printf_(1, 2) void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) fputs("place: ", stderr);
        (void) vfprintf(stderr, format, ap);
        (void) fputc('\n', stderr);
        va_end(ap);
        exit(1);
}

static void write_file(const char *path, const char *text) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text))
                die("%s: cannot be written: %m", path);
}

/* The process that is placed. */

static int child_main(const char *called, const char *wanted, const char *fd) {
        Start s = { .called = strtoull(called, NULL, 10), .began = now_usec() };
        _cleanup_close_ int cgroup = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
        char text[4096];

        do {
                ssize_t n = pread(cgroup, text, sizeof text - 1, 0);

                text[MAX(n, (ssize_t) 0)] = 0;
                if (strstr(text, wanted))
                        s.placed = now_usec();
        } while (s.placed == 0 && now_usec() - s.began < WAIT_USEC);
        return write(atoi(fd), &s, sizeof s) == sizeof s ? 0 : 1;
}

static Start start_one(const char *self, const char *wanted, const char *from, const struct passwd *user) {
        Start s = {};
        int pair[2];
        pid_t pid;

        if (pipe(pair) < 0)
                die("pipe: %m");
        pid = fork();
        if (pid < 0)
                die("fork: %m");
        if (pid == 0) {
                char called[32], fd[16];

                if (from)
                        write_file(from, "0");
                if (setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 || setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
                        die("cannot become %s: %m", USER);
                (void) snprintf(fd, sizeof fd, "%d", pair[1]);
                (void) snprintf(called, sizeof called, "%" PRIu64, now_usec());
                (void) execl(self, self, "--child", called, wanted, fd, (char *) NULL);
                die("%s: %m", self);
        }
        (void) close(pair[1]);
        if (read(pair[0], &s, sizeof s) != sizeof s)
                die("a process told nothing");
        (void) close(pair[0]);
        (void) waitpid(pid, NULL, 0);
        return s;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

static void figures(const char *name, uint64_t *values, size_t n, size_t missing) {
        if (n == 0) {
                (void) printf("  %-34s none was moved\n", name);
                return;
        }
        qsort(values, n, sizeof values[0], compare);
        (void) printf("  %-34s median %6" PRIu64 " us   p90 %6" PRIu64 "   p99 %6" PRIu64 "   %zu of %zu\n", name, values[n / 2],
                      values[n * 9 / 10], values[n * 99 / 100], n, n + missing);
}

static void run(const char *name, const char *self, const char *wanted, const char *from) {
        static uint64_t placed[ROUNDS_MAX], began[ROUNDS_MAX];
        const struct passwd *user = getpwnam(USER);
        size_t n = 0;

        if (!user)
                die("there is no user %s", USER);
        for (unsigned i = 0; i < rounds; i++) {
                Start s = start_one(self, wanted, from, user);

                began[i] = s.began - s.called;
                if (s.placed)
                        placed[n++] = s.placed - s.called;
        }
        (void) printf("%s\n", name);
        figures("from execve() to main()", began, rounds, 0);
        figures("from execve() to placed", placed, n, rounds - n);
}

/* cgd: the program, its events and the raw move, on a loop of their own. */

typedef struct Side {
        Placer *placer;
        Life life;
} Side;

static void on_exec(const ExecEvent *event, void *userdata) {
        Side *s = userdata;
        Group g = {};

        if (scan_exec(s->placer, event, true, &g) > 0 && g.raw && shared->n < ROUNDS_MAX)
                shared->took[shared->n++] = now_usec() - event->usec;
}

static void cgd_main(void) {
        static const char text[] = "[Domain]\nSlice=" SLICE "\n[Match]\nUser=" USER "\n";
        PolicySource source = { .domain = (char *) "cgdbench", .file = (char *) "cgdbench.policy", .text = (char *) text,
                                .size = sizeof text - 1 };
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_free_ char *report = NULL;
        Policy *policy = NULL;
        sd_event *event = NULL;
        static Side s;
        ExecFilter filter;

        if (policy_compile(&source, 1, &d, &policy) < 0) {
                (void) diagnostics_format(&d, SEVERITY_WARNING, &report);
                die("the policy is refused: %s", report);
        }
        if (sd_event_new(&event) < 0 || placer_new(event, "/proc", hierarchy, "/run", &s.placer) < 0 ||
            placer_set_policy(s.placer, policy) < 0 || life_init(&s.life, event, loader, on_exec, &s) < 0)
                die("cannot be set up: %m");
        placer_exec_filter(s.placer, &filter);
        if (life_set(&s.life, &filter) < 0 || life_load(&s.life) < 0)
                die("the program is not loaded: %s", s.life.loading.reason);
        while (loading_is_on(&s.life.loading))
                if (sd_event_run(event, UINT64_MAX) < 0)
                        die("the loop failed");
        if (!s.life.control)
                die("the program is not loaded: %s", s.life.loading.reason);
        shared->ready = true;
        (void) sd_event_loop(event);
        exit(1);
}

static pid_t background(void (*main)(void)) {
        pid_t pid = fork();

        if (pid < 0)
                die("fork: %m");
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                main();
                exit(1);
        }
        return pid;
}

static void end(pid_t pid) {
        (void) kill(pid, SIGKILL);
        (void) waitpid(pid, NULL, 0);
}

static void remove_below(const char *path) {
        _cleanup_free_ char *command = NULL;

        if (asprintf(&command, "rmdir %s/*.scope %s 2>/dev/null", path, path) >= 0)
                (void) !system(command);
}

static void measure_cgd(const char *self) {
        _cleanup_free_ char *slice = NULL, *from = NULL, *procs = NULL;
        pid_t pid;

        if (asprintf(&slice, "%s/" SLICE, hierarchy) < 0 || asprintf(&from, "%s/" FROM, hierarchy) < 0 ||
            asprintf(&procs, "%s/cgroup.procs", from) < 0)
                die("no memory");
        if ((mkdir(slice, 0755) < 0 && errno != EEXIST) || (mkdir(from, 0755) < 0 && errno != EEXIST))
                die("%s: %m", slice);
        pid = background(cgd_main);
        while (!shared->ready && waitpid(pid, NULL, WNOHANG) == 0)
                (void) usleep(10000);
        if (shared->ready) {
                run("cgd, exec event and raw move", self, "/" SLICE "/", procs);
                figures("from the event to placed", shared->took, shared->n, rounds - MIN((size_t) rounds, shared->n));
                end(pid);
        }
        remove_below(slice);
        remove_below(from);
}

/* cgrulesengd. */

#define OWN "/tmp/cgd-bench-place"

static void cgrulesengd_main(void) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void) dup2(null, 0);
        (void) dup2(null, 1);
        (void) dup2(null, 2);
        (void) execlp("cgrulesengd", "cgrulesengd", "-n", "-Q", (char *) NULL);
}

static void measure_cgrulesengd(const char *self) {
        pid_t pid;

        if (system("command -v cgrulesengd >/dev/null") != 0) {
                (void) printf("cgrulesengd is not installed (package cgroup-tools): not measured\n");
                return;
        }
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                die("no mount namespace of our own: %m");
        (void) mkdir(OWN, 0755);
        if (mount("tmpfs", OWN, "tmpfs", 0, NULL) < 0 || mkdir(OWN "/etc", 0755) < 0 || mkdir(OWN "/cgroup", 0755) < 0 ||
            mkdir(OWN "/etc/cgconfig.d", 0755) < 0 || mkdir(OWN "/etc/cgrules.d", 0755) < 0 || mkdir(OWN "/run", 0755) < 0 ||
            mount("cgroup", OWN "/cgroup", "cgroup", 0, "none,name=cgdbench") < 0 || mkdir(OWN "/cgroup/wanted", 0755) < 0)
                die(OWN ": %m");
        write_file(OWN "/etc/cgconfig.conf", "");
        write_file(OWN "/etc/cgrules.conf", USER " name=cgdbench wanted/\n");
        if (system("cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache " OWN "/etc/") != 0 ||
            mount(OWN "/etc", "/etc", NULL, MS_BIND, NULL) < 0 || mount(OWN "/run", "/run", NULL, MS_BIND, NULL) < 0)
                die("cannot give it an /etc of its own: %m");
        pid = background(cgrulesengd_main);
        /* It says nothing when it is ready: its socket does. */
        for (int i = 0; i < 100 && access("/run/cgred.socket", F_OK) < 0; i++)
                (void) usleep(50000);
        (void) usleep(200000);
        run("cgrulesengd", self, ":/wanted", NULL);
        end(pid);
        (void) rmdir(OWN "/cgroup/wanted");
        (void) umount(OWN "/cgroup");
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "hierarchy", required_argument, NULL, 'h' },
                { "loader", required_argument, NULL, 'l' },
                { "rounds", required_argument, NULL, 'r' },
                {},
        };
        char self[4096];
        ssize_t n;
        int c;

        if (argc == 5 && streq(argv[1], "--child"))
                return child_main(argv[2], argv[3], argv[4]);
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        hierarchy = optarg;
                        break;
                case 'l':
                        loader = optarg;
                        break;
                case 'r':
                        rounds = MIN((unsigned) atoi(optarg), (unsigned) ROUNDS_MAX);
                        break;
                default:
                        die("usage: place [--hierarchy=DIRECTORY] [--loader=CGD-BPF] [--rounds=N]   (root)");
                }
        n = readlink("/proc/self/exe", self, sizeof self - 1);
        if (n < 0)
                die("/proc/self/exe: %m");
        self[n] = 0;
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
                die("no memory");
        measure_cgd(self);
        measure_cgrulesengd(self);
        return 0;
}
