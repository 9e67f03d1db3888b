/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The io credit's programs, compiled for this machine and called as the kernel would: which request is counted where.
 * That kernels take them is seen in test-credit.c. */

#include <linux/types.h>
#include <string.h>

#include "base/test.h"

/* What the programs include of libbpf, for here. */
#define __BPF_HELPERS__
#define __BPF_CORE_READ_H__
#define SEC(name)
#define __uint(name, v) int (*name)[v]
#define __type(name, v) __typeof__(v) *name
#undef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#define barrier_var(v) __asm__ volatile("" : "+r"(v))
#define bpf_ktime_get_ns() now_nsec
#define bpf_map_lookup_elem(map, key) map_lookup(map, *(key))
#define bpf_probe_read_kernel(to, size, from) (memcpy(to, from, size), 0)
#define bpf_spin_lock(lock) assert_int_equal(locks++, 0)
#define bpf_spin_unlock(lock) assert_int_equal(--locks, 0)

static uint64_t now_nsec;
static int locks;

static void *map_lookup(const void *map, uint32_t key);
int insert(__u64 *ctx);
int issue(__u64 *ctx);
int complete(__u64 *ctx);
int merge(__u64 *ctx);

#include "iocredit.bpf.c"

static struct device device_values[CREDIT_DEVICES];
static struct noted request_values[CREDIT_REQUESTS];

static void *map_lookup(const void *map, uint32_t key) {
        assert_int_equal(locks, 0);
        if (map == &devices)
                return key < CREDIT_DEVICES ? &device_values[key] : NULL;
        assert_ptr_equal(map, &requests);
        return key < CREDIT_REQUESTS ? &request_values[key] : NULL;
}

/* Two cgroups, each with a slot, and two disks. */
enum { SLOT_WEB = 3, SLOT_HOG };
#define MSEC UINT64_C(1000000)
#define SEC_NSEC (1000 * MSEC)

static struct kernfs_node nodes[2];
static struct cgroup cgroups[2];
static struct blkcg blkcgs[2];
static struct blkcg_gq groups[2];
static struct bio bios[2];
static struct gendisk disks[2];
static struct request_queue queues[2];
static struct request rq;

enum { WEB, HOG };

static int setup(void **state _unused_) {
        memset(&control, 0, sizeof control);
        memset(device_values, 0, sizeof device_values);
        memset(request_values, 0, sizeof request_values);
        now_nsec = SEC_NSEC;
        for (unsigned i = 0; i < 2; i++) {
                nodes[i].id = 70 + i;
                cgroups[i].kn = &nodes[i];
                blkcgs[i].css.cgroup = &cgroups[i];
                groups[i].blkcg = &blkcgs[i];
                bios[i].bi_blkg = &groups[i];
                disks[i] = (struct gendisk) { .major = 8, .first_minor = (int) (16 * i) };
                queues[i].disk = &disks[i];
        }
        control.slots[SLOT_WEB] = 70 + WEB;
        control.slots[SLOT_HOG] = 70 + HOG;
        return 0;
}

/* The request is had for an io of that cgroup on that disk. */
static void have(int who, int disk) {
        rq = (struct request) { .q = &queues[disk], .bio = &bios[who], .__data_len = 4096, .start_time_ns = now_nsec };
}

static void call(int (*program)(u64 *)) {
        u64 ctx[3] = { (uintptr_t) &rq, 0, 4096 };

        assert_int_equal(program(ctx), 0);
}

static void after(uint64_t nsec, int (*program)(u64 *)) {
        now_nsec += nsec;
        call(program);
}

static void assert_none_under_way(void) {
        for (unsigned d = 0; d < CREDIT_DEVICES; d++) {
                assert_int_equal(device_values[d].total, 0);
                for (unsigned i = 0; i < CREDIT_SLOTS; i++)
                        assert_int_equal(device_values[d].in_flight[i], 0);
        }
        for (unsigned i = 0; i < CREDIT_REQUESTS; i++)
                assert_int_equal(request_values[i].request, 0);
}

/* Those that ended, and in which bucket. */
static void assert_ended(unsigned disk, unsigned slot, unsigned n, uint64_t nsec) {
        unsigned sum = 0;

        for (unsigned k = 0; k < LATENCY_BUCKETS; k++)
                sum += control.devices[disk].latency[slot][k];
        assert_int_equal(sum, n);
        assert_int_equal(control.devices[disk].done[slot][CREDIT_READS], n);
        if (n > 0)
                assert_int_equal(control.devices[disk].latency[slot][latency_bucket(nsec)], n);
}

static uint64_t waited(unsigned disk, unsigned slot) {
        uint64_t sum = 0;

        for (unsigned k = 0; k < CREDIT_SLOTS; k++)
                sum += control.devices[disk].wait[slot][k];
        return sum >> CREDIT_SHIFT;
}

/* From when it was queued, also where it is sent off twice. */
static void test_from_queue_to_end(void **state _unused_) {
        have(WEB, 0);
        after(MSEC, insert);
        after(MSEC, issue);
        after(MSEC, issue);
        after(2 * MSEC, complete);
        assert_ended(0, SLOT_WEB, 1, 4 * MSEC);
        assert_int_equal(waited(0, SLOT_WEB), 4 * MSEC);
        assert_int_equal(control.devices[0].busy, 4 * MSEC);

        have(HOG, 0);
        after(0, insert);
        after(MSEC, merge);
        assert_ended(0, SLOT_HOG, 0, 0);
        assert_none_under_way();
}

/* An end that we were not told of is none that came when the request was used again, for another and elsewhere. */
static void test_end_not_seen(void **state _unused_) {
        for (int disk = 0; disk < 2; disk++) {
                have(HOG, 0);
                after(MSEC, insert);
                after(MSEC, issue);
                now_nsec += 3600 * SEC_NSEC;
                have(WEB, disk);
                after(MSEC, insert);
                after(MSEC, issue);
                assert_int_equal(device_values[disk].total, 1);
                assert_int_equal(device_values[disk].in_flight[SLOT_WEB], 1);
                after(9 * MSEC, complete);
                assert_ended(0, SLOT_HOG, 0, 0);
                assert_ended((unsigned) disk, SLOT_WEB, 1, 10 * MSEC);
                assert_int_equal(waited((unsigned) disk, SLOT_WEB), 10 * MSEC);
                assert_none_under_way();
        }
        assert_int_equal(control.lost + control.lost_device, 0);
}

/* Where the kernel does not say when it was had, it is taken for the one that was noted, unless that is too long ago. */
static void test_start_unknown(void **state _unused_) {
        have(WEB, 0);
        rq.start_time_ns = 0;
        after(MSEC, insert);
        after(MSEC, issue);
        after(MSEC, complete);
        assert_ended(0, SLOT_WEB, 1, 2 * MSEC);
        assert_none_under_way();

        have(HOG, 0);
        rq.start_time_ns = 0;
        after(MSEC, issue);
        now_nsec += 3600 * SEC_NSEC;
        have(WEB, 0);
        rq.start_time_ns = 0;
        after(MSEC, issue);
        after(2 * MSEC, complete);
        assert_ended(0, SLOT_HOG, 0, 0);
        assert_ended(0, SLOT_WEB, 2, 2 * MSEC);
        assert_int_equal(waited(0, SLOT_WEB), 4 * MSEC);
        assert_none_under_way();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_from_queue_to_end, setup),
                cmocka_unit_test_setup(test_end_not_seen, setup),
                cmocka_unit_test_setup(test_start_unknown, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
