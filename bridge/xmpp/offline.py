"""Knows the servers that lose what they keep for people who are away.

XEP-0386 has a server clear the messages it kept for a device that binds, as the
device will find them in the archive. ejabberd 24.02 to 24.11 does so even where there
is no archive (processone/ejabberd issue 4287).
"""

import re

FIRST = (24, 2)
MENDED = (24, 12)

_NUMBERS = re.compile(r"(\d+)\.(\d+)")


def fault(name: str, version: str) -> str:
    """Say what a server, by its name and version (XEP-0092), is known to lose."""
    found = _NUMBERS.match(version)
    if "ejabberd" not in name.casefold() or found is None:
        return ""
    if FIRST <= (int(found[1]), int(found[2])) < MENDED:
        return (
            f"ejabberd {version} may delete what it keeps for people who are away:"
            " update to 24.12 or later, or switch mod_mam on for everybody"
        )
    return ""
