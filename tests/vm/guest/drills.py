# SPDX-License-Identifier: LGPL-2.1-or-later
"""`cgctl drill` as the scenarios call it."""
import json
import subprocess

from vmlib import check, wait


def drill(*argv: str, timeout: float = 600) -> tuple[int, dict, str]:
    """One drill, waited for where the machine is still in trouble from the one before."""
    def attempt() -> subprocess.CompletedProcess | None:
        p = subprocess.run(["cgctl", "drill", "--json=short", *argv], capture_output=True, text=True, timeout=timeout, check=False)
        return None if "not now" in p.stderr else p

    p = wait(attempt, 90, 2)
    check(p, "the machine stays in trouble")
    return p.returncode, json.loads(p.stdout) if p.stdout else {}, p.stderr
