/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The journal. journald may itself be stalled by the trouble we are here for, and its socket then blocks; so
 * lines are queued in a ring of fixed places and sent from a thread of their own. Nothing is allocated
 * between a decision and its line. */

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "base/str.h"
#include "base/units.h"
#include "record/journal.h"
#include "sys/unit.h"

#define LINES_MAX 64

typedef struct Line {
        MessageKind kind;
        int priority;
        uint64_t incident_id;           /* 0 = about none */
        char domain[SHOWN_PATH_MAX];
        char culprit[SHOWN_PATH_MAX];
        char unit[UNIT_NAME_SIZE];      /* of the culprit, or of whom it is about where that is none; as systemd has it */
        char message[1024];
} Line;

struct Journal {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        Line lines[LINES_MAX];
        size_t first, n;
        uint64_t dropped;
        bool stop;
};

/* The innermost unit, for OBJECT_SYSTEMD_UNIT=: from the path as it is, for journalctl compares names byte by byte, and
 * those that systemd escapes have a backslash. A slice is that of itself and not of what somebody made in it. */
static void unit_of(const char *path, char ret_unit[static UNIT_NAME_SIZE]) {
        char above[4096], unit[UNIT_NAME_SIZE], *slash;

        /* One too long to be shown has lost its beginning, and with it where the units end. */
        if (*path != '/' || strlen(path) >= sizeof(above))
                return;
        strcpy(above, path);
        for (bool itself = true; (slash = strrchr(above, '/')); itself = false, *slash = '\0')
                if (unit_of_cgroup(above, unit) >= 0 && (itself || !endswith(unit, ".slice"))) {
                        strcpy(ret_unit, unit);
                        return;
                }
}

/* Takes away the beginning of a character whose end had no room: it would be no text for journalctl, none of the line. */
static void drop_torn(char *text) {
        size_t n = strlen(text), k = n;

        while (k > 0 && n - k < 3 && ((unsigned char) text[k - 1] & 0xc0) == 0x80)
                k--;
        if (k > 0 && (unsigned char) text[k - 1] >= 0xc0 && utf8_character(text + k - 1, n - k + 1) < 0)
                text[k - 1] = '\0';
}

static void line_send(const Line *l) {
        char id[64], incident[48], domain[SHOWN_PATH_MAX + 16], culprit[SHOWN_PATH_MAX + 16],
                unit[UNIT_NAME_SIZE + 32], message[sizeof(l->message) + 16], priority[24];
        struct iovec iov[8];
        int n = 0;

#define FIELD(buf, ...)                                                                                 \
        do {                                                                                            \
                int k = snprintf(buf, sizeof(buf), __VA_ARGS__);                                        \
                iov[n++] = (struct iovec) { .iov_base = buf, .iov_len = MIN((size_t) k, sizeof(buf) - 1) }; \
        } while (0)

        FIELD(message, "MESSAGE=%s", l->message);
        FIELD(id, "MESSAGE_ID=%s", message_id(l->kind));
        FIELD(priority, "PRIORITY=%d", l->priority);
        if (l->incident_id)
                FIELD(incident, "CGD_INCIDENT_ID=%" PRIu64, l->incident_id);
        if (l->domain[0])
                FIELD(domain, "CGD_DOMAIN=%s", l->domain);
        if (l->culprit[0])
                FIELD(culprit, "CGD_CULPRIT=%s", l->culprit);
        if (l->unit[0])
                FIELD(unit, "OBJECT_SYSTEMD_UNIT=%s", l->unit);
#undef FIELD
        if (sd_journal_sendv(iov, n) < 0)
                (void) fprintf(stderr, "<%d>%s\n", l->priority, l->message);
}

static void *journal_main(void *p) {
        Journal *j = p;

        (void) pthread_mutex_lock(&j->lock);
        for (;;) {
                Line l;

                while (j->n == 0 && !j->stop)
                        (void) pthread_cond_wait(&j->wake, &j->lock);
                if (j->n == 0)
                        break;
                l = j->lines[j->first];
                j->first = (j->first + 1) % LINES_MAX;
                j->n--;
                if (j->dropped > 0 && j->n == 0) {
                        Line d = { .kind = MESSAGE_ACTION_FAILED, .priority = LOG_WARNING };

                        (void) snprintf(d.message, sizeof(d.message),
                                        "The journal was too slow: %" PRIu64 " lines were dropped; 'cgctl incidents' has them.",
                                        j->dropped);
                        j->dropped = 0;
                        j->lines[j->first] = d;
                        j->n = 1;
                }
                (void) pthread_mutex_unlock(&j->lock);
                line_send(&l);
                (void) pthread_mutex_lock(&j->lock);
        }
        (void) pthread_mutex_unlock(&j->lock);
        return NULL;
}

int journal_new(Journal **ret) {
        Journal *j = calloc(1, sizeof(Journal));
        int r;

        if (!j)
                return -ENOMEM;
        (void) pthread_mutex_init(&j->lock, NULL);
        (void) pthread_cond_init(&j->wake, NULL);
        r = pthread_create(&j->thread, NULL, journal_main, j);
        if (r != 0) {
                free(j);
                return -r;
        }
        *ret = j;
        return 0;
}

Journal *journal_free(Journal *j) {
        struct timespec deadline;

        if (!j)
                return NULL;
        (void) pthread_mutex_lock(&j->lock);
        j->stop = true;
        (void) pthread_cond_signal(&j->wake);
        (void) pthread_mutex_unlock(&j->lock);
        (void) clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec++;
        /* A journald that does not take the line keeps the thread; the process ends anyway. */
        if (pthread_timedjoin_np(j->thread, NULL, &deadline) == 0)
                free(j);
        return NULL;
}

static void journal_queue(Journal *j, const Line *l) {
        (void) pthread_mutex_lock(&j->lock);
        if (j->n == LINES_MAX)
                j->dropped++;
        else {
                Line *place = &j->lines[(j->first + j->n++) % LINES_MAX];

                *place = *l;
                drop_torn(place->message);
                (void) pthread_cond_signal(&j->wake);
        }
        (void) pthread_mutex_unlock(&j->lock);
}

void journal_say(Journal *j, MessageKind kind, int priority, const char *format, ...) {
        Line l = { .kind = kind, .priority = priority };
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(l.message, sizeof(l.message), format, ap);
        va_end(ap);
        journal_queue(j, &l);
}

void journal_hook(Journal *j, const Incident *i, const Action *kill, bool failed, const char *what) {
        Line l = { .kind = failed ? MESSAGE_HOOK_FAILED : MESSAGE_HOOK,
                   .priority = failed ? LOG_WARNING : LOG_NOTICE,
                   .incident_id = kill->incident_id };
        _cleanup_free_ char *who = str_escape(kill->path);

        (void) snprintf(l.domain, sizeof(l.domain), "%s", i ? i->domain : "");
        (void) snprintf(l.culprit, sizeof(l.culprit), "%s", who ?: "");
        drop_torn(l.culprit);
        unit_of(kill->path, l.unit);
        (void) snprintf(l.message, sizeof(l.message), "%s: %s%s (incident %" PRIu64 ").", l.culprit, what,
                        failed ? "; killing it all the same" : "", kill->incident_id);
        journal_queue(j, &l);
}

void journal_oom(Journal *j, uint32_t pid, const char *name, const char *path, const char *domain) {
        Line l = { .kind = MESSAGE_OOM, .priority = LOG_WARNING };
        _cleanup_free_ char *who = str_escape(path), *what = str_escape(name);

        (void) snprintf(l.domain, sizeof(l.domain), "%s", domain);
        unit_of(path, l.unit);
        if (who && *who)
                (void) snprintf(l.message, sizeof(l.message), "%s: the kernel killed %s (process %" PRIu32 ") for want of memory.",
                                who, what ?: "a process", pid);
        else
                (void) snprintf(l.message, sizeof(l.message), "The kernel killed process %" PRIu32 " for want of memory.", pid);
        journal_queue(j, &l);
}

static void say_action(Line *l, const Incident *i, const IncidentEntry *e, const char *who) {
        char before[FORMAT_MAX], after[FORMAT_MAX], operations[2][FORMAT_MAX];

        (void) bytes_format_human(e->before, before);
        (void) bytes_format_human(e->after, after);
        l->kind = e->action == ACTION_KILL ? MESSAGE_KILLING : MESSAGE_CONTAINED;
        if (e->action == ACTION_KILL)
                (void) snprintf(l->message, sizeof(l->message), "%s: killing it: it makes no progress at its limit or "
                                "still hurts %s (incident %" PRIu64 ").", who, i->domain, i->id);
        else if (e->action == ACTION_SET_IO_MAX) {
                const uint64_t n[2] = { e->operations_before, e->operations_after };

                for (int k = 0; k < 2; k++)
                        if (n[k] == LIMIT_MAX)
                                (void) snprintf(operations[k], FORMAT_MAX, "any");
                        else
                                (void) snprintf(operations[k], FORMAT_MAX, "%" PRIu64, n[k]);
                (void) snprintf(l->message, sizeof(l->message), "%s: io-cap: %s of %u:%u %s/s -> %s/s, %s -> %s IOPS%s for %s "
                                "(incident %" PRIu64 "; 'cgctl why %" PRIu64 "').", who, e->writes ? "writes" : "reads",
                                e->major, e->minor, before, after, operations[0], operations[1],
                                e->type == ENTRY_BACK ? " again" : "", i->domain, i->id, i->id);
        } else if (e->type == ENTRY_BACK)
                (void) snprintf(l->message, sizeof(l->message), "%s: trouble came back: memory.high %s -> %s again "
                                "(incident %" PRIu64 ").", who, before, after, i->id);
        else
                (void) snprintf(l->message, sizeof(l->message), "%s: %s: memory.high %s -> %s for %s "
                                "(incident %" PRIu64 "; 'cgctl why %" PRIu64 "').", who,
                                step_to_string(e->step), before, after, i->domain, i->id, i->id);
}

static bool say_outcome(Line *l, const Incident *i, const IncidentEntry *e, const char *who) {
        switch (e->result) {
        case OUTCOME_DONE:
                if (e->action == ACTION_KILL) {
                        l->kind = MESSAGE_KILLED;
                        (void) snprintf(l->message, sizeof(l->message), "%s: killed, %" PRIu64 " process%s (incident %" PRIu64 ").",
                                        who, e->before, e->before == 1 ? "" : "es", i->id);
                        return true;
                }
                if (e->action == ACTION_RESTORE) {
                        l->kind = MESSAGE_LIFTED;
                        l->priority = LOG_INFO;
                        (void) snprintf(l->message, sizeof(l->message), "%s: given back (incident %" PRIu64 ").", who, i->id);
                        return true;
                }
                return false;
        case OUTCOME_GONE:      /* nobody did anything to it; the incident's end says how it ended */
                return false;
        case OUTCOME_DRIFTED:
                l->kind = MESSAGE_DRIFTED;
                (void) snprintf(l->message, sizeof(l->message), "%s: someone else changed %s meanwhile: left alone "
                                "(incident %" PRIu64 ").", who, e->action == ACTION_SET_IO_MAX ? "io.max" : "memory.high", i->id);
                return true;
        case OUTCOME_FAILED:
                l->kind = MESSAGE_ACTION_FAILED;
                (void) snprintf(l->message, sizeof(l->message), "%s: cannot %s it: %s (incident %" PRIu64 ").",
                                who, e->action == ACTION_KILL ? "kill" : "change", strerror(-e->error), i->id);
                return true;
        case OUTCOME_TIMEOUT:
                l->kind = MESSAGE_KILL_FAILED;
                (void) snprintf(l->message, sizeof(l->message), "%s: killed, but not empty after 5 s: tasks hang in the kernel "
                                "(incident %" PRIu64 ").", who, i->id);
                return true;
        case _OUTCOME_RESULT_MAX:
                break;
        }
        return false;
}

void journal_entry(Journal *j, const Incident *i, const IncidentEntry *e) {
        Line l = { .priority = LOG_NOTICE, .incident_id = i->id };
        /* Once it is about a second one, what is done to the first goes on. */
        const char *path = incident_path_of(i, e->cgroup_id) ?: e->cgroup_id == 0 ? i->culprit : "another cgroup";
        _cleanup_free_ char *who = str_escape(path);

        (void) snprintf(l.domain, sizeof(l.domain), "%s", i->domain);
        if (who)
                (void) snprintf(l.culprit, sizeof(l.culprit), "%s", who);
        drop_torn(l.culprit);
        unit_of(path, l.unit);

        switch (e->type) {
        case ENTRY_ALARM:
                l.kind = i->domain[0] ? MESSAGE_ALARM : MESSAGE_ADOPTED;
                if (i->domain[0])
                        (void) snprintf(l.message, sizeof(l.message), "%s: alarm %s: %s (incident %" PRIu64 ").",
                                        i->domain, i->alarm, i->condition, i->id);
                else
                        (void) snprintf(l.message, sizeof(l.message), "%s: its limits are taken over after a restart of cgd "
                                        "(incident %" PRIu64 ").", l.culprit, i->id);
                break;
        case ENTRY_ACTION:
        case ENTRY_BACK:
                say_action(&l, i, e, l.culprit);
                break;
        case ENTRY_OUTCOME:
                if (!say_outcome(&l, i, e, l.culprit))
                        return;
                break;
        case ENTRY_NO_CULPRIT:
        case ENTRY_NOT_ALLOWED:
        case ENTRY_WOULD:
        case ENTRY_SELF:
                l.kind = MESSAGE_NOT_CONTAINED;
                (void) snprintf(l.message, sizeof(l.message), "%s: alarm %s: nothing done: %s (incident %" PRIu64 "; 'cgctl why %" PRIu64 "').",
                                i->domain, i->alarm,
                                e->verdict == VERDICT_FREE_MEMORY ? "what was taken in was free" :
                                e->verdict == VERDICT_NOT_WAITED_FOR ? "nobody was waited for" :
                                e->type == ENTRY_NO_CULPRIT ? i->resource == RESOURCE_IO ? "nobody does most of the io" : "nobody took in most of the memory" :
                                e->verdict == VERDICT_CULPRIT ? "the change could not be made" : verdict_explain(e->verdict),
                                i->id, i->id);
                break;
        case ENTRY_BUDGET:
                l.kind = MESSAGE_BUDGET_SPENT;
                l.priority = LOG_WARNING;
                (void) snprintf(l.message, sizeof(l.message), "%s: KillBudget= is spent: held instead (incident %" PRIu64 ").",
                                l.culprit, i->id);
                break;
        case ENTRY_SPARED:
                l.kind = MESSAGE_SPARED;
                (void) snprintf(l.message, sizeof(l.message), "%s: is not killed: most of it is page cache, or nobody in it is at fault: held instead "
                                "(incident %" PRIu64 "; 'cgctl why %" PRIu64 "').", l.culprit, i->id, i->id);
                break;
        case ENTRY_CALM:
                l.kind = MESSAGE_OVER;
                l.priority = LOG_INFO;
                (void) snprintf(l.message, sizeof(l.message), "%s: incident %" PRIu64 " is over: %s.",
                                i->domain[0] ? i->domain : l.culprit, i->id, incident_result_to_string(i->result));
                break;
        case ENTRY_RISE:        /* one a second while lifting: in `cgctl why`, not in the journal */
        case ENTRY_RELIEF:      /* its outcome is said */
        case ENTRY_EXPIRED:
        case _ENTRY_TYPE_MAX:
                return;
        }
        journal_queue(j, &l);
}
