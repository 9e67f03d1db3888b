# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everybody else who acts when a machine is in trouble, each configured as its documentation has it for this: a slice of
work that may be killed beside one that must not; and rounds in which each has the same service and the same neighbour."""
import json
import shutil
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

from vmlib import CGD_UNIT, VM, NoFigures, Stuck, check, full, main_pid, sh

ROUNDS = 5

OOMD_UNIT = "systemd-oomd.service"
OOMD = Path("/run/vmtest-oomd.json")
# oomd's docs/configuration.md and its example for workload.slice and system.slice: pressure on the workload kills the
# largest or fastest growing of what may be killed; little swap left kills who has most of it; and pressure on its io kills
# who waits for io most.
OOMD_RULES = {"rulesets": [
    {"name": "protection of the workload",
     "detectors": [["workload is slowed", {"name": "pressure_rising_beyond", "args": {
         "cgroup": "workload.slice", "resource": "memory", "threshold": "5", "duration": "1"}}],
         ["the machine is under pressure", {"name": "pressure_above", "args": {
             "cgroup": "sideload.slice", "resource": "memory", "threshold": "20", "duration": "3"}}]],
     "actions": [{"name": "kill_by_memory_size_or_growth", "args": {"cgroup": "sideload.slice/*"}}]},
    {"name": "low swap",
     "detectors": [["swap is low", {"name": "swap_free", "args": {"threshold_pct": "15"}}]],
     "actions": [{"name": "kill_by_swap_usage", "args": {"cgroup": "sideload.slice/*"}}]},
    {"name": "protection of the workload's io",
     "detectors": [["workload waits for the disk", {"name": "pressure_above", "args": {
         "cgroup": "workload.slice", "resource": "io", "threshold": "20", "duration": "1"}}]],
     "actions": [{"name": "kill_by_pressure", "args": {"cgroup": "sideload.slice/*", "resource": "io"}}]}]}


def properties(slice: str, **values: str) -> None:
    sh("systemctl", "set-property", "--runtime", "--", f"{slice}.slice", *(f"{k}={v}" for k, v in values.items()))


def nobody(vm: VM) -> str:
    return ""


def static(vm: VM) -> str:
    """What an operator would set who knew both programs: what the service and the system need is left over, of memory and
    of a disk that does 800 operations and 60 MB a second."""
    properties("sideload", MemoryMax="480M", MemorySwapMax="0", IOReadIOPSMax="/dev/vdb 650", IOReadBandwidthMax="/dev/vdb 45M",
               IOWriteBandwidthMax="/dev/vdb 20M")
    return ""


def low(vm: VM) -> str:
    properties("workload", MemoryLow="60%")
    return ""


def earlyoom(vm: VM) -> str:
    """Its README: --prefer and --avoid for who is wanted dead or alive; the thresholds are its own."""
    argv = ["/usr/bin/earlyoom", "-r", "0", "--prefer", "^cgd-hog$", "--avoid", "^(cgd-victim|systemd|dbus-daemon|python3)$"]
    return vm.start("peer", argv, slice="system.slice", properties=("OOMScoreAdjust=-100", "Nice=-20")).name


def systemd_oomd(vm: VM) -> str:
    """As Fedora ships it: swap on the root, pressure on what may be killed, after 20 s at 60 %."""
    properties("-", ManagedOOMSwap="kill")
    properties("sideload", ManagedOOMMemoryPressure="kill")
    sh("systemctl", "start", OOMD_UNIT)
    return OOMD_UNIT


def systemd_oomd_tuned(vm: VM) -> str:
    """The least that oomd.conf(5) allows for the duration, and a tenth of the pressure."""
    conf = Path("/run/systemd/oomd.conf.d/tuned.conf")
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("[OOM]\nDefaultMemoryPressureDurationSec=1s\nSwapUsedLimit=60%\n")
    vm.undo.append(lambda: conf.unlink(missing_ok=True))
    properties("-", ManagedOOMSwap="kill")
    properties("sideload", ManagedOOMMemoryPressure="kill", ManagedOOMMemoryPressureLimit="10%")
    sh("systemctl", "start", OOMD_UNIT)
    return OOMD_UNIT


def oomd(vm: VM) -> str:
    OOMD.write_text(json.dumps(OOMD_RULES))
    program = shutil.which("oomd") or "/usr/bin/oomd"
    argv = [program, "--interval", "1", "--config", str(OOMD)]
    return vm.start("peer", argv, slice="system.slice", properties=("MemoryMin=32M",)).name


def nohang(vm: VM) -> str:
    """Its own configuration, with what it offers beside it: pressure looked at, and who is bad."""
    text = Path("/etc/nohang/nohang.conf").read_text()
    conf = Path("/run/vmtest-nohang.conf")
    conf.write_text(text.replace("psi_checking_enabled = False", "psi_checking_enabled = True")
                    + "\n@BADNESS_ADJ_RE_NAME 900 /// ^cgd-hog$\n@BADNESS_ADJ_RE_NAME -900 /// ^cgd-victim$\n")
    conf.chmod(0o644)
    argv = [shutil.which("nohang") or "/usr/sbin/nohang", "--monitor", "--config", str(conf)]
    return vm.start("peer", argv, slice="system.slice", properties=("OOMScoreAdjust=-20", "Nice=-19")).name


def cgd(vm: VM) -> str:
    vm.with_cgd()
    vm.wait_sensing()
    return CGD_UNIT


# Each sets itself up, and returns the unit that it runs as, '' where nothing runs.
PEERS: dict[str, Callable[[VM], str]] = {
    "nobody": nobody, "limits known beforehand": static, "MemoryLow= alone": low, "earlyoom": earlyoom,
    "systemd-oomd": systemd_oomd, "systemd-oomd, tuned": systemd_oomd_tuned, "oomd": oomd, "nohang": nohang, "cgd": cgd,
}


def undo(vm: VM) -> None:
    vm.rest()
    sh("systemctl", "stop", OOMD_UNIT, "systemd-oomd.socket", ok=False)
    for slice in ("workload", "sideload", "-"):
        shutil.rmtree(f"/run/systemd/system.control/{slice}.slice.d", ignore_errors=True)
    if vm.cgd_active():
        vm.without_cgd()
    for slice in ("workload.slice", "sideload.slice"):
        sh("systemctl", "stop", slice, ok=False)
    sh("systemctl", "daemon-reload", timeout=90)


class Run(NamedTuple):
    kept: float             # percent of the service's requests while there was trouble
    silence: int            # ms, the longest
    contained: float | None # seconds until the neighbour was gone or held; None: it never was


def measured(vm: VM, one: Callable[[VM, str], Run], name: str) -> list[Run]:
    """A peer's run, beside which it must have been there all the while; none if that does not count."""
    unit = PEERS[name](vm)
    pid = main_pid(unit) if unit else 0
    check(pid or not unit, f"{name} does not run")
    try:
        run = one(vm, name)
        vm.log(f"{name:24} kept {run.kept:6.2f} %, silence {run.silence:5} ms, contained "
               + ("never" if run.contained is None else f"after {run.contained:.1f} s"))
    except Stuck as e:
        # The emulated kernel's doing, whoever looks after the machine.
        vm.log(f"{name:24} not counted: {e}")
        return []
    except NoFigures as e:
        vm.log(f"{name:24} the service did not live to tell: {e}")
        run = Run(0.0, 60_000, None)
    check(not unit or main_pid(unit) == pid, f"{name} ended meanwhile")
    return [run]


def rounds(vm: VM, one: Callable[[VM, str], Run], who: Sequence[str] = tuple(PEERS)) -> None:
    """one() for each of them, round by round, each time in another order; medians and ranges."""
    if not shutil.which("earlyoom"):
        vm.skip("the peers are not installed in this machine")
    vm.log(sh("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "systemd-oomd", "earlyoom", "nohang", "oomd", ok=False))
    vm.need_cgd()
    vm.without_cgd()
    results: dict[str, list[Run]] = {name: [] for name in who}
    for n in range(ROUNDS if full() else 1):
        turn = 2 * n % len(who)
        for name in (*who[turn:], *who[:turn]):
            try:
                results[name] += measured(vm, one, name)
            finally:
                undo(vm)
                for f in reversed(vm.undo):
                    f()
                vm.undo.clear()
    vm.with_cgd()
    for name, runs in results.items():
        columns = [(sorted(r.kept for r in runs), "kept", "%"), (sorted(r.silence for r in runs), "longest silence", "ms"),
                   (sorted(r.contained for r in runs if r.contained is not None), "contained after", "s")]
        line = ""
        for values, what, unit in columns:
            # As often not at all as at some time: there is no median.
            if 2 * len(values) <= len(runs):
                line += "  never contained"
                continue
            # Whoever was never contained stands at the end.
            middle = values[len(runs) // 2]
            for value, which in ((middle, ""), (values[0], ", least"), (values[-1], ", most")):
                vm.figure(f"{name}: {what}{which}", round(value, 2), unit)
            line += f"  {what} {middle:.2f} {unit} ({values[0]:.2f} to {values[-1]:.2f})"
        vm.log(f"{name:24}{line}")
    check(all(results.values()), "somebody was not measured")
