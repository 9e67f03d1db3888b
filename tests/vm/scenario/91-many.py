# SPDX-License-Identifier: LGPL-2.1-or-later
"""The walk of all cgroups in the kernel beside thousands of them, and after, and what it costs."""
import re
from pathlib import Path

from vmlib import CGROUP, TESTS, VM, check, full, limited, sh, wait

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"


def remove(top: Path) -> None:
    for path in top.iterdir() if top.exists() else ():
        if path.is_dir():
            path.rmdir()
    if top.exists():
        top.rmdir()


@limited(400)
def test_many(vm: VM) -> None:
    """More cgroups than there was room for: a larger map is loaded, and small ones again cost nothing."""
    vm.need_cgd()
    count = 10_000 if full() else 2_000
    top = CGROUP / "cgdmany"
    vm.undo.append(lambda: remove(top))
    before = wait(lambda: (s := vm.sensing())["level"] == "walk" and s["walk_cgroups"] and s, 40, 1)
    check(before, f"there is no walk: {vm.sensing()}")
    pid = vm.cgd_pid()
    top.mkdir()
    for i in range(count):
        (top / str(i)).mkdir()
    grown = wait(lambda: (s := vm.sensing())["walk_cgroups"] > count and s, 120, 2)
    check(grown, f"{count} cgroups were made, seen: {vm.sensing()}")
    vm.figure("cgroups", grown["walk_cgroups"])
    vm.figure("walk", grown["walk_usec"], "us")
    vm.figure("maps", grown["walk_bytes"] >> 10, "KiB")
    vm.figure("resident", vm.resident(), "KiB")
    check(vm.resident() <= 12 << 10, f"{vm.resident()} KiB resident with {count} cgroups")
    check(vm.cgd_pid() == pid, "cgd did not live through it")
    remove(top)
    shrunk = wait(lambda: (s := vm.sensing())["walk_cgroups"] <= before["walk_cgroups"] + 5 and s, 60, 2)
    check(shrunk, f"those that went are still seen: {vm.sensing()}")
    check(len(list(Path(f"/proc/{pid}/fd").iterdir())) < 600, "descriptors stay open")


@limited(600)
def test_come_and_go(vm: VM) -> None:
    """Thousands of cgroups are made and removed: nothing of them stays, in descriptors, memory or maps."""
    vm.need_cgd()
    vm.wait_sensing()
    top = CGROUP / "cgdchurn.slice"
    at_a_time = 100
    vm.undo.append(lambda: remove(top))

    def seen() -> tuple[int, int, int]:
        return len(list(Path(f"/proc/{vm.cgd_pid()}/fd").iterdir())), vm.resident(), vm.sensing()["walk_bytes"]

    def rounds(n: int) -> None:
        for _ in range(n):
            for i in range(at_a_time):
                (top / f"{i}.service").mkdir()
            # Some of them live to see a heartbeat, most do not.
            if _ % 10 == 0:
                looks = vm.sensing()["samples"]
                check(wait(lambda: vm.sensing()["samples"] > looks, 25, 0.2), "no heartbeat came")
            for i in range(at_a_time):
                (top / f"{i}.service").rmdir()
    top.mkdir()
    rounds(2)                           # what it keeps for so many once it has seen them
    before = seen()
    rounds(100 if full() else 20)
    remove(top)
    looks = vm.sensing()["samples"]
    check(wait(lambda: vm.sensing()["samples"] > looks + 1, 45, 0.5), "no heartbeat came")
    after = seen()
    vm.figure("made and removed", at_a_time * (102 if full() else 22))
    vm.figure("descriptors", f"{before[0]}, then {after[0]}")
    vm.figure("resident", f"{before[1]}, then {after[1]}", "KiB")
    vm.figure("maps", f"{before[2] >> 10}, then {after[2] >> 10}", "KiB")
    check(after[0] <= before[0] + 4, "descriptors stay open")
    check(after[1] <= before[1] + 512, "memory grows")
    check(after[2] == before[2], "maps grow")


@limited(600)
def test_cost(vm: VM) -> None:
    for n in (1000, 5000) if full() else (1000,):
        text = sh(str(TESTS / "walk"), f"--cgroups={n}", timeout=500)
        vm.log(text)
        for name, pattern in (("open", r"close ([\d.]+)"), ("kept", r"kept fds ([\d.]+)"), ("walk", r"walk, [a-z ]+: ([\d.]+) ")):
            found = re.search(pattern, text)
            check(found, f"no figure for {name}: {text}")
            vm.figure(f"{name}, {n} cgroups", float(found[1]), "us per cgroup")
