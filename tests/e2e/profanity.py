"""Profanity, a client of its own kind, led as a person would at a terminal (tmux)."""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.lab.heard import PATIENCE_S, NotHeardError
from deploy.lab.ports import HOST

LOOK_S = 0.1


class Profanity:
    """One terminal with the client in it; its files are in *folder*.

    *command* starts it, in the version that it is to have.
    """

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._folder = folder
        self._command = command
        self._socket = f"profanity-{secrets.token_hex(4)}"

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        folders = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        words = [f"{name}={self._folder}" for name in folders]
        command = ["env", *words, "LANG=C.UTF-8", *self._command]
        size = ("-x", "220", "-y", "60")
        await self._tmux("-f", "/dev/null", "new-session", "-d", *size, *command)
        await self.sees("Profanity")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._tmux("kill-server")

    async def types(self, line: str) -> None:
        """Write a line, and press Enter."""
        await self._tmux("send-keys", "-l", line)
        await self._tmux("send-keys", "Enter")

    async def logs_in(self, jid: str, password: str, port: int) -> None:
        """Connect as *jid*, in the clear: it is loopback."""
        await self.types(f"/connect {jid} server {HOST} port {port} tls disable")
        await self.sees("Enter password")
        await self.types(password)
        await self.sees("logged in successfully")

    async def restarts(self) -> None:
        """End the client, and start it anew with all that it remembers.

        It says farewell: ejabberd holds what comes for who does not in an archive, for
        which 0.13 never asks.
        """
        await self.types("/quit")
        deadline = time.monotonic() + PATIENCE_S
        while await self._tmux("list-sessions"):
            if time.monotonic() > deadline:
                raise NotHeardError(f"Profanity does not end:\n{await self.screen()}")
            await asyncio.sleep(LOOK_S)
        await self.__aenter__()

    async def seals(self, of: str = "", tries: int = int(PATIENCE_S)) -> None:
        """Seal this window; wait for the keys of whom it is with, or of *of*.

        0.15 asks for them only when this is done again, once it knows the devices.
        """
        for number in range(int(PATIENCE_S)):
            if number < tries:
                await self.types("/omemo end")
                await self.types("/omemo start")
                await self.sees("[OMEMO]")
            await self.types(f"/omemo fingerprint {of}".strip())
            with contextlib.suppress(NotHeardError):
                await self.sees("(trusted)", within_s=1)
                return
        raise NotHeardError(f"Profanity has no keys:\n{await self.screen()}")

    async def sees(self, text: str, within_s: float = PATIENCE_S) -> str:
        """Wait until *text* is on the screen; return all of it."""
        deadline = time.monotonic() + within_s
        while text not in (screen := await self.screen()):
            if time.monotonic() > deadline:
                raise NotHeardError(f"Profanity does not show {text!r}:\n{screen}")
            await asyncio.sleep(LOOK_S)
        return screen

    async def screen(self) -> str:
        """Return what is on the screen."""
        return await self._tmux("capture-pane", "-p")

    async def _tmux(self, *words: str) -> str:
        done = await asyncio.create_subprocess_exec(
            "tmux",
            "-L",
            self._socket,
            *words,
            env={**os.environ, "TERM": "xterm-256color"},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await done.communicate()
        return said.decode(errors="replace")
