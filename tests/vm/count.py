# SPDX-License-Identifier: LGPL-2.1-or-later
"""Count single tests in what `meson test` left behind.

meson counts executables; a person wants to know how many tests there were.  cmocka's own summary is
looked for in each executable's output, then TAP, and an executable with neither counts as one test.
Prints "passed failed skipped", and on stderr a line for each test that was skipped, with its reason.
"""
from __future__ import annotations

import json
import re
import sys
from pathlib import Path

CMOCKA = re.compile(r"^\[ *(PASSED|FAILED|SKIPPED) *\] (\d+) test", re.M)
TAP = re.compile(r"^(not ok|ok) \d+(.*)$", re.M)
# What a test says before it is skipped; cmocka tells of that on stderr or on stdout as it was built.
CMOCKA_SKIPPED = re.compile(r"^\[ RUN +\] (\S+)\n((?:(?!\[ ).*\n)*?)\[  SKIPPED \] \1", re.M)
TAP_SKIPPED = re.compile(r"^ok \d+ *-? *(.*?) *# skip *(.*)$", re.M | re.I)
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


def skips_of(record: dict) -> list[str]:
    """A line for each test of it that was skipped."""
    text = record.get("stdout", "") + "\n" + record.get("stderr", "")
    found = CMOCKA_SKIPPED.findall(text) + TAP_SKIPPED.findall(text)
    if not found and count_test(record)[2]:
        found = [("", text.strip().rsplit("\n", 1)[-1])]
    return [": ".join(filter(None, [record["name"], test, " ".join(reason.split()) or "it does not say why"]))
            for test, reason in found]


def records(log: str) -> list[dict]:
    return [json.loads(line) for line in log.splitlines() if line.strip()]


def count(log: str) -> tuple[int, int, int]:
    sums = (0, 0, 0)
    for record in records(log):
        sums = tuple(a + b for a, b in zip(sums, count_test(record)))
    return sums


if __name__ == "__main__":
    what = Path(sys.argv[1]).read_text()
    for skipped in (line for r in records(what) for line in skips_of(r)):
        print(f"  skipped {skipped}", file=sys.stderr)
    print(*count(what))
