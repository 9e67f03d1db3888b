#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Golden output: every verb of cgctl is run as a person would, and what it prints must be what it printed
when a person last looked at it (out/NAME). `run.py CGCTL SERVER --update` writes the files anew: read the
difference before committing it.

A case is a line of `cases`: NAME  EXIT  ARGUMENTS. {in} is the directory of saved documents and policies, {root}
a small fake system, {socket} a stand-in for the daemon (daemon/serve/test-server.c --serve)."""
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

here = Path(__file__).resolve().parent
cgctl, server = (Path(p).resolve() for p in sys.argv[1:3])
update = "--update" in sys.argv
environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TZ": "UTC", "LC_ALL": "C.UTF-8", "COLUMNS": "80",
               "PAGER": "cat", "HOME": "/"}


def run(arguments: str, places: dict[str, str], more: dict[str, str]) -> tuple[int, str]:
    words = [w.format(**places) for w in shlex.split(arguments)]
    p = subprocess.run([cgctl, *words], capture_output=True, env=environment | more, cwd=here, stdin=subprocess.DEVNULL,
                       timeout=60, check=False)
    text = p.stdout.decode() + ("".join(f"stderr: {l}\n" for l in p.stderr.decode().splitlines()))
    return p.returncode, text.replace(places["socket"], "{socket}")


def main() -> int:
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as work:
        places = {"in": "in", "root": "root", "socket": f"{work}/socket"}
        daemon = subprocess.Popen([server, "--serve", places["socket"]])
        for _ in range(100):
            if Path(places["socket"]).exists():
                break
            time.sleep(0.05)
        try:
            verbs = subprocess.run([cgctl, "help"], capture_output=True, text=True, check=True).stdout
            verbs = re.findall(r"^  ([a-z-]+)", verbs.split("Verbs:\n")[1].split("\n\n")[0], re.M)
            cases = [l.split(None, 2) for l in (here / "cases").read_text().splitlines()
                     if l.strip() and not l.startswith("#")]
            cases = [(c + [""])[:3] for c in cases] + [(f"help-{v}", "0", f"{v} --help") for v in verbs]
            covered = {w for _, _, a in cases for w in shlex.split(a)[:1]}
            for verb in [v for v in verbs if v not in covered]:
                print(f"not ok: no case for the verb {verb}")
                failed += 1
            for name, code, arguments in cases:
                more = {}
                while m := re.match(r"(\w+)=(\S*) ", arguments):
                    more[m[1]], arguments = m[2], arguments[m.end():]
                status, text = run(arguments, places, more)
                faults = [] if status == int(code) else [f"exit {status}, expected {code}"]
                if name.startswith("help"):
                    faults += [f"wider than 80 columns: {l}" for l in text.splitlines() if len(l) > 80]
                if "\x1b" in text and "color" not in name:
                    faults.append("an escape character came through")
                out = here / "out" / name
                if update and not faults:
                    out.write_text(text)
                expected = out.read_text() if out.exists() else None
                if expected != text:
                    faults.append(f"output differs from out/{name}:\n{text}")
                failed, passed = failed + bool(faults), passed + (not faults)
                for fault in faults:
                    print(f"not ok {name} (cgctl {arguments}): {fault}")
            for stale in sorted(set(p.name for p in (here / "out").iterdir()) - {c[0] for c in cases}):
                print(f"not ok: out/{stale} belongs to no case")
                failed += 1
        finally:
            daemon.kill()
            daemon.wait()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


sys.exit(main())
