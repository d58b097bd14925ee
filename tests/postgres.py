"""Runs a private PostgreSQL on a socket of its own, from the system's packages."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

OWNER = "postgres"
OPTIONS = "-c listen_addresses='' -c unix_socket_directories={folder} -c fsync={fsync}"


def programs() -> Path | None:
    """Find the folder that has initdb and pg_ctl; None if they are not installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@contextmanager
def cluster(*, fsync: bool = False) -> Iterator[Path]:
    """Start a server, name the folder of its socket, and stop it at the end."""
    found = programs()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="bridge-pg-"))
    files = folder / "files"
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam(OWNER).pw_uid, -1)
    options = OPTIONS.format(folder=folder, fsync="on" if fsync else "off")
    try:
        _run(found / "initdb", "-D", files, "-A", "trust", "-U", OWNER, "--no-sync")
        log = folder / "log"
        _run(found / "pg_ctl", "-D", files, "-l", log, "-w", "-o", options, "start")
        try:
            yield folder
        finally:
            _run(found / "pg_ctl", "-D", files, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def database(folder: Path, name: str) -> Iterator[str]:
    """Make a database, tell its URL, and drop it at the end."""
    admin = f"host={folder} user={OWNER} dbname=postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    yield f"postgresql://{OWNER}@/{name}?host={folder}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _run(*command: str | Path) -> None:
    # PostgreSQL refuses to run as root.
    user = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
    subprocess.run(
        [*(user if os.geteuid() == 0 else []), *map(str, command)],
        check=True,
        cwd="/",
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
