# SPDX-License-Identifier: LGPL-2.1-or-later
"""What it costs to count who waits for whom, on a disk that is emulated (virtio) and on one that is nothing (null_blk,
where the processor is what limits)."""
import re

from vmlib import TESTS, VM, check, limited, only_full, sh

# The other suite has 85-io.
QUICK_ON = "trixie"
DATA = "/data/credit.dat"


def measure(vm: VM, name: str, path: str) -> None:
    # Its own would be in both.
    sh("systemctl", "stop", "cgd")
    vm.undo.append(lambda: sh("systemctl", "start", "cgd"))
    text = sh(str(TESTS / "iocredit"), "--loader=/usr/libexec/cgd/cgd-bpf", "--pairs=5", path, timeout=200)
    vm.log(text)
    found = re.search(r"median (\d+) IOPS without, (\d+) with; loss (-?[\d.]+) %, (-?\d+) ns", text)
    inside = re.search(r"in the programs: (\d+) ns", text)
    counted = re.search(r"counted: ([\d.]+)", text)
    check(found and inside and counted, f"no figures: {text}")
    vm.figure(f"{name}, IOPS without", int(found[1]))
    vm.figure(f"{name}, IOPS with", int(found[2]))
    vm.figure(f"{name}, in the programs", int(inside[1]), "ns a request")
    check(0.95 <= float(counted[1]) <= 1.1, f"counted {counted[1]} of the requests")


@only_full
@limited(300)
def test_virtio(vm: VM) -> None:
    sh("dd", "if=/dev/zero", f"of={DATA}", "bs=1M", "count=64", "conv=fsync", timeout=100)
    vm.undo.append(lambda: sh("rm", "-f", DATA))
    measure(vm, "virtio", DATA)


@limited(300)
def test_null(vm: VM) -> None:
    # A drill leaves the module behind, without a device of its own.
    sh("modprobe", "-r", "null_blk", ok=False)
    sh("modprobe", "null_blk", "nr_devices=1", "gb=1", "queue_mode=2", "irqmode=0")
    vm.undo.append(lambda: sh("modprobe", "-r", "null_blk"))
    measure(vm, "null_blk", "/dev/nullb0")
