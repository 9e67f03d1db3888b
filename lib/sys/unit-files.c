/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Unit files: which drop-ins systemd has read of a unit. systemd is asked, for it alone knows all the places, what
 * masks what, and what it has read. Left out: the text. Who wants it reads the file, which may have changed since. */

#include <stdlib.h>

#include "base/macro.h"
#include "base/str.h"
#include "sys/unit.h"
#include "sys/unit-files.h"

typedef struct Call {
        UnitDropinsHandler handler;
        void *userdata;
} Call;

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Call *c = userdata;
        _cleanup_strv_ char **names = NULL;
        const char *name;
        int r = -sd_bus_message_get_errno(m);

        (void) error;
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0) {
                r = sd_bus_message_read_basic(m, 's', &name);
                if (r == 0)
                        break;
                if (r > 0)
                        r = strv_extend(&names, name);
        }
        c->handler(MIN(r, 0), r < 0 ? NULL : names ? names : (char *[]) { NULL }, c->userdata);
        return 0;
}

int unit_get_dropins(sd_bus *bus, const char *unit, UnitDropinsHandler handler, void *userdata,
                     sd_bus_slot **ret_slot) {
        _cleanup_free_ char *path = NULL;
        sd_bus_message *m = NULL;
        sd_bus_slot *slot = NULL;
        Call *c;
        int r;

        if (!bus)
                return -ENOTCONN;
        r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);
        if (r < 0)
                return r;
        c = malloc(sizeof *c);
        if (!c)
                return -ENOMEM;
        *c = (Call) { handler, userdata };
        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", path,
                                           "org.freedesktop.DBus.Properties", "Get");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", "org.freedesktop.systemd1.Unit", "DropInPaths");
        if (r >= 0)
                r = sd_bus_call_async(bus, &slot, m, on_reply, c, UNIT_TIMEOUT_USEC);
        sd_bus_message_unref(m);
        if (r < 0) {
                free(c);
                return r;
        }
        (void) sd_bus_slot_set_destroy_callback(slot, free);
        *ret_slot = slot;
        return 0;
}
