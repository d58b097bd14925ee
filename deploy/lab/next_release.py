"""A newer Profanity, from the next release of Debian: unpacked, never installed.

It comes with all the libraries that it needs, down to its own libc, and is started by
that one's loader. What else is for ``backports`` is for this.
"""

import os
import shutil
from pathlib import Path

from deploy.lab import backports, venvs
from deploy.lab.words import LabError, say

RELEASE = "trixie"
PACKAGE = "profanity-light"
PLACE = venvs.STATE / "next-release"
ROOT = PLACE / "root"
LOADER = ROOT / "lib64" / "ld-linux-x86-64.so.2"
LIBRARIES = ROOT / "usr" / "lib" / "x86_64-linux-gnu"


def profanity() -> list[str]:
    """Return the command that starts the newer Profanity, unpacked if need be."""
    stamp = PLACE / "unpacked.stamp"
    sources = backports.sources_of(RELEASE)
    if not stamp.exists() or stamp.read_text() != sources:
        say("Unpacking a newer Profanity (once) …")
        shutil.rmtree(PLACE, ignore_errors=True)
        (ROOT / "usr" / "lib64").mkdir(parents=True)
        # Nothing of this machine counts as installed: all that it needs comes along.
        PLACE.joinpath("status").touch()
        for folder in ("bin", "lib", "lib64", "sbin"):
            (ROOT / folder).symlink_to(f"usr/{folder}")
        backports.fetch(
            PLACE,
            ROOT,
            sources,
            [PACKAGE],
            ["-o", f"Dir::State::status={PLACE / 'status'}"],
        )
        stamp.write_text(sources)
    if not LOADER.exists():
        raise LabError(f"The newer Profanity does not run on {os.uname().machine}")
    program = str(ROOT / "usr" / "bin" / "profanity")
    return [str(LOADER), "--library-path", str(LIBRARIES), program]


def is_unpacked() -> bool:
    """Tell whether nothing has to be downloaded any more."""
    return (PLACE / "unpacked.stamp").exists() and Path(LOADER).exists()
