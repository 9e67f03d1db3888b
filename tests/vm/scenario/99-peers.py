# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same service beside the same neighbours who take memory, with nobody, with limits known beforehand, with each peer,
and with cgd: one boot; each begins with a settled machine. `./dev bench peers`."""
from functools import partial

from peers import Run, rounds
from vmlib import VM, kept_between, limited

# It needs a tree of its own, with the peers in it.
QUICK_ON = "peers"
SECONDS, LEAD, RATE = 34, 6, "100M"


def one(vm: VM, name: str, shape: str) -> Run:
    pair = vm.pair(seconds=SECONDS, lead=LEAD, shape=shape, rate=RATE)
    gone = None if pair.gone is None else pair.gone - pair.start
    return Run(kept_between(pair.result, pair.start, pair.start + SECONDS - LEAD), pair.result["longest_silence_ms"],
               pair.first_step() if name == "cgd" else gone)


@limited(7200)
def test_leak(vm: VM) -> None:
    rounds(vm, partial(one, shape="leak"))


@limited(7200)
def test_swap_storm(vm: VM) -> None:
    """It goes on using all that it took, so that memory goes to swap and back."""
    rounds(vm, partial(one, shape="retouch"))
