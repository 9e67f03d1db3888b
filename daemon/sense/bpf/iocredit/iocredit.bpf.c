/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */

/* The io credit: who waited for whom at a disk.
 *
 * A virtual clock for each slot of a device: while time passes, the clock of a slot advances by the share of the
 * requests under way that are its own. A request notes all clocks as it is queued; what each has advanced by when it
 * ends is the time it waited for that slot, and together these are all the time that it took. So a queue of a thousand
 * requests costs no more than one.
 *
 * Invariant: in_flight[] is the number of entries in `requests` of that device and slot: who is not entered is not
 * counted, and every way out of the block layer (end, merge into another) takes the entry away. But for those that we are
 * not told of: the kernel skips a program on a CPU where it is running already, and request-based device-mapper takes back
 * a request that it has begun. Such an entry is taken away when the same request, for there are only so many, is next used.
 *
 * Left out on purpose: the wait before a request is had (all tags in use) and at io.max, which is our own doing; and the
 * weight of a large request, which counts as one. */

#include <linux/bpf.h>

#include "../kernel.h"
#include "iocredit-api.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* include/linux/blk_types.h */
#define REQ_OP_MASK 0xff
#define REQ_OP_READ 0
#define REQ_OP_WRITE 1

/* block/blk-mq.c: how long a request may take where its driver says nothing else. */
#define LOST_NSEC (30 * 1000000000ULL)

struct device {
        struct bpf_spin_lock lock;
        u32 total;
        u64 nsec;                       /* when the clocks were set */
        u64 busy;                       /* nanoseconds with a request under way */
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
        u64 request;                    /* its address; 0 = free */
        u64 nsec;
        u32 device, slot;
        u64 clock[CREDIT_SLOTS];        /* when it was queued */
};

/* hash of the request's address, or one of the next few places -> what was noted. A table of our own, because a hash
 * map's locks and lists are half of what all of this costs; its entries come and go with each request. */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, CREDIT_REQUESTS);
        __type(key, u32);
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
                d->busy += now - d->nsec;
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

static __always_inline struct noted *place_of(u64 request, u32 i) {
        /* Knuth's multiplicative hash; requests lie some hundred bytes apart. */
        u32 place = ((request >> 6) * 0x9e3779b97f4a7c15 >> 40) + i;

        place %= CREDIT_REQUESTS;
        return bpf_map_lookup_elem(&requests, &place);
}

static __always_inline struct noted *find(u64 request) {
        for (u32 i = 0; i < CREDIT_PROBES; i++) {
                struct noted *n = place_of(request, i);

                if (n && n->request == request)
                        return n;
        }
        return NULL;
}

static __always_inline struct noted *claim(u64 request) {
        for (u32 i = 0; i < CREDIT_PROBES; i++) {
                struct noted *n = place_of(request, i);

                if (n && n->request == 0 && __sync_val_compare_and_swap(&n->request, 0, request) == 0)
                        return n;
        }
        return NULL;
}

/* The request's address as a number, which the verifier does not take a pointer for. */
static __always_inline u64 address(u64 *ctx) {
        u64 request = 0;

        (void) bpf_probe_read_kernel(&request, sizeof request, ctx);
        return request;
}

/* Its end was never seen; it is not known when that was, so nothing is counted. */
static __always_inline void forget(struct noted *n, u64 now) {
        u32 place = n->device, slot = n->slot;
        struct device *d = bpf_map_lookup_elem(&devices, &place);

        if (d && slot < CREDIT_SLOTS) {
                bpf_spin_lock(&d->lock);
                advance(d, now);
                leave(d, slot);
                bpf_spin_unlock(&d->lock);
        }
        n->request = 0;
}

/* The one that was noted, inserted before or sent once more. With the scheduler "none" and queue/iostats=0 the kernel does not
 * say when a request was had: then it is that one for as long as it may be. */
static __always_inline int is_same(const struct noted *n, const struct request *rq) {
        u64 start = rq->start_time_ns;

        return start ? n->nsec >= start : bpf_ktime_get_ns() - n->nsec < LOST_NSEC;
}

static __always_inline int begin(u64 *ctx) {
        const struct request *rq = (const struct request *) ctx[0];
        u64 request = address(ctx);
        u32 place, slot;
        struct device *d;
        struct noted *n;
        u64 now;

        if (!request)
                return 0;
        n = find(request);
        if (n) {
                if (is_same(n, rq))
                        return 0;
                forget(n, bpf_ktime_get_ns());
        }
        place = device_of(rq);
        d = bpf_map_lookup_elem(&devices, &place);
        if (!d) {
                __sync_fetch_and_add(&control.lost_device, 1);
                return 0;
        }
        n = claim(request);
        if (!n) {
                __sync_fetch_and_add(&control.lost, 1);
                return 0;
        }
        slot = slot_of(rq);
        now = bpf_ktime_get_ns();
        n->device = place;
        n->slot = slot;
        n->nsec = now;
        barrier_var(slot);

        bpf_spin_lock(&d->lock);
        advance(d, now);
        for (int i = 0; i < CREDIT_SLOTS; i++)
                n->clock[i] = d->clock[i];
        d->in_flight[slot % CREDIT_SLOTS]++;
        d->total++;
        bpf_spin_unlock(&d->lock);
        return 0;
}

/* With the lock held, which makes plain additions of these. */
static __always_inline void count(CreditDevice *to, const struct device *d, const struct noted *n, u32 slot, u64 now,
                                  u32 flags, u32 bytes) {
        u32 bucket = latency_bucket(now > n->nsec ? now - n->nsec : 0), write = (flags & REQ_OP_MASK) == REQ_OP_WRITE;

        barrier_var(slot);
        if (slot >= CREDIT_SLOTS)
                return;
        for (int i = 0; i < CREDIT_SLOTS; i++)
                to->wait[slot][i] += d->clock[i] - n->clock[i];
        if (write || (flags & REQ_OP_MASK) == REQ_OP_READ) {
                to->done[slot][write ? CREDIT_WRITE_BYTES : CREDIT_READ_BYTES] += bytes;
                to->done[slot][write ? CREDIT_WRITES : CREDIT_READS]++;
        }
        /* clang would compare another copy of it than the one that is used. */
        barrier_var(bucket);
        barrier_var(slot);
        if (bucket < LATENCY_BUCKETS && slot < CREDIT_SLOTS)
                to->latency[slot][bucket]++;
}

/* counts: it came to its end, so many bytes of it now. */
static __always_inline int end(u64 *ctx, int counts, u32 bytes) {
        const struct request *rq = (const struct request *) ctx[0];
        u32 place, device, slot, flags = rq->cmd_flags;
        struct device *d;
        struct noted *n;
        u64 request = address(ctx), now;

        n = request ? find(request) : NULL;
        if (!n)
                return 0;
        place = device = n->device;
        slot = n->slot;
        d = bpf_map_lookup_elem(&devices, &place);
        barrier_var(device);
        if (d && device < CREDIT_DEVICES && slot < CREDIT_SLOTS) {
                now = bpf_ktime_get_ns();
                bpf_spin_lock(&d->lock);
                advance(d, now);
                leave(d, slot);
                control.devices[device].busy = d->busy;
                if (counts)
                        count(&control.devices[device], d, n, slot, now, flags, bytes);
                bpf_spin_unlock(&d->lock);
        }
        n->request = 0;
        return 0;
}

/* Not with every scheduler; who was not seen here is seen as it is sent off. */
SEC("tp_btf/block_rq_insert")
int insert(u64 *ctx) {
        return begin(ctx);
}

SEC("tp_btf/block_rq_issue")
int issue(u64 *ctx) {
        return begin(ctx);
}

SEC("tp_btf/block_rq_complete")
int complete(u64 *ctx) {
        const struct request *rq = (const struct request *) ctx[0];

        /* Some of it only. */
        if ((u32) ctx[2] < rq->__data_len)
                return 0;
        return end(ctx, 1, (u32) ctx[2]);
}

/* It became a part of another. */
SEC("tp_btf/block_rq_merge")
int merge(u64 *ctx) {
        return end(ctx, 0, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
