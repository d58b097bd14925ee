"""Install what the encrypting client of the tests is made of, where there is npm."""

import shutil
import subprocess
from pathlib import Path

from deploy.lab import venvs
from deploy.lab.words import say

SOURCE = venvs.ROOT / "tests" / "e2e" / "js"
FOLDER = venvs.STATE / "js"
CLIENT = FOLDER / "client.mjs"


def client() -> Path | None:
    """Return the client's program, as it is in this checkout; None without it."""
    if not (FOLDER / "made-of.stamp").exists() or shutil.which("node") is None:
        return None
    shutil.copy(SOURCE / CLIENT.name, CLIENT)
    return CLIENT


def ensure() -> None:
    """Install it once, and again when it changes; do without if that cannot be."""
    package = SOURCE / "package.json"
    stamp = FOLDER / "made-of.stamp"
    made_of = venvs.fingerprint((), [package])
    if stamp.exists() and stamp.read_text() == made_of:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        say("There is no node here: the tests with matrix-js-sdk will be skipped.")
        return
    say("Setting up matrix-js-sdk (once) …")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    shutil.copy(package, FOLDER)
    log = venvs.LOGS / "npm.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            command,
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
        )
    if done.returncode:
        say(f"matrix-js-sdk cannot be had ({log}): the tests with it will be skipped.")
        return
    stamp.write_text(made_of)
