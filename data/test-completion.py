#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shells offer what there is: every verb, every option of each verb, and behind `cgctl run` the command's own.

bash is asked for real. zsh too where it is installed, without its completion system: what _cgctl would hand over to
that is looked at. Where it is not, the sed lines in _cgctl are run by themselves. Arguments: CGCTL BASH ZSH."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

cgctl, bash_file, zsh_file = (Path(p).resolve() for p in sys.argv[1:4])
environment = {"PATH": f"{cgctl.parent}:{os.environ.get('PATH', '/usr/bin:/bin')}", "LC_ALL": "C.UTF-8", "HOME": "/"}
failed = 0

# Stands for bash-completion: which word it would take for the command.
BASH = """source "$1"
_command_offset() { COMPREPLY=("command at $1"); }
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
_cgctl
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """_describe() { print -rl -- ${${(P)@[-1]}}; }
_normal() { print -r -- command: $words; }
_files() { }
compadd() { print -rl -- ${(P)@[-1]}; }
file=$1; shift
words=("$@") CURRENT=$#
source $file
"""


def run(*argv: str | Path, text: str = "") -> str:
    return subprocess.run(argv, input=text, capture_output=True, text=True, env=environment, timeout=60, check=True).stdout


def expect(what: str, got: object, wanted: object) -> None:
    global failed
    failed += got != wanted
    print(f"{'ok' if got == wanted else 'not ok'}: {what}" + ("" if got == wanted else f": {got}, expected {wanted}"))


def in_bash(*words: str) -> list[str]:
    # readline hands over "=" as a word of its own.
    split = [part for w in words for part in (re.split("(=)", w) if w.startswith("--") else [w])]
    return [w for w in run("bash", "--norc", "-c", BASH, "bash", bash_file, *split).splitlines() if w]


def in_zsh(*words: str) -> list[str]:
    return [w for w in run("zsh", "-f", "-c", ZSH, "zsh", zsh_file, *words).splitlines() if w]


def nothing_happened() -> None:
    """What is said where there is no incident names none."""
    before = environment["PATH"]
    with tempfile.TemporaryDirectory() as work:
        stub = Path(work) / "cgctl"
        stub.write_text(f"#!/bin/sh\necho [] | exec {cgctl} \"$@\" --from=-\n")
        stub.chmod(0o755)
        environment["PATH"] = f"{work}:{before}"
        expect("bash: no incident", in_bash("cgctl", "why", ""), [])
        if shutil.which("zsh"):
            expect("zsh: no incident", in_zsh("cgctl", "why", ""), [])
    environment["PATH"] = before


def units() -> None:
    """A name as systemd escapes it comes out as it is."""
    before = environment["PATH"]
    with tempfile.TemporaryDirectory() as work:
        stub = Path(work) / "systemctl"
        stub.write_text("#!/bin/sh\nprintf '%s loaded\\n' 'foo\\x2dbar.service' 'web@1.service'\n")
        stub.chmod(0o755)
        environment["PATH"] = f"{work}:{before}"
        for verb in ("place", "release", "tree"):
            expect(f"bash: {verb}: units", in_bash("cgctl", verb, "foo"), ["foo\\x2dbar.service"])
        expect("bash: a quoted unit", in_bash("cgctl", "place", "foo\\\\x2d"), ["foo\\x2dbar.service"])
    environment["PATH"] = before


def sed_lines(part: str) -> str:
    """The one expression of _cgctl that has this in it."""
    found = [e for e in re.findall(r"sed -n '([^']*)'", zsh_file.read_text()) if part in e]
    if len(found) != 1:
        sys.exit(f"_cgctl: {len(found)} sed expressions with '{part}'; mend this test")
    return found[0]


def main() -> int:
    helps = {"": run(cgctl, "help")}
    verbs = dict(re.findall(r"^  ([a-z-]+) .*?  +(\S.*)$", helps[""].partition("Verbs:")[2].partition("Options:")[0], re.M))
    helps |= {v: run(cgctl, v, "--help") for v in verbs}
    rows = {v: re.findall(r"^  (-\w)? +--([\w-]+)(=\S+)? +(\S.*)$", text.partition("Options:")[2], re.M) for v, text in helps.items()}
    options = {v: {f"--{name}": said for _, name, _, said in found} for v, found in rows.items()}
    valued = {o for found in rows.values() for short, name, value, _ in found if value for o in (short, f"--{name}") if o}
    expect("verbs and options are found at all", (len(verbs) > 15, min(map(len, options.values())) > 3), (True, True))

    expect("bash: verbs", in_bash("cgctl", ""), list(verbs))
    expect("bash: the verbs of help", in_bash("cgctl", "help", ""), list(verbs))
    for verb, there in options.items():
        expect(f"bash: options of {verb or 'cgctl'}", in_bash(*f"cgctl {verb}".split(), "--"), list(there))
    for option in sorted(valued):
        expect(f"bash: the value of {option} is no verb", in_bash("cgctl", option, "run", "v"), ["verify", "version"])
    for words, at in (("cgctl run ma", 2), ("cgctl run --domain=side ma", 5), ("cgctl run --domain side ma", 4),
                      ("cgctl run --background --domain=side make --", 6), ("cgctl -H db1 run make x", 4),
                      ("cgctl run --domain=side cgctl run --domain=side make", 5)):
        expect(f"bash: {words}", in_bash(*words.split()), [f"command at {at}"])
    expect("bash: the domain is no command", in_bash("cgctl", "run", "--domain=si"), [])

    nothing_happened()
    units()

    said = {v: [f"{o}:{text}" for o, text in there.items()] for v, there in options.items()}
    of_verbs, of_options = sed_lines("Verbs"), sed_lines("(--[a-z")
    expect("zsh: sed: verbs", run("sed", "-n", of_verbs, text=helps[""]).splitlines(), [f"{v}:{t}" for v, t in verbs.items()])
    for verb, text in helps.items():
        expect(f"zsh: sed: options of {verb or 'cgctl'}", run("sed", "-n", of_options, text=text).splitlines(), said[verb])
    if not shutil.which("zsh"):
        print("zsh is not installed: of _cgctl only the sed lines were tried")
        return failed > 0
    expect("zsh: verbs", in_zsh("cgctl", ""), [f"{v}:{t}" for v, t in verbs.items()])
    for verb, there in said.items():
        expect(f"zsh: options of {verb or 'cgctl'}", in_zsh(*f"cgctl {verb}".split(), "--"), there)
    for option in sorted(valued):
        expect(f"zsh: the value of {option} is no verb", in_zsh("cgctl", option, "run", "")[:1], [f"status:{verbs['status']}"])
    for words, rest in (("cgctl run ma", "ma"), ("cgctl run --domain=side ma", "ma"), ("cgctl run --domain side ma", "ma"),
                        ("cgctl run --background --domain=side make --", "make --"), ("cgctl -H db1 run make x", "make x")):
        expect(f"zsh: {words}", in_zsh(*words.split()), [f"command: {rest}"])
    expect("zsh: the domain is no command", in_zsh("cgctl", "run", "--domain", "si"), [])
    return failed > 0


sys.exit(main())
