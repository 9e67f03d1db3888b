# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that needs the disk itself, beside neighbours that flood it: 100 requests a second, each a direct read of
4 KiB, every tenth with an fdatasync, on a disk of 800 IOPS and 60 MB/s.

What is right or wrong whatever the machine (who was limited, what was given back, that nobody was killed for io) always
decides. How many requests were kept decides only where all is asked for, and is measured beside the same service with
no neighbour in the same run."""
import ctypes
import os
import subprocess
from pathlib import Path

from vmlib import CGROUP, KERNELS_OWN, LOADS, VM, Unit, check, full, kept_between, limited, monotonic, only_full, read, sh, wait

MACHINE = {"iops": 800, "bps": 60_000_000}
# Ten minutes, and nothing in it differs much between the suites.
QUICK_ON = "bookworm"
DATA = "/data"
CALM, FLOOD = 10, 50


def device_of(path: str) -> str:
    """Of the disk, for files of btrfs claim a device that is none."""
    number = os.stat(sh("findmnt", "-no", "SOURCE", "-T", path).strip()).st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def io_of(unit: Path, device: str) -> dict[str, int]:
    for line in read(unit / "io.stat").splitlines():
        name, *words = line.split()
        if name == device:
            return {k: int(v) for k, v in (w.split("=") for w in words)}
    return {}


def prepare(shape: str, options: dict) -> None:
    """The file that a shape works on, made before anybody is measured."""
    argv = [str(LOADS / "cgd-hog"), shape, "--prepare"]
    sh(*argv, *(f"--{k}={v}" for k, v in options.items()), timeout=150)
    Path("/proc/sys/vm/drop_caches").write_text("3")


def first_hurt(result: dict, start: float) -> float | None:
    """Seconds from start to the tenth of a second in which the service first lost half of its requests; some floods need a
    while until the disk is full."""
    width, t0 = result["bucket_ms"] / 1000, result["t0_usec"] / 1e6
    for i, done in enumerate(result["buckets"]):
        if t0 + i * width >= start and done <= result["rate"] * width / 2:
            return t0 + i * width - start
    return None


def somebody_elses(hog: Unit) -> None:
    """A process in there that does not run as root."""
    p = subprocess.Popen(["setpriv", "--reuid=65534", "--clear-groups", "sleep", "600"])
    (hog.path / "cgroup.procs").write_text(str(p.pid))


def served_last(hog: Unit) -> bool:
    """While its reads are capped, and not its writes, all its threads have the idle io priority, and else none has. Source:
    ioprio_get(2)."""
    libc, sys_ioprio_get, idle = ctypes.CDLL(None), 252, 3
    lines = read(hog.path / "io.max").splitlines()
    capped = lines and all("wbps=max" in line and "wiops=max" in line for line in lines)
    classes = {libc.syscall(sys_ioprio_get, 1, int(tid)) >> 13 for tid in read(hog.path / "cgroup.threads").split()}
    return classes == ({idle} if capped else {0})


def io_incidents(vm: VM) -> list[dict]:
    return [i for i in vm.incidents() if i["alarm"] == "io"]


def share_by_weight(vm: VM, device: str) -> None:
    """What policies/iocost.conf says, with a model a little below what this disk does."""
    ops, bps = (MACHINE[k] * 96 // 100 for k in ("iops", "bps"))
    model = " ".join(f"{d}bps={bps} {d}seqiops={ops} {d}randiops={ops}" for d in "rw")
    (CGROUP / "io.cost.model").write_text(f"{device} ctrl=user model=linear {model}")
    (CGROUP / "io.cost.qos").write_text(f"{device} enable=1 ctrl=user rpct=95.00 rlat=20000 wpct=95.00 wlat=20000 min=100.00 max=100.00")
    vm.undo.append(lambda: (CGROUP / "io.cost.qos").write_text(f"{device} enable=0"))
    check("iocost keeps io weights" in vm.cgctl("check", ok=False), "the check does not say that weights are kept")


def flood(vm: VM, shape: str, options: dict, target: float, share: float = 0, more: tuple = (), by_weight: bool = False) -> None:
    """One flood, measured: more are further hogs (name, shape, options) that begin with it. by_weight: the kernel shares the
    disk out by IOWeight=, and nobody has to be contained."""
    vm.need_cgd()
    vm.wait_sensing()
    before = vm.limits()
    watch = vm.watch()
    options = {"seconds": CALM + FLOOD + 60} | options
    prepare(shape, options)
    device = device_of(DATA)
    if by_weight:
        share_by_weight(vm, device)
    service = vm.victim(seconds=CALM + FLOOD + 3, anon="32M", file="0", options=(f"--disk={DATA}/victim.dat:64M",))
    start = monotonic() + CALM
    at = {"at": int(start * 1e6)}
    hogs = [vm.hog(shape, **(options | at))]
    hogs += [vm.hog(s, name=name, **({"seconds": CALM + FLOOD + 60} | o | at)) for name, s, o in more]
    paths = ["/" + str(h.path.relative_to(CGROUP)) for h in hogs]
    somebody_elses(hogs[0])
    wait(lambda: False, start - monotonic())
    used = [io_of(u.path, device) for u in (hogs[0], service)]
    wait(lambda: vm.log(tell(vm, hogs[0])), FLOOD, 5)
    now = [io_of(u.path, device) for u in (hogs[0], service)]
    last = wait(lambda: served_last(hogs[0]), 5)
    seen = vm.cgctl("tree", "/sideload.slice", ok=False)
    stage = vm.cgctl("status", ok=False) + str(vm.cgctl_json("status")["io_latency"])
    result = service.finish()
    for hog in hogs:
        hog.stop()
    back = wait(lambda: not vm.changed_limits(before), 30, 0.5)
    watch.stop()

    calm = kept_between(result, start - CALM + 1, start)
    kept = kept_between(result, start, start + FLOOD)
    vm.figure("kept before", calm, "%")
    vm.figure("kept", kept, "%")
    vm.figure("longest silence", result["longest_silence_ms"], "ms")
    steps = [r for r in watch.changes() if r["file"] in ("io.max", "memory.high")]
    first = steps[0]["t"] / 1e6 - start if steps else None
    vm.figure("first step", "never" if first is None else round(first * 1000), "" if first is None else "ms")
    hurt = first_hurt(result, start)
    if first is not None and hurt is not None:
        vm.figure("first step after the service was hurt", round((first - hurt) * 1000), "ms")
    ios, rate = [{k: n.get(k, 0) - u.get(k, 0) for k in ("rbytes", "wbytes", "rios", "wios")} for n, u in zip(now, used)], {}
    for name, keys, limit in (("operations", ("rios", "wios"), MACHINE["iops"]), ("bytes", ("rbytes", "wbytes"), MACHINE["bps"])):
        hog_did, service_did = (sum(x[k] for k in keys) for x in ios)
        rate[name] = 100 * hog_did / max(1, limit * FLOOD - service_did)
    got = max(rate.values())
    vm.figure("neighbour's part of what the service leaves", round(got), "%")
    vm.figure("culprit", ", ".join(sorted(vm.culprits())) or "nobody")
    vm.log("kept, second by second: " + " ".join(f"{kept_between(result, start + i, start + i + 1):.0f}" for i in range(FLOOD)))
    vm.log(stage)
    vm.log(seen)
    incidents = io_incidents(vm)
    if incidents:
        vm.log(vm.cgctl("why", str(max(i["id"] for i in incidents)), ok=False))

    touched = {r["path"] for r in watch.changes()} - (set() if by_weight else set(paths))
    check(not touched, f"touched: {sorted(touched)}")
    check(back, f"not given back: {vm.changed_limits(before)}")
    if not by_weight:
        check(first is not None, "nothing was done")
        blame = vm.cgctl("blame", "--since=2min", ok=False)
        vm.log(blame)
        # How much it waited for the neighbour does not matter: where that is contained well it is little.
        check(any(b["confidence"] == "measured" and b["victim"].endswith("/victim.service") and b["culprit"] in paths
                  for b in vm.cgctl_json("blame", "--since=2min")),
              f"the service is not said to have waited for its neighbour: {blame}")
        check(last, "its io priority does not go with its cap")
        check(vm.culprits() <= set(paths), f"culprits: {vm.culprits()}")
    if full():
        check(kept >= target, f"kept {kept} %, less than {target} %")
        check(result["longest_silence_ms"] <= 300, "silent for more than 300 ms")
        check(by_weight or first - (hurt or 0) <= 0.5, f"first step {first} s after the flood began, the service was hurt after {hurt} s")
        check(got >= share, f"the neighbour got {got:.0f} % of what the service leaves")


def swap_on_the_same_disk(vm: VM, size_mib: int) -> None:
    path = f"{DATA}/swap.dat"
    sh("dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={size_mib}", "conv=fsync", timeout=120)
    os.chmod(path, 0o600)
    sh("mkswap", path)
    sh("swapoff", "-a", timeout=60)
    sh("swapon", path)
    vm.undo.append(lambda: (sh("swapoff", path, ok=False, timeout=120), sh("swapon", "-a", ok=False)))


def tell(vm: VM, hog: Unit) -> str:
    return f"the neighbour's io.max: {read(hog.path / 'io.max') or 'none'}, memory.high {mib(hog)}"


def mib(hog: Unit) -> str:
    return hog.high() if not hog.high().isdigit() else f"{int(hog.high()) >> 20} MiB"


@limited(300)
def test_a_reads(vm: VM) -> None:
    flood(vm, "reads", {"count": 64, "size": "256M"}, 98, share=75)
    check(vm.kills() == 0, "somebody was killed for io")


@only_full
@limited(400)
def test_b_stream(vm: VM) -> None:
    flood(vm, "stream", {"count": 16, "size": "1500M"}, 98, share=75)
    check(vm.kills() == 0, "somebody was killed for io")


@only_full
@limited(300)
def test_c_sync(vm: VM) -> None:
    flood(vm, "sync", {"count": 4, "size": "64M"}, 97, share=75)
    check(vm.kills() == 0, "somebody was killed for io")


@only_full
@limited(300)
def test_c_sync_much_dirty(vm: VM) -> None:
    """The same with as much dirty as the kernel has it by itself; for comparison, little is promised."""
    vm.let_dirty(*KERNELS_OWN)
    check("systemctl restart systemd-sysctl" in vm.cgctl("check", ok=False), "the check does not say what may be dirty")
    flood(vm, "sync", {"count": 4, "size": "64M"}, 85)
    check(vm.kills() == 0, "somebody was killed for io")


def on_another_file_system(vm: VM, name: str, force: str) -> None:
    """/data anew, as the other one, for this scenario."""
    device = sh("findmnt", "-no", "SOURCE", DATA).strip()

    def make(*mkfs: str) -> None:
        sh("umount", DATA, timeout=90)
        sh(*mkfs, "-L", "cgddata", device, timeout=120)
        sh("mount", "-o", "noatime", device, DATA)

    make(f"mkfs.{name}", force)
    vm.undo.append(lambda: make("mkfs.ext4", "-q", "-F"))
    flood(vm, "sync", {"count": 4, "size": "64M"}, 97)
    check(vm.kills() == 0, "somebody was killed for io")


@only_full
@limited(400)
def test_c_sync_xfs(vm: VM) -> None:
    on_another_file_system(vm, "xfs", "-f")


@only_full
@limited(400)
def test_c_sync_btrfs(vm: VM) -> None:
    on_another_file_system(vm, "btrfs", "-f")


@limited(400)
def test_d_leak_and_reads(vm: VM) -> None:
    """A leak goes into swap on the disk that the others need, and somebody floods that as well."""
    swap_on_the_same_disk(vm, 512)
    flood(vm, "reads", {"count": 64, "size": "256M"}, 95, more=(("leak", "leak", {"rate": "100M"}),))
    check(vm.kills() <= 1, f"killed {vm.kills()} times")


@only_full
@limited(300)
def test_e_latency(vm: VM) -> None:
    """The service asks for its requests' latency alone."""
    vm.policy("workload", "[Alarm io]\nIOPressureAbove=\nIOLatencyAbove=p99 50ms over 1s\n")
    flood(vm, "reads", {"count": 64, "size": "256M"}, 95, share=60)
    check("IOLatencyAbove" in vm.cgctl("why", ok=False), "it was not the latency that raised the alarm")


@only_full
@limited(300)
def test_g_weights_reads(vm: VM) -> None:
    flood(vm, "reads", {"count": 64, "size": "256M"}, 98, share=75, by_weight=True)


@only_full
@limited(400)
def test_g_weights_stream(vm: VM) -> None:
    flood(vm, "stream", {"count": 16, "size": "1500M"}, 98, by_weight=True)


BURST_MIB = 300


@only_full
@limited(300)
def test_h_standing_alarm(vm: VM) -> None:
    """A service that waits for its own reads all the time has its alarm up, and nobody is to blame, until somebody comes."""
    vm.need_cgd()
    vm.wait_sensing()
    busy = {"count": 8, "size": "128M", "path": f"{DATA}/busy"}
    Path(f"{DATA}/busy").mkdir(exist_ok=True)
    vm.undo.append(lambda: [p.unlink() for p in Path(f"{DATA}/busy").iterdir()])
    prepare("reads", busy)
    prepare("reads", {"count": 64, "size": "256M"})
    before = vm.limits()
    vm.hog("reads", slice="workload.slice", name="busy", seconds=240, **busy)
    check(wait(lambda: any(i["state"] == "quiet" for i in io_incidents(vm)), 30, 0.5), "the busy service raises no alarm")
    for attempt in range(2):
        # Looked at again after 1, 2, 4, 8 s, and if that were all, after 16 and 32: he comes in the midst of that.
        wait(lambda: False, 40)
        check([i for i in io_incidents(vm) if i["state"] in ("quiet", "looking")], f"it is over: {io_incidents(vm)}")
        watch = vm.watch(name=f"watch-{attempt}")
        start = monotonic() + 1
        hog = vm.hog("reads", name=f"hog-{attempt}", seconds=60, count=64, size="256M", at=int(start * 1e6))
        path = "/" + str(hog.path.relative_to(CGROUP))
        found = wait(lambda: read(hog.path / "io.max"), 30, 0.1)
        hog.stop()
        check(wait(lambda: not vm.changed_limits(before), 30, 0.5), f"not given back: {vm.changed_limits(before)}")
        watch.stop()
        check(found, "nobody was contained within 30 s")
        touched = {r["path"] for r in watch.changes()}
        check(touched == {path}, f"touched: {sorted(touched)}")
        first = min(r["t"] for r in watch.changes()) / 1e6 - start
        vm.figure(f"first step after the flood began, {attempt + 1}", round(first * 1000), "ms")
        check(first <= 5, f"first step after {first:.1f} s")


def burst(*properties: str) -> float:
    """Seconds for a file to be in the page cache and on the disk; in a unit with these properties."""
    path = f"{DATA}/burst.dat"
    began = monotonic()
    sh("systemd-run", "--quiet", "--wait", *(f"--property={p}" for p in properties),
       "dd", "if=/dev/zero", f"of={path}", "bs=64K", f"count={16 * BURST_MIB}", "conv=fsync", timeout=120)
    took = monotonic() - began
    os.unlink(path)
    return took


@only_full
@limited(300)
def test_f_burst(vm: VM) -> None:
    """What it costs who writes alone that little may be dirty: nothing, but where his own memory is limited to little."""
    for name, properties, factor in (("alone", (), 1.25), ("within 256 MiB of memory", ("MemoryMax=256M",), 1.25),
                                     ("within 48 MiB of memory", ("MemoryMax=48M",), 2.5)):
        took: dict[tuple[int, int], list[float]] = {(1, 1): [], KERNELS_OWN: []}
        for _ in range(3):
            for ratios, seconds in took.items():
                vm.let_dirty(*ratios)
                seconds.append(burst(*properties))
        little, much = (sorted(seconds)[1] for seconds in took.values())
        vm.figure(f"{name}, little dirty", round(BURST_MIB / little, 1), "MiB/s")
        vm.figure(f"{name}, much dirty", round(BURST_MIB / much, 1), "MiB/s")
        check(little < factor * much, f"{name}: {little:.1f} s where little may be dirty, {much:.1f} s where much may")


# Each variant: shape and options; whoever is not named here is a bystander, and is heard but does no harm.
SHAPES = {
    "reads": ({"count": 64, "size": "256M"}, {"count": 16, "size": "64M"}, {"count": 128, "size": "128M"}),
    "stream": ({"count": 16, "size": "1200M"}, {"count": 4, "size": "1200M"}, {"count": 1, "size": "1200M"}),
    "sync": ({"count": 4, "size": "64M"}, {"count": 16, "size": "16M"}, {"count": 8, "size": "32M"}),
}
# Reads at a steady pace, on another disk and on the same one; a service of its own that writes now and then.
BYSTANDERS = (
    ("reads", "sideload.slice", {"count": 4, "size": "32M", "rate": "1200K", "path": "/var/tmp"}),
    ("reads", "sideload.slice", {"count": 1, "size": "32M", "rate": "160K", "path": f"{DATA}/calm"}),
    ("reads", "workload.slice", {"count": 1, "size": "32M", "rate": "80K", "path": f"{DATA}/calm"}),
)
WAIT = 30


def surroundings(vm: VM) -> None:
    vm.need_cgd()
    # It is new where somebody was killed in a scenario before.
    vm.wait_sensing()
    Path(f"{DATA}/calm").mkdir(exist_ok=True)
    for _, _, options in BYSTANDERS:
        prepare("reads", {k: v for k, v in options.items() if k != "rate"})
    vm.undo.append(lambda: [p.unlink() for p in (*Path(f"{DATA}/calm").iterdir(), Path("/var/tmp/cgd-hog.dat"))])
    vm.victim(anon="16M", file="0", options=(f"--disk={DATA}/victim.dat:64M",))
    for i, (shape, slice, options) in enumerate(BYSTANDERS):
        vm.hog(shape, slice=slice, name=f"bystander-{i}", seconds=3500, **options)


def one(vm: VM, shape: str, options: dict, number: int) -> str:
    """One flood until somebody is capped for it; returns what was wrong, or ''."""
    Path(f"{DATA}/cgd-hog.dat").unlink(missing_ok=True)
    if shape != "sync":
        prepare(shape, options)
    wait(lambda: not [i for i in vm.incidents() if i["state"] != "over"], 20, 0.5)
    vm.cursor = vm.journal_cursor()
    before = vm.limits()
    watch = vm.watch(name=f"watch-{number}")
    hog = vm.hog(shape, name=f"hog-{number}", **({"seconds": WAIT + 30} | options))
    path = "/" + str(hog.path.relative_to(CGROUP))
    found = wait(vm.culprits, WAIT, 0.5)
    wait(lambda: False, 3)
    culprits = vm.culprits()
    hog.stop()
    back = wait(lambda: not vm.changed_limits(before), 30, 0.5)
    watch.stop()
    vm.log(f"{shape} {options}: {', '.join(sorted(culprits)) or 'nobody'}")
    touched = {r["path"] for r in watch.changes()} - {path}
    if not found:
        return f"{shape} {options}: nobody was contained within {WAIT} s"
    if culprits != {path}:
        return f"{shape} {options}: culprits {sorted(culprits)}"
    if touched:
        return f"{shape} {options}: bystanders touched: {sorted(touched)}"
    if not back:
        return f"{shape} {options}: not given back: {vm.changed_limits(before)}"
    return ""


def run_all(vm: VM, floods: list[tuple[str, dict]]) -> None:
    surroundings(vm)
    wrong = []
    for number, (shape, options) in enumerate(floods):
        wrong += filter(None, [one(vm, shape, options, number)])
    vm.figure("culprits right", f"{len(floods) - len(wrong)} of {len(floods)}")
    check(not wrong, "\n".join(wrong))


@limited(900)
def test_one_of_each(vm: VM) -> None:
    run_all(vm, [(shape, variants[0]) for shape, variants in SHAPES.items()])


@only_full
@limited(3600)
def test_every_variant(vm: VM) -> None:
    run_all(vm, 4 * [(shape, options) for shape, variants in SHAPES.items() for options in variants])
