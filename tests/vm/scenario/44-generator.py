# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the generator writes is what systemd does: every form of [Match] Unit= lands in its slice, the
slices carry their [Resources], and a domain that is refused is left out and costs a reload nothing."""
from pathlib import Path

from vmlib import VM, check, kernel_log, kernel_now, limited, monotonic, sh

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"

SYSTEM = Path("/run/systemd/system")
GENERATED = Path("/run/systemd/generator")
SERVICE = "[Service]\nExecStart=/usr/bin/sleep 1000\n"
FILES = ("gen-exact.service", "gen@.service", "genx.service", "geny.service", "gen-dash-disk.service")

WORK = "[Match]\nUnit=gen-exact.service gen@*.service gen-dash-*.service gen[xy].service\n"
SIDE = "[Match]\nUnit=gen-dash-more-*.service geny.service\n"


def show(unit: str, prop: str = "Slice") -> str:
    return sh("systemctl", "show", "--value", "--property", prop, unit).strip()


def prepare(vm: VM) -> None:
    def end() -> None:
        for name in FILES:
            (SYSTEM / name).unlink(missing_ok=True)
        sh("systemctl", "stop", "gen-dash-made.service", ok=False)
        sh("systemctl", "daemon-reload", ok=False)

    vm.undo.append(end)
    for name in FILES:
        (SYSTEM / name).write_text(SERVICE)


@limited(300)
def test_units_land_in_their_slices(vm: VM) -> None:
    vm.need_cgd()
    prepare(vm)
    vm.policy("workload", WORK, reload=False)
    vm.policy("sideload", SIDE, reload=False)
    sh("systemctl", "daemon-reload", timeout=90)
    for unit, expected in (("gen-exact.service", "workload.slice"), ("gen@one.service", "workload.slice"),
                           ("gen-dash-disk.service", "workload.slice"), ("genx.service", "workload.slice"),
                           ("geny.service", "sideload.slice")):
        check(show(unit) == expected, f"{unit}: {show(unit)}, wanted {expected}")
    # Units that have no file: only the prefix can take them.
    for unit, expected in (("gen-dash-made.service", "workload.slice"), ("gen-dash-more-1.service", "sideload.slice")):
        sh("systemd-run", "--quiet", f"--unit={unit}", "/usr/bin/sleep", "1000")
        check(show(unit, "ControlGroup") == f"/{expected}/{unit}", f"{unit}: {show(unit, 'ControlGroup')}")
        sh("systemctl", "stop", unit)
    said = sh("systemd-analyze", "verify", "--man=no", "gen-exact.service", "workload.slice", "sideload.slice",
              "hostcritical.slice", ok=False)
    check(not said.strip(), said)


@limited(60)
def test_slices_have_their_resources(vm: VM) -> None:
    vm.need_cgd()
    check(show("workload.slice", "MemoryLow") not in ("", "0", "[not set]"), show("workload.slice", "MemoryLow"))
    check(show("workload.slice", "CPUWeight") == "500", show("workload.slice", "CPUWeight"))
    check(show("ssh.service") in ("hostcritical.slice", ""), show("ssh.service"))


@limited(240)
def test_refused_domain_is_left_out(vm: VM) -> None:
    vm.need_cgd()
    prepare(vm)
    vm.policy("workload", WORK, reload=False)
    vm.policy("zz-bad.policy", "[Domain]\nSlice=init.scope\n", reload=False)
    before, began = kernel_now(), monotonic()
    sh("systemctl", "daemon-reload", timeout=90)
    took = monotonic() - began
    check(show("gen-exact.service") == "workload.slice", show("gen-exact.service"))
    said = [line for line in kernel_log(before) if "cgd-generator" in line]
    check(len(said) == 1 and "zz-bad.policy:2:7" in said[0], f"{said}")
    vm.figure("daemon-reload with a bad policy", round(took, 1), "s")
