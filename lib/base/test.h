/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every test program includes: cmocka with the headers it wants first. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macro.h"
