/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the programs of the engine's scenarios share: a world of a gibibyte of memory and one of swap, anew for each test. */

#include "base/test.h"
#include "engine/test-world.h"

static World w;

static int world_setup(void **state _unused_) {
        world_init(&w, 1024 * MIB, 1024 * MIB);
        return 0;
}

static int world_teardown(void **state _unused_) {
        world_done(&w);
        return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
