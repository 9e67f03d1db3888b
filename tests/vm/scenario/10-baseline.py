# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens when nobody does anything: the figure that everything else is compared with.

The slices have no policy and cgd is stopped, so this also says whether the machine still behaves like
the one the published figures were measured on.
"""
from vmlib import VM, check, full, kept_between, limited, monotonic, only_full

# What it is about is the same on both: one is enough unless all is asked for.
QUICK_ON = "bookworm"

SECONDS = 90


@only_full
@limited(300)
def test_rest(vm: VM) -> None:
    """Alone, the service keeps what this computer lets it keep: every other figure is to be read beside this one."""
    vm.without_cgd()
    victim = vm.victim(slice="alone.slice", seconds=15)
    result = victim.finish()
    vm.victim_figures(result)
    check(result["kept_permyriad"] > 0, "alone it kept nothing")
    if full():
        check(result["kept_permyriad"] >= 9900, f"alone it kept only {result['kept_permyriad'] / 100} %: this computer"
              " is too busy or too slow to measure on")


@only_full
@limited(300)
def test_leak(vm: VM) -> None:
    """A neighbour that leaks 100 MB/s, and nothing but the kernel."""
    vm.without_cgd()
    watch = vm.watch()
    victim = vm.victim(slice="alone.slice", seconds=SECONDS)
    began = monotonic()
    hog = vm.hog("leak", slice="beside.slice", rate="100M", seconds=SECONDS)
    gone = hog.wait_gone(SECONDS)
    vm.log(f"the neighbour is {'gone after %.0f s' % (gone - began) if gone else 'still there'}")
    result = victim.finish()
    watch.stop()
    samples = watch.samples()
    vm.figure("swap left", min(r["swapfree_kb"] for r in samples) >> 10, "MiB")
    vm.victim_figures(result)
    vm.figure("kept while the neighbour lived", kept_between(result, began, gone or monotonic()), "%")
    vm.figure("neighbour stopped after", round((gone or monotonic()) - began, 1), "s")
    check(not watch.changes(), "limits changed although nobody was to change any")
    vm.data("victim", result)
