# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every change is undone: when the neighbour stops by itself, and when cgd is killed. What systemd has a part in is in 41-systemd."""
import os
import random
import signal
import time

from vmlib import CGD_UNIT, VM, check, full, limited, monotonic, sh, wait

KILLS, KILLS_QUICK = 50, 4
# Of its leaks 41-systemd and 30-shapes see to the other suite.
QUICK_ON = "bookworm"


@limited(240)
def test_stops_by_itself(vm: VM) -> None:
    """It grows until it is held, then wants no more: every value is back within 30 s and it lives."""
    vm.need_cgd()
    before = vm.limits()
    vm.victim()
    hog = vm.held_hog(rate="100M", seconds=120)
    # At once, so that it is not killed for what it still wants.
    hog.enough()
    began = monotonic()
    back = wait(lambda: hog.high() == "max", 60, 0.2)
    check(back, "its limit was not given back within 60 s")
    vm.figure("all given back after", round(monotonic() - began, 1), "s")
    check(monotonic() - began <= 30, "giving back took more than 30 s")
    check(hog.alive(), "it was killed although it had stopped growing")
    check(not vm.changed_limits(before), f"left changed: {vm.changed_limits(before)}")


@limited(1500)
def test_killed_at_any_moment(vm: VM) -> None:
    """kill -9 at random moments of an incident, before systemd was told of the hold and after: the neighbour, alive, has its
    limits back, and systemd says nothing of them."""
    vm.need_cgd()
    # One that was killed would prove nothing.
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    before = vm.limits()
    vm.victim(anon="120M", file="32M")
    random.seed(1)
    rounds = KILLS if full() else KILLS_QUICK
    longest, told = 0.0, 0
    for number in range(rounds):
        hog = vm.held_hog(30, name=f"hog-{number}", rate="200M", seconds=150)
        if number % 4 == 3:
            # A lease that lasts 2 s is systemd's too.
            check(wait(lambda: hog.show("MemoryHigh") != "infinity", 30, 0.1), f"round {number}: systemd was never told")
            told += 1
        time.sleep(random.random() * 0.8)
        check(hog.high() != "max", f"round {number}: it is not held any more")
        pid = vm.cgd_pid()
        # At once, so that nobody has a reason to hold it anew.
        hog.enough()
        os.kill(pid, signal.SIGKILL)
        began = monotonic()
        check(wait(lambda: vm.cgd_active() and vm.cgd_pid() != pid, 60, 0.2), f"round {number}: cgd did not come back")
        back = wait(lambda: not hog.limited(), 30, 0.2)
        check(back, f"round {number}: not given back: {hog.limited()}")
        longest = max(longest, monotonic() - began)
        check(hog.alive(), f"round {number}: it is gone: {hog.show('Result')}")
        hog.stop()
        check(not vm.changed_limits(before), f"round {number}: left changed: {vm.changed_limits(before)}")
        sh("systemctl", "reset-failed", hog.name, CGD_UNIT, ok=False)
    said = [e for e in vm.journal(f"_SYSTEMD_UNIT={CGD_UNIT}") if "given back, for the cgd" in e["MESSAGE"]]
    check(len(said) >= rounds, f"what a dead cgd had changed was given back {len(said)} times in {rounds} rounds")
    vm.figure("kills survived", rounds)
    vm.figure("of them after systemd was told", told)
    vm.figure("given back after, at most", round(longest, 1), "s")


@limited(200)
def test_sibling_is_held(vm: VM) -> None:
    """A service of workload.slice that leaks is held for its sibling's sake, and never killed there."""
    vm.need_cgd()
    pair = vm.pair(seconds=40, slices=("workload.slice", "workload.slice"), rate="100M")
    vm.victim_figures(pair.result)
    check(pair.first_step() is not None, "nothing was done")
    check(vm.culprits() <= {pair.hog_path}, f"culprits: {vm.culprits()}")
    check(vm.kills() == 0, "it was killed although its domain allows only what can be undone")
