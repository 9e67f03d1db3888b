/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Resources: brings the slices' resources up to what the policy says.
 *
 * Invariant: one directive a call, one call at a time, so that a failure names its directive and the rest is
 * done all the same. What an earlier policy of this daemon set and the present one does not is put to its
 * default.
 *
 * At boot the generator's slice units hold the same values; this is for what changed since. So what systemd
 * has already is not set again: each setting would leave a drop-in that outlives us. Nor is a key that another
 * drop-in assigns which is read after the generator's: who wrote it means it to win. What is set at runtime lies
 * in one place whoever set it, and counts as ours. Left out: what a daemon before this one set and nobody says
 * any more; its drop-ins end with the boot. */

#include <fcntl.h>

#include "place/placer.h"
#include "policy/document.h"
#include "sys/small-file.h"
#include "sys/unit.h"
#include "sys/unit-files.h"
#include "sys/unit-property.h"

/* The generator's. */
#define DROPIN "40-cgd.conf"
#define DROPIN_SIZE_MAX 65536

typedef struct Apply {
        char **todo;                    /* slice, key, value, one after the other; value "": the default */
        size_t at;
        const char *slice;              /* whose properties … */
        sd_bus_message *properties;     /* … these are; NULL: could not be read */
        bool asked;                     /* … are assigned by drop-ins: … */
        char **assigned;                /* … these keys */
        Str errors;
} Apply;

static void apply_done(Op *op) {
        Apply *a = op->data;

        strv_free(a->todo);
        strv_free(a->assigned);
        sd_bus_message_unref(a->properties);
        str_done(&a->errors);
        free(a);
}

static void apply_next(Op *op);

/* To set them without knowing what systemd has, and what is the administrator's, could take that from him. */
static void leave_slice(Apply *a, int r) {
        if (a->errors.length > 0)
                str_append(&a->errors, "\n");
        str_appendf(&a->errors, "%s: its resources stay as they are: systemd does not say what it has: %s", a->slice,
                    strerror(-r));
        while (a->todo[a->at] && streq(a->todo[a->at], a->slice))
                a->at += 3;
}

static void on_properties(int r, const char *message, sd_bus_message *reply, void *userdata) {
        Op *op = userdata;
        Apply *a = op->data;
        sd_bus_slot *slot = TAKE_PTR(op->slot);

        (void) message;
        if (unit_is_silence(r))
                leave_slice(a, r);
        /* What cannot be read is set. */
        a->properties = r < 0 ? NULL : sd_bus_message_ref(reply);
        apply_next(op);
        sd_bus_slot_unref(slot);
}

/* Adds the keys that a drop-in assigns. One that cannot be read any more assigns nothing. */
static int add_assigned(Apply *a, const char *path) {
        _cleanup_(document_freep) Document *document = NULL;
        _cleanup_free_ char *text = malloc(DROPIN_SIZE_MAX);
        int n, r;

        if (!text)
                return -ENOMEM;
        n = file_read_at(AT_FDCWD, path, text, DROPIN_SIZE_MAX);
        if (n < 0)
                return 0;
        r = document_parse(path, text, (size_t) n, NULL, &document);
        for (size_t i = 0; r >= 0 && i < document->n_sections; i++) {
                const Section *s = &document->sections[i];

                for (size_t k = 0; r >= 0 && streq(s->name, "Slice") && k < s->n_assignments; k++)
                        r = strv_extend(&a->assigned, s->assignments[k].key);
        }
        return r;
}

/* Set at runtime, by SetUnitProperties, as we do it. */
static bool is_runtime(const Placer *p, const char *path) {
        const char *rest = startswith(path, p->run);

        return rest && (startswith(rest, "/system.control/") || startswith(rest, "/transient/"));
}

static void on_dropins(int r, char *const *names, void *userdata) {
        Op *op = userdata;
        sd_bus_slot *slot = TAKE_PTR(op->slot);

        for (; names && *names && r >= 0; names++) {
                const char *name = strrchr(*names, '/');

                if (name && strcmp(name + 1, DROPIN) > 0 && !is_runtime(op->placer, *names))
                        r = add_assigned(op->data, *names);
        }
        if (r < 0 && r != -ENOMEM)
                leave_slice(op->data, r);
        if (r == -ENOMEM)
                op_finish(op, r, NULL);
        else
                apply_next(op);
        sd_bus_slot_unref(slot);
}

/* How many of the next calls systemd needs not be asked for. A list is looked at as a whole, from its beginning:
 * after that what systemd said of it is no longer so. */
static size_t calls_needless(const Apply *a) {
        char **call = a->todo + a->at, **end = call + 3;
        size_t n = 0;

        if (!a->properties)
                return 0;
        if (!unit_property_is_list(call[1]))
                return unit_property_is(a->properties, call[1], call[2]);
        if (*call[2])
                return 0;
        for (; *end && streq(end[0], call[0]) && streq(end[1], call[1]); end += 3)
                n++;
        if (n == 0)
                return unit_property_is(a->properties, call[1], "");
        for (char **entry = call + 3; entry < end; entry += 3)
                if (!unit_property_list_has(a->properties, call[1], entry[2], n))
                        return 0;
        return n + 1;
}

static bool policy_has(const Policy *p, const char *slice, const char *key) {
        for (size_t i = 0; i < p->n_domains; i++)
                if (streq(p->domains[i].slice, slice))
                        for (size_t k = 0; k < p->domains[i].n_resources; k++)
                                if (streq(p->domains[i].resources[k].key, key))
                                        return true;
        return false;
}

/* Of what the policy says no more nothing is left to be done. */
static void forget(Placer *p, const char *slice, const char *key) {
        for (char **s = p->applied; s && *s; s++) {
                const char *rest = startswith(*s, slice);

                if (!rest || *rest != ' ' || !streq(rest + 1, key) || policy_has(p->policy, slice, key))
                        continue;
                free(*s);
                for (; (s[0] = s[1]); s++)
                        ;
                return;
        }
}

static void apply_next(Op *op) {
        Apply *a = op->data;

        while (a->todo && a->todo[a->at]) {
                const char *slice = a->todo[a->at], *key = a->todo[a->at + 1], *value = a->todo[a->at + 2];
                size_t n;
                int r;

                if (!a->slice || !streq(a->slice, slice)) {
                        a->slice = slice;
                        a->properties = sd_bus_message_unref(a->properties);
                        a->assigned = strv_free(a->assigned);
                        a->asked = false;
                        if (unit_get_properties(op->placer->bus, slice, on_properties, op, &op->slot) >= 0)
                                return;
                }
                n = calls_needless(a);
                if (n > 0) {
                        forget(op->placer, slice, key);
                        a->at += 3 * n;
                        continue;
                }
                if (!a->asked) {
                        a->asked = true;
                        if (unit_get_dropins(op->placer->bus, slice, on_dropins, op, &op->slot) >= 0)
                                return;
                }
                a->at += 3;
                if (strv_contains(a->assigned, key)) {
                        forget(op->placer, slice, key);
                        continue;
                }
                r = unit_set_property(op->placer->bus, slice, key, value, op_on_reply, op, &op->slot);
                if (r >= 0)
                        return;
                if (!unit_is_silence(r))
                        forget(op->placer, slice, key);
                if (a->errors.length > 0)
                        str_append(&a->errors, "\n");
                str_appendf(&a->errors, "%s: cannot set %s=%s: %s", slice, key, value,
                            r == -EINVAL       ? "systemd has no such value"
                            : r == -EOPNOTSUPP ? "no such directive"
                                               : strerror(-r));
        }
        if (a->errors.length > 0)
                op_finish(op, -EIO, a->errors.data);
        else
                op_finish(op, 0, NULL);
}

static void apply_step(Op *op, int r, const char *message) {
        Apply *a = op->data;

        if (r < 0) {
                if (a->errors.length > 0)
                        str_append(&a->errors, "\n");
                str_append(&a->errors, message);
        }
        if (!unit_is_silence(r))
                forget(op->placer, a->todo[a->at - 3], a->todo[a->at - 2]);
        apply_next(op);
}

static int apply_add(Apply *a, const char *slice, const char *key, const char *value) {
        int r = strv_extend(&a->todo, slice);

        if (r >= 0)
                r = strv_extend(&a->todo, key);
        if (r >= 0)
                r = strv_extend(&a->todo, value);
        return r;
}

/* Fills a->todo, and p->applied with what will be in force. What is to be put back stays there until it has been or systemd
 * has refused it, for all of this may be given up for the next policy, or systemd not answer. */
static int apply_plan(Placer *p, Apply *a) {
        _cleanup_strv_ char **applied = NULL;
        int r = 0;

        for (char **s = p->applied; s && *s && r >= 0; s++) {
                _cleanup_free_ char *slice = strndup(*s, strcspn(*s, " "));
                const char *key = *s + strcspn(*s, " ") + 1;

                if (!slice)
                        return -ENOMEM;
                if (policy_has(p->policy, slice, key))
                        continue;
                r = apply_add(a, slice, key, "");
                if (r >= 0)
                        r = strv_extend(&applied, *s);
        }
        for (size_t i = 0; i < p->policy->n_domains && r >= 0; i++) {
                const Domain *d = &p->policy->domains[i];

                /* Its files are the machine's own: TasksMax= there is a sysctl of the kernel. */
                if (streq(d->slice, "-.slice"))
                        continue;
                for (size_t k = 0; k < d->n_resources && r >= 0; k++) {
                        const Resource *res = &d->resources[k];
                        _cleanup_free_ char *name = NULL;

                        if (asprintf(&name, "%s %s", d->slice, res->key) < 0) {
                                name = NULL;
                                return -ENOMEM;
                        }
                        if (strv_contains(applied, name))
                                continue;
                        /* A list grows by each call: begin it anew, and keep it together. */
                        if (unit_property_is_list(res->key))
                                r = apply_add(a, d->slice, res->key, "");
                        for (size_t j = k; j < d->n_resources && r >= 0; j++)
                                if (streq(d->resources[j].key, res->key))
                                        r = apply_add(a, d->slice, res->key, d->resources[j].value);
                        if (r >= 0)
                                r = strv_extend(&applied, name);
                }
        }
        if (r < 0)
                return r;
        strv_free(p->applied);
        p->applied = TAKE_PTR(applied);
        return 0;
}

static void apply_begin(Op *op, int r, const char *message) {
        (void) r;
        (void) message;
        op->step = apply_step;
        apply_next(op);
}

int place_apply_resources(Placer *p, PlaceHandler handler, void *userdata) {
        Apply *a;
        Op *op;
        int r;

        if (!p->bus || !p->policy)
                return -ENOTCONN;
        a = calloc(1, sizeof *a);
        if (!a)
                return -ENOMEM;
        r = op_new(p, handler, userdata, &op);
        if (r < 0) {
                free(a);
                return r;
        }
        op->data = a;
        op->done = apply_done;
        op->step = apply_begin;
        op->of_policy = true;
        r = apply_plan(p, a);
        if (r >= 0)
                r = op_wait(op, 0);
        if (r < 0) {
                op->handler = NULL;
                op_finish(op, r, NULL);
        }
        return r;
}
