"""Converse.js in a browser without a window, led as a person would."""

import asyncio
import base64
import itertools
import json
import os
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from deploy.lab.heard import PATIENCE_S, NotHeardError
from deploy.lab.ports import HOST

LOOK_S = 0.1
END_S = 10
BAR = "document.querySelector('converse-chat-toolbar')"
SETTINGS = (
    "--headless=new",
    "--no-sandbox",  # it shows nothing but our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,800",
    "--remote-debugging-port=0",
)
CURVE = "curve25519_compiled.wasm"
PAGE = """\
<!DOCTYPE html>
<html><head><meta charset="utf-8">
<link rel="stylesheet" href="/dist/converse.min.css"></head>
<body class="converse-fullscreen"><div id="conversejs-bg"></div>
<script type="module">
import "/dist/converse.min.js";
const asked = new URLSearchParams(location.search);
converse.plugins.add("spy", {initialize() { window.spy = this._converse; }});
converse.initialize({
  view_mode: "fullscreen", i18n: "en", assets_path: "/dist/", loglevel: "info",
  websocket_url: `ws://127.0.0.1:${asked.get("port")}/xmpp-websocket`,
  authentication: "login", auto_login: true, discover_connection_methods: false,
  jid: asked.get("jid"), password: asked.get("password"), play_sounds: false,
  whitelisted_plugins: ["spy"], auto_register_muc_nickname: false,
});
</script></body></html>
"""
# Who goes on talking in the same way is neither named again nor has a lock again.
MESSAGES = """
(() => {
  const open = "converse-chat:not(.hidden), converse-muc:not(.hidden)";
  let by = "", sealed = false;
  return [...document.querySelectorAll(open)].flatMap((chat) =>
    [...chat.querySelectorAll("converse-chat-message")]).map((one) => {
      const author = one.querySelector(".chat-msg__author")?.innerText.trim();
      if (author) {
        by = author;
        sealed = !!one.querySelector(".chat-msg__heading .fa-lock");
      }
      const text = (one.querySelector(".chat-msg__text") ?? one).innerText.trim();
      return {by, text, sealed};
    });
})()
"""


class Converse:
    """One browser with one page; its files are in *folder*.

    *program* starts the browser, *dist* is where Converse.js is, and *port* where the
    server has its WebSocket. *console* and *stream* are what it said and sent.
    """

    def __init__(
        self, folder: Path, program: Sequence[str], dist: Path, port: int
    ) -> None:
        self.console: list[str] = []
        self.stream: list[str] = []
        self._program = program
        self._folder = folder
        self._dist = dist
        self._port = port
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tasks = asyncio.TaskGroup()
        self._session: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._process: Process | None = None
        self._site: web.AppRunner | None = None
        self._url = ""

    async def __aenter__(self) -> Self:
        await self._serve()
        self._session = aiohttp.ClientSession()
        await self._tasks.__aenter__()
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()
        await self._session.close()
        await self._tasks.__aexit__(None, None, None)
        if self._site is not None:
            await self._site.cleanup()

    async def logs_in(self, jid: str, password: str) -> None:
        """Open the page, and wait until it is connected."""
        asked = f"port={self._port}&jid={jid}&password={password}"
        await self._asks("Page.navigate", url=f"{self._url}/?{asked}")
        await self._connected()

    async def reloads(self) -> None:
        """Load the page again."""
        await self._asks("Page.reload")
        await self._connected()

    async def leaves(self) -> None:
        """End the browser, without a word to the server."""
        await self._end()

    async def comes_back(self, jid: str, password: str) -> None:
        """Start the browser with all that it remembers, and open the page."""
        await self._start()
        await self.logs_in(jid, password)

    async def opens(self, jid: str) -> None:
        """Open the chat with *jid*."""
        await self.evaluate(f"spy.api.chats.open({json.dumps(jid)}, {{}}, true)")
        await self._until("!!document.querySelector('converse-chat .chat-textarea')")

    async def joins(self, room: str, nick: str) -> None:
        """Come into *room*."""
        where, who = json.dumps(room), json.dumps({"nick": nick})
        await self.evaluate(f"spy.api.rooms.open({where}, {who}, true)")
        await self._until("!!document.querySelector('converse-muc .chat-textarea')")

    async def can_seal(self) -> None:
        """Wait until all have keys: those in this chat, and this browser itself.

        What comes to it before is shown as not readable for ever, however soon it has
        them (``parseEncryptedMessage`` in its ``omemo/parsers.js``).
        """
        await self._until("!!spy.state.omemo_store?.get('device_id')")
        await self._until(f"{BAR}?.model.get('omemo_supported')")

    async def seals(self) -> None:
        """Let what is said in this chat be encrypted, by its lock."""
        await self.can_seal()
        await self.evaluate(
            f"{BAR}.querySelector('.toggle-omemo .fa-unlock')"
            f" && {BAR}.querySelector('.toggle-omemo').click()"
        )
        await self._until(f"!!{BAR}.querySelector('.toggle-omemo .fa-lock')")

    async def says(self, words: str) -> None:
        """Write *words*, and press Enter."""
        await self.evaluate("document.querySelector('.chat-textarea').focus()")
        await self._asks("Input.insertText", text=words)
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
        await self._asks("Input.dispatchKeyEvent", type="keyDown", **key)
        await self._asks("Input.dispatchKeyEvent", type="keyUp", **key)

    async def sees(
        self, words: str, by: str, *, sealed: bool = False
    ) -> Sequence[dict[str, Any]]:
        """Wait until *words* are shown once, by that name; return all that is shown."""
        wanted = [{"by": by, "text": words, "sealed": sealed}]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            shown: list[dict[str, Any]] = await self.evaluate(MESSAGES)
            if [one for one in shown if one["text"] == words] == wanted:
                return shown
            if time.monotonic() > deadline:
                raise NotHeardError(f"Converse does not show {wanted}: {shown}")
            await asyncio.sleep(LOOK_S)

    async def evaluate(self, code: str) -> Any:  # noqa: ANN401 - JSON
        """Return what *code* comes to, in the page."""
        answer = await self._asks(
            "Runtime.evaluate",
            expression=code,
            awaitPromise=False,
            returnByValue=not code.startswith("spy.api."),
        )
        if "exceptionDetails" in answer:
            raise NotHeardError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def photograph(self) -> bytes:
        """Return what the page looks like, as a PNG."""
        answer = await self._asks("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def _connected(self) -> None:
        await self._until(
            "!!window.spy?.api?.connection?.connected() && "
            "!!document.querySelector('converse-root')"
        )

    async def _until(self, code: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(NotHeardError):
                if await self.evaluate(code):
                    return
            if time.monotonic() > deadline:
                raise NotHeardError(f"never true in Converse: {code}\n{self.console}")
            await asyncio.sleep(LOOK_S)

    async def _serve(self) -> None:
        async def page(_: web.Request) -> web.Response:
            return web.Response(text=PAGE, content_type="text/html")

        site = web.Application()
        site.router.add_get("/", page)

        async def curve(_: web.Request) -> web.FileResponse:
            return web.FileResponse(self._dist / CURVE)

        site.router.add_get(f"/{CURVE}", curve)
        site.router.add_static("/dist", self._dist)
        self._site = web.AppRunner(site, access_log=None)
        await self._site.setup()
        await web.TCPSite(self._site, HOST, 0).start()
        self._url = f"http://{HOST}:{self._site.addresses[0][1]}"

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._program,
            *SETTINGS,
            f"--user-data-dir={self._folder}",
            "about:blank",
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            start_new_session=True,
        )
        await self._attach(self._process)

    async def _end(self) -> None:
        """Ask the browser to end, so that it keeps what it has."""
        if self._process is None:
            return
        with suppress(NotHeardError, TimeoutError):
            await self._asks("Browser.close")
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._process = None

    async def _attach(self, process: Process) -> None:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            async for line in process.stderr:
                if b"DevTools listening on" in line:
                    break
        address = line.decode().split("ws://")[1].split("/")[0]
        self._tasks.create_task(_drain(process.stderr))
        async with self._session.get(f"http://{address}/json/list") as answer:
            pages = await answer.json(content_type=None)
        page = next(one for one in pages if one["type"] == "page")
        where = page["webSocketDebuggerUrl"]
        self._socket = await self._session.ws_connect(where, max_msg_size=0)
        self._tasks.create_task(self._listen(self._socket))
        for what in ("Page", "Runtime", "Network"):
            await self._asks(f"{what}.enable")

    async def _asks(self, method: str, **params: object) -> Any:  # noqa: ANN401 - JSON
        assert self._socket is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        asked = {"id": number, "method": method, "params": params}
        await self._socket.send_json(asked)
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            self._take(json.loads(message.data))
        for answer in self._answers.values():
            answer.set_exception(NotHeardError("the browser has ended"))
        self._answers.clear()

    def _take(self, told: dict[str, Any]) -> None:
        if "id" in told:
            answer = self._answers.pop(told["id"])
            if "error" in told:
                answer.set_exception(NotHeardError(str(told["error"])))
            else:
                answer.set_result(told["result"])
            return
        params = told["params"]
        match str(told["method"]):
            case "Network.webSocketFrameReceived":
                self.stream.append(f"< {params['response']['payloadData']}")
            case "Network.webSocketFrameSent":
                self.stream.append(f"> {params['response']['payloadData']}")
            case "Runtime.consoleAPICalled":
                words = [str(one.get("value", "")) for one in params["args"]]
                self.console.append(" ".join(words))
            case _:
                pass


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass
