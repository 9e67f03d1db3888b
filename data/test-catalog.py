#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every kind of message has its text in the journal catalog, under the same subject, and no text is left over."""
import re
import sys

header, catalog = (open(path, encoding="utf-8").read() for path in sys.argv[1:3])
kinds = {i: s for i, s in re.findall(r'X\(\w+,\s+"([0-9a-f]{32})", "([^"]*)"\)', header)}
texts = dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.*)$", catalog, re.M))
faults = [f"{i} ({s}) is missing or has another subject in the catalog" for i, s in kinds.items() if texts.get(i) != s]
faults += [f"{i} ({s}) is in the catalog alone" for i, s in texts.items() if i not in kinds]
faults += [f"{len(kinds)} kinds found: the table could not be read"] if len(kinds) < 10 else []
print("\n".join(faults) or f"{len(kinds)} messages explained")
sys.exit(bool(faults))
