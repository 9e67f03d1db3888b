/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Unit: what cgd asks of systemd, over a bus that the caller owns.
 *
 * Invariant: no call waits (but the one whose name says so), each ends within its timeout, and each failure
 * comes as one sentence that names the unit, the attempt and the cause.
 * Left out on purpose: jobs (their end is a signal, which who cares listens to) and persistent changes. */

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/str.h"
#include "base/units.h"
#include "sys/unit.h"
#include "sys/unit-property.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define MANAGER SYSTEMD ".Manager"

typedef struct UnitCall {
        UnitHandler handler;
        UnitListHandler list_handler;
        UnitPropertiesHandler properties_handler;
        void *userdata;
        char *subject;          /* "sideload.slice: cannot set MemoryHigh=" */
} UnitCall;

static UnitCall *unit_call_free(UnitCall *c) {
        if (!c)
                return NULL;
        free(c->subject);
        free(c);
        return NULL;
}
DEFINE_CLEANUP(UnitCall *, unit_call_free)

static void unit_call_destroy(void *userdata) {
        (void) unit_call_free(userdata);
}

static int unit_call_new(UnitHandler handler, void *userdata, UnitCall **ret, const char *format, ...)
        _printf_(4, 5);
static int unit_call_new(UnitHandler handler, void *userdata, UnitCall **ret, const char *format, ...) {
        UnitCall *c = calloc(1, sizeof *c);
        va_list ap;
        int r;

        if (!c)
                return -ENOMEM;
        c->handler = handler;
        c->userdata = userdata;
        va_start(ap, format);
        r = vasprintf(&c->subject, format, ap);
        va_end(ap);
        if (r < 0) {
                free(c);
                return -ENOMEM;
        }
        *ret = c;
        return 0;
}

/* What stands behind an error's name, where systemd's own words do not say it. */
static const char *cause_of(const sd_bus_error *e) {
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) ||
            sd_bus_error_has_name(e, SD_BUS_ERROR_TIMEOUT))
                return "systemd did not answer in time; is PID 1 busy reloading?";
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
            sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return "systemd is not on the bus";
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED) ||
            sd_bus_error_has_name(e, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                return "systemd refuses it to this user; cgd must run as root";
        return NULL;
}

/* Where systemd is not on the bus, as while it executes itself anew, the broker answers in its place, and says in many ways
 * that it could not be started. */
static bool is_of_broker(sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);

        return sender && streq(sender, "org.freedesktop.DBus");
}

/* The sentence for a failed reply; NULL out of memory. */
static char *sentence_of(const UnitCall *c, sd_bus_message *m, const sd_bus_error *e) {
        _cleanup_str_ Str s = {};
        const char *cause = cause_of(e);
        char *text;

        /* Of one connection dbus-daemon lets 128 calls wait. */
        if (!cause && is_of_broker(m) && sd_bus_error_has_name(e, SD_BUS_ERROR_LIMITS_EXCEEDED))
                cause = "too many calls wait for systemd's answer; is PID 1 busy reloading?";
        else if (!cause && is_of_broker(m))
                cause = "systemd is not on the bus";
        str_append(&s, c->subject);
        str_append(&s, ": ");
        if (cause)
                str_append(&s, cause);
        else
                str_append_escaped(&s, e->message ? e->message : e->name ? e->name : "unknown error");
        return str_finish(&s, &text) < 0 ? NULL : text;
}

static int reply_error(UnitCall *c, sd_bus_message *m, char **ret_text) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        int r;

        if (!e)
                return 0;
        r = -sd_bus_message_get_errno(m);
        *ret_text = sentence_of(c, m, e);
        if (is_of_broker(m) && !unit_is_silence(r) && !sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED))
                return -ENOTCONN;
        return r < 0 ? r : -EIO;
}

static void fail(UnitCall *c, int r, const char *text) {
        const char *message = text ? text : c->subject;

        if (c->list_handler)
                c->list_handler(r, message, NULL, c->userdata);
        else if (c->properties_handler)
                c->properties_handler(r, message, NULL, c->userdata);
        else if (c->handler)
                c->handler(r, message, c->userdata);
}

/* For replies whose body, if any, begins with a string, object path, or variant of a string. */
static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        UnitCall *c = userdata;
        _cleanup_free_ char *text = NULL;
        const char *value = NULL;
        char type;
        int r = reply_error(c, m, &text);

        (void) error;
        if (r < 0) {
                fail(c, r, text);
                return 0;
        }
        if (sd_bus_message_peek_type(m, &type, NULL) > 0) {
                if (type == 'v')
                        (void) sd_bus_message_read(m, "v", "s", &value);
                else if (type == 's' || type == 'o')
                        (void) sd_bus_message_read_basic(m, type, &value);
        }
        if (c->handler)
                c->handler(0, value, c->userdata);
        return 0;
}

static int unit_call_send(sd_bus *bus, sd_bus_message *m, UnitCall **c, sd_bus_message_handler_t callback,
                          uint64_t timeout_usec, sd_bus_slot **ret_slot) {
        sd_bus_slot *slot = NULL;
        int r = sd_bus_call_async(bus, &slot, m, callback, *c, timeout_usec);

        if (r < 0)
                return r;
        (void) sd_bus_slot_set_destroy_callback(slot, unit_call_destroy);
        *c = NULL;
        if (ret_slot)
                *ret_slot = slot;
        else {
                (void) sd_bus_slot_set_floating(slot, true);
                sd_bus_slot_unref(slot);
        }
        return 0;
}

static void sd_bus_message_unrefpp(sd_bus_message **m) {
        if (*m)
                sd_bus_message_unref(*m);
}
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefpp)

int unit_of_cgroup(const char *path, char ret_unit[static UNIT_NAME_SIZE]) {
        static const char *const types[] = { ".service", ".scope", ".slice", ".socket", ".mount", ".swap" };
        const char *last = NULL;
        size_t n;

        for (const char *p = path; *p;) {
                p += strspn(p, "/");
                n = strcspn(p, "/");
                if (n == 0)
                        break;
                if (last && !(strcspn(last, "/") > 6 &&
                              strncmp(last + strcspn(last, "/") - 6, ".slice", 6) == 0))
                        return -ENXIO;
                last = p;
                p += n;
        }
        if (!last)
                return -ENXIO;
        n = strcspn(last, "/");
        /* systemd puts "_" before names that would look like a kernel file. */
        if (*last == '_') {
                last++;
                n--;
        }
        if (n >= UNIT_NAME_SIZE)
                return -ENXIO;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                size_t k = strlen(types[i]);

                if (n > k && strncmp(last + n - k, types[i], k) == 0) {
                        memcpy(ret_unit, last, n);
                        ret_unit[n] = 0;
                        return 0;
                }
        }
        return -ENXIO;
}

void unit_label_of_cgroup(const char *path, char ret_label[static UNIT_LABEL_SIZE]) {
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        char unit[UNIT_NAME_SIZE];
        size_t n = 0;

        if (unit_of_cgroup(path, unit) >= 0)
                name = unit;
        for (const char *p = name; *p && n + 5 <= UNIT_LABEL_SIZE; p++)
                if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                    strchr(":_.\\@", *p) || (*p == '-' && p > name))
                        ret_label[n++] = *p;
                else
                        n += (size_t) snprintf(ret_label + n, 5, "\\x%02x", (unsigned char) *p);
        ret_label[n] = 0;
}

char *unit_name_complete(const char *name) {
        static const char *const types[] = { ".service", ".scope", ".slice", ".socket", ".mount", ".swap",
                                             ".target", ".device", ".automount", ".timer", ".path" };
        char *complete;

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (endswith(name, types[i]))
                        return strdup(name);
        return asprintf(&complete, "%s.service", name) < 0 ? NULL : complete;
}

void slice_of_cgroup(const char *path, char ret_slice[static UNIT_NAME_SIZE]) {
        (void) snprintf(ret_slice, UNIT_NAME_SIZE, "-.slice");
        for (const char *p = path; *p;) {
                size_t n;

                p += strspn(p, "/");
                p += *p == '_';
                n = strcspn(p, "/");
                if (n <= 6 || n >= UNIT_NAME_SIZE || strncmp(p + n - 6, ".slice", 6) != 0)
                        break;
                memcpy(ret_slice, p, n);
                ret_slice[n] = 0;
                p += n;
        }
}

/* SetUnitProperties with its head written; the properties follow. */
static int set_properties_begin(sd_bus *bus, const char *unit, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        if (!bus)
                return -ENOTCONN;
        r = sd_bus_message_new_method_call(bus, &m, SYSTEMD, SYSTEMD_PATH, MANAGER, "SetUnitProperties");
        if (r >= 0)
                r = sd_bus_message_append(m, "sb", unit, true);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int unit_set_property(sd_bus *bus, const char *unit, const char *key, const char *value, UnitHandler handler,
                      void *userdata, sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = set_properties_begin(bus, unit, &m);

        if (r >= 0)
                r = unit_property_append(m, key, value);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = unit_call_new(handler, userdata, &c, "%s: cannot set %s=%s", unit, key,
                                  value ? value : "");
        if (r < 0)
                return r;
        return unit_call_send(bus, m, &c, on_reply, UNIT_TIMEOUT_USEC, ret_slot);
}

static int memory_high_message(sd_bus *bus, const char *unit, uint64_t bytes, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r = set_properties_begin(bus, unit, &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "MemoryHigh", "t", bytes);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int unit_set_memory_high(sd_bus *bus, const char *unit, uint64_t bytes, UnitHandler handler, void *userdata,
                         sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = memory_high_message(bus, unit, bytes, &m);

        if (r >= 0)
                r = unit_call_new(handler, userdata, &c, "%s: cannot set MemoryHigh=", unit);
        if (r < 0)
                return r;
        return unit_call_send(bus, m, &c, on_reply, UNIT_TIMEOUT_USEC, ret_slot);
}

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * USEC_PER_SEC + (uint64_t) t.tv_nsec / 1000;
}

/* sd_bus_call() bounds the call, and not the connecting before it. */
static int wait_connected(sd_bus *bus, uint64_t deadline_usec) {
        for (;;) {
                uint64_t now = now_usec();
                int r = sd_bus_is_ready(bus);

                if (r == 0)
                        r = sd_bus_process(bus, NULL);
                else
                        return MIN(r, 0);
                if (r == 0)
                        r = now >= deadline_usec ? -ETIMEDOUT : sd_bus_wait(bus, deadline_usec - now);
                if (r < 0)
                        return r;
        }
}

int unit_set_memory_high_sync(sd_bus *bus, const char *unit, uint64_t bytes, uint64_t timeout_usec) {
        _cleanup_message_ sd_bus_message *m = NULL;
        uint64_t deadline = now_usec() + timeout_usec, now;
        int r = memory_high_message(bus, unit, bytes, &m);

        if (r >= 0)
                r = wait_connected(bus, deadline);
        if (r < 0)
                return r;
        now = now_usec();
        return now >= deadline ? -ETIMEDOUT : sd_bus_call(bus, m, deadline - now, NULL, NULL);
}

bool unit_is_silence(int r) {
        return r == -ETIMEDOUT || r == -ENOTCONN || r == -ECONNRESET || r == -ECONNREFUSED || r == -EPIPE || r == -EAGAIN;
}

int unit_private_bus(const char *run, sd_bus **ret) {
        _cleanup_free_ char *address = NULL;
        sd_bus *bus = NULL;
        int r;

        if (asprintf(&address, "unix:path=%s/private", run) < 0) {
                address = NULL;
                return -ENOMEM;
        }
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0) {
                sd_bus_unref(bus);
                return r;
        }
        *ret = bus;
        return 0;
}

/* Where systemd writes what is set at runtime: for units from files, and for transient ones. */
static const char *const dropin_places[] = { "system.control", "transient" };

static int dropin_path(const char *run, const char *place, const char *unit, char *buf, size_t size) {
        int n = snprintf(buf, size, "%s/%s/%s.d/50-MemoryHigh.conf", run, place, unit);

        return n < 0 || (size_t) n >= size ? -ENAMETOOLONG : n;
}

bool unit_memory_high_dropin_exists(const char *run, const char *unit) {
        char path[512];

        for (size_t i = 0; i < ARRAY_SIZE(dropin_places); i++)
                if (dropin_path(run, dropin_places[i], unit, path, sizeof path) >= 0 &&
                    access(path, F_OK) >= 0)
                        return true;
        return false;
}

/* One section, one assignment of MemoryHigh= to one of the values, and comments. */
static bool dropin_is_ours(const char *path, const uint64_t *values, size_t n) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        char buf[1024], *save = NULL;
        bool assigned = false;
        ssize_t k;

        if (fd < 0)
                return false;
        k = read(fd, buf, sizeof buf - 1);
        if (k < 0 || (size_t) k == sizeof buf - 1)
                return false;
        buf[k] = 0;
        for (char *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                const char *text = startswith(line, "MemoryHigh=");
                uint64_t v;
                bool known = false;

                if (*line == '#' || *line == ';' || *line == '[')
                        continue;
                if (!text || assigned)
                        return false;
                if (streq(text, "infinity"))
                        v = LIMIT_MAX;
                else if (u64_parse(text, &v) < 0)
                        return false;
                for (size_t i = 0; i < n; i++)
                        known = known || values[i] == v;
                if (!known)
                        return false;
                assigned = true;
        }
        return assigned;
}

int unit_memory_high_dropin_remove(const char *run, const char *unit, const uint64_t *values, size_t n) {
        int result = 1;

        for (size_t i = 0; i < ARRAY_SIZE(dropin_places); i++) {
                char path[512];

                if (dropin_path(run, dropin_places[i], unit, path, sizeof path) < 0)
                        continue;
                if (!dropin_is_ours(path, values, n))
                        continue;
                if (unlink(path) < 0)
                        return -errno;
                result = 0;
                *strrchr(path, '/') = 0;
                (void) rmdir(path);
        }
        return result;
}

static int manager_call(sd_bus *bus, const char *method, sd_bus_message **ret) {
        return bus ? sd_bus_message_new_method_call(bus, ret, SYSTEMD, SYSTEMD_PATH, MANAGER, method)
                   : -ENOTCONN;
}

int unit_reload_manager(sd_bus *bus, UnitHandler handler, void *userdata, sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = manager_call(bus, "Reload", &m);

        if (r >= 0)
                r = unit_call_new(handler, userdata, &c, "systemd: cannot reload its unit files");
        if (r < 0)
                return r;
        return unit_call_send(bus, m, &c, on_reply, UNIT_RELOAD_TIMEOUT_USEC, ret_slot);
}

static int job_call(sd_bus *bus, const char *method, const char *attempt, const char *unit, UnitHandler handler,
                    void *userdata, sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = manager_call(bus, method, &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "ss", unit, "replace");
        if (r >= 0)
                r = unit_call_new(handler, userdata, &c, "%s: cannot %s", unit, attempt);
        if (r < 0)
                return r;
        return unit_call_send(bus, m, &c, on_reply, UNIT_TIMEOUT_USEC, ret_slot);
}

int unit_restart(sd_bus *bus, const char *unit, UnitHandler handler, void *userdata, sd_bus_slot **ret_slot) {
        return job_call(bus, "RestartUnit", "restart", unit, handler, userdata, ret_slot);
}

int unit_stop(sd_bus *bus, const char *unit, UnitHandler handler, void *userdata, sd_bus_slot **ret_slot) {
        return job_call(bus, "StopUnit", "stop", unit, handler, userdata, ret_slot);
}

/* "x.service" -> "Service" */
static const char *interface_of(const char *unit) {
        static const struct {
                const char *suffix, *interface;
        } types[] = {
                { ".service", "Service" }, { ".scope", "Scope" }, { ".slice", "Slice" },
                { ".socket", "Socket" },   { ".mount", "Mount" }, { ".swap", "Swap" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (endswith(unit, types[i].suffix))
                        return types[i].interface;
        return "Unit";
}

/* A call of the properties of the unit's object, begun with the name of the interface; NULL stands for that of
 * the unit's own type. */
static int properties_call(sd_bus *bus, const char *unit, const char *interface, const char *method,
                           sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_free_ char *path = NULL;
        char name[64];
        int r;

        if (!bus)
                return -ENOTCONN;
        r = sd_bus_path_encode(SYSTEMD_PATH "/unit", unit, &path);
        if (r < 0)
                return r;
        (void) snprintf(name, sizeof name, SYSTEMD ".%s", interface ? interface : interface_of(unit));
        r = sd_bus_message_new_method_call(bus, &m, SYSTEMD, path, "org.freedesktop.DBus.Properties", method);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", name);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int unit_get_string(sd_bus *bus, const char *unit, const char *interface, const char *property,
                    UnitHandler handler, void *userdata, sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = properties_call(bus, unit, interface, "Get", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "s", property);
        if (r >= 0)
                r = unit_call_new(handler, userdata, &c, "%s: cannot read %s", unit, property);
        if (r < 0)
                return r;
        return unit_call_send(bus, m, &c, on_reply, UNIT_TIMEOUT_USEC, ret_slot);
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        UnitCall *c = userdata;
        _cleanup_free_ char *text = NULL;
        int r = reply_error(c, m, &text);

        (void) error;
        if (r < 0)
                fail(c, r, text);
        else
                c->properties_handler(0, NULL, m, c->userdata);
        return 0;
}

int unit_get_properties(sd_bus *bus, const char *unit, UnitPropertiesHandler handler, void *userdata,
                        sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = properties_call(bus, unit, NULL, "GetAll", &m);

        if (r >= 0)
                r = unit_call_new(NULL, userdata, &c, "%s: cannot read its properties", unit);
        if (r < 0)
                return r;
        c->properties_handler = handler;
        return unit_call_send(bus, m, &c, on_properties, UNIT_TIMEOUT_USEC, ret_slot);
}

static int on_list(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        UnitCall *c = userdata;
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_ char **names = NULL;
        const char *name;
        int r = reply_error(c, m, &text);

        (void) error;
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "(ssssssouso)");
        while (r >= 0) {
                r = sd_bus_message_read(m, "(ssssssouso)", &name, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                        NULL, NULL);
                if (r <= 0)
                        break;
                r = strv_extend(&names, name);
        }
        if (r < 0) {
                fail(c, r, text);
                return 0;
        }
        c->list_handler(0, NULL, names ? names : (char *[]) { NULL }, c->userdata);
        return 0;
}

int unit_list_running(sd_bus *bus, char *const *patterns, UnitListHandler handler, void *userdata,
                      sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = manager_call(bus, "ListUnitsByPatterns", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "as", 4, "active", "reloading", "activating", "deactivating");
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) patterns);
        if (r >= 0)
                r = unit_call_new(NULL, userdata, &c, "systemd: cannot list its units");
        if (r < 0)
                return r;
        c->list_handler = handler;
        return unit_call_send(bus, m, &c, on_list, UNIT_TIMEOUT_USEC, ret_slot);
}

static int append_string(sd_bus_message *m, const char *name, const char *value) {
        return value ? sd_bus_message_append(m, "(sv)", name, "s", value) : 0;
}

static int append_id(sd_bus_message *m, const char *name, uint32_t id) {
        char text[16];

        if (id == UINT32_MAX)
                return 0;
        (void) snprintf(text, sizeof text, "%" PRIu32, id);
        return append_string(m, name, text);
}

/* (sv) of an array: opened up to its elements, and closed again. */
static int array_open(sd_bus_message *m, const char *name, const char *type, const char *element) {
        int r = sd_bus_message_open_container(m, 'r', "sv");

        if (r >= 0)
                r = sd_bus_message_append(m, "s", name);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0 && element)
                r = sd_bus_message_open_container(m, 'a', element);
        return r;
}

static int array_close(sd_bus_message *m, bool element) {
        int r = element ? sd_bus_message_close_container(m) : 0;

        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_pids(sd_bus_message *m, const uint32_t *pids, size_t n) {
        int r = array_open(m, "PIDs", "au", NULL);

        if (r >= 0)
                r = sd_bus_message_append_array(m, 'u', pids, n * sizeof *pids);
        return r < 0 ? r : array_close(m, false);
}

/* systemd would put a variable's value in place of $NAME (systemd.service(5)); a word is to arrive as it is. */
static int append_argv(sd_bus_message *m, char *const *argv) {
        int r = sd_bus_message_open_container(m, 'a', "s");

        for (; r >= 0 && *argv; argv++) {
                _cleanup_str_ Str word = {};
                _cleanup_free_ char *text = NULL;

                for (const char *p = *argv; *p; p++)
                        str_append_n(&word, *p == '$' ? "$$" : p, *p == '$' ? 2 : 1);
                r = str_finish(&word, &text);
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", text);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_oneshot(sd_bus_message *m, uint64_t usec) {
        int r = append_string(m, "Type", "oneshot");

        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)", "TimeoutStartUSec", "t", usec);
        return r < 0 ? r : sd_bus_message_append(m, "(sv)", "TimeoutStopUSec", "t", usec);
}

static int append_command(sd_bus_message *m, const UnitTransient *t) {
        int r = array_open(m, "ExecStart", "a(sasb)", "(sasb)");

        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', "sasb");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", t->argv[0]);
        if (r >= 0)
                r = append_argv(m, t->argv);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", false);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = array_close(m, true);
        if (r >= 0 && t->environment && *t->environment) {
                r = array_open(m, "Environment", "as", NULL);
                if (r >= 0)
                        r = sd_bus_message_append_strv(m, (char **) t->environment);
                if (r >= 0)
                        r = array_close(m, false);
        }
        if (r >= 0)
                r = append_string(m, "WorkingDirectory", t->directory);
        if (r >= 0)
                r = append_id(m, "User", t->uid);
        if (r >= 0)
                r = append_id(m, "Group", t->gid);
        if (r >= 0 && t->oneshot_usec > 0)
                r = append_oneshot(m, t->oneshot_usec);
        return r;
}

int unit_start_transient(sd_bus *bus, const UnitTransient *t, UnitHandler handler, void *userdata,
                         sd_bus_slot **ret_slot) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_(unit_call_freep) UnitCall *c = NULL;
        int r = manager_call(bus, "StartTransientUnit", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "ss", t->name, "fail");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = append_string(m, "Description", t->description);
        if (r >= 0)
                r = append_string(m, "Slice", t->slice);
        /* Failed ones go away by themselves: nobody resets them. */
        if (r >= 0)
                r = append_string(m, "CollectMode", "inactive-or-failed");
        if (r >= 0)
                r = t->n_pids > 0 ? append_pids(m, t->pids, t->n_pids) : append_command(m, t);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(sa(sv))", 0);
        if (r >= 0)
                r = unit_call_new(handler, userdata, &c, "%s: cannot start it in %s", t->name, t->slice);
        if (r < 0)
                return r;
        return unit_call_send(bus, m, &c, on_reply, UNIT_TIMEOUT_USEC, ret_slot);
}
