# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

import qemu
from roots import run_logged
from vm import Tally, run_machine, selected

sys.path.insert(0, str(Path(__file__).resolve().parent / "guest"))
import drills  # noqa: E402
import peers  # noqa: E402
import vmlib  # noqa: E402

RESULT = {"type": "result", "test": "10-a.b", "outcome": "ok", "reason": "", "figures": [], "seconds": 1, "journal": ""}
ENDED = "the machine ended before its last result"


class RunMachine(unittest.TestCase):
    """A machine that leaves these texts on its console, one a boot, and dies of each but an empty one."""

    def run_with(self, *consoles: str) -> tuple[Tally, list[list[str]]]:
        tally, boots = Tally("bookworm"), []
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
            work = Path(name)

            def start(job: dict) -> tuple[str, int]:
                text = consoles[len(boots)]
                boots.append(job["done"])
                (work / "console.log").write_text(text)
                tally.seen(RESULT | {"test": f"10-a.{len(boots)}"})
                return (ENDED if text else ""), 0

            run_machine(tally, work, {}, start)
        return tally, boots

    def test_a_machine_that_ends_well_is_booted_once(self) -> None:
        tally, boots = self.run_with("")
        self.assertEqual((tally.problems, boots), ([], [[]]))

    def test_the_emulation_gets_a_second_machine_for_the_rest(self) -> None:
        tally, boots = self.run_with("[ 11.0] Oops: int3: 0000 [#1] PREEMPT SMP\n[ 11.1] Kernel panic\n", "")
        self.assertEqual((tally.problems, boots), ([], [[], ["10-a.1"]]))

    def test_but_no_third(self) -> None:
        tally, boots = self.run_with("Oops: int3\n", "Oops: int3\n")
        self.assertEqual((tally.problems, len(boots)), (["console: Oops: int3", ENDED], 2))

    def test_a_kernel_that_dies_of_something_else_is_a_failure(self) -> None:
        tally, boots = self.run_with("[ 11.0] Kernel panic - not syncing: Fatal exception\n")
        self.assertEqual((len(tally.problems), len(boots)), (2, 1))

    def test_a_warning_that_no_scenario_told_of_is_a_failure(self) -> None:
        tally = Tally("bookworm")
        with contextlib.redirect_stdout(io.StringIO()):
            tally.seen(RESULT | {"outcome": "failed", "reason": "kernel: [ 9.1] WARNING: CPU: 0 PID: 7 at b"})
        tally.seen({"type": "end", "failed": [], "kernel": ["WARNING: CPU: 1 PID: 1 at a", "WARNING: CPU: 0 PID: 7 at b"]})
        self.assertEqual(tally.problems, ["kernel: WARNING: CPU: 1 PID: 1 at a"])


class Follow(unittest.TestCase):
    """A machine that says these records at these seconds, and then hangs."""

    def seconds_until_given_up(self, *records: tuple[float, dict]) -> float:
        now, left = [0.0], list(records)
        machine = qemu.Machine.__new__(qemu.Machine)
        machine.own, machine.process = 0, mock.Mock(pid=0, poll=lambda: None)
        machine.last_words = lambda: "who waits"
        machine.lines = mock.Mock(read=lambda: [left.pop(0)[1]] if left and left[0][0] <= now[0] else [])
        with mock.patch.object(qemu, "time", mock.Mock(monotonic=lambda: now[0], sleep=lambda _: now.__setitem__(0, now[0] + 1))):
            self.assertRegex(machine.follow(lambda _: None, silence=120), "said nothing for .* in a.b\nwho waits")
        return now[0]

    def test_a_scenario_has_its_own_limit(self) -> None:
        start = (0, {"type": "start", "test": "a.b", "limit": 3600})
        self.assertAlmostEqual(self.seconds_until_given_up(start, (10, {"type": "log"})), 10 + 3600 + 120, delta=2)
        self.assertAlmostEqual(self.seconds_until_given_up(start, (10, {"type": "cleanup", "limit": 300})), 10 + 300 + 120, delta=2)
        self.assertAlmostEqual(self.seconds_until_given_up(start, (10, {"type": "result"})), 10 + 120 + 120, delta=2)


class LastWords(unittest.TestCase):
    """A machine that hangs, whose QEMU answers, and whose kernel does or does not."""

    def last_words(self, kernel_answers: bool, listens: bool = True) -> list[str]:
        machine = qemu.Machine.__new__(qemu.Machine)
        machine.work, machine.PATIENCE = Path(self.enterContext(tempfile.TemporaryDirectory())), 0.2
        server = self.enterContext(socket.socket(socket.AF_UNIX))

        def answer() -> None:
            line = server.accept()[0]
            while asked := line.recv(99):
                if asked.startswith(b"\x01c"):
                    line.sendall(b"QEMU 7.2 monitor\r\nCPU#0\r\nRAX=1\r\nRIP=2 HLT=1\r\n")
                elif kernel_answers:
                    line.sendall(b"[ 9.1] sysrq: %c\r\n" % asked[2])
            line.close()

        if listens:
            server.bind(str(machine.work / machine.SOCKET))
            server.listen()
            threading.Thread(target=answer, daemon=True).start()
        return machine.last_words().splitlines()

    def test_a_kernel_that_answers(self) -> None:
        self.assertEqual(self.last_words(True), [*(f"[ 9.1] sysrq: {key}" for key in "8wl"), "CPU#0", "RIP=2 HLT=1"])

    def test_one_that_does_not(self) -> None:
        self.assertEqual(self.last_words(False), ["CPU#0", "RIP=2 HLT=1"])

    def test_a_machine_that_is_gone(self) -> None:
        self.assertIn("could not be asked", self.last_words(True, listens=False)[0])


class Drill(unittest.TestCase):
    """A cgctl that ends, one drill after the other, with these statuses, faults of what it did (None: nothing was), and words."""

    def drill(self, *ends: tuple[int, list[list[str]] | None, str]) -> tuple[int, int]:
        left = list(ends)

        def run(*_argv, **_more) -> mock.Mock:
            status, faults, said = left.pop(0)
            return mock.Mock(returncode=status, stderr=said,
                             stdout="" if faults is None else json.dumps({"scenarios": [{"faults": f} for f in faults]}))

        with mock.patch.object(drills.subprocess, "run", run), mock.patch.object(vmlib.time, "sleep"):
            status, result, _ = drills.drill("leak", "harmless")
        self.assertEqual(left, [])
        return status, len(result["scenarios"])

    def test_a_machine_in_trouble_is_waited_for(self) -> None:
        self.assertEqual(self.drill((1, None, "not now: x"), (0, [[], []], "")), (0, 2))
        self.assertEqual(self.drill((1, [[]], "not now: x"), (3, [[], ["cgd died"]], "")), (3, 2))

    def test_part_of_a_drill_is_none(self) -> None:
        for end in ((1, [[]], "stopped, for programs outside it wait"), (1, [["not everything was given back"]], "not now: x"),
                    (1, None, "cgd is gone")):
            with self.assertRaises(vmlib.Failure):
                self.drill(end)


class Watch(unittest.TestCase):
    """A cgd-watch that looks once, and then does this."""

    def watch(self, then: str) -> vmlib.Watch:
        top = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("TESTS", "RUN"):
            self.enterContext(mock.patch.object(vmlib, name, top))
        program = top / "cgd-watch"
        program.write_text(f"#!/bin/sh\ntrap 'exit 0' TERM\necho '{{\"t\": 1, \"avail_kb\": 2}}' >${{1#--output=}}\n{then}\n")
        program.chmod(0o755)
        watch = vmlib.Watch("watch")
        self.assertTrue(vmlib.wait(watch.looks, 5, 0.01))
        return watch

    def test_one_that_looked_on(self) -> None:
        watch = self.watch("while :; do sleep 0.01; done")
        self.assertEqual(watch.stop().changes(), [])
        self.assertEqual(watch.end(), [])

    def test_one_that_died_proves_nothing(self) -> None:
        for then in ("exit 1", "kill -KILL $$"):
            watch = self.watch(then)
            watch.process.wait(5)
            self.assertRaises(vmlib.Failure, watch.stop)
            # Nor does it when it is asked again.
            self.assertEqual(len(watch.end()), 1)


class Measured(unittest.TestCase):
    """A peer whose main process is the first of these before a run, and the second after it."""

    def measured(self, *pids: int, one=lambda vm, name: peers.Run(50.0, 100, None), setup=lambda vm: "x.service") -> list[peers.Run]:
        with mock.patch.dict(peers.PEERS, x=setup), mock.patch.object(peers, "main_pid", mock.Mock(side_effect=pids)):
            return peers.measured(mock.Mock(), one, "x")

    def test_one_that_was_there_all_the_while(self) -> None:
        self.assertEqual(self.measured(7, 7), [peers.Run(50.0, 100, None)])
        self.assertEqual(self.measured(setup=lambda vm: ""), [peers.Run(50.0, 100, None)])

    def test_a_service_that_died_is_a_result(self) -> None:
        self.assertEqual(self.measured(7, 7, one=mock.Mock(side_effect=vmlib.NoFigures)), [peers.Run(0.0, 60_000, None)])

    def test_whatever_else_fails_is_none(self) -> None:
        for pids in ((0,), (7, 0), (7, 8)):
            self.assertRaises(vmlib.Failure, self.measured, *pids)
        self.assertRaises(vmlib.Failure, self.measured, 7, one=mock.Mock(side_effect=vmlib.Failure))
        self.assertRaises(vmlib.Failure, self.measured, setup=mock.Mock(side_effect=vmlib.NoFigures))


class RunLogged(unittest.TestCase):
    def test_who_is_stopped_stops_all_that_he_runs(self) -> None:
        def stop(_signal, _frame) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, stop)
        with tempfile.TemporaryDirectory() as name:
            log = Path(name) / "log"
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with self.assertRaises(KeyboardInterrupt):
                # As mmdebstrap: it does not end before those that it runs.
                run_logged(["sh", "-c", "trap : TERM; sleep 60 & echo $!; wait; wait"], log, "making a tree")
            pid = int(log.read_text())
        signal.signal(signal.SIGALRM, before)
        self.assertTrue(vmlib.wait(lambda: not os.path.exists(f"/proc/{pid}") or vmlib.read(f"/proc/{pid}/stat").split()[2] == "Z", 5))


class Selected(unittest.TestCase):
    def test_a_file_of_which_nothing_would_run_is_left_out(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            for file, text in (("10-a.py", "def test_x(vm): pass\n@only_full\ndef test_y(vm): pass\n"),
                               ("20-b.py", "MACHINE = {'memory_mib': 3072}\n@only_full\n@limited(9)\ndef test_x(vm): pass\n"),
                               ("30-c.py", "QUICK_ON = 'trixie'\ndef test_x(vm): pass\n")):
                (Path(name) / file).write_text(text)

            def files(words: list[str], full: bool = False) -> list[str]:
                return [f for group in selected("bookworm", words, full, Path(name)).values() for f in group]

            self.assertEqual(files([]), ["scenario/10-a.py"])
            self.assertEqual(files([], full=True), ["scenario/10-a.py", "scenario/30-c.py", "scenario/20-b.py"])
            self.assertEqual(files(["b.x"]), ["scenario/20-b.py"])
            self.assertEqual(files(["a.y", "c."]), ["scenario/10-a.py", "scenario/30-c.py"])


if __name__ == "__main__":
    unittest.main()
