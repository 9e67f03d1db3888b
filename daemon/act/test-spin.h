/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The event loop of act's tests, run for a while, or until something is so. */

#include <systemd/sd-event.h>

#include "base/test.h"
#include "act/worker.h"
#include "base/units.h"

/* For what must not happen, or has no sign of its own. */
static inline void event_spin(sd_event *event, uint64_t usec) {
        uint64_t end = now_monotonic_usec() + usec;

        while (now_monotonic_usec() < end)
                assert_true(sd_event_run(event, 5000) >= 0);
}

/* 10 s at most; a busy machine may need them. */
#define event_spin_until(event, condition)                                                              \
        do {                                                                                            \
                uint64_t _end = now_monotonic_usec() + 10 * USEC_PER_SEC;                               \
                                                                                                        \
                while (!(condition) && now_monotonic_usec() < _end)                                     \
                        assert_true(sd_event_run(event, 5000) >= 0);                                    \
                assert_true(condition);                                                                 \
        } while (0)
