# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian trees the virtual machines are made of.

For each suite there are two: the *build* tree has compilers and the suite's own libraries, the *run*
tree has a kernel and systemd and is what boots.  A tree is named after the hash of everything that
went into it, so a changed list makes a new tree and an old one is simply not found any more; trees of
the same kind that are no longer named are removed.  The mirror is the one this machine's apt uses.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

SUITES = ("bookworm", "trixie")
# What is to come: the last suite with the kernel of its backports. What fails on it is a warning.
CANARY = "canary"
CANARY_SUITE, CANARY_KERNEL = "trixie", "trixie-backports"
# With whoever else acts on trouble: what `./dev bench peers` compares with.
PEERS = {"peers": "bookworm", "peers-trixie": "trixie"}
PEERS_PACKAGES = "systemd-oomd earlyoom nohang oomd".split()
PEERS_UNITS = "systemd-oomd.service systemd-oomd.socket earlyoom.service nohang.service nohang-desktop.service oomd.service".split()

HASH_LENGTH = 12

BUILD_PACKAGES = (
    "gcc libc6-dev meson ninja-build pkg-config libsystemd-dev libjansson-dev libsmartcols-dev"
    " libcmocka-dev libbpf-dev bpftool clang scdoc systemd python3"
).split()
# Where systemd.pc lives: in systemd itself up to Debian 12, in a package of its own from 13 on.
BUILD_PACKAGES_OF = {"bookworm": [], "trixie": ["systemd-dev"]}

RUN_PACKAGES = (
    "systemd systemd-sysv dbus polkitd linux-image-cloud-amd64 initramfs-tools python3 iproute2 kmod"
    " util-linux e2fsprogs xfsprogs btrfs-progs procps libjansson4 libsmartcols1 libbpf1 libcap2-bin"
).split()

# Whatever runs by itself would be taken for cgd's own cost at rest.
MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer"
    " man-db.timer dpkg-db-backup.timer systemd-tmpfiles-clean.timer logrotate.timer motd-news.timer"
    " systemd-networkd-wait-online.service systemd-timesyncd.service systemd-pstore.service"
).split()

FILES = {
    "etc/hostname": "cgdvm\n",
    "etc/hosts": "127.0.0.1 localhost cgdvm\n",
    "etc/fstab": (
        "LABEL=cgdroot / ext4 rw,noatime 0 0\n"
        "LABEL=cgddata /data ext4 rw,noatime,nofail 0 0\n"
        "LABEL=cgdjob /job ext4 rw,noatime,nofail 0 0\n"
        "LABEL=cgdswap none swap nofail 0 0\n"
    ),
    "etc/systemd/journald.conf.d/vm.conf": (
        "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitBurst=0\nForwardToConsole=no\n"
    ),
    "etc/systemd/system/serial-getty@ttyS0.service.d/vm.conf": (
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear -8 %I 115200 linux\n"
    ),
    # The runner must outlive what it watches: never chosen by the oom killer, never paged out.
    "etc/systemd/system/vmtest.slice": (
        "[Unit]\nDescription=The test runner of the virtual machine\n[Slice]\nMemoryMin=48M\nCPUWeight=1000\n"
    ),
    "etc/systemd/system/vmtest.service": (
        "[Unit]\nDescription=Run the scenarios on the job disk\n"
        "After=multi-user.target\nRequiresMountsFor=/job\nConditionPathExists=/job/guest/runner.py\n"
        "[Service]\nType=exec\nSlice=vmtest.slice\nOOMScoreAdjust=-1000\n"
        "Environment=PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1\n"
        "ExecStart=/usr/bin/python3 /job/guest/runner.py\nExecStopPost=-/bin/sync\n"
        "[Install]\nWantedBy=multi-user.target\n"
    ),
}


class RootError(Exception):
    """A tree could not be made; the text says why and what to do."""


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "cgd"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold an exclusive lock on path; say what is being waited for when that takes a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                print(f"waiting for {waiting} ({path})", flush=True)
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def mirror() -> str:
    """The archive this machine's apt uses, the one place where a mirror's name comes from."""
    out = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
         "Created-By: Packages"], capture_output=True, text=True, check=True).stdout
    targets = [line.split() for line in out.splitlines()]
    # The origin is known only after an 'apt-get update'; until then the release's name must do.
    for known in (lambda t: t[2:] == ["main", "Debian"], lambda t: t[1:3] in ([s, "main"] for s in SUITES)):
        for target in targets:
            if known(target) and "-security" not in target[1]:
                return target[0]
    raise RootError("apt on this machine has no Debian archive; run 'apt-get update' or add one to"
                    " /etc/apt/sources.list.d")


def tree_hash(packages: list[str], files: dict[str, str]) -> str:
    text = repr((sorted(packages), sorted(files.items()), MASKED, "5"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def run_logged(argv: list[str], log: Path, what: str) -> None:
    with open(log, "w", encoding="utf-8") as f:
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT, process_group=0)
        try:
            rc = p.wait()
        except BaseException:
            # With all that it runs: mmdebstrap waits for its own, whatever is sent to it alone. ninja's compilers are in groups
            # of their own, which it ends when it is asked to end.
            os.killpg(p.pid, signal.SIGTERM)
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)
            raise
    if rc != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RootError(f"{what} failed (exit {rc}); the end of {log}:\n{tail}")


def finish_run_tree(root: Path) -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    for name in ("data", "job"):
        (root / name).mkdir(exist_ok=True)
    subprocess.run(["systemctl", "--root", str(root), "--quiet", "mask", *MASKED], check=True)
    subprocess.run(["systemctl", "--root", str(root), "--quiet", "enable", "vmtest.service",
                    "serial-getty@ttyS0.service"], check=True)
    subprocess.run(["systemctl", "--root", str(root), "--quiet", "set-default", "multi-user.target"],
                   check=True)
    # Any id will do as long as there is one: an empty one makes systemd treat the boot as the first.
    (root / "etc/machine-id").write_text("c9d0" * 8 + "\n", encoding="ascii")
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    subprocess.run(["chroot", str(root), "passwd", "-q", "-d", "root"], check=True)


def sources(kind: str, suite: str, packages: list[str]) -> tuple[str, list[str], list[str]]:
    """The suite proper, the lines for apt, and the packages, each with the release that it comes from if not that."""
    suite = PEERS.get(suite, suite)
    if suite != CANARY:
        return suite, [f"deb {mirror()} {suite} main"], packages
    lines = [f"deb {mirror()} {s} main" for s in (CANARY_SUITE, CANARY_KERNEL)]
    return CANARY_SUITE, lines, [f"{p}/{CANARY_KERNEL}" if kind == "run" and p.startswith("linux-image") else p for p in packages]


def make_tree(kind: str, suite: str, target: Path, packages: list[str]) -> None:
    proper, lines, packages = sources(kind, suite, packages)
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--include=" + ",".join(packages),
            "--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\""]
    for path in ("man", "locale", "doc", "info"):
        argv.append(f"--dpkgopt=path-exclude=/usr/share/{path}/*")
    argv += [proper, str(part), *lines]
    run_logged(argv, target.with_name(f"{kind}-{suite}.log"), f"making the {suite} {kind} tree")
    if kind == "run":
        finish_run_tree(part)
        # Each is started when its turn comes.
        if suite in PEERS:
            subprocess.run(["systemctl", "--root", str(part), "--quiet", "disable", *PEERS_UNITS], check=False)
    part.rename(target)


def tree(kind: str, suite: str, progress) -> Path:
    """The tree of that kind ('build' or 'run'), made now if it is not cached."""
    if kind == "build":
        suite = {CANARY: CANARY_SUITE, **PEERS}.get(suite, suite)
    if kind == "run":
        packages = RUN_PACKAGES + (PEERS_PACKAGES if suite in PEERS else [])
    else:
        packages = BUILD_PACKAGES + BUILD_PACKAGES_OF[suite]
    cache = cache_dir()
    target = cache / f"{kind}-{suite}-{tree_hash(packages, FILES if kind == 'run' else {})}"
    if target.is_dir():
        return target
    if os.geteuid() != 0:
        raise RootError("making Debian trees needs root; run this through sudo")
    with locked(cache / f"{kind}-{suite}.lock", f"another run that makes the {suite} {kind} tree"):
        if not target.is_dir():
            for old in cache.glob(f"{kind}-{suite}-" + "?" * HASH_LENGTH):
                shutil.rmtree(old, ignore_errors=True)
            with progress(f"making the {suite} {kind} tree"):
                make_tree(kind, suite, target, packages)
    return target
