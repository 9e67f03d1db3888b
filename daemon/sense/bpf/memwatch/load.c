/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Loads and starts the watch over the machine's memory. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/macro.h"
#include "sense/bpf/memwatch/load.h"
#include "sense/bpf/memwatch/memwatch-api.h"
#include "sense/bpf/support.h"

/* Generated; it knows the types of memwatch-api.h. */
#include <memwatch.skel.h>

static void skeleton_destroyp(struct memwatch **p) {
        memwatch__destroy(*p);
}

/* One more than the highest in a list as "0-3,6" (Documentation/ABI/stable/sysfs-devices-node). */
static unsigned nodes_possible(void) {
        _cleanup_fclose_ FILE *f = fopen("/sys/devices/system/node/possible", "re");
        char line[256], *last;

        if (!f || !fgets(line, sizeof line, f))
                return 1;
        last = line;
        for (char *p = line; *p; p++)
                if (*p == '-' || *p == ',')
                        last = p + 1;
        return MIN((unsigned) strtoul(last, NULL, 10) + 1, (unsigned) MEMWATCH_NODES_MAX);
}

int memwatch_load(char *const args[] _unused_, LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]) {
        static const char *const refusals[] = {
                [MEMWATCH_NO_CONTROLLER] = "the unified hierarchy has no memory controller",
                [MEMWATCH_NO_NODE] = "this kernel's memory nodes cannot be found",
        };
        _cleanup_(skeleton_destroyp) struct memwatch *s = NULL;
        _cleanup_(link_destroyp) struct bpf_link *link = NULL;
        MemwatchConfig config = {
                .n_nodes = nodes_possible(),
                .page_bytes = (uint32_t) sysconf(_SC_PAGESIZE),
                .total_pages = (uint64_t) sysconf(_SC_PHYS_PAGES),
        };
        LIBBPF_OPTS(bpf_test_run_opts, opts);
        int r;

        s = memwatch__open();
        if (!s)
                return support_fail(ret, -errno, "the program cannot be opened");
        r = bpf_map__set_initial_value(s->maps.rodata, &config, sizeof config);
        if (r >= 0)
                r = bpf_map__set_max_entries(s->maps.messages, config.page_bytes);
        if (r < 0)
                return support_fail(ret, r, "the program is not what it should be");
        r = memwatch__load(s);
        if (r < 0)
                return support_fail(ret, r, "the program cannot be loaded");
        link = bpf_program__attach(s->progs.victim);
        if (!link)
                return support_fail(ret, -errno, "the program cannot be attached");
        r = bpf_prog_test_run_opts(bpf_program__fd(s->progs.start), &opts);
        if (r < 0)
                return support_fail(ret, r, "the program cannot be started");
        if ((int) opts.retval < 0)
                return support_fail(ret, (int) opts.retval, "the kernel gives no timer");
        if (opts.retval != MEMWATCH_STARTED)
                return support_fail(ret, -EOPNOTSUPP, opts.retval < ARRAY_SIZE(refusals) ? refusals[opts.retval] : "it failed");
        return support_keep((int[_MEMWATCH_FD_MAX]) {
                        [MEMWATCH_TIMER] = bpf_map__fd(s->maps.watches),
                        [MEMWATCH_RING] = bpf_map__fd(s->maps.messages),
                        [MEMWATCH_LINK] = bpf_link__fd(link),
                        [MEMWATCH_FOLLOW] = bpf_program__fd(s->progs.follow),
                }, _MEMWATCH_FD_MAX, ret, ret_fds);
}
