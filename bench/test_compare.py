# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

COMPARE = Path(__file__).resolve().parent / "compare"


class Compare(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def result(self, name: str, **figures: float | str) -> Path:
        path = Path(self.dir.name) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"figures": [{"suite": "s", "test": "t", "figure": k, "value": v, "unit": "ms"}
                                                for k, v in figures.items()]}))
        return path

    def compare(self, a: Path, b: Path) -> tuple[int, str]:
        p = subprocess.run([sys.executable, COMPARE, a, b], capture_output=True, text=True, check=False)
        return p.returncode, p.stdout + p.stderr

    def test_one_run_each(self) -> None:
        a, b = self.result("a.json", kept=100, step=200, who="x"), self.result("b.json", kept=98, step=300, who="y")
        code, text = self.compare(a, b)
        self.assertEqual(code, 3)
        self.assertIn("step", text)
        self.assertNotIn("kept", text)
        self.assertIn("1 of 2 figures moved", text)
        self.assertEqual(self.compare(a, a)[0], 0)

    def test_more_runs_tell_noise(self) -> None:
        for i, (x, y) in enumerate(((100, 130), (140, 170), (120, 150))):
            self.result(f"a/{i}.json", step=x)
            self.result(f"b/{i}.json", step=y)
            self.result(f"c/{i}.json", step=x + 100)
        root = Path(self.dir.name)
        self.assertEqual(self.compare(root / "a", root / "b")[0], 0)
        self.assertEqual(self.compare(root / "a", root / "c")[0], 3)

    def test_gone_and_bad(self) -> None:
        a, b = self.result("a.json", kept=100, step=1), self.result("b.json", kept=100)
        self.assertIn("gone", self.compare(a, b)[1])
        self.assertEqual(self.compare(a, Path(self.dir.name) / "none.json")[0], 1)
        (Path(self.dir.name) / "empty").mkdir()
        self.assertIn("no result", self.compare(a, Path(self.dir.name) / "empty")[1])


if __name__ == "__main__":
    unittest.main()
