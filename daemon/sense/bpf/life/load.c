/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Loads and attaches the program that sees processes start. */

#include <errno.h>

#include "base/macro.h"
#include "sense/bpf/life/life-api.h"
#include "sense/bpf/life/load.h"
#include "sense/bpf/support.h"

/* Generated; it knows the types of life-api.h. */
#include <life.skel.h>

static void skeleton_destroyp(struct life **p) {
        life__destroy(*p);
}

int life_load(char *const args[] _unused_, LoaderAnswer *ret, int ret_fds[static LOADER_FDS_MAX]) {
        _cleanup_(skeleton_destroyp) struct life *s = NULL;
        int r;

        s = life__open();
        if (!s)
                return support_fail(ret, -errno, "the program cannot be opened");
        r = life__load(s);
        if (r < 0)
                return support_fail(ret, r, "the program cannot be loaded");
        s->links.exec = bpf_program__attach(s->progs.exec);
        if (!s->links.exec)
                return support_fail(ret, -errno, "the program cannot be attached");
        return support_keep((int[_LIFE_FD_MAX]) {
                        [LIFE_LINK] = bpf_link__fd(s->links.exec),
                        [LIFE_RING] = bpf_map__fd(s->maps.starts),
                        [LIFE_CONTROL] = bpf_map__fd(s->maps.bss),
                        [LIFE_USERS] = bpf_map__fd(s->maps.users),
                        [LIFE_NAMES] = bpf_map__fd(s->maps.names),
                }, _LIFE_FD_MAX, ret, ret_fds);
}
