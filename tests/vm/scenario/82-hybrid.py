# SPDX-License-Identifier: LGPL-2.1-or-later
"""A hybrid hierarchy: cgd refuses to start, with the reason and the way out, and does not try again."""
import time

from vmlib import CGD_UNIT, VM, cgd_installed, check, sh, wait

QUICK_ON = "bookworm"
MACHINE = {"cmdline": "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
           "failed": ("cgd.service",)}


def test_refuses(vm: VM) -> None:
    if not cgd_installed():
        vm.skip("cgd is not installed")
    vm.expect_failed(CGD_UNIT)
    sh("systemctl", "reset-failed", CGD_UNIT, ok=False)
    sh("systemctl", "start", CGD_UNIT, ok=False)
    time.sleep(3)
    check(not vm.cgd_active(), "it runs")

    def text() -> str:
        return " ".join(str(e.get("MESSAGE", "")) for e in vm.journal("-u", CGD_UNIT))
    check(wait(lambda: "unified_cgroup_hierarchy" in text(), 20, 0.5), f"it does not say how to get out: {text()[-500:]}")
    restarts = sh("systemctl", "show", "--value", "--property=NRestarts", CGD_UNIT).strip()
    check(restarts == "0", f"it tried again {restarts} times")
