# SPDX-License-Identifier: LGPL-2.1-or-later
"""How it grows: 10 to 10,000 cgroups in up to 200 domains. What it costs at rest, what a look costs, what it keeps in
memory, and how soon it acts on the same leak and the same flood beside them. `./dev bench scale`."""
import re
import shutil
import statistics
import time
from pathlib import Path

import peers
from vmlib import CGROUP, LOADS, VM, check, full, kept_between, limited, main_pid, monotonic, only_full, read, sh, switches, wait

# 10,000 cgroups take the kernel half a GiB.
MACHINE = {"memory_mib": 3072}
QUICK_ON = "bookworm"
SIZES = (10, 100, 1_000, 10_000)
DOMAINS_MAX = 200
REST = 40
FLOODS = 3
FLOOD_SIZE = "256M"
# What may be so many times as late with the most cgroups as with the fewest.
LATE = {"first step of a leak, ms": 1.3, "first step of a flood, ms": 1.3}


def cpu_usec(pid: int) -> int:
    return int(read(f"/proc/{pid}/schedstat").split()[0]) // 1000


def resident_kib(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))[1])


class Crowd:
    """So many cgroups that do nothing, shared out among domains of their own."""

    def __init__(self, vm: VM, count: int) -> None:
        domains = min(DOMAINS_MAX, max(1, count // 5))
        self.slices = [f"cgdscale-{k}.slice" for k in range(domains)]
        for k, slice in enumerate(self.slices):
            vm.policy(f"scale{k}.policy", f"[Domain]\nSlice={slice}\nRank=300\n[Alarm memory]\nMemoryPressureAbove=some 20% over 1s\n",
                      reload=False)
        sh("systemctl", "daemon-reload", timeout=120)
        sh("systemctl", "start", *self.slices, timeout=180)
        self.paths = [CGROUP / "cgdscale.slice" / self.slices[i % domains] / f"{i}.service" for i in range(count)]
        for path in self.paths:
            path.mkdir()
        vm.cgctl("reload", timeout=120)

    def end(self, vm: VM) -> None:
        for path in self.paths:
            path.rmdir()
        vm.drop_policies()
        vm.cgctl("reload", timeout=120)
        sh("systemctl", "stop", *self.slices, "cgdscale.slice", timeout=180)
        sh("systemctl", "daemon-reload", timeout=120)


def flood_step(vm: VM) -> float | None:
    """Seconds from the first read of a flood to the first limit."""
    service = vm.victim(seconds=16, anon="32M", file="0", options=("--disk=/data/victim.dat:64M",))
    watch = vm.watch(unwatched="/cgdscale.slice")
    start = monotonic() + 8
    hog = vm.hog("reads", count=64, size=FLOOD_SIZE, seconds=30, at=int(start * 1e6))
    wait(lambda: False, start + 4 - monotonic())
    service.finish()
    watch.stop()
    hog.stop()
    steps = [r["t"] / 1e6 - start for r in watch.changes() if r["file"] == "io.max"]
    return steps[0] if steps else None


def one(vm: VM, count: int) -> dict[str, float]:
    crowd = Crowd(vm, count)
    try:
        pid = vm.cgd_pid()
        check(wait(lambda: vm.cgctl_json("status")["sensing"]["walk_cgroups"] >= count, 90, 1), f"not all of {count} are seen")
        vm.settle()
        time.sleep(12)
        before, cpu, looks = switches(pid), cpu_usec(pid), vm.cgctl_json("status")["sensing"]["samples"]
        time.sleep(REST)
        asked = 2                       # the two calls of cgctl around it wake it as well
        sensing = vm.cgctl_json("status")["sensing"]
        found = {"wakeups a second": (switches(pid) - before - 4 * asked) / REST,
                 "cpu of a look, us": (cpu_usec(pid) - cpu) / max(1, sensing["samples"] - looks),
                 "of it the walk, us": sensing["walk_usec"], "resident, KiB": resident_kib(pid), "maps, KiB": sensing["walk_bytes"] >> 10}
        pair = vm.pair(seconds=45, lead=3, rate="150M", victim={"anon": "64M", "file": "0"}, unwatched="/cgdscale.slice")
        first, cause = pair.first_step(), pair.cause()
        # An emulated kernel that reclaims from thousands of cgroups may slow the leak down so far that nobody needs help.
        if first is None:
            vm.log(f"with {count} cgroups nothing was done; kept {kept_between(pair.result, pair.start, pair.start + 40)} %")
        check(not pair.bystanders(), f"bystanders were touched: {pair.bystanders()[:3]}")
        touched = [change for change in vm.changed_limits(pair.before) if "cgdscale" in change]
        check(not touched, f"bystanders were touched: {touched[:3]}")
        if first is not None:
            found["first step of a leak, ms"] = first * 1000
        if cause is not None and first is not None:
            found["first step after memory would last 2 s, ms"] = (first - cause) * 1000
        floods = []
        for _ in range(FLOODS):
            vm.rest()
            floods.append(flood_step(vm))
        vm.log(f"with {count} cgroups the first step of a flood came after {floods}")
        if None not in floods:
            found["first step of a flood, ms"] = statistics.median(floods) * 1000
        return found
    finally:
        vm.rest()
        crowd.end(vm)


@only_full
@limited(3000)
def test_growth(vm: VM) -> None:
    vm.need_cgd()
    vm.wait_sensing()
    sh(str(LOADS / "cgd-hog"), "reads", "--prepare", f"--size={FLOOD_SIZE}", timeout=150)
    vm.undo.append(Path("/data/cgd-hog.dat").unlink)
    results = {}
    for n in SIZES:
        results[n] = one(vm, n)
        vm.log(f"{n}: {results[n]}")
    for what in results[SIZES[0]]:
        vm.log(f"{what:45}" + "".join(f"{results[n].get(what, float('nan')):12.1f}" for n in SIZES))
        for n in SIZES:
            if what in results[n]:
                vm.figure(f"{what} with {n}", round(results[n][what], 2))
    small, large = results[SIZES[0]], results[SIZES[-1]]
    # The walk's map is mapped, and so resident.
    kib = (large["resident, KiB"] - small["resident, KiB"]) / (SIZES[-1] - SIZES[0])
    vm.figure("memory a cgroup", round(kib, 3), "KiB")
    if full():
        check(kib <= 1, f"{kib:.2f} KiB of memory a cgroup")
        check(large["wakeups a second"] <= 0.2, f"{large['wakeups a second']:.2f} wakeups a second")
        for what, times in LATE.items():
            check(large.get(what, float("inf")) <= times * small.get(what, 0),
                  f"{what}: {large.get(what)} with {SIZES[-1]} cgroups, {small.get(what)} with {SIZES[0]}")


@only_full
@limited(1800)
def test_peers(vm: VM) -> None:
    """What the others cost at rest beside few and many cgroups in the slice that they look after. `./dev bench scale` runs it
    where they are installed: `-s peers`."""
    if not shutil.which("earlyoom"):
        vm.skip("the peers are not installed in this machine")
    vm.need_cgd()
    vm.without_cgd()
    sh("systemctl", "start", "sideload.slice")
    for count in (SIZES[0], SIZES[-1]):
        paths = [CGROUP / "sideload.slice" / f"{i}.service" for i in range(count)]
        for path in paths:
            path.mkdir()
        for name in ("earlyoom", "systemd-oomd, tuned", "oomd", "nohang", "cgd"):
            unit = peers.PEERS[name](vm)
            pid = main_pid(unit)
            check(pid, f"{name} does not run")
            time.sleep(12)
            before, cpu = switches(pid), cpu_usec(pid)
            time.sleep(REST)
            vm.figure(f"{name}: cpu a minute with {count}", round((cpu_usec(pid) - cpu) / 1000 * 60 / REST), "ms")
            vm.figure(f"{name}: wakeups a second with {count}", round((switches(pid) - before) / REST, 2))
            vm.figure(f"{name}: resident with {count}", resident_kib(pid), "KiB")
            check(main_pid(unit) == pid, f"{name} ended meanwhile")
            if name == "cgd":
                vm.without_cgd()
            else:
                sh("systemctl", "stop", unit, "systemd-oomd.socket", ok=False)
                vm.end_units()
        for path in paths:
            path.rmdir()
    vm.with_cgd()
