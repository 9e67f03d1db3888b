# SPDX-License-Identifier: LGPL-2.1-or-later
"""`./dev demo --here` on a machine that it can run on: this one.  It shows the main job inside its one bounded slice,
with the installed programs in the place of built ones, and leaves nothing behind."""
import subprocess
import sys
from pathlib import Path

from vmlib import CGD_UNIT, LOADS, TESTS, VM, check, limited, sh

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"
PROGRAM = Path("/job/here.py")
# Where ./dev build puts what is installed here elsewhere.
BUILT = {"daemon/cgd": "/usr/libexec/cgd/cgd", "cli/cgctl": "/usr/bin/cgctl", "tests/load": str(TESTS),
         "cli/drill": str(LOADS)}


@limited(400)
def test_demo(vm: VM) -> None:
    build = Path("/run/vmtest/build")
    for name, target in BUILT.items():
        (build / name).parent.mkdir(parents=True, exist_ok=True)
        (build / name).symlink_to(target)
    p = subprocess.run([sys.executable, PROGRAM, "--check"], capture_output=True, text=True, timeout=60, check=False)
    check(p.returncode == 1 and CGD_UNIT in p.stderr, f"with cgd running: exit {p.returncode}: {p.stderr}")
    vm.without_cgd()
    before = vm.limits()
    p = subprocess.run([sys.executable, PROGRAM, build], capture_output=True, text=True, timeout=300, check=False)
    vm.log(p.stdout)
    check(p.returncode == 0, f"exit {p.returncode}: {p.stderr}")
    check("hold" in p.stdout and "Why this one" in p.stdout, "it did not show who was held and why")
    check(not vm.changed_limits(before), f"left changed: {vm.changed_limits(before)}")
    left = sh("systemctl", "list-units", "--all", "--plain", "--no-legend", "cgd-demo*", "cgddemo*").split()
    check(not left, f"left: {left}")
    check(not Path("/run/cgd-demo").exists(), "left /run/cgd-demo")
