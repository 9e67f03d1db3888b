# SPDX-License-Identifier: LGPL-2.1-or-later
"""A leak beside a backup that reads faster than it takes: who is read most is not who takes what others need."""
from vmlib import VM, Unit, check, limited, read, wait

QUICK_ON = "trixie"
WAIT = 60


def stream(vm: VM, **options) -> Unit:
    """One that reads files through the page cache, and has read more than it may keep or memory holds."""
    unit = vm.hog("stream", name="stream", count=2, size="512M", seconds=200, **options)
    check(wait(lambda: stolen(unit) > 100 << 20, 90), f"{unit.name} had {stolen(unit) >> 20} MiB reclaimed")
    return unit


def stolen(unit: Unit) -> int:
    """Bytes of it that were reclaimed ever."""
    stat = dict(line.split() for line in read(unit.path / "memory.stat").splitlines())
    return int(stat["pgsteal"]) * 4096


def beside(vm: VM, reader: Unit) -> tuple[set[str], set[str]]:
    """A leak of a quarter of what a disk here gives; who of the two was contained, and whom the forecast's alarm was laid on."""
    before = stolen(reader)
    leak = vm.hog("slow", rate="20M", name="leak", seconds=WAIT + 30)
    contained = wait(lambda: leak.high() not in ("max", "") or not leak.alive(), WAIT, 0.2)
    vm.log(vm.cgctl("incidents") + vm.cgctl("why", ok=False))
    check(contained, f"{leak.name} was not contained; of {reader.name} {(stolen(reader) - before) >> 20} MiB were reclaimed meanwhile")
    leak.stop()
    vm.settle(10)
    forecast = {i["culprit"] for i in vm.incidents() if i["alarm"] == "exhaustion" and i["culprit"]}
    return {c.rsplit("/", 1)[-1] for c in vm.culprits()}, {c.rsplit("/", 1)[-1] for c in forecast}


@limited(300)
def test_at_a_limit_of_its_own(vm: VM) -> None:
    vm.need_cgd()
    vm.victim(anon="160M", file="0")
    reader = stream(vm, properties=("MemoryMax=96M",))
    contained, _ = beside(vm, reader)
    check(contained == {"leak.service"}, f"contained: {contained}")


@limited(300)
def test_without_a_limit(vm: VM) -> None:
    """It may be contained as well, for the pressure that it makes; that memory runs out is not its doing."""
    vm.need_cgd()
    vm.victim(anon="160M", file="0")
    reader = stream(vm)
    contained, forecast = beside(vm, reader)
    check("leak.service" in contained, f"contained: {contained}")
    check(forecast <= {"leak.service"}, f"laid on for the forecast: {forecast}")
