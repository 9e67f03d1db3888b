#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the programs of the service call by the name of a system call, its SystemCallFilter= lets through; and it is given up
for good only where this machine cannot run it."""
import pathlib
import re
import shutil
import subprocess
import sys

service, root = sys.argv[1:3]
main = pathlib.Path(root, "daemon/main.c").read_text(encoding="utf-8")
statuses = dict(re.findall(r"^#define EXIT_(\w+) (\d+)$", main, re.M))
given_up = re.findall(r"^RestartPreventExitStatus=(.*)$", open(service, encoding="utf-8").read(), re.M)
if given_up != [statuses["UNSUPPORTED"]]:
    sys.exit(f"{service}: RestartPreventExitStatus={given_up}; who holds the lock of cgd may let go of it")
if not shutil.which("systemd-analyze"):
    print("systemd-analyze is not there to say what is in a set of system calls")
    sys.exit(77)


def calls(word):
    if not word.startswith("@"):
        return {word}
    text = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in text.splitlines()[1:]]
    return set().union(*(calls(line) for line in lines if line and not line.startswith("#")))


allowed, refused = set(), set()
for line in re.findall(r"^SystemCallFilter=(.*)$", open(service, encoding="utf-8").read(), re.M):
    these = set().union(*(calls(word) for word in line.lstrip("~").split()))
    allowed = allowed - these if line.startswith("~") else allowed | these
    refused = refused | these if line.startswith("~") else refused - these

faults, n = [], 0
for path in sorted(p for d in ("daemon", "lib") for p in pathlib.Path(root, d).rglob("*.c")):
    if path.name.startswith("test-") or path.name.endswith(".bpf.c"):
        continue
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)
    for name in set(re.findall(r"\b([a-z_0-9]+) ?\(", text)):
        n += name in allowed
        if name in refused:
            faults.append(f"{path}: calls {name}(), which {service} refuses")
faults += [f"{n} calls found: the sources could not be read"] if n < 10 else []
print("\n".join(faults) or f"{n} calls let through")
sys.exit(bool(faults))
