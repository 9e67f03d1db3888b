/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */

/* The io credit: who waited for whom at a disk.
 *
 * A virtual clock for each slot of a device: while time passes, the clock of a slot advances by the share of the
 * requests under way that are its own. A request notes all clocks as it is queued; what each has advanced by when it
 * ends is the time it waited for that slot, and together these are all the time that it took. So a queue of a thousand
 * requests costs no more than one.
 *
 * Invariant: in_flight[] is the number of entries in `requests` of that device and slot: who is not entered is not
 * counted, and every way out of the block layer (end, merge into another) takes the entry away.
 *
 * Left out on purpose: the wait before a request is had (all tags in use) and at io.max, which is our own doing; and the
 * weight of a large request, which counts as one. */

#include <linux/bpf.h>

#include "../kernel.h"
#include "iocredit-api.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct device {
        struct bpf_spin_lock lock;
        u32 total;
        u64 nsec;                       /* when the clocks were set */
        u64 clock[CREDIT_SLOTS];        /* nanoseconds << CREDIT_SHIFT */
        u32 in_flight[CREDIT_SLOTS];
};

/* place in control.devices -> clocks */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, CREDIT_DEVICES);
        __type(key, u32);
        __type(value, struct device);
} devices SEC(".maps");

struct noted {
        u64 nsec;
        u32 device, slot;
        u64 clock[CREDIT_SLOTS];
};

/* struct request's address -> the clocks when it was queued */
struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, CREDIT_REQUESTS);
        __type(key, u64);
        __type(value, struct noted);
} requests SEC(".maps");

/* Alone in .bss, which the daemon maps as well. */
CreditControl control;

static __always_inline u32 slot_of_id(u64 id) {
        u32 slot = CREDIT_REST;

        for (u32 i = 1; i < CREDIT_SLOTS; i++)
                if (control.slots[i] == id)
                        slot = i;
        return slot;
}

/* Of the cgroup that the data belongs to, or of the nearest above it. */
static __always_inline u32 slot_of(const struct request *rq) {
        const struct cgroup_subsys_state *css;
        const struct blkcg_gq *blkg;
        const struct bio *bio = rq->bio;
        u32 slot = CREDIT_REST;

        if (!bio)
                return slot;
        blkg = bio->bi_blkg;
        if (!blkg)
                return slot;
        css = &blkg->blkcg->css;
        for (int i = 0; i < CREDIT_DEPTH; i++) {
                if (!css || !css->cgroup)
                        break;
                slot = slot_of_id(css->cgroup->kn->id);
                if (slot != CREDIT_REST)
                        break;
                css = css->parent;
        }
        return slot;
}

static __always_inline u32 device_of(const struct request *rq) {
        const struct gendisk *disk = rq->q->disk;
        u64 device;

        if (!disk)
                return CREDIT_DEVICES;
        device = (u64) disk->major << 32 | (u32) disk->first_minor;
        for (u32 i = 0; i < CREDIT_DEVICES; i++)
                if (control.devices[i].device == device)
                        return i;
        for (u32 i = 0; i < CREDIT_DEVICES; i++) {
                u64 was = control.devices[i].device;

                if (was == 0)
                        was = __sync_val_compare_and_swap(&control.devices[i].device, 0, device);
                if (was == 0 || was == device)
                        return i;
        }
        return CREDIT_DEVICES;
}

/* With the lock held. */
static __always_inline void advance(struct device *d, u64 now) {
        u64 share;

        /* Another CPU looked at its clock after we did, and was here first. */
        if (now <= d->nsec)
                return;
        if (d->total > 0) {
                share = ((now - d->nsec) << CREDIT_SHIFT) / d->total;
                for (int i = 0; i < CREDIT_SLOTS; i++)
                        d->clock[i] += d->in_flight[i] * share;
        }
        d->nsec = now;
}

static __always_inline void leave(struct device *d, u32 slot) {
        d->in_flight[slot % CREDIT_SLOTS]--;
        d->total--;
}

static __always_inline int begin(const struct request *rq) {
        u64 key = (u64) rq, now;
        struct noted n = {};
        struct device *d;

        if (bpf_map_lookup_elem(&requests, &key))
                return 0; /* inserted before, or sent once more */
        n.device = device_of(rq);
        if (n.device >= CREDIT_DEVICES) {
                __sync_fetch_and_add(&control.lost_device, 1);
                return 0;
        }
        d = bpf_map_lookup_elem(&devices, &n.device);
        if (!d)
                return 0;
        n.slot = slot_of(rq);
        n.nsec = now = bpf_ktime_get_ns();

        bpf_spin_lock(&d->lock);
        advance(d, now);
        for (int i = 0; i < CREDIT_SLOTS; i++)
                n.clock[i] = d->clock[i];
        d->in_flight[n.slot % CREDIT_SLOTS]++;
        d->total++;
        bpf_spin_unlock(&d->lock);

        if (bpf_map_update_elem(&requests, &key, &n, BPF_NOEXIST) < 0) {
                __sync_fetch_and_add(&control.lost, 1);
                bpf_spin_lock(&d->lock);
                leave(d, n.slot);
                bpf_spin_unlock(&d->lock);
        }
        return 0;
}

static __always_inline int end(const struct request *rq, int counts) {
        u64 key = (u64) rq, now, clock[CREDIT_SLOTS];
        u32 device, slot, bucket;
        struct device *d;
        struct noted *n;

        n = bpf_map_lookup_elem(&requests, &key);
        if (!n)
                return 0;
        device = n->device;
        slot = n->slot;
        d = bpf_map_lookup_elem(&devices, &device);
        if (d && device < CREDIT_DEVICES && slot < CREDIT_SLOTS) {
                CreditDevice *to = &control.devices[device];

                now = bpf_ktime_get_ns();
                bpf_spin_lock(&d->lock);
                advance(d, now);
                leave(d, slot);
                for (int i = 0; i < CREDIT_SLOTS; i++)
                        clock[i] = d->clock[i];
                bpf_spin_unlock(&d->lock);
                if (counts) {
                        for (int i = 0; i < CREDIT_SLOTS; i++)
                                __sync_fetch_and_add(&to->wait[slot][i], clock[i] - n->clock[i]);
                        bucket = latency_bucket(now > n->nsec ? now - n->nsec : 0);
                        /* clang would compare another copy of it than the one that is used. */
                        barrier_var(bucket);
                        if (bucket < LATENCY_BUCKETS)
                                __sync_fetch_and_add(&to->latency[slot][bucket], 1);
                }
        }
        bpf_map_delete_elem(&requests, &key);
        return 0;
}

/* Not with every scheduler; who was not seen here is seen as it is sent off. */
SEC("tp_btf/block_rq_insert")
int insert(u64 *ctx) {
        return begin((const struct request *) ctx[0]);
}

SEC("tp_btf/block_rq_issue")
int issue(u64 *ctx) {
        return begin((const struct request *) ctx[0]);
}

SEC("tp_btf/block_rq_complete")
int complete(u64 *ctx) {
        const struct request *rq = (const struct request *) ctx[0];

        /* Some of it only. */
        if ((u32) ctx[2] < rq->__data_len)
                return 0;
        return end(rq, 1);
}

/* It became a part of another. */
SEC("tp_btf/block_rq_merge")
int merge(u64 *ctx) {
        return end((const struct request *) ctx[0], 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
