"""Install what the tests' clients in JavaScript are made of, where there is npm."""

import shutil
import subprocess
from pathlib import Path

from deploy.lab import venvs
from deploy.lab.words import say

SOURCE = venvs.ROOT / "tests" / "e2e" / "js"
FOLDER = venvs.STATE / "js"
CLIENT = FOLDER / "client.mjs"
CONVERSE_FOLDER = venvs.STATE / "converse"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def client() -> Path | None:
    """Return the client's program, as it is in this checkout; None without it."""
    if not (FOLDER / "made-of.stamp").exists() or shutil.which("node") is None:
        return None
    shutil.copy(SOURCE / CLIENT.name, CLIENT)
    return CLIENT


def browser() -> str | None:
    """Return the browser of this machine that can do without a window."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def converse() -> Path | None:
    """Return the folder that a page with Converse.js is made of; None without it."""
    if not (CONVERSE_FOLDER / "made-of.stamp").exists():
        return None
    return CONVERSE_FOLDER / "node_modules" / "converse.js" / "dist"


def ensure() -> None:
    """Install the Matrix client once, and again when it changes, if that can be."""
    _install("matrix-js-sdk", SOURCE / "package.json", FOLDER)


def ensure_converse() -> None:
    """Install Converse.js likewise, where there is a browser for it."""
    if browser() is None:
        say("There is no Chromium here: the tests with Converse.js will be skipped.")
        return
    _install("Converse.js", SOURCE / "converse.json", CONVERSE_FOLDER)


def _install(name: str, package: Path, folder: Path) -> None:
    stamp = folder / "made-of.stamp"
    made_of = venvs.fingerprint((), [package])
    if stamp.exists() and stamp.read_text() == made_of:
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        say(f"There is no node here: the tests with {name} will be skipped.")
        return
    say(f"Setting up {name} (once) …")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(package, folder / "package.json")
    log = venvs.LOGS / "npm.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            check=False,
        )
    if done.returncode:
        say(f"{name} cannot be had ({log}): the tests with it will be skipped.")
        return
    stamp.write_text(made_of)
