/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "model/incident.h"

const char *incident_path_of(const Incident *i, uint64_t cgroup_id) {
        if (cgroup_id == 0)
                return NULL;
        if (cgroup_id == i->culprit_id)
                return i->culprit;
        for (size_t k = 0; k < i->n_candidates; k++)
                if (i->candidates[k].cgroup_id == cgroup_id)
                        return i->candidates[k].path;
        return NULL;
}
