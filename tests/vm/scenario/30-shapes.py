# SPDX-License-Identifier: LGPL-2.1-or-later
"""Leaks of every shape among bystanders that only look as if they leaked: the culprit is right in all,
and no bystander is ever touched.  Each leak is ended as soon as it is contained, and must leave nothing."""
from vmlib import VM, check, limited, monotonic, only_full, sh, wait

# shape -> further options of its variants
SHAPES = {
    "leak": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}, {"rate": "400M"}),
    "small": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}, {"rate": "400M"}),
    "thp": ({"rate": "100M"}, {"rate": "200M"}, {"rate": "400M"}),
    "heap": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "slow": ({"rate": "25M"}, {"rate": "15M"}, {"rate": "20M"}),
    "burst": ({"size": "64M"}, {"size": "128M"}, {"size": "256M"}),
    "retouch": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "refuse": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "many": ({"count": 10}, {"count": 50}, {"count": 100, "rate": "200M"}, {"count": 200}),
    "threads": ({"count": 4}, {"count": 32}, {"count": 8, "rate": "200M"}, {"count": 64, "rate": "50M"}),
    "fork": ({"size": "4M"}, {"size": "16M"}, {"size": "32M", "rate": "200M"}, {"size": "1M", "rate": "50M"}),
    "child": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "tmpfs": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "memfd": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "sysv": ({"size": "4M"}, {"size": "16M"}, {"size": "16M", "rate": "200M"}),
    "mmapfile": ({"rate": "100M", "path": "/dev/shm"}, {"rate": "50M", "path": "/dev/shm"},
                 {"rate": "200M", "path": "/dev/shm"}, {"rate": "400M", "path": "/dev/shm"}),
    "pipe": ({"rate": "50M"}, {"rate": "100M"}, {"rate": "200M"}),
    "stack": ({"rate": "50M", "total": "1500M"}, {"rate": "100M", "total": "1500M"}, {"rate": "200M", "total": "1500M"}),
}
# Unless all is asked for, the first variant of those that differ most, on one suite.
QUICK_ON = "trixie"
QUICK = ("leak", "thp", "burst", "many", "fork", "child", "tmpfs", "memfd", "mmapfile")
BYSTANDERS = (
    ("steady", "sideload.slice", {"size": "48M"}),
    ("heavy", "sideload.slice", {"size": "16M", "rate": "30M"}),
    ("heavy", "workload.slice", {"size": "24M", "rate": "40M"}),
    ("steady", "workload.slice", {"size": "32M"}),
    ("idle", "system.slice", {}),
)
# Seconds until memory is short for a leak of 50 MB/s: 18 with others beside this computer; one that is four times as slow leaks slower.
WAIT = 120


def one(vm: VM, shape: str, options: dict, number: int) -> str:
    """Run one leak until it is contained; returns what was wrong, or ''."""
    before = vm.limits()
    watch = vm.watch(name=f"watch-{number}")
    began = monotonic()
    properties = ("Delegate=yes",) if shape == "child" else ()
    hog = vm.hog(shape, name=f"hog-{number}", properties=properties, **({"seconds": WAIT + 30} | options))
    path = "/" + str(hog.path.relative_to("/sys/fs/cgroup"))
    found = wait(lambda: vm.culprits() or not hog.alive(), WAIT, 0.5)
    took = monotonic() - began
    culprits, why = vm.culprits(), vm.cgctl("why", ok=False)
    stopped = monotonic()
    hog.stop()
    back = wait(lambda: not vm.changed_limits(before), 30, 0.5)
    # Who still waits for pages of its own is nobody's victim any more.
    vm.settle(10)
    watch.stop()
    vm.log(f"{shape} {options}: {', '.join(sorted(culprits)) or 'nobody'} after {took:.1f} s")
    touched = [f"{r['path']} {r['file']} {r['old']} -> {r['new']} {r['t'] / 1e6 - stopped:+.1f} s after the leak was stopped"
               for r in watch.changes() if not (r["path"] + "/").startswith(path + "/")]
    vm.cursor = vm.journal_cursor()
    if not found:
        return f"{shape} {options}: nobody was contained within {WAIT} s"
    if not culprits:
        return f"{shape} {options}: ended without having been contained: {hog.show('Result')}"
    if any(not (c + "/").startswith(path + "/") for c in culprits):
        return f"{shape} {options}: culprits {sorted(culprits)}\n{why}"
    if touched:
        return "\n".join([f"{shape} {options}: bystanders touched:", *touched, why, vm.cgctl("incidents"), vm.cgctl("why")])
    if not back:
        return f"{shape} {options}: not given back: {vm.changed_limits(before)}"
    return ""


def surroundings(vm: VM) -> None:
    vm.need_cgd()
    # Half of memory else: a leak into it would end by itself, with room left for all.
    sh("mount", "-o", "remount,size=2G", "/dev/shm")
    vm.undo.append(lambda: sh("mount", "-o", "remount,size=50%", "/dev/shm"))
    vm.victim(anon="120M", file="32M")
    for i, (kind, slice, options) in enumerate(BYSTANDERS):
        vm.hog(kind, slice=slice, name=f"bystander-{i}", seconds=3500, **options)


def run_all(vm: VM, leaks: list[tuple[str, dict]]) -> None:
    surroundings(vm)
    wrong = []
    for number, (shape, options) in enumerate(leaks):
        wrong += filter(None, [one(vm, shape, options, number)])
    vm.figure("culprits right", f"{len(leaks) - len(wrong)} of {len(leaks)}")
    check(not wrong, "\n".join(wrong))


@limited(1500)
def test_one_of_each(vm: VM) -> None:
    run_all(vm, [(shape, SHAPES[shape][0]) for shape in QUICK])


@only_full
@limited(3600)
def test_every_variant(vm: VM) -> None:
    run_all(vm, [(shape, options) for shape, variants in SHAPES.items() for options in variants])
