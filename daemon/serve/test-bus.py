#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The system bus side, on a broker of its own with the shipped bus policy: root may change, others may look
and not change (there is no polkit here, so the defaults of data/org.cgd1.policy hold), and a cgd that is gone is
said to be gone. Arguments: CGCTL SERVER BUS-POLICY."""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

cgctl, server, policy = sys.argv[1:4]
SKIP = 77
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
        "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
        <listen>unix:path={work}/bus</listen>
        <auth>EXTERNAL</auth>
        <policy context="default">
                <allow user="*"/>
                <deny own="*"/>
                <deny send_type="method_call"/>
                <allow send_type="signal"/>
                <allow send_requested_reply="true" send_type="method_return"/>
                <allow send_requested_reply="true" send_type="error"/>
                <allow receive_type="method_call"/>
                <allow receive_type="method_return"/>
                <allow receive_type="error"/>
                <allow receive_type="signal"/>
                <allow send_destination="org.freedesktop.DBus"/>
                <allow own="org.freedesktop.PolicyKit1"/>
                <allow send_destination="org.freedesktop.PolicyKit1"/>
        </policy>
        <include>{policy}</include>
</busconfig>
"""


def main() -> int:
    if os.getuid() != 0:
        print("skipped: needs root, to call as another user")
        return SKIP
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o755)
        Path(f"{work}/config").write_text(CONFIG.format(work=work, policy=policy))
        environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={work}/bus", "LC_ALL": "C.UTF-8"}
        try:
            bus = subprocess.Popen(["dbus-daemon", f"--config-file={work}/config", "--nofork", "--nopidfile"],
                                   stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            print("skipped: there is no dbus-daemon")
            return SKIP
        while not Path(f"{work}/bus").exists():
            time.sleep(0.05)
            if bus.poll() is not None:
                print("skipped: dbus-daemon does not run here")
                return SKIP
        daemon = subprocess.Popen([server, "--serve", f"{work}/private"], env=environment | {"TEST_SYSTEM_BUS": "1"})

        # A copy that everybody may run, wherever the build is.
        copy = f"{work}/cgctl"
        Path(copy).write_bytes(Path(cgctl).read_bytes())
        os.chmod(copy, 0o755)

        def call(user: int, *arguments: str, where: str = work) -> tuple[int, str]:
            p = subprocess.run([copy, *arguments], cwd=where, user=user, group=user, extra_groups=[], env=environment,
                               capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False)
            return p.returncode, p.stdout + p.stderr

        def expect(what: str, got: tuple[int, str], code: int, text: str) -> None:
            nonlocal failed
            good = got[0] == code and text in got[1]
            failed += not good
            print(f"{'ok' if good else 'not ok'}: {what}" + ("" if good else f": {got}, expected {code} and '{text}'"))

        try:
            for _ in range(100):
                if call(0, "status")[0] == 0:
                    break
                time.sleep(0.05)
            expect("root looks", call(0, "status"), 0, "cgd 0.")
            expect("root changes", call(0, "set-mode", "sideload", "contain"), 0, "")
            expect("root runs in the background", call(0, "run", "--domain=sideload", "--background", "true"), 0,
                   "sideload-service-0-")
            # Its name tells a program what to be, as that of a venv's python or of busybox does.
            os.symlink("/bin/true", f"{work}/link")
            expect("by a link", call(0, "run", "--domain=sideload", "--background", "./link"), 0, f"-{work}/./link-")
            # Bytes that are no text, and more than a bus is to carry: in the foreground neither has to go there.
            odd = f"{work}/\udcff"
            os.mkdir(odd)
            expect("no text", call(0, "run", "--domain=sideload", "test", "\udcff", "=", "\udcff", where=odd), 0, "")
            expect("much", call(0, "run", "--domain=sideload", "true", *["x" * 100000] * 5), 0, "")
            expect("no text in the background", call(0, "run", "--domain=sideload", "--background", "true", "\udcff"), 1,
                   "not all UTF-8")
            expect("another looks", call(65534, "incidents"), 0, "CULPRIT")
            expect("another may not change", call(65534, "set-mode", "sideload", "off"), 1, "not allowed for user 65534")
            expect("another may not run", call(65534, "run", "--domain=sideload", "true"), 1, "org.cgd1.manage")
            expect("another may not reload", call(65534, "reload"), 1, "polkit is not there")
            expect("nothing is known of it", call(0, "why", "99"), 4, "incident 99 is not known")
            daemon.kill()
            daemon.wait()
            for answer, code, text in (("yes", 0, ""), ("no", 1, "polkit says no"), ("challenge", 1, "wants a password"),
                                       ("silent", 1, "did not answer")):
                daemon = subprocess.Popen([server, "--serve", f"{work}/private"],
                                          env=environment | {"TEST_SYSTEM_BUS": "1", "TEST_POLKIT": answer})
                for _ in range(100):
                    if call(0, "status")[0] == 0:
                        break
                    time.sleep(0.05)
                expect(f"polkit: {answer}", call(65534, "set-mode", "sideload", "off"), code, text)
                expect(f"polkit: {answer}, root needs none", call(0, "set-mode", "sideload", "off"), 0, "")
                if answer == "no":
                    expect("an administrator may forbid even looking", call(65534, "status"), 1, "org.cgd1.inspect")
                daemon.kill()
                daemon.wait()
            expect("it is gone", call(0, "status"), 1, "cgd is not running: start it with 'systemctl start cgd'")
        finally:
            daemon.kill()
            bus.kill()
    return failed > 0


sys.exit(main())
