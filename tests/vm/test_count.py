# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import json
import unittest

from count import count, records, skips_of

CMOCKA = "[==========] Running 3 test(s).\n[  PASSED  ] 2 test(s).\n[  FAILED  ] 1 test(s), listed below:\n"
SKIP = "[==========] Running 2 test(s).\n[  PASSED  ] 1 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n"


def log(*tests: tuple[str, str]) -> str:
    return "\n".join(json.dumps({"name": "t", "result": r, "stdout": "", "stderr": text}) for r, text in tests)


class Count(unittest.TestCase):
    def test_cmocka(self) -> None:
        self.assertEqual(count(log(("FAIL", CMOCKA))), (2, 1, 0))
        self.assertEqual(count(log(("OK", SKIP))), (1, 0, 1))

    def test_tap(self) -> None:
        self.assertEqual(count(log(("OK", "1..2\nok 1 - a\nok 2 - b # SKIP no\n"))), (1, 0, 1))

    def test_plain(self) -> None:
        self.assertEqual(count(log(("OK", "fine"), ("FAIL", ""), ("SKIP", ""))), (1, 1, 1))

    def test_a_crash_after_passes_is_a_failure(self) -> None:
        text = "[==========] Running 3 test(s).\n[       OK ] a\n"
        self.assertEqual(count(log(("FAIL", text))), (0, 1, 0))
        self.assertEqual(count(log(("TIMEOUT", CMOCKA.replace("FAILED", "XX")))), (2, 1, 0))

    def test_who_was_skipped_and_why(self) -> None:
        text = ("[==========] Running 3 test(s).\n[ RUN      ] a\n[       OK ] a\n[ RUN      ] b\nneeds\nroot\n[  SKIPPED ] b\n"
                "[ RUN      ] c\n[  SKIPPED ] c\n[  PASSED  ] 1 test(s).\n[  SKIPPED ] 2 test(s), listed below:\n[  SKIPPED ] b\n[  SKIPPED ] c\n")
        for result, text, expected in (("OK", text, ["t: b: needs root", "t: c: it does not say why"]),
                                       ("OK", "1..2\nok 1 - a\nok 2 - b # SKIP no disk\n", ["t: b: no disk"]),
                                       ("SKIP", "no clang", ["t: no clang"]), ("FAIL", CMOCKA, [])):
            self.assertEqual([s for r in records(log((result, text))) for s in skips_of(r)], expected)


if __name__ == "__main__":
    unittest.main()
