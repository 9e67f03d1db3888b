# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many drills, and what came of them: the figures of the scenarios that have targets, and whether the right one was contained
in every one of all. `./dev bench drills`."""
import json
from pathlib import Path

from drills import drill
from vmlib import VM, check, limited, only_full, sh

QUICK_ON = "bookworm"
CULPRIT = "/cgddrill.slice/cgddrill-culprit.slice"
# Median of five, in 1/100 % and ms: what must hold at least, and at most.
AT_LEAST = {"isolation p01": 9800, "isolation mean": 9950, "work": 8000}
AT_MOST = {"latency_impact mean": 500, "latency_impact p99": 2500}


def rehearse(vm: VM, *argv: str, timeout: float) -> list[dict]:
    status, result, said = drill(*argv, timeout=timeout)
    check(result, f"exit {status}: {said}")
    path = Path("/run/vmtest/drill.json")
    path.write_text(json.dumps(result))
    vm.log(sh("cgctl", "drill", f"--from={path}"))
    return result["scenarios"]


def number(run: dict, words: str) -> int | None:
    for word in words.split():
        run = run.get(word) if isinstance(run, dict) else None
    return run


def wrong(scenario: dict) -> list[str]:
    """What is wrong with whom cgd acted on, in each run."""
    found = []
    for n, pair in enumerate(scenario["runs"], 1):
        run, name = pair["with"], f"{scenario['scenario']}, {n}"
        if run["others_touched"]:
            found.append(f"{name}: touched {run['others_touched']}")
        elif scenario["harmless"] and run["culprit"]:
            found.append(f"{name}: harmless, and contained: {run['culprit']}")
        elif not scenario["harmless"] and not (run["culprit"] or "").startswith(CULPRIT):
            # Without containment it did no harm either: there was nobody to blame. What the machine's other work costs
            # the service counts as harm here; the calm beside it tells it apart.
            kept, calm = pair["without"]["isolation"]["mean"], pair["without"].get("calm", 10000)
            if "alarm_ms" in run or kept < 9900:
                found.append(f"{name}: nobody was contained, and {kept / 100} % were kept without, {calm / 100} % in the calm")
        if not run["given_back"]:
            found.append(f"{name}: not everything was given back")
    return found


@only_full
@limited(7200)
def test_targets(vm: VM) -> None:
    """Median of five each."""
    vm.need_cgd()
    vm.wait_sensing()
    missed = []
    for name in ("leak", "swap-storm", "stream", "reads"):
        scenario = rehearse(vm, name, "--repeat=5", timeout=1500)[0]
        vm.log("\n".join(json.dumps(pair["with"]) for pair in scenario["runs"]))
        for words in (*AT_LEAST, *AT_MOST, "first_step_ms", "alarm_ms", "relief_ms", "longest_silence_ms"):
            value = number(scenario["with"], words)
            if value is None:
                continue
            before = number(scenario["without"], words)
            percent = not words.endswith("ms")
            vm.figure(f"{name}: {words}", value / 100 if percent else value, "%" if percent else "ms")
            if before is not None:
                vm.figure(f"{name}: {words}, without containment", before / 100 if percent else before, "%" if percent else "ms")
            if value < AT_LEAST.get(words, value) or value > AT_MOST.get(words, value):
                missed.append(f"{name}: {words} is {value}")
        missed += wrong(scenario)
    check(not missed, "\n".join(missed))


@only_full
@limited(7200)
def test_culprits(vm: VM) -> None:
    """Every scenario four times; short, for it is about who was contained. Round by round, each told when it is done: one that
    is stopped has told of all of them."""
    vm.need_cgd()
    vm.wait_sensing()
    names = [s["scenario"] for s in json.loads(sh("cgctl", "drill", "list", "--json=short"))]
    found: list[str] = []
    drills = alarms = right = 0
    for _ in range(4):
        for name in names:
            # A slow leak does no harm sooner.
            _, result, _ = drill(name, f"--for={20 if name == 'slow-leak' else 8}s", "--slo=isol-mean=1")
            scenario = result["scenarios"][0]
            without, run = (scenario["runs"][0][half] for half in ("without", "with"))
            bad = wrong(scenario)
            found += bad
            drills += 1
            if not scenario["harmless"] and "alarm_ms" in run:
                alarms += 1
                right += not bad
            vm.log(f"{drills:3} {name:12} kept {without.get('calm', 10000) / 100:5.1f} % in the calm, {without['isolation']['mean'] / 100:5.1f} %"
                   f" without and {run['isolation']['mean'] / 100:5.1f} % with, alarm {run.get('alarm_ms', '-')} ms,"
                   f" first step {run.get('first_step_ms', '-')} ms, {run['culprit'] or 'nobody'}"
                   f"{'; WRONG: ' + '; '.join(bad) if bad else ''}")
    vm.figure("drills", drills)
    vm.figure("with an alarm about who did harm", alarms)
    vm.figure("the right one contained", right)
    vm.figure("wrong", len(found))
    check(not found, "\n".join(found))


@only_full
@limited(2000)
def test_harmless(vm: VM) -> None:
    """Ten minutes beside a neighbour who takes and gives back what is free: nothing is done to him. An hour of it by a clock of
    its own is a unit test of the engine."""
    vm.need_cgd()
    vm.wait_sensing()
    watch = vm.watch()
    scenario = rehearse(vm, "harmless", "--for=10min", "--slo=isol-mean=1", timeout=1900)[0]
    watch.stop()
    touched = {r["path"] for r in watch.changes()}
    vm.figure("kept", scenario["with"]["isolation"]["mean"] / 100, "%")
    vm.figure("changes", len(watch.changes()))
    check(not touched, f"touched: {sorted(touched)}")
    check(not wrong(scenario), "\n".join(wrong(scenario)))
