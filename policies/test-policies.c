/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The shipped set: without a fault or a warning, keeps what it promises, and prints to itself. */

#include "base/test.h"
#include "policy/print.h"
#include "sys/policy-files.h"

static char **files;
static size_t n_files;

static Policy *load(void) {
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_policy_sources_ PolicySources s = {};
        _cleanup_free_ char *report = NULL;
        Policy *p = NULL;

        for (size_t i = 0; i < n_files; i++)
                assert_int_equal(policy_file_read(files[i], &d, &s), 0);
        (void) policy_compile(s.items, s.n_items, &d, &p);
        assert_int_equal(diagnostics_format(&d, SEVERITY_WARNING, &report), 0);
        if (*report || !p)
                fail_msg("%s", report);
        return p;
}

static void test_promises(void **state _unused_) {
        _cleanup_(policy_freep) Policy *p = load();
        const Domain *host, *workload, *sideload, *critical, *system, *user;

        assert_int_equal(p->n_domains, n_files);
        assert_non_null(host = policy_find(p, "host"));
        assert_non_null(workload = policy_find(p, "workload"));
        assert_non_null(sideload = policy_find(p, "sideload"));
        assert_non_null(critical = policy_find(p, "hostcritical"));
        assert_non_null(system = policy_find(p, "system"));
        assert_non_null(user = policy_find(p, "user"));

        /* Who gives way to whom. */
        assert_true(sideload->rank < user->rank);
        assert_true(user->rank < system->rank);
        assert_true(system->rank < workload->rank);
        assert_true(workload->rank < critical->rank);
        assert_true(critical->rank < host->rank);

        /* The host's forecast; a sibling is held and never killed; only sideload is enforced. */
        assert_string_equal(host->slice, "-.slice");
        assert_false(host->contain.present);
        assert_int_equal(host->alarms[0].conditions[0].type, CONDITION_MEMORY_EXHAUSTION);
        assert_int_equal(workload->contain.mode, MODE_CONTAIN);
        assert_true(workload->contain.steps[STEP_HOLD]);
        assert_false(workload->contain.steps[STEP_KILL]);
        assert_int_equal(sideload->contain.mode, MODE_ENFORCE);
        /* Its disk is guarded, at the cost of those that may be capped; nobody in it is. */
        assert_int_equal(workload->n_alarms, 2);
        assert_int_equal(workload->alarms[1].conditions[0].type, CONDITION_IO_PRESSURE);
        assert_true(sideload->contain.steps[STEP_IO_CAP]);
        assert_false(workload->contain.steps[STEP_IO_CAP]);
        assert_int_equal(critical->contain.mode, MODE_OFF);
        assert_int_equal(system->contain.mode, MODE_MONITOR);
        assert_int_equal(user->contain.mode, MODE_CONTAIN);

        /* A machine of any size: no size but the squeeze's floor, and no limit on sideload. */
        for (size_t i = 0; i < p->n_domains; i++)
                for (size_t j = 0; j < p->domains[i].n_resources; j++) {
                        const Resource *r = &p->domains[i].resources[j];

                        assert_null(endswith(r->key, "Max"));
                        assert_null(endswith(r->key, "High"));
                        if (startswith(r->key, "Memory"))
                                assert_non_null(endswith(r->value, "%"));
                }

        /* Every alarm can be raised by this version. */
        for (size_t i = 0; i < p->n_domains; i++)
                for (size_t j = 0; j < p->domains[i].n_alarms; j++)
                        for (size_t k = 0; k < p->domains[i].alarms[j].n_conditions; k++)
                                assert_true(p->domains[i].alarms[j].conditions[k].active);
}

static void test_round_trip(void **state _unused_) {
        _cleanup_(policy_freep) Policy *p = load(), *again = NULL;
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_policy_sources_ PolicySources s = {};

        s.items = calloc(p->n_domains, sizeof(PolicySource));
        assert_non_null(s.items);
        for (; s.n_items < p->n_domains; s.n_items++) {
                PolicySource *x = &s.items[s.n_items];

                assert_int_equal(domain_print(&p->domains[s.n_items], &x->text), 0);
                x->size = strlen(x->text);
                x->domain = strdup(p->domains[s.n_items].name);
                x->file = strdup("printed");
        }
        assert_int_equal(policy_compile(s.items, s.n_items, &d, &again), 0);
        assert_int_equal(d.n_warnings, 0);
        assert_true(policy_equal(p, again));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_promises),
                cmocka_unit_test(test_round_trip),
        };

        files = argv + 1;
        n_files = (size_t) argc - 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
