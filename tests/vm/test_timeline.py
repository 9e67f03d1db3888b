# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import re
import unittest

import timeline


def make_run(title: str, buckets: list[int], events: list[dict], **victim) -> dict:
    done = sum(buckets)
    planned = 10 * len(buckets)
    return {
        "title": title, "start_usec": 2_000_000,
        "victim": {"t0_usec": 1_000_000, "rate": 100, "bucket_ms": 100, "buckets": buckets + [0],
                   "kept_permyriad": done * 10000 // planned, "longest_silence_ms": 10} | victim,
        "events": events,
        "memory": [[1_000_000 + i * 100_000, i << 22] for i in range(len(buckets))],
    }


GOOD = make_run("with cgd", [10] * 300, [
    {"t_usec": 5_000_000, "kind": "hold", "bytes": 400 << 20},
    {"t_usec": 6_000_000, "kind": "squeeze", "bytes": 300 << 20},
    {"t_usec": 6_500_000, "kind": "squeeze", "bytes": 200 << 20},
    {"t_usec": 9_000_000, "kind": "gone"},
])
BAD = make_run("without cgd", [10] * 100 + [0] * 50 + [5] * 150, [])


class Timeline(unittest.TestCase):
    def lines(self, width: int = 80, **more) -> list[str]:
        return timeline.draw({"runs": [BAD, GOOD], "why": ""} | more, width).split("\n")

    def test_fits(self) -> None:
        for width in (80, 100, 200):
            for line in self.lines(width):
                self.assertLessEqual(len(line), width, line)

    def test_shows_loss_where_it_was(self) -> None:
        cols = timeline.columns(BAD, 30, 30.1)
        self.assertEqual(cols[3]["kept"], 1.0)
        self.assertEqual(cols[12]["kept"], 0.0)
        self.assertTrue(cols[12]["silent"])
        self.assertAlmostEqual(cols[25]["kept"], 0.5)
        self.assertFalse(any(c["silent"] for c in timeline.columns(GOOD, 30, 30.1)))

    def test_states_in_order(self) -> None:
        row = timeline.state_row(GOOD, 31, 31.0, False).rstrip()
        self.assertRegex(row, "^ ─+▓+✕$")

    def test_short_hold_is_seen(self) -> None:
        run = make_run("x", [10] * 300, [{"t_usec": 5_000_000, "kind": "hold", "bytes": 1},
                                         {"t_usec": 5_000_100, "kind": "release"}])
        self.assertEqual(timeline.state_row(run, 10, 30.0, False).count("▓"), 1)

    def test_steps_are_collapsed(self) -> None:
        text = "\n".join(timeline.event_lines(GOOD))
        self.assertIn("   3.00 s  held at 400M", text)
        self.assertIn("squeezed to 200M in 2 steps, until 4.50 s", text)
        self.assertIn("   7.00 s  gone", text)

    def test_totals(self) -> None:
        text = "\n".join(self.lines())
        self.assertIn("requests kept 100.0 %", text)
        self.assertIn("neighbour gone after 7.0 s", text)
        self.assertIn("neighbour there to the end", text)

    def test_colour_changes_no_character(self) -> None:
        data = {"runs": [BAD, GOOD], "why": "because"}
        coloured = timeline.draw(data, 80, True)
        self.assertIn("\033[31m", coloured)
        self.assertEqual(re.sub(r"\033\[\d*m", "", coloured), timeline.draw(data, 80, False))

    def test_why_is_last(self) -> None:
        self.assertEqual(self.lines(why="alarm: x\n")[-2:], ["alarm: x", ""])

    def test_no_memory_no_events(self) -> None:
        run = make_run("x", [10] * 10, []) | {"memory": []}
        self.assertIn("100 %", timeline.draw({"runs": [run]}, 80))


if __name__ == "__main__":
    unittest.main()
