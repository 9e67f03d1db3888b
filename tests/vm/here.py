#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`./dev demo --here`: the main job on this machine, in one bounded slice.

Everything happens below cgddemo.slice, whose MemoryMax= the kernel keeps whatever goes wrong, so the
machine's own services never run short.  cgd runs from the build directory, in a mount namespace of its
own in which the only policies are two that name slices below it; nothing is installed.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "guest")]

import timeline  # noqa: E402
import vmlib  # noqa: E402

# Not cgd-demo.slice: that would be below cgd.slice, where no domain may be.
TOP = "cgddemo.slice"
WORK, SIDE = "cgddemo-work.slice", "cgddemo-side.slice"
UNIT = "cgd-demo.service"
PREFIX = "cgd-demo-"
# At most, and never more than half of what is available; the least with which it shows anything.
BOUND, BOUND_MIN = 512 << 20, 320 << 20
SECONDS = 40
RUNTIME = Path("/run/cgd-demo")
POLICIES = {
    "demo-work.policy": f"[Domain]\nSlice={WORK}\nRank=500\n[Alarm memory]\nMemoryPressureAbove=some 5% over 1s\n"
                        "[Contain]\nMode=monitor\n",
    "demo-side.policy": f"[Domain]\nSlice={SIDE}\nRank=100\n[Contain]\nMode=enforce\n",
}


def reason_against() -> str:
    """Why it cannot be done here, or ''."""
    if os.geteuid() != 0:
        return "this needs root, for it makes slices and sets their limits; run it through sudo"
    if not Path("/run/systemd/system").is_dir():
        return ("systemd does not run this machine (PID 1 is something else);"
                " use './dev demo', which brings a machine along")
    controllers = vmlib.read("/sys/fs/cgroup/cgroup.controllers").split()
    if not controllers:
        return ("the cgroup hierarchy is not unified; boot with systemd.unified_cgroup_hierarchy=1,"
                " or use './dev demo', which brings a machine along")
    if "memory" not in controllers:
        return "the memory controller is missing; boot without cgroup_disable=memory"
    if not Path("/proc/pressure/memory").exists():
        return "the kernel has no PSI; boot with psi=1"
    if vmlib.sh("systemctl", "is-active", vmlib.CGD_UNIT, ok=False).strip() == "active":
        return "cgd runs here already; stop it first with 'systemctl stop cgd.service', or look at 'cgctl status'"
    if bound() < BOUND_MIN:
        return f"less than {2 * BOUND_MIN >> 20} MiB are available; end something first"
    return ""


def bound() -> int:
    return min(BOUND, vmlib.meminfo("MemAvailable") // 2)


class Here:
    """What the demo starts, and its end."""

    def __init__(self, build: Path) -> None:
        self.build = build
        self.bound = bound()
        vmlib.RUN = RUNTIME
        vmlib.TESTS = build / "tests/load"
        vmlib.LOADS = build / "cli/drill"
        self.vm = vmlib.VM(lambda text: print(f"  {text}", flush=True))
        self.vm.prefix = PREFIX

    def slices(self) -> None:
        for name, text in {TOP: f"[Slice]\nMemoryMax={self.bound}\nMemorySwapMax={self.bound}\n", WORK: "[Slice]\n",
                           SIDE: "[Slice]\n"}.items():
            (Path("/run/systemd/system") / name).write_text("[Unit]\nDescription=cgd demo\n" + text)
        vmlib.sh("systemctl", "daemon-reload")
        vmlib.sh("systemctl", "start", TOP, WORK, SIDE)

    def start_cgd(self) -> None:
        policies = RUNTIME / "policies"
        policies.mkdir(exist_ok=True)
        for name, text in POLICIES.items():
            (policies / name).write_text(text)
        hidden = [p for p in ("/etc/cgd", "/usr/local/lib/cgd", "/usr/lib/cgd") if Path(p).is_dir()]
        Path("/run/cgd").mkdir(exist_ok=True)
        options = [f"--property=TemporaryFileSystem={p}" for p in ["/run/cgd", *hidden]]
        vmlib.sh("systemd-run", "--quiet", f"--unit={UNIT}", "--property=Type=notify", "--property=OOMScoreAdjust=-900",
                 "--property=LimitMEMLOCK=infinity", *options,
                 f"--property=BindReadOnlyPaths={policies}:/run/cgd/policies", "--", str(self.build / "daemon/cgd"))

    def cgctl(self, *argv: str) -> str:
        """cgctl in the daemon's own namespace, where its socket is."""
        return vmlib.sh("nsenter", "-t", str(vmlib.main_pid(UNIT)), "-m", str(self.build / "cli/cgctl"), *argv, ok=False)

    def end(self) -> None:
        # What the terminal sends sudo hands on, a second time.
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, signal.SIG_IGN)
        for name in (UNIT, PREFIX + "victim.service", PREFIX + "hog.service", TOP, WORK, SIDE):
            vmlib.sh("systemctl", "kill", "--signal=KILL" if name != UNIT else "--signal=TERM", name, ok=False)
            vmlib.sh("systemctl", "stop", name, ok=False)
            vmlib.sh("systemctl", "reset-failed", name, ok=False)
        for name in (TOP, WORK, SIDE):
            (Path("/run/systemd/system") / name).unlink(missing_ok=True)
        vmlib.sh("systemctl", "daemon-reload", ok=False)
        for watch in self.vm.watches:
            watch.end()
        shutil.rmtree(RUNTIME, ignore_errors=True)


def run(here: Here) -> dict:
    vm, runs = here.vm, []
    options = {"slices": (WORK, SIDE), "seconds": SECONDS, "rate": "100M",
               "victim": {"anon": "128M", "file": "0"}}
    for title, cgd in (("without cgd", False), ("with cgd", True)):
        print(title, flush=True)
        if cgd:
            here.start_cgd()
        runs.append(vm.pair(**options).timeline(title))
        vm.end_units()
        time.sleep(2)
        if cgd and not any(e["kind"] == "hold" for e in runs[-1]["events"]):
            print("cgd did nothing; what it said is in 'journalctl -u cgd-demo.service'", flush=True)
    done = [i["id"] for i in json.loads(here.cgctl("incidents", "--json=short") or "[]") if i["culprit"]]
    return {"runs": runs, "why": here.cgctl("why", *map(str, done[-1:]))}


def main() -> int:
    reason = reason_against()
    if reason:
        print(f"dev demo --here: {reason}", file=sys.stderr)
        return 1
    if sys.argv[1:] == ["--check"]:
        return 0
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _frame: sys.exit(f"dev demo --here: ended by {signal.Signals(number).name}"))
    here = Here(Path(sys.argv[1]).resolve())
    print(f"All of it happens in {TOP}, which may use {here.bound >> 20} MiB.", flush=True)
    try:
        here.slices()
        data = run(here)
    except (vmlib.Failure, vmlib.Skip, subprocess.SubprocessError) as e:
        print(f"dev demo --here: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    finally:
        here.end()
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print("\n" + timeline.draw(data, shutil.get_terminal_size().columns, colour))
    return 0


if __name__ == "__main__":
    sys.exit(main())
