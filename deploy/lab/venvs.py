"""Make virtual environments once, and again when what they are made of changes."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy.lab import debian
from deploy.lab.words import LabError, say, tail

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state"
VENVS = STATE / "venvs"
LOGS = STATE / "logs"

SYNAPSE = ("matrix-synapse>=1.150,<2",)


def synapse() -> Path:
    """Return the Python that has Synapse."""
    return ensure(VENVS / "synapse", "Synapse", SYNAPSE)


def bridge() -> Path:
    """Return the Python that has the bridge, as it is in this checkout."""
    python = ensure(
        VENVS / "bridge", "the bridge", (str(ROOT),), files=[ROOT / "pyproject.toml"]
    )
    stamp = VENVS / "bridge" / "source.stamp"
    source = fingerprint((), sorted((ROOT / "bridge").rglob("*.py")))
    if not stamp.exists() or stamp.read_text() != source:
        words = ["--no-deps", "--force-reinstall", str(ROOT)]
        pip(python, words, LOGS / "pip-bridge.log")
        stamp.write_text(source)
    return python


def tests() -> Path:
    """Return the Python that has the bridge in place, and what its tests need."""
    project = f"{ROOT}[test,postgresql]"
    files = [ROOT / "pyproject.toml"]
    return ensure(ROOT / ".venv", "the tests", ("-e", project), files=files)


def ensure(
    folder: Path, what: str, words: Sequence[str], *, files: Iterable[Path] = ()
) -> Path:
    """Return the Python of the environment in *folder*, making it if need be."""
    python = folder / "bin" / "python"
    stamp = folder / "made-of.stamp"
    made_of = fingerprint((sys.version, *words), files)
    if stamp.exists() and stamp.read_text() == made_of and python.exists():
        return python
    say(f"Setting up {what} (once, about a minute) …")
    log = LOGS / f"pip-{folder.name.lstrip('.')}.log"
    if not python.exists():
        _create(folder, log)
    pip(python, words, log)
    stamp.write_text(made_of)
    return python


def fingerprint(words: Iterable[str], files: Iterable[Path]) -> str:
    """Return what changes when any of these does."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\0")
    for file in files:
        digest.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def pip(python: Path, words: Sequence[str], log: Path) -> None:
    """Install packages; raise with the last lines if that fails."""
    flags = ["--disable-pip-version-check", "--no-input", "--quiet"]
    _run([str(python), "-m", "pip", "install", *flags, *words], log)


def _create(folder: Path, log: Path) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        # Debian ships Python without what makes environments.
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        brings = f"/usr/lib/{version}/ensurepip/__init__.py"
        debian.need({f"{version}-venv": brings}, LOGS / "apt.log")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], log)


def _run(command: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
        )
    if done.returncode:
        raise LabError(
            f"`{' '.join(command[1:4])} …` failed:\n{tail(log)}\n",
            "Is there a network to the package index?",
            log,
        )
