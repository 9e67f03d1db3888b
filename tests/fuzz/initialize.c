/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libFuzzer's start: takes the dictionary that lies beside the program, so that no caller can forget it. */

#include "base/macro.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        static char option[4096];
        const char *slash = strrchr((*argv)[0], '/');
        char **more;

        (void) snprintf(option, sizeof(option), "-dict=%.*sfuzz-policy.dict",
                        slash ? (int) (slash + 1 - (*argv)[0]) : 0, (*argv)[0]);
        if (access(option + strlen("-dict="), R_OK) < 0)
                return 0;
        more = calloc((size_t) *argc + 2, sizeof(char *));
        if (!more)
                return 0;
        memcpy(more, *argv, (size_t) *argc * sizeof(char *));
        more[(*argc)++] = option;
        *argv = more;   /* lives as long as the process */
        return 0;
}
