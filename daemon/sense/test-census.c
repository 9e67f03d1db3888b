/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The census: finding the kernel's words, every way in which there may be no program, and rows that are made
 * of records and of files. */

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/capability.h>

#include "base/test-dir.h"
#include "base/units.h"
#include "sense/bpf/loader.h"
#include "sense/census.h"
#include "sense/stat-search.h"
#include "sense/walk.h"

#define SEC USEC_PER_SEC
#define MB (UINT64_C(1) << 20)
#define PAGE UINT64_C(4096)

/* The search */

static const char *stat_text(uint64_t anon, uint64_t scan, uint64_t steal) {
        static char texts[2][512];
        static unsigned i;
        char *t = texts[i++ % 2];

        (void) snprintf(t, sizeof texts[0],
                        "anon %llu\ninactive_file 0\nactive_file 0\npgscan_kswapd %llu\npgscan_direct 0\npgsteal_kswapd %llu\npgsteal_direct 0\n",
                        (unsigned long long) (anon * PAGE), (unsigned long long) scan, (unsigned long long) steal);
        return t;
}

static void test_search(void **state _unused_) {
        uint64_t words[10] = { 0, 700, 5, 100, 100, 0, 0, 0, 0, 3 };
        WalkTerm terms[WALK_TERMS_MAX];
        StatSearch s;
        uint32_t n;
        uint64_t have;

        stat_search_init(&s, PAGE);
        assert_false(stat_search_wants(&s, stat_text(0, 0, 0)));
        /* What is zero for the whole machine needs no word; what is not has none yet. */
        have = stat_search_terms(&s, stat_text(700, 100, 100), terms, &n);
        assert_int_equal(n, 0);
        assert_true(have & (UINT64_C(1) << WALK_CACHE));
        assert_false(have & (UINT64_C(1) << WALK_ANON));
        assert_false(have & (UINT64_C(1) << WALK_PGSTEAL));
        /* No line of it at all: not there, rather than zero. */
        assert_false(have & (UINT64_C(1) << WALK_REFAULT));

        /* All that is scanned is stolen: the two cannot be told apart, whatever their number. */
        stat_search_learn(&s, stat_text(700, 100, 100), words, 10, stat_text(700, 100, 100));
        words[1] = 800;
        words[3] = words[4] = 150;
        stat_search_learn(&s, stat_text(790, 150, 150), words, 10, stat_text(805, 150, 150));
        assert_int_equal(s.keys[0].word, 1);
        have = stat_search_terms(&s, stat_text(800, 150, 150), terms, &n);
        assert_int_equal(n, 1);
        assert_true(terms[0].stat == WALK_ANON - WALK_STAT_FIRST && terms[0].word == 1);
        assert_false(have & (UINT64_C(1) << WALK_PGSTEAL));
        assert_true(stat_search_wants(&s, stat_text(800, 150, 150)));

        words[3] = 400;
        words[4] = 300;
        stat_search_learn(&s, stat_text(800, 390, 290), words, 10, stat_text(800, 410, 310));
        have = stat_search_terms(&s, stat_text(800, 410, 310), terms, &n);
        assert_int_equal(n, 3);
        assert_true(have & (UINT64_C(1) << WALK_PGSTEAL) && have & (UINT64_C(1) << WALK_PGSCAN));
        assert_false(stat_search_wants(&s, stat_text(800, 410, 310)));
}

/* One look proves nothing, and neither does the same value twice. */
static void test_search_coincidence(void **state _unused_) {
        uint64_t words[4] = { 0, 9, 0, 0 };
        StatSearch s;

        stat_search_init(&s, PAGE);
        for (int i = 0; i < 5; i++)
                stat_search_learn(&s, stat_text(0, 9, 0), words, 4, stat_text(0, 9, 0));
        assert_int_equal(s.keys[9].word, -1);
        /* A large one stands for itself, where the file stood still; unless two have it. */
        words[2] = words[3] = 77;
        stat_search_learn(&s, stat_text(0, 9, 77), words, 4, stat_text(0, 9, 77));
        assert_int_equal(s.keys[13].word, -1);
        stat_search_init(&s, PAGE);
        words[3] = 0;
        stat_search_learn(&s, stat_text(0, 9, 76), words, 4, stat_text(0, 9, 77));
        assert_int_equal(s.keys[13].word, -1);
        stat_search_learn(&s, stat_text(0, 9, 77), words, 4, stat_text(0, 9, 77));
        assert_int_equal(s.keys[13].word, 2);

        /* It was another's: nobody is left, and the search begins anew. */
        words[1] = 20;
        words[2] = 14;
        stat_search_learn(&s, stat_text(0, 14, 0), words, 4, stat_text(0, 14, 0));
        words[2] = 15;
        stat_search_learn(&s, stat_text(0, 15, 0), words, 4, stat_text(0, 15, 0));
        words[2] = 16;
        stat_search_learn(&s, stat_text(0, 16, 0), words, 4, stat_text(0, 16, 0));
        assert_int_equal(s.keys[9].word, 2);
}

/* A use that goes up and down leaves another's word alone between its two readings: that proves nothing, however often. */
static void test_search_use_in_motion(void **state _unused_) {
        uint64_t words[4] = { 0, 1000, 500, 0 };
        StatSearch s;

        stat_search_init(&s, PAGE);
        stat_search_learn(&s, stat_text(100, 0, 0), words, 4, stat_text(900, 0, 0));
        words[1] = 950;
        stat_search_learn(&s, stat_text(200, 0, 0), words, 4, stat_text(700, 0, 0));
        assert_int_equal(s.keys[0].word, -1);
        for (uint64_t v = 950; v < 980; v += 10) {
                words[1] = v;
                stat_search_learn(&s, stat_text(v - 1, 0, 0), words, 4, stat_text(v + 1, 0, 0));
        }
        assert_int_equal(s.keys[0].word, 1);
}

/* The loader. This program is one itself: what it does then is in place of the hierarchy's name. */

static int be_loader(const char *how) {
        int fds[_WALK_FD_MAX] = { open("/dev/null", O_RDONLY), memfd_create("r", 0), memfd_create("c", 0) };
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof fds)];
        } control = {};
        LoaderAnswer a = { .error = streq(how, "refuse") ? -EACCES : 0, .n_fds = streq(how, "fewer") ? 1 : _WALK_FD_MAX };
        struct iovec iov = { &a, streq(how, "short") ? 5 : sizeof a };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (streq(how, "silent"))
                return 0;
        if (streq(how, "refuse"))
                (void) snprintf(a.reason, sizeof a.reason, "the program cannot be loaded: R4 has no bounds");
        if (!streq(how, "nofds")) {
                if (ftruncate(fds[1], 1 << 20) < 0 || ftruncate(fds[2], 1 << 20) < 0)
                        return 1;
                m.msg_control = &control;
                m.msg_controllen = sizeof control;
                control.header = (struct cmsghdr) { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fds) };
                memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
        }
        return sendmsg(LOADER_FD, &m, 0) < 0;
}

static size_t count_fds(void) {
        DIR *d = opendir("/proc/self/fd");
        size_t n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        (void) closedir(d);
        return n;
}

static void load(Census *c, const char *root, const char *loader) {
        sd_event *event = NULL;

        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(census_init(c, event, root, loader), 0);
        (void) census_load(c, 16);
        while (loading_is_on(&c->loading))
                assert_true(sd_event_run(event, 10 * SEC) > 0);
        sd_event_unref(event);
}

static void test_no_program(void **state _unused_) {
        static const struct {
                const char *how, *loader, *reason;
        } cases[] = {
                { "silent", "/proc/self/exe", "without an answer" },
                { "short", "/proc/self/exe", "without an answer" },
                { "nofds", "/proc/self/exe", "handed over nothing" },
                { "fewer", "/proc/self/exe", "handed over nothing" },
                { "refuse", "/proc/self/exe", "R4 has no bounds" },
                { "x", "/nowhere/cgd-bpf", "built without libbpf" },
                { "x", "/", "Permission denied" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                size_t n_fds = count_fds();
                Census c;

                load(&c, cases[i].how, cases[i].loader);
                assert_int_equal(c.link_fd, -EBADF);
                if (!strstr(census_reason(&c), cases[i].reason))
                        fail_msg("%s: '%s' is not in '%s'", cases[i].how, cases[i].reason, census_reason(&c));
                assert_false(census_take(&c));
                /* It is not asked again. */
                (void) census_load(&c, 32);
                assert_false(loading_is_on(&c.loading));
                census_done(&c);
                /* What was handed over all the same is not kept. */
                assert_int_equal(count_fds(), n_fds);
        }
}

static void test_handed_over(void **state _unused_) {
        Census c;

        load(&c, "works", "/proc/self/exe");
        assert_true(c.link_fd >= 0);
        assert_string_equal(census_reason(&c), "");
        assert_int_equal(c.n_max, 16);
        /* No iterator: the walk fails, and says so. */
        assert_false(census_take(&c));
        assert_non_null(strstr(census_reason(&c), "the walk failed"));

        /* A larger map knows what the smaller one had learnt. */
        c.control->n_terms = 3;
        c.control->stat_have = 7;
        assert_int_equal(census_load(&c, 40), 0);
        while (loading_is_on(&c.loading))
                assert_true(sd_event_run(c.loading.event, 10 * SEC) > 0);
        assert_int_equal(c.n_max, 40);
        assert_int_equal(c.control->n_terms, 3);
        assert_int_equal(c.control->stat_have, 7);

        /* Ended while its loader still runs. */
        assert_int_equal(census_load(&c, 50), 0);
        census_done(&c);
}

#ifdef CGD_BPF
static const char *hierarchy(void) {
        if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
                return "/sys/fs/cgroup";
        return access("/sys/fs/cgroup/unified/cgroup.controllers", F_OK) == 0 ? "/sys/fs/cgroup/unified" : NULL;
}

/* In a child, which it may spoil; what the real loader says then. */
static void reason_of(void (*spoil)(void), char reason[static 256]) {
        int fds[2], status;
        pid_t pid;

        assert_int_equal(pipe(fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Census c;

                if (spoil)
                        spoil();
                load(&c, hierarchy(), CGD_BPF);
                if (c.link_fd >= 0)
                        (void) census_take(&c);
                (void) snprintf(reason, 256, "%s", census_reason(&c));
                if (write(fds[1], reason, 256) < 0)
                        _exit(1);
                _exit(0);
        }
        assert_int_equal(read(fds[0], reason, 256), 256);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        (void) close(fds[0]);
        (void) close(fds[1]);
}

static void spoil_rights(void) {
        (void) prctl(PR_CAPBSET_DROP, CAP_BPF);
        (void) prctl(PR_CAPBSET_DROP, CAP_PERFMON);
        (void) prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN);
}

static void spoil_types(void) {
        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL) < 0)
                _exit(1);
}

static void test_real_loader(void **state _unused_) {
        char reason[256];

        if (geteuid() != 0 || !hierarchy() || access("/sys/kernel/btf", X_OK) < 0) {
                print_message("needs root, cgroup v2 and a kernel with BTF\n");
                skip();
        }
        reason_of(NULL, reason);
        if (*reason) {
                print_message("this kernel refuses: %s\n", reason);
                skip();
        }
        reason_of(spoil_rights, reason);
        assert_non_null(strstr(reason, "CAP_BPF"));
        reason_of(spoil_types, reason);
        assert_non_null(strstr(reason, "does not describe its types"));
}
#endif

/* Rows of records and files. The tree is a fake one; the records are written by the test. */

#define RECORDS_MAX 8
#define RECORDS_ROOM 48

typedef struct Fixture {
        char root[TEST_DIR_SIZE];
        Registry registry;
        Walk walk;
        Census census;
        WalkControl control;
        WalkRecord map[RECORDS_ROOM], next[RECORDS_ROOM];  /* what the "kernel" writes into the map */
        size_t n_next;
        int error;
} Fixture;

static Fixture *fixture;

static int fake_pass(Census *c) {
        Fixture *f = fixture;

        c->control->n_records = f->n_next;
        for (size_t i = 0; i < f->n_next && i < c->n_max; i++)
                f->map[i] = f->next[i];
        return f->error;
}

static void put(Fixture *f, const char *cgroup, const char *file, const char *text) {
        char path[256];
        int fd;

        (void) snprintf(path, sizeof path, "%s/%s/%s", f->root, cgroup, file);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        (void) close(fd);
}

static uint64_t make(Fixture *f, const char *cgroup) {
        char path[256];
        struct stat st;

        (void) snprintf(path, sizeof path, "%s/%s", f->root, cgroup);
        (void) mkdir(path, 0755);
        put(f, cgroup, "memory.current", "1048576\n");
        put(f, cgroup, "memory.swap.current", "0\n");
        put(f, cgroup, "memory.high", "max\n");
        put(f, cgroup, "memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
        put(f, cgroup, "memory.events.local", "low 0\nhigh 1\nmax 2\n");
        assert_int_equal(stat(path, &st), 0);
        return st.st_ino;
}

static WalkRecord *record(Fixture *f, uint64_t id, uint64_t parent_id) {
        WalkRecord *r = &f->next[f->n_next++];

        *r = (WalkRecord) { .id = id, .parent_id = parent_id };
        return r;
}

static void record_set(WalkRecord *r, WalkField field, uint64_t v) {
        r->have |= UINT64_C(1) << field;
        r->value[field] = v;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof *f);

        fixture = f;
        *state = f;
        test_dir_make_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : P_tmpdir, f->root);
        assert_int_equal(registry_init(&f->registry, f->root, NULL), 0);
        walk_init(&f->walk, &f->registry, PAGE);
        f->census = (Census) { .link_fd = 1000, .control = &f->control, .records = f->map, .n_max = RECORDS_MAX, .pass = fake_pass };
        f->walk.census = &f->census;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        walk_done(&f->walk);
        registry_done(&f->registry);
        test_dir_remove(f->root);
        free(f);
        return 0;
}

static const CgroupSample *row(const Fixture *f, const char *path) {
        for (size_t i = 0; i < f->walk.n_rows; i++)
                if (streq(f->walk.rows[i].path, path))
                        return &f->walk.rows[i];
        return NULL;
}

static uint64_t value(const Fixture *f, const char *path, CgroupField field) {
        const CgroupSample *r = row(f, path);
        uint64_t v = 0;

        assert_non_null(r);
        assert_true(cgroup_sample_get(r, field, &v));
        return v;
}

/* A slice is a domain, so that it has every field. */
static uint64_t make_domain(Fixture *f) {
        char *paths[] = { (char *) "/a.slice", NULL };
        uint64_t id = make(f, "a.slice");

        assert_int_equal(registry_set_domains(&f->registry, paths), 0);
        return id;
}

static void test_rows(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, a = make_domain(f);
        WalkRecord *r;

        (void) record(f, root, 0);
        r = record(f, a, root);
        record_set(r, WALK_MEMORY_CURRENT, 512);
        record_set(r, WALK_MEMORY_HIGH, INT64_MAX / PAGE);
        record_set(r, WALK_MEMORY_MAX, 1000);
        record_set(r, WALK_MEMORY_SOME, 7000);
        record_set(r, WALK_MEMORY_FULL, 3999);
        walk_all(&f->walk, SEC);
        assert_false(f->walk.incomplete);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_CURRENT), 512 * PAGE);
        assert_true(value(f, "/a.slice", CGROUP_MEMORY_HIGH) == LIMIT_MAX);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_MAX), 1000 * PAGE);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_SOME), 7);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_FULL), 3);
        /* An unknown field is one from its file. */
        assert_int_equal(value(f, "/a.slice", CGROUP_EVENTS_HIGH), 1);
        assert_int_equal(value(f, "/a.slice", CGROUP_SWAP_CURRENT), 0);

        /* Pressure does not go back by a little. */
        f->next[1].value[WALK_MEMORY_SOME] = 5000;
        f->walk.trial.rounds = TRIAL_ROUNDS;
        walk_hot(&f->walk, 2 * SEC);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_SOME), 7);
        f->next[1].value[WALK_MEMORY_SOME] = 900000000;
        walk_hot(&f->walk, 2 * SEC + 1);
        f->next[1].value[WALK_MEMORY_SOME] = 8000;
        walk_hot(&f->walk, 2 * SEC + 2);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_SOME), 8);

        /* The walk fails once: files. */
        f->error = -ENOMEM;
        f->n_next = 0;
        walk_all(&f->walk, 3 * SEC);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_CURRENT), MB);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_SOME), 11);
}

/* The forecast of a domain's limit needs to know of its page cache, whether anybody asks about io or not; of others nobody does. */
static void test_cache_of_a_domain(void **state) {
        static const WalkField fields[] = { WALK_MEMORY_CURRENT, WALK_PGSCAN, WALK_PGSTEAL, WALK_REFAULT, WALK_ACTIVATE, WALK_CACHE };
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, ids[] = { make_domain(f), make(f, "b.slice") };

        (void) record(f, root, 0);
        for (size_t i = 0; i < 2; i++) {
                WalkRecord *r = record(f, ids[i], root);

                put(f, i ? "b.slice" : "a.slice", "memory.stat", "file 8192\nshmem 4096\ninactive_file 3000\nactive_file 1096\nfile_dirty 5\nfile_writeback 6\npgscan 7\npgsteal 8\n");
                for (size_t k = 0; k < ARRAY_SIZE(fields); k++)
                        record_set(r, fields[k], 100);
        }
        walk_all(&f->walk, SEC);
        assert_int_equal(value(f, "/a.slice", CGROUP_CACHE), 4096);
        assert_int_equal(value(f, "/a.slice", CGROUP_FILE_DIRTY), 5);
        assert_int_equal(value(f, "/a.slice", CGROUP_FILE_WRITEBACK), 6);
        assert_int_equal(value(f, "/b.slice", CGROUP_PGSTEAL), 100);
        assert_false(row(f, "/b.slice")->have & (1u << CGROUP_CACHE));
}

/* A record costs nothing: page cache of who stands still otherwise is that of now. */
static void test_cache_at_rest(void **state) {
        static const WalkField fields[] = { WALK_MEMORY_CURRENT, WALK_PGSCAN, WALK_PGSTEAL, WALK_REFAULT, WALK_ACTIVATE,
                                            WALK_CACHE, WALK_FILE_DIRTY, WALK_FILE_WRITEBACK };
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, a = make(f, "a.slice");

        put(f, ".", "memory.stat", "pgscan 7\npgsteal 8\n");
        for (uint64_t k = 1; k <= 2; k++) {
                WalkRecord *r;

                f->n_next = 0;
                (void) record(f, root, 0);
                r = record(f, a, root);
                for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                        record_set(r, fields[i], fields[i] == WALK_CACHE ? 100 * k : 1000);
                walk_all(&f->walk, 10 * k * SEC);
                assert_int_equal(value(f, "/a.slice", CGROUP_CACHE), 100 * k * PAGE);
        }
}

static size_t details(const Known *n) {
        size_t k = n->detail != NULL;

        for (const Known *c = n->children; c; c = c->next)
                k += details(c);
        return k;
}

/* From whom much was stolen is looked at closely at the heartbeat, and not for ever after. */
static void test_details_at_rest(void **state) {
        Fixture *f = *state;
        char name[32], text[64];

        f->walk.census = NULL;
        f->registry.files_max = 0;
        put(f, ".", "memory.stat", "pgscan 0\npgsteal 0\n");
        for (int i = 0; i < 310; i++) {
                (void) snprintf(name, sizeof name, "s%03d.service", i);
                (void) make(f, name);
                put(f, name, "memory.stat", "pgscan 0\npgsteal 0\n");
        }
        walk_all(&f->walk, SEC);
        for (int i = 1; i <= 3; i++) {
                (void) snprintf(text, sizeof text, "pgscan %d\npgsteal %d\n", 1000 * i, 1000 * i);
                put(f, ".", "memory.stat", text);
                (void) snprintf(name, sizeof name, "s%03d.service", i);
                put(f, name, "memory.stat", "pgscan 1000\npgsteal 1000\n");
                walk_all(&f->walk, (uint64_t) i * 10 * SEC);
                assert_int_equal(details(f->registry.root), 1);
                assert_non_null(row(f, "/s001.service"));
        }
}

/* Of very many cgroups few are looked at, and their files are read for less; unless there are as many domains. */
static void test_hot_by_what_is_cheaper(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, a = make_domain(f);

        (void) record(f, root, 0);
        record_set(record(f, a, root), WALK_MEMORY_CURRENT, 512);
        walk_all(&f->walk, SEC);
        f->walk.trial.rounds = TRIAL_ROUNDS;
        f->census.usual_usec = 300000;
        walk_hot(&f->walk, 2 * SEC);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_CURRENT), MB);
        f->walk.hot_cost_usec = 400000;
        walk_hot(&f->walk, 3 * SEC);
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_CURRENT), 512 * PAGE);
}

/* One without the memory controller has no file to look for, look after look. */
static void test_without_the_controller(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, a = make_domain(f), b;
        const CgroupSample *found;
        uint64_t v;

        b = make(f, "a.slice/b.service");
        (void) record(f, root, 0);
        record_set(record(f, a, root), WALK_MEMORY_CURRENT, 512);
        record_set(record(f, b, a), WALK_POPULATED, 1);
        walk_all(&f->walk, SEC);
        found = row(f, "/a.slice/b.service");
        assert_non_null(found);
        /* The file is there, and is not read. */
        assert_false(cgroup_sample_get(found, CGROUP_MEMORY_CURRENT, &v));
        /* A kernel of which no record says what is used: files. */
        f->next[1].have = 0;
        walk_all(&f->walk, 2 * SEC);
        assert_int_equal(value(f, "/a.slice/b.service", CGROUP_MEMORY_CURRENT), MB);
}

static void test_born_and_gone(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, a = make_domain(f), b, c;
        WalkRecord *r;
        char path[256];

        (void) record(f, root, 0);
        record_set(record(f, a, root), WALK_MEMORY_CURRENT, 512);
        walk_all(&f->walk, SEC);

        /* Born since, with a child: both are found by their records. */
        b = make(f, "a.slice/b.service");
        c = make(f, "a.slice/b.service/c");
        r = record(f, b, a);
        record_set(r, WALK_MEMORY_CURRENT, 300);
        record_set(record(f, c, b), WALK_MEMORY_CURRENT, 200);
        f->walk.trial.rounds = TRIAL_ROUNDS;
        walk_all(&f->walk, 2 * SEC);
        assert_false(f->walk.incomplete);
        assert_int_equal(value(f, "/a.slice/b.service", CGROUP_MEMORY_CURRENT), 300 * PAGE);
        assert_int_equal(value(f, "/a.slice/b.service/c", CGROUP_MEMORY_CURRENT), 200 * PAGE);
        assert_int_equal(value(f, "/a.slice/b.service/c", CGROUP_MEMORY_CURRENT), 200 * PAGE);

        /* Gone between the walk and us: its record is all there is, until the next walk lacks it. */
        (void) snprintf(path, sizeof path, "rm -r %s/a.slice/b.service/c", f->root);
        test_sh("%s", path);
        walk_all(&f->walk, 3 * SEC);
        assert_non_null(row(f, "/a.slice/b.service"));
        f->n_next = 3;
        walk_all(&f->walk, 4 * SEC);
        walk_all(&f->walk, 5 * SEC);
        assert_null(row(f, "/a.slice/b.service/c"));

        /* One went and one came: the parent has as many as before. */
        b = make(f, "e.slice");
        (void) record(f, b, root);
        walk_all(&f->walk, 5 * SEC + 1);
        test_sh("rm -r %s/e.slice", f->root);
        c = make(f, "f.slice");
        f->next[3] = (WalkRecord) { .id = c, .parent_id = root };
        record_set(&f->next[3], WALK_MEMORY_CURRENT, 77);
        walk_all(&f->walk, 5 * SEC + 2);
        assert_false(f->walk.incomplete);
        assert_int_equal(value(f, "/f.slice", CGROUP_MEMORY_CURRENT), 77 * PAGE);
        f->n_next = 3;
        test_sh("rm -r %s/f.slice", f->root);
        b = f->next[2].id;

        /* Born since, and removed before its parent was listed: nothing is missing. */
        (void) record(f, 999999999, b);
        walk_all(&f->walk, 6 * SEC);
        assert_false(f->walk.incomplete || f->registry.incomplete);
        assert_int_equal(value(f, "/a.slice/b.service", CGROUP_MEMORY_CURRENT), 300 * PAGE);

        /* Another hierarchy's root: nothing of it is ours. */
        f->next[0].id = 12345;
        walk_all(&f->walk, 7 * SEC);
        assert_int_equal(value(f, "/a.slice/b.service", CGROUP_MEMORY_CURRENT), MB);
}

/* More cgroups than the map has room for: the rest is read from files. */
static void test_cut(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id;
        char name[64];

        (void) record(f, root, 0);
        for (int i = 0; i < 10; i++) {
                (void) snprintf(name, sizeof name, "s%d.service", i);
                record_set(record(f, make(f, name), root), WALK_MEMORY_CURRENT, 512);
        }
        walk_all(&f->walk, SEC);
        assert_true(census_is_cut(&f->census));
        assert_false(f->walk.counted);
        assert_int_equal(f->walk.n_rows, 11);
        assert_int_equal(value(f, "/s0.service", CGROUP_MEMORY_CURRENT), 512 * PAGE);
        assert_int_equal(value(f, "/s9.service", CGROUP_MEMORY_CURRENT), MB);
        assert_false(f->walk.incomplete);
}

/* Deeper than we follow: nothing is wrong with a walk that has records of them and no nodes. */
static void test_deep(void **state) {
        Fixture *f = *state;
        uint64_t parent = f->registry.root->id;
        char path[256] = "d";
        WalkRecord *r;

        f->census.n_max = RECORDS_ROOM;
        (void) record(f, parent, 0);
        for (int i = 0; i < 40; i++, strcat(path, "/d")) {
                uint64_t id = make(f, path);

                r = record(f, id, parent);
                record_set(r, WALK_MEMORY_CURRENT, 512);
                parent = id;
        }
        walk_all(&f->walk, SEC);
        assert_true(f->walk.counted);
        assert_false(f->walk.incomplete || f->registry.incomplete);
        assert_int_equal(f->walk.n_rows, 33);
        assert_int_equal(f->registry.n_left_out, f->registry.trust_links);
        walk_hot(&f->walk, 2 * SEC);
        assert_false(f->walk.incomplete || f->registry.incomplete);

        /* No longer. */
        test_sh("rm -r %s/d/d/d", f->root);
        f->n_next = 3;
        (void) record(f, make(f, "d/d/e"), f->next[2].id);
        walk_all(&f->walk, 3 * SEC);
        assert_false(f->walk.incomplete || f->registry.incomplete);
        assert_int_equal(f->walk.n_rows, 4);
        assert_int_equal(f->registry.n_left_out, 0);
}

/* More than we follow, by records and by files; once there is room they are looked at. */
static void test_many(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, ids[4];
        char name[64];

        f->registry.known_max = 3;
        (void) record(f, root, 0);
        for (int i = 0; i < 4; i++) {
                (void) snprintf(name, sizeof name, "s%d.service", i);
                ids[i] = make(f, name);
                record_set(record(f, ids[i], root), WALK_MEMORY_CURRENT, 512);
        }
        (void) record(f, make(f, "s3.service/inner"), ids[3]);
        for (int i = 0; i < 2; i++) {
                walk_all(&f->walk, (uint64_t) (1 + i) * SEC);
                assert_int_equal(f->walk.counted, i == 0);
                assert_false(f->walk.incomplete || f->registry.incomplete);
                assert_int_equal(f->walk.n_rows, 3);
                assert_int_equal(f->registry.n_left_out, 2);
                f->error = -ENOMEM;
        }
        f->error = 0;
        f->registry.known_max = 20;
        walk_all(&f->walk, 3 * SEC);
        assert_true(f->walk.counted);
        assert_false(f->walk.incomplete || f->registry.incomplete);
        assert_int_equal(f->walk.n_rows, 6);
        assert_int_equal(f->registry.n_left_out, 0);
}

/* Whoever makes as many as he can in his unit keeps out nobody but his own, and all of those together no unit and no slice. */
static void test_many_in_units(void **state) {
        Fixture *f = *state;
        char name[64];

        f->error = -ENOMEM;     /* by files alone */
        f->registry.known_max = 40;
        for (int u = 0; u < 6; u++) {
                (void) snprintf(name, sizeof name, "u%d.service", u);
                (void) make(f, name);
                for (int i = 0; i < 3; i++) {
                        (void) snprintf(name, sizeof name, "u%d.service/x%d", u, i);
                        (void) make(f, name);
                }
                for (int i = 0; i < 4; i++) {
                        (void) snprintf(name, sizeof name, "u%d.service/x0/y%d", u, i);
                        (void) make(f, name);
                }
                walk_all(&f->walk, (uint64_t) (1 + u) * SEC);
                assert_int_equal(f->walk.n_rows, 1 + 6 * (u + 1));
                assert_int_equal(f->registry.n_left_out, 2 * (u + 1));
        }
        (void) make(f, "foreign");
        (void) make(f, "foreign/in");
        (void) make(f, "z.slice");
        (void) make(f, "z.slice/z.service");
        walk_all(&f->walk, 10 * SEC);
        assert_int_equal(f->walk.n_rows, 40);
        assert_non_null(row(f, "/z.slice/z.service"));
        assert_null(row(f, "/foreign/in"));
        assert_int_equal(f->registry.n_left_out, 13);

        test_sh("rm -r %s/u0.service", f->root);
        walk_all(&f->walk, 11 * SEC);
        assert_non_null(row(f, "/foreign/in"));
        assert_int_equal(f->walk.n_rows, 35);
        assert_int_equal(f->registry.n_inside, 26);
        test_sh("rm -r %s/u?.service %s/foreign", f->root, f->root);
        walk_all(&f->walk, 12 * SEC);
        assert_int_equal(f->walk.n_rows, 3);
        assert_int_equal(f->registry.n_inside, 0);
        assert_int_equal(f->registry.n_left_out, 0);
}

/* Where some are left out of a unit it is listed at the heartbeat only, though there is room for one of them before that. */
static void test_many_are_not_listed_in_a_hurry(void **state) {
        Fixture *f = *state;
        char name[64];

        f->error = -ENOMEM;     /* by files alone */
        f->registry.known_max = 40;
        f->registry.files_max = 0;
        (void) make(f, "u.service");
        for (int i = 0; i < 7; i++) {
                (void) snprintf(name, sizeof name, "u.service/x%d", i);
                (void) make(f, name);
        }
        walk_all(&f->walk, SEC);
        assert_int_equal(f->registry.n_left_out, 2);
        test_sh("rm -r %s/u.service/x0", f->root);
        put(f, "u.service", "memory.current", "99999744\n");
        walk_hot(&f->walk, 2 * SEC);
        assert_non_null(row(f, "/u.service/x1"));
        assert_null(row(f, "/u.service/x0"));
        assert_null(row(f, "/u.service/x5"));
        walk_all(&f->walk, 3 * SEC);
        assert_non_null(row(f, "/u.service/x5"));
        assert_int_equal(f->registry.n_left_out, 1);
}

static bool is_late(const Fixture *f, const char *path) {
        const CgroupSample *r = row(f, path);

        assert_non_null(r);
        return r->late;
}

/* Who was left out and now has a row need not have been born just now, nor who is in there. */
static void test_room_for_old_ones(void **state) {
        static const char *const names[] = { "s0.service", "s1.service", "s2.service", "s3.service", "s3.service/inner" };
        Fixture *f = *state;

        f->error = -ENOMEM;     /* by files alone */
        f->registry.known_max = 3;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                (void) make(f, names[i]);
        walk_all(&f->walk, 1 * SEC);
        assert_int_equal(f->walk.n_rows, 3);
        assert_false(is_late(f, "/s0.service") || is_late(f, "/s1.service"));
        /* As many are gone as there were too many. */
        test_sh("rm -r %s/s0.service %s/s1.service", f->root, f->root);
        walk_all(&f->walk, 2 * SEC);
        assert_int_equal(f->walk.n_rows, 3);
        assert_true(is_late(f, "/s2.service") && is_late(f, "/s3.service"));
        (void) make(f, "s5.service");
        (void) make(f, "s5.service/inner");
        walk_all(&f->walk, 3 * SEC);
        assert_int_equal(f->walk.n_rows, 3);
        f->registry.known_max = 20;
        walk_all(&f->walk, 4 * SEC);
        assert_int_equal(f->walk.n_rows, 6);
        assert_true(is_late(f, "/s3.service/inner") && is_late(f, "/s5.service") && is_late(f, "/s5.service/inner"));

        (void) make(f, "s4.service");
        (void) make(f, "s5.service/new");
        walk_all(&f->walk, 5 * SEC);
        assert_false(f->walk.incomplete || f->registry.incomplete);
        assert_int_equal(f->walk.n_rows, 8);
        assert_false(is_late(f, "/s4.service") || is_late(f, "/s5.service/new"));
}

/* A kernel whose fields mean something else than we think. */
static void test_distrust(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, a = make_domain(f);
        char words[200];
        WalkRecord *r;

        (void) record(f, root, 0);
        r = record(f, a, root);
        record_set(r, WALK_MEMORY_CURRENT, MB / PAGE);
        record_set(r, WALK_MEMORY_SOME, 11000);
        record_set(r, WALK_MEMORY_FULL, 500000000);
        walk_all(&f->walk, SEC);
        walk_all(&f->walk, 2 * SEC);
        assert_int_equal(f->walk.trial.distrusted, 0);
        walk_all(&f->walk, 3 * SEC);
        assert_int_equal(f->walk.trial.distrusted, UINT64_C(1) << WALK_MEMORY_FULL);
        trial_words(&f->walk.trial, words, sizeof words);
        assert_string_equal(words, "memory.pressure full");
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_FULL), 5);

        /* Use may differ by what is charged meanwhile, not by all of it. */
        f->walk.trial = (Trial) {};
        f->next[1].value[WALK_MEMORY_CURRENT] = 10 * MB;
        for (unsigned i = 0; i < TRIAL_ROUNDS; i++)
                walk_all(&f->walk, (4 + i) * SEC);
        assert_true(f->walk.trial.distrusted & (UINT64_C(1) << WALK_MEMORY_CURRENT));
        assert_int_equal(value(f, "/a.slice", CGROUP_MEMORY_CURRENT), MB);
        assert_false(trial_is_on(&f->walk.trial));
}

/* Who has a delegated tree writes his limits whenever he likes, between two readings too: that says nothing of the walk. */
static void test_no_distrust_for_what_an_owner_does(void **state) {
        Fixture *f = *state;
        uint64_t root = f->registry.root->id, unit;

        (void) record(f, root, 0);
        unit = make(f, "a.service");
        record_set(record(f, unit, root), WALK_MEMORY_HIGH, INT64_MAX / PAGE);
        record_set(record(f, make(f, "a.service/his"), unit), WALK_MEMORY_HIGH, 4711);
        for (unsigned i = 0; i < TRIAL_ROUNDS + 2; i++)
                walk_all(&f->walk, (1 + i) * SEC);
        assert_int_equal(f->walk.trial.distrusted, 0);
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_search),
                cmocka_unit_test(test_search_coincidence),
                cmocka_unit_test(test_search_use_in_motion),
                cmocka_unit_test(test_no_program),
                cmocka_unit_test(test_handed_over),
#ifdef CGD_BPF
                cmocka_unit_test(test_real_loader),
#endif
                cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
                cmocka_unit_test_setup_teardown(test_details_at_rest, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cache_of_a_domain, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cache_at_rest, setup, teardown),
                cmocka_unit_test_setup_teardown(test_hot_by_what_is_cheaper, setup, teardown),
                cmocka_unit_test_setup_teardown(test_without_the_controller, setup, teardown),
                cmocka_unit_test_setup_teardown(test_born_and_gone, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deep, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_in_units, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_are_not_listed_in_a_hurry, setup, teardown),
                cmocka_unit_test_setup_teardown(test_room_for_old_ones, setup, teardown),
                cmocka_unit_test_setup_teardown(test_distrust, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_distrust_for_what_an_owner_does, setup, teardown),
        };

        if (argc >= 3 && streq(argv[0], "cgd-bpf"))
                return be_loader(argv[2]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
