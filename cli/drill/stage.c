/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The stage of a drill: one slice with bounded memory, swap and tasks, two slices in it, a policy for each, and the
 * services. Who floods a disk does it to one of the drill's own (disk.c). The machine's disks are bounded by how much there is to
 * swap and to read, and by stopping where others come to wait, and not by io.max: with one on the disk of the swap PID 1 stood
 * still for a minute behind pages that were on their way there.
 *
 * Invariant: whatever becomes of cgctl, nothing outlives its time. Every service ends by itself and has RuntimeMaxSec=, one that
 * is started again and again knows when to stay away, what they take is bounded by the slice's limits, which are runtime
 * properties of a unit, and the policies lie below /run; the next drill removes what is left.
 *
 * systemctl and systemd-run do the work: they wait for jobs, and an operator can type what they were given. */

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>

#include "base/macro.h"
#include "base/str.h"
#include "base/units.h"
#include "cli.h"
#include "drill/drill.h"
#include "policy/policy.h"
#include "sys/psi.h"
#include "sys/small-file.h"

#define LOCK_PATH "/run/cgd-drill.lock"
#define FILES_DIR "/var/lib/cgd/drill"
#define REPORT_PATH FILES_DIR "/victim.json"
#define POLICY_DIR "/run/cgd/policies"
#define CGROUP_PATH DRILL_HIERARCHY "/" DRILL_SLICE
#define MIB (UINT64_C(1) << 20)
/* A share of the machine, and no more than shows what there is to show. */
#define BOUND_SHARE 4
#define BOUND_MIN (192 * MIB)
#define BOUND_MAX (1024 * MIB)
#define TASKS_MAX "600"
/* Of swap no more than this part of what is free: who is asked about the use of swap is not to be asked because of a drill. */
#define SWAP_SHARE 4
/* Beside what others compute. */
#define CPU_WEIGHT "20"
/* Room that a disk must have left over, below FILES_DIR. */
#define DISK_SPARE (64 * MIB)
/* The exit status of cgd-hog that was started after its --end=. */
#define TOO_LATE "76"
/* A service that was left alone is ended so long after its time. */
#define SPARE_SECONDS 30
/* Who did the harm stands still until he has his limits back: were he ended before that is given up, it would seem that he has. */
#define CULPRIT_SPARE_SECONDS (2 * DRILL_SETTLE_SECONDS + SPARE_SECONDS)

/* As the shipped workload, sideload and host, but for the slices, and for the ranks: in the same order, and so low that nobody outside, whom
 * blame may well find, is contained for a drill (verdict.c). The service is promised what it works with. Processors are shared out by weight,
 * and cgd does nothing about them. */
static const char whole_policy[] =
        "# Made by 'cgctl drill', which removes it.\n[Domain]\nDescription=Drill: all of it\n"
        "Slice=" DRILL_SLICE "\nRank=2\n[Alarm exhaustion]\nMemoryExhaustionWithin=2s\n[Alarm memory]\nMemoryPressureAbove=some 5% over 1s\n";
static const char victim_policy[] =
        "# Made by 'cgctl drill', which removes it.\n[Domain]\nDescription=Drill: the service that must stay fast\n"
        "Slice=" DRILL_VICTIM_SLICE "\nRank=1\n[Resources]\nMemoryLow=%" PRIu64 "M\nCPUWeight=500\n"
        "[Alarm memory]\nMemoryPressureAbove=some 5%% over 1s\n[Alarm io]\nIOPressureAbove=some 30%% over 500ms\n"
        "[Contain]\nMode=contain\nSteps=hold squeeze\n";
static const char culprit_policy[] =
        "# Made by 'cgctl drill', which removes it.\n[Domain]\nDescription=Drill: who does the harm\n"
        "Slice=" DRILL_CULPRIT_SLICE "\nRank=0\n[Resources]\nCPUWeight=20\n"
        "[Contain]\nMode=enforce\nSteps=hold squeeze io-cap kill\nStepSec=500ms\nSqueezeFloor=16M\nIOCapFloor=1M\nLeaseSec=15s\n"
        "KillAfterSec=10s\nKillBudget=16 per 10min\n";

/* Those who do the harm first. */
static const char *const units[] = { DRILL_CULPRIT ".service", DRILL_CULPRIT "-2.service", DRILL_VICTIM ".service" };

int drill_run(const char *const argv[], bool quiet) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        extern char **environ;
        int status;
        pid_t pid;

        if (posix_spawn_file_actions_init(&actions) != 0 || posix_spawnattr_init(&attr) != 0)
                return -1;
        /* A ^C at the terminal is for cgctl, which clears up then: it is not to take away what does so. */
        (void) posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
        (void) posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        (void) posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (quiet)
                (void) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        errno = posix_spawnp(&pid, argv[0], &actions, &attr, (char *const *) argv, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) posix_spawnattr_destroy(&attr);
        if (errno != 0) {
                cli_error("drill: cannot run %s: %s", argv[0], strerror(errno));
                return -1;
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static uint64_t meminfo(const char *key) {
        char text[8192], *p;
        uint64_t kib = 0;

        if (file_read_at(AT_FDCWD, "/proc/meminfo", text, sizeof(text)) >= 0 && (p = strstr(text, key)))
                (void) sscanf(p + strlen(key), ": %" SCNu64, &kib);
        return kib << 10;
}

/* What those in a cgroup have waited by the last look. Of sums alone one that goes would take its own away, and what others wait
 * then would go unseen for as long. */
typedef struct Waited {
        ino_t id;
        uint64_t usec;
} Waited;

/* How much more it is than at the last look. */
static uint64_t waited_since(ino_t id, uint64_t usec) {
        static Waited *seen;
        static size_t n;
        Waited *w;
        uint64_t more;

        for (w = seen; w < seen + n && w->id != id; w++)
                ;
        if (w == seen + n) {
                Waited *grown = reallocarray(seen, n + 1, sizeof(Waited));

                if (!grown)
                        return 0;
                seen = grown;
                w = &seen[n++];
                *w = (Waited) { .id = id };
        }
        /* Less: it goes as it is read. */
        more = usec - MIN(w->usec, usec);
        w->usec += more;
        return more;
}

uint64_t drill_others_stall(const char *hierarchy) {
        static const char *const files[] = { "memory.pressure", "io.pressure" };
        static uint64_t sum;
        DIR *d = opendir(hierarchy);
        const struct dirent *entry;

        while (d && (entry = readdir(d))) {
                uint64_t usec = 0;

                /* Nor cgd: as it squeezes, what does not fit is written to the swap, and it waits while the disk takes no more. */
                if (entry->d_name[0] == '.' || streq(entry->d_name, DRILL_SLICE) || streq(entry->d_name, CGD_SLICE))
                        continue;
                for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                        char path[512], text[512];
                        PsiTotals psi;

                        (void) snprintf(path, sizeof(path), "%s/%s", entry->d_name, files[i]);
                        if (file_read_at(dirfd(d), path, text, sizeof(text)) >= 0 && psi_parse(text, &psi) == 0 && psi.have_some)
                                usec += psi.some_usec;
                }
                if (usec > 0)
                        sum += waited_since(entry->d_ino, usec);
        }
        if (d)
                closedir(d);
        return sum;
}

static int make_dir(const char *path, mode_t mode) {
        return mkdir(path, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_file(const char *path, const char *text) {
        _cleanup_fclose_ FILE *f = fopen(path, "we");

        return !f || fputs(text, f) < 0 || fflush(f) != 0 ? -errno : 0;
}

static int remove_one(const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        (void) remove(path);
        return 0;
}

void drill_policies_remove(void) {
        drill_services_stop();
        (void) unlink(POLICY_DIR "/" DRILL_WHOLE ".policy");
        (void) unlink(POLICY_DIR "/" DRILL_VICTIM ".policy");
        (void) unlink(POLICY_DIR "/" DRILL_CULPRIT ".policy");
}

/* Whatever a drill has made, if it is there. */
static void clear(void) {
        static const char *const slices[] = { DRILL_SLICE, DRILL_VICTIM_SLICE, DRILL_CULPRIT_SLICE };

        drill_policies_remove();
        (void) drill_run((const char *[]){ "systemctl", "stop", DRILL_SLICE, DRILL_VICTIM_SLICE, DRILL_CULPRIT_SLICE, NULL }, true);
        for (size_t i = 0; i < ARRAY_SIZE(slices); i++) {
                char path[128];

                (void) snprintf(path, sizeof(path), "/run/systemd/system.control/%s.d", slices[i]);
                (void) nftw(path, remove_one, 4, FTW_DEPTH | FTW_PHYS);
        }
        (void) nftw(FILES_DIR, remove_one, 4, FTW_DEPTH | FTW_PHYS);
        drill_disk_close();
}

/* The service's file: a part of what it works with. */
static uint64_t file_bytes(const DrillStage *s) {
        return s->bound_bytes / 10 / MIB * MIB;
}

int drill_policies_write(const DrillStage *s, const char *dir) {
        char victim[2048];
        const struct {
                const char *name, *text;
        } policies[] = { { DRILL_WHOLE, whole_policy }, { DRILL_VICTIM, victim }, { DRILL_CULPRIT, culprit_policy } };
        int r = 0;

        (void) snprintf(victim, sizeof(victim), victim_policy, s->bound_bytes / 3 / MIB);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(policies); i++) {
                char path[256];

                (void) snprintf(path, sizeof(path), "%s/%s.policy", dir, policies[i].name);
                r = write_file(path, policies[i].text);
        }
        return r;
}

static bool make_slices(const DrillStage *s) {
        char memory[64], swap[64];

        (void) snprintf(memory, sizeof(memory), "MemoryMax=%" PRIu64, s->bound_bytes);
        (void) snprintf(swap, sizeof(swap), "MemorySwapMax=%" PRIu64, MIN(s->bound_bytes / 2, meminfo("SwapFree") / SWAP_SHARE));
        if (drill_run((const char *[]){ "systemctl", "set-property", "--runtime", DRILL_SLICE, memory, swap, "TasksMax=" TASKS_MAX,
                                        "CPUWeight=" CPU_WEIGHT, NULL }, false) != 0 ||
            drill_run((const char *[]){ "systemctl", "start", DRILL_SLICE, DRILL_VICTIM_SLICE, DRILL_CULPRIT_SLICE, NULL }, false) != 0) {
                cli_error("drill: cannot make " DRILL_SLICE "; nothing was started");
                return false;
        }
        return true;
}

bool drill_stage_clear(DrillStage *s) {
        *s = (DrillStage) { .lock_fd = open(LOCK_PATH, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600),
                            .bound_bytes = CLAMP(meminfo("MemTotal") / BOUND_SHARE, BOUND_MIN, BOUND_MAX) / MIB * MIB };
        if (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                cli_error(s->lock_fd >= 0 && errno == EWOULDBLOCK ? "drill: another drill is running" :
                                                                    "drill: cannot lock " LOCK_PATH ": %s", strerror(errno));
                s->lock_fd = safe_close(s->lock_fd);
                return false;
        }
        clear();
        return true;
}

bool drill_stage_has_room(const DrillStage *s, bool disk) {
        uint64_t available = meminfo("MemAvailable"), needed = s->bound_bytes + (disk ? DRILL_DISK_BYTES : 0), room;
        char a[FORMAT_MAX], b[FORMAT_MAX];
        struct statvfs fs;

        if (available < needed + meminfo("MemTotal") / 10) {
                cli_error("drill: %s of memory are available, and a drill needs %s and a tenth of the machine left over",
                          bytes_format_human(available, a), bytes_format_human(needed, b));
                return false;
        }
        room = statvfs("/var/lib", &fs) < 0 ? UINT64_MAX : (uint64_t) fs.f_bavail * fs.f_frsize;
        if (room < file_bytes(s) + DISK_SPARE) {
                cli_error("drill: %s are free on the disk of /var/lib, and a drill needs %s there", bytes_format_human(room, a),
                          bytes_format_human(file_bytes(s) + DISK_SPARE, b));
                return false;
        }
        return true;
}

bool drill_stage_open(const DrillStage *s) {
        int r = make_dir("/var/lib/cgd", 0755);

        if (r < 0 || (r = make_dir(FILES_DIR, 0700)) < 0) {
                cli_error("drill: cannot make " FILES_DIR ": %s", strerror(-r));
                return false;
        }
        if (!make_slices(s))
                return false;
        if ((r = make_dir("/run/cgd", 0755)) < 0 || (r = make_dir(POLICY_DIR, 0755)) < 0 || (r = drill_policies_write(s, POLICY_DIR)) < 0) {
                cli_error("drill: cannot write policies to " POLICY_DIR ": %s", strerror(-r));
                return false;
        }
        return true;
}

void drill_stage_close(DrillStage *s) {
        clear();
        s->lock_fd = safe_close(s->lock_fd);
}

bool drill_victim_start(const DrillStage *s, const DrillScenario *scenario, unsigned seconds) {
        char anon[64], file[128], length[32], life[64];

        (void) unlink(REPORT_PATH);
        (void) snprintf(anon, sizeof(anon), "--anon=%" PRIu64 "M", s->bound_bytes / 5 / MIB);
        (void) snprintf(file, sizeof(file), "--file=" FILES_DIR "/victim.dat:%" PRIu64 "M", file_bytes(s) / MIB);
        (void) snprintf(length, sizeof(length), "--seconds=%u", seconds);
        (void) snprintf(life, sizeof(life), "--property=RuntimeMaxSec=%u", seconds + SPARE_SECONDS);
        if (drill_run((const char *[]){ "systemd-run", "--quiet", "--collect", "--unit=" DRILL_VICTIM, "--slice=" DRILL_VICTIM_SLICE,
                                        "--property=Type=notify", "--property=TimeoutStartSec=60", life, "--",
                                        LIBEXECDIR "/cgd-victim", anon, file, length, "--output=" REPORT_PATH,
                                        scenario->disk ? "--disk=" DRILL_DISK_DIR "/victim.dat:16M" : NULL, NULL }, false) != 0) {
                cli_error("drill: the service " DRILL_VICTIM ".service does not start; see 'journalctl -u " DRILL_VICTIM "'");
                return false;
        }
        return true;
}

void drill_victim_end(void) {
        (void) drill_run((const char *[]){ "systemctl", "kill", "--signal=TERM", DRILL_VICTIM ".service", NULL }, true);
}

json_t *drill_victim_report(unsigned wait_seconds) {
        for (unsigned i = 0; i < wait_seconds * 10 && !drill_was_stopped(); i++) {
                json_t *j = json_load_file(REPORT_PATH, 0, NULL);

                if (j || access(CGROUP_PATH "/" DRILL_VICTIM_SLICE "/" DRILL_VICTIM ".service", F_OK) < 0)
                        return j ?: json_load_file(REPORT_PATH, 0, NULL);
                (void) nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
        }
        return NULL;
}

bool drill_culprits_start(const DrillStage *s, const DrillScenario *scenario, uint64_t begin_usec, unsigned seconds) {
        for (unsigned n = 0; n < MAX(scenario->n_culprits, 1U); n++) {
                char unit[64], rate[64], size[64], length[32], life[64], end[64];
                const char *argv[24] = { "systemd-run", "--quiet", "--collect", unit, "--slice=" DRILL_CULPRIT_SLICE, life };
                size_t k = 6;

                (void) snprintf(unit, sizeof(unit), n == 0 ? "--unit=" DRILL_CULPRIT : "--unit=" DRILL_CULPRIT "-%u", n + 1);
                (void) snprintf(life, sizeof(life), "--property=RuntimeMaxSec=%u", seconds + CULPRIT_SPARE_SECONDS);
                (void) snprintf(length, sizeof(length), "--seconds=%u", seconds);
                if (scenario->restarts) {
                        argv[k++] = "--property=Restart=always";
                        argv[k++] = "--property=RestartSec=0";
                        argv[k++] = "--property=StartLimitIntervalSec=0";
                        argv[k++] = "--property=RestartPreventExitStatus=" TOO_LATE;
                }
                argv[k++] = "--";
                argv[k++] = LIBEXECDIR "/cgd-hog";
                argv[k++] = scenario->shape;
                argv[k++] = length;
                if (scenario->restarts) {
                        (void) snprintf(end, sizeof(end), "--end=%" PRIu64, begin_usec + seconds * USEC_PER_SEC);
                        argv[k++] = end;
                }
                if (scenario->rate_divisor > 0) {
                        (void) snprintf(rate, sizeof(rate), "--rate=%" PRIu64 "K", s->bound_bytes / scenario->rate_divisor >> 10);
                        argv[k++] = rate;
                }
                if (scenario->size_divisor > 0) {
                        (void) snprintf(size, sizeof(size), "--size=%" PRIu64 "K", s->bound_bytes / scenario->size_divisor >> 10);
                        argv[k++] = size;
                }
                if (scenario->disk)
                        argv[k++] = "--path=" DRILL_DISK_DIR;
                else if (scenario->files)
                        argv[k++] = "--path=" FILES_DIR;
                for (size_t i = 0; i < ARRAY_SIZE(scenario->options) && scenario->options[i]; i++)
                        argv[k++] = scenario->options[i];
                if (drill_run(argv, false) != 0) {
                        cli_error("drill: cannot start %s", unit + strlen("--unit="));
                        return false;
                }
        }
        return true;
}

bool drill_culprits_gone(void) {
        char text[256];

        /* Of the slice: a service that is gone has no cgroup. */
        return file_read_at(AT_FDCWD, CGROUP_PATH "/" DRILL_CULPRIT_SLICE "/cgroup.events", text, sizeof(text)) >= 0 &&
               strstr(text, "populated 0");
}

static int look_for_limit(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        static const char *const files[] = { "memory.high", "memory.swap.high", "io.max" };
        char text[4096];

        /* At the top are the drill's own. */
        for (size_t i = 0; type == FTW_F && ftw->level > 1 && i < ARRAY_SIZE(files); i++)
                if (streq(path + ftw->base, files[i]) && file_read_at(AT_FDCWD, path, text, sizeof(text)) > 0 && !streq(text, "max\n"))
                        return 1;
        (void) st;
        return 0;
}

bool drill_stage_is_limited(void) {
        return nftw(CGROUP_PATH, look_for_limit, 8, FTW_PHYS) == 1;
}

void drill_culprits_freeze(void) {
        for (size_t i = 0; i < DRILL_CULPRITS_MAX; i++)
                (void) drill_run((const char *[]){ "systemctl", "kill", "--signal=STOP", units[i], NULL }, true);
}

void drill_services_stop(void) {
        for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
                (void) drill_run((const char *[]){ "systemctl", "kill", "--signal=KILL", units[i], NULL }, true);
                (void) drill_run((const char *[]){ "systemctl", "stop", units[i], NULL }, true);
                (void) drill_run((const char *[]){ "systemctl", "reset-failed", units[i], NULL }, true);
        }
}
