# SPDX-License-Identifier: LGPL-2.1-or-later
"""`cgctl drill` as the scenarios call it."""
import json
import subprocess

from vmlib import check, wait


def drill(*argv: str, timeout: float = 600) -> tuple[int, dict, str]:
    """One drill, waited for where the machine is still in trouble from the one before, and done to its end."""
    def attempt() -> subprocess.CompletedProcess | None:
        p = subprocess.run(["cgctl", "drill", "--json=short", *argv], capture_output=True, text=True, timeout=timeout, check=False)
        # Trouble that it was itself, such as a limit that is not given back, may not come a second time.
        done = json.loads(p.stdout)["scenarios"] if p.stdout else []
        return None if "not now" in p.stderr and not any(s["faults"] for s in done) else p

    # It may be stopped in its midst, which is minutes after it began.
    p = wait(attempt, 300, 2)
    check(p, "the machine stays in trouble")
    # What was done of one that was stopped is shown all the same, and is not what was asked for.
    check(p.returncode in (0, 3), f"exit {p.returncode}: {p.stderr}{p.stdout}")
    return p.returncode, json.loads(p.stdout), p.stderr
