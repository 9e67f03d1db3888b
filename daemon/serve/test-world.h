/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by the tests of serve/: a made-up engine and manager behind the bus face. */

#include "serve/server.h"

/* userdata is the sd_event on which a reload is answered; NULL where none is asked for. */
extern const ServerOps world_ops;
/* How often somebody asked who waited for whom. */
extern unsigned world_n_waits;
