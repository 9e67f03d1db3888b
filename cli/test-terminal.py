#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""cgctl on a terminal of 80 columns: nothing that it says is lost there, and nobody waits for a key. Arguments: CGCTL IN,
the latter tests/golden/in."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

cgctl, documents = (Path(p).resolve() for p in sys.argv[1:3])
failed = 0


def on_terminal(*arguments: str, **environment: str) -> tuple[str, int | None]:
    """What is seen, and how it ended; None: not within ten seconds."""
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
        basic = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": "/", "TZ": "UTC"}
        os.execve(cgctl, [str(cgctl), *arguments], basic | environment)
    seen, status, end = b"", None, time.monotonic() + 10
    while time.monotonic() < end:
        if not select.select([fd], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:     # EIO: the other end is closed
            data = b""
        if not data:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            break
        seen += data
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(fd)
    return seen.decode(), status


def expect(what: str, got: object, wanted: object, seen: str = "") -> None:
    global failed
    failed += got != wanted
    print(f"{'ok' if got == wanted else 'not ok'}: {what}" + ("" if got == wanted else f": {got}, expected {wanted}\n{seen}"))


def main() -> int:
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError as e:
        print(f"skipped: there are no terminals here: {e}")
        return 77
    status = ("status", f"--from={documents}/status-io.json")
    if shutil.which("less"):
        seen, code = on_terminal(*status, TERM="xterm", NO_COLOR="1")
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\s\x08]", "", seen)
        expect("less: it leaves by itself", code, 0, seen)
        expect("less: no line is cut", "writes28.6M/sfor988ms" in plain, True, seen)
    for what, pager in (("is not there", "no-such-pager"), ("cannot be run", "/")):
        seen, code = on_terminal(*status, TERM="xterm", PAGER=pager)
        expect(f"a pager that {what}: it is shown without", ("cgd 0.1.0" in seen, code), (True, 0), seen)
    seen, code = on_terminal(*status, TERM="xterm", PAGER="echo paged; cat")
    expect("a pager is used", ("paged" in seen, seen.count("cgd 0.1.0"), code), (True, 1, 0), seen)
    for term in ({}, {"TERM": "dumb"}):
        seen, code = on_terminal(*status, **term, PAGER="echo paged; cat")
        expect(f"{term or 'no TERM'}: neither pager nor colour", ("paged" in seen, "\x1b" in seen, code), (False, False, 0), seen)
    # A full disk is no success, for help neither.
    for arguments in (("help",), ("status", "--help"), ("version",), status):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([cgctl, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        expect(f"{arguments[0]} into what is full", (p.returncode, p.stderr.count("cannot write")), (1, 1), p.stderr)
    return failed > 0


sys.exit(main())
