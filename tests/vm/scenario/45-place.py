# SPDX-License-Identifier: LGPL-2.1-or-later
"""Services, commands and loose processes come into the slices of their domains, and out of them again;
the slices' resources follow the policy; what was told to systemd is taken back."""
import shutil
import subprocess
import time
from pathlib import Path

from vmlib import VM, check, limited, read, sh, wait

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"

UNIT = "cgd-test-mover.service"
UNIT_FILE = Path("/run/systemd/system") / UNIT


def show(unit: str, prop: str) -> str:
    return sh("systemctl", "show", "--value", "--property", prop, unit).strip()


def end_unit() -> None:
    sh("systemctl", "stop", UNIT, ok=False)
    UNIT_FILE.unlink(missing_ok=True)
    shutil.rmtree(f"{UNIT_FILE}.d", ignore_errors=True)
    sh("systemctl", "daemon-reload", ok=False)


@limited(300)
def test_service_moves(vm: VM) -> None:
    """reload says what would move, place moves it, release moves it back."""
    vm.need_cgd()
    vm.undo.append(end_unit)
    UNIT_FILE.write_text("[Service]\nExecStart=/usr/bin/sleep 1000\n")
    sh("systemctl", "daemon-reload")
    sh("systemctl", "start", UNIT)
    check(show(UNIT, "ControlGroup") == f"/system.slice/{UNIT}", show(UNIT, "ControlGroup"))
    vm.policy("workload", f"[Match]\nUnit={UNIT}\n", reload=False)
    said = vm.cgctl("reload")
    check(f"{UNIT}: in system.slice, would move to workload.slice" in said, said)
    said = vm.cgctl("place", UNIT)
    check(show(UNIT, "ControlGroup") == f"/workload.slice/{UNIT}", f"{said}: {show(UNIT, 'ControlGroup')}")
    check("already" in vm.cgctl("place", UNIT), "placed twice")
    said = vm.cgctl("release", UNIT)
    check(show(UNIT, "ControlGroup") == f"/system.slice/{UNIT}", f"{said}: {show(UNIT, 'ControlGroup')}")
    said = vm.cgctl("place", UNIT)
    check(show(UNIT, "ControlGroup") == f"/workload.slice/{UNIT}", f"{said}: {show(UNIT, 'ControlGroup')}")
    p = subprocess.run(["cgctl", "place", "nobody.service"], capture_output=True, text=True, check=False)
    check(p.returncode == 4 and "in no domain" in p.stderr, f"{p.returncode} {p.stderr}")


@limited(60)
def test_run(vm: VM) -> None:
    vm.need_cgd()
    said = vm.cgctl("run", "--domain=sideload", "cat", "/proc/self/cgroup")
    check("0::/sideload.slice/cgd-run-" in said and ".scope" in said, said)
    unit = vm.cgctl("run", "--domain=sideload", "--background", "sleep", "100").strip()
    check(wait(lambda: show(unit, "ControlGroup") == f"/sideload.slice/{unit}", 10), f"{unit}: {show(unit, 'ControlGroup')}")
    sh("systemctl", "stop", unit)


@limited(200)
def test_placed_as_it_starts(vm: VM) -> None:
    """With the programs in the kernel nobody waits for a heartbeat, and systemd has the scope as if it had made it."""
    vm.need_cgd()
    program = Path("/usr/local/bin/mover")
    vm.undo.append(lambda: program.unlink(missing_ok=True))
    shutil.copy("/usr/bin/sleep", program)
    vm.policy("sideload", f"[Match]\nExecutable={program}\n")
    vm.wait_sensing()
    seen = vm.cgctl_json("status")["sensing"]["exec"]
    check(seen["seen"], f"programs are not seen as they start: {seen}")
    longest = 0.0
    for i in range(4):
        loose = subprocess.Popen(["systemd-run", "--quiet", "--scope", f"--unit=session-d{i}.scope", "--slice=user.slice",
                                  str(program), "1000"])
        vm.undo.append(loose.kill)
        path = Path(f"/proc/{loose.pid}")
        check(wait(lambda: read(path / "comm").strip() == "mover", 20, 0.001), "it does not start")
        began = time.monotonic()
        check(wait(lambda: "/cgd-sideload-" in read(path / "cgroup"), 15, 0.001), f"not moved: {read(path / 'cgroup')}")
        longest = max(longest, time.monotonic() - began)
        unit = read(path / "cgroup").strip().rsplit("/", 1)[1]
        check(unit.startswith(f"cgd-sideload-{loose.pid}-"), unit)
        check(wait(lambda: show(unit, "ActiveState") == "active", 30), f"{unit} is {show(unit, 'ActiveState')}")
        check(show(unit, "ControlGroup") == f"/sideload.slice/{unit}", show(unit, "ControlGroup"))
        loose.kill()
        loose.wait()
        check(wait(lambda: show(unit, "ActiveState") == "inactive" and not Path(f"/sys/fs/cgroup/sideload.slice/{unit}").exists(), 30),
              f"{unit} stays when its process is gone")
    vm.figure("from the start to its place, at most", round(longest * 1000), "ms")
    check(longest < 1, f"placed {longest:.1f} s after it started")


@limited(200)
def test_loose_processes(vm: VM) -> None:
    """A process in a session's scope and one in a slice itself are found by their executable; one in a
    service is left where it is. They run when the policy comes, so nothing tells of them as they start."""
    vm.need_cgd()
    program = Path("/usr/local/bin/mover")  # /run is noexec
    vm.undo.append(lambda: program.unlink(missing_ok=True))
    shutil.copy("/usr/bin/sleep", program)
    loose = subprocess.Popen(["systemd-run", "--quiet", "--scope", "--unit=session-c99.scope", "--slice=user.slice",
                              str(program), "1000"])
    vm.start("settled", [str(program), "1001"], slice="system.slice")
    vm.undo.append(loose.kill)
    path = Path(f"/proc/{loose.pid}/cgroup")
    check(wait(lambda: "session-c99.scope" in read(path), 30), read(path))
    vm.policy("sideload", f"[Match]\nExecutable={program}\n")
    check(wait(lambda: "0::/sideload.slice/cgd-sideload-" in read(path), 30), f"not moved: {read(path)}")
    check(show("settled.service", "ControlGroup") == "/system.slice/settled.service", "taken out of its service")


@limited(200)
def test_resources_follow(vm: VM) -> None:
    vm.need_cgd()
    low = show("sideload.slice", "CPUWeight")
    vm.policy("sideload", "[Resources]\nMemoryLow=10%\nTasksMax=1000\nCPUWeight=77\nIOWeight=33\nCPUQuota=150%\n"
              "AllowedCPUs=0-1\n", reload=False)
    vm.cgctl("reload")
    path = Path("/sys/fs/cgroup/sideload.slice")
    path.mkdir(exist_ok=True)
    check(show("sideload.slice", "CPUWeight") == "77", show("sideload.slice", "CPUWeight"))
    check(show("sideload.slice", "TasksMax") == "1000", show("sideload.slice", "TasksMax"))
    check(show("sideload.slice", "CPUQuotaPerSecUSec") == "1.500000s", show("sideload.slice", "CPUQuotaPerSecUSec"))
    check(show("sideload.slice", "AllowedCPUs") == "0-1", show("sideload.slice", "AllowedCPUs"))
    total = int(read("/proc/meminfo").split()[1]) << 10
    check(abs(int(show("sideload.slice", "MemoryLow")) - total // 10) < (1 << 20), show("sideload.slice", "MemoryLow"))
    vm.drop_policies()
    vm.cgctl("reload")
    check(show("sideload.slice", "CPUWeight") == low, f"CPUWeight {show('sideload.slice', 'CPUWeight')}, was {low}")
    check(show("sideload.slice", "TasksMax") in ("infinity", "[not set]"), show("sideload.slice", "TasksMax"))
    check(show("sideload.slice", "MemoryLow") in ("0", "[not set]"), show("sideload.slice", "MemoryLow"))


@limited(240)
def test_told_to_systemd_and_taken_back(vm: VM) -> None:
    """A hold that lasts is systemd's too; when it ends systemd and its drop-ins say nothing of it."""
    vm.need_cgd()
    # On a busy computer it may stand in the kernel's throttle for ten seconds, and be killed for that.
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    vm.victim()
    hog = vm.held_hog(rate="100M", seconds=240)
    check(wait(lambda: hog.show("MemoryHigh") != "infinity", 40, 0.1), "systemd was never told")
    # From now on it wants no more.
    sh("systemctl", "kill", "--signal=USR1", hog.name)

    def dropins() -> list[str]:
        return [str(p) for d in ("transient", "system.control") for p in Path(f"/run/systemd/{d}").glob("hog.service.d/50-MemoryHigh.conf")]
    vm.figure("drop-ins while held", len(dropins()))
    check(wait(lambda: hog.high() == "max", 60, 0.2), "its limit was not given back")
    check(wait(lambda: hog.show("MemoryHigh") == "infinity", 30, 0.2), f"systemd still says {hog.show('MemoryHigh')}")
    # It goes when systemd has answered.
    check(wait(lambda: not dropins(), 30), f"left: {dropins()}")
    sh("systemctl", "daemon-reload")
    check(hog.high() == "max", f"a reload brought {hog.high()} back")


@limited(240)
def test_stop_takes_back_from_systemd(vm: VM) -> None:
    vm.need_cgd()
    # One that was killed before systemd was told would prove nothing.
    vm.policy("sideload", "[Contain]\nMode=contain\n")
    vm.victim()
    hog = vm.held_hog(rate="100M", total="4G", seconds=240)
    check(wait(lambda: hog.show("MemoryHigh") != "infinity", 40, 0.1), "systemd was never told")
    took = vm.stop_cgd()
    vm.figure("stopping took", round(took, 2), "s")
    check(hog.alive(), f"it is gone: {hog.show('Result')}")
    check(hog.show("MemoryHigh") == "infinity", f"systemd still says {hog.show('MemoryHigh')}")
    check(not list(Path("/run/cgd").glob("leases*")), "the lease file is left")
    left = [str(p) for d in ("transient", "system.control")
            for p in Path(f"/run/systemd/{d}").glob("*/50-MemoryHigh.conf")]
    check(not left, f"left: {left}")
