"""Newer servers from Debian's backports: unpacked in a folder, never installed.

Whatever they need beyond the stable packages of this machine comes along. apt keeps
its lists and its downloads for this in folders of ours, so nobody has to be root.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.lab import venvs
from deploy.lab.words import LabError, say, tail

PACKAGES = ("prosody", "ejabberd")
PLACE = venvs.STATE / "backports"
ROOT = PLACE / "root"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LOG = venvs.LOGS / "apt-backports.log"


def unpacked() -> Path:
    """Return the folder that stands for the root of a file system with them."""
    stamp = PLACE / "unpacked.stamp"
    sources = _sources()
    if stamp.exists() and stamp.read_text() == sources:
        return ROOT
    say("Unpacking newer XMPP servers (once) …")
    shutil.rmtree(PLACE, ignore_errors=True)
    release = f"{_release()}-backports"
    archives = fetch(PLACE, ROOT, sources, PACKAGES, ["-t", release])
    for name in PACKAGES:
        if not any(archive.startswith(f"{name}_") for archive in archives):
            raise LabError(f"{release} has no newer {name} than this machine")
    stamp.write_text(sources)
    return ROOT


def are_unpacked() -> bool:
    """Tell whether nothing has to be downloaded any more."""
    return (PLACE / "unpacked.stamp").exists()


def fetch(
    place: Path,
    root: Path,
    sources: str,
    packages: Sequence[str],
    settings: Sequence[str],
) -> list[str]:
    """Unpack *packages*, and what they need, in *root*; return their archives' names.

    apt keeps what it downloads in *place*.
    """
    (place / "lists" / "partial").mkdir(parents=True)
    (place / "cache" / "archives" / "partial").mkdir(parents=True)
    (place / "sources.list").write_text(sources)
    _apt(place, ["update", "-q"])
    words = ["install", "-q", "-y", "--download-only", "--no-install-recommends"]
    _apt(place, [*words, *settings, *packages])
    archives = sorted((place / "cache" / "archives").glob("*.deb"))
    for archive in archives:
        _run(["dpkg-deb", "--extract", str(archive), str(root)])
    return [archive.name for archive in archives]


def sources_of(release: str) -> str:
    """Write down where this machine would have the packages of another *release*."""
    lines = _sources().splitlines()
    uri = lines[-1].split(" ")[2]
    return f"deb [signed-by={KEYRING}] {uri} {release} main\n"


def _release() -> str:
    """Return the name of the Debian that this is."""
    about = platform.freedesktop_os_release()
    if about.get("ID") != "debian" or shutil.which("apt-get") is None:
        raise LabError(
            f"{about.get('PRETTY_NAME', 'This')} has no backports of newer XMPP servers"
        )
    return about.get("VERSION_CODENAME", "")


def _sources() -> str:
    """Write down where this machine has its packages from, and their backports."""
    release = _release()
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"]
    words += ["Created-By: Packages", "Component: main"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    known = [line.split(" ") for line in done.stdout.splitlines()]
    places = [(uri, name) for uri, name in known if name.split("-")[0] == release]
    stable = next((uri for uri, name in places if name == release), "")
    if not stable:
        raise LabError(f"apt knows no place that has the packages of {release}")
    signed = f"[signed-by={KEYRING}]"
    return "".join(
        f"deb {signed} {uri} {name} main\n"
        for uri, name in [
            *((uri, name) for uri, name in places if name != f"{release}-backports"),
            (stable, f"{release}-backports"),
        ]
    )


def _apt(place: Path, words: Sequence[str]) -> None:
    own = {
        "Dir::Etc::SourceList": place / "sources.list",
        "Dir::Etc::SourceParts": os.devnull,
        "Dir::State::Lists": place / "lists",
        "Dir::Cache": place / "cache",
        "Debug::NoLocking": 1,
        # As root apt downloads as somebody who may not enter a private folder.
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    settings = [word for name in own for word in ("-o", f"{name}={own[name]}")]
    _run(["apt-get", *settings, *words])


def _run(command: Sequence[str]) -> None:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as out:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise LabError(f"Newer packages cannot be had:\n{tail(LOG)}\n", log=LOG)
