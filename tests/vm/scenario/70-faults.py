# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a machine does to a daemon: each fault costs what it must and nothing else."""
import ctypes
import fcntl
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from vmlib import CGD_UNIT, CGROUP, RUN, VM, check, limited, monotonic, read, sh, wait

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"
# of lib/model/message-id.h
ACTION_FAILED, NOT_CONTAINED = "78e35d90e5024bea97e71ce3cca37f97", "433d0a0ecd9c4d959ce42c204ac7a6a1"
DRIFTED = "a38f4253485a4a33a044bdf21bf535d7"


def test_second_daemon(vm: VM) -> None:
    """It leaves at once, with the reason, and the first does not notice."""
    vm.need_cgd()
    pid = vm.cgd_pid()
    began = monotonic()
    program = re.search(r"path=(\S+)", vm_exec())[1]
    p = subprocess.run([program], capture_output=True, text=True, timeout=20, check=False)
    check(p.returncode != 0, "a second cgd ran")
    check(monotonic() - began < 5, "it took its time to leave")
    check(p.stderr.strip(), "it did not say why")
    check(vm.cgd_pid() == pid and vm.cgd_active(), "the first was hurt")
    vm.cgctl("status")


def test_starts_beside_a_release(vm: VM) -> None:
    """A `cgd --release` that an operator runs just then holds the lock for a moment: cgd waits for it."""
    vm.need_cgd()
    vm.stop_cgd()
    with open("/run/cgd/lock", "r+b") as f:
        fcntl.lockf(f, fcntl.LOCK_EX)
        sh("systemctl", "start", "--no-block", CGD_UNIT)
        check(wait(vm.cgd_pid, 20, 0.05), "it was not started")
        # Half of what it waits.
        time.sleep(1)
    check(wait(vm.cgd_active, 20, 0.2), "it left for good")


def vm_exec() -> str:
    return sh("systemctl", "show", "--property=ExecStart", CGD_UNIT)


def test_unprivileged(vm: VM) -> None:
    """Anyone may look; nobody but root and the group cgd may change."""
    vm.need_cgd()
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cgctl"]
    sh(*as_nobody, "status")
    for verb in (["reload"], ["set-mode", "sideload", "off"]):
        p = subprocess.run([*as_nobody, *verb], capture_output=True, text=True, timeout=40, check=False)
        check(p.returncode == 1 and p.stderr.strip(), f"{verb}: exit {p.returncode}: {p.stderr}")
    modes = {d.get("name"): d.get("mode") for d in vm.cgctl_json("domains")}
    check(modes.get("sideload", modes.get("sideload.slice")) == "enforce", f"the mode was changed: {modes}")


def test_strange_names(vm: VM) -> None:
    """ESC, broken UTF-8 and spaces in a cgroup's name reach no terminal as they are."""
    vm.need_cgd()
    path = os.fsencode(CGROUP) + b"/sideload.slice/we\x1b[31mird \xff\xfe\"name"
    (CGROUP / "sideload.slice").mkdir(exist_ok=True)
    os.mkdir(path)
    vm.undo.append(lambda: os.rmdir(path))
    time.sleep(1)
    out = subprocess.run(["cgctl", "tree"], capture_output=True, timeout=30, check=False)
    check(out.returncode == 0, f"cgctl tree: {out.stderr!r}")
    check(b"\x1b[31mird" not in out.stdout and b"\xff" not in out.stdout, "it was shown as it is")
    out.stdout.decode("utf-8")
    vm.cgctl_json("tree")


def test_vanishing_cgroups(vm: VM) -> None:
    """Cgroups come and go while an incident runs: no line about it, no failure."""
    vm.need_cgd()
    vm.victim()
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            path = CGROUP / "sideload.slice" / f"churn-{number % 50}"
            try:
                path.mkdir() if not path.exists() else path.rmdir()
            except OSError:
                pass
            number += 1
            time.sleep(0.005)
        for path in (CGROUP / "sideload.slice").glob("churn-*"):
            path.rmdir()

    hog = vm.hog("leak", rate="100M", seconds=120)
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        held = wait(lambda: hog.high() not in ("max", "") or not hog.alive(), 60, 0.1)
        time.sleep(5)
    finally:
        stop.set()
        thread.join()
    check(held, "nothing was done")
    check(vm.cgd_active(), "cgd did not survive it")
    check(all("churn" not in c for c in vm.culprits()), "an empty cgroup was blamed")


@limited(400)
def test_run_is_full(vm: VM) -> None:
    """No place for the lease file: what cannot be written down is not done and the journal says why, or done and undone."""
    vm.need_cgd()
    # One that was killed would not show what was given back to it.
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    before = vm.limits()
    vm.victim(anon="120M", file="32M")
    filler = Path("/run/filler")
    # Started before, for systemd itself can start nothing once /run is full.
    hog = vm.hog("leak", rate="100M", seconds=300, delay=15)
    sh("mount", "-o", "remount,size=40M", "/run")
    vm.undo.append(lambda: sh("mount", "-o", "remount,size=20%", "/run", ok=False))
    vm.undo.append(lambda: filler.unlink(missing_ok=True))
    with open(filler, "wb", buffering=0) as f:
        try:
            while f.write(b"x" * 4096):
                pass
        except OSError:
            pass
    check(hog.high() == "max", "it was held before /run was full")

    def refused() -> list[str]:
        return [e["MESSAGE"] for e in vm.journal() if e.get("MESSAGE_ID") in (ACTION_FAILED, NOT_CONTAINED)
                and hog.name in e.get("CGD_CULPRIT", "") + e["MESSAGE"]]
    held = wait(lambda: hog.high() not in ("max", ""), 80, 0.1)
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    check(held or refused(), "it was not held, and nobody said why")
    vm.figure("while /run is full it is", "held" if held else "left, and the journal says so")
    # What systemd could not be told of is told to it when there is room again, or is over.
    time.sleep(5)
    check(vm.cgd_active(), "cgd did not survive a full /run")
    hog.enough()
    filler.unlink()
    check(wait(lambda: not hog.limited(), 60, 0.5), f"not given back: {hog.limited()}")
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    hog.stop()
    check(wait(lambda: not vm.changed_limits(before), 40, 0.5), f"left changed: {vm.changed_limits(before)}")


@limited(400)
def test_bus_is_down(vm: VM) -> None:
    """Without a broker the private socket serves, and an incident is handled all the same."""
    vm.need_cgd()
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    before = vm.limits()
    vm.victim()
    hog = vm.hog("leak", rate="100M", seconds=300)
    broker = "dbus.service"
    sh("systemctl", "stop", "dbus.socket", broker)
    vm.undo.append(lambda: sh("systemctl", "start", "dbus.socket", broker, ok=False))
    check(wait(lambda: hog.high() not in ("max", ""), 60, 0.1), "nothing was done")
    vm.cgctl("status")
    hog.enough()
    check(wait(lambda: hog.high() == "max", 60, 0.2), f"not given back without a broker: {hog.limited()}")
    sh("systemctl", "start", "dbus.socket", broker)
    check(wait(lambda: not hog.limited(), 30, 0.5), f"not given back: {hog.limited()}")
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    hog.stop()
    check(wait(lambda: not vm.changed_limits(before), 40, 0.5), f"left changed: {vm.changed_limits(before)}")
    check(wait(lambda: "org.cgd1" in sh("busctl", "list", ok=False), 30), "it did not come back to the bus")


@limited(400)
def test_operator_changes_the_limit(vm: VM) -> None:
    """What somebody else sets while it is held is theirs: cgd says so, leaves it, and takes nothing of it along."""
    vm.need_cgd()
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    vm.victim()
    hog = vm.held_hog(rate="100M", seconds=360)
    check(wait(lambda: hog.show("MemoryHigh") != "infinity", 30, 0.1), "systemd was never told")
    # More than it has, so that PID 1 need not reclaim for it; less than it would take.
    theirs = str((hog.memory() >> 20) + 48 << 20)
    sh("systemctl", "set-property", "--runtime", hog.name, f"MemoryHigh={theirs}")

    def said() -> list[dict]:
        return [e for e in vm.journal() if e.get("MESSAGE_ID") == DRIFTED and e.get("CGD_CULPRIT", "").endswith("/" + hog.name)]
    check(wait(said, 40, 0.5), f"nobody said that it was changed; memory.high is {hog.high()}, theirs {theirs}")
    end = monotonic() + 20
    while monotonic() < end:
        check(hog.high() == theirs and hog.show("MemoryHigh") == theirs, f"theirs was {theirs}: {hog.limited()}")
        time.sleep(0.5)
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    vm.stop_cgd()
    check(hog.high() == theirs and hog.show("MemoryHigh") == theirs, f"stopping took {theirs} away: {hog.limited()}")
    sh("systemctl", "daemon-reload", timeout=90)
    check(hog.high() == theirs and hog.show("MemoryHigh") == theirs, f"a reload took {theirs} away: {hog.limited()}")
    check(read(hog.path / "memory.swap.high") == "max", f"memory.swap.high is still {read(hog.path / 'memory.swap.high')}")


@limited(400)
def test_hangs(vm: VM) -> None:
    """A cgd that does nothing any more is ended by systemd's watchdog, and what it had changed is given back."""
    vm.need_cgd()
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    before = vm.limits()
    vm.victim()
    hog = vm.held_hog(rate="100M", seconds=360)
    pid = vm.cgd_pid()
    hog.enough()
    os.kill(pid, signal.SIGSTOP)
    vm.undo.append(lambda: Path(f"/proc/{pid}").exists() and os.kill(pid, signal.SIGCONT))
    began = monotonic()
    time.sleep(5)
    check(hog.high() != "max", "it is not held any more: this proves nothing")
    check(wait(lambda: vm.cgd_pid() not in (0, pid) and vm.cgd_active(), 90, 0.5), "the watchdog did not end it, or it did not come back")
    check(wait(lambda: not hog.limited(), 30, 0.2), f"not given back: {hog.limited()}")
    vm.figure("given back after", round(monotonic() - began, 1), "s")
    check(any("Watchdog timeout" in e["MESSAGE"] for e in vm.journal("_PID=1", f"UNIT={CGD_UNIT}")), "it was not the watchdog that ended it")
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    check(not vm.changed_limits(before), f"left changed: {vm.changed_limits(before)}")


def test_path_hangs(vm: VM) -> None:
    """A policy names a program on a file system whose server is gone: cgd waits for half a second for it, says so, and goes on."""
    vm.need_cgd()
    began = monotonic()
    vm.cgctl("reload")
    usual = monotonic() - began
    vm.figure("reload took before", round(usual, 2), "s")
    where = RUN / "hangs"
    where.mkdir()
    sh("modprobe", "fuse")
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    vm.undo.append(lambda: (os.close(server), sh("umount", "--lazy", "--no-canonicalize", str(where), ok=False)))
    # Nobody ever reads what is asked of it.
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.mount(b"none", os.fsencode(where), b"fuse", 0, options) == 0, f"mount: {os.strerror(ctypes.get_errno())}")
    vm.policy("sideload", f"[Match]\nExecutable={where}/program\n", reload=False)
    pid = vm.cgd_pid()
    began = monotonic()
    vm.cgctl("reload")
    took = monotonic() - began
    vm.figure("reload took", round(took, 2), "s")
    # The rest of it is systemd's own reload, which takes as long as the computer takes.
    check(took < 2 * usual + 4, "the reload waited for the file system")
    check(any(f"Executable={where}/program" in e["MESSAGE"] for e in vm.journal() if e.get("MESSAGE_ID") == ACTION_FAILED),
          "it did not say why that program is not known")
    vm.cgctl("status")
    check(vm.cgd_pid() == pid, "cgd died of it")
    vm.figure("stopping took", round(vm.stop_cgd(), 2), "s")
    began = monotonic()
    vm.start_cgd()
    check(monotonic() - began < 20, "the start waited for the file system")
    vm.cgctl("status")


@limited(200)
def test_omit(vm: VM) -> None:
    """Whose unit says ManagedOOMPreference=omit is never contained, however it leaks, and cgd says why."""
    vm.need_cgd()
    vm.victim()
    hog = vm.hog("leak", rate="100M", total="1100M", seconds=180, properties=("ManagedOOMPreference=omit",))
    watch = vm.watch()

    def said() -> list[str]:
        return [e["MESSAGE"] for e in vm.journal() if e.get("MESSAGE_ID") == NOT_CONTAINED]

    def why() -> bool:
        return any("ManagedOOMPreference=omit" in line for line in said())
    # Of what was before it something else may be said.
    check(wait(lambda: why() or vm.culprits() or not hog.alive(), 90, 0.5), f"nobody saw it leak, or said why it is left alone: {said()}")
    time.sleep(5)
    hog.enough()
    watch.stop()
    vm.log("\n".join(said()))
    path = "/" + str(hog.path.relative_to("/sys/fs/cgroup"))
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    check(not vm.culprits(), f"contained: {vm.culprits()}")
    check(not watch.changes(path), f"it was touched: {watch.changes(path)[:3]}")
    check(why(), f"said: {said()}")
