/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handover: tells systemd of leases that last, and again when they end.
 *
 * A raw write is fast and is lost at the next daemon-reload (wholly on Debian 12, in part on 13); what
 * SetUnitProperties set at runtime survives it. So a lease is raw at first, and one that outlives 2 s is
 * told to systemd where it owns the cgroup. Most leases of a short scare never get there.
 *
 * Invariants: systemd is told after the raw write, never before, so PID 1 finds the value in place and does
 * not reclaim on its own time; the lease file says that it will be told before it is. At the end the raw
 * value goes back first, then systemd is told, then the drop-in that it made for us is removed; one that was
 * there before us stays, with its value in it again, and never with ours.
 *
 * Left on purpose: systemd then shows the unit as changed on disk until its next reload (the drop-in it
 * knows is gone). To leave the file would be worse: it would override what the administrator later writes in
 * the unit. */

#include "act/handover.h"
#include "act/limit.h"
#include "act/worker.h"
#include "base/macro.h"
#include "base/units.h"
#include "sys/cgroup.h"
#include "sys/small-file.h"
#include "sys/unit.h"

#define HANDOVER_AFTER_USEC (2 * USEC_PER_SEC)
#define RETRY_USEC USEC_PER_SEC
/* While the hog is this far above the limit, PID 1 would reclaim for it inside its write. */
#define EXCESS_BYTES (UINT64_C(4) << 20)
/* After this long it is told in any case: a reload that undoes the lease would be worse. */
#define HANDOVER_AT_LAST_USEC (10 * USEC_PER_SEC)

typedef struct Call {
        Handover *handover;
        uint64_t serial, value;
        sd_bus_slot *slot;
        bool last;              /* tells .original */
} Call;

struct Handover {
        sd_event *event;
        sd_event_source *timer;
        sd_bus *bus;
        char *run;
        Leases *leases;
        HandoverLost lost;
        void *userdata;
        Call calls[LEASES_MAX]; /* a call a lease at most; slot NULL = free */
};

void handover_dropin_remove(const char *run, const HeldLease *l, bool told) {
        const uint64_t handed[] = { l->handed_value, l->handed_before };
        char unit[UNIT_NAME_SIZE];
        uint64_t values[3];
        size_t n = 0;

        if ((l->had_dropin && told) || unit_of_cgroup(l->lease.path, unit) < 0)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(handed); i++)
                if (!l->had_dropin || handed[i] != l->lease.original)
                        values[n++] = handed[i];
        if (told)
                values[n++] = l->lease.original;
        (void) unit_memory_high_dropin_remove(run, unit, values, n);
}

/* Systemd has been told all that it is to be told. */
static void finish(Handover *h, HeldLease *l, bool told) {
        handover_dropin_remove(h->run, l, told);
        leases_end(h->leases, l);
}

static void on_answer(int r, const char *message, void *userdata) {
        Call *c = userdata;
        Handover *h = c->handover;
        HeldLease *l = leases_find_serial(h->leases, c->serial);

        (void) message;
        c->slot = sd_bus_slot_unref(c->slot);
        if (!l)
                return;
        l->calling = false;
        if (c->last && !l->ended) {
                l->handed_value = l->lease.original;
                h->lost(l, h->userdata);
        } else if (c->last && !unit_is_silence(r)) {
                /* A unit that is gone for good (-ENOENT) needs no telling; one that systemd would not
                 * change keeps the value in memory until its next reload. Either way the file must go. It
                 * has made one of .original also for a lease that was taken anew and has drifted since. */
                finish(h, l, r >= 0);
                return;
        } else if (c->last) {
                /* It may do it any time, and make the drop-in anew: ours goes when it answers a later call. */
                if (l->handed_value != l->lease.original) {
                        l->handed_before = l->handed_value;
                        l->handed_value = l->lease.original;
                }
                l->retry_usec = now_monotonic_usec() + 5 * RETRY_USEC;
        } else {
                l->told = r >= 0;
                if (r < 0)
                        l->retry_usec = now_monotonic_usec() + 5 * RETRY_USEC;
        }
        handover_wake(h);
}

static int call(Handover *h, HeldLease *l, const char *unit, uint64_t value, bool last) {
        int r;

        for (size_t i = 0; i < LEASES_MAX; i++) {
                Call *c = &h->calls[i];

                if (c->slot)
                        continue;
                *c = (Call) { .handover = h, .serial = l->serial, .value = value, .last = last };
                r = unit_set_memory_high(h->bus, unit, value, on_answer, c, &c->slot);
                if (r >= 0)
                        l->calling = true;
                return r;
        }
        return -EBUSY;
}

/* 0 = nothing to tell; otherwise when to look (again). */
static uint64_t lease_due(const HeldLease *l) {
        if (l->calling || l->lease.io_only)
                return 0;
        if (l->ended)
                return MAX(l->retry_usec, (uint64_t) 1);
        if (!l->lease.handed_over)
                return MAX(l->lease.taken_usec + HANDOVER_AFTER_USEC, l->retry_usec);
        if (l->handed_value != l->lease.value || !l->told)
                return MAX(l->retry_usec, (uint64_t) 1);
        return 0;
}

static bool over_the_limit(const HeldLease *l, uint64_t now) {
        /* It said that it has a limit, and has that after a reload: so there is no haste with a lower one. */
        bool kept = l->told && l->handed_value < l->lease.original && l->lease.value < l->handed_value;
        uint64_t current;

        if ((!kept && now > l->lease.taken_usec + HANDOVER_AT_LAST_USEC) || l->lease.value == LIMIT_MAX)
                return false;
        return file_read_limit_at(l->dir_fd, "memory.current", &current) >= 0 &&
               current > l->lease.value && current - l->lease.value > EXCESS_BYTES;
}

/* Systemd must not be told then, for it writes what it is told, over whatever is there. */
static bool is_theirs(const HeldLease *l) {
        uint64_t there;

        return file_read_limit_at(l->dir_fd, "memory.high", &there) >= 0 && !limit_equal(there, l->lease.value) &&
               !limit_equal(there, l->previous) &&
               !(l->ended && limit_equal(there, l->lease.original)) &&
               !(l->lease.handed_over && (limit_equal(there, l->handed_value) || limit_equal(there, l->handed_before)));
}

static void tell(Handover *h, HeldLease *l, uint64_t now) {
        bool alive = cgroup_is_alive(l->dir_fd, l->lease.cgroup_id);
        char unit[UNIT_NAME_SIZE];
        uint64_t value = l->ended ? l->lease.original : l->lease.value;

        if (unit_of_cgroup(l->lease.path, unit) < 0) {
                /* Not systemd's: reloads do not touch it. */
                l->retry_usec = UINT64_MAX;
                return;
        }
        l->retry_usec = now + RETRY_USEC;
        if (l->ended) {
                l->drifted = l->drifted || (alive && is_theirs(l));
                if (l->drifted) {
                        finish(h, l, false);
                        return;
                }
                /* For one that is taken anew and drifts before the answer. Where it cannot be written down the end is told
                 * nevertheless. */
                if (l->handed_value != value)
                        (void) leases_hand_over(h->leases, l, value, l->had_dropin);
        } else {
                /* A unit that was started again has another cgroup, which is not to get the limit of the one before.
                 * What became of the value the next write says. */
                if (!alive || is_theirs(l) || over_the_limit(l, now))
                        return;
                /* Told once more, it still has either this one or the one before. */
                if ((!l->lease.handed_over || l->handed_value != value) &&
                    leases_hand_over(h->leases, l, value, unit_memory_high_dropin_exists(h->run, unit)) < 0)
                        return;
                l->told = false;
        }
        (void) call(h, l, unit, value, l->ended);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Handover *h = userdata;
        uint64_t now = now_monotonic_usec();

        (void) s;
        (void) usec;
        for (size_t i = 0; i < LEASES_MAX && h->bus; i++) {
                HeldLease *l = leases_at(h->leases, i);
                uint64_t due = l ? lease_due(l) : 0;

                if (due != 0 && due <= now)
                        tell(h, l, now);
        }
        handover_wake(h);
        return 0;
}

void handover_wake(Handover *h) {
        uint64_t next = UINT64_MAX;

        for (size_t i = 0; i < LEASES_MAX && h->bus; i++) {
                const HeldLease *l = leases_at(h->leases, i);
                uint64_t due = l ? lease_due(l) : 0;

                if (due != 0)
                        next = MIN(next, due);
        }
        if (next == UINT64_MAX) {
                (void) sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
                return;
        }
        (void) sd_event_source_set_time(h->timer, next);
        (void) sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

void handover_end(Handover *h, HeldLease *l, bool tell_original) {
        if (!l->lease.handed_over) {
                leases_end(h->leases, l);
                return;
        }
        l->drifted = !tell_original;
        if (l->drifted && !l->calling) {
                finish(h, l, false);
                return;
        }
        /* A call that is under way would arrive first in any case; ours comes after its answer. The drop-in is made before
         * it too. */
        l->ended = true;
        l->retry_usec = 0;
        handover_wake(h);
}

int handover_finish(Handover *h, uint64_t deadline_usec) {
        sd_bus *bus = NULL;
        bool tried = false;
        int connected = 0, left = 0;

        for (size_t i = 0; i < LEASES_MAX; i++)
                h->calls[i].slot = sd_bus_slot_unref(h->calls[i].slot);
        for (size_t i = 0; i < LEASES_MAX; i++) {
                HeldLease *l = leases_at(h->leases, i);
                uint64_t now = now_monotonic_usec();
                char unit[UNIT_NAME_SIZE];
                int r;

                if (!l || !l->ended)
                        continue;
                /* A connection of its own: the loop's may be closed already, or the broker away. */
                if (!tried)
                        connected = unit_private_bus(h->run, &bus);
                tried = true;
                r = l->drifted && l->calling ? -ETIMEDOUT : connected;
                if (r >= 0 && !l->drifted && unit_of_cgroup(l->lease.path, unit) >= 0)
                        r = now >= deadline_usec ? -ETIMEDOUT :
                                                   unit_set_memory_high_sync(bus, unit, l->lease.original,
                                                                             MIN(deadline_usec - now, USEC_PER_SEC));
                handover_dropin_remove(h->run, l, !l->drifted && (r >= 0 || unit_is_silence(r)));
                /* Whoever reads the record does it then. */
                if (unit_is_silence(r))
                        left++;
                else
                        leases_end(h->leases, l);
        }
        sd_bus_close_unref(bus);
        return left;
}

void handover_set_bus(Handover *h, sd_bus *bus) {
        if (bus == h->bus)
                return;
        for (size_t i = 0; i < LEASES_MAX; i++) {
                HeldLease *l = leases_at(h->leases, i);

                h->calls[i].slot = sd_bus_slot_unref(h->calls[i].slot);
                if (l)
                        l->calling = false;
        }
        sd_bus_unref(h->bus);
        h->bus = sd_bus_ref(bus);
        handover_wake(h);
}

int handover_new(sd_event *event, const char *run, Leases *leases, HandoverLost lost, void *userdata,
                 Handover **ret) {
        Handover *h = calloc(1, sizeof *h);
        int r;

        if (!h)
                return -ENOMEM;
        h->event = event;
        h->leases = leases;
        h->lost = lost;
        h->userdata = userdata;
        h->run = strdup(run);
        r = h->run ? sd_event_add_time(event, &h->timer, CLOCK_MONOTONIC, UINT64_MAX, 50 * USEC_PER_MSEC,
                                       on_timer, h)
                   : -ENOMEM;
        if (r < 0) {
                handover_free(h);
                return r;
        }
        (void) sd_event_source_set_description(h->timer, "handover");
        (void) sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
        *ret = h;
        return 0;
}

Handover *handover_free(Handover *h) {
        if (!h)
                return NULL;
        for (size_t i = 0; i < LEASES_MAX; i++)
                sd_bus_slot_unref(h->calls[i].slot);
        sd_event_source_disable_unref(h->timer);
        sd_bus_unref(h->bus);
        free(h->run);
        free(h);
        return NULL;
}
