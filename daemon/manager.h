/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Manager: the loop; its files alone know every stage: sense -> decide -> act -> record -> show. */

#include <stdint.h>

#include "base/macro.h"

typedef struct Manager Manager;

typedef struct ManagerConfig {
        const char *cgroup_root;        /* "/sys/fs/cgroup" */
        const char *proc;               /* "/proc" */
        const char *runtime_dir;        /* "/run/cgd" */
        const char *bpf_loader;         /* cgd-bpf beside cgd; need not be there */
        uint64_t heartbeat_usec;
} ManagerConfig;

/* 0, or a negative errno; what is wrong and the way out has then been printed to stderr. -EBUSY: another cgd runs. */
int manager_new(const ManagerConfig *config, Manager **ret);
Manager *manager_free(Manager *m);
DEFINE_CLEANUP(Manager *, manager_free)

/* Runs until SIGTERM or SIGINT; gives everything back before it returns. The loop's result. */
int manager_run(Manager *m);
