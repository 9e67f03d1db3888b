# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel without PSI: cgd runs, says what that costs, and the forecast still contains a leak."""
from vmlib import VM, check, limited

QUICK_ON = "bookworm"
MACHINE = {"cmdline": "psi=0"}


@limited(240)
def test_leak(vm: VM) -> None:
    vm.need_cgd()
    check(vm.cgd_active(), "cgd does not run without PSI")
    pair = vm.pair(seconds=40, rate="100M")
    vm.victim_figures(pair.result)
    check(pair.first_step() is not None, "nothing was done")
    check(not pair.bystanders(), f"bystanders were touched: {pair.bystanders()[:3]}")


def test_check_says_so(vm: VM) -> None:
    vm.need_cgd()
    check("psi" in vm.cgctl("check", ok=False).lower(), "cgctl check does not mention PSI")
