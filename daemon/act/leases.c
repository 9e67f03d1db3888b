/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Leases: the table of changes that are to be undone, and its file.
 *
 * Invariant: a record is in the file before the change it speaks of is made, so whoever reads the file after
 * a crash at any moment knows every value that may have to be given back.
 *
 * The file is text, a line a record: "CRC SEQUENCE VERB …\n", the CRC over what follows it. A reader stops
 * at the first line that is torn, has another CRC, or does not carry the next sequence number; so neither a
 * write cut short nor what is left of older records further on can be taken for a lease. Text, because a
 * person who is called to a machine with a dead cgd can read it.
 *
 *   take SERIAL CGROUP INCIDENT STEP ORIGINAL PREVIOUS VALUE SWAP… TAKEN EXPIRES OVER HANDED DROPIN IOONLY PATH
 *   again SERIAL INCIDENT STEP PREVIOUS VALUE SWAP… TAKEN EXPIRES
 *   set SERIAL STEP PREVIOUS VALUE SWAP… EXPIRES
 *   cap SERIAL STEP EXPIRES MAJOR MINOR ORIGINAL… PREVIOUS… VALUE…  (rbps wbps riops wiops each)
 *   over SERIAL HANDED DROPIN
 *   end SERIAL
 *
 * The blocks are reserved when the file is made and its pages pinned, so a full /run or a swap storm does
 * not stand in the way of an incident. It is written anew, beside and then renamed, when it is full, and
 * begun again from the start when no lease is in force. Left out: fsync, for /run is memory. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "act/leases.h"
#include "base/macro.h"
#include "base/units.h"

/* About 250 changes of level between two rewrites, more than most incidents have; and pinned memory, so no
 * more. */
#define LEASE_FILE_BYTES ((size_t) 32 * 1024)
#define RECORD_MAX (sizeof(((Lease *) NULL)->path) + 512)

struct Leases {
        char *file, *new_file;
        int fd;                 /* -EBADF: none could be made */
        void *map;              /* only to pin the pages */
        size_t offset;          /* the next record goes here */
        uint64_t sequence, serial;
        bool stale;             /* a record could not be written: write anew before the next */
        size_t n_held;
        HeldLease held[LEASES_MAX];
};

static uint32_t crc32_of(const char *p, size_t n) {
        uint32_t crc = ~UINT32_C(0);

        while (n-- > 0) {
                crc ^= (unsigned char) *p++;
                for (int i = 0; i < 8; i++)
                        crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & -(crc & 1));
        }
        return ~crc;
}

/* Puts CRC and newline around "SEQUENCE …" that stands in buf from byte 9 on. Returns the length. */
static size_t record_seal(char *buf, size_t body) {
        char crc[9];

        (void) snprintf(crc, sizeof crc, "%08" PRIx32, crc32_of(buf + 9, body));
        memcpy(buf, crc, 8);
        buf[8] = ' ';
        buf[9 + body] = '\n';
        return 9 + body + 1;
}

static size_t record_take(char *buf, uint64_t sequence, const HeldLease *h) {
        int n = snprintf(buf + 9, RECORD_MAX - 10,
                         "%" PRIu64 " take %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %" PRIu64 " %" PRIu64
                         " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d %" PRIu64 " %d %d %s",
                         sequence, h->serial, h->lease.cgroup_id, h->lease.incident_id,
                         step_to_string(h->lease.step), h->lease.original, h->previous, h->lease.value,
                         h->lease.swap_original, h->lease.swap_value, h->lease.taken_usec,
                         h->lease.expires_usec, h->lease.handed_over, h->handed_before, h->had_dropin,
                         h->lease.io_only, h->lease.path);

        return record_seal(buf, (size_t) n);
}

static size_t record_set(char *buf, uint64_t sequence, const HeldLease *h) {
        int n = snprintf(buf + 9, RECORD_MAX - 10,
                         "%" PRIu64 " set %" PRIu64 " %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                         sequence, h->serial, step_to_string(h->lease.step), h->previous, h->lease.value,
                         h->swap_previous, h->lease.swap_value, h->lease.expires_usec);

        return record_seal(buf, (size_t) n);
}

static size_t record_cap(char *buf, uint64_t sequence, uint64_t serial, Step step, uint64_t expires_usec,
                         const IoCap *cap) {
        const IoLine *const lines[] = { &cap->original, &cap->expect, &cap->value };
        int n = snprintf(buf + 9, RECORD_MAX - 10, "%" PRIu64 " cap %" PRIu64 " %s %" PRIu64 " %" PRIu32 " %" PRIu32,
                         sequence, serial, step_to_string(step), expires_usec, cap->value.major, cap->value.minor);

        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                for (int k = 0; k < _IO_KEY_MAX; k++)
                        n += snprintf(buf + 9 + n, RECORD_MAX - 10 - (size_t) n, " %" PRIu64, lines[i]->v[k]);
        return record_seal(buf, (size_t) n);
}

static size_t record_over(char *buf, uint64_t sequence, uint64_t serial, uint64_t value, bool had_dropin) {
        int n = snprintf(buf + 9, RECORD_MAX - 10, "%" PRIu64 " over %" PRIu64 " %" PRIu64 " %d", sequence, serial, value,
                         had_dropin);

        return record_seal(buf, (size_t) n);
}

/* All that a file written anew says of a lease, record by record: itself, its devices, and what a take does not say: what
 * memory.swap.high may hold still, and what systemd was told last. 0 past the last. */
static size_t record_of(char *buf, uint64_t sequence, const HeldLease *h, size_t k) {
        bool swap_open = h->swap_previous != h->lease.swap_value && h->swap_previous != h->lease.swap_original;

        if (k == 0)
                return record_take(buf, sequence, h);
        if (k <= h->lease.n_io)
                return record_cap(buf, sequence, h->serial, h->lease.step, h->lease.expires_usec, &h->lease.io[k - 1]);
        k -= h->lease.n_io + 1;
        if (swap_open && k-- == 0)
                return record_set(buf, sequence, h);
        return k == 0 && h->handed_before != h->handed_value ?
                               record_over(buf, sequence, h->serial, h->handed_value, h->had_dropin) : 0;
}

static int write_all(int fd, const char *buf, size_t n, size_t offset) {
        while (n > 0) {
                ssize_t k = pwrite(fd, buf, n, (off_t) offset);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        return -ENOSPC;
                buf += k;
                n -= (size_t) k;
                offset += (size_t) k;
        }
        return 0;
}

/* A file of full size that holds the leases in force, in the place of the old one. */
static int leases_rewrite(Leases *l) {
        _cleanup_close_ int fd = -EBADF;
        char buf[RECORD_MAX];
        size_t offset = 0;
        uint64_t sequence = l->sequence;
        void *map;
        int r;

        (void) unlink(l->new_file);
        fd = open(l->new_file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = -posix_fallocate(fd, 0, (off_t) LEASE_FILE_BYTES);
        if (r < 0)
                goto fail;
        for (size_t i = 0; i < LEASES_MAX; i++) {
                const HeldLease *h = &l->held[i];
                size_t n;

                for (size_t k = 0; h->serial != 0 && (n = record_of(buf, sequence, h, k)) > 0; k++) {
                        if (offset + n > LEASE_FILE_BYTES) {
                                r = -ENOSPC;
                                goto fail;
                        }
                        r = write_all(fd, buf, n, offset);
                        if (r < 0)
                                goto fail;
                        offset += n;
                        sequence++;
                }
        }
        if (rename(l->new_file, l->file) < 0) {
                r = -errno;
                goto fail;
        }
        if (l->map)
                (void) munmap(l->map, LEASE_FILE_BYTES);
        map = mmap(NULL, LEASE_FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        l->map = map == MAP_FAILED ? NULL : map;
        if (l->map)
                (void) mlock(l->map, LEASE_FILE_BYTES);
        (void) safe_close(l->fd);
        l->fd = TAKE_FD(fd);
        l->offset = offset;
        l->sequence = sequence;
        l->stale = false;
        return 0;

fail:
        (void) unlink(l->new_file);
        return r;
}

/* Appends a sealed record of n bytes that was made with l->sequence. */
static int leases_append(Leases *l, const char *buf, size_t n) {
        int r = write_all(l->fd, buf, n, l->offset);

        if (r < 0) {
                /* Half a record: nothing after it would be read. */
                l->stale = true;
                return r;
        }
        l->offset += n;
        l->sequence++;
        return 0;
}

/* Makes sure that a record can be appended. */
static int leases_ready(Leases *l) {
        if (l->fd >= 0 && !l->stale && l->offset + RECORD_MAX <= LEASE_FILE_BYTES)
                return 0;
        return leases_rewrite(l);
}

int leases_take(Leases *l, const Lease *lease, uint64_t previous, HeldLease **ret) {
        char buf[RECORD_MAX];
        HeldLease *h = NULL;
        size_t length = strnlen(lease->path, sizeof lease->path);
        int r;

        if (length == sizeof lease->path)
                return -ENAMETOOLONG;
        /* The kernel lets no cgroup have such a name. */
        if (lease->path[0] != '/' || strchr(lease->path, '\n'))
                return -EINVAL;
        for (size_t i = 0; i < LEASES_MAX && !h; i++)
                if (l->held[i].serial == 0)
                        h = &l->held[i];
        if (!h)
                return -ENOSPC;
        r = leases_ready(l);
        if (r < 0)
                return r;

        h->lease = *lease;
        h->previous = previous;
        h->swap_previous = lease->swap_original;
        h->handed_value = h->handed_before = 0;
        h->had_dropin = h->told = h->ended = h->drifted = h->calling = false;
        h->retry_usec = 0;
        h->jobs = 0;
        h->dir_fd = -EBADF;
        h->serial = l->serial + 1;
        r = leases_append(l, buf, record_take(buf, l->sequence, h));
        if (r < 0) {
                h->serial = 0;
                return r;
        }
        l->serial++;
        l->n_held++;
        *ret = h;
        return 0;
}

static int leases_note(Leases *l, const char *format, ...) _printf_(2, 3);
static int leases_note(Leases *l, const char *format, ...) {
        char buf[RECORD_MAX];
        va_list ap;
        int n, k;

        n = snprintf(buf + 9, 32, "%" PRIu64 " ", l->sequence);
        va_start(ap, format);
        k = vsnprintf(buf + 9 + n, 400, format, ap);
        va_end(ap);
        return leases_append(l, buf, record_seal(buf, (size_t) (n + k)));
}

int leases_set(Leases *l, HeldLease *h, uint64_t value, uint64_t swap_value, Step step,
               uint64_t expires_usec) {
        HeldLease next = *h;
        char buf[RECORD_MAX];
        int r = leases_ready(l);

        if (r < 0)
                return r;
        next.previous = h->lease.value;
        next.lease.value = value;
        next.swap_previous = h->lease.swap_value;
        next.lease.swap_value = swap_value;
        next.lease.step = step;
        next.lease.expires_usec = expires_usec;
        next.lease.io_only = false;
        r = leases_append(l, buf, record_set(buf, l->sequence, &next));
        if (r < 0)
                return r;
        *h = next;
        return 0;
}

static IoCap *lease_cap(Lease *l, const IoLine *device) {
        for (size_t i = 0; i < l->n_io; i++)
                if (io_same_device(&l->io[i].value, device))
                        return &l->io[i];
        return NULL;
}

/* Puts one device into the table. False where it is full. */
static bool cap_apply(HeldLease *h, const IoCap *cap, Step step, uint64_t expires_usec) {
        IoCap *there = lease_cap(&h->lease, &cap->value);

        if (!there) {
                if (h->lease.n_io == IO_DEVICES_MAX)
                        return false;
                there = &h->lease.io[h->lease.n_io++];
        }
        *there = *cap;
        h->lease.step = step;
        h->lease.expires_usec = expires_usec;
        return true;
}

int leases_cap(Leases *l, HeldLease *h, const IoCap *cap, Step step, uint64_t expires_usec) {
        const IoCap *there = lease_cap(&h->lease, &cap->value);
        char buf[RECORD_MAX];
        IoCap c = *cap;
        int r;

        if (!there && h->lease.n_io == IO_DEVICES_MAX)
                return -ENOSPC;
        /* What it held before us is settled by the first record. */
        if (there) {
                c.original = there->original;
                c.expect = there->value;
        }
        r = leases_ready(l);
        if (r < 0)
                return r;
        r = leases_append(l, buf, record_cap(buf, l->sequence, h->serial, step, expires_usec, &c));
        if (r < 0)
                return r;
        (void) cap_apply(h, &c, step, expires_usec);
        return 0;
}

int leases_hand_over(Leases *l, HeldLease *h, uint64_t value, bool had_dropin) {
        char buf[RECORD_MAX];
        int r = leases_ready(l);

        if (r < 0)
                return r;
        if (h->lease.handed_over)
                had_dropin = h->had_dropin;
        r = leases_append(l, buf, record_over(buf, l->sequence, h->serial, value, had_dropin));
        if (r < 0)
                return r;
        h->handed_before = h->lease.handed_over ? h->handed_value : value;
        h->handed_value = value;
        h->lease.handed_over = true;
        h->had_dropin = had_dropin;
        return 0;
}

void leases_end(Leases *l, HeldLease *h) {
        uint64_t serial = h->serial;

        if (serial == 0)
                return;
        h->dir_fd = safe_close(h->dir_fd);
        h->serial = 0;
        l->n_held--;
        if (l->fd < 0)
                return;
        if (l->n_held == 0 && !l->stale) {
                /* Begin again: an empty first line reads as an empty file, and the sequence number keeps
                 * what stands behind the next record from being read. */
                if (write_all(l->fd, "\n", 1, 0) < 0)
                        l->stale = true;
                else {
                        l->offset = 0;
                        l->sequence++;
                }
                return;
        }
        if (leases_ready(l) < 0)
                l->stale = true;
        else
                (void) leases_note(l, "end %" PRIu64, serial);
}

static HeldLease *find(Leases *l, uint64_t cgroup_id, bool ended) {
        for (size_t i = 0; i < LEASES_MAX; i++)
                if (l->held[i].serial != 0 && l->held[i].ended == ended &&
                    l->held[i].lease.cgroup_id == cgroup_id)
                        return &l->held[i];
        return NULL;
}

HeldLease *leases_find(Leases *l, uint64_t cgroup_id) {
        return find(l, cgroup_id, false);
}

HeldLease *leases_find_ended(Leases *l, uint64_t cgroup_id) {
        return find(l, cgroup_id, true);
}

HeldLease *leases_find_serial(Leases *l, uint64_t serial) {
        for (size_t i = 0; i < LEASES_MAX && serial != 0; i++)
                if (l->held[i].serial == serial)
                        return &l->held[i];
        return NULL;
}

HeldLease *leases_at(Leases *l, size_t slot) {
        return l->held[slot].serial != 0 ? &l->held[slot] : NULL;
}

/* The next word of *p, cut out; NULL at the end. */
static char *word(char **p) {
        char *w = *p;

        if (!w)
                return NULL;
        *p = strchr(w, ' ');
        if (*p)
                *(*p)++ = 0;
        return w;
}

static bool word_u64(char **p, uint64_t *ret) {
        char *w = word(p);

        return w && u64_parse(w, ret) >= 0;
}

static bool word_bool(char **p, bool *ret) {
        uint64_t v;

        if (!word_u64(p, &v) || v > 1)
                return false;
        *ret = v;
        return true;
}

static bool word_step(char **p, Step *ret) {
        char *w = word(p);

        return w && step_from_string(w, ret) >= 0;
}

/* What was there before and what systemd was told stay. */
static void lease_again(HeldLease *h, const Lease *lease, uint64_t previous) {
        h->lease.incident_id = lease->incident_id;
        h->lease.step = lease->step;
        h->previous = previous;
        h->lease.value = lease->value;
        h->swap_previous = h->lease.swap_original = lease->swap_original;
        h->lease.swap_value = lease->swap_value;
        h->lease.taken_usec = lease->taken_usec;
        h->lease.expires_usec = lease->expires_usec;
        h->lease.io_only = false;
        h->lease.n_io = 0;
        h->ended = false;
}

int leases_take_again(Leases *l, HeldLease *h, const Lease *lease, uint64_t previous) {
        int r = leases_ready(l);

        if (r >= 0)
                r = leases_note(l,
                                "again %" PRIu64 " %" PRIu64 " %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
                                " %" PRIu64,
                                h->serial, lease->incident_id, step_to_string(lease->step), previous, lease->value,
                                lease->swap_original, lease->swap_value, lease->taken_usec, lease->expires_usec);
        if (r >= 0)
                lease_again(h, lease, previous);
        return r;
}

/* Applies one record to the table. False: not one of ours. */
static bool record_apply(Leases *l, char *line) {
        HeldLease t = { .dir_fd = -EBADF }, *h = NULL;
        char *verb = word(&line);

        if (!verb || !word_u64(&line, &t.serial) || t.serial == 0)
                return false;
        for (size_t i = 0; i < LEASES_MAX; i++)
                if (l->held[i].serial == t.serial)
                        h = &l->held[i];
        if (streq(verb, "take")) {
                size_t n;

                if (h || !word_u64(&line, &t.lease.cgroup_id) || !word_u64(&line, &t.lease.incident_id) ||
                    !word_step(&line, &t.lease.step) || !word_u64(&line, &t.lease.original) ||
                    !word_u64(&line, &t.previous) || !word_u64(&line, &t.lease.value) ||
                    !word_u64(&line, &t.lease.swap_original) || !word_u64(&line, &t.lease.swap_value) ||
                    !word_u64(&line, &t.lease.taken_usec) || !word_u64(&line, &t.lease.expires_usec) ||
                    !word_bool(&line, &t.lease.handed_over) || !word_u64(&line, &t.handed_value) ||
                    !word_bool(&line, &t.had_dropin) || !word_bool(&line, &t.lease.io_only) || !line)
                        return false;
                n = strlen(line);
                if (line[0] != '/' || n >= sizeof t.lease.path)
                        return false;
                memcpy(t.lease.path, line, n + 1);
                t.handed_before = t.handed_value;
                t.swap_previous = t.lease.swap_original;
                for (size_t i = 0; i < LEASES_MAX; i++)
                        if (l->held[i].serial == 0) {
                                l->held[i] = t;
                                l->n_held++;
                                l->serial = MAX(l->serial, t.serial);
                                return true;
                        }
                return false;
        }
        /* The file may have been written anew without it just before. */
        if (!h)
                return streq(verb, "end");
        if (streq(verb, "again")) {
                if (!word_u64(&line, &t.lease.incident_id) || !word_step(&line, &t.lease.step) ||
                    !word_u64(&line, &t.previous) || !word_u64(&line, &t.lease.value) ||
                    !word_u64(&line, &t.lease.swap_original) || !word_u64(&line, &t.lease.swap_value) ||
                    !word_u64(&line, &t.lease.taken_usec) || !word_u64(&line, &t.lease.expires_usec))
                        return false;
                lease_again(h, &t.lease, t.previous);
                return true;
        }
        if (streq(verb, "set")) {
                if (!word_step(&line, &t.lease.step) || !word_u64(&line, &t.previous) ||
                    !word_u64(&line, &t.lease.value) || !word_u64(&line, &t.swap_previous) ||
                    !word_u64(&line, &t.lease.swap_value) || !word_u64(&line, &t.lease.expires_usec))
                        return false;
                h->lease.step = t.lease.step;
                h->previous = t.previous;
                h->lease.value = t.lease.value;
                h->swap_previous = t.swap_previous;
                h->lease.swap_value = t.lease.swap_value;
                h->lease.expires_usec = t.lease.expires_usec;
                h->lease.io_only = false;
                return true;
        }
        if (streq(verb, "cap")) {
                IoCap cap = {};
                IoLine *const lines[] = { &cap.original, &cap.expect, &cap.value };
                uint64_t major, minor;

                if (!word_step(&line, &t.lease.step) || !word_u64(&line, &t.lease.expires_usec) || !word_u64(&line, &major) ||
                    !word_u64(&line, &minor) || major > UINT32_MAX || minor > UINT32_MAX)
                        return false;
                for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
                        lines[i]->major = (uint32_t) major;
                        lines[i]->minor = (uint32_t) minor;
                        for (int k = 0; k < _IO_KEY_MAX; k++)
                                if (!word_u64(&line, &lines[i]->v[k]))
                                        return false;
                }
                return cap_apply(h, &cap, t.lease.step, t.lease.expires_usec);
        }
        if (streq(verb, "over")) {
                if (!word_u64(&line, &t.handed_value) || !word_bool(&line, &h->had_dropin))
                        return false;
                h->handed_before = h->lease.handed_over ? h->handed_value : t.handed_value;
                h->handed_value = t.handed_value;
                h->lease.handed_over = true;
                return true;
        }
        if (streq(verb, "end")) {
                h->serial = 0;
                l->n_held--;
                return true;
        }
        return false;
}

static void leases_parse(Leases *l, char *text, size_t n) {
        uint64_t expected = 0;

        for (char *p = text, *end = text + n; p < end;) {
                char *newline = memchr(p, '\n', (size_t) (end - p)), *body;
                char crc[9];
                uint64_t sequence;

                if (!newline || newline - p < 10 || memchr(p, 0, (size_t) (newline - p)))
                        return;
                *newline = 0;
                (void) snprintf(crc, sizeof crc, "%08" PRIx32, crc32_of(p + 9, (size_t) (newline - p) - 9));
                if (memcmp(crc, p, 8) != 0 || p[8] != ' ')
                        return;
                body = p + 9;
                if (!word_u64(&body, &sequence) || (expected != 0 && sequence != expected))
                        return;
                if (!record_apply(l, body))
                        return;
                expected = sequence + 1;
                l->sequence = MAX(l->sequence, expected);
                p = newline + 1;
        }
}

static int leases_load(Leases *l, const char *file) {
        _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_free_ char *text = NULL;
        struct stat st;
        size_t n = 0;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size > (off_t) (4 * LEASE_FILE_BYTES))
                return -EBADMSG;
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        while (n < (size_t) st.st_size) {
                ssize_t k = pread(fd, text + n, (size_t) st.st_size - n, (off_t) n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        leases_parse(l, text, n);
        return 0;
}

int leases_new(const char *file, Leases **ret) {
        Leases *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;
        l->fd = -EBADF;
        l->sequence = 1;
        l->file = strdup(file);
        if (!l->file || asprintf(&l->new_file, "%s.new", file) < 0) {
                l->new_file = l->file ? NULL : l->new_file;
                leases_free(l);
                return -ENOMEM;
        }
        r = leases_load(l, file);
        if (r == -ENOMEM) {
                leases_free(l);
                return r;
        }
        /* A file that cannot be read holds no lease that could be given back: a fresh one takes its
         * place. */
        (void) leases_rewrite(l);
        *ret = l;
        return 0;
}

Leases *leases_free(Leases *l) {
        if (!l)
                return NULL;
        for (size_t i = 0; i < LEASES_MAX; i++)
                if (l->held[i].serial != 0)
                        (void) safe_close(l->held[i].dir_fd);
        if (l->map)
                (void) munmap(l->map, LEASE_FILE_BYTES);
        (void) safe_close(l->fd);
        free(l->file);
        free(l->new_file);
        free(l);
        return NULL;
}

void leases_remove_if_empty(Leases *l) {
        if (l->n_held > 0 || l->fd < 0)
                return;
        (void) unlink(l->file);
        l->fd = safe_close(l->fd);
}

int leases_read(const char *file, LeasesReader reader, void *userdata) {
        Leases *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;
        l->fd = -EBADF;
        r = leases_load(l, file);
        /* In the order taken: serials rise, and places in the table are used again. */
        for (uint64_t last = 0; r >= 0;) {
                HeldLease *next = NULL;

                for (size_t i = 0; i < LEASES_MAX; i++)
                        if (l->held[i].serial > last && (!next || l->held[i].serial < next->serial))
                                next = &l->held[i];
                if (!next)
                        break;
                last = next->serial;
                reader(next, userdata);
        }
        leases_free(l);
        return r;
}
