# SPDX-License-Identifier: LGPL-2.1-or-later
"""At rest with 200 services: how often it wakes, what it keeps in memory."""
import re
import time
from pathlib import Path

from vmlib import VM, check, full, limited, read, sh, switches

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"

UNITS = Path("/run/systemd/system")
SERVICES = 200
SECONDS = 60


def cpu_ms(pid: int) -> int:
    fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return 10 * (int(fields[11]) + int(fields[12]))


def start_services(vm: VM) -> None:
    """All with one call: systemd-run would take minutes."""
    names = []
    for slice in ("workload", "sideload", "system"):
        unit = UNITS / f"rest-{slice}@.service"
        unit.write_text(f"[Service]\nSlice={slice}.slice\nExecStart=/bin/sleep 900\n")
        vm.undo.append(unit.unlink)
        names += [f"rest-{slice}@{i}.service" for i in range(SERVICES // 3 + 1)]
    sh("systemctl", "daemon-reload", timeout=120)
    vm.undo.append(lambda: sh("systemctl", "stop", *names, timeout=250))
    sh("systemctl", "start", *names, timeout=300)


@limited(700)
def test_rest(vm: VM) -> None:
    vm.need_cgd()
    vm.wait_sensing()
    start_services(vm)
    vm.settle()
    time.sleep(15)
    pid = vm.cgd_pid()
    before, cpu = switches(pid), cpu_ms(pid)
    time.sleep(SECONDS)
    wakeups = (switches(pid) - before) / SECONDS
    resident, anon = (int(re.search(rf"{name}:\s+(\d+)", read(f"/proc/{pid}/status"))[1]) for name in ("VmRSS", "RssAnon"))
    vm.figure("wakeups", round(wakeups, 3), "/s")
    vm.figure("cpu in a minute", cpu_ms(pid) - cpu, "ms")
    vm.figure("resident", resident, "KiB")
    vm.figure("of it not of files", anon, "KiB")
    check(wakeups <= 0.2, "more than 0.2 wakeups a second")
    check(anon <= 2048, "more memory of its own than allowed")
    # How much of the libraries' text is resident differs by what else mapped it; the target decides where all is asked for.
    check(not full() or resident <= 4096, "more resident than allowed")
