# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every change is undone: when the neighbour stops by itself, when cgd stops, when cgd is killed, and
containment holds when systemd reloads itself meanwhile."""
import os
import random
import signal
import time

from vmlib import CGD_UNIT, KILLED, RUN, VM, Unit, check, full, limited, monotonic, sh, wait

KILLS, KILLS_QUICK = 50, 4
# of lib/model/message-id.h
HOOK, HOOK_FAILED = "d93304335a974de3807e0b35ca6d4543", "4f1501f19f6045a7ae43f32deaaf62a6"


def contained(vm: VM, may_be_gone: bool = False) -> Unit:
    """A neighbour that is being held."""
    return vm.held_hog(may_be_gone=may_be_gone, rate="100M", seconds=120)


@limited(240)
def test_stops_by_itself(vm: VM) -> None:
    """It grows until it is held, then wants no more: every value is back within 30 s and it lives."""
    vm.need_cgd()
    before = vm.limits()
    vm.victim()
    hog = contained(vm)
    sh("systemctl", "kill", "--signal=USR1", hog.name)
    began = monotonic()
    back = wait(lambda: hog.high() == "max", 60, 0.2)
    check(back, "its limit was not given back within 60 s")
    vm.figure("all given back after", round(monotonic() - began, 1), "s")
    check(monotonic() - began <= 30, "giving back took more than 30 s")
    check(hog.alive(), "it was killed although it had stopped growing")
    check(not vm.changed_limits(before), f"left changed: {vm.changed_limits(before)}")


@limited(240)
def test_never_yields(vm: VM) -> None:
    """One that never yields is killed, once, and systemd says by what."""
    vm.need_cgd()
    vm.victim()
    hog = contained(vm, may_be_gone=True)
    began = monotonic()
    check(hog.wait_gone(60), "it was not killed within 60 s")
    vm.figure("killed after", round(monotonic() - began, 1), "s")
    time.sleep(2)
    check(vm.kills() == 1, f"{vm.kills()} kills")
    vm.figure("unit's result", hog.show("Result"))


def killed_after(vm: VM, name: str, command: str) -> tuple[Unit, dict[str, dict]]:
    """A neighbour that is killed by a policy with that command; cgd's lines about that, by their kind."""
    vm.policy("sideload", f"[Contain]\n{command}\n")
    hog = vm.hog("leak", name=name, rate="100M", seconds=120)

    def lines() -> dict[str, dict]:
        return {e["MESSAGE_ID"]: e for e in vm.journal() if e.get("MESSAGE_ID") in (HOOK, HOOK_FAILED, KILLED)
                and e.get("CGD_CULPRIT", "").endswith("/" + hog.name)}
    check(wait(lambda: KILLED in lines(), 90, 0.5), f"{hog.name} was not killed within 90 s")
    check(HOOK in lines(), "nothing was said of the command")
    return hog, lines()


def seconds_of(entry: dict) -> float:
    """When it was sent: journald may be late in such trouble."""
    return int(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"]) / 1e6


@limited(300)
def test_pre_kill_exec(vm: VM) -> None:
    """PreKillExec= is run before the kill, and one that does not end holds the kill up for no longer than it may."""
    vm.need_cgd()
    vm.victim()
    hog, lines = killed_after(vm, "hog", f"PreKillExec=/usr/bin/touch {RUN}/dumped-%i")
    made = RUN / f"dumped-{hog.name}"
    check(made.exists(), f"{made} is not there; {sorted(p.name for p in RUN.iterdir())} are")
    check(HOOK_FAILED not in lines, lines.get(HOOK_FAILED, {}).get("MESSAGE"))
    death = [e for e in vm.journal("_PID=1", f"UNIT={hog.name}") if "exited" in e["MESSAGE"]]
    check(death, "systemd did not say that the neighbour ended")
    check(made.stat().st_mtime <= seconds_of(death[0]), "the command came after the kill")
    check(seconds_of(lines[HOOK]) <= seconds_of(death[0]), "it was said only after the kill")
    vm.figure("held up by the command", round(seconds_of(death[0]) - seconds_of(lines[HOOK]), 2), "s")

    vm.settle()
    _, lines = killed_after(vm, "hog-2", "PreKillExec=/bin/sleep 60\nPreKillTimeoutSec=1s")
    took = seconds_of(lines[KILLED]) - seconds_of(lines[HOOK])
    vm.figure("killed after a command that hangs", round(took, 2), "s")
    check(1 <= took <= 5, "PreKillTimeoutSec=1s is not what the kill waited")
    check("was not over within 1s" in lines.get(HOOK_FAILED, {}).get("MESSAGE", ""), f"said: {lines.get(HOOK_FAILED)}")
    check(vm.kills() == 2, f"{vm.kills()} kills")
    check(wait(lambda: not sh("systemctl", "list-units", "--all", "--plain", "--no-legend", "cgd-pre-kill-*"), 10),
          "a command's service is still there")


@limited(200)
def test_stop_gives_back(vm: VM) -> None:
    vm.need_cgd()
    before = vm.limits()
    vm.victim()
    hog = contained(vm)
    took = vm.stop_cgd()
    vm.figure("stopping took", round(took, 2), "s")
    check(took <= 2, "stopping took more than 2 s")
    check(hog.high() == "max", f"memory.high is still {hog.high()}")
    hog.stop()
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
        check(wait(lambda: vm.cgd_active() and vm.cgd_pid() != pid, 20, 0.2), f"round {number}: cgd did not come back")
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


def held_through(vm: VM, verb: str) -> None:
    vm.need_cgd()
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    vm.victim()
    hog = contained(vm)
    high, has = hog.number("memory.high"), hog.memory()
    sh("systemctl", verb, timeout=90)
    time.sleep(3)
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    check(hog.high() != "max", f"{verb} took the limit away")
    # Where there is room cgd raises the limit by and by; what it may not do is pass it. While systemd has taken the
    # limit away it grows: for two seconds at most.
    granted = hog.number("memory.high") - high
    check(hog.number("memory.current") <= hog.number("memory.high") + (16 << 20), f"it is above its limit after {verb}")
    check(hog.memory() - has < max(granted, 0) + (200 << 20),
          f"it grew by {(hog.memory() - has) >> 20} MiB through {verb}, of which {granted >> 20} MiB were granted")


@limited(200)
def test_daemon_reload(vm: VM) -> None:
    held_through(vm, "daemon-reload")


@limited(200)
def test_daemon_reexec(vm: VM) -> None:
    held_through(vm, "daemon-reexec")


@limited(200)
def test_sibling_is_held(vm: VM) -> None:
    """A service of workload.slice that leaks is held for its sibling's sake, and never killed there."""
    vm.need_cgd()
    pair = vm.pair(seconds=40, slices=("workload.slice", "workload.slice"), rate="100M")
    vm.victim_figures(pair.result)
    check(pair.first_step() is not None, "nothing was done")
    check(vm.culprits() <= {pair.hog_path}, f"culprits: {vm.culprits()}")
    check(vm.kills() == 0, "it was killed although its domain allows only what can be undone")
