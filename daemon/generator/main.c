/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* cgd-generator NORMAL EARLY LATE: the policy set as systemd's units, at boot and at each daemon-reload.
 *
 * Invariant: it never fails the boot and never hangs it. A domain that is refused places nothing: its units
 * start where they would without cgd, and one line in the kernel's log says why. No bus, no clock, no child; files are opened
 * without blocking, and an alarm ends what still hangs (a dead network file system under /usr/local). */

#include <fcntl.h>

#include "base/str.h"
#include "generator/generate.h"
#include "sys/policy-files.h"

/* systemd waits 90 s for all generators together. */
#define TIMEOUT_SEC 20

/* journald is not there yet: /dev/kmsg is what systemd.generator(7) gives us. By hand it is stderr. */
static void say(bool boot, const char *format, ...) _printf_(2, 3);
static void say(bool boot, const char *format, ...) {
        _cleanup_close_ int fd = -EBADF;
        char line[900];         /* kmsg takes a record of about 1000 bytes in one write */
        va_list ap;
        int n, m;

        n = snprintf(line, sizeof(line), "%scgd-generator: ", boot ? "<4>" : "");
        va_start(ap, format);
        m = vsnprintf(line + n, sizeof(line) - (size_t) n - 1, format, ap);
        va_end(ap);
        n = MIN(n + MAX(m, 0), (int) sizeof(line) - 2);
        line[n++] = '\n';
        if (boot)
                fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (write(fd >= 0 ? fd : STDERR_FILENO, line, (size_t) n) < 0)
                return;         /* nobody left to tell */
}

int main(int argc, char **argv) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_policy_sources_ PolicySources sources = {};
        _cleanup_(policy_freep) Policy *policy = NULL;
        _cleanup_free_ char *failed = NULL, *report = NULL;
        _cleanup_strv_ char **left_out = NULL;
        bool boot;
        int r;

        if (argc != 4) {
                fprintf(stderr, "usage: cgd-generator NORMAL EARLY LATE\n"
                                "Writes the policies as systemd units; systemd runs it, see systemd.generator(7).\n");
                return 2;
        }
        boot = startswith(argv[1], "/run/systemd/") != NULL;
        (void) alarm(TIMEOUT_SEC);

        r = policy_files_load(&policy_paths, &d, &sources);
        if (r >= 0)
                r = policy_compile_sound(sources.items, sources.n_items, &d, &policy, &left_out);
        if (d.n_errors > 0 && (r >= 0 || r == -EBADMSG)) {
                diagnostics_sort(&d);
                if (diagnostics_format(&d, SEVERITY_ERROR, &report) >= 0) {
                        report[strcspn(report, "\n")] = '\0';
                        say(boot, "policies refused, placing %s (%zu faults, see 'cgctl verify'): %s",
                            r >= 0 ? "only what the others say" : "nothing", d.n_errors, report);
                }
                if (r < 0)
                        return 0;
        }
        if (r >= 0)
                r = generate(policy, &(GeneratePaths) { .root = "", .normal = argv[1], .late = argv[3] }, &failed);
        if (r < 0) {
                say(boot, "cannot write %s: %s; placing what is written so far", failed ? failed : "units", strerror(-r));
                return 1;
        }
        return 0;
}
