"""People on Matrix who encrypt, with the code that Element is made of."""

import asyncio
import itertools
import json
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from deploy.lab.synapse import Synapse
from deploy.lab.world import World
from tests.e2e.nio_people import UNPROTECTED

PATIENCE_S = 30
NO_KEY = "MEGOLM_UNKNOWN_INBOUND_SESSION_ID"
SLOW_MS = 700
"""How long a client's homeserver takes to say whose devices there are."""


@dataclass(frozen=True)
class Said:
    """What was read; *shield* is 0 where a client shows none beside it at first."""

    room: str
    sender: str
    words: str
    secret: bool
    shield: int


class JsPerson:
    """Somebody with one device; *strict* ones deal with signed devices only."""

    def __init__(
        self, synapse: Synapse, localpart: str, program: Path, *, strict: bool
    ) -> None:
        self.localpart = localpart
        self.id = f"@{localpart}:{synapse.server_name}"
        self.failures: list[dict[str, Any]] = []
        self.invites: dict[str, str] = {}
        self._synapse = synapse
        self._program = program
        self._strict = strict
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._unread: deque[Said] = deque()
        self._news = asyncio.Event()
        self._process: Process | None = None
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        assert node is not None
        await asyncio.to_thread(self._synapse.register, self.localpart, "secret")
        await self._tasks.__aenter__()
        self._process = await asyncio.create_subprocess_exec(
            node,
            str(self._program),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=1 << 22,
        )
        self._tasks.create_task(self._listen(self._process))
        token, device = await self._log_in()
        await self.asks(
            "start",
            url=self._synapse.url,
            user=self.id,
            token=token,
            device=device,
            strict=self._strict,
            slow=SLOW_MS,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._tasks.__aexit__(None, None, None)

    def puppet(self, world: World) -> str:
        """Return the JID under which XMPP reaches them."""
        server = world.synapse.server_name
        return f"{self.localpart}_{server}@{world.xmpp.component}"

    async def asks(self, command: str, **said: object) -> Any:  # noqa: ANN401 - JSON
        """Have the client do something; return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "command": command, **said})
        self._process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    async def says(self, room: str, words: str) -> None:
        """Say *words*."""
        await self.asks("say", room=room, words=words)

    async def hears(self, words: str, room: str, sender: str) -> None:
        """Wait for the next message: this one, encrypted, with no shield beside it."""
        heard = await self.hears_next()
        assert heard == Said(room, sender, words, secret=True, shield=0), heard
        assert self.failures == [], self.failures

    async def hears_next(self) -> Said:
        """Wait for the next message."""
        await self._until(lambda: bool(self._unread))
        return self._unread.popleft()

    async def is_invited(self, by: str) -> str:
        """Wait for an invitation of *by*; return the room."""
        await self._until(lambda: by in self.invites.values())
        return next(room for room, who in self.invites.items() if who == by)

    async def _until(self, there: Any) -> None:  # noqa: ANN401 - a question
        async with asyncio.timeout(PATIENCE_S):
            while not there():
                self._news.clear()
                await self._news.wait()

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._take(json.loads(line))
            self._news.set()

    def _take(self, told: dict[str, Any]) -> None:
        match told["kind"]:
            case "answer":
                answer = self._answers.pop(told["id"])
                if "error" in told:
                    answer.set_exception(RuntimeError(told["error"]))
                else:
                    answer.set_result(told["answer"])
            case "message":
                # Who comes in is given the key of what was said before a moment later.
                late = {"id": told["id"], "words": NO_KEY}
                self.failures = [
                    f for f in self.failures if not late.items() <= f.items()
                ]
                keys = ("room", "sender", "words", "secret", "shield")
                if UNPROTECTED not in told["words"]:
                    self._unread.append(Said(**{key: told[key] for key in keys}))
            case "invite":
                self.invites[told["room"]] = told["sender"]
            case _:
                self.failures.append(told)

    async def _log_in(self) -> tuple[str, str]:
        asked = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.localpart},
            "password": "secret",
        }
        url = f"{self._synapse.url}/_matrix/client/v3/login"
        async with aiohttp.request("POST", url, json=asked) as answer:
            said = await answer.json()
        return said["access_token"], said["device_id"]
