/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Hook: PreKillExec=, a command that systemd runs for us and that is waited for.
 *
 * Invariant: a hook that was started is over within its time, whatever systemd, the bus or the command do: by
 * the end of its start job, or by a timer of our own, whichever comes first. One runs at a time, as one kill
 * does.
 *
 * It is a transient service of Type=oneshot, so the end of the start job is the end of the command. cgd never
 * forks: its memory is locked, and a child would run inside cgd's sandbox and its cgroup. It runs in
 * system.slice and not where the culprit is, for there it would stand at the culprit's limit and die with it.
 * systemd has the same time limit, so a command that is too slow ends and does not stay.
 *
 * The job is known by its unit's name, which is used once, so it does not matter whether its end or the
 * answer to the call is heard first. Where the bus goes away meanwhile the timer alone decides: the command
 * may be running and was promised its time. */

#include "act/hook.h"
#include "act/worker.h"
#include "base/macro.h"
#include "base/units.h"
#include "sys/unit.h"

#define SYSTEMD "org.freedesktop.systemd1"

struct Hook {
        HookHandler handler;
        void *userdata;
        sd_event_source *timer;
        sd_bus *bus;
        sd_bus_slot *match, *call;
        uint64_t timeout_usec;
        bool running;
        bool known;                     /* systemd took the job, or the bus was lost before it said so */
        char unit[UNIT_NAME_SIZE];
        char program[128];              /* for the sentences; a longer path is cut */
};

static void slots_drop(Hook *h) {
        h->match = sd_bus_slot_unref(h->match);
        h->call = sd_bus_slot_unref(h->call);
}

void hook_cancel(Hook *h) {
        slots_drop(h);
        (void) sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
        h->running = false;
}

static void hook_over(Hook *h, const char *format, ...) _printf_(2, 3);
static void hook_over(Hook *h, const char *format, ...) {
        char message[512];
        va_list ap;

        if (format) {
                va_start(ap, format);
                (void) vsnprintf(message, sizeof message, format, ap);
                va_end(ap);
        }
        hook_cancel(h);
        h->handler(format ? message : NULL, h->userdata);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Hook *h = userdata;
        char text[FORMAT_MAX];

        (void) s;
        (void) usec;
        usec_format(h->timeout_usec, text);
        if (h->known)
                hook_over(h, "%s was not over within %s", h->program, text);
        else
                hook_over(h, "%s: systemd did not say within %s that it runs", h->program, text);
        return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Hook *h = userdata;
        const char *unit, *result;

        (void) error;
        if (sd_bus_message_read(m, "uoss", NULL, NULL, &unit, &result) < 0 || strcmp(unit, h->unit) != 0)
                return 0;
        if (strcmp(result, "done") == 0)
                hook_over(h, NULL);
        else
                hook_over(h, "%s failed; 'journalctl -u %s' tells why", h->program, h->unit);
        return 0;
}

static void on_answer(int r, const char *message, void *userdata) {
        Hook *h = userdata;

        h->call = sd_bus_slot_unref(h->call);
        if (r < 0)
                hook_over(h, "%s was not run: %s", h->program, message);
        else
                h->known = true;
}

int hook_start(Hook *h, const char *unit, const char *description, char *const *argv,
               uint64_t timeout_usec) {
        const UnitTransient t = {
                .name = h->unit,
                .description = description,
                .slice = "system.slice",
                .argv = argv,
                .uid = UINT32_MAX,
                .gid = UINT32_MAX,
                .oneshot_usec = timeout_usec,
        };
        int r;

        if (!h->bus)
                return -ENOTCONN;
        if (h->running)
                return -EBUSY;
        if (strlen(unit) >= sizeof h->unit)
                return -ENAMETOOLONG;
        strcpy(h->unit, unit);
        (void) snprintf(h->program, sizeof h->program, "%s", argv[0]);
        h->timeout_usec = timeout_usec;
        h->known = false;
        /* The match is asked for first, and the broker keeps the order: the end cannot be missed. */
        r = sd_bus_match_signal_async(h->bus, &h->match, SYSTEMD, "/org/freedesktop/systemd1",
                                      SYSTEMD ".Manager", "JobRemoved", on_removed, NULL, h);
        if (r >= 0)
                r = unit_start_transient(h->bus, &t, on_answer, h, &h->call);
        if (r >= 0)
                r = sd_event_source_set_time(h->timer, now_monotonic_usec() + timeout_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
        if (r < 0) {
                slots_drop(h);
                return r;
        }
        h->running = true;
        return 0;
}

void hook_set_bus(Hook *h, sd_bus *bus) {
        if (bus == h->bus)
                return;
        if (h->running)
                h->known = true;
        slots_drop(h);
        sd_bus_unref(h->bus);
        h->bus = sd_bus_ref(bus);
}

int hook_new(sd_event *event, HookHandler handler, void *userdata, Hook **ret) {
        Hook *h = calloc(1, sizeof *h);
        int r;

        if (!h)
                return -ENOMEM;
        h->handler = handler;
        h->userdata = userdata;
        r = sd_event_add_time(event, &h->timer, CLOCK_MONOTONIC, UINT64_MAX, USEC_PER_MSEC, on_timer, h);
        if (r < 0) {
                free(h);
                return r;
        }
        (void) sd_event_source_set_description(h->timer, "hook");
        (void) sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
        *ret = h;
        return 0;
}

Hook *hook_free(Hook *h) {
        if (!h)
                return NULL;
        slots_drop(h);
        sd_event_source_disable_unref(h->timer);
        sd_bus_unref(h->bus);
        free(h);
        return NULL;
}
