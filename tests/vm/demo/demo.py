# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job, twice in one boot: without cgd, then with it.  The host draws what comes out."""
from vmlib import VM, cgd_installed, limited

SECONDS = 60


@limited(420)
def test_demo(vm: VM) -> None:
    vm.log("without cgd: a service of 100 requests/s, a neighbour that leaks 100 MB/s")
    vm.without_cgd()
    runs = [vm.pair(seconds=SECONDS, rate="100M").timeline("without cgd")]
    why = ""
    vm.rest()
    if cgd_installed():
        vm.log("with cgd and its shipped policies: the same again")
        vm.with_cgd()
        runs.append(vm.pair(seconds=SECONDS, rate="100M").timeline("with cgd"))
        why = vm.why()
    for run in runs:
        vm.figure(f"{run['title']}: kept", run["victim"]["kept_permyriad"] / 100, "%")
    vm.data("demo", {"runs": runs, "why": why})
