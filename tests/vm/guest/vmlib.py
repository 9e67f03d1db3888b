# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a scenario works with: a VM object that starts the service and its neighbour, reads what
happened, and afterwards puts the machine back as it was.

A scenario is a function test_NAME(vm).  It fails by an AssertionError (check()), is skipped by
vm.skip(), and gives its figures with vm.figure().  Whatever it starts through vm is stopped for it.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator

TESTS = Path("/usr/libexec/cgd-tests")
LOADS = Path("/usr/libexec/cgd")
CGROUP = Path("/sys/fs/cgroup")
RUN = Path("/run/vmtest")
POLICIES = Path("/run/cgd/policies")
CGD_UNIT = "cgd.service"
# Every variant, or of each kind one: set by the runner.
FULL = False
# of lib/model/message-id.h
CONTAINED, KILLED, OOM = "54e9aa4b2d944be3a9bc540cd7e33b4b", "64d39d254fb6483797c8a7697dcf5fac", "40e42727efec49f5bcb7a104d82301d4"
LIMITS = ("memory.high", "memory.swap.high", "memory.max", "cgroup.freeze", "io.max")

# vm.dirty_ratio and vm.dirty_background_ratio where nobody sets them.
KERNELS_OWN = 20, 10

# What must never be seen in the kernel's log.  An oom kill is not in it: some scenarios want one.
KERNEL_TROUBLE = re.compile(r"\bWARNING: |\bBUG: |\bOops\b|general protection|blocked for more than|"
                            r"rcu.*\bstall|soft lockup|Kernel panic|EXT4-fs error")
KERNEL_NEWS = re.compile(KERNEL_TROUBLE.pattern + "|Out of memory|oom-kill|Memory cgroup out")


class Skip(Exception):
    pass


class Failure(Exception):
    pass


def check(condition: object, text: str) -> None:
    if not condition:
        raise Failure(text)


def limited(seconds: int):
    """The scenario may take that long."""
    def mark(func):
        func.limit = seconds
        return func
    return mark


def only_full(func):
    """Runs when it is named, or when everything is asked for."""
    func.only_full = True
    return func


def full() -> bool:
    return FULL


def sh(*argv: str, timeout: float = 60, ok: bool = True) -> str:
    """Run a command; its output.  With ok, a failing command fails the scenario."""
    p = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    if ok and p.returncode != 0:
        raise Failure(f"{' '.join(argv)}: exit {p.returncode}: {p.stderr.strip() or p.stdout.strip()}")
    return p.stdout


def kernel_log(after: float = -1) -> list[str]:
    """The kernel's lines whose time is later than that.  By time, for the oldest lines leave the kernel's buffer."""
    lines, when = [], -1.0
    for line in sh("dmesg", ok=False).splitlines():
        if found := re.match(r"\[ *(\d+\.\d+)\]", line):
            when = float(found[1])
        if when > after:
            lines.append(line)
    return lines


def kernel_now() -> float:
    """The time of the kernel's last line."""
    return max((float(when) for when in re.findall(r"^\[ *(\d+\.\d+)\]", sh("dmesg", ok=False), re.M)), default=-1.0)


def kernel_trouble_since_boot() -> list[str]:
    """From the journal, which keeps what the kernel's buffer has lost, and from the buffer what journald has not read yet."""
    sh("journalctl", "--sync", ok=False)
    journal = sh("journalctl", "-k", "-b", "-o", "cat", "--no-pager", timeout=100, ok=False).splitlines()
    buffer = [re.sub(r"^\[ *\d+\.\d+\] ", "", line) for line in kernel_log()]
    return [line for line in dict.fromkeys(journal + buffer) if KERNEL_TROUBLE.search(line)]


def doing(unit: str) -> str:
    """What a unit's main process does at this moment, for the account of a failure: its files, and the kernel's
    backtrace of each processor, for one that runs has no stack to read."""
    pid = sh("systemctl", "show", "--value", "--property=MainPID", unit, ok=False).strip()
    files = [f"{name}: {text}" for name in ("stat", "wchan", "syscall", "stack") if (text := read(f"/proc/{pid}/{name}"))]
    before = kernel_now()
    Path("/proc/sysrq-trigger").write_text("l")
    time.sleep(1)
    return "\n".join(files + [line for line in kernel_log(before) if "? " not in line])


class NoFigures(Failure):
    """The service did not live to tell."""


class Stuck(Failure):
    """A program of a scenario does not do what it was started for; spins: it runs in the kernel and gets nothing."""

    def __init__(self, unit: str, what: str, spins: bool = False) -> None:
        super().__init__(f"{unit}: {what}; it does:\n{doing(unit)}")
        self.unit = unit
        self.spins = spins


def main_pid(unit: str) -> int:
    """0: it does not run."""
    return int(sh("systemctl", "show", "--value", "--property=MainPID", unit).strip() or 0)


def failed_units() -> list[str]:
    out = sh("systemctl", "list-units", "--failed", "--plain", "--no-legend", ok=False)
    return [line.split()[0] for line in out.splitlines() if line.strip()]


def cgd_installed() -> bool:
    return Path("/usr/bin/cgctl").exists() and bool(sh("systemctl", "cat", CGD_UNIT, ok=False))


def read(path: Path | str) -> str:
    """A file's text, or '' if it is gone."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def meminfo(name: str) -> int:
    """A line of /proc/meminfo in bytes."""
    return int(re.search(rf"^{name}:\s+(\d+)", read("/proc/meminfo"), re.M)[1]) << 10


def monotonic() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def wait(condition: Callable[[], object], timeout: float, period: float = 0.2):
    """Poll until condition() is true; its value, or None when the time is over."""
    end = monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if monotonic() >= end:
            return None
        time.sleep(period)


def size(text: str | int) -> int:
    """'64M' -> bytes"""
    if isinstance(text, int):
        return text
    shift = {"K": 10, "M": 20, "G": 30}.get(text[-1])
    return int(text[:-1]) << shift if shift else int(text)


def kept_between(result: dict, start: float, end: float) -> float:
    """Percent of the requests between two moments (CLOCK_MONOTONIC seconds) that were served."""
    width = result["bucket_ms"] / 1000
    first = max(0, int((start - result["t0_usec"] / 1e6) / width))
    last = min(len(result["buckets"]) - 1, int((end - result["t0_usec"] / 1e6) / width))
    planned = (last - first) * result["rate"] * width
    return round(min(100.0, 100 * sum(result["buckets"][first:last]) / planned), 2) if planned > 0 else 100.0


def switches(pid: int) -> int:
    """Times that its threads went to sleep, which each wakeup ends in; that others took the processor meanwhile is none."""
    total = 0
    for task in sh("ls", f"/proc/{pid}/task").split():
        total += sum(int(n) for n in re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", read(f"/proc/{pid}/task/{task}/status"), re.M))
    return total


def slice_path(name: str) -> str:
    """a-b.slice -> a.slice/a-b.slice"""
    parts = name.removesuffix(".slice").split("-")
    return "/".join("-".join(parts[:i + 1]) + ".slice" for i in range(len(parts)))


def mib(text: str) -> str:
    return f"{int(text) >> 20} MiB" if text.isdigit() else text


class Unit:
    """A unit that a scenario started."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = CGROUP / self.show("ControlGroup").lstrip("/")

    def show(self, prop: str) -> str:
        return sh("systemctl", "show", "--value", "--property", prop, self.name).strip()

    def active(self) -> bool:
        return self.show("ActiveState") in ("active", "activating", "deactivating", "reloading")

    def alive(self) -> bool:
        """Cheaper than active(): asks the kernel only."""
        return "populated 1" in read(self.path / "cgroup.events")

    def memory(self) -> int:
        return self.number("memory.current") + self.number("memory.swap.current")

    def number(self, name: str) -> int:
        """A file of one number; without a limit it is huge, without the file 0."""
        text = read(self.path / name)
        return 1 << 62 if text == "max" else int(text or 0)

    def high(self) -> str:
        return read(self.path / "memory.high")

    def enough(self) -> None:
        """A neighbour wants no more from now on, and lives on."""
        for pid in read(self.path / "cgroup.procs").split():
            os.kill(int(pid), signal.SIGUSR1)

    def limited(self) -> list[str]:
        """What holds it, in the kernel's files and in what systemd would write there again; [] if nothing does."""
        found = [f"{name} {read(self.path / name)}" for name in ("memory.high", "memory.swap.high")
                 if read(self.path / name) != "max"]
        said = self.show("MemoryHigh")
        return found + [f"MemoryHigh={said}"] * (said != "infinity")

    def kernel_seconds(self) -> float:
        """CPU time that it has spent in the kernel."""
        found = re.search(r"system_usec (\d+)", read(self.path / "cpu.stat"))
        return int(found[1]) / 1e6 if found else 0.0

    def spins(self) -> bool:
        """It runs in the kernel all the time and gets nothing, which takes seconds to see."""
        spinning = Spinning(self)
        return bool(wait(lambda: spinning.seen(monotonic()), 6, 0.5))

    def wait_gone(self, timeout: float) -> float | None:
        """Seconds (CLOCK_MONOTONIC) at which it was seen gone, None if it is still there."""
        return monotonic() if wait(lambda: not self.alive(), timeout, 0.1) else None

    def stop(self) -> None:
        sh("systemctl", "kill", "--signal=KILL", self.name, ok=False)
        sh("systemctl", "stop", self.name, ok=False)

    def discard(self) -> None:
        """As if it had not been started."""
        self.stop()
        sh("systemctl", "reset-failed", self.name, ok=False)


class Spinning:
    """Looks whether a program that nobody holds runs in the kernel for seconds and gets no memory."""
    SECONDS = 5

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.since = self.spent = 0.0
        self.memory = -1 << 40

    def seen(self, now: float) -> bool:
        memory = self.unit.memory()
        if abs(memory - self.memory) > 1 << 20 or self.unit.high() not in ("max", ""):
            self.since, self.spent, self.memory = now, self.unit.kernel_seconds(), memory
        elif now - self.since > self.SECONDS:
            spent, since = self.unit.kernel_seconds() - self.spent, now - self.since
            self.since, self.spent = now, self.unit.kernel_seconds()
            return spent > 0.8 * since
        return False


class Victim(Unit):
    """The service: cgd-victim in a slice.  Its figures are there after finish()."""

    def __init__(self, name: str, output: Path, seconds: int) -> None:
        super().__init__(name)
        self.output = output
        self.end = monotonic() + seconds if seconds else 0.0

    def finish(self) -> dict:
        """Wait for its end, or end it now if it was started without one; its figures."""
        if self.end:
            wait(self.output.exists, self.end - monotonic() + 30)
        if not self.output.exists():
            sh("systemctl", "kill", "--signal=TERM", self.name, ok=False)
        if not wait(self.output.exists, 60):
            raise NoFigures(f"{self.name} left no figures: {self.show('Result')}")
        sh("systemctl", "stop", self.name, ok=False)
        return json.loads(self.output.read_text())


class Watch:
    """cgd-watch running beside: every change of a limit of every cgroup, with its time."""

    def __init__(self, name: str, follow: str = "", unwatched: str = "") -> None:
        self.output = RUN / f"{name}.jsonl"
        # One before it may have had the same name.
        self.output.unlink(missing_ok=True)
        argv = [str(TESTS / "cgd-watch"), f"--output={self.output}"]
        if follow:
            argv.append(f"--follow={follow}")
        if unwatched:
            argv.append(f"--except={unwatched}")
        self.process = subprocess.Popen(argv)

    def looks(self) -> bool:
        """It has looked at every cgroup once; what changes from now on it sees."""
        return self.output.exists() and bool(self.samples())

    def end(self) -> list[str]:
        """Returns what was wrong with it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        # 0 is what it says when it was told to end, and never else.
        return [f"cgd-watch ended by itself: {self.process.returncode}"] if self.process.returncode else []

    def stop(self) -> "Watch":
        """That it saw nothing proves something only if it looked on until now."""
        wrong = self.end()
        check(not wrong, "\n".join(wrong))
        return self

    def records(self) -> Iterator[dict]:
        with open(self.output, encoding="utf-8", errors="replace") as f:
            for line in f:
                try:
                    yield json.loads(line)
                except ValueError:
                    pass

    def changes(self, path: str | None = None) -> list[dict]:
        """Records {t, path, file, old, new}; of one cgroup and what is below it, or of all.  Without an old value is what
        was there already when it began, or may be a new unit's own setting."""
        return [r for r in self.records() if "file" in r and r.get("old") is not None
                and (path is None or r["path"] == path or r["path"].startswith(path + "/"))]

    def samples(self) -> list[dict]:
        return [r for r in self.records() if "avail_kb" in r]


class Pair:
    """One run of the service beside its neighbour, and what was seen of it."""

    def __init__(self, vm: "VM", seconds: int, lead: float, slices: tuple[str, str], shape: str,
                 victim: dict, hog: dict, unwatched: str = "") -> None:
        self.vm = vm
        self.before = vm.limits()
        self.watch = vm.watch(follow=slice_path(slices[1]), unwatched=unwatched)
        self.service = vm.victim(slice=slices[0], seconds=seconds, **victim)
        time.sleep(lead)
        self.start = monotonic()
        self.hog = vm.hog(shape, slice=slices[1], **({"seconds": seconds} | hog))
        self.hog_path = "/" + str(self.hog.path.relative_to(CGROUP))
        self.gone: float | None = None
        self.follow(seconds - lead)
        self.result = self.service.finish()

    def follow(self, seconds: float) -> None:
        """Until the service's time is over; tells how it goes every few seconds."""
        told = looked = 0.0
        spinning = Spinning(self.hog)
        while (now := monotonic()) < self.start + seconds:
            if self.gone is None and now - looked >= 1 and (looked := now) and spinning.seen(now):
                self.watch.stop()
                self.service.discard()
                raise Stuck(self.hog.name, f"nobody holds it, and it stays at {self.hog.memory() >> 20} MiB",
                            spins=True)
            if self.gone is None and not self.hog.alive():
                self.gone = now
                self.vm.log(f"{now - self.start:5.1f} s  the neighbour is gone")
            elif self.gone is None and now - told >= 5:
                told = now
                self.vm.log(f"{now - self.start:5.1f} s  the neighbour has {self.hog.memory() >> 20} MiB"
                            f" (limit {mib(self.hog.high())}), available {meminfo('MemAvailable') >> 20} MiB,"
                            f" swap free {meminfo('SwapFree') >> 20} MiB")
            time.sleep(0.1)

    def changes(self) -> list[dict]:
        """What was changed at the neighbour, its slice and what is below it, in order."""
        self.watch.stop()
        slice_path = self.hog_path.rsplit("/", 1)[0]
        return [r for r in self.watch.changes(slice_path)]

    def bystanders(self) -> list[dict]:
        """What was changed anywhere else."""
        self.watch.stop()
        slice_path = self.hog_path.rsplit("/", 1)[0]
        return [r for r in self.watch.changes() if r["path"] != slice_path
                and not r["path"].startswith(slice_path + "/")]

    def events(self) -> list[dict]:
        """The changes in the words of the timeline."""
        events = []
        for r in self.changes():
            if r["file"] != "memory.high":
                continue
            old, new = (None if v == "max" else int(v) for v in (r["old"], r["new"]))
            kind = ("release" if new is None else "hold" if old is None else
                    "squeeze" if new < old else "raise")
            events.append({"t_usec": r["t"], "kind": kind, "bytes": new})
        if self.gone is not None:
            end = int(self.gone * 1e6)
            events = [e for e in events if e["t_usec"] < end] + [{"t_usec": end, "kind": "gone"}]
        return events

    def first_step(self) -> float | None:
        """Seconds from the neighbour's start to the first change of its limits."""
        changes = self.changes()
        return changes[0]["t"] / 1e6 - self.start if changes else None

    def cause(self, within: float = 2.0) -> float | None:
        """When, in seconds from the neighbour's start, memory would first have lasted less than `within` at the rate of
        the last half second; seen by cgd-watch, which knows nothing of cgd."""
        self.watch.stop()
        points: list[tuple[float, int]] = []
        for r in self.watch.samples():
            now, avail = r["t"] / 1e6, r["avail_kb"]
            points = [p for p in points if p[0] >= now - 0.55] + [(now, avail)]
            then, before = points[0]
            if now > self.start and now - then >= 0.35 and before - avail > 2048 \
                    and avail * (now - then) / (before - avail) <= within:
                return now - self.start
        return None

    def timeline(self, title: str) -> dict:
        self.watch.stop()
        return {"title": title, "victim": self.result, "start_usec": int(self.start * 1e6),
                "events": self.events(),
                "memory": [[s["t"], s["follow_bytes"] + s.get("follow_swap", 0)]
                           for s in self.watch.samples()[::5] if "follow_bytes" in s]}


class VM:
    """The machine, as seen by one scenario."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.log = log
        self.data: Callable[[str, object], None] = lambda label, value: None
        self.figures: list[list] = []
        self.units: list[Unit] = []
        self.watches: list[Watch] = []
        self.declared: set[str] = set()
        self.dropins: list[Path] = []
        self.prefix = ""
        self.undo: list[Callable[[], None]] = []
        self.dirty_changed = False
        shutil.rmtree(RUN, ignore_errors=True)
        RUN.mkdir(parents=True)
        self.cursor = self.journal_cursor()
        self.cgd_was_active = self.cgd_active()
        self.kernel_since = kernel_now()

    # -- reporting ---------------------------------------------------------------------------------
    def figure(self, name: str, value: float | int | str, unit: str = "") -> None:
        self.figures.append([name, value, unit])

    def skip(self, reason: str) -> None:
        raise Skip(reason)

    def expect_failed(self, unit: str) -> None:
        """That unit may be failed at the end; everything else must not."""
        self.declared.add(unit)

    # -- the service and its neighbour -------------------------------------------------------------
    def start(self, name: str, argv: list[str], *, slice: str, properties: tuple[str, ...] = (),
              cls: type = Unit, **more) -> Unit:
        """A transient service NAME.service; tracked, and stopped afterwards."""
        unit = f"{self.prefix}{name}.service"
        self.declared.add(unit)
        options = [f"--property={p}" for p in properties]
        command = ["systemd-run", "--quiet", f"--unit={unit}", f"--slice={slice}", *options, "--", *argv]

        def attempt() -> None:
            try:
                sh(*command, timeout=70)
            except subprocess.TimeoutExpired:
                raise Stuck(unit, "it does not come up") from None

        self.once_more(attempt)
        made = cls(unit, **more)
        self.units.append(made)
        return made

    def victim(self, slice: str = "workload.slice", name: str = "victim", seconds: int = 0,
               anon: str = "160M", file: str = "64M", options: tuple[str, ...] = (), properties: tuple[str, ...] = ()) -> Victim:
        """Start the service; returns once its working set is warm and its clock runs."""
        output = RUN / f"{name}.json"
        argv = [str(LOADS / "cgd-victim"), f"--anon={anon}", f"--output={output}", *options]
        if size(file):
            argv.append(f"--file=/data/{name}.dat:{file}")
        if seconds:
            argv.append(f"--seconds={seconds}")
        return self.start(name, argv, slice=slice, cls=Victim, output=output, seconds=seconds,
                          properties=("Type=notify", "TimeoutStartSec=80", *properties))

    def hog(self, shape: str = "leak", slice: str = "sideload.slice", name: str = "hog",
            properties: tuple[str, ...] = (), **options) -> Unit:
        """Start a neighbour: vm.hog('leak', rate='100M', total='400M', seconds=60)."""
        argv = [str(LOADS / "cgd-hog"), shape]
        argv += [f"--{k.replace('_', '-')}={v}" for k, v in options.items()]
        return self.start(name, argv, slice=slice, properties=properties)

    def held_hog(self, timeout: float = 40, name: str = "hog", may_be_gone: bool = False, **options) -> Unit:
        """A leak that is being held; only where the caller says so, one that is gone already will do."""
        def attempt() -> Unit:
            hog = self.hog("leak", name=name, **options)
            if not wait(lambda: hog.high() not in ("max", "") or not hog.alive(), timeout, 0.05):
                raise Stuck(hog.name, f"it was never held, and has {hog.memory() >> 20} MiB")
            check(may_be_gone or hog.alive(), f"{hog.name} was gone before it could be looked at: {hog.show('Result')}")
            return hog

        return self.once_more(attempt)

    def once_more(self, attempt: Callable[[], object]):
        """attempt(), and a second time where the program ran in the kernel all the while and got nothing, which is the
        emulation's doing: see ACCELERATOR in qemu.py."""
        try:
            return attempt()
        except Stuck as e:
            unit = Unit(e.unit)
            if not e.spins and not unit.spins():
                raise
            self.log(f"{e}\nOnce more.")
            unit.discard()
            return attempt()

    def watch(self, follow: str = "", name: str = "watch", unwatched: str = "") -> Watch:
        watch = Watch(name, follow, unwatched)
        self.watches.append(watch)
        check(wait(watch.looks, 20, 0.05), "cgd-watch does not begin to look")
        return watch

    def pair(self, *, seconds: int = 40, lead: float = 3,
             slices: tuple[str, str] = ("workload.slice", "sideload.slice"),
             shape: str = "leak", victim: dict | None = None, unwatched: str = "", **hog) -> "Pair":
        """The main job: the service, and after lead seconds its neighbour.  Waits for the end of both.  What changes in
        `unwatched` is not seen while it runs."""
        return self.once_more(lambda: Pair(self, seconds, lead, slices, shape, victim or {}, hog, unwatched))

    def victim_figures(self, result: dict, prefix: str = "") -> None:
        self.figure(prefix + "kept", round(result["kept_permyriad"] / 100, 2), "%")
        self.figure(prefix + "longest silence", result["longest_silence_ms"], "ms")
        self.figure(prefix + "p99", round(result["p99_usec"] / 1000, 1), "ms")

    # -- cgd ---------------------------------------------------------------------------------------
    def need_cgd(self) -> None:
        if not cgd_installed():
            self.skip("cgd is not installed")

    def wait_sensing(self) -> None:
        """Until the BPF programs are loaded or refused, which a calm heartbeat or two begin."""
        def done() -> bool:
            sensing = self.sensing()
            return not any("is being loaded" in (r or "") for r in (sensing["reason"], sensing["memory_watch"]["reason"], sensing["exec"]["reason"],
                                                                          sensing["io_credit"]["reason"]))
        check(wait(done, 90, 1), "the BPF programs are not loaded, nor refused")

    def sensing(self) -> dict:
        return self.cgctl_json("status")["sensing"]

    def resident(self) -> int:
        """KiB of cgd."""
        return int(re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{self.cgd_pid()}/status"))[1])

    def cgd_active(self) -> bool:
        return sh("systemctl", "is-active", CGD_UNIT, ok=False).strip() == "active"

    def cgd_pid(self) -> int:
        return main_pid(CGD_UNIT)

    def start_cgd(self) -> None:
        sh("systemctl", "start", CGD_UNIT)

    def stop_cgd(self) -> float:
        """Stops it; seconds it took."""
        began = monotonic()
        sh("systemctl", "stop", CGD_UNIT)
        return monotonic() - began

    def cgctl(self, *argv: str, ok: bool = True, timeout: float = 120) -> str:
        return sh("cgctl", *argv, ok=ok, timeout=timeout)

    def cgctl_json(self, *argv: str, timeout: float = 120):
        return json.loads(self.cgctl(*argv, "--json=short", timeout=timeout) or "null")

    def policy(self, name: str, text: str, reload: bool = True) -> None:
        """A drop-in for NAME.policy (or, when NAME ends in .policy, a whole file) for this scenario."""
        path = POLICIES / name if name.endswith(".policy") else POLICIES / f"{name}.policy.d" / "90-test.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.dropins.append(path)
        if reload:
            self.reload_policies()

    def mask_policy(self, name: str) -> None:
        path = POLICIES / f"{name}.policy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/dev/null")
        self.dropins.append(path)

    def reload_policies(self) -> None:
        sh("systemctl", "daemon-reload", timeout=90)
        if self.cgd_active():
            self.cgctl("reload")

    def let_dirty(self, ratio: int, background_ratio: int) -> None:
        """How much of the page cache may be dirty, in percent, for the rest of this scenario or until with_cgd()."""
        for name, value in (("dirty_background_ratio", background_ratio), ("dirty_ratio", ratio)):
            Path("/proc/sys/vm", name).write_text(str(value))
        self.dirty_changed = True

    def let_dirty_as_installed(self) -> None:
        # Not by systemctl restart, which may be done five times in ten seconds.
        sh("/usr/lib/systemd/systemd-sysctl")
        self.dirty_changed = False

    def without_cgd(self) -> None:
        """Take cgd and all it sets away, for the rest of this scenario or until with_cgd()."""
        if not cgd_installed():
            return
        self.let_dirty(*KERNELS_OWN)
        self.stop_cgd()
        for path in Path("/usr/lib/cgd/policies").glob("*.policy"):
            self.mask_policy(path.stem)
        sh("systemctl", "daemon-reload", timeout=90)
        for name in ("workload", "sideload", "hostcritical", "system", "user"):
            sh("systemctl", "revert", f"{name}.slice", ok=False)

    def with_cgd(self) -> None:
        """As installed and started at boot."""
        self.need_cgd()
        self.drop_policies()
        self.let_dirty_as_installed()
        sh("systemctl", "daemon-reload", timeout=90)
        sh("systemctl", "start", CGD_UNIT)

    def drop_policies(self) -> None:
        for path in self.dropins:
            path.unlink(missing_ok=True)
        self.dropins.clear()

    def journal_cursor(self) -> str:
        out = sh("journalctl", "-n0", "--show-cursor", ok=False)
        return out.split("cursor: ")[-1].strip() if "cursor: " in out else ""

    def journal(self, *matches: str) -> list[dict]:
        """The journal's entries since the scenario began."""
        # Not --after-cursor: with matches, systemd 252 leaves out the first entry that matches.
        out = sh("journalctl", "-o", "json", "--no-pager", f"--cursor={self.cursor}", *matches, ok=False)
        entries = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return [e for e in entries if e["__CURSOR"] != self.cursor]

    def journal_excerpt(self, lines: int = 60) -> str:
        """The end of what was logged meanwhile, without the tables of an oom dump."""
        out = sh("journalctl", "-o", "short-monotonic", "--no-pager", f"--after-cursor={self.cursor}", ok=False)
        wanted = [line for line in out.splitlines() if not line.startswith(" " * 10)
                  and (" kernel: " not in line or KERNEL_NEWS.search(line))]
        return "\n".join(wanted[-lines:])

    # -- the machine -------------------------------------------------------------------------------
    def cgroups(self) -> list[str]:
        # os.walk() passes over what goes meanwhile; rglob() of Python 3.11 raises.
        return sorted("/" + os.path.relpath(path, CGROUP) for path, _, _ in os.walk(CGROUP) if path != str(CGROUP))

    def limits(self) -> dict[str, dict[str, str]]:
        """LIMITS of every cgroup, to compare before and after."""
        found = {path: {f: read(CGROUP / path.lstrip("/") / f) for f in LIMITS} for path in self.cgroups()}
        # One that went meanwhile has no limits that anybody could have changed.
        return {path: values for path, values in found.items() if values["cgroup.freeze"]}

    def changed_limits(self, before: dict[str, dict[str, str]]) -> list[str]:
        """What differs now from before, of the cgroups that are in both."""
        now = self.limits()
        return [f"{path}/{f}: {before[path][f]} -> {now[path][f]}" for path in sorted(before)
                if path in now for f in LIMITS if before[path][f] != now[path][f]]

    def pressure(self, path: str = "", what: str = "memory", kind: str = "some") -> int:
        """Total stall time in microseconds, of the host or of one cgroup."""
        text = read(CGROUP / path.lstrip("/") / f"{what}.pressure" if path else f"/proc/pressure/{what}")
        found = re.search(rf"^{kind} .*total=(\d+)", text, re.M)
        return int(found[1]) if found else 0

    def settle(self, timeout: float = 20) -> None:
        """Wait until nothing stalls any more, so that one scenario does not weigh on the next."""
        def calm() -> bool:
            before = self.pressure()
            time.sleep(1)
            return self.pressure() - before < 10_000
        wait(calm, timeout, 0)

    def end_units(self) -> None:
        names = [u.name for u in self.units]
        if names:
            sh("systemctl", "kill", "--signal=KILL", *names, ok=False)
            sh("systemctl", "stop", *names, ok=False, timeout=120)
            sh("systemctl", "reset-failed", *names, ok=False)
        self.units.clear()

    def rest(self) -> None:
        """End what was started and let the machine come to rest, between two parts of one scenario."""
        self.end_units()
        for watch in self.watches:
            watch.end()
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        self.settle()

    # -- incidents ---------------------------------------------------------------------------------
    def incidents(self) -> list[dict]:
        """Those that began since the scenario did, the newest first."""
        ids = {int(e["CGD_INCIDENT_ID"]) for e in self.journal() if "CGD_INCIDENT_ID" in e}
        return [i for i in self.cgctl_json("incidents") or [] if i["id"] in ids]

    def culprits(self) -> set[str]:
        """Everyone that was contained or killed since the scenario began, from the journal."""
        return {e["CGD_CULPRIT"] for e in self.journal()
                if e.get("MESSAGE_ID") in (CONTAINED, KILLED) and "CGD_CULPRIT" in e}

    def kills(self) -> int:
        return sum(e.get("MESSAGE_ID") == KILLED for e in self.journal())

    def why(self) -> str:
        """The account of the incident that went furthest: the one that killed, else the first that contained."""
        entries = [e for e in self.journal() if "CGD_CULPRIT" in e and "CGD_INCIDENT_ID" in e]
        entries.sort(key=lambda e: e.get("MESSAGE_ID") != KILLED)
        return self.cgctl("why", entries[0]["CGD_INCIDENT_ID"], ok=False) if entries else ""

    def cleanup(self) -> list[str]:
        """Put everything back; returns what was wrong."""
        problems = []
        self.end_units()
        for watch in self.watches:
            problems += watch.end()
        for step in reversed(self.undo):
            step()
        if self.cgd_was_active and self.kills():
            # A budget of kills spent here must not decide the next scenario.
            sh("systemctl", "stop", CGD_UNIT, ok=False)
        if self.dirty_changed:
            self.let_dirty_as_installed()
        changed = bool(self.dropins)
        self.drop_policies()
        if changed:
            sh("systemctl", "daemon-reload", ok=False)
        if self.cgd_was_active:
            if not self.cgd_active():
                sh("systemctl", "reset-failed", CGD_UNIT, ok=False)
                sh("systemctl", "start", CGD_UNIT, ok=False)
            elif changed:
                self.cgctl("reload", ok=False)
        for path in Path("/data").glob("*.dat"):
            path.unlink()
        for unit in failed_units():
            if unit not in self.declared:
                problems.append(f"{unit} is failed")
            sh("systemctl", "reset-failed", unit, ok=False)
        problems += self.kernel_trouble()
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
        self.settle()
        return problems

    def kernel_trouble(self) -> list[str]:
        return [f"kernel: {line}" for line in kernel_log(self.kernel_since) if KERNEL_TROUBLE.search(line)][:5]
