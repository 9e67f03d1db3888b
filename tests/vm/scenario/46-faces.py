# SPDX-License-Identifier: LGPL-2.1-or-later
"""cgd as an operator meets it: the service and its rights, the bus and the socket, every verb once."""
import json
import os
import stat
import subprocess
from pathlib import Path

from vmlib import VM, check, failed_units, limited, read, sh, wait


def as_nobody(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv], capture_output=True,
                          text=True, timeout=60, check=False)


def test_service(vm: VM) -> None:
    """It runs confined, in its own slice, and says what it sees."""
    vm.need_cgd()
    vm.log(sh("systemctl", "status", "--no-pager", "--full", "cgd", ok=False))
    check(vm.cgd_active(), "cgd does not run")
    check("/cgd.slice/cgd.service" in read(f"/proc/{vm.cgd_pid()}/cgroup"), "not in its own slice")
    status = vm.cgctl_json("status")
    check(status["sensing"]["pressure"] == "full", f"pressure is {status['sensing']['pressure']}")
    check(status["bus"], "not on the bus")
    check(status["policy"]["domains"] >= 6, f"{status['policy']['domains']} domains")
    vm.log(vm.cgctl("status"))
    vm.log(vm.cgctl("domains"))
    vm.log(vm.cgctl("tree"))
    vm.log(sh("systemd-analyze", "security", "--no-pager", "cgd.service", ok=False).splitlines()[-1])
    vm.log(read(f"/proc/{vm.cgd_pid()}/status"))
    said = sh("systemd-analyze", "verify", "cgd.service", "workload.slice", "sideload.slice", "hostcritical.slice", ok=False)
    check(not said.strip(), said)
    check(not failed_units(), f"failed: {failed_units()}")


def test_check(vm: VM) -> None:
    """This machine has all that is needed, and what is installed beside cgd is in force."""
    vm.need_cgd()
    p = subprocess.run(["cgctl", "check"], capture_output=True, text=True, timeout=60, check=False)
    vm.log(p.stdout + p.stderr)
    check(p.returncode == 0, f"exit {p.returncode}")
    check("(vm.dirty_ratio, 1 %)" in p.stdout, "the sysctl.d file that bounds what may be dirty is not in force")


def test_socket(vm: VM) -> None:
    """The socket is root's and the group's."""
    vm.need_cgd()
    st = os.stat("/run/cgd/private")
    check(stat.S_IMODE(st.st_mode) == 0o660, oct(st.st_mode))
    group = [l.split(":") for l in read("/etc/group").splitlines() if l.startswith("cgd:")]
    check(group and st.st_gid == int(group[0][2]), f"group {st.st_gid}")
    p = subprocess.run(["setpriv", "--reuid=65534", f"--regid={group[0][2]}", "--clear-groups", "cgctl", "set-mode",
                        "sideload", "monitor"], capture_output=True, text=True, timeout=60, check=False)
    check(p.returncode == 0, f"a member of the group: {p.stderr}")
    check([d["mode"] for d in vm.cgctl_json("domains") if d["name"] == "sideload"] == ["monitor"], "mode not set")
    vm.cgctl("set-mode", "sideload", "policy")
    check([d["mode"] for d in vm.cgctl_json("domains") if d["name"] == "sideload"] == ["enforce"], "mode not back")


def test_stranger(vm: VM) -> None:
    """Whoever is nobody may look, over the bus, and not change."""
    vm.need_cgd()
    p = as_nobody("cgctl", "status")
    check(p.returncode == 0, f"status: {p.stderr}")
    for argv in (["reload"], ["set-mode", "sideload", "off"], ["run", "--domain=sideload", "true"], ["place", "x.service"]):
        p = as_nobody("cgctl", *argv)
        check(p.returncode == 1 and "not allowed for user 65534" in p.stderr, f"{argv}: exit {p.returncode}, {p.stderr}")


def test_polkit_rule(vm: VM) -> None:
    """What the administrator's own polkit rule allows is allowed: it is polkitd that decides, not cgd."""
    vm.need_cgd()
    rule = Path("/etc/polkit-1/rules.d/10-cgd-test.rules")
    vm.undo.append(lambda: rule.unlink(missing_ok=True))
    vm.undo.append(lambda: vm.cgctl("set-mode", "sideload", "policy"))
    rule.write_text('''polkit.addRule(function(action, subject) {
        if (action.id == "org.cgd1.manage" && subject.user == "nobody")
            return polkit.Result.YES;
    });
    ''')
    # polkitd reads its rules again a moment after they have changed.
    p = wait(lambda: (q := as_nobody("cgctl", "set-mode", "sideload", "monitor")).returncode == 0 and q, 20, 0.5)
    check(p, "the rule is not obeyed")
    check([d["mode"] for d in vm.cgctl_json("domains") if d["name"] == "sideload"] == ["monitor"], "mode not set")


def test_run(vm: VM) -> None:
    """A command runs in its domain, in the terminal and in the background."""
    vm.need_cgd()
    out = vm.cgctl("run", "--domain=sideload", "cat", "/proc/self/cgroup")
    check("/sideload.slice/" in out, out)
    unit = vm.cgctl("run", "--domain=sideload", "--background", "sleep", "30").strip()
    vm.log(unit)
    check(unit.endswith(".service"), unit)
    path = sh("systemctl", "show", "--value", "--property=ControlGroup", unit).strip()
    check(path.startswith("/sideload.slice/"), path)
    sh("systemctl", "stop", unit)
    p = subprocess.run(["cgctl", "run", "--domain=sideload", "sh", "-c", "exit 7"], timeout=60, check=False)
    check(p.returncode == 7, f"exit {p.returncode}")
    vm.log(sh("journalctl", "-b", "--no-pager", "-n", "30", "-u", "cgd", ok=False))


@limited(200)
def test_place(vm: VM) -> None:
    """A service moves into its domain and out again."""
    vm.need_cgd()
    with open("/run/systemd/system/placed.service", "w", encoding="utf-8") as f:
        f.write("[Service]\nExecStart=/bin/sleep infinity\n")
    sh("systemctl", "daemon-reload", timeout=90)
    sh("systemctl", "start", "placed.service")
    vm.policy("sideload", "[Match]\nUnit=placed.service\n", reload=False)
    said = vm.cgctl("reload")
    vm.log("reload: " + said)
    check("placed.service: in system.slice, would move to sideload.slice" in said, said)
    vm.log(vm.cgctl("place", "placed", timeout=90))
    path = sh("systemctl", "show", "--value", "--property=ControlGroup", "placed.service").strip()
    check(path == "/sideload.slice/placed.service", f"placed: {path}")
    vm.log(vm.cgctl("release", "placed", timeout=90))
    path = sh("systemctl", "show", "--value", "--property=ControlGroup", "placed.service").strip()
    check(path == "/system.slice/placed.service", f"released: {path}")
    p = subprocess.run(["cgctl", "place", "no-such.service"], capture_output=True, text=True, timeout=60, check=False)
    check(p.returncode == 4, f"unknown unit: exit {p.returncode}, {p.stderr}")
    sh("systemctl", "stop", "placed.service")
    os.unlink("/run/systemd/system/placed.service")


@limited(300)
def test_start_and_stop(vm: VM) -> None:
    """Reload, restart, a second one, the messages and their explanations."""
    vm.need_cgd()
    cursor = vm.journal_cursor()
    sh("systemctl", "reload", "cgd")
    sh("systemctl", "restart", "cgd")
    p = subprocess.run(["/usr/libexec/cgd/cgd"], capture_output=True, text=True, timeout=20, check=False)
    check(p.returncode != 0, "a second cgd runs beside the first")
    vm.log(f"second: {p.stderr}")
    took = vm.stop_cgd()
    # With all that systemd does around it; that everything is given back at once is shown elsewhere.
    check(took < 5, f"stopping took {took:.1f} s")
    p = subprocess.run(["cgctl", "status"], capture_output=True, text=True, timeout=20, check=False)
    check(p.returncode == 1 and "systemctl start cgd" in p.stderr, p.stderr)
    vm.start_cgd()
    sh("journalctl", "--update-catalog", ok=False)
    said = sh("journalctl", "-x", "--no-pager", "--after-cursor", cursor, "-t", "cgd", ok=False)
    vm.log(said)
    check("Every limit that cgd had set was given its old value back" in said, "no explanation in the journal")
    told = sh("busctl", "--system", "introspect", "org.cgd1", "/org/cgd1")
    check("GetStatus" in told and "IncidentChanged" in told, told)
    check(json.loads(vm.cgctl("incidents", "--json=short")) is not None, "no list")
