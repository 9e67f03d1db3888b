/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The journal: what an entry becomes, field by field, as journald would get it. */

#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/str.h"
#include "base/test.h"
#include "base/units.h"
#include "record/journal.h"

#define SENT_MAX 8

/* What was sent: "\nFIELD=value" one after the other. The thread that sends has ended when it is looked at. */
static char sent[SENT_MAX][4096];
static size_t n_sent;

/* In the place of libsystemd's. */
int sd_journal_sendv_with_location(_unused_ const char *file, _unused_ const char *line, _unused_ const char *func,
                                   const struct iovec *iov, int n) {
        size_t k = 0;

        for (int i = 0; i < n && n_sent < SENT_MAX; i++)
                k += (size_t) snprintf(sent[n_sent] + k, sizeof(sent[0]) - k, "\n%.*s", (int) iov[i].iov_len,
                                       (const char *) iov[i].iov_base);
        n_sent++;
        return 0;
}

static Journal *begin(void) {
        Journal *j = NULL;

        n_sent = 0;
        memset(sent, 0, sizeof(sent));
        assert_int_equal(journal_new(&j), 0);
        return j;
}

/* A line's field; NULL where it has none. */
static const char *field(size_t line, const char *name) {
        static char value[1024];
        char start[64];
        const char *p;

        (void) snprintf(start, sizeof(start), "\n%s=", name);
        p = strstr(sent[line], start);
        if (!p)
                return NULL;
        p += strlen(start);
        (void) snprintf(value, sizeof(value), "%.*s", (int) strcspn(p, "\n"), p);
        return value;
}

static Incident incident_of(const char *culprit) {
        Incident i = { .id = 7, .domain = "workload", .alarm = "memory", .culprit_id = 2 };

        (void) snprintf(i.culprit, sizeof(i.culprit), "%s", culprit);
        return i;
}

static void test_units(void **state) {
        static const struct {
                const char *path, *unit;
        } table[] = {
                { "/sideload.slice/hog.service", "hog.service" },
                { "/machine.slice/machine-qemu\\x2d1.scope", "machine-qemu\\x2d1.scope" },
                /* What a unit has within itself, and somebody's own manager, are that unit's. */
                { "/machine.slice/machine-qemu\\x2d1.scope/libvirt/vcpu0", "machine-qemu\\x2d1.scope" },
                { "/user.slice/user-1.slice/user@1.service/app.slice/y.service", "user@1.service" },
                { "/sideload.slice", "sideload.slice" },
                { "/sideload.slice/made-by-hand", NULL },
                { "/lxc/box", NULL },
                { "/", NULL },
                { "", NULL },
                { "...ice/app.slice/y.service", NULL },
        };

        (void) state;
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                Incident incident = incident_of(table[i].path);
                Action kill = { .incident_id = 7 };
                Journal *j = begin();

                (void) snprintf(kill.path, sizeof(kill.path), "%s", table[i].path);
                journal_entry(j, &incident, &(IncidentEntry) { .type = ENTRY_CALM });
                journal_hook(j, &incident, &kill, false, "a command");
                journal_oom(j, 9, "hog", table[i].path, "");
                journal_free(j);
                assert_int_equal(n_sent, 3);
                for (size_t k = 0; k < n_sent; k++)
                        if (table[i].unit)
                                assert_string_equal(field(k, "OBJECT_SYSTEMD_UNIT") ?: "", table[i].unit);
                        else
                                assert_null(field(k, "OBJECT_SYSTEMD_UNIT"));
        }
}

/* One line about an incident of that culprit. */
static void tell(const char *culprit, IncidentEntryType type) {
        Incident i = incident_of(culprit);
        Journal *j = begin();

        journal_entry(j, &i, &(IncidentEntry) { .type = type });
        journal_free(j);
        assert_int_equal(n_sent, 1);
}

static void test_escaped(void **state) {
        (void) state;
        tell("/a.slice/\x1b[31m.service", ENTRY_BUDGET);
        assert_string_equal(field(0, "CGD_CULPRIT"), "/a.slice/\\x1b[31m.service");
        assert_null(strchr(field(0, "MESSAGE"), '\x1b'));
}

static void test_spared(void **state) {
        (void) state;
        tell("/a.slice/reader.service", ENTRY_SPARED);
        assert_string_equal(field(0, "CGD_CULPRIT"), "/a.slice/reader.service");
        assert_non_null(strstr(field(0, "MESSAGE"), "not killed"));
}

static bool is_text(const char *s) {
        for (int n; *s; s += n)
                if ((n = utf8_character(s, strlen(s))) < 0)
                        return false;
        return true;
}

/* A line that is cut within a character is no text, and journalctl shows "[1K blob data]" in its place. */
static void test_cut(void **state) {
        (void) state;
        for (size_t odd = 0; odd < 2; odd++) {
                Incident i = incident_of("/\x1b");
                char path[2048] = "/a.slice/x";
                Journal *j = begin();

                for (size_t n = strlen(path) - odd; n + 2 < sizeof(path); n += 2)
                        strcpy(path + n, "\xc3\xa4");
                /* What is escaped gets longer than what was shown. */
                memcpy(i.culprit + 2, path, 240 - odd);
                journal_entry(j, &i, &(IncidentEntry) { .type = ENTRY_BUDGET });
                journal_oom(j, 9, "hog", path, "");
                journal_say(j, MESSAGE_LOADED, LOG_WARNING, "%s", path);
                journal_free(j);
                assert_int_equal(n_sent, 3);
                for (size_t k = 0; k < n_sent; k++)
                        assert_true(is_text(sent[k]));
        }
}

static void test_kill(void **state) {
        Incident i = incident_of("/sideload.slice/hog.service");
        IncidentEntry e = { .type = ENTRY_ACTION, .step = STEP_KILL, .action = ACTION_KILL, .action_id = 3 };
        Journal *j = begin();

        (void) state;
        journal_entry(j, &i, &e);
        e.type = ENTRY_OUTCOME;
        e.result = OUTCOME_DONE;
        e.before = 4;
        journal_entry(j, &i, &e);
        /* Gone before it was killed: nobody killed it. */
        e.result = OUTCOME_GONE;
        e.before = 0;
        journal_entry(j, &i, &e);
        journal_free(j);
        assert_int_equal(n_sent, 2);
        assert_string_equal(field(0, "MESSAGE_ID"), message_id(MESSAGE_KILLING));
        assert_string_equal(field(1, "MESSAGE_ID"), message_id(MESSAGE_KILLED));
        assert_string_equal(field(1, "MESSAGE"), "/sideload.slice/hog.service: killed, 4 processes (incident 7).");
}

static void test_contained(void **state) {
        Incident i = incident_of("/sideload.slice/hog.service");
        Journal *j = begin();

        (void) state;
        journal_entry(j, &i, &(IncidentEntry) { .type = ENTRY_ACTION, .step = STEP_HOLD, .action = ACTION_SET_MEMORY_HIGH,
                                                .before = LIMIT_MAX, .after = 1024 * 1024 });
        journal_free(j);
        assert_int_equal(n_sent, 1);
        assert_string_equal(field(0, "MESSAGE_ID"), message_id(MESSAGE_CONTAINED));
        assert_string_equal(field(0, "CGD_INCIDENT_ID"), "7");
        assert_string_equal(field(0, "CGD_DOMAIN"), "workload");
        assert_non_null(strstr(field(0, "MESSAGE"), "hold: memory.high"));
}

static void test_nothing_done(void **state) {
        Incident i = incident_of("/sideload.slice/hog.service");
        Journal *j = begin();

        (void) state;
        /* Of one that was contained before; by now it is about another. */
        i.n_candidates = 1;
        i.candidates[0] = (Candidate) { .cgroup_id = 2, .path = "/sideload.slice/hog.service" };
        journal_entry(j, &i, &(IncidentEntry) { .type = ENTRY_NOT_ALLOWED, .verdict = VERDICT_RANK });
        journal_entry(j, &i, &(IncidentEntry) { .type = ENTRY_NOT_ALLOWED });
        journal_free(j);
        assert_int_equal(n_sent, 2);
        assert_non_null(strstr(field(0, "MESSAGE"), verdict_explain(VERDICT_RANK)));
        assert_non_null(strstr(field(1, "MESSAGE"), "the change could not be made"));
}

/* It is about a second culprit by now; what is done to the first one is told of him. */
static void test_first_of_two(void **state) {
        Incident i = incident_of("/sideload.slice/second.service");
        Journal *j = begin();

        (void) state;
        i.n_candidates = 2;
        i.candidates[0] = (Candidate) { .cgroup_id = 2, .path = "/sideload.slice/second.service" };
        i.candidates[1] = (Candidate) { .cgroup_id = 3, .path = "/sideload.slice/first.service" };
        journal_entry(j, &i, &(IncidentEntry) { .type = ENTRY_ACTION, .step = STEP_KILL, .action = ACTION_KILL, .cgroup_id = 3 });
        journal_free(j);
        assert_int_equal(n_sent, 1);
        assert_string_equal(field(0, "CGD_CULPRIT"), "/sideload.slice/first.service");
        assert_string_equal(field(0, "OBJECT_SYSTEMD_UNIT"), "first.service");
}

static void test_adopted(void **state) {
        Incident i = { .id = 9, .alarm = "adopted", .condition = "lease found at start", .culprit = "/sideload.slice/hog.service" };
        Journal *j = begin();

        (void) state;
        journal_entry(j, &i, &(IncidentEntry) { .type = ENTRY_ALARM });
        journal_free(j);
        assert_int_equal(n_sent, 1);
        assert_string_equal(field(0, "MESSAGE_ID"), message_id(MESSAGE_ADOPTED));
        assert_string_equal(field(0, "MESSAGE"), "/sideload.slice/hog.service: its limits are taken over after a restart of cgd "
                                                 "(incident 9).");
        assert_null(field(0, "CGD_DOMAIN"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_units),
                cmocka_unit_test(test_escaped),
                cmocka_unit_test(test_spared),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_kill),
                cmocka_unit_test(test_contained),
                cmocka_unit_test(test_nothing_done),
                cmocka_unit_test(test_first_of_two),
                cmocka_unit_test(test_adopted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
