# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PICTURE = Path(__file__).resolve().parent / "picture"


class Picture(unittest.TestCase):
    def picture(self, tests: dict[str, tuple[str, ...]]) -> tuple[int, str, str]:
        figures = [{"suite": "peers", "test": test, "figure": f"{name}: {what}{which}", "value": 50, "unit": "%"}
                   for test, names in tests.items() for name in names for what in ("kept", "longest silence")
                   for which in ("", ", least", ", most")]
        return self.run_on(figures)

    def run_on(self, figures: list[dict], *how: str) -> tuple[int, str, str]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"figures": figures}, f)
            f.flush()
            p = subprocess.run([sys.executable, PICTURE, *how, f.name], capture_output=True, text=True, check=False)
            return p.returncode, p.stdout, p.stderr

    def test_growth(self) -> None:
        """A figure that is ten times as much with ten times the cgroups lies on the grey line, and one that stays is level."""
        figures = [{"suite": "bookworm", "test": "95-scale.growth", "figure": f"{what} with {n}", "value": v, "unit": ""}
                   for n in (10, 100) for what, v in (("as they do", n), ("not at all", 7))]
        code, svg, said = self.run_on(figures, "scale")
        self.assertEqual((code, said), (0, ""))
        circles = [(float(e.get("cx")), float(e.get("cy"))) for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle")]
        (x0, y0), (x1, y1), (_, y2), (_, y3) = circles
        self.assertAlmostEqual(x1 - x0, y0 - y1, places=1)
        self.assertEqual(y2, y3)

    def test_no_growth_to_show(self) -> None:
        self.assertEqual(self.run_on([], "scale")[0], 1)

    def test_everybody_is_in_it(self) -> None:
        code, svg, _ = self.picture({"99-peers.leak": ("nobody", "a, tuned", "cgd"), "98-peers-io.reads": ("nobody", "cgd")})
        self.assertEqual(code, 0)
        words = [e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        for name, times in (("nobody", 2), ("a, tuned", 1), ("cgd", 2), ("requests kept, %", 2)):
            self.assertEqual(words.count(name), times, name)

    def test_nothing_to_show(self) -> None:
        code, svg, said = self.picture({"20-figures.leak_100": ("cgd",)})
        self.assertEqual((code, svg), (1, ""))
        self.assertIn("no figures of the peers", said)


if __name__ == "__main__":
    unittest.main()
