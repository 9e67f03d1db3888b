/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unit files: which drop-ins systemd has read of a unit. */

#include <systemd/sd-bus.h>

/* names: the paths, in the order in which they were read; NULL-terminated, borrowed. Negative r: they could not be
 * asked for, and names is NULL. */
typedef void (*UnitDropinsHandler)(int r, char *const *names, void *userdata);

/* As in unit.h: where it returns 0 the handler is called once, later, unless *ret_slot is unreferenced first. */
int unit_get_dropins(sd_bus *bus, const char *unit, UnitDropinsHandler handler, void *userdata,
                     sd_bus_slot **ret_slot);
