"""Install packages of Debian or Ubuntu; their services are kept from starting.

policy-rc.d is how Debian lets an administrator forbid it: exit code 101 means "not
allowed" (Debian Policy 9.3.3, invoke-rc.d).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deploy.lab.words import LabError, say, tail

POLICY = Path("/usr/sbin/policy-rc.d")
FORBID = "#!/bin/sh\nexit 101\n"
SYSTEMD = Path("/run/systemd/system")


def need(packages: Mapping[str, str], log: Path) -> None:
    """Install the packages whose file is not there yet.

    *packages* maps a package's name to a file, or a command, that it brings.
    """
    missing = [name for name, brings in packages.items() if not _is_there(brings)]
    if not missing:
        return
    say(f"Installing {', '.join(missing)} (once, about a minute) …")
    if shutil.which("apt-get") is None:
        raise LabError(
            f"Not found: {', '.join(missing)}; and this is neither Debian nor Ubuntu",
            "Install them with this system's own packages, without starting them",
        )
    with _services_held_back(missing, log):
        _apt(["update", "-q"], log)
        _apt(["install", "-q", "-y", "--no-install-recommends", *missing], log)


def find(*names: str) -> str:
    """Return the path of the first of these programs that is there."""
    for name in names:
        path = shutil.which(name, path=_path())
        if path:
            return path
    raise LabError(f"{names[0]} was not found after its package was installed")


def as_root(command: Sequence[str]) -> list[str]:
    """Return *command* as root would run it."""
    if os.geteuid() == 0:
        return list(command)
    if shutil.which("sudo") is None:
        raise LabError(
            f"Only root can run `{' '.join(command)}`, and there is no sudo",
            "Run this once as root, or install the packages by hand",
        )
    return ["sudo", *command]


def _is_there(brings: str) -> bool:
    if brings.startswith("/"):
        return any(Path("/").glob(brings[1:]))
    return shutil.which(brings, path=_path()) is not None


def _path() -> str:
    # Servers are in folders that only root's PATH has; PostgreSQL has its own.
    own = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = ["/usr/sbin", "/sbin", *map(str, own)]
    return os.pathsep.join([os.environ.get("PATH", ""), *folders])


def _apt(words: Sequence[str], log: Path) -> None:
    environment = ["DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=a"]
    # One that waits for the lock: on a fresh machine the daily update may run.
    command = as_root(
        ["env", *environment, "apt-get", "-o", "DPkg::Lock::Timeout=300", *words]
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        done = subprocess.run(
            command,
            stdin=None if os.isatty(0) else subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
        )
    if done.returncode:
        raise LabError(
            f"`apt-get {' '.join(words)}` failed:\n{tail(log)}\n",
            "Mend that, then run this again",
            log,
        )


@contextlib.contextmanager
def _services_held_back(packages: Sequence[str], log: Path) -> Iterator[None]:
    before = _read(POLICY)
    _write(POLICY, FORBID)
    new = [f"{package}.service" for package in packages] if SYSTEMD.exists() else []
    _systemctl("mask", new, log)
    try:
        yield
    finally:
        # Installed for us alone: what was never asked for does not start at boot.
        _systemctl("unmask", new, log)
        _systemctl("disable", new, log)
        if before is None:
            subprocess.run(as_root(["rm", "-f", str(POLICY)]), check=False)
        else:
            _write(POLICY, before)


def _systemctl(verb: str, units: Sequence[str], log: Path) -> None:
    if not units:
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        command = as_root(["systemctl", "--quiet", verb, *units])
        subprocess.run(command, stdout=out, stderr=out, check=False)


def _read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def _write(file: Path, text: str) -> None:
    subprocess.run(
        as_root(["sh", "-c", f"cat > {file} && chmod 755 {file}"]),
        input=text.encode(),
        check=True,
    )
