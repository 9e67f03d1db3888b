/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* cgd: arguments, the process's own safety (memory, descriptors), and the manager. */

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "act/act.h"
#include "base/units.h"
#include "manager.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define RUNTIME_DIR "/run/cgd"
/* kept fds of the hot set, PSI triggers, the reserve for kills */
#define DESCRIPTORS 65536

/* Another cgd runs; this machine cannot run it (EX_CONFIG of sysexits.h). */
#define EXIT_BUSY 3
#define EXIT_UNSUPPORTED 78

static int usage(FILE *f, int status) {
        (void) fprintf(f,
                       "cgd [OPTIONS...]\n\n"
                       "Keeps one service's failure from becoming everyone's failure: places services into\n"
                       "cgroup v2 slices and contains whoever breaks a domain's promise. Runs as a systemd\n"
                       "service; operators use cgctl(1).\n\n"
                       "  -h --help             Show this help\n"
                       "     --version          Show the version\n"
                       "     --heartbeat=TIME   At rest look at everything this often (default: 10s)\n"
                       "     --release          Give back all that a dead cgd left changed, and exit\n\n"
                       "See cgd(8), cgd.policy(5).\n");
        return status;
}

/* What must not wait for memory in the trouble it is here to end: pages stay once they are touched. Locking
 * everything at once would make resident what is never used (libraries above all). */
static void lock_memory(void) {
        /* One arena: a heap for each thread would be locked several times over. */
        (void) mallopt(M_ARENA_MAX, 1);
        /* A table of which forty pages are used must not become resident by the huge page. */
        (void) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
        if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
                (void) fprintf(stderr, "<4>cgd: cannot lock its memory: %m; it may be slow when it is needed most. "
                                       "LimitMEMLOCK=infinity in cgd.service allows it.\n");
}

static void raise_descriptors(void) {
        struct rlimit l;

        if (getrlimit(RLIMIT_NOFILE, &l) < 0)
                return;
        l.rlim_cur = MIN((rlim_t) DESCRIPTORS, l.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &l) < 0)
                (void) fprintf(stderr, "<6>cgd: cannot raise the number of open files: %m, ignoring.\n");
}

int main(int argc, char *argv[]) {
        enum { ARG_VERSION = 0x100, ARG_HEARTBEAT, ARG_RELEASE };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                { "heartbeat", required_argument, NULL, ARG_HEARTBEAT },
                { "release", no_argument, NULL, ARG_RELEASE },
                {}
        };
        ManagerConfig config = {
                .cgroup_root = CGROUP_ROOT, .proc = "/proc", .runtime_dir = RUNTIME_DIR,
                .bpf_loader = LIBEXECDIR "/cgd-bpf",
                .heartbeat_usec = 10 * USEC_PER_SEC,
        };
        _cleanup_(manager_freep) Manager *m = NULL;
        bool release = false;
        int c, r;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        return usage(stdout, EXIT_SUCCESS);
                case ARG_VERSION:
                        (void) puts("cgd " CGD_VERSION);
                        return EXIT_SUCCESS;
                case ARG_HEARTBEAT:
                        if (usec_parse(optarg, &config.heartbeat_usec) < 0 || config.heartbeat_usec < USEC_PER_SEC ||
                            config.heartbeat_usec > 10 * USEC_PER_MINUTE) {
                                (void) fprintf(stderr, "cgd: --heartbeat=%s: not a time from 1s to 10min.\n", optarg);
                                return 2;
                        }
                        break;
                case ARG_RELEASE:
                        release = true;
                        break;
                default:
                        return usage(stderr, 2);
                }
        if (optind < argc) {
                (void) fprintf(stderr, "cgd: unexpected argument '%s'.\n", argv[optind]);
                return usage(stderr, 2);
        }
        if (release) {
                r = leases_release_file(CGROUP_ROOT, RUNTIME_DIR "/leases", RUNTIME_DIR "/lock");
                if (r == -EBUSY) {
                        (void) fprintf(stderr, "cgd: a cgd is running, and what is changed is its; stop it first "
                                               "('systemctl stop cgd').\n");
                        return EXIT_BUSY;
                }
                if (r < 0) {
                        (void) fprintf(stderr, "cgd: cannot give back what " RUNTIME_DIR "/leases names: %s\n", strerror(-r));
                        return EXIT_FAILURE;
                }
                return EXIT_SUCCESS;
        }

        raise_descriptors();
        lock_memory();
        r = manager_new(&config, &m);
        /* What no restart mends has a status of its own: RestartPreventExitStatus= in cgd.service. */
        if (r < 0)
                return r == -EBUSY ? EXIT_BUSY : r == -EOPNOTSUPP ? EXIT_UNSUPPORTED : EXIT_FAILURE;
        return manager_run(m) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
