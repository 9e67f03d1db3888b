# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who turns over most page cache is not who takes what others need: a leak beside a backup that reads much faster, and a service that
thrashes at a limit of its own beside such a one.  Without swap, so that a slow leak is soon at the end of it."""
import json
from pathlib import Path

from vmlib import VM, Unit, check, limited, read, size as bytes_of, wait

QUICK_ON = "trixie"
MACHINE = {"swap_mib": 0}
WAIT = 90
# What cgd-hog reads.
DATA = Path("/data/cgd-hog.dat")


def stream(vm: VM, size: str, **options) -> Unit:
    """One that reads a file through the page cache, and has read more than it may keep or memory holds.  The file is a hole, which
    no disk slows down."""
    DATA.unlink(missing_ok=True)
    with open(DATA, "wb") as file:
        file.truncate(bytes_of(size))
    vm.undo.append(DATA.unlink)
    unit = vm.hog("stream", name="stream", count=2, seconds=290, size=size, **options)
    check(wait(lambda: stolen(unit) > 100 << 20, 90), f"{unit.name} had {stolen(unit) >> 20} MiB reclaimed")
    return unit


def stolen(unit: Unit) -> int:
    """Bytes of it that were reclaimed ever."""
    stat = dict(line.split() for line in read(unit.path / "memory.stat").splitlines())
    return int(stat["pgsteal"]) * 4096


def beside(vm: VM, reader: Unit) -> None:
    """A leak that takes less than is read: that memory runs out is its doing, and not the reader's."""
    before = stolen(reader)
    # A service may be held while it starts, for that takes memory faster still.
    earlier = {i["id"] for i in vm.cgctl_json("incidents") or []}
    leak = vm.hog("slow", rate="10M", name="leak", seconds=WAIT + 30)
    contained = wait(lambda: leak.high() not in ("max", "") or not leak.alive(), WAIT, 0.2)
    vm.figure("reclaimed of the reader meanwhile", (stolen(reader) - before) >> 20, "MiB")
    vm.log(vm.cgctl("incidents") + vm.cgctl("why", ok=False))
    leak.stop()
    vm.settle(10)
    blamed = {i["culprit"].rsplit("/", 1)[-1] for i in vm.incidents()
              if i["culprit"] and i["alarm"] == "exhaustion" and i["id"] not in earlier}
    check(contained and blamed == {"leak.service"}, f"{leak.name} {'was' if contained else 'was not'} contained, for the forecast {blamed}")


@limited(300)
def test_at_a_limit_of_its_own(vm: VM) -> None:
    vm.need_cgd()
    vm.victim(anon="450M", file="0")
    reader = stream(vm, size="256M", properties=("MemoryMax=96M",))
    beside(vm, reader)
    check(reader.high() == "max", f"its memory.high is {reader.high()}")


@limited(300)
def test_without_a_limit(vm: VM) -> None:
    """It may be held as well, for the pressure that it makes."""
    vm.need_cgd()
    vm.victim(anon="450M", file="0")
    beside(vm, stream(vm, size="512M"))


@limited(300)
def test_thrashing_at_a_limit_of_its_own(vm: VM) -> None:
    """Nobody else is held for it, though the kernel reclaims page cache all the time."""
    vm.need_cgd()
    vm.victim(anon="100M", file="0")
    reader = stream(vm, size="900M")
    earlier = {i["id"] for i in vm.cgctl_json("incidents") or []}
    vm.victim(name="thrash", anon="8M", file="160M", options=("--rate=200",), properties=("MemoryMax=48M",))

    def told() -> list[dict]:
        return [i for i in vm.cgctl_json("incidents") or [] if i["id"] not in earlier and i["alarm"] == "memory"]
    check(wait(told, 60, 0.5), "no alarm came")
    held = wait(lambda: reader.high() not in ("max", ""), 20, 0.2)
    vm.log(vm.cgctl("incidents") + vm.cgctl("why", ok=False))
    check(not held, "the reader was held")

    def its_own() -> bool:
        return any("thrash.service" in json.dumps(vm.cgctl_json("why", str(i["id"]))) and i["result"] == "self" for i in told())
    check(wait(its_own, 40, 1), f"{told()}")
