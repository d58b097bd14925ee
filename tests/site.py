"""All that a bridge needs around it, in this process, for one that is not."""

import asyncio
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from bridge.config import Config, load
from tests.component_server import DOMAIN, SECRET, ComponentServer
from tests.homeserver import AS_TOKEN
from tests.unit.matrix.keys import KeyHomeserver

KEY = "A" * 43 + "="
HS_TOKEN = "hs-token-0123456789abcdef"
PATIENCE_S = 30

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (DEBUG|INFO|WARNING|ERROR) ")


class PingingHomeserver(KeyHomeserver):
    """Really asks the appservice at *calls* when it is to ping it."""

    def __init__(self) -> None:
        super().__init__("hs")
        self.calls = ""
        self.hs_token = HS_TOKEN

    async def _ping(self, request: web.Request) -> web.Response:
        answer = await super()._ping(request)
        if answer.status != 200:
            return answer
        token = {"Authorization": f"Bearer {self.hs_token}"}
        url = f"{self.calls}/_matrix/app/v1/ping"
        try:
            async with aiohttp.request("POST", url, json={}, headers=token) as said:
                code = "" if said.status == 200 else "M_BAD_STATUS"
        except aiohttp.ClientError:
            code = "M_CONNECTION_FAILED"
        if not code:
            return answer
        return web.json_response({"errcode": code, "error": code}, status=502)


@dataclass(frozen=True)
class Ended:
    """How a bridge ended."""

    code: int
    out: str
    log: list[str]
    said: list[str]
    took_s: float

    @property
    def words(self) -> str:
        """The one line for the admin; there is no other, and no traceback."""
        assert len(self.said) == 1, self.said
        assert not any("Traceback" in line for line in self.log), self.log
        return self.said[0]


class Running:
    """A bridge in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._out = b""
        self._err = b""

    async def ready(self) -> str:
        """Wait for its first line on standard output."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            self._out = await self._process.stdout.readline()
        return self._out.decode()

    async def logs(self, words: str) -> None:
        """Wait until it says *words* in its log."""
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while words.encode() not in (line := await self._process.stderr.readline()):
                self._err += line
        self._err += line

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def asked(self, number: signal.Signals) -> Ended:
        """Send it a signal, and see how it ends."""
        self.send(number)
        return await self.ended()

    def catches(self, number: signal.Signals) -> bool:
        """Tell whether a signal would be listened to."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (number - 1) & 1)

    def uses(self, library: str) -> bool:
        """Tell whether a shared library of that name is loaded."""
        return library in Path(f"/proc/{self._process.pid}/maps").read_text()

    async def kill(self) -> None:
        """Leave nothing behind, however a test ends."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    async def ended(self) -> Ended:
        """Wait for its end."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await self._process.communicate()
        finally:
            if self._process.returncode is None:
                self._process.kill()
        assert self._process.returncode is not None
        lines = (self._err + err).decode().splitlines()
        return Ended(
            code=self._process.returncode,
            out=(self._out + out).decode(),
            log=[line for line in lines if _LOG_LINE.match(line)],
            said=[line for line in lines if not _LOG_LINE.match(line)],
            took_s=time.monotonic() - began,
        )


@dataclass
class Site:
    """A homeserver, an XMPP server and a configuration that fits them."""

    folder: Path
    homeserver: PingingHomeserver
    xmpp: ComponentServer
    listen: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    bridges: list[Running] = field(default_factory=list)

    def write(self, *changes: tuple[str, str], name: str = "config") -> Path:
        """Write a configuration; of *changes*, the old text is replaced by the new."""
        folder = self.folder / name
        folder.mkdir()
        text = f"""\
[homeserver]
name = "hs"
url = "{self.homeserver.url}"
[appservice]
listen = "{self.listen}"
as_token = "{AS_TOKEN}"
hs_token = "{HS_TOKEN}"
[xmpp]
component = "{DOMAIN}"
address = "127.0.0.1:{self.xmpp.port}"
secret = "{SECRET}"
[store]
key = "{KEY}"
"""
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = folder / "config.toml"
        file.touch(0o600)
        file.write_text(text)
        return file

    def config(self, *changes: tuple[str, str]) -> Config:
        """Write a configuration and read it."""
        return load(self.write(*changes), {})

    async def start(self, config: Path) -> Running:
        """Start a bridge."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bridge", "run", "--config", str(config)),
            stdout=pipe,
            stderr=pipe,
        )
        self.bridges.append(Running(process))
        return self.bridges[-1]

    async def push(self, txn: str, *events: dict[str, object]) -> int:
        """Send a transaction as the homeserver does; tell how it was answered."""
        url = f"http://{self.listen}/_matrix/app/v1/transactions/{txn}"
        token = {"Authorization": f"Bearer {HS_TOKEN}"}
        body = {"events": list(events)}
        async with aiohttp.request("PUT", url, json=body, headers=token) as answer:
            return answer.status

    async def run(self, *changes: tuple[str, str]) -> Ended:
        """Run a bridge that ends by itself."""
        return await (await self.start(self.write(*changes))).ended()


def free_port() -> int:
    """Find a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@asynccontextmanager
async def new_site(folder: Path) -> AsyncIterator[Site]:
    homeserver = PingingHomeserver()
    await homeserver.start()
    try:
        async with ComponentServer() as xmpp:
            site = Site(folder, homeserver, xmpp)
            homeserver.calls = f"http://{site.listen}"
            try:
                yield site
            finally:
                for bridge in site.bridges:
                    await bridge.kill()
    finally:
        await homeserver.stop()
