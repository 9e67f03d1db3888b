/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Policy files: finds and reads the set on disk, so that policy/ itself needs no file. */

#include <stddef.h>
#include <sys/types.h>

#include "policy/compile.h"

/* Where policies are looked for, the first place winning. */
extern const char *const policy_places[];       /* NULL-terminated */

typedef struct PolicyPaths {
        const char *root;               /* "" for the real one; tests put a directory before all places */
        const char *const *places;
        uid_t owner;                    /* who must own files and directories: 0 */
} PolicyPaths;

/* The real ones. */
extern const PolicyPaths policy_paths;

typedef struct PolicySources {
        PolicySource *items;            /* as policy_compile() wants them: by domain, its file first */
        size_t n_items;
} PolicySources;

void policy_sources_done(PolicySources *s);
#define _cleanup_policy_sources_ _cleanup_(policy_sources_done)

/* Reads the set. A file that may not be used is an error in d (at its first line), which makes
 * policy_compile() refuse the set. A place that is not there is empty. 0; -ENOMEM. */
int policy_files_load(const PolicyPaths *paths, Diagnostics *d, PolicySources *ret);

/* Appends one file by its path, for `cgctl verify FILE`: whoever owns it, since nothing comes of it. A *.conf is a drop-in of the
 * domain before it, or of the domain that its directory NAME.policy.d names, wherever that one's file was. -EBADMSG: said in d; -ENOMEM. */
int policy_file_read(const char *path, Diagnostics *d, PolicySources *sources);
