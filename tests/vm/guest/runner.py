# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the scenarios of the job disk inside the machine and reports each as a JSON line."""
from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

JOB = Path("/job")
sys.path.insert(0, str(JOB / "guest"))

import vmlib  # noqa: E402

DEFAULT_LIMIT = 240
# Nothing in a cleanup waits for longer than two minutes; all of it together for this long at the most.
CLEANUP_LIMIT = 300


class Reporter:
    """The way out: one JSON object a line on the virtio port."""

    def __init__(self) -> None:
        self.fd = os.open("/dev/virtio-ports/cgd.results", os.O_WRONLY | os.O_CLOEXEC)

    def send(self, kind: str, **fields) -> None:
        data = (json.dumps({"type": kind, **fields}) + "\n").encode()
        while data:
            data = data[os.write(self.fd, data):]


class Timeout(Exception):
    pass


def on_alarm(_signal, _frame) -> None:
    raise Timeout("the scenario took longer than its limit")


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chosen(name: str, words: list[str]) -> bool:
    return not words or any(w in name for w in words)


def tests_of(path: Path, words: list[str]) -> list[tuple[str, object]]:
    module = load(path)
    found = [(f"{path.stem}.{n[5:]}", f) for n, f in vars(module).items()
             if n.startswith("test_") and callable(f) and (vmlib.FULL or not getattr(f, "only_full", False) or words)]
    return [(name, func) for name, func in found if chosen(name, words)]


def newest_incident(vm: vmlib.VM) -> str:
    """What cgd says of it, if it is there to say anything."""
    try:
        return vm.cgctl("why", ok=False) if vm.cgd_active() else ""
    except Exception as e:
        return f"cgctl why: {e}"


def run_test(name: str, func, report: Reporter) -> None:
    limit = getattr(func, "limit", DEFAULT_LIMIT)
    report.send("start", test=name, limit=limit)
    vm = vmlib.VM(lambda text: report.send("log", text=text))
    vm.data = lambda label, value: report.send("data", test=name, label=label, value=value)
    started, outcome, reason = time.monotonic(), "ok", ""
    signal.alarm(limit)
    try:
        func(vm)
    except vmlib.Skip as e:
        outcome, reason = "skipped", str(e)
    except (AssertionError, Timeout, vmlib.Failure) as e:
        outcome, reason = "failed", str(e) or traceback.format_exc()
    except Exception:
        outcome, reason = "failed", traceback.format_exc()
    signal.alarm(0)
    report.send("cleanup", limit=CLEANUP_LIMIT)
    account = newest_incident(vm) if outcome == "failed" else ""
    try:
        problems = vm.cleanup()
    except Exception:
        problems = [traceback.format_exc()]
    if problems:
        outcome, reason = "failed", "\n".join(filter(None, [reason, *problems]))
    report.send("result", test=name, outcome=outcome, reason=reason, figures=vm.figures,
                seconds=round(time.monotonic() - started, 1),
                journal="\n".join([vm.journal_excerpt(), account]) if outcome == "failed" else "")


def hello(report: Reporter) -> None:
    state = subprocess.run(["systemctl", "is-system-running", "--wait"], capture_output=True, text=True,
                           check=False).stdout.strip()
    version = subprocess.run(["systemctl", "--version"], capture_output=True, text=True,
                             check=False).stdout.split("\n")[0]
    failed = vmlib.failed_units()
    cgd = vmlib.CGD_UNIT in subprocess.run(["systemctl", "list-units", "--plain", "--no-legend", vmlib.CGD_UNIT],
                                           capture_output=True, text=True, check=False).stdout
    report.send("hello", kernel=os.uname().release, systemd=version, state=state, failed=failed, cgd=cgd,
                boot=round(time.clock_gettime(time.CLOCK_BOOTTIME), 1))


def bring_back() -> None:
    for name, argv in {
        "journal.txt": ["journalctl", "-b", "-o", "short-monotonic", "--no-pager"],
        "journal.export": ["journalctl", "-b", "-o", "json", "-u", vmlib.CGD_UNIT, "--no-pager"],
        "dmesg.txt": ["dmesg"],
        "units.txt": ["systemctl", "list-units", "--all", "--no-pager"],
    }.items():
        with open(JOB / "out" / name, "wb") as f:
            subprocess.run(argv, stdout=f, stderr=subprocess.STDOUT, timeout=120, check=False)


def main() -> int:
    job = json.loads((JOB / "job.json").read_text())
    if job["mode"] == "shell":
        return 0
    signal.signal(signal.SIGALRM, on_alarm)
    vmlib.FULL = job["full"]
    report = Reporter()
    hello(report)
    for name in job["files"]:
        try:
            tests = tests_of(JOB / name, job["words"])
        except Exception:
            report.send("result", test=Path(name).stem, outcome="failed", reason=traceback.format_exc(),
                        figures=[], seconds=0, journal="")
            continue
        for test, func in tests:
            if test not in job.get("done", []):
                run_test(test, func, report)
    trouble: list[str] = ["the kernel's log could not be read"]
    try:
        trouble = vmlib.kernel_trouble_since_boot()
        bring_back()
    finally:
        report.send("end", failed=vmlib.failed_units(), kernel=trouble)
        os.sync()
        subprocess.run(["mount", "-o", "remount,ro", "/job"], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["systemctl", "poweroff", "--force", "--force"], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
