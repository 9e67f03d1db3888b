# SPDX-License-Identifier: LGPL-2.1-or-later
"""From the repo to disks a virtual machine can boot.

cgd is built inside the suite's build tree, against the suite's own libraries, and installed with
`meson install` and nothing else: what a scenario finds in the machine is what a package would hold.
The root image is made again only when the installed files changed; what changes often (scenarios)
travels on a small disk of its own.
"""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from roots import RootError, run_logged, tree

REPO = Path(__file__).resolve().parents[2]

# Runs inside a mount namespace of its own, so that nothing stays mounted whatever happens.
IN_TREE = r"""
set -eu
root=$1 src=$2 work=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/mnt/source" "$root/mnt/build"
mount --bind -o ro "$src" "$root/mnt/source"
mount --bind "$work" "$root/mnt/build"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/tmp "$@"
"""

# Where the build directory stands inside that namespace.
IN_TREE_BUILD = "/mnt/build/build"


def work_dir(suite: str) -> Path:
    path = REPO / "build" / "vm" / suite
    path.mkdir(parents=True, exist_ok=True)
    return path


def in_build_tree(suite: str, root: Path, argv: list[str], log: str) -> None:
    work = work_dir(suite)
    run_logged(["unshare", "--mount", "sh", "-c", IN_TREE, "sh", str(root), str(REPO), str(work), *argv],
               work / log, f"building for {suite} ({' '.join(argv[:2])})")


def build(suite: str, progress) -> Path:
    """Build and install into a staging directory; returns it."""
    root = tree("build", suite, progress)
    work = work_dir(suite)
    stamp = work / "tree"
    if not stamp.exists() or stamp.read_text() != root.name:
        shutil.rmtree(work / "build", ignore_errors=True)
        stamp.write_text(root.name)
    with progress(f"building cgd for {suite}"):
        if not (work / "build" / "build.ninja").exists():
            shutil.rmtree(work / "build", ignore_errors=True)
            in_build_tree(suite, root, ["meson", "setup", "--prefix=/usr", "--sysconfdir=/etc",
                                        "--localstatedir=/var", "-Dvm_tests=true", "--buildtype=debugoptimized",
                                        IN_TREE_BUILD, "/mnt/source"], "setup.log")
        in_build_tree(suite, root, ["ninja", "-C", IN_TREE_BUILD], "build.log")
        shutil.rmtree(work / "stage", ignore_errors=True)
        in_build_tree(suite, root, ["meson", "install", "-C", IN_TREE_BUILD, "--no-rebuild", "--destdir",
                                    "/mnt/build/stage"], "install.log")
    return work / "stage"


def stage_hash(stage: Path, root: Path) -> str:
    h = hashlib.sha256(root.name.encode())
    for path in sorted(stage.rglob("*")):
        st = path.lstat()
        h.update(f"{path.relative_to(stage)} {st.st_mode:o}\n".encode())
        if path.is_symlink():
            h.update(os.readlink(path).encode())
        elif path.is_file():
            h.update(path.read_bytes())
    return h.hexdigest()


@contextmanager
def merged(root: Path, work: Path) -> Iterator[Path]:
    """A writable view of the run tree: an overlay, or a copy where overlays are refused."""
    top = work / "merged"
    # A run that was killed leaves its mount: whoever deletes in there deletes in the new layer, and the directory stays.
    # Nobody else is in it, for a suite is locked.
    while top.is_mount():
        subprocess.run(["umount", "--lazy", str(top)], check=True)
    for name in ("merged", "upper", "overlay"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    options = f"lowerdir={root},upperdir={work / 'upper'},workdir={work / 'overlay'}"
    mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(top)],
                             stderr=subprocess.DEVNULL, check=False).returncode == 0
    if not mounted:
        subprocess.run(["cp", "-a", f"{root}/.", str(top)], check=True)
    try:
        yield top
    finally:
        if mounted:
            subprocess.run(["umount", str(top)], check=True)
        for name in ("merged", "upper", "overlay"):
            shutil.rmtree(work / name, ignore_errors=True)


def install_over(stage: Path, top: Path) -> None:
    """What a package would do: unpack, make its users, enable its units."""
    # Through tar, because a plain copy would put a directory in the place of the link /lib.
    pack = subprocess.Popen(["tar", "-C", str(stage), "-c", "."], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", str(top), "-x", "--keep-directory-symlink", "--no-overwrite-dir"],
                   stdin=pack.stdout, check=True)
    if pack.wait() != 0:
        raise RootError(f"cannot read {stage}")
    subprocess.run(["systemd-sysusers", "--root", str(top)], check=True, stderr=subprocess.DEVNULL)
    if (top / "usr/lib/systemd/system/cgd.service").exists():
        subprocess.run(["systemctl", "--root", str(top), "--quiet", "enable", "cgd.service"], check=True)
    check_libraries(stage, top)


def check_libraries(stage: Path, top: Path) -> None:
    """Every installed program must find its libraries in the run tree, not only where it was built."""
    for path in stage.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.open("rb").read(4) != b"\x7fELF":
            continue
        inside = "/" + str(path.relative_to(stage))
        out = subprocess.run(["chroot", str(top), "ldd", inside], capture_output=True, text=True, check=False)
        if "not found" in out.stdout + out.stderr:
            raise RootError(f"{inside} does not find its libraries in the machine:\n{out.stdout}{out.stderr}"
                            "Add the package to RUN_PACKAGES in tests/vm/roots.py.")


def boot_files(root: Path) -> tuple[Path, Path]:
    kernel = sorted((root / "boot").glob("vmlinuz-*"))[-1]
    return kernel, root / "boot" / kernel.name.replace("vmlinuz-", "initrd.img-")


def make_ext4(path: Path, label: str, size: str, source: Path | None = None, inodes: int = 0) -> None:
    path.unlink(missing_ok=True)
    # No lazy initialisation: its kernel thread would write in the background of what is measured.
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-m", "0",
            "-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"]
    if inodes:
        argv += ["-N", str(inodes)]
    if source:
        argv += ["-d", str(source)]
    p = subprocess.run([*argv, str(path), size], capture_output=True, text=True, check=False)
    if p.returncode != 0:
        raise RootError(f"cannot make {path}: {p.stderr.strip()}")


def make_swap(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    with open(path, "wb") as f:
        f.truncate(size)
    path.chmod(0o600)
    subprocess.run(["mkswap", "-q", "-L", "cgdswap", str(path)], check=True)


def root_image(suite: str, progress) -> tuple[Path, Path]:
    """Returns the root image of the machine, fresh, and the run tree its kernel is in."""
    root = tree("run", suite, progress)
    stage = build(suite, progress)
    work = work_dir(suite)
    image, stamp = work / "root.img", work / "root.hash"
    want = stage_hash(stage, root)
    if image.exists() and stamp.exists() and stamp.read_text() == want:
        return image, root
    stamp.unlink(missing_ok=True)
    with progress(f"installing cgd into a {suite} machine"), merged(root, work) as top:
        install_over(stage, top)
        make_ext4(image, "cgdroot", "2G", top)
    stamp.write_text(want)
    return image, root
