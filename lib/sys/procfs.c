/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /proc: what describes the host. See procfs.h.
 *
 * Invariant: as with cgroup files, a line that is cut off or strange leaves its field absent.
 * Left out on purpose: the processes, which are placement's matter. */

#include "base/macro.h"
#include "sys/procfs.h"

static const struct {
        const char *key;
        HostField field;
} meminfo_table[] = {
        { "MemTotal:", HOST_MEMORY_TOTAL },
        { "MemAvailable:", HOST_MEMORY_AVAILABLE },
        { "SwapTotal:", HOST_SWAP_TOTAL },
        { "SwapFree:", HOST_SWAP_FREE },
};

/* "    12345 kB\n" with the unit " kB\n". */
static bool number_parse(const char *p, const char *unit, uint64_t *ret) {
        uint64_t v = 0;
        const char *digits;

        p += strspn(p, " \t");
        for (digits = p; *p >= '0' && *p <= '9'; p++) {
                if (v > (UINT64_MAX / 1024 - 9) / 10)
                        return false;
                v = v * 10 + (uint64_t) (*p - '0');
        }
        if (p == digits || !startswith(p, unit))
                return false;
        *ret = v;
        return true;
}

void meminfo_parse(const char *text, Sample *ret) {
        for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
                for (size_t i = 0; i < ARRAY_SIZE(meminfo_table); i++) {
                        const char *p = startswith(line, meminfo_table[i].key);
                        uint64_t v;

                        if (!p)
                                continue;
                        if (number_parse(p, " kB\n", &v))
                                sample_host_set(ret, meminfo_table[i].field, v * 1024);
                        break;
                }
}

void vmstat_parse(const char *text, Sample *ret) {
        static const char *const keys[] = { "\npgsteal_kswapd ", "\npgsteal_direct " };
        uint64_t sum = 0, v;

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                const char *line = strstr(text, keys[i]);

                if (!line || !number_parse(line + strlen(keys[i]), "\n", &v))
                        return;
                sum += v;
        }
        sample_host_set(ret, HOST_PGSTEAL, sum);
}

int proc_cgroup_parse(const char *text, char *ret, size_t size) {
        for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
                const char *p = startswith(line, "0::/");
                size_t n;

                if (!p)
                        continue;
                p--;
                n = (size_t) (end - p);
                if (n >= size)
                        return -ENOBUFS;
                memcpy(ret, p, n);
                ret[n] = 0;
                return 0;
        }
        return -ENOENT;
}
