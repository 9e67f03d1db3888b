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
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"figures": figures}, f)
            f.flush()
            p = subprocess.run([sys.executable, PICTURE, f.name], capture_output=True, text=True, check=False)
            return p.returncode, p.stdout, p.stderr

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
