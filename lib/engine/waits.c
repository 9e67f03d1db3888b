/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Waits.
 *
 * Invariant: a window in which a slot of any weight changed hands is not used: what its owner of before had done would
 * be missing, and lie on the others.
 *
 * Of two who use a disk together each waits as long for the other: who suffers is who waited for others longer than his
 * requests took themselves.
 *
 * A request is credited when it ends, so a window holds what its requests waited for since they began; shares are what
 * is asked for, and these do not mind. */

#include "base/macro.h"
#include "base/units.h"
#include "engine/waits.h"
#include "policy/policy.h"

/* Who waited less than this for others, or mostly for himself, stalls for another reason: a journal, maybe. */
#define WAIT_MIN_USEC (5 * USEC_PER_MSEC)
/* A slot with less than this of the whole may be younger than the window. */
#define LIGHT_PERMYRIAD 500
/* The slot of a slice stands for those in it who do little. Where it has more than this, somebody who does much has no
 * slot yet, or his requests of before he had one are still under way. */
#define MANY_PERMYRIAD 2000
/* Requests count for the slot that they began under; so long after somebody got his, what ends is in it. */
#define SETTLE_USEC USEC_PER_SEC

void waits_update(Waits *w, const Sample *s, bool after_rest) {
        const IoCredit *c = s->credit;

        if (!c) {
                *w = (Waits) {};
                return;
        }
        w->previous = w->last;
        w->last.usec = c->usec;
        memcpy(w->last.wait_usec, c->wait_usec, sizeof(w->last.wait_usec));
        memcpy(w->last.done, c->done, sizeof(w->last.done));
        memcpy(w->last.busy_usec, c->busy_usec, sizeof(w->last.busy_usec));
        if (w->older.usec == 0 || after_rest)
                w->older = w->newer = w->last;
        else if (c->usec - w->newer.usec >= TRACK_RECENT_USEC) {
                w->older = w->newer;
                w->newer = w->last;
        }
}

static bool in_slice(const IoCredit *c, size_t slot, const char *slice) {
        return c->slots[slot].cgroup_id != 0 && path_within(c->slots[slot].path, slice);
}

static void shares_since(const WaitPoint *from, const WaitPoint *to, const IoCredit *c, const char *victim, WaitShares *ret) {
        uint64_t own = 0;
        bool young = false;

        *ret = (WaitShares) {};
        if (from->usec == 0 || to->usec <= from->usec)
                return;
        ret->usec = to->usec - from->usec;
        for (size_t v = 1; v < IO_SLOTS; v++) {
                if (!in_slice(c, v, victim))
                        continue;
                for (size_t k = 0; k < IO_SLOTS; k++) {
                        uint64_t waited = to->wait_usec[v][k] - MIN(from->wait_usec[v][k], to->wait_usec[v][k]);

                        if (k == v)
                                own += waited;
                        else {
                                ret->slot_usec[k] += waited;
                                ret->whole_usec += waited;
                        }
                }
        }
        for (size_t k = 1; k < IO_SLOTS; k++) {
                bool many = c->slots[k].cgroup_id && endswith(c->slots[k].path, ".slice");

                if (ret->slot_usec[k] > 0 &&
                    ret->slot_usec[k] >= mul_div_u64(ret->whole_usec, many ? MANY_PERMYRIAD : LIGHT_PERMYRIAD, PERMYRIAD) &&
                    (many || c->slots[k].since_usec > from->usec))
                        young = true;
        }
        ret->known = !young && ret->whole_usec >= WAIT_MIN_USEC && ret->whole_usec >= own;
        if (!young && own >= WAIT_MIN_USEC && ret->whole_usec < own)
                ret->own_usec = own;
}

void waits_shares(const Waits *w, const IoCredit *credit, const char *victim, WaitShares *ret) {
        WaitShares longer;

        *ret = (WaitShares) {};
        if (!credit || credit->usec != w->last.usec)
                return;
        shares_since(&w->previous, &w->last, credit, victim, ret);
        if (ret->known && ret->usec >= TRACK_MIN_USEC)
                return;
        shares_since(&w->older, &w->last, credit, victim, &longer);
        if (longer.known || !ret->known)
                *ret = longer;
}

/* Where the window begins; NULL = it is not known what was done in it. */
static const WaitPoint *window_begin(const Waits *w, const IoCredit *credit, TrackWindow window) {
        const WaitPoint *from = window == WINDOW_LAST ? &w->previous : &w->older, *to = &w->last;

        if (!credit || credit->usec != to->usec || window == WINDOW_LONG || from->usec == 0 || to->usec < from->usec + TRACK_MIN_USEC ||
            (window == WINDOW_LAST && to->usec - from->usec > TRACK_LAST_MAX_USEC))
                return NULL;
        return from;
}

static void add_done(const WaitPoint *from, const WaitPoint *to, size_t slot, size_t device, IoLine *sum) {
        for (int i = 0; i < _IO_KEY_MAX; i++)
                sum->v[i] += to->done[slot][device].v[i] - MIN(from->done[slot][device].v[i], to->done[slot][device].v[i]);
}

static void to_rates(const WaitPoint *from, const WaitPoint *to, IoLine *sum) {
        for (int i = 0; i < _IO_KEY_MAX; i++)
                sum->v[i] = mul_div_u64(sum->v[i], USEC_PER_SEC, to->usec - from->usec);
}

bool waits_done(const Waits *w, const IoCredit *credit, const CgroupSample *c, TrackWindow window,
                IoLine ret[static IO_DEVICES_MAX], size_t *ret_n) {
        const WaitPoint *from = window_begin(w, credit, window), *to = &w->last;
        IoLine done[IO_CREDIT_DEVICES];
        bool own = false;

        if (!from)
                return false;
        for (size_t d = 0; d < credit->n_devices; d++)
                done[d] = (IoLine) { .major = credit->done[0][d].major, .minor = credit->done[0][d].minor };
        for (size_t k = 1; k < IO_SLOTS; k++) {
                if (!in_slice(credit, k, c->path))
                        continue;
                if (credit->slots[k].since_usec > from->usec)
                        return false;
                own = own || (credit->slots[k].cgroup_id == c->id && credit->slots[k].since_usec + SETTLE_USEC <= from->usec);
                for (size_t d = 0; d < credit->n_devices; d++)
                        add_done(from, to, k, d, &done[d]);
        }
        *ret_n = 0;
        for (size_t d = 0; d < credit->n_devices; d++) {
                to_rates(from, to, &done[d]);
                if (io_line_used(&done[d]))
                        io_lines_add(ret, ret_n, &done[d]);
        }
        return own;
}

bool waits_counted(const IoCredit *credit, const IoLine *device) {
        return credit && io_line_find(credit->done[0], credit->n_devices, device) != NULL;
}

bool waits_device_done(const Waits *w, const IoCredit *credit, const IoLine *device, TrackWindow window, IoLine *ret) {
        const WaitPoint *from = window_begin(w, credit, window);

        for (size_t d = 0; from && d < credit->n_devices; d++)
                if (io_same_device(&credit->done[0][d], device)) {
                        *ret = (IoLine) { .major = device->major, .minor = device->minor };
                        for (size_t k = 0; k < IO_SLOTS; k++)
                                add_done(from, &w->last, k, d, ret);
                        to_rates(from, &w->last, ret);
                        return true;
                }
        return false;
}

bool waits_device_ever(const IoCredit *credit, const IoLine *device, IoLine *ret) {
        for (size_t d = 0; d < credit->n_devices; d++) {
                if (!io_same_device(&credit->done[0][d], device))
                        continue;
                *ret = (IoLine) { .major = device->major, .minor = device->minor };
                for (size_t k = 0; k < IO_SLOTS; k++)
                        for (int i = 0; i < _IO_KEY_MAX; i++)
                                ret->v[i] += credit->done[k][d].v[i];
                return true;
        }
        return false;
}

bool waits_pace(const IoCredit *credit, const char *slice, uint64_t since_usec, Pace *ret) {
        Pace p = {};

        for (size_t v = 1; credit && v < IO_SLOTS; v++) {
                if (!in_slice(credit, v, slice))
                        continue;
                if (credit->slots[v].since_usec > since_usec)
                        return false;
                for (size_t k = 0; k < IO_SLOTS; k++) {
                        p.usec += credit->wait_usec[v][k];
                        if (!in_slice(credit, k, slice))
                                p.others_usec += credit->wait_usec[v][k];
                }
                for (size_t d = 0; d < credit->n_devices; d++)
                        p.requests += credit->done[v][d].v[IO_READS] + credit->done[v][d].v[IO_WRITES];
        }
        *ret = p;
        return credit != NULL;
}

unsigned waits_busy(const Waits *w, const IoCredit *credit, const IoLine *device, TrackWindow window) {
        const WaitPoint *from = window_begin(w, credit, window), *to = &w->last;

        for (size_t d = 0; from && d < credit->n_devices; d++)
                if (io_same_device(&credit->done[0][d], device))
                        return (unsigned) MIN(mul_div_u64(to->busy_usec[d] - MIN(from->busy_usec[d], to->busy_usec[d]), PERMYRIAD,
                                                          to->usec - from->usec), (uint64_t) PERMYRIAD);
        return PERMYRIAD;
}

uint64_t waits_for_root(const WaitShares *shares, const IoCredit *credit) {
        uint64_t sum = 0;

        for (size_t k = 0; k < IO_SLOTS; k++)
                if (credit->slots[k].cgroup_id == 0 || streq(credit->slots[k].path, "/"))
                        sum += shares->slot_usec[k];
        return sum;
}

bool waits_settled(const IoCredit *credit, uint64_t cgroup_id) {
        for (size_t k = 1; k < IO_SLOTS; k++)
                if (credit->slots[k].cgroup_id == cgroup_id)
                        return credit->slots[k].since_usec + SETTLE_USEC <= credit->usec;
        return false;
}

uint64_t waits_for(const WaitShares *shares, const IoCredit *credit, const char *path) {
        uint64_t sum = 0;

        for (size_t k = 1; k < IO_SLOTS; k++)
                if (in_slice(credit, k, path))
                        sum += shares->slot_usec[k];
        return sum;
}
