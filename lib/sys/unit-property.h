/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unit property: resource-control directives as text -> the D-Bus properties that systemd takes for them. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Appends one or more "(sv)" for KEY=VALUE of systemd.resource-control(5), as `systemctl set-property`
 * would; value NULL or "": the default. 0, -EINVAL: not a value of this key, -EOPNOTSUPP: no such key
 * here. */
int unit_property_append(sd_bus_message *m, const char *key, const char *value);

/* Bytes that a percentage is of: all there is, or what a container may have, by memory.max of its root. */
uint64_t unit_property_memory(const char *hierarchy);
/* Likewise of tasks: systemd's system_tasks_max(). */
int unit_property_tasks(const char *hierarchy, uint64_t *ret);

/* True for a directive that each value adds to (one a device). */
bool unit_property_is_list(const char *key);

/* True where systemd's answer to GetAll (a{sv}) says that KEY is VALUE already; of a list, that it is this entry
 * alone, or empty where VALUE is. */
bool unit_property_is(sd_bus_message *properties, const char *key, const char *value);
/* … that the list has n entries (at least one), and VALUE is one of them. */
bool unit_property_list_has(sd_bus_message *properties, const char *key, const char *value, size_t n);
