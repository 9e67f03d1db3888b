/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unit: what cgd asks of systemd (org.freedesktop.systemd1(5)), over a bus that the caller owns.
 *
 * Every call is asynchronous and bounded by UNIT_TIMEOUT_USEC. A call that returns 0 calls its handler once,
 * later, from the bus's dispatch; unless *ret_slot is unreferenced first: then never. ret_slot may be
 * NULL: the call then lives as long as the bus. Negative errno: not sent, the handler is not called. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/macro.h"

#define UNIT_TIMEOUT_USEC UINT64_C(5000000)
/* UNIT_NAME_MAX of systemd, and the NUL. */
#define UNIT_NAME_SIZE 256

/* r: 0 or a negative errno; message: on failure one sentence, "sideload.slice: cannot set MemoryHigh=: …";
 * on success what the call returns as text, or NULL. Borrowed. -ENOTCONN: the broker did not pass it
 * on, as while systemd is not on the bus. */
typedef void (*UnitHandler)(int r, const char *message, void *userdata);

/* The unit that PID 1 keeps at a cgroup path: the last part, if all before it are slices. 0, or -ENXIO: none
 * (delegated, of a user's manager, or made by somebody else). */
int unit_of_cgroup(const char *path, char ret_unit[static UNIT_NAME_SIZE]);
/* What to call a cgroup on a command line: the last part of its path, in the bytes that systemd has in names
 * of units (systemd.unit(5)); any other, and a "-" at the beginning, as \xNN. For the unit's own cgroup that
 * is the unit's name. */
#define UNIT_LABEL_SIZE (4 * UNIT_NAME_SIZE)
void unit_label_of_cgroup(const char *path, char ret_label[static UNIT_LABEL_SIZE]);
/* The unit that somebody means by a name, as systemctl has it: one that does not end in a unit's type is a service's,
 * "nginx" and "php8.2-fpm" too. NULL: out of memory. */
char *unit_name_complete(const char *name);
/* "/a.slice/a-b.slice/x.service" -> "a-b.slice"; "-.slice" where there is none. */
void slice_of_cgroup(const char *path, char ret_slice[static UNIT_NAME_SIZE]);

/* SetUnitProperties(runtime=true) of one directive, by its name and value in a unit file; value NULL: the
 * default. -EINVAL: value does not convert (unit-property.h). */
int unit_set_property(sd_bus *bus, const char *unit, const char *key, const char *value, UnitHandler handler,
                      void *userdata, sd_bus_slot **ret_slot);

/* The same for MemoryHigh= in bytes. The drop-in that systemd makes of it: unit_dropin_name(). */
int unit_set_memory_high(sd_bus *bus, const char *unit, uint64_t bytes, UnitHandler handler, void *userdata,
                         sd_bus_slot **ret_slot);
/* For the way out: waits, at most timeout_usec, also for a connection that is being made. */
int unit_set_memory_high_sync(sd_bus *bus, const char *unit, uint64_t bytes, uint64_t timeout_usec);
/* An error of a call, or of connecting, that says nothing of what systemd does with it: it may still be done. */
bool unit_is_silence(int r);

/* A connection to PID 1 itself, below run ("/run/systemd"): there also while the broker is not, and after
 * the loop has closed its own bus. Root only. */
int unit_private_bus(const char *run, sd_bus **ret);

/* Removes the runtime drop-in for MemoryHigh= that unit_set_memory_high() made, below run ("/run/systemd"),
 * if it says one of the n values and nothing else. 0: removed; 1: none there, or not ours. */
int unit_memory_high_dropin_remove(const char *run, const char *unit, const uint64_t *values, size_t n);
bool unit_memory_high_dropin_exists(const char *run, const char *unit);

/* daemon-reload; its handler may come late on a large system: bounded by UNIT_RELOAD_TIMEOUT_USEC. */
#define UNIT_RELOAD_TIMEOUT_USEC UINT64_C(60000000)
int unit_reload_manager(sd_bus *bus, UnitHandler handler, void *userdata, sd_bus_slot **ret_slot);

/* Queues a restart (mode "replace"); message on success: the job's object path, whose end JobRemoved
 * tells. */
int unit_restart(sd_bus *bus, const char *unit, UnitHandler handler, void *userdata, sd_bus_slot **ret_slot);

/* Queues a stop (mode "replace"); as above. */
int unit_stop(sd_bus *bus, const char *unit, UnitHandler handler, void *userdata, sd_bus_slot **ret_slot);

/* A string property of a unit; message on success: the value. interface: "Unit", "Service", "Slice", "Scope"
 * or NULL: the one of the unit's type. */
int unit_get_string(sd_bus *bus, const char *unit, const char *interface, const char *property,
                    UnitHandler handler, void *userdata, sd_bus_slot **ret_slot);

/* All properties of the unit's own type; reply: a{sv}, borrowed, NULL on failure. */
typedef void (*UnitPropertiesHandler)(int r, const char *message, sd_bus_message *reply, void *userdata);
int unit_get_properties(sd_bus *bus, const char *unit, UnitPropertiesHandler handler, void *userdata,
                        sd_bus_slot **ret_slot);

/* Units in a state where they have processes (active, reloading, activating, deactivating) with one of these
 * suffixes (NULL-terminated list of patterns, "*.service"). names: NULL-terminated, borrowed. */
typedef void (*UnitListHandler)(int r, const char *message, char *const *names, void *userdata);
int unit_list_running(sd_bus *bus, char *const *patterns, UnitListHandler handler, void *userdata,
                      sd_bus_slot **ret_slot);

/* StartTransientUnit: a scope of running processes in a slice, or a service. message on success: job
 * path. */
typedef struct UnitTransient {
        const char *name;               /* "cgd-ci-123.scope" */
        const char *description;
        const char *slice;
        const uint32_t *pids;           /* scope */
        size_t n_pids;
        char *const *argv;              /* service */
        char *const *environment;
        const char *directory;
        uint32_t uid, gid;              /* service; UINT32_MAX: not set */
        uint64_t oneshot_usec;          /* service: Type=oneshot, with this long to end by itself, and as
                                         * long after SIGTERM; 0: an ordinary one */
} UnitTransient;
int unit_start_transient(sd_bus *bus, const UnitTransient *t, UnitHandler handler, void *userdata,
                         sd_bus_slot **ret_slot);
