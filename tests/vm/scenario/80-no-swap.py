# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine without swap: less time between the first sign and the end, and nothing to squeeze into."""
import json

from vmlib import VM, check, limited

QUICK_ON = "trixie"
MACHINE = {"swap_mib": 0}


@limited(240)
def test_leak(vm: VM) -> None:
    vm.need_cgd()
    # It boots for this alone: what is loaded once is not what is measured.
    vm.wait_sensing()
    pair = vm.pair(seconds=40, rate="100M")
    vm.victim_figures(pair.result)
    check(pair.first_step() is not None, "nothing was done")
    check(not pair.bystanders(), f"bystanders were touched: {pair.bystanders()[:3]}")
    check(pair.result["kept_permyriad"] >= 9800, "kept less than 98 %")


def test_check_says_so(vm: VM) -> None:
    vm.need_cgd()
    items = json.loads(vm.cgctl("check", "--json=short", ok=False))["items"]
    found = [(i["state"], i["found"]) for i in items if i["name"] == "swap"]
    check(found == [("lack", "none")], f"cgctl check says of swap: {found}")
