# SPDX-License-Identifier: LGPL-2.1-or-later
"""One boot of one machine: its disks, its process, and what comes back.

Results arrive as JSON lines on a virtio serial port that QEMU writes to a file, so that they are seen
while they happen; files come back on the job disk.  No KVM: the figures must be comparable between
machines that have it and machines that do not, and Debian's kernels hang under some nested KVMs.
"""
from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from image import boot_files, make_ext4, make_swap
from roots import RootError, cache_dir, locked

# Two machines at once would distort each other's figures.
VM_LOCK = "vm.lock"

# loglevel=4: an oom dump on a serial console stalls an emulated machine for seconds; dmesg has it all.
# The watchdogs are told that this processor is slow, and the kernel not to panic where the first ticks come late.
CMDLINE = ("console=ttyS0,115200 root=LABEL=cgdroot rw quiet loglevel=4 systemd.show_status=no panic=-1"
           " watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 no_timer_check net.ifnames=0 audit=0"
           " sysrq_always_enabled")


# Without la57=off 6.12 panics early under QEMU 7.2; with cmpxchg16b it now and then double faults in
# kmalloc, because the emulation spoils the flags. The allocator has another way when it is told. "rep stosb" is
# emulated a byte at a time: without erms the kernel clears eight bytes at a time. Kernels from 6.18 on give a
# BPF program no timer without cmpxchg16b: on the canary the memory watch is refused.
CPU = "max,la57=off,cx16=off,erms=off,fsrm=off"

# Each store into a page that once held code looks through all translations of that page. QEMU keeps 1 GiB of
# them of itself (a million: "info jit" in its monitor), and clearing a huge page where the boot's code had been
# took a program up to 13 s. 256 MiB are full at the end of the boot and then every 100 s, and all are forgotten.
ACCELERATOR = "tcg,thread=multi,tb-size=256"


@dataclass(frozen=True)
class Profile:
    """What kind of machine a scenario wants; scenarios of one profile share a boot."""
    memory_mib: int = 1024
    cpus: int = 2
    swap_mib: int = 1024
    data_mib: int = 2048
    iops: int = 2000
    bps: int = 80_000_000
    cmdline: str = ""
    # units that are right to be failed on such a machine
    failed: tuple[str, ...] = ()


def drive(path: Path, serial: str, profile: Profile | None, snapshot: bool = False) -> list[str]:
    spec = f"file={path},if=none,id={serial},format=raw,cache=unsafe,discard=ignore"
    if profile:
        spec += f",throttling.iops-total={profile.iops},throttling.bps-total={profile.bps}"
    if snapshot:
        spec += ",snapshot=on"
    return ["-drive", spec, "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]


def make_job(work: Path, job: dict, guest: Path) -> Path:
    """The disk that carries the scenarios in and the journal out."""
    top = work / "jobdir"
    shutil.rmtree(top, ignore_errors=True)
    for name in ("guest", "scenario", "demo"):
        if (guest.parent / name).is_dir():
            shutil.copytree(guest.parent / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("here.py", "timeline.py"):
        shutil.copy(guest.parent / name, top)
    (top / "out").mkdir()
    (top / "job.json").write_text(json.dumps(job))
    disk = work / "job.img"
    make_ext4(disk, "cgdjob", "128M", top)
    return disk


def command(work: Path, root: Path, image: Path, profile: Profile, more: str = "") -> list[str]:
    """more: further words for the kernel's command line."""
    kernel, initrd = boot_files(root)
    argv = ["qemu-system-x86_64", "-accel", ACCELERATOR, "-cpu", CPU,
            "-m", str(profile.memory_mib), "-smp", str(profile.cpus), "-no-reboot", "-nodefaults",
            "-display", "none", "-kernel", str(kernel), "-initrd", str(initrd),
            # else systemd waits for the disk that fstab names
            "-append", " ".join([CMDLINE, profile.cmdline, "" if profile.swap_mib else "systemd.swap=0", more]),
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", f"file,id=results,path={work / 'results.jsonl'}",
            "-device", "virtserialport,chardev=results,name=cgd.results"]
    argv += drive(image, "root", None, snapshot=True)
    argv += drive(work / "data.img", "data", profile)
    argv += drive(work / "job.img", "job", None)
    if profile.swap_mib:
        argv += drive(work / "swap.img", "swap", profile)
    return argv


def make_disks(work: Path, job: dict, profile: Profile) -> None:
    make_job(work, job, Path(__file__).parent / "guest")
    make_ext4(work / "data.img", "cgddata", f"{profile.data_mib}M", inodes=2048)
    if profile.swap_mib:
        make_swap(work / "swap.img", profile.swap_mib << 20)
    (work / "results.jsonl").write_bytes(b"")


class Lines:
    """The complete lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "rb")
        self.rest = b""

    def read(self) -> list[dict]:
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except ValueError:
                if line.strip():
                    records.append({"type": "log", "text": line.decode(errors="replace")})
        return records


def cpu_ticks() -> tuple[int, int]:
    """Busy ticks of this machine and of the children that were waited for or are running."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return sum(fields[:3]) + sum(fields[5:8]), sum(fields[:8])


def process_ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


class Machine:
    """A running machine.  Whoever makes one ends it with stop(), whatever happened."""
    SOCKET = "console.sock"
    PATIENCE = 5.0  # seconds for an answer

    def __init__(self, work: Path, root: Path, image: Path, profile: Profile) -> None:
        self.work = work
        self.console = work / "console.log"
        # Nobody logs in, so nobody's session is in the way of what is measured.
        argv = command(work, root, image, profile, "systemd.mask=serial-getty@ttyS0.service")
        argv += ["-chardev", f"socket,id=console,path={self.SOCKET},server=on,wait=off,mux=on,logfile={self.console}",
                 "-serial", "chardev:console", "-mon", "chardev=console"]
        self.ticks = cpu_ticks()
        self.own = 0
        # If this program is killed, the machine must not go on alone.
        argv = ["setpriv", "--pdeathsig", "KILL", *argv]
        self.process = subprocess.Popen(argv, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(work / "qemu.log", "wb"))
        self.lines = Lines(work / "results.jsonl")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def disturbance(self) -> int:
        """Percent of this machine's processors that others used while the guest ran."""
        busy, total = cpu_ticks()
        passed = max(total - self.ticks[1], 1)
        return max(0, 100 * (busy - self.ticks[0] - self.own) // passed)

    def follow(self, seen: Callable[[dict], None], silence: float) -> str:
        """Hand each record to seen() until the guest ends; returns why it ended badly, or ''.  A record says for how long
        there may be none after it where that is longer than `silence`."""
        limit, last = silence, time.monotonic()
        ended, test = False, ""
        while True:
            running = self.process.poll() is None
            self.own = process_ticks(self.process.pid) or self.own
            for record in self.lines.read():
                last = time.monotonic()
                # What a scenario says on its way leaves it the time that it has; with its result that is over.
                limit = record.get("limit", silence if record.get("type") == "result" else limit)
                ended = ended or record.get("type") == "end"
                test = record.get("test", test)
                seen(record)
            if not running:
                return "" if ended else "the machine ended before its last result (see console.log, qemu.log)"
            if time.monotonic() - last > limit + silence:
                return f"the machine said nothing for {limit + silence:.0f} s in {test or 'its boot'}\n{self.last_words()}"
            time.sleep(0.1)

    def last_words(self) -> str:
        """What the kernel says of a machine that hangs, who waits in it (sysrq w) and where its processors are (l), and what QEMU
        says of these: it does so where the kernel says nothing."""
        said = b""
        directory = os.open(self.work, os.O_PATH)
        try:
            # By way of the descriptor, for a socket's path has 107 bytes.
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(self.PATIENCE / 10)
                line.connect(f"/proc/self/fd/{directory}/{self.SOCKET}")
                # ctrl-a b is a break; 8: say it on the console too.  ctrl-a c is for QEMU.
                for ask in b"\x01b8", b"\x01bw", b"\x01bl", b"\x01cinfo registers -a\n":
                    line.sendall(ask)
                    end = time.monotonic() + self.PATIENCE
                    while time.monotonic() < end:
                        with suppress(TimeoutError):
                            said += line.recv(1 << 16)
        except OSError as e:
            return f"and it could not be asked why: {e}"
        finally:
            os.close(directory)
        lines = said.decode(errors="replace").splitlines()
        return "\n".join([text for text in lines if text.startswith(("[", "CPU#", "RIP="))][:100])

    def fetch(self) -> None:
        """Copy what the guest left in out/ on the job disk into out/ of the work directory."""
        shutil.rmtree(self.work / "out", ignore_errors=True)
        subprocess.run(["e2fsck", "-p", str(self.work / "job.img")], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["debugfs", "-R", f"rdump out {self.work}", str(self.work / "job.img")],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def run(work: Path, root: Path, image: Path, profile: Profile, job: dict,
        seen: Callable[[dict], None]) -> tuple[str, int]:
    """Boot, follow, fetch.  Returns (why it ended badly or '', percent of cpu used by others)."""
    with locked(cache_dir() / VM_LOCK, "another virtual machine to end"):
        make_disks(work, job, profile)
        machine = Machine(work, root, image, profile)
        try:
            problem = machine.follow(seen, silence=120)
        finally:
            others = machine.disturbance()
            machine.stop()
        machine.fetch()
    return problem, others


def shell(work: Path, root: Path, image: Path, profile: Profile) -> int:
    """A root shell on the machine's serial console, for a person."""
    if not os.isatty(0):
        raise RootError("a shell needs a terminal")
    with locked(cache_dir() / VM_LOCK, "another virtual machine to end"):
        make_disks(work, {"mode": "shell"}, profile)
        argv = command(work, root, image, profile) + [
            "-chardev", "stdio,id=tty,signal=off,mux=on", "-serial", "chardev:tty", "-mon", "chardev=tty"]
        return subprocess.run(argv, check=False).returncode
