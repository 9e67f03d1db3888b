/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Loads and attaches the io credit's programs: all of them or none, for what one adds another takes away. */

#include <errno.h>

#include "base/macro.h"
#include "sense/bpf/iocredit/iocredit-api.h"
#include "sense/bpf/iocredit/load.h"
#include "sense/bpf/support.h"

/* Generated; it knows the types of iocredit-api.h. */
#include <iocredit.skel.h>

static void skeleton_destroyp(struct iocredit **p) {
        iocredit__destroy(*p);
}

int iocredit_load(char *const args[] _unused_, LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]) {
        _cleanup_(skeleton_destroyp) struct iocredit *s = NULL;
        int r;

        s = iocredit__open();
        if (!s)
                return support_fail(ret, -errno, "the programs cannot be opened");
        r = iocredit__load(s);
        if (r < 0)
                return support_fail(ret, r, "the programs cannot be loaded");
        /* Ends first: of a request whose beginning alone was seen the entry would stay. */
        s->links.complete = bpf_program__attach(s->progs.complete);
        s->links.merge = bpf_program__attach(s->progs.merge);
        s->links.insert = bpf_program__attach(s->progs.insert);
        s->links.issue = bpf_program__attach(s->progs.issue);
        if (!s->links.complete || !s->links.merge || !s->links.insert || !s->links.issue)
                return support_fail(ret, -errno, "the programs cannot be attached");
        return support_keep((int[_CREDIT_FD_MAX]) {
                        [CREDIT_CONTROL] = bpf_map__fd(s->maps.bss),
                        [CREDIT_LINK_FIRST] = bpf_link__fd(s->links.complete),
                        [CREDIT_LINK_FIRST + 1] = bpf_link__fd(s->links.merge),
                        [CREDIT_LINK_FIRST + 2] = bpf_link__fd(s->links.insert),
                        [CREDIT_LINK_FIRST + 3] = bpf_link__fd(s->links.issue),
                }, _CREDIT_FD_MAX, ret, ret_fds);
}
