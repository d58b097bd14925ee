"""Prove that everything works: set up what the tests need, then run every gate."""

import os
import signal
import subprocess
from contextlib import suppress

from deploy.lab import backports, debian, next_release, node, venvs
from deploy.lab.words import LabError, say

PACKAGES = {
    "prosody": "prosody",
    "ejabberd": "ejabberdctl",
    "erlang-base": "erl",
    "postgresql": "postgres",
    "profanity": "profanity",
    "tmux": "tmux",
}
REQUIRED = "BRIDGE_TEST_E2E"
INTERRUPTED = 130


def prove(arguments: list[str]) -> int:
    """Return the exit code of all the gates."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        debian.need(PACKAGES, venvs.LOGS / "apt.log")
        venvs.tests()
        venvs.synapse()
        node.ensure()
        if "--all-clients" in arguments:
            node.ensure_converse()
        with suppress(LabError):  # the tests that need them say why they are left out
            backports.unpacked()
        with suppress(LabError):
            next_release.profanity()
        done = subprocess.run(
            [str(venvs.ROOT / "tests" / "check"), *arguments],
            env={**os.environ, REQUIRED: "required"},
            stdin=subprocess.DEVNULL,
            cwd=venvs.ROOT,
            check=False,
        )
    except LabError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return done.returncode
