# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CONTINUOUS = Path(__file__).resolve().parent / "continuous"
RATIOS = runpy.run_path(str(CONTINUOUS))["RATIOS"]


class Continuous(unittest.TestCase):
    def judge(self, factor: float, leave_out: str = "") -> tuple[int, str, str]:
        """A result in which each figure is factor times the least that it may be."""
        figures = {}
        for test, figure, other, least, suite in RATIOS:
            figures.setdefault((suite, test, other), 100)
            figures[suite, test, figure] = factor * least * figures[suite, test, other]
        with tempfile.TemporaryDirectory() as d:
            path, count = Path(d) / "r.json", Path(d) / "count"
            path.write_text(json.dumps({"figures": [{"suite": s, "test": t, "figure": f, "value": v, "unit": ""}
                                                    for (s, t, f), v in figures.items() if t != leave_out]}))
            p = subprocess.run([sys.executable, CONTINUOUS, "--count", count, path], capture_output=True, text=True, check=False)
            return p.returncode, p.stdout + p.stderr, count.read_text()

    def test_all_hold(self) -> None:
        code, text, count = self.judge(1.01)
        self.assertEqual(code, 0, text)
        self.assertEqual(count.split()[1], "0")

    def test_broken(self) -> None:
        code, text, count = self.judge(0.9)
        self.assertEqual(code, 1)
        self.assertEqual(count.split()[0], "0")
        self.assertNotIn("  ok  ", text)

    def test_not_measured(self) -> None:
        code, text, _ = self.judge(1.01, leave_out="85-io.a_reads")
        self.assertEqual(code, 1)
        self.assertIn("was not measured", text)

    def test_no_result(self) -> None:
        p = subprocess.run([sys.executable, CONTINUOUS, "/nowhere"], capture_output=True, text=True, check=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn("/nowhere", p.stderr)


if __name__ == "__main__":
    unittest.main()
