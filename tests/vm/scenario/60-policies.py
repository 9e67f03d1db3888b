# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad policies are refused with their place, quickly, and leave the old set in force."""
from pathlib import Path

import subprocess

from vmlib import POLICIES, VM, check, limited, monotonic, sh

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"

# name -> (text, the line that must be named)
BAD = {
    "init-scope": ("[Domain]\nSlice=init.scope\n", 2),
    "dots": ("[Domain]\nSlice=../evil.slice\n", 2),
    "percent": ("[Domain]\nSlice=bad.slice\n[Alarm memory]\nMemoryPressureAbove=some 101% over 1s\n", 4),
    "window-short": ("[Domain]\nSlice=bad.slice\n[Alarm memory]\nMemoryPressureAbove=some 10% over 100ms\n", 4),
    "window-long": ("[Domain]\nSlice=bad.slice\n[Alarm memory]\nMemoryPressureAbove=some 10% over 11s\n", 4),
    "same-slice": ("[Domain]\nSlice=workload.slice\n", 2),
    "everything": ("[Domain]\nSlice=bad.slice\n[Match]\nUnit=*\n", 4),
    "unknown-mode": ("[Domain]\nSlice=bad.slice\n[Contain]\nMode=kil\n", 4),
    "contain-on-host": ("[Domain]\nSlice=-.slice\n[Contain]\nMode=enforce\n", 3),
    "no-number": ("[Domain]\nSlice=bad.slice\nRank=many\n", 3),
}


def reload(vm: VM) -> tuple[int, str, float]:
    began = monotonic()
    p = subprocess.run(["cgctl", "reload"], capture_output=True, text=True, timeout=120, check=False)
    return p.returncode, p.stderr + p.stdout, monotonic() - began


@limited(200)
def test_refused(vm: VM) -> None:
    vm.need_cgd()
    vm.cgctl("status")
    began = monotonic()
    before = vm.cgctl_json("domains")
    # What it takes to ask at all is this computer's doing.
    quick = max(1, 5 * (monotonic() - began))
    wrong = []
    for name, (text, line) in BAD.items():
        vm.policy("zz-bad.policy", text, reload=False)
        code, said, took = reload(vm)
        place = f"zz-bad.policy:{line}:"
        if code != 1 or place not in said or "those in force stay" not in said or took > quick:
            wrong.append(f"{name}: exit {code}, {took:.1f} s, wanted {place} in: {said.strip()}")
    vm.drop_policies()
    check(reload(vm)[0] == 0, "the old set is not loaded again")
    names = [d.get("name") for d in before]
    check([d.get("name") for d in vm.cgctl_json("domains")] == names, "the domains changed")
    check(not wrong, "\n".join(wrong))


@limited(120)
def test_refused_at_start(vm: VM) -> None:
    """There is no old set then: the domain at fault is left out but for its slice, the others are in force."""
    vm.need_cgd()
    vm.policy("sideload", "[Domain]\nRank=high\n", reload=False)
    sh("systemctl", "restart", "cgd.service")
    check(vm.cgctl_json("status")["policy"]["left_out"] == ["sideload"], vm.cgctl("status"))
    domains = {d["name"]: d for d in vm.cgctl_json("domains")}
    check(domains["workload"]["alarms"], f"workload has no alarms: {domains['workload']}")
    left = domains["sideload"]
    check(not left["contain"] and left["slice"] == "sideload.slice" and "had a fault" in left["not_active"][0], f"in force: {left}")
    vm.drop_policies()
    check(reload(vm)[0] == 0, "what is mended is not loaded")
    check({d["name"]: d for d in vm.cgctl_json("domains")}["sideload"]["contain"], "sideload is still left out")


def refuse_file(vm: VM, prepare) -> None:
    """A file that is fine in itself, but not one to trust."""
    vm.need_cgd()
    path = POLICIES / "zz-bad.policy"
    vm.policy("zz-bad.policy", "[Domain]\nSlice=bad.slice\n", reload=False)
    prepare(path)
    code, said, _ = reload(vm)
    check(code == 1 and "zz-bad.policy" in said, f"exit {code}: {said}")


def test_writable_by_others(vm: VM) -> None:
    refuse_file(vm, lambda p: p.chmod(0o666))


def test_not_of_root(vm: VM) -> None:
    import os
    refuse_file(vm, lambda p: os.chown(p, 65534, 65534))


def test_too_large(vm: VM) -> None:
    refuse_file(vm, lambda p: p.write_text("#" * (1 << 20) + "\n\n"))


def test_fifo(vm: VM) -> None:
    import os

    def fifo(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)
    refuse_file(vm, fifo)
