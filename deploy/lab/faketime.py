"""libfaketime from Debian's package: unpacked in a folder of ours, never installed.

Preloaded into a program, it lets the clock of that program alone be wrong.
"""

import shutil
import subprocess
from pathlib import Path

from deploy.lab import venvs
from deploy.lab.words import LabError, say, tail

PACKAGE = "libfaketime"
PLACE = venvs.STATE / "faketime"
LOG = venvs.LOGS / "apt-faketime.log"
NAME = "libfaketimeMT.so.1"


def library() -> Path:
    """Return the library, which is fetched once."""
    found = _found()
    if found is None:
        say("Unpacking libfaketime (once) …")
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        _run(["apt-get", "download", "-q", PACKAGE])
        for archive in PLACE.glob("*.deb"):
            _run(["dpkg-deb", "--extract", archive.name, "root"])
        found = _found()
    if found is None:
        raise LabError(f"{PACKAGE} brings no {NAME}")
    return found


def environment(rule: Path) -> dict[str, str]:
    """Return what lets a program read from the file *rule* how wrong its clock is.

    Only the time of day: what measures how long something takes stays right.
    """
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(rule),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
        "NO_FAKE_STAT": "1",
    }


def _found() -> Path | None:
    return next((PLACE / "root").glob(f"usr/lib/*/faketime/{NAME}"), None)


def _run(command: list[str]) -> None:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    if shutil.which(command[0]) is None:
        raise LabError(f"{PACKAGE} cannot be had: there is no {command[0]} here")
    with LOG.open("ab") as out:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
            cwd=PLACE,
        )
    if done.returncode:
        raise LabError(f"{PACKAGE} cannot be had:\n{tail(LOG)}\n", log=LOG)
