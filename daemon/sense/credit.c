/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Credit: slots for those who matter, and the kernel's counts as figures.
 *
 * Invariant: a slot's counts belong to its cgroup from since_usec on. The domains' slices keep theirs as long as they
 * live, so that whoever has no slot is counted with his domain; the rest goes to who does most io, and changes hands
 * only when its owner is gone, idle, or did less than half of what the newcomer does, over the last second; or did least
 * when a domain's slice came.
 *
 * Left out on purpose: devices. All disks count together, for it is asked who makes whom wait, wherever; what a device
 * can do is asked of io.stat (lib/engine/caps.c). */

#include <fcntl.h>
#include <sys/mman.h>

#include "base/macro.h"
#include "base/units.h"
#include "sense/credit.h"

_Static_assert(IO_SLOTS == CREDIT_SLOTS && IO_CREDIT_DEVICES == CREDIT_DEVICES, "a slot and a place each");
_Static_assert((int) _IO_KEY_MAX == (int) _CREDIT_DONE_MAX && (int) IO_WRITES == (int) CREDIT_WRITES, "the same order");

/* Half are left for units, however many domains there are. */
#define DOMAIN_SLOTS_MAX (IO_SLOTS / 2 - 1)
/* Who did no io for so long gives way to anybody. */
#define IDLE_USEC (30 * USEC_PER_SEC)
/* Not worth a slot: a log line now and then. */
#define WORK_MIN (UINT64_C(256) << 10)

static size_t control_bytes(void) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);

        return (sizeof(CreditControl) + page - 1) / page * page;
}

size_t credit_bytes(const Credit *c) {
        return c->control ? control_bytes() : 0;
}

static int adopt(int *fds, void *userdata) {
        Credit *c = userdata;
        void *p = mmap(NULL, control_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fds[CREDIT_CONTROL], 0);

        if (p == MAP_FAILED)
                return -errno;
        c->control = p;
        for (size_t i = 0; i < ARRAY_SIZE(c->link_fds); i++)
                c->link_fds[i] = TAKE_FD(fds[CREDIT_LINK_FIRST + i]);
        return 0;
}

/* No programs and no counts. */
static void clear(Credit *c) {
        *c = (Credit) { .loading = c->loading };
        for (size_t i = 0; i < ARRAY_SIZE(c->link_fds); i++)
                c->link_fds[i] = -EBADF;
}

int credit_init(Credit *c, sd_event *event, const char *loader) {
        *c = (Credit) {};
        clear(c);
        return loading_init(&c->loading, event, loader, adopt, c);
}

void credit_unload(Credit *c) {
        if (c->control)
                (void) munmap(c->control, control_bytes());
        for (size_t i = 0; i < ARRAY_SIZE(c->link_fds); i++)
                (void) safe_close(c->link_fds[i]);
        clear(c);
}

void credit_done(Credit *c) {
        loading_done(&c->loading);
        credit_unload(c);
}

int credit_load(Credit *c) {
        return loading_start(&c->loading, "iocredit", NULL, _CREDIT_FD_MAX);
}

static size_t slot_of(const Credit *c, uint64_t id) {
        for (size_t i = 1; i < IO_SLOTS; i++)
                if (c->io.slots[i].cgroup_id == id)
                        return i;
        return CREDIT_REST;
}

static void assign(Credit *c, size_t slot, const Known *n, uint64_t rate, uint64_t now_usec) {
        c->io.slots[slot].cgroup_id = n->id;
        c->io.slots[slot].path = n->path;
        c->io.slots[slot].since_usec = now_usec;
        c->busy_usec[slot] = now_usec;
        c->rate[slot] = rate;
        __atomic_store_n(&c->control->slots[slot], n->id, __ATOMIC_RELAXED);
}

/* What it did since the last hot walk, or since the complete one before, if it was looked at in this walk. */
static uint64_t work_of(const Known *n, unsigned walk) {
        return n->io && n->io_walk == walk ? n->io->work : 0;
}

/* The slot that n, with so much work a second, may have: a free one, or that of somebody who does not need it, or needs
 * it less than a domain does. CREDIT_REST: none. */
static size_t slot_for(const Credit *c, const Registry *g, const Known *n, uint64_t rate, uint64_t now_usec) {
        uint64_t least = n->domain ? UINT64_MAX : rate / 2;
        size_t best = CREDIT_REST;

        for (size_t i = 1; i < IO_SLOTS; i++) {
                const Known *owner = c->io.slots[i].cgroup_id ? registry_find(g, c->io.slots[i].cgroup_id) : NULL;
                bool idle = c->busy_usec[i] + IDLE_USEC < now_usec;
                uint64_t work = idle ? 0 : c->rate[i];

                if (!owner)
                        return i;
                if (owner->domain || !owner->parent)
                        continue;
                if (work < least || idle) {
                        least = work;
                        best = i;
                }
        }
        return best;
}

static void assign_all(Credit *c, const Registry *g, unsigned walk, uint64_t now_usec) {
        uint64_t usec = c->usec ? MAX(now_usec - MIN(c->usec, now_usec), UINT64_C(1)) : USEC_PER_SEC;
        size_t domains = 0;

        c->usec = now_usec;
        for (size_t i = 1; i < IO_SLOTS; i++) {
                const Known *n = c->io.slots[i].cgroup_id ? registry_find(g, c->io.slots[i].cgroup_id) : NULL;

                if (!n) {
                        c->io.slots[i].cgroup_id = 0;
                        c->io.slots[i].path = NULL;
                        __atomic_store_n(&c->control->slots[i], 0, __ATOMIC_RELAXED);
                        continue;
                }
                c->io.slots[i].path = n->path;
                domains += n->domain;
                /* Who stands at a cap works in bursts: what he did in the last moment alone says little. */
                c->rate[i] -= mul_div_u64(c->rate[i], MIN(usec, USEC_PER_SEC), USEC_PER_SEC);
                c->rate[i] += mul_div_u64(work_of(n, walk), USEC_PER_SEC, MAX(usec, USEC_PER_SEC));
                if (work_of(n, walk) > 0)
                        c->busy_usec[i] = now_usec;
        }
        /* The kernel's own threads are in the root. */
        for (Known *n = g->root; n; n = known_next(n)) {
                bool fixed = !n->parent || n->domain;
                uint64_t rate;
                size_t slot;

                if (n->gone || slot_of(c, n->id) != CREDIT_REST || (n->domain && domains >= DOMAIN_SLOTS_MAX))
                        continue;
                if (!fixed && (n->kind == CGROUP_KIND_SLICE || n->kind == CGROUP_KIND_INNER || work_of(n, walk) < WORK_MIN))
                        continue;
                rate = mul_div_u64(work_of(n, walk), USEC_PER_SEC, usec);
                slot = slot_for(c, g, n, rate, now_usec);
                if (slot == CREDIT_REST)
                        continue;
                assign(c, slot, n, rate, now_usec);
                domains += n->domain;
        }
}

/* Disks come and go. Where one found no room, those that did nothing for long give theirs; their counts stay in the sums. */
static void make_room(Credit *c, uint64_t now_usec) {
        bool wanted = c->control->lost_device != c->lost_device;

        c->lost_device = c->control->lost_device;
        for (size_t d = 0; d < CREDIT_DEVICES; d++) {
                CreditDevice *device = &c->control->devices[d];
                uint64_t requests = 0;

                for (size_t i = 0; i < IO_SLOTS; i++)
                        for (size_t k = 0; k < LATENCY_BUCKETS; k++)
                                requests += device->latency[i][k];
                if (requests != c->device_requests[d]) {
                        c->device_requests[d] = requests;
                        c->device_usec[d] = now_usec;
                } else if (wanted && c->device_usec[d] + IDLE_USEC < now_usec)
                        __atomic_store_n(&device->device, 0, __ATOMIC_RELAXED);
        }
}

const IoCredit *credit_read(Credit *c, const Registry *g, unsigned walk, uint64_t now_usec) {
        if (!c->control)
                return NULL;
        assign_all(c, g, walk, now_usec);
        make_room(c, now_usec);
        c->io.usec = now_usec;
        memset(c->io.wait_usec, 0, sizeof c->io.wait_usec);
        memset(c->io.latency, 0, sizeof c->io.latency);
        for (size_t d = 0; d < CREDIT_DEVICES; d++) {
                const CreditDevice *device = &c->control->devices[d];
                uint64_t number = __atomic_load_n(&device->device, __ATOMIC_RELAXED);

                for (size_t i = 0; i < IO_SLOTS; i++) {
                        for (size_t k = 0; k < IO_SLOTS; k++)
                                c->io.wait_usec[i][k] += (device->wait[i][k] >> CREDIT_SHIFT) / 1000;
                        for (size_t k = 0; k < LATENCY_BUCKETS; k++)
                                c->io.latency[i][k] += device->latency[i][k];
                        /* Each in its own place, also beside one that was given back: what was counted before is compared by it. */
                        c->io.done[i][d].major = (uint32_t) (number >> 32);
                        c->io.done[i][d].minor = (uint32_t) number;
                        memcpy(c->io.done[i][d].v, device->done[i], sizeof c->io.done[i][d].v);
                }
                c->io.busy_usec[d] = device->busy / 1000;
                if (number != 0)
                        c->io.n_devices = MAX(c->io.n_devices, d + 1);
        }
        return &c->io;
}
