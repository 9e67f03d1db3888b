# SPDX-License-Identifier: LGPL-2.1-or-later
"""The walk of all cgroups in the kernel: that it is there, that it says what the files say, and what is left where the
right to it is taken away."""
import json
from pathlib import Path

from vmlib import OOM, TESTS, VM, check, full, limited, sh, wait

DROPIN = Path("/run/systemd/system/cgd.service.d/90-test.conf")
# Longer than the comparison takes on any computer, in seconds; what is busy is ended when that is over.
BUSY = 400


def wait_level(vm: VM, level: str) -> dict:
    def there():
        s = vm.sensing()
        return s if s["level"] == level and (level == "files" or s["walk_cgroups"]) else None
    found = wait(there, 40, 1)
    check(found, f"the level is not {level}: {vm.sensing()}")
    return found


@limited(200)
def test_level(vm: VM) -> None:
    """As installed: level 2, every cgroup seen, nothing read from files that the walk has."""
    vm.need_cgd()
    vm.wait_sensing()
    s = wait_level(vm, "walk")
    check(not s["reason"], f"not all is taken from the walk: {s['reason']}")
    # Those that a scenario before left take until the next heartbeat to go.
    check(wait(lambda: abs(vm.sensing()["walk_cgroups"] - len(vm.cgroups()) - 1) <= 3, 25, 1),
          f"{vm.sensing()['walk_cgroups']} cgroups seen of {len(vm.cgroups()) + 1}")
    vm.figure("cgroups", s["walk_cgroups"])
    vm.figure("walk", s["walk_usec"], "us")
    vm.figure("maps", s["walk_bytes"] >> 10, "KiB")
    vm.figure("resident", vm.resident(), "KiB")
    check("level 2" in vm.cgctl("check", ok=False), "cgctl check does not say so")
    check(s["io_credit"]["measured"], f"who waits for whom is not measured: {s['io_credit']}")


@limited(600)
def test_fields(vm: VM) -> None:
    """On a busy machine each field lies between two readings of its file."""
    vm.need_cgd()
    vm.victim(seconds=BUSY)
    vm.hog("leak", rate="20M", total="700M", seconds=BUSY)
    vm.hog("cache", name="stream", slice="system.slice", size="600M", seconds=BUSY)
    # Reclaim whatever the speed of this computer.
    vm.hog("cache", name="small", slice="system.slice", size="100M", seconds=BUSY, properties=("MemoryHigh=30M",))
    # A line that hardly moved is not found, nor is one that equals another as long as only pages come back that were in use
    # before: anonymous pages and those of a file that come back all the time, of which many were hardly used.
    vm.victim(name="short", anon="40M", file="80M", seconds=BUSY, options=("--rate=200",), properties=("MemoryHigh=50M",))
    # Programs that lose their text fault it in again; not so often that nothing has time to come back.
    vm.start("drop", ["/bin/sh", "-c", "while :; do echo 1 >/proc/sys/vm/drop_caches; sleep 10; done"], slice="system.slice")
    found = json.loads(sh(str(TESTS / "walk"), "--compare=30", timeout=300))
    check("reason" not in found, f"no walk: {found.get('reason')}")
    vm.figure("cgroups", found["cgroups"])
    vm.figure("the walk flushes", found["flushes"])
    wrong = {}
    for name, f in found["fields"].items():
        if f["compared"] == 0 or f["agreed"] < f["compared"] * 0.98:
            wrong[name] = f
        vm.figure(name, f"{f['agreed']}/{f['compared']}, {f['nonzero']} not 0, worst {f['worst']}")
    check(not wrong, f"disagree: {wrong}")
    for name in ("pgscan", "pgsteal", "anon", "cache", "memory some", "memory full", "io some", "cpu some", "cpu usage"):
        check(found["fields"][name]["nonzero"] > 0, f"{name} was never more than 0: nothing was shown")


@limited(200)
def test_fast_leak(vm: VM) -> None:
    """A leak that takes all there is between two heartbeats: the kernel wakes cgd before anybody stalls."""
    vm.need_cgd()
    vm.wait_sensing()
    check(vm.sensing()["memory_watch"]["watched"], f"memory is not watched: {vm.sensing()['memory_watch']}")
    before = vm.sensing()
    check(wait(lambda: vm.sensing()["samples"] > before["samples"], 25, 0.1), "no heartbeat came")
    pair = vm.pair(seconds=15, lead=0, victim={"anon": "16M"}, rate="150M")
    first, cause = pair.first_step(), pair.cause()
    check(first is not None, "nothing was done")
    check(vm.sensing()["memory_watch"]["woken"] > before["memory_watch"]["woken"], "the kernel did not wake cgd")
    # None: it was held before memory would have lasted 2 s by the rate of the half second before.
    if cause is not None:
        vm.figure("first step after memory would last 2 s", round((first - cause) * 1000), "ms")
        check(not full() or first - cause < 1, f"the first step came {first - cause:.1f} s after memory would have lasted 2 s")
    check(vm.culprits() <= {pair.hog_path}, f"culprits: {vm.culprits()}")


@limited(300)
def test_kernel_kills(vm: VM) -> None:
    """At a limit, where cgd may do nothing: the journal tells whom."""
    vm.need_cgd()
    vm.wait_sensing()
    before = vm.sensing()["memory_watch"]["oom_kills"]
    hog = vm.hog("leak", slice="system.slice", rate="50M", seconds=100, properties=("MemoryMax=40M", "MemorySwapMax=0"))
    check(hog.wait_gone(60), "the kernel did not kill it")
    found = wait(lambda: [e for e in vm.journal() if e.get("MESSAGE_ID") == OOM], 30)
    check(found, "the journal does not tell")
    check(found[0].get("OBJECT_SYSTEMD_UNIT") == hog.name and "cgd-hog" in found[0]["MESSAGE"] and found[0].get("CGD_DOMAIN") == "system", f"{found[0]}")
    check(vm.sensing()["memory_watch"]["oom_kills"] == before + 1, "it is not counted")


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
