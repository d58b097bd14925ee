"""A PostgreSQL cluster of our own, on loopback; PostgreSQL never runs as root."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.lab import debian, venvs
from deploy.lab.children import Child
from deploy.lab.ports import HOST, Ports, answers
from deploy.lab.words import LabError, tail

USER = "bridge"


class Postgres:
    """A cluster in a folder of its own that goes when it is thrown away."""

    def __init__(self, ports: Ports) -> None:
        self._port = ports.port("postgres")
        # Not under the checkout: its user may not be able to get there.
        self._folder = Path(tempfile.mkdtemp(prefix="bridge-postgres-"))
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """The database, as SQLAlchemy names it."""
        who = f"{USER}:{self._password}"
        return f"postgresql+psycopg://{who}@{HOST}:{self._port}/postgres"

    def child(self) -> Child:
        """Make the cluster, and return the server."""
        log = venvs.LOGS / "postgres.log"
        debian.need({"postgresql": "postgres"}, venvs.LOGS / "apt.log")
        password = self._folder / "password"
        password.write_text(self._password)
        self._hand_over(password)
        words = ["--username", USER, "--auth", "scram-sha-256", "--no-sync"]
        words += ["--pwfile", str(password), "--encoding", "UTF8", "--locale", "C"]
        self._run([debian.find("initdb"), *words, str(self._cluster)], log)
        server = [debian.find("postgres"), "-D", str(self._cluster)]
        settings = {
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": "",
        }
        for name, value in settings.items():
            server += ["-c", f"{name}={value}"]
        return Child("PostgreSQL", _unprivileged(server), log, folder=self._folder)

    def ready(self) -> bool:
        """Tell whether it listens."""
        return answers(self._port)

    def throw_away(self) -> None:
        """Remove the cluster."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _cluster(self) -> Path:
        return self._folder / "cluster"

    def _hand_over(self, file: Path) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (self._folder, file):
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def _run(self, command: list[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            done = subprocess.run(
                _unprivileged(command),
                stdout=out,
                stderr=out,
                check=False,
                cwd=self._folder,
            )
        if done.returncode:
            raise LabError(f"PostgreSQL cannot be set up:\n{tail(log)}\n", log=log)


def _unprivileged(command: list[str]) -> list[str]:
    if os.geteuid() != 0:
        return command
    return [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
        *command,
    ]
