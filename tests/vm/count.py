# SPDX-License-Identifier: LGPL-2.1-or-later
"""Count single tests in what `meson test` left behind.

meson counts executables; a person wants to know how many tests there were.  cmocka's own summary is
looked for in each executable's output, then TAP, and an executable with neither counts as one test.
Prints "passed failed skipped".
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path

CMOCKA = re.compile(r"^\[ *(PASSED|FAILED|SKIPPED) *\] (\d+) test", re.M)
TAP = re.compile(r"^(not ok|ok) \d+(.*)$", re.M)
GOOD, SKIPPED = {"OK", "EXPECTEDFAIL"}, {"SKIP"}


def count_cmocka(text: str) -> tuple[int, int, int] | None:
    if "[==========]" not in text:
        return None
    sums = {"PASSED": 0, "FAILED": 0, "SKIPPED": 0}
    for kind, number in CMOCKA.findall(text):
        sums[kind] += int(number)
    return sums["PASSED"], sums["FAILED"], sums["SKIPPED"]


def count_tap(text: str) -> tuple[int, int, int] | None:
    lines = TAP.findall(text)
    skipped = sum("# skip" in rest.lower() for _, rest in lines)
    failed = sum(verdict == "not ok" for verdict, _ in lines)
    return (len(lines) - skipped - failed, failed, skipped) if lines else None


def count_test(record: dict) -> tuple[int, int, int]:
    text = record.get("stdout", "") + "\n" + record.get("stderr", "")
    result = record["result"]
    passed, failed, skipped = count_cmocka(text) or count_tap(text) or (0, 0, 0)
    if result in SKIPPED:
        return 0, 0, max(skipped, 1)
    if result in GOOD:
        return (passed, 0, skipped) if passed + skipped else (1, 0, 0)
    return passed, max(failed, 1), skipped


def count(log: str) -> tuple[int, int, int]:
    sums = (0, 0, 0)
    for line in log.splitlines():
        if line.strip():
            one = count_test(json.loads(line))
            sums = tuple(a + b for a, b in zip(sums, one))
    return sums


if __name__ == "__main__":
    print(*count(Path(sys.argv[1]).read_text()))
