# SPDX-License-Identifier: LGPL-2.1-or-later
"""The walk of all cgroups in the kernel: that it is there, that it says what the files say, what it costs, and what
is left where the right to it is taken away."""
import json
import re
import time
from pathlib import Path

from vmlib import CGROUP, OOM, TESTS, VM, check, full, limited, read, sh, wait

DROPIN = Path("/run/systemd/system/cgd.service.d/90-test.conf")


def sensing(vm: VM) -> dict:
    return vm.cgctl_json("status")["sensing"]


def resident(vm: VM) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{vm.cgd_pid()}/status"))[1])


def wait_level(vm: VM, level: str) -> dict:
    def there():
        s = sensing(vm)
        return s if s["level"] == level and (level == "files" or s["walk_cgroups"]) else None
    found = wait(there, 40, 1)
    check(found, f"the level is not {level}: {sensing(vm)}")
    return found


@limited(200)
def test_level(vm: VM) -> None:
    """As installed: level 2, every cgroup seen, nothing read from files that the walk has."""
    vm.need_cgd()
    vm.wait_sensing()
    s = wait_level(vm, "walk")
    check(not s["reason"], f"not all is taken from the walk: {s['reason']}")
    there = len(vm.cgroups()) + 1
    check(abs(s["walk_cgroups"] - there) <= 3, f"{s['walk_cgroups']} cgroups seen of {there}")
    vm.figure("cgroups", s["walk_cgroups"])
    vm.figure("walk", s["walk_usec"], "us")
    vm.figure("maps", s["walk_bytes"] >> 10, "KiB")
    vm.figure("resident", resident(vm), "KiB")
    check("level 2" in vm.cgctl("check", ok=False), "cgctl check does not say so")
    check(s["io_credit"]["measured"], f"who waits for whom is not measured: {s['io_credit']}")


@limited(300)
def test_fields(vm: VM) -> None:
    """On a busy machine each field lies between two readings of its file."""
    vm.need_cgd()
    vm.victim(seconds=70)
    vm.hog("leak", rate="20M", total="700M", seconds=70)
    vm.hog("cache", name="stream", slice="system.slice", size="600M", seconds=70)
    # Reclaim whatever the speed of this computer.
    vm.hog("cache", name="small", slice="system.slice", size="100M", seconds=70, properties=("MemoryHigh=30M",))
    # Programs that lose their text fault it in again.
    vm.start("drop", ["/bin/sh", "-c", "while :; do echo 1 >/proc/sys/vm/drop_caches; sleep 3; done"], slice="system.slice")
    found = json.loads(sh(str(TESTS / "walk"), "--compare=30", timeout=120))
    check("reason" not in found, f"no walk: {found.get('reason')}")
    vm.figure("cgroups", found["cgroups"])
    vm.figure("the walk flushes", found["flushes"])
    wrong = {}
    for name, f in found["fields"].items():
        if f["compared"] == 0 or f["agreed"] < f["compared"] * 0.98:
            wrong[name] = f
        vm.figure(name, f"{f['agreed']}/{f['compared']}, {f['nonzero']} not 0, worst {f['worst']}")
    check(not wrong, f"disagree: {wrong}")
    for name in ("pgscan", "pgsteal", "anon", "file", "memory some", "memory full", "io some", "cpu some", "cpu usage"):
        check(found["fields"][name]["nonzero"] > 0, f"{name} was never more than 0: nothing was shown")


@limited(200)
def test_fast_leak(vm: VM) -> None:
    """A leak that takes all there is between two heartbeats: the kernel wakes cgd before anybody stalls."""
    vm.need_cgd()
    vm.wait_sensing()
    check(sensing(vm)["memory_watch"]["watched"], f"memory is not watched: {sensing(vm)['memory_watch']}")
    before = sensing(vm)
    check(wait(lambda: sensing(vm)["samples"] > before["samples"], 25, 0.1), "no heartbeat came")
    pair = vm.pair(seconds=15, lead=0, victim={"anon": "16M"}, rate="150M")
    first, cause = pair.first_step(), pair.cause()
    check(first is not None, "nothing was done")
    check(sensing(vm)["memory_watch"]["woken"] > before["memory_watch"]["woken"], "the kernel did not wake cgd")
    # None: it was held before memory would have lasted 2 s by the rate of the half second before.
    if cause is not None:
        vm.figure("first step after memory would last 2 s", round((first - cause) * 1000), "ms")
        check(not full() or first - cause < 1, f"the first step came {first - cause:.1f} s after memory would have lasted 2 s")
    check(vm.culprits() <= {pair.hog_path}, f"culprits: {vm.culprits()}")


@limited(200)
def test_limit_leak(vm: VM) -> None:
    """What a slice may have is taken between two heartbeats, while the machine has plenty: the kernel wakes cgd, and who
    takes it is held before the slice is full."""
    vm.need_cgd()
    vm.wait_sensing()
    slice = CGROUP / "tight.slice"
    sh("systemctl", "set-property", "--runtime", "tight.slice", "MemoryMax=300M")
    sh("systemctl", "start", "tight.slice")
    vm.undo.append(lambda: (sh("systemctl", "stop", "tight.slice"), sh("systemctl", "revert", "tight.slice", ok=False)))
    vm.policy("tight.policy", "[Domain]\nSlice=tight.slice\nRank=300\n[Alarm exhaustion]\nMemoryExhaustionWithin=2s\n[Contain]\nMode=contain\n")
    before = sensing(vm)
    check(wait(lambda: sensing(vm)["samples"] > before["samples"] + 1, 45, 0.1), "no heartbeat came")
    vm.settle()
    before = sensing(vm)
    check(wait(lambda: sensing(vm)["samples"] > before["samples"], 25, 0.1), "no heartbeat came")
    watch = vm.watch()
    hog = vm.hog("leak", slice="tight.slice", rate="60M", seconds=30)
    held = wait(lambda: hog.high() not in ("max", ""), 20, 0.1)
    time.sleep(3)
    watch.stop()
    vm.log(vm.cgctl("why", ok=False))
    check(held, f"it was not held, and has {hog.memory() >> 20} MiB; {sensing(vm)['memory_watch']}")
    vm.figure("held at", int(hog.high()) >> 20, "MiB")
    check(sensing(vm)["memory_watch"]["woken"] > before["memory_watch"]["woken"], "the kernel did not wake cgd")
    check("\nmax 0\n" in read(slice / "memory.events"), f"the slice was full: {read(slice / 'memory.events')}")
    path = "/" + str(hog.path.relative_to(CGROUP))
    check({r["path"] for r in watch.changes()} <= {path}, f"touched: {watch.changes()[:3]}")


@limited(120)
def test_kernel_kills(vm: VM) -> None:
    """At a limit, where cgd may do nothing: the journal tells whom."""
    vm.need_cgd()
    vm.wait_sensing()
    before = sensing(vm)["memory_watch"]["oom_kills"]
    hog = vm.hog("leak", slice="system.slice", rate="50M", seconds=30, properties=("MemoryMax=40M", "MemorySwapMax=0"))
    check(hog.wait_gone(30), "the kernel did not kill it")
    found = wait(lambda: [e for e in vm.journal() if e.get("MESSAGE_ID") == OOM], 10)
    check(found, "the journal does not tell")
    check(found[0].get("OBJECT_SYSTEMD_UNIT") == hog.name and "cgd-hog" in found[0]["MESSAGE"] and found[0].get("CGD_DOMAIN") == "system", f"{found[0]}")
    check(sensing(vm)["memory_watch"]["oom_kills"] == before + 1, "it is not counted")


@limited(200)
def test_without_rights(vm: VM) -> None:
    """Without CAP_BPF it works at level 1, and says why."""
    vm.need_cgd()

    def restart() -> None:
        sh("systemctl", "daemon-reload")
        sh("systemctl", "restart", "cgd")

    def undo() -> None:
        DROPIN.unlink(missing_ok=True)
        restart()
    vm.undo.append(undo)
    DROPIN.parent.mkdir(parents=True, exist_ok=True)
    DROPIN.write_text("[Service]\nCapabilityBoundingSet=~CAP_BPF CAP_PERFMON\n")
    restart()
    vm.wait_sensing()
    s = wait_level(vm, "files")
    check("CAP_BPF" in s["reason"], f"the reason is {s['reason']!r}")
    credit = s["io_credit"]
    check(not credit["measured"] and "CAP_BPF" in credit["reason"], f"the io credit says {credit}")
    check("CAP_BPF" in s["memory_watch"]["reason"], f"the memory watch says {s['memory_watch']}")
    check("level 1" in vm.cgctl("status") and "CAP_BPF" in vm.cgctl("check", ok=False), "cgctl does not say why")
    check(vm.cgctl_json("tree"), "the tree cannot be shown")


@limited(600)
def test_cost(vm: VM) -> None:
    for n in (1000, 5000) if full() else (1000,):
        text = sh(str(TESTS / "walk"), f"--cgroups={n}", timeout=500)
        vm.log(text)
        for name, pattern in (("open", r"close ([\d.]+)"), ("kept", r"kept fds ([\d.]+)"), ("walk", r"walk, [a-z ]+: ([\d.]+) ")):
            found = re.search(pattern, text)
            check(found, f"no figure for {name}: {text}")
            vm.figure(f"{name}, {n} cgroups", float(found[1]), "us per cgroup")


@limited(400)
def test_many(vm: VM) -> None:
    """More cgroups than there was room for: a larger map is loaded, and small ones again cost nothing."""
    vm.need_cgd()
    count = 10_000 if full() else 2_000
    top = CGROUP / "cgdmany"

    def remove() -> None:
        for path in top.iterdir() if top.exists() else ():
            if path.is_dir():
                path.rmdir()
        if top.exists():
            top.rmdir()
    vm.undo.append(remove)
    before = wait_level(vm, "walk")
    pid = vm.cgd_pid()
    top.mkdir()
    for i in range(count):
        (top / str(i)).mkdir()
    grown = wait(lambda: (s := sensing(vm))["walk_cgroups"] > count and s, 120, 2)
    check(grown, f"{count} cgroups were made, seen: {sensing(vm)}")
    vm.figure("cgroups", grown["walk_cgroups"])
    vm.figure("walk", grown["walk_usec"], "us")
    vm.figure("maps", grown["walk_bytes"] >> 10, "KiB")
    vm.figure("resident", resident(vm), "KiB")
    check(resident(vm) <= 12 << 10, f"{resident(vm)} KiB resident with {count} cgroups")
    check(vm.cgd_pid() == pid, "cgd did not live through it")
    remove()
    shrunk = wait(lambda: (s := sensing(vm))["walk_cgroups"] <= before["walk_cgroups"] + 5 and s, 60, 2)
    check(shrunk, f"those that went are still seen: {sensing(vm)}")
    check(len(list(Path(f"/proc/{pid}/fd").iterdir())) < 600, "descriptors stay open")


@limited(600)
def test_come_and_go(vm: VM) -> None:
    """Thousands of cgroups are made and removed: nothing of them stays, in descriptors, memory or maps."""
    vm.need_cgd()
    vm.wait_sensing()
    top = CGROUP / "cgdchurn.slice"
    at_a_time = 100

    def remove() -> None:
        for path in top.iterdir() if top.exists() else ():
            if path.is_dir():
                path.rmdir()
        if top.exists():
            top.rmdir()
    vm.undo.append(remove)

    def seen() -> tuple[int, int, int]:
        return len(list(Path(f"/proc/{vm.cgd_pid()}/fd").iterdir())), resident(vm), sensing(vm)["walk_bytes"]

    def rounds(n: int) -> None:
        for _ in range(n):
            for i in range(at_a_time):
                (top / f"{i}.service").mkdir()
            # Some of them live to see a heartbeat, most do not.
            if _ % 10 == 0:
                looks = sensing(vm)["samples"]
                check(wait(lambda: sensing(vm)["samples"] > looks, 25, 0.2), "no heartbeat came")
            for i in range(at_a_time):
                (top / f"{i}.service").rmdir()
    top.mkdir()
    rounds(2)                           # what it keeps for so many once it has seen them
    before = seen()
    rounds(100 if full() else 20)
    remove()
    looks = sensing(vm)["samples"]
    check(wait(lambda: sensing(vm)["samples"] > looks + 1, 45, 0.5), "no heartbeat came")
    after = seen()
    vm.figure("made and removed", at_a_time * (102 if full() else 22))
    vm.figure("descriptors", f"{before[0]}, then {after[0]}")
    vm.figure("resident", f"{before[1]}, then {after[1]}", "KiB")
    vm.figure("maps", f"{before[2] >> 10}, then {after[2] >> 10}", "KiB")
    check(after[0] <= before[0] + 4, "descriptors stay open")
    check(after[1] <= before[1] + 512, "memory grows")
    check(after[2] == before[2], "maps grow")
