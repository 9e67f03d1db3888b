/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a policy means: every key, the defaults, drop-ins, and each refusal with its line and column. */

#include "base/units.h"
#include "policy/print.h"
#include "policy/schema.h"
#include "policy/test-policy.h"

static const char full[] =
        "[Domain]\n"
        "Description=Services that people wait for\n"
        "Slice=work-load.slice\n"
        "Rank=700\n"
        "BlameShareMin=33.3%\n"
        "[Match]\n"
        "Unit=nginx.service postgresql@*.service\n"
        "Unit=redis.service\n"
        "User=ci 1000\n"
        "Executable=/usr/bin/ffmpeg /opt/*/bin/x\n"
        "[Resources]\n"
        "MemoryLow=40%\n"
        "MemoryHigh=1.5G\n"
        "MemoryMax=infinity\n"
        "MemorySwapMax=0\n"
        "IOWeight=500\n"
        "CPUWeight=idle\n"
        "CPUQuota=250%\n"
        "CPUQuotaPeriodSec=10ms\n"
        "AllowedCPUs=0-3,5 7\n"
        "TasksMax=10%\n"
        "IOAccounting=True\n"
        "IOReadBandwidthMax=/dev/sda 5M\n"
        "IOReadBandwidthMax=/dev/sdb 1024K\n"
        "IOReadBandwidthMax=/dev/sda 7M\n"
        "IOWriteIOPSMax=/dev/sda infinity\n"
        "IODeviceWeight=/dev/sda 1000\n"
        "IODeviceLatencyTargetSec=/dev/sda 25ms\n"
        "ManagedOOMPreference=avoid\n"
        "[Alarm memory]\n"
        "MemoryPressureAbove=full 12.5% over 1s 500ms\n"
        "MemoryUsedAbove=80%\n"
        "LastingSec=3s\n"
        "[Alarm other]\n"
        "IOPressureAbove=some 30% over 1s\n"
        "CPUPressureAbove=some 30% over 1s\n"
        "IOLatencyAbove=p99 50ms over 1s\n"
        "SwapUsedAbove=90%\n"
        "ReclaimStallAbove=10% over 1s\n"
        "MemoryExhaustionWithin=2s\n"
        "[Contain]\n"
        "Mode=enforce\n"
        "Steps=hold io-cap kill\n"
        "StepSec=250ms\n"
        "SqueezeFloor=32M\n"
        "IOCapFloor=2M\n"
        "LeaseSec=20s\n"
        "KillAfterSec=1min 30s\n"
        "KillBudget=5 per 1h\n"
        "FreezeMaxSec=4s\n"
        "Exclude=backup.service db-*.service\n"
        "PreKillExec=/usr/libexec/my-dump \"%i\" 100%% \\%d\n"
        "PreKillTimeoutSec=6s\n";

static const char *resource(const Domain *d, const char *key) {
        for (size_t i = 0; i < d->n_resources; i++)
                if (streq(d->resources[i].key, key))
                        return d->resources[i].value;
        return NULL;
}

static void test_full(void **state _unused_) {
        _cleanup_(policy_freep) Policy *p = compile_good(full);
        const Domain *d = &p->domains[0];
        const Alarm *a;

        assert_int_equal(p->n_domains, 1);
        assert_string_equal(d->name, "workload");
        assert_string_equal(d->description, "Services that people wait for");
        assert_string_equal(d->slice, "work-load.slice");
        assert_string_equal(d->cgroup, "/work.slice/work-load.slice");
        assert_int_equal(d->rank, 700);
        assert_int_equal(d->blame_share_min_permyriad, 3330);
        assert_string_equal(d->match.units[1], "postgresql@*.service");
        assert_string_equal(d->match.units[2], "redis.service");
        assert_string_equal(d->match.users[1], "1000");
        assert_string_equal(d->match.executables[1], "/opt/*/bin/x");
        assert_int_equal(d->match.span.line, 6);

        assert_string_equal(resource(d, "MemoryLow"), "40%");
        assert_string_equal(resource(d, "MemoryHigh"), "1536M");
        assert_string_equal(resource(d, "MemoryMax"), "infinity");
        assert_string_equal(resource(d, "MemorySwapMax"), "0");
        assert_string_equal(resource(d, "CPUWeight"), "idle");
        assert_string_equal(resource(d, "CPUQuota"), "250%");
        assert_string_equal(resource(d, "AllowedCPUs"), "0-3 5 7");
        assert_string_equal(resource(d, "IOAccounting"), "yes");
        assert_string_equal(resource(d, "IOReadBandwidthMax"), "/dev/sda 7M");
        assert_string_equal(resource(d, "IOWriteIOPSMax"), "/dev/sda infinity");
        assert_string_equal(resource(d, "IODeviceLatencyTargetSec"), "/dev/sda 25ms");
        assert_int_equal(d->n_resources, 17);

        assert_int_equal(d->n_alarms, 2);
        a = &d->alarms[0];
        assert_string_equal(a->name, "memory");
        assert_int_equal(a->lasting_usec, 3000000);
        assert_int_equal(a->span.line, 30);
        assert_int_equal(a->n_conditions, 2);
        assert_int_equal(a->conditions[0].type, CONDITION_MEMORY_PRESSURE);
        assert_true(a->conditions[0].full);
        assert_true(a->conditions[0].active);
        assert_int_equal(a->conditions[0].threshold_permyriad, 1250);
        assert_int_equal(a->conditions[0].window_usec, 1500000);
        assert_string_equal(a->conditions[0].text, "MemoryPressureAbove=full 12.5% over 1s 500ms");
        assert_int_equal(a->conditions[0].span.line, 31);
        assert_int_equal(a->conditions[1].threshold_permyriad, 8000);
        a = &d->alarms[1];
        assert_int_equal(a->n_conditions, 6);
        assert_true(a->conditions[0].active);
        assert_false(a->conditions[1].active);
        assert_true(a->conditions[2].active);
        assert_int_equal(a->conditions[2].percentile, 99);
        assert_int_equal(a->conditions[2].threshold_usec, 50000);
        assert_true(a->conditions[3].active);
        assert_false(a->conditions[4].active);
        assert_true(a->conditions[5].active);
        assert_int_equal(a->conditions[5].threshold_usec, 2000000);

        assert_true(d->contain.present);
        assert_int_equal(d->contain.mode, MODE_ENFORCE);
        assert_int_equal(d->contain.mode_span.line, 42);
        assert_true(d->contain.steps[STEP_HOLD] && !d->contain.steps[STEP_SQUEEZE]);
        assert_true(d->contain.steps[STEP_IO_CAP] && !d->contain.steps[STEP_FREEZE] && d->contain.steps[STEP_KILL]);
        assert_int_equal(d->contain.step_usec, 250000);
        assert_int_equal(d->contain.squeeze_floor_bytes, 32 << 20);
        assert_int_equal(d->contain.io_cap_floor_bytes, 2000000);
        assert_int_equal(d->contain.lease_usec, 20000000);
        assert_int_equal(d->contain.kill_after_usec, 90000000);
        assert_int_equal(d->contain.kill_budget, 5);
        assert_true(d->contain.kill_budget_usec == UINT64_C(3600000000));
        assert_string_equal(d->contain.pre_kill_exec, "/usr/libexec/my-dump \"%i\" 100%% \\%d");
        assert_true(domain_excludes(d, "backup.service"));
        assert_true(domain_excludes(d, "db-1.service"));
        assert_false(domain_excludes(d, "nginx.service"));
        assert_int_equal(strv_length(d->inactive), 3);
        assert_string_equal(d->files[0], "w");
}

static void test_defaults(void **state _unused_) {
        _cleanup_(policy_freep) Policy *p = compile_good("[Contain]\n"), *empty = compile_good("");
        const Domain *d = &p->domains[0];

        assert_string_equal(d->description, "");
        assert_string_equal(d->slice, "workload.slice");
        assert_string_equal(d->cgroup, "/workload.slice");
        assert_int_equal(d->rank, 500);
        assert_int_equal(d->blame_share_min_permyriad, 5000);
        assert_true(d->contain.present);
        assert_int_equal(d->contain.mode, MODE_MONITOR);
        assert_int_equal(d->contain.mode_span.line, 0);
        for (size_t i = 0; i < _STEP_MAX; i++)
                assert_true(d->contain.steps[i]);
        assert_int_equal(d->contain.step_usec, 500000);
        assert_int_equal(d->contain.squeeze_floor_bytes, 64 << 20);
        assert_int_equal(d->contain.io_cap_floor_bytes, 1000000);
        assert_int_equal(d->contain.lease_usec, 15000000);
        assert_int_equal(d->contain.kill_after_usec, 10000000);
        assert_int_equal(d->contain.kill_budget, 3);
        assert_int_equal(d->contain.kill_budget_usec, 600000000);
        assert_int_equal(d->contain.freeze_max_usec, 5000000);
        assert_int_equal(d->contain.pre_kill_timeout_usec, 5000000);
        assert_null(d->contain.pre_kill_exec);

        d = &empty->domains[0];
        assert_false(d->contain.present);
        assert_int_equal(d->contain.mode, MODE_OFF);
}

static void test_dropins(void **state _unused_) {
        static const Text texts[] = {
                { "sideload", "s", "[Domain]\nRank=100\n[Match]\nUnit=a.service\n[Resources]\nMemoryHigh=1G\n"
                                   "IOReadIOPSMax=/dev/sda 10\n[Alarm x]\nSwapUsedAbove=50%\n[Alarm y]\nSwapUsedAbove=60%\n"
                                   "[Contain]\nMode=enforce\nSteps=hold squeeze freeze kill\nFreezeMaxSec=1s\nExclude=e.service\nKillBudget=1 per 1h\n" },
                { "sideload", "s.d/10", "[Match]\nUnit=\nUnit=b.service\n[Resources]\nMemoryHigh=\nIOReadIOPSMax=\n"
                                        "IOReadIOPSMax=/dev/sdb 20\n[Alarm x]\nSwapUsedAbove=\n[Alarm y]\nSwapUsedAbove=\nMemoryUsedAbove=70%\n" },
                { "sideload", "s.d/20", "[Domain]\nRank=\n[Contain]\nSteps=hold\nFreezeMaxSec=\nExclude=f.service\nKillBudget=\n" },
        };
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_(policy_freep) Policy *p = NULL;
        const Domain *x;

        assert_int_equal(compile_texts(texts, 3, &d, &p), 0);
        x = &p->domains[0];
        assert_int_equal(p->n_domains, 1);
        assert_int_equal(x->rank, 500);
        assert_int_equal(strv_length(x->files), 3);
        assert_int_equal(strv_length(x->match.units), 1);
        assert_string_equal(x->match.units[0], "b.service");
        assert_int_equal(x->n_resources, 1);
        assert_string_equal(x->resources[0].value, "/dev/sdb 20");
        assert_int_equal(x->n_alarms, 1);       /* x was emptied on purpose */
        assert_string_equal(x->alarms[0].conditions[0].text, "MemoryUsedAbove=70%");
        assert_string_equal(x->alarms[0].conditions[0].span.file, "s.d/10");
        assert_int_equal(x->alarms[0].conditions[0].span.line, 12);
        assert_int_equal(x->contain.mode, MODE_ENFORCE);
        assert_true(x->contain.steps[STEP_HOLD] && !x->contain.steps[STEP_SQUEEZE] && !x->contain.steps[STEP_KILL]);
        assert_int_equal(strv_length(x->inactive), 0);          /* freeze is asked for no more */
        assert_int_equal(strv_length(x->contain.exclude), 2);
        assert_int_equal(x->contain.kill_budget, 3);
}

/* A drop-in that is looked at without its policy need not say what that says. */
static void test_dropin_alone(void **state _unused_) {
        static const char text[] = "[Alarm a]\nLastingSec=1s\n";
        _cleanup_diagnostics_ Diagnostics d = {}, whole = {};
        _cleanup_(policy_freep) Policy *p = NULL, *none = NULL;

        assert_int_equal(compile_texts(&(Text) { "x", "x.policy.d/1.conf", text }, 1, &d, &p), 0);
        assert_int_equal(d.n_items, 0);
        assert_int_equal(p->domains[0].n_alarms, 0);
        assert_int_equal(compile_texts(&(Text) { "x", "x.policy", text }, 1, &whole, &none), -EBADMSG);
}

/* Each condition that is not active is told of, and none that was taken back. */
static void test_inactive(void **state _unused_) {
        _cleanup_(policy_freep) Policy *p = compile_good(
                "[Alarm a]\nCPUPressureAbove=some 10% over 1s\nCPUPressureAbove=some  20%  over 1000ms\nMemoryUsedAbove=5%\n"
                "[Alarm b]\nCPUPressureAbove=full 30% over 1s\n"
                "[Alarm c]\nReclaimStallAbove=1% over 1s\n[Alarm c]\nReclaimStallAbove=\n"
                "[Alarm a]\nCPUPressureAbove=\nCPUPressureAbove=some 40% over 1s\n"
                "[Contain]\nFreezeMaxSec=1s\n");
        char **inactive = p->domains[0].inactive;

        assert_int_equal(strv_length(inactive), 3);
        assert_non_null(startswith(inactive[0], "FreezeMaxSec=1s: not active: "));
        assert_non_null(startswith(inactive[1], "CPUPressureAbove=some 40% over 1s: not active: "));
        assert_non_null(startswith(inactive[2], "CPUPressureAbove=full 30% over 1s: not active: "));
}

static void test_no_steps(void **state _unused_) {
        _cleanup_(policy_freep) Policy *p = compile_good("[Contain]\nSteps=\n");

        for (size_t i = 0; i < _STEP_MAX; i++)
                assert_false(p->domains[0].contain.steps[i]);
}

/* Each refusal, by the line and column of what is wrong. */
static void test_refusals(void **state _unused_) {
        static const struct {
                const char *text;
                unsigned line, column;
                const char *reason;
        } cases[] = {
                { "[Domain]\nSlice=init.scope\n", 2, 7, "PID 1" },
                { "[Domain]\nSlice=cgd.slice\n", 2, 7, "cgd's own slice" },
                { "[Domain]\nSlice=cgd-x.slice\n", 2, 7, "cgd's own slice" },
                { "[Domain]\nSlice=a/../b.slice\n", 2, 7, "'..'" },
                { "[Domain]\nSlice=../b.slice\n", 2, 7, "'..'" },
                { "[Domain]\nSlice=/a.slice\n", 2, 7, "is not understood" },
                { "[Domain]\nSlice=a.service\n", 2, 7, "expected the name of a slice" },
                { "[Domain]\nSlice=a--b.slice\n", 2, 7, "is not understood" },
                { "[Domain]\nSlice=-a.slice\n", 2, 7, "is not understood" },
                { "[Domain]\nSlice=a-.slice\n", 2, 7, "is not understood" },
                { "[Domain]\nSlice=.slice\n", 2, 7, "is not understood" },
                { "[Domain]\nRank=1001\n", 2, 6, "out of range: expected a whole number, 0 to 1000" },
                { "[Domain]\nRank=-1\n", 2, 6, "is not understood: expected a whole number" },
                { "[Domain]\nRank=99999999999999999999\n", 2, 6, "out of range" },
                { "[Domain]\nBlameShareMin=101%\n", 2, 15, "1% to 100%" },
                { "[Domain]\nBlameShareMin=0.5\n", 2, 15, "expected a percentage" },
                { "[Domain x]\nRank=1\n", 1, 9, "takes no name" },

                { "[Match]\nUnit=a.service *.service\n", 2, 16, "takes in cgd.service" },
                { "[Match]\nUnit=init.scope\n", 2, 6, "takes in init.scope" },
                { "[Match]\nUnit=dbus*.service\n", 2, 6, "takes in dbus.service" },
                { "[Match]\nUnit=dbus-broker.service\n", 2, 6, "takes in dbus-broker.service" },
                { "[Match]\nUnit=systemd-journald.service\n", 2, 6, "takes in systemd-journald.service" },
                { "[Match]\nUnit=systemd-[a-l]*.service\n", 2, 6, "takes in systemd-journald.service" },
                { "[Match]\nUnit=systemd-logi?d.service\n", 2, 6, "takes in systemd-logind.service" },
                { "[Match]\nUnit=*udev*.service\n", 2, 6, "takes in systemd-udevd.service" },
                { "[Match]\nUnit=udev.service\n", 2, 6, "takes in udev.service" },
                { "[Match]\nUnit=dbus-org*.service\n", 2, 6, "takes in dbus-org.freedesktop.login1.service" },
                { "[Match]\nUnit=*\n", 2, 6, "takes in init.scope" },
                { "[Match]\nUnit=nginx\n", 2, 6, "does not end in the type of a unit" },
                { "[Match]\nUnit=x.timer\n", 2, 6, "does not end in the type of a unit" },
                { "[Match]\nUnit=x.slice\n", 2, 6, "is a slice" },
                { "[Match]\nUnit=../x.service\n", 2, 6, "is a path" },
                { "[Match]\nUnit=a[b.service\n", 2, 6, "is no glob" },
                { "[Match]\nUnit=pg@.service\n", 2, 6, "expected its instances, pg@*.service" },
                { "[Contain]\nExclude=pg@.service\n", 2, 9, "expected its instances, pg@*.service" },
                { "[Match]\nUnit=a,b.service\n", 2, 6, "',' is not allowed" },
                { "[Match]\nUnit=a.service \\\n  b.service \\\n  c\n", 4, 3, "does not end in" },
                { "[Match]\nUser=root\n", 2, 6, "takes in PID 1" },
                { "[Match]\nUser=a 0\n", 2, 8, "takes in PID 1" },
                { "[Match]\nUser=a:b\n", 2, 6, "expected users" },
                { "[Match]\nUser=4294967295\n", 2, 6, "out of range" },
                { "[Match]\nExecutable=ffmpeg\n", 2, 12, "expected absolute paths" },
                { "[Match]\nExecutable=/usr/../bin/x\n", 2, 12, "'..'" },
                { "[Match]\nExecutable=/a\\ /b\n", 2, 12, "expected absolute paths" },
                { "[Match]\nExecutable=/usr/lib/systemd/*\n", 2, 12, "takes in PID 1" },
                { "[Match]\nExecutable=/usr/bin/dbus-*\n", 2, 12, "takes in the D-Bus broker" },

                { "[Resources]\nMemoryLow=101%\n", 2, 11, "more than 100%" },
                { "[Resources]\nMemoryLow=lots\n", 2, 11, "expected a size" },
                { "[Resources]\nMemoryLow=64MB\n", 2, 11, "expected a size" },
                { "[Resources]\nMemoryHigh=0\n", 2, 12, "out of range" },
                { "[Resources]\nMemoryMax=0%\n", 2, 11, "out of range" },
                { "[Resources]\nMemoryMax=99E\n", 2, 11, "out of range" },
                { "[Resources]\nIOWeight=0\n", 2, 10, "1 to 10000" },
                { "[Resources]\nIOWeight=10001\n", 2, 10, "1 to 10000" },
                { "[Resources]\nIOWeight=idle\n", 2, 10, "is not understood" },
                { "[Resources]\nCPUWeight=busy\n", 2, 11, "or idle" },
                { "[Resources]\nCPUQuota=2\n", 2, 10, "percentage of one CPU" },
                { "[Resources]\nCPUQuota=0%\n", 2, 10, "0.01% or more" },
                { "[Resources]\nTasksMax=0\n", 2, 10, "out of range" },
                { "[Resources]\nTasksMax=101%\n", 2, 10, "more than 100%" },
                { "[Resources]\nTasksMax=1K\n", 2, 10, "is not understood" },
                { "[Resources]\nIOAccounting=maybe\n", 2, 14, "yes or no" },
                { "[Resources]\nAllowedCPUs=3-1\n", 2, 13, "runs backwards" },
                { "[Resources]\nAllowedCPUs=0 x\n", 2, 15, "numbers and ranges" },
                { "[Resources]\nIODeviceWeight=/dev/sda\n", 2, 16, "expected a device" },
                { "[Resources]\nIODeviceWeight=/dev/sda 0\n", 2, 25, "1 to 10000" },
                { "[Resources]\nIODeviceWeight=sda 5\n", 2, 16, "no path of a device" },
                { "[Resources]\nIOReadBandwidthMax=/dev/../sda 5\n", 2, 20, "'..'" },
                { "[Resources]\nIOReadBandwidthMax=/dev/sda 0\n", 2, 29, "out of range" },
                { "[Resources]\nIODeviceLatencyTargetSec=/dev/sda soon\n", 2, 35, "expected a device and a time" },
                { "[Resources]\nManagedOOMSwap=yes\n", 2, 16, "expected one of: auto kill" },
                { "[Resources]\nManagedOOMSwap=auto kill\n", 2, 16, "expected one of: auto kill" },

                { "[Alarm]\nSwapUsedAbove=1%\n", 1, 7, "an alarm needs a name" },
                { "[Alarm a/b]\nSwapUsedAbove=1%\n", 1, 8, "an alarm needs a name" },
                { "[Alarm a]\nLastingSec=1s\n", 1, 1, "has no condition" },
                { "[Alarm a]\nMemoryPressureAbove=10% over 1s\n", 2, 21, "neither some nor full" },
                { "[Alarm a]\nMemoryPressureAbove=some 101% over 1s\n", 2, 26, "more than 100%" },
                { "[Alarm a]\nMemoryPressureAbove=some 0% over 1s\n", 2, 26, "always exceeded" },
                { "[Alarm a]\nMemoryPressureAbove=some 10 over 1s\n", 2, 26, "is no percentage" },
                { "[Alarm a]\nMemoryPressureAbove=some 10%\n", 2, 29, "expected 'over'" },
                { "[Alarm a]\nMemoryPressureAbove=some 10% over 499ms\n", 2, 35, "500ms to 10s" },
                { "[Alarm a]\nMemoryPressureAbove=some 10% over 10001ms\n", 2, 35, "500ms to 10s" },
                { "[Alarm a]\nMemoryPressureAbove=some 10% over soon\n", 2, 35, "no time span" },
                { "[Alarm a]\nIOPressureAbove=full 10% over 11s\n", 2, 31, "500ms to 10s" },
                { "[Alarm a]\nCPUPressureAbove=any 10% over 1s\n", 2, 18, "neither some nor full" },
                { "[Alarm a]\nIOLatencyAbove=99 50ms over 1s\n", 2, 16, "expected pN TIME" },
                { "[Alarm a]\nIOLatencyAbove=p100 50ms over 1s\n", 2, 16, "p1 to p99" },
                { "[Alarm a]\nIOLatencyAbove=p99 50ms\n", 2, 20, "expected pN TIME" },
                { "[Alarm a]\nIOLatencyAbove=p99 50ms over 1min\n", 2, 30, "500ms to 10s" },
                { "[Alarm a]\nSwapUsedAbove=101%\n", 2, 15, "more than 100%" },
                { "[Alarm a]\nSwapUsedAbove=90% over 1s\n", 2, 19, "too much" },
                { "[Alarm a]\nMemoryUsedAbove=512M\n", 2, 17, "no percentage" },
                { "[Alarm a]\nMemoryUsedAbove=0%\n", 2, 17, "always exceeded" },
                { "[Alarm a]\nReclaimStallAbove=10% over 1min\n", 2, 28, "500ms to 10s" },
                { "[Alarm a]\nMemoryExhaustionWithin=50ms\n", 2, 24, "100ms to 10min" },
                { "[Alarm a]\nMemoryExhaustionWithin=2 parsecs\n", 2, 24, "expected a time span" },
                { "[Alarm a]\nSwapUsedAbove=1%\nLastingSec=2h\n", 3, 12, "out of range" },

                { "[Contain]\nMode=enforced\n", 2, 6, "off, monitor, contain or enforce" },
                { "[Contain]\nSteps=hold squash\n", 2, 12, "'squash' is no step" },
                { "[Contain]\nSteps=kill hold\n", 2, 12, "'hold' cannot come after 'kill'" },
                { "[Contain]\nStepSec=1ms\n", 2, 9, "100ms to 1min" },
                { "[Contain]\nSqueezeFloor=1K\n", 2, 14, "1M or more" },
                { "[Contain]\nLeaseSec=forever\n", 2, 10, "expected a time span" },
                { "[Contain]\nKillBudget=3\n", 2, 12, "NUMBER per TIME" },
                { "[Contain]\nKillBudget=3 in 10min\n", 2, 12, "NUMBER per TIME" },
                { "[Contain]\nKillBudget=3 per 1s\n", 2, 18, "10s to 1w" },
                { "[Contain]\nKillBudget=17 per 1h\n", 2, 12, "out of range" },
                { "[Contain]\nExclude=backup\n", 2, 9, "does not end in" },
                { "[Contain]\nPreKillExec=dump\n", 2, 13, "absolute path" },
                { "[Contain]\nPreKillExec=/bin/dump %u\n", 2, 23, "unknown specifier" },
                { "[Contain]\nPreKillExec=/bin/dump 'x\n", 2, 13, "is not closed" },
                { "[Domain]\nSlice=-.slice\n[Contain]\n", 3, 1, "never a [Contain]" },

                { "[Contain]\nMode=contain\n[Contain]\nMode=nope\n", 4, 6, "expected off" },
                { "[Domain]\nDescription=\xff\n", 2, 13, "not valid UTF-8" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                int r;

                r = compile_text(cases[i].text, &d, &p);
                if (r != -EBADMSG || p || d.n_errors != 1)
                        fail_msg("%s: %d, %zu errors", cases[i].text, r, d.n_errors);
                for (size_t j = 0; j < d.n_items; j++)
                        if (d.items[j].severity == SEVERITY_ERROR &&
                            (d.items[j].span.line != cases[i].line || d.items[j].span.column != cases[i].column ||
                             !strstr(d.items[j].text, cases[i].reason)))
                                fail_msg("%s: %u:%u: %s", cases[i].text, d.items[j].span.line,
                                         d.items[j].span.column, d.items[j].text);
        }
}

/* Two of a kind, over files. */
static void test_conflicts(void **state _unused_) {
        static const struct {
                const char *a, *b;
                unsigned line, column;  /* in b; 0: no conflict */
                const char *reason;
        } cases[] = {
                { "[Domain]\nSlice=x.slice\n", "[Domain]\nSlice=x.slice\n", 2, 7, "also of a (a:2)" },
                { "[Domain]\nSlice=b.slice\n", "", 1, 1, "also of a (a:2)" },
                { "[Match]\nUnit=x.service\n", "[Match]\nUnit=y.service x.service\n", 2, 16, "matched by two domains: also by a (a:2)" },
                { "[Match]\nUnit=x.service\n", "[Match]\nUnit=x*.service\n", 0, 0, NULL },
                { "[Match]\nUnit=x*.service\n", "[Match]\nUnit=x*.service\n", 2, 6, "matched by two domains" },
                { "[Match]\nUnit=x*a.service\n", "[Match]\nUnit=xb*.service\n", 0, 0, NULL },
                { "[Match]\nUnit=x*a.service\n", "[Match]\nUnit=x*b.service\n", 0, 0, NULL },
                { "[Match]\nUnit=x*a.service\n", "[Match]\nUnit=x?*.service\n", 2, 6, "equal precision" },
                { "[Match]\nUnit=x[ab]c.service\n", "[Match]\nUnit=x?c.service\n", 2, 6, "equal precision" },
                { "[Match]\nUnit=x[ab]c.service\n", "[Match]\nUnit=x[!a-c]c.service\n", 0, 0, NULL },
                { "[Match]\nUnit=x*.service\n", "[Match]\nUnit=x*.scope\n", 0, 0, NULL },
                { "[Match]\nUser=ci\n", "[Match]\nUser=ci\n", 2, 6, "the user ci" },
                { "[Match]\nExecutable=/bin/x\n", "[Match]\nExecutable=/bin/x\n", 2, 12, "the program /bin/x" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const Text texts[] = { { "a", "a", cases[i].a }, { "b", "b", cases[i].b } };
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                int r;

                r = compile_texts(texts, 2, &d, &p);
                if (cases[i].line == 0) {
                        assert_int_equal(r, 0);
                        continue;
                }
                assert_int_equal(r, -EBADMSG);
                assert_int_equal(d.n_errors, 1);
                assert_string_equal(d.items[0].span.file, "b");
                assert_int_equal(d.items[0].span.line, cases[i].line);
                assert_int_equal(d.items[0].span.column, cases[i].column);
                if (!strstr(d.items[0].text, cases[i].reason))
                        fail_msg("%s", d.items[0].text);
        }
}

/* All faults of all files in one go. */
static void test_collects(void **state _unused_) {
        static const Text texts[] = {
                { "a", "a", "[Domain]\nRank=x\nSlice=init.scope\n[Contain]\nMode=y\n" },
                { "b", "b", "[Alarm z]\nSwapUsedAbove=200%\n" },
        };
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;
        _cleanup_free_ char *report = NULL;

        assert_int_equal(compile_texts(texts, 2, &d, &p), -EBADMSG);
        assert_null(p);
        diagnostics_sort(&d);
        assert_int_equal(diagnostics_format(&d, SEVERITY_ERROR, &report), 0);
        assert_string_equal(report,
                "a:2:6: error: Rank=: 'x' is not understood: expected a whole number\n"
                "a:3:7: error: Slice=: init.scope holds PID 1: no domain may be on it\n"
                "a:5:6: error: Mode=: 'y' is not understood: expected off, monitor, contain or enforce\n"
                "b:2:15: error: SwapUsedAbove=: '200%' is more than 100%\n");
}

/* The generator makes a directory NAME.d for each that is placed. */
static void test_long_name(void **state _unused_) {
        static const struct {
                const char *before;
                size_t length;
                int r;
        } cases[] = { { "[Match]\nUnit=", 253, 0 }, { "[Match]\nUnit=", 254, -EBADMSG },
                      { "[Contain]\nExclude=", 255, 0 }, { "[Contain]\nExclude=", 256, -EBADMSG } };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                char text[320] = {};

                (void) strcpy(text, cases[i].before);
                memset(text + strlen(text), 'a', cases[i].length - strlen(".service"));
                (void) strcat(text, ".service\n");
                assert_int_equal(compile_text(text, &d, &p), cases[i].r);
        }
}

/* A full megabyte of the costliest lines is refused, and not by the harness for taking too long. */
static void test_large(void **state _unused_) {
        static const struct {
                const char *head, *line;
                const char *reason;
        } cases[] = {
                { "[Resources]\n", "IOReadBandwidthMax=/dev/d%u 1\n", "more than 256 entries" },
                { "[Match]\n", "Unit=a%u.service\n", "more than 1024 entries" },
                { "[Match]\n", "Unit=a?*?*?*?*?*?*?*?*?*?*?*?*%u*.service\n", "more than 1024 entries" },
                { "[Match]\n", "Executable=/a%u\n", "more than 1024 entries" },
                { "[Match]\nUnit=", "a ", "does not end in" },
                { "[Match]\nUnit=", "a \\\n", "does not end in" },
                { "[Alarm a]\n", "SwapUsedAbove=1%%\n", "more than 8 conditions" },
                { "", "[Alarm a%u]\n", "more than 8 alarms" },
                { "[Contain]\n", "FreezeMaxSec=1s %u us\nx=\n", "unknown key" },
                { "[Domain]\n", "abcdefgh=\n", "unknown key" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_diagnostics_ Diagnostics d = { .strict = true };
                _cleanup_(policy_freep) Policy *p = NULL;
                _cleanup_str_ Str s = {};
                bool found = false;

                str_append(&s, cases[i].head);
                for (unsigned n = 0; s.length < (1 << 20) - 100; n++)
                        str_appendf(&s, cases[i].line, n);      /* each has at most one %u */
                assert_int_equal(compile_text(s.data, &d, &p), -EBADMSG);
                for (size_t j = 0; j < d.n_items; j++)
                        found = found || strstr(d.items[j].text, cases[i].reason);
                if (!found)
                        fail_msg("%s: %s", cases[i].line, d.items[0].text);
        }
}

/* So many policies of so many alarms with this condition each: refused with that reason, or taken if it is NULL. */
static void assert_set(size_t domains, unsigned alarms, const char *condition, const char *reason) {
        _cleanup_free_ Text *texts = calloc(domains, sizeof(Text));
        _cleanup_diagnostics_ Diagnostics d = { .strict = true };
        _cleanup_(policy_freep) Policy *p = NULL;
        char names[POLICY_DOMAINS_MAX + 1][8];
        _cleanup_str_ Str s = {};

        for (unsigned a = 0; a < alarms; a++)
                str_appendf(&s, "[Alarm a%u]\n%s\n", a, condition);
        for (size_t i = 0; i < domains; i++) {
                (void) snprintf(names[i], sizeof(names[i]), "d%zu", i);
                texts[i] = (Text) { names[i], "p", s.data };
        }
        assert_int_equal(compile_texts(texts, domains, &d, &p), reason ? -EBADMSG : 0);
        if (reason)
                assert_non_null(strstr(d.items[0].text, reason));
}

static void test_large_sets(void **state _unused_) {
        static const char used[] = "SwapUsedAbove=1%", slow[] = "IOLatencyAbove=p99 50ms over 1s";

        assert_set(POLICY_DOMAINS_MAX, 2, used, NULL);
        assert_set(POLICY_DOMAINS_MAX + 1, 1, used, "more than 256 domains");
        assert_set(65, 8, used, "more than 512 alarms");
        assert_set(2, 8, slow, NULL);
        assert_set(3, 8, slow, "more than 16 conditions IOLatencyAbove=");
}

static void test_unknown(void **state _unused_) {
        static const struct {
                const char *text;
                unsigned line, column;
                const char *reason;
        } cases[] = {
                { "[Resources]\nMemoryHih=1G\n", 2, 1, "did you mean MemoryHigh=?" },
                { "[Resources]\nmemoryhigh=1G\n", 2, 1, "did you mean MemoryHigh=?" },
                { "[Contain]\nRank=1\n", 2, 1, "it is a key of [Domain]" },
                { "[Contain]\nMemoryLwo=1\n", 2, 1, "did you mean MemoryLow= of [Resources]?" },
                { "[Domain]\nFrobnicate=1\n", 2, 1, "unknown key Frobnicate= in [Domain]" },
                { "[Domian]\nRank=1\n", 1, 1, "did you mean [Domain]?" },
                { "[Service]\nRank=1\n", 1, 1, "unknown section [Service]" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_diagnostics_ Diagnostics lenient = {}, strict = { .strict = true };
                _cleanup_(policy_freep) Policy *p = NULL, *none = NULL;

                assert_int_equal(compile_text(cases[i].text, &lenient, &p), 0);
                assert_int_equal(lenient.n_warnings, 1);
                assert_int_equal(compile_text(cases[i].text, &strict, &none), -EBADMSG);
                assert_int_equal(strict.n_errors, 1);
                assert_int_equal(strict.items[0].span.line, cases[i].line);
                assert_int_equal(strict.items[0].span.column, cases[i].column);
                if (!strstr(strict.items[0].text, cases[i].reason))
                        fail_msg("%s", strict.items[0].text);
        }
}

static void test_command(void **state _unused_) {
        static const struct {
                const char *command, *words[7];
        } table[] = {
                { "/bin/x", { "/bin/x" } },
                { "/bin/x  a\tb ", { "/bin/x", "a", "b" } },
                { "/bin/x %i-%%i %i", { "/bin/x", "a \"b.service-%i", "a \"b.service" } },
                { "/bin/x \"%i c\" 'd \"e'f \"\"", { "/bin/x", "a \"b.service c", "d \"ef", "" } },
                { "/bin/x \\\" 'a\\'b' c\\ d \\\\ $E", { "/bin/x", "\"", "a'b", "c d", "\\", "$E" } },
                { "/bin/x \\%i \\%%i", { "/bin/x", "%i", "%a \"b.service" } },
                { "/bin/x \\", { "/bin/x", "\\" } },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_strv_ char **argv = NULL;
                size_t n;

                assert_int_equal(command_split(table[i].command, "a \"b.service", &argv), 0);
                assert_int_equal(strv_length(argv), strv_length((char *const *) table[i].words));
                for (n = 0; argv[n]; n++)
                        assert_string_equal(argv[n], table[i].words[n]);
        }
        assert_int_equal(command_split(" ", "a", &(char **) { NULL }), -EINVAL);
}

static void test_host(void **state _unused_) {
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;

        assert_int_equal(compile_text("[Domain]\nSlice=-.slice\nRank=5\n[Resources]\nMemoryLow=1G\n", &d, &p), 0);
        assert_int_equal(d.n_warnings, 2);
        assert_int_equal(p->domains[0].rank, 1000);
        assert_string_equal(p->domains[0].cgroup, "/");
}

/* Nothing comes before it. */
static void test_kill_alone(void **state _unused_) {
        static const struct {
                const char *steps;
                unsigned n_warnings;
        } cases[] = { { "io-cap kill", 1 }, { "hold kill", 0 }, { "squeeze kill", 0 }, { "io-cap", 0 } };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;
                char text[128];

                (void) snprintf(text, sizeof(text), "[Contain]\nMode=enforce\nSteps=%s\n", cases[i].steps);
                assert_int_equal(compile_text(text, &d, &p), 0);
                assert_int_equal(d.n_warnings, cases[i].n_warnings);
        }
}

static void test_bad_names(void **state _unused_) {
        static const char *const names[] = { "", "a b", ".x", "-x", "a--b", "x-", "cgd", "cgd-x", "\xff", "a/b" };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_diagnostics_ Diagnostics d = {};
                _cleanup_(policy_freep) Policy *p = NULL;

                assert_int_equal(compile_texts(&(Text) { names[i], "f", "" }, 1, &d, &p), -EBADMSG);
                assert_int_equal(d.n_errors, 1);
                assert_int_equal(d.items[0].span.line, 1);
                assert_int_equal(d.items[0].span.column, 1);
        }
}

/* compile(print(p)) equals p, and printing again gives the same text. */
static void assert_round_trip(const Policy *p) {
        for (size_t i = 0; i < p->n_domains; i++) {
                _cleanup_diagnostics_ Diagnostics d = { .strict = true };
                _cleanup_(policy_freep) Policy *again = NULL;
                _cleanup_free_ char *text = NULL, *text_again = NULL;

                assert_int_equal(domain_print(&p->domains[i], &text), 0);
                if (compile_texts(&(Text) { p->domains[i].name, "p", text }, 1, &d, &again) < 0)
                        fail_msg("%s: %s", text, d.items[0].text);
                assert_int_equal(d.n_warnings, 0);
                assert_true(domain_equal(&p->domains[i], &again->domains[0]));
                assert_int_equal(domain_print(&again->domains[0], &text_again), 0);
                assert_string_equal(text, text_again);
        }
}

static void test_round_trip(void **state _unused_) {
        static const char *const texts[] = {
                full,
                "",
                "[Contain]\n",
                "[Contain]\nSteps=\nMode=off\n",
                "[Domain]\nSlice=-.slice\n[Alarm a]\nMemoryExhaustionWithin=2s\n",
                "[Domain]\nDescription=a \\\nb # c \\\\\n",
                "[Domain]\nDescription=a\\ \nRank=3\n[Contain]\nPreKillExec=/bin/x \\\t\n",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(policy_freep) Policy *p = compile_good(texts[i]);

                assert_round_trip(p);
        }
}

/* The schema's own order: every default is right, every key has its help, no row comes twice. */
static void test_schema(void **state _unused_) {
        for (size_t i = 0; i < schema_n_keys; i++) {
                const Key *k = &schema_keys[i];

                assert_true(schema_has_section(k->section));
                assert_true(schema_find(k->section, k->name) == k);
                assert_true(schema_find(NULL, k->name) == k);
                assert_non_null(k->help);
                assert_true(k->help[strlen(k->help) - 1] == '.');
                assert_true(strlen(value_type_expected(k->type)) > 3);
                if (streq(k->section, "Alarm") && k->type != VALUE_LASTING)
                        assert_string_equal(condition_type_to_string(k->condition), k->name);
        }
}

static void test_lookup(void **state _unused_) {
        static const Text texts[] = {
                { "host", "h", "[Domain]\nSlice=-.slice\n" },
                { "work", "w", "[Match]\nUnit=nginx.service pg@*.service *.scope-x.service\nUser=ci 1000\nExecutable=/opt/*\n" },
                { "work-in", "wi", "[Match]\nUnit=pg@main*.service ng*.service\nExecutable=/opt/x/*\n" },
        };
        _cleanup_diagnostics_ Diagnostics d = {};
        _cleanup_(policy_freep) Policy *p = NULL;

        assert_int_equal(compile_texts(texts, 3, &d, &p), 0);
        assert_string_equal(p->domains[0].slice, "-.slice");    /* sorted by slice */
        assert_string_equal(policy_domain_of(p, "/")->name, "host");
        assert_string_equal(policy_domain_of(p, "/system.slice/x.service")->name, "host");
        assert_string_equal(policy_domain_of(p, "/work.slice")->name, "work");
        assert_string_equal(policy_domain_of(p, "/work.slice/x.service")->name, "work");
        assert_string_equal(policy_domain_of(p, "/work.slicer/x.service")->name, "host");
        assert_string_equal(policy_domain_of(p, "/work.slice/work-in.slice/x.service/y")->name, "work-in");
        assert_null(policy_find(p, "none"));
        assert_string_equal(policy_find(p, "work")->slice, "work.slice");

        assert_string_equal(policy_unit_domain(p, "nginx.service")->name, "work");
        assert_string_equal(policy_unit_domain(p, "nginy.service")->name, "work-in");
        assert_string_equal(policy_unit_domain(p, "pg@x.service")->name, "work");
        assert_string_equal(policy_unit_domain(p, "pg@main1.service")->name, "work-in");
        assert_null(policy_unit_domain(p, "other.service"));
        assert_null(policy_unit_domain(p, "dbus.service"));

        assert_string_equal(policy_process_domain(p, "ci", NULL, "/bin/x")->name, "work");
        assert_string_equal(policy_process_domain(p, "other", "1000", NULL)->name, "work");
        assert_string_equal(policy_process_domain(p, "ci", "7", "/opt/x/y")->name, "work-in");
        assert_null(policy_process_domain(p, "joe", "7", "/bin/x"));
}

static void test_slices(void **state _unused_) {
        static const struct {
                const char *slice, *cgroup;
        } cases[] = {
                { "-.slice", "/" },
                { "a.slice", "/a.slice" },
                { "a-b.slice", "/a.slice/a-b.slice" },
                { "user-1000.slice", "/user.slice/user-1000.slice" },
                { "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice" },
                /* As systemd names them beside the kernel's files. */
                { "memory.slice", "/_memory.slice" },
                { "io-x.slice", "/_io.slice/io-x.slice" },
                { "x-io.slice", "/x.slice/x-io.slice" },
                { "iox.slice", "/iox.slice" },
                { "cgroup.a-b.slice", "/_cgroup.a.slice/_cgroup.a-b.slice" },
                { "bpf-firewall.slice", "/bpf.slice/_bpf-firewall.slice" },
                { "_a.slice", "/__a.slice" },
                { ".a.slice", "/_.a.slice" },
                { "a@.slice", NULL }, { "a@b.slice", NULL },
                { "", NULL }, { ".slice", NULL }, { "a", NULL }, { "a.service", NULL }, { "-a.slice", NULL },
                { "a--b.slice", NULL }, { "a-.slice", NULL }, { "a/b.slice", NULL }, { "a b.slice", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *cgroup = NULL;
                int r = slice_to_cgroup(cases[i].slice, &cgroup);

                if (!cases[i].cgroup) {
                        assert_int_equal(r, -EINVAL);
                        continue;
                }
                assert_int_equal(r, 0);
                assert_string_equal(cgroup, cases[i].cgroup);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_full),       cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_dropins),    cmocka_unit_test(test_no_steps),
                cmocka_unit_test(test_inactive),
                cmocka_unit_test(test_dropin_alone),
                cmocka_unit_test(test_refusals),   cmocka_unit_test(test_conflicts),
                cmocka_unit_test(test_collects),
                cmocka_unit_test(test_unknown),
                cmocka_unit_test(test_large),
                cmocka_unit_test(test_large_sets),
                cmocka_unit_test(test_host),       cmocka_unit_test(test_kill_alone),
                cmocka_unit_test(test_long_name),
                cmocka_unit_test(test_bad_names),
                cmocka_unit_test(test_command),
                cmocka_unit_test(test_round_trip), cmocka_unit_test(test_schema),
                cmocka_unit_test(test_lookup),     cmocka_unit_test(test_slices),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
