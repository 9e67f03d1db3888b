#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build Debian machines, run cgd's scenarios in them, say what came out.

What a person calls is ./dev; this is what it calls for everything that needs a machine.
"""
from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Callable, Iterator

import image
import qemu
import timeline
from roots import CANARY, PEERS, SUITES, RootError, cache_dir, locked, tree

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "bench/results"
SHORT = {"ok": "ok    ", "failed": "FAILED", "skipped": "skip  "}
CONSOLE_TROUBLE = re.compile(r"WARNING: CPU|BUG:|Oops|Kernel panic|blocked for more than|Freezing execution")
# The kernel patches its own code behind a breakpoint, and an emulated processor now and then still runs that breakpoint
# when the other one has taken it back.
EMULATION_TROUBLE = re.compile(r"Oops: int3")


@contextmanager
def progress(text: str) -> Iterator[None]:
    """One line a stage, with the seconds it took."""
    start = time.monotonic()
    print(f"  {text} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f" {time.monotonic() - start:.0f} s", flush=True)


def constants(path: Path) -> dict:
    """What a scenario file says about itself in constants, read without running it:
    MACHINE = {"iops": 800, ...}, the machine it wants; QUICK_ON = "bookworm", where it runs unless all is asked for."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) \
                and node.targets[0].id in ("MACHINE", "QUICK_ON"):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def names_of(path: Path, all_of_them: bool = True) -> list[str]:
    """The tests in a scenario file; without those that are @only_full unless all are asked for."""
    return [f"{path.stem}.{n.name[5:]}" for n in ast.parse(path.read_text()).body
            if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")
            and (all_of_them or not any(isinstance(d, ast.Name) and d.id == "only_full" for d in n.decorator_list))]


def selected(suite: str, words: list[str], full: bool, scenarios: Path = HERE / "scenario") -> dict[qemu.Profile, list[str]]:
    """The scenario files that hold a wanted test, by the machine they want.  As the guest's runner chooses: what is named
    runs, @only_full or not; for a file of which nothing would run no machine is booted."""
    paths = [p for p in sorted(scenarios.glob("[0-9]*.py"))
             if any(not words or any(w in name for w in words) for name in names_of(p, full or bool(words)))]
    groups: dict[qemu.Profile, list[str]] = {}
    for path in paths:
        says = constants(path)
        if full or words or says.get("QUICK_ON", suite) == suite:
            profile = replace(qemu.Profile(), **says.get("MACHINE", {}))
            groups.setdefault(profile, []).append(f"scenario/{path.name}")
    return groups


class Tally:
    """What came out so far, printed while it comes."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.profile = qemu.Profile()
        self.results: list[dict] = []
        self.problems: list[str] = []
        self.datas: list[dict] = []
        self.others = 0

    def seen(self, record: dict) -> None:
        kind = record.get("type")
        if kind == "hello":
            print(f"  up after {record['boot']:.0f} s: Linux {record['kernel']}, {record['systemd']}", flush=True)
            self.note_failed("after boot", record["failed"])
        elif kind == "log":
            print(f"    {record['text']}", flush=True)
        elif kind == "data":
            self.datas.append(record)
        elif kind == "end":
            self.note_failed("at the end", record["failed"])
            # At boot, between two scenarios, or in one that has told of it already.
            told = "\n".join(r["reason"] for r in self.results)
            self.problems += [f"kernel: {line}" for line in record["kernel"] if line not in told][:5]
        elif kind == "result":
            self.results.append(record)
            self.print_result(record)

    def note_failed(self, when: str, units: list[str]) -> None:
        units = [u for u in units if u not in self.profile.failed]
        if units:
            self.problems.append(f"failed {when}: {' '.join(units)}")

    def print_result(self, r: dict) -> None:
        text = f" ({r['reason']})" if r["outcome"] == "skipped" else ""
        figures = ", ".join(f"{n} {v}{' ' + u if u else ''}" for n, v, u in r["figures"])
        print(f"  {SHORT[r['outcome']]} {r['test']}  {r['seconds']} s{text}  {figures}".rstrip(), flush=True)
        if r["outcome"] == "failed":
            for line in r["reason"].rstrip().splitlines():
                print(f"         {line}")
            for line in r["journal"].splitlines():
                print(f"         | {line}")
            sys.stdout.flush()

    def count(self, outcome: str) -> int:
        return sum(r["outcome"] == outcome for r in self.results)


def console_trouble(console: Path) -> list[str]:
    if not console.exists():
        return []
    lines = console.read_text(errors="replace").splitlines()
    return [f"console: {line}" for line in lines if CONSOLE_TROUBLE.search(line)][:5]


def print_figures(tallies: list[Tally]) -> None:
    rows = [(t.suite, r["test"], n, f"{v}{' ' + u if u else ''}")
            for t in tallies for r in t.results for n, v, u in r["figures"]]
    if not rows:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print("\nFigures")
    for row in rows:
        print("  " + "  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]))


def keep_figures(tallies: list[Tally]) -> None:
    """One file a run for bench/compare."""
    figures = [{"suite": t.suite, "test": r["test"], "figure": n, "value": v, "unit": u}
               for t in tallies for r in t.results for n, v, u in r["figures"]]
    if not figures:
        return
    commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    RESULTS.mkdir(exist_ok=True)
    now = time.gmtime()
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json", now)
    path.write_text(json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", now), "commit": commit.stdout.strip(),
                                "others_percent": max(t.others for t in tallies), "figures": figures}, indent=1) + "\n")
    print(f"kept in bench/results/{path.name}")


def run_machine(tally: Tally, work: Path, job: dict, start: Callable[[dict], tuple[str, int]]) -> None:
    """Run a job in a machine, and what it has not come to in a second one where the emulation ended the first."""
    for last in (False, True):
        problem, others = start(job | {"done": [r["test"] for r in tally.results]})
        tally.others = max(tally.others, others)
        if others > 15:
            print(f"  note: other work used {others} % of this computer meanwhile; figures suffer from that")
        console = work / "console.log"
        trouble = console_trouble(console)
        if last or not problem or not any(EMULATION_TROUBLE.search(line) for line in trouble):
            tally.problems += trouble + [problem] * bool(problem)
            return
        print("\n".join(["  note: the emulation ended the machine; booting once more for the rest (console-1.log)",
                         *trouble]), flush=True)
        console.rename(work / "console-1.log")


def run_suite(suite: str, words: list[str], full: bool) -> Tally:
    tally = Tally(suite)
    root_img, root = image.root_image(suite, progress)
    work = image.work_dir(suite)
    for number, (profile, files) in enumerate(selected(suite, words, full).items()):
        tally.profile = profile
        print(f"  booting {suite} ({len(files)} scenario file{'s' * (len(files) > 1)},"
              f" {profile.iops} IOPS, {profile.bps // 1_000_000} MB/s)", flush=True)
        run_machine(tally, work, {"mode": "test", "files": files, "words": words, "full": full},
                    partial(qemu.run, work, root, root_img, profile, seen=tally.seen))
        (work / f"results-{number}.json").write_text(json.dumps(tally.results, indent=1))
    for text in tally.problems:
        print(f"  FAILED {suite}: {text}")
    return tally


def cmd_test(args: argparse.Namespace) -> int:
    tallies = []
    for suite in args.suite or SUITES:
        print(f"{suite}:", flush=True)
        with locked(image.work_dir(suite) / "lock", "another run in this work tree"):
            tallies.append(run_suite(suite, args.word, args.full))
    print_figures(tallies)
    keep_figures(tallies)
    passed, skipped = (sum(t.count(o) for t in tallies) for o in ("ok", "skipped"))
    failed = 0
    for t in tallies:
        if t.suite != CANARY:
            failed += t.count("failed") + len(t.problems)
        elif t.count("failed") + len(t.problems):
            print(f"\nwarning: with the kernel to come {t.count('failed')} tests failed, and {len(t.problems)} other things")
    if args.count:
        Path(args.count).write_text(f"{passed} {failed} {skipped}\n")
    print(f"\nvm: {passed} passed, {failed} failed, {skipped} skipped")
    if not passed + failed + skipped:
        print("no test has that in its name")
    return 1 if failed or not passed + skipped else 0


def cmd_demo(args: argparse.Namespace) -> int:
    suite = (args.suite or ["bookworm"])[0]
    tally = Tally(suite)
    with locked(image.work_dir(suite) / "lock", "another run in this work tree"):
        root_img, root = image.root_image(suite, progress)
        print(f"  booting {suite}, 1 GiB, slow disks; the whole takes about three minutes", flush=True)
        job = {"mode": "test", "files": ["demo/demo.py"], "words": [], "full": True}
        problem, others = qemu.run(image.work_dir(suite), root, root_img, qemu.Profile(), job, tally.seen)
    for text in tally.problems + ([problem] if problem else []):
        print(f"  FAILED {suite}: {text}")
    for record in tally.datas:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        print("\n" + timeline.draw(record["value"], shutil.get_terminal_size().columns, colour))
    if others > 15:
        print(f"Other work used {others} % of this computer meanwhile; the picture suffers from that.")
    bad = problem or tally.problems or tally.count("ok") != len(tally.results) or not tally.datas
    return 1 if bad else 0


def cmd_shell(args: argparse.Namespace) -> int:
    suite = args.suite_name
    with locked(image.work_dir(suite) / "lock", "another run in this work tree"):
        root_img, root = image.root_image(suite, progress)
        print("  booting; log out and run 'poweroff', or press Ctrl-A X, to end it", flush=True)
        return qemu.shell(image.work_dir(suite), root, root_img, qemu.Profile())


def cmd_roots(args: argparse.Namespace) -> int:
    for suite in args.suite or SUITES:
        for kind in ("build", "run"):
            print(tree(kind, suite, progress))
    return 0


def cmd_build(args: argparse.Namespace) -> int:
    for suite in args.suite or SUITES:
        with locked(image.work_dir(suite) / "lock", "another run in this work tree"):
            print(image.root_image(suite, progress)[0])
    return 0


def cmd_clean(_args: argparse.Namespace) -> int:
    for path in cache_dir().iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    return 0


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = p.add_subparsers(required=True)
    for name, func, text in (("test", cmd_test, "run the scenarios"),
                             ("demo", cmd_demo, "draw the main job, without cgd and with it"),
                             ("roots", cmd_roots, "make the Debian trees"),
                             ("build", cmd_build, "build and install, without booting"),
                             ("clean", cmd_clean, "remove the cached trees")):
        s = sub.add_parser(name, help=text)
        s.set_defaults(func=func)
        s.add_argument("-s", "--suite", action="append", choices=(*SUITES, CANARY, *PEERS), help="only that one")
        if name == "test":
            s.add_argument("-k", "--word", action="append", default=[], help="only tests with that in the name")
            s.add_argument("--full", action="store_true", help="every variant, on every suite (hours)")
            s.add_argument("--count", help=argparse.SUPPRESS)
    s = sub.add_parser("shell", help="a root shell in a machine")
    s.add_argument("suite_name", choices=(*SUITES, CANARY, *PEERS), metavar="SUITE")
    s.set_defaults(func=cmd_shell)
    return p


def main() -> int:
    args = parser().parse_args()
    # What is mounted is unmounted on the way out.
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _frame: sys.exit(f"vm.py: ended by {signal.Signals(number).name}"))
    if os.geteuid() != 0 and args.func is not cmd_clean:
        print("vm.py: needs root to make and mount Debian trees; run it through sudo", file=sys.stderr)
        return 1
    try:
        return args.func(args)
    except RootError as e:
        print(f"vm.py: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
