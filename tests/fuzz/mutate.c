/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The short run that is part of every test: inputs made from the seeds by a fixed random sequence, so that a
 * failure comes again; needs no libFuzzer.
 *
 * usage: mutate-policy COUNT DICTIONARY SEED...
 * An input that breaks a promise is left in the working directory as fuzz-policy.input. */

#include <signal.h>

#include "base/macro.h"
#include "fuzz.h"

#define SIZE_LIMIT 8192

typedef struct Bytes {
        uint8_t data[SIZE_LIMIT];
        size_t size;
} Bytes;

static Bytes seeds[64], words[512], input;
static size_t n_seeds, n_words;
static uint64_t state = 0x9e3779b97f4a7c15;

static size_t below(size_t n) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return n == 0 ? 0 : (size_t) (state % n);
}

static void keep_input(int sig) {
        FILE *f = fopen("fuzz-policy.input", "we");

        if (f) {
                (void) fwrite(input.data, 1, input.size, f);
                (void) fclose(f);
        }
        (void) signal(sig, SIG_DFL);
        (void) raise(sig);
}

static int read_seed(const char *path, Bytes *ret) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");

        if (!f)
                return -errno;
        ret->size = fread(ret->data, 1, sizeof(ret->data), f);
        return 0;
}

/* Lines "TEXT" with \\, \" and \xNN. */
static int read_dictionary(const char *path) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        char line[512];

        if (!f)
                return -errno;
        while (n_words < ARRAY_SIZE(words) && fgets(line, sizeof(line), f)) {
                Bytes *w = &words[n_words];
                const char *p = line;

                if (*p++ != '"')
                        continue;
                for (; *p && *p != '"'; p++) {
                        unsigned c;

                        if (*p == '\\' && p[1] == 'x' && sscanf(p + 2, "%2x", &c) == 1) {
                                w->data[w->size++] = (uint8_t) c;
                                p += 3;
                                continue;
                        }
                        if (*p == '\\')
                                p++;
                        w->data[w->size++] = (uint8_t) *p;
                }
                n_words++;
        }
        return 0;
}

static void splice(size_t at, size_t drop, const uint8_t *data, size_t size) {
        drop = MIN(drop, input.size - at);
        size = MIN(size, SIZE_LIMIT - (input.size - drop));
        memmove(input.data + at + size, input.data + at + drop, input.size - at - drop);
        if (size > 0)
                memmove(input.data + at, data, size);
        input.size += size - drop;
}

static void mutate(void) {
        size_t at = below(input.size + 1);
        uint8_t byte;

        switch (below(9)) {
        case 0:                 /* a bit */
                if (at < input.size)
                        input.data[at] ^= (uint8_t) (1u << below(8));
                break;
        case 1:                 /* any byte */
                byte = (uint8_t) below(256);
                splice(at, below(2), &byte, 1);
                break;
        case 2:                 /* a printable one */
                byte = (uint8_t) (' ' + below(95));
                splice(at, below(2), &byte, 1);
                break;
        case 3:                 /* less */
                splice(at, 1 + below(40), NULL, 0);
                break;
        case 4:                 /* cut off */
                if (below(4) == 0)
                        input.size = at;
                break;
        case 5:
        case 6: {               /* a word */
                const Bytes *w = &words[below(n_words)];

                splice(at, below(2) * below(10), w->data, w->size);
                break;
        }
        case 7: {               /* a piece of another file */
                static Bytes piece;
                const Bytes *other = &seeds[below(n_seeds)];
                size_t from = below(other->size), n = below(MIN(other->size - from, (size_t) 200) + 1);

                memcpy(piece.data, other->data + from, n);
                splice(at, 0, piece.data, n);
                break;
        }
        case 8: {               /* another domain or a drop-in */
                static Bytes piece;
                const Bytes *other = &seeds[below(n_seeds)];

                piece.data[0] = '\f';
                piece.size = MIN(other->size, (size_t) SIZE_LIMIT - 1);
                memcpy(piece.data + 1, other->data, piece.size);
                splice(input.size, 0, piece.data, piece.size + 1);
                break;
        }
        }
}

int main(int argc, char **argv) {
        unsigned long count;

        if (argc < 4) {
                fprintf(stderr, "usage: mutate-policy COUNT DICTIONARY SEED...\n");
                return 2;
        }
        count = strtoul(argv[1], NULL, 10);
        if (read_dictionary(argv[2]) < 0 || n_words == 0) {
                fprintf(stderr, "cannot read %s\n", argv[2]);
                return 1;
        }
        for (int i = 3; i < argc && n_seeds < ARRAY_SIZE(seeds); i++)
                if (read_seed(argv[i], &seeds[n_seeds++]) < 0) {
                        fprintf(stderr, "cannot read %s\n", argv[i]);
                        return 1;
                }
        (void) signal(SIGABRT, keep_input);
        (void) signal(SIGSEGV, keep_input);

        for (unsigned long i = 0; i < count; i++) {
                input = seeds[below(n_seeds)];
                for (size_t n = below(8); n > 0; n--)
                        mutate();
                (void) LLVMFuzzerTestOneInput(input.data, input.size);
        }
        printf("%lu inputs from %zu seeds\n", count, n_seeds);
        return 0;
}
