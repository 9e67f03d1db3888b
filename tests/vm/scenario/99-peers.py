# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same service and the same leak with nobody, with limits known beforehand, with each peer, and with cgd.

Each peer is configured as its documentation has it for this: a slice of work that may be killed beside one that must not.
One boot; each begins with a settled machine, in an order that differs from round to round. `./dev bench peers`."""
import json
import shutil
from pathlib import Path
from typing import Callable

from vmlib import VM, Failure, check, full, kept_between, limited, sh

# It needs a tree of its own, with the peers in it.
QUICK_ON = "peers"
SECONDS, LEAD, RATE = 50, 8, "100M"
ROUNDS = 5

OOMD = Path("/run/vmtest-oomd.json")
# oomd's docs/configuration.md and its example for workload.slice and system.slice: pressure on the workload kills the
# largest or fastest growing of what may be killed; little swap left kills who has most of it.
OOMD_RULES = {"rulesets": [
    {"name": "protection of the workload",
     "detectors": [["workload is slowed", {"name": "pressure_rising_beyond", "args": {
         "cgroup": "workload.slice", "resource": "memory", "threshold": "5", "duration": "1"}}],
         ["the machine is under pressure", {"name": "pressure_above", "args": {
             "cgroup": "sideload.slice", "resource": "memory", "threshold": "20", "duration": "3"}}]],
     "actions": [{"name": "kill_by_memory_size_or_growth", "args": {"cgroup": "sideload.slice/*"}}]},
    {"name": "low swap",
     "detectors": [["swap is low", {"name": "swap_free", "args": {"threshold_pct": "15"}}]],
     "actions": [{"name": "kill_by_swap_usage", "args": {"cgroup": "sideload.slice/*"}}]}]}


def properties(slice: str, **values: str) -> None:
    sh("systemctl", "set-property", "--runtime", "--", f"{slice}.slice", *(f"{k}={v}" for k, v in values.items()))


def nobody(vm: VM) -> None:
    pass


def static(vm: VM) -> None:
    """What an operator would set who knew both programs: what the service and the system need is left over."""
    properties("sideload", MemoryMax="480M", MemorySwapMax="0")


def low(vm: VM) -> None:
    properties("workload", MemoryLow="60%")


def earlyoom(vm: VM) -> None:
    """Its README: --prefer and --avoid for who is wanted dead or alive; the thresholds are its own."""
    vm.start("peer", ["/usr/bin/earlyoom", "-r", "0", "--prefer", "^cgd-hog$", "--avoid", "^(cgd-victim|systemd|dbus-daemon|python3)$"],
             slice="system.slice", properties=("OOMScoreAdjust=-100", "Nice=-20"))


def systemd_oomd(vm: VM) -> None:
    """As Fedora ships it: swap on the root, pressure on what may be killed, after 20 s at 60 %."""
    properties("-", ManagedOOMSwap="kill")
    properties("sideload", ManagedOOMMemoryPressure="kill")
    sh("systemctl", "start", "systemd-oomd.service")


def systemd_oomd_tuned(vm: VM) -> None:
    """The least that oomd.conf(5) allows for the duration, and a tenth of the pressure."""
    conf = Path("/run/systemd/oomd.conf.d/tuned.conf")
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("[OOM]\nDefaultMemoryPressureDurationSec=1s\nSwapUsedLimit=60%\n")
    vm.undo.append(lambda: conf.unlink(missing_ok=True))
    properties("-", ManagedOOMSwap="kill")
    properties("sideload", ManagedOOMMemoryPressure="kill", ManagedOOMMemoryPressureLimit="10%")
    sh("systemctl", "start", "systemd-oomd.service")


def oomd(vm: VM) -> None:
    OOMD.write_text(json.dumps(OOMD_RULES))
    program = shutil.which("oomd") or "/usr/bin/oomd"
    vm.start("peer", [program, "--interval", "1", "--config", str(OOMD)], slice="system.slice", properties=("MemoryMin=32M",))


def nohang(vm: VM) -> None:
    """Its own configuration, with what it offers beside it: pressure looked at, and who is bad."""
    text = Path("/etc/nohang/nohang.conf").read_text()
    conf = Path("/run/vmtest-nohang.conf")
    conf.write_text(text.replace("psi_checking_enabled = False", "psi_checking_enabled = True")
                    + "\n@BADNESS_ADJ_RE_NAME 900 /// ^cgd-hog$\n@BADNESS_ADJ_RE_NAME -900 /// ^cgd-victim$\n")
    conf.chmod(0o644)
    vm.start("peer", [shutil.which("nohang") or "/usr/sbin/nohang", "--monitor", "--config", str(conf)], slice="system.slice",
             properties=("OOMScoreAdjust=-20", "Nice=-19"))


def cgd(vm: VM) -> None:
    vm.with_cgd()
    vm.wait_sensing()


PEERS: dict[str, Callable[[VM], None]] = {
    "nobody": nobody, "limits known beforehand": static, "MemoryLow= alone": low, "earlyoom": earlyoom,
    "systemd-oomd": systemd_oomd, "systemd-oomd, tuned": systemd_oomd_tuned, "oomd": oomd, "nohang": nohang, "cgd": cgd,
}


def undo(vm: VM) -> None:
    vm.rest()
    sh("systemctl", "stop", "systemd-oomd.service", "systemd-oomd.socket", ok=False)
    for slice in ("workload", "sideload", "-"):
        shutil.rmtree(f"/run/systemd/system.control/{slice}.slice.d", ignore_errors=True)
    if vm.cgd_active():
        vm.without_cgd()
    for slice in ("workload.slice", "sideload.slice"):
        sh("systemctl", "stop", slice, ok=False)
    sh("systemctl", "daemon-reload", timeout=90)


def one(vm: VM, name: str) -> tuple[float, int, float | None]:
    """Kept while the leak lived and after, the longest silence, and when the leak was over."""
    PEERS[name](vm)
    try:
        pair = vm.pair(seconds=SECONDS, lead=LEAD, rate=RATE)
    except Failure as e:
        vm.log(f"{name:24} the service did not live to tell: {e}")
        return 0.0, (SECONDS - LEAD) * 1000, None
    kept = kept_between(pair.result, pair.start, pair.start + SECONDS - LEAD)
    gone = None if pair.gone is None else pair.gone - pair.start
    vm.log(f"{name:24} kept {kept:6.2f} %, silence {pair.result['longest_silence_ms']:5} ms, leak "
           + ("there to the end" if gone is None else f"gone after {gone:.1f} s"))
    return kept, pair.result["longest_silence_ms"], gone


def versions() -> str:
    return sh("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "systemd-oomd", "earlyoom", "nohang", "oomd", ok=False)


@limited(7200)
def test_leak(vm: VM) -> None:
    if not shutil.which("earlyoom"):
        vm.skip("the peers are not installed in this machine")
    vm.log(versions())
    vm.need_cgd()
    vm.without_cgd()
    rounds = ROUNDS if full() else 1
    results: dict[str, list] = {name: [] for name in PEERS}
    for n in range(rounds):
        names = list(PEERS)[n % len(PEERS):] + list(PEERS)[:n % len(PEERS)]
        for name in names:
            try:
                results[name].append(one(vm, name))
            finally:
                undo(vm)
                for f in reversed(vm.undo):
                    f()
                vm.undo.clear()
    vm.with_cgd()
    for name, runs in results.items():
        kept, silence = sorted(r[0] for r in runs), sorted(r[1] for r in runs)
        middle = len(runs) // 2
        for values, what, unit in ((kept, "kept", "%"), (silence, "longest silence", "ms")):
            vm.figure(f"{name}: {what}", values[middle], unit)
            vm.figure(f"{name}: {what}, least", values[0], unit)
            vm.figure(f"{name}: {what}, most", values[-1], unit)
        vm.log(f"{name:24} kept {kept[middle]:.2f} % ({kept[0]:.2f} to {kept[-1]:.2f}), silence {silence[middle]} ms"
               f" ({silence[0]} to {silence[-1]})")
    check(all(results.values()), "somebody was not measured")
