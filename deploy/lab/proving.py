"""Prove that everything works: set up what the tests need, then run every gate."""

import os
import signal
import subprocess

from deploy.lab import debian, venvs
from deploy.lab.ports import Ports
from deploy.lab.postgres import Postgres
from deploy.lab.words import LabError, say

PACKAGES = {
    "prosody": "prosody",
    "ejabberd": "ejabberdctl",
    "erlang-base": "erl",
    "postgresql": "postgres",
}
POSTGRESQL = "BRIDGE_TEST_POSTGRESQL"
REQUIRED = "BRIDGE_TEST_E2E"
INTERRUPTED = 130


def prove(arguments: list[str]) -> int:
    """Return the exit code of all the gates."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        debian.need(PACKAGES, venvs.LOGS / "apt.log")
        venvs.tests()
        venvs.synapse()
        return _with_postgres(arguments)
    except LabError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _with_postgres(arguments: list[str]) -> int:
    postgres = Postgres(Ports(venvs.STATE / "tests" / "ports.json"))
    server = postgres.child()
    try:
        server.start()
        server.wait_ready(postgres.ready)
        environment = {POSTGRESQL: postgres.url, REQUIRED: "required"}
        done = subprocess.run(
            [str(venvs.ROOT / "tests" / "check"), *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            cwd=venvs.ROOT,
            check=False,
        )
        return done.returncode
    finally:
        server.kill()
        postgres.throw_away()
