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


def restart(folder: Path) -> None:
    """Restart a server as after a failure: it has to recover."""
    found = programs()
    assert found is not None
    files, log = folder / "files", folder / "log"
    _run(found / "pg_ctl", "-D", files, "-l", log, "-m", "immediate", "-w", "restart")


def database(folder: Path, name: str, tablespace: str = "") -> str:
    """Make a schema, which is as good as a database but quicker, and tell its URL."""
    server = server_url(folder)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"'.encode())
    place = f"%20-cdefault_tablespace%3D{tablespace}" if tablespace else ""
    return f"{server}&options=-csearch_path%3D{name}{place}"


def server_url(folder: Path) -> str:
    """Tell where the server of that folder is."""
    return f"postgresql://{OWNER}@/postgres?host={folder}"


def through(url: str, port: int) -> str:
    """Change a URL so that it leads through somebody who listens on *port*."""
    _, _, options = url.partition("&")
    return f"postgresql://{OWNER}@127.0.0.1:{port}/postgres?{options}"


def socket_of(folder: Path) -> Path:
    """Name the file of a server's socket."""
    return folder / ".s.PGSQL.5432"


def tablespace(folder: Path, name: str, place: Path) -> None:
    """Let tables lie at *place*."""
    if os.geteuid() == 0:
        os.chown(place, pwd.getpwnam(OWNER).pw_uid, -1)
    with psycopg.connect(server_url(folder), autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'".encode())


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
