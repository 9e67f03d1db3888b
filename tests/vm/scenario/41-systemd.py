# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is held, killed and given back where systemd has a part in it: it runs the commands before a kill, stops cgd, and
reloads itself meanwhile. On each suite, for each has another systemd."""
import time

from vmlib import KILLED, RUN, VM, Unit, check, limited, monotonic, sh, wait

# of lib/model/message-id.h
HOOK, HOOK_FAILED = "d93304335a974de3807e0b35ca6d4543", "4f1501f19f6045a7ae43f32deaaf62a6"


def check_result(hog: Unit) -> None:
    """As cgd(8) has it."""
    said = wait(lambda: (result := hog.show("Result")) != "success" and result, 10)
    check(said == "oom-kill", f"systemd says of {hog.name}, which cgd killed: {said}")


@limited(240)
def test_never_yields(vm: VM) -> None:
    """One that never yields is killed, once, and systemd says by what."""
    vm.need_cgd()
    vm.victim()
    hog = vm.held_hog(may_be_gone=True, rate="100M", seconds=120)
    began = monotonic()
    check(hog.wait_gone(60), "it was not killed within 60 s")
    vm.figure("killed after", round(monotonic() - began, 1), "s")
    # It is gone before cgd has seen that, and said it.
    check(wait(vm.kills, 30, 0.5), "cgd did not say that it killed it")
    time.sleep(2)
    check(vm.kills() == 1, f"{vm.kills()} kills")
    check_result(hog)


def killed_after(vm: VM, name: str, command: str) -> tuple[Unit, dict[str, dict]]:
    """A neighbour that is killed by a policy with that command; cgd's lines about that, by their kind."""
    vm.policy("sideload", f"[Contain]\n{command}\n")
    hog = vm.hog("leak", name=name, rate="100M", seconds=120)

    def lines() -> dict[str, dict]:
        return {e["MESSAGE_ID"]: e for e in vm.journal() if e.get("MESSAGE_ID") in (HOOK, HOOK_FAILED, KILLED)
                and e.get("CGD_CULPRIT", "").endswith("/" + hog.name)}
    check(wait(lambda: KILLED in lines(), 90, 0.5), f"{hog.name} was not killed within 90 s")
    check(HOOK in lines(), "nothing was said of the command")
    check_result(hog)
    return hog, lines()


def seconds_of(entry: dict) -> float:
    """When it was sent: journald may be late in such trouble."""
    return int(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"]) / 1e6


@limited(300)
def test_pre_kill_exec(vm: VM) -> None:
    """PreKillExec= is run before the kill, and one that does not end holds the kill up for no longer than it may."""
    vm.need_cgd()
    vm.victim()
    hog, lines = killed_after(vm, "hog", f"PreKillExec=/usr/bin/touch {RUN}/dumped-%i\nPreKillTimeoutSec=60s")
    made = RUN / f"dumped-{hog.name}"
    check(made.exists(), f"{made} is not there; {sorted(p.name for p in RUN.iterdir())} are")
    check(HOOK_FAILED not in lines, lines.get(HOOK_FAILED, {}).get("MESSAGE"))
    death = wait(lambda: [e for e in vm.journal("_PID=1", f"UNIT={hog.name}") if "exited" in e["MESSAGE"]], 30, 0.5)
    check(death, "systemd did not say that the neighbour ended")
    check(made.stat().st_mtime <= seconds_of(death[0]), "the command came after the kill")
    check(seconds_of(lines[HOOK]) <= seconds_of(death[0]), "it was said only after the kill")
    vm.figure("held up by the command", round(seconds_of(death[0]) - seconds_of(lines[HOOK]), 2), "s")

    vm.settle()
    _, lines = killed_after(vm, "hog-2", "PreKillExec=/bin/sleep 60\nPreKillTimeoutSec=1s")
    check("was not over within 1s" in lines.get(HOOK_FAILED, {}).get("MESSAGE", ""), f"said: {lines.get(HOOK_FAILED)}")
    waited, took = (seconds_of(lines[kind]) - seconds_of(lines[HOOK]) for kind in (HOOK_FAILED, KILLED))
    vm.figure("killed after a command that hangs", round(took, 2), "s")
    # How long the kill itself takes, after that, is this computer's doing.
    check(1 <= took and waited <= 5, f"PreKillTimeoutSec=1s is not what the kill waited: {waited:.2f} s of {took:.2f} s")
    check(vm.kills() == 2, f"{vm.kills()} kills")
    check(wait(lambda: not sh("systemctl", "list-units", "--all", "--plain", "--no-legend", "cgd-pre-kill-*"), 10),
          "a command's service is still there")


@limited(200)
def test_stop_gives_back(vm: VM) -> None:
    vm.need_cgd()
    before = vm.limits()
    vm.victim()
    hog = vm.held_hog(rate="100M", seconds=120)
    took = vm.stop_cgd()
    vm.figure("stopping took", round(took, 2), "s")
    check(took <= 2, "stopping took more than 2 s")
    check(hog.high() == "max", f"memory.high is still {hog.high()}")
    hog.stop()
    check(not vm.changed_limits(before), f"left changed: {vm.changed_limits(before)}")


def held_through(vm: VM, verb: str) -> None:
    vm.need_cgd()
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    vm.victim()
    hog = vm.held_hog(rate="100M", seconds=180)
    high, has = hog.number("memory.high"), hog.memory()
    sh("systemctl", verb, timeout=90)
    time.sleep(3)
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    check(hog.high() != "max", f"{verb} took the limit away")
    # Where there is room cgd raises the limit by and by; what it may not do is pass it. While systemd has taken the
    # limit away it grows: for two seconds at most.
    # Above one that was just lowered it is until the kernel has taken the rest from it.
    check(wait(lambda: hog.number("memory.current") <= hog.number("memory.high") + (16 << 20), 10), f"it is above its limit after {verb}")
    granted = hog.number("memory.high") - high
    check(hog.memory() - has < max(granted, 0) + (200 << 20),
          f"it grew by {(hog.memory() - has) >> 20} MiB through {verb}, of which {granted >> 20} MiB were granted")


@limited(200)
def test_daemon_reload(vm: VM) -> None:
    held_through(vm, "daemon-reload")


@limited(200)
def test_daemon_reexec(vm: VM) -> None:
    held_through(vm, "daemon-reexec")
