# SPDX-License-Identifier: LGPL-2.1-or-later
"""As 99-peers, with a service that needs the disk and a neighbour that floods it with direct reads, or streams a file through
the page cache (85-io has the same for cgd alone): with those of them that look at io at all. earlyoom, nohang, systemd-oomd
and MemoryLow= do not."""
from functools import partial
from pathlib import Path

from peers import Run, rounds
from vmlib import LOADS, VM, kept_between, limited, monotonic, sh, wait

QUICK_ON = "peers"
MACHINE = {"iops": 800, "bps": 60_000_000}
SECONDS, LEAD = 20, 4
WHO = ("nobody", "limits known beforehand", "oomd", "cgd")


def one(vm: VM, name: str, shape: str, count: str, size: str) -> Run:
    service = vm.victim(seconds=SECONDS + LEAD + 1, anon="32M", file="0", options=("--disk=/data/victim.dat:64M",))
    start = monotonic() + LEAD
    watch = vm.watch()
    hog = vm.hog(shape, count=count, size=size, seconds=SECONDS + LEAD, at=int(start * 1e6))
    wait(lambda: not hog.alive(), start + SECONDS - monotonic())
    held = monotonic() - start if not hog.alive() else None
    wait(lambda: False, start + SECONDS - monotonic())
    steps = [r for r in watch.changes() if r["file"] == "io.max"]
    result = service.finish()
    watch.stop()
    hog.stop()
    if name == "cgd":
        held = steps[0]["t"] / 1e6 - start if steps else None
        vm.log(vm.cgctl("incidents", ok=False) + vm.cgctl("why", ok=False))
    return Run(kept_between(result, start, start + SECONDS), result["longest_silence_ms"], held)


def flood(vm: VM, shape: str, count: str, size: str) -> None:
    sh(str(LOADS / "cgd-hog"), shape, "--prepare", f"--size={size}", timeout=150)
    try:
        rounds(vm, partial(one, shape=shape, count=count, size=size), WHO)
    finally:
        Path("/data/cgd-hog.dat").unlink()


@limited(7200)
def test_reads(vm: VM) -> None:
    flood(vm, "reads", "64", "256M")


@limited(7200)
def test_stream(vm: VM) -> None:
    flood(vm, "stream", "16", "1500M")
