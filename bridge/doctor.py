"""Tries everything that the bridge needs, and says for each how to mend it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from email.utils import parsedate_to_datetime

import aiohttp
import uvloop
from typing_extensions import override

from bridge.app import StartError, open_store
from bridge.config import Config
from bridge.core.ports import StoreUnavailableError
from bridge.lookup import Addresses
from bridge.matrix.appservice import Appservice
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.queries import ThirdParty
from bridge.xmpp.codec.xml import node
from bridge.xmpp.component import (
    ComponentRefusedError,
    IqError,
    NotConnectedError,
    Stream,
)
from bridge.xmpp.gate import StanzaError
from bridge.xmpp.written import Written

CLOCK_S_MAX = 30
TIMEOUT_S = 20
UPLOAD_S = 10
DISCO = "http://jabber.org/protocol/disco"
UPLOAD = "urn:xmpp:http:upload:0"

Step = Callable[["Doctor"], Awaitable[str]]


class Finding(Exception):  # noqa: N818 - it is not an error of ours
    """Something is wrong; the words say what, and the remedy."""


class Note(Exception):  # noqa: N818 - nor this
    """Something could be better; nothing fails for it."""


def examine(config: Config) -> int:
    """Try everything, print what is found, and return 0 if all is well."""
    return uvloop.run(Doctor(config).examine())


class Doctor:
    """Goes through the list; a step that fails does not keep the next from trying."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._homeserver = Homeserver(
            config.homeserver.url, config.appservice.as_token, config.homeserver.name
        )

    async def examine(self) -> int:
        """Take every step and print what comes of it."""
        print(f"✔ configuration: {self._config.directory.resolve()}")
        failed = 0
        for name, step in STEPS:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    said = await step(self)
            except Finding as finding:
                failed += 1
                print(f"✘ {name}: {finding}")
            except Note as note:
                print(f"• {name}: {note}")
            except TimeoutError:
                failed += 1
                print(f"✘ {name}: no answer within {TIMEOUT_S} s")
            else:
                print(f"✔ {name}: {said}")
        await self._homeserver.close()
        print("All is well." if not failed else f"{failed} to be mended.")
        return 1 if failed else 0

    async def database(self) -> str:
        """Open the database and write to it."""
        try:
            store = await open_store(self._config)
        except StartError as error:
            raise Finding(str(error)) from None
        try:
            counts = await store.counts()
        except StoreUnavailableError as error:
            raise Finding(f"cannot be read: {error}") from None
        finally:
            await store.close()
        return f"{counts['waiting'] + counts['pending']} messages wait in it"

    async def homeserver(self) -> str:
        """Reach the client-server API."""
        try:
            answer = await self._homeserver.request("GET", "/_matrix/client/versions")
        except (HomeserverDownError, MatrixError) as error:
            raise Finding(f"{error}; is [homeserver] url right?") from None
        versions = answer.get("versions")
        if not isinstance(versions, list) or not versions:
            raise Finding("something answers that is no homeserver; is the url right?")
        return f"up to {versions[-1]}"

    async def clock(self) -> str:
        """Compare our clock with the homeserver's."""
        url = f"{self._config.homeserver.url}/_matrix/client/versions"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                date = answer.headers.get("Date")
        except (aiohttp.ClientError, OSError):
            raise Finding("the homeserver cannot be reached") from None
        if not date:
            raise Note("the homeserver does not tell the time")
        off_s = abs(parsedate_to_datetime(date).timestamp() - time.time())
        if off_s > CLOCK_S_MAX:
            raise Finding(f"{off_s:.0f} s apart from the homeserver's; use NTP on both")
        return "agrees with the homeserver's"

    async def token(self) -> str:
        """Let the homeserver say who we are."""
        try:
            answer = await self._homeserver.request("GET", join("account", "whoami"))
        except MatrixError as error:
            raise Finding(
                f"refused ({error.errcode}): the homeserver does not use this"
                " registration.yaml; name it in app_service_config_files and restart"
            ) from None
        except HomeserverDownError as error:
            raise Finding(str(error)) from None
        mxid = str(answer.get("user_id", ""))
        server = mxid.partition(":")[2]
        if server != self._config.homeserver.name:
            raise Finding(
                f"the homeserver is called {server}, not"
                f" {self._config.homeserver.name}: run init again with that name"
            )
        return f"accepted, as {mxid}"

    async def namespaces(self) -> str:
        """Act for a ghost and for the bot."""
        bot = f"@{self._config.appservice.bot}:{self._config.homeserver.name}"
        ghost = f"@_xmpp_check:{self._config.homeserver.name}"
        for mxid in (bot, ghost):
            try:
                await self._register(mxid)
                await self._homeserver.request(
                    "GET", join("account", "whoami"), user=mxid
                )
            except MatrixError as error:
                raise Finding(
                    f"we may not act for {mxid} ({error.errcode}): the registration at"
                    " the homeserver is not the one beside the configuration"
                ) from None
            except HomeserverDownError as error:
                raise Finding(str(error)) from None
        return f"ghosts and {bot}"

    async def _register(self, mxid: str) -> None:
        body = {
            "type": "m.login.application_service",
            "username": mxid[1:].partition(":")[0],
            "inhibit_login": True,
        }
        try:
            await self._homeserver.request("POST", join("register"), body=body)
        except MatrixError as error:
            if error.errcode != "M_USER_IN_USE":
                raise

    async def way_back(self) -> str:
        """Let the homeserver reach us, with its token (appservice ping)."""
        listen = self._config.appservice.listen
        server = await self._listen()
        try:
            path = join("appservice", self._config.appservice.id, "ping", version="v1")
            await self._homeserver.request("POST", path, body={})
        except MatrixError as error:
            if error.status in (404, 405):
                raise Note("this homeserver cannot be asked to try") from None
            raise Finding(_ping_words(error.errcode, error.message)) from None
        except HomeserverDownError as error:
            raise Finding(_ping_words(error.errcode, str(error))) from None
        finally:
            if server is not None:
                await server.stop()
        return f"the homeserver reaches us at {listen}"

    async def _listen(self) -> Appservice | None:
        """Listen as the bridge would; None if the bridge itself does."""

        async def intake(_: object) -> None:
            raise StoreUnavailableError("only a check")

        config = self._config
        addresses = Addresses(config.xmpp.component)
        server = Appservice(
            config.appservice.hs_token,
            intake,
            _Nobody(),
            ThirdParty(config.homeserver.name, addresses),
        )
        try:
            await server.start(
                config.appservice.listen.host, config.appservice.listen.port
            )
        except OSError as error:
            await server.stop()
            raise Finding(
                f"{config.appservice.listen}: {error.strerror}; if the bridge runs,"
                " stop it for the check"
            ) from None
        return server

    async def component(self) -> str:
        """Shake hands with the XMPP server."""
        config = self._config.xmpp
        async with asyncio.TaskGroup() as tasks:
            try:
                await self._stream(tasks, asyncio.Event()).connect_once()
            except ComponentRefusedError as error:
                raise Finding(str(error)) from None
            except (OSError, TimeoutError) as error:
                why = str(error) or "no answer"
                raise Finding(
                    f"{config.address}: {why}; does the XMPP server listen there for"
                    " components?"
                ) from None
        return f"{config.component} accepted at {config.address}"

    async def upload(self) -> str:
        """Look for an upload service (XEP-0363) beside the component."""
        parent = self._config.xmpp.component.partition(".")[2]
        up = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            stream = self._stream(tasks, up)
            running = tasks.create_task(stream.run(), name="stream")
            try:
                async with asyncio.timeout(UPLOAD_S):
                    await up.wait()
                    service = await upload_service(stream, parent)
            except TimeoutError:
                service = None
            finally:
                await stream.close()
                running.cancel()
        if service is None:
            raise Note(
                f"none found at {parent}; needed for files, which do not cross yet"
            )
        return service

    def _stream(self, tasks: asyncio.TaskGroup, up: asyncio.Event) -> Stream:
        async def is_up() -> None:
            up.set()

        config = self._config.xmpp
        return Stream(
            domain=config.component,
            secret=config.secret,
            host=config.address.host,
            port=config.address.port,
            tasks=tasks,
            received=lambda _: None,
            up=is_up,
            down=lambda: None,
            written=Nothing(),
        )


async def upload_service(stream: Stream, server: str) -> str | None:
    """Name the upload service that *server* lists; XEP-0363 §3."""
    query = node("query", {"xmlns": f"{DISCO}#items"})
    try:
        items = await stream.iq("get", server, stream.domain, query, 5)
    except (IqError, TimeoutError, NotConnectedError):
        return None
    for item in items.iter(f"{{{DISCO}#items}}item"):
        about = node("query", {"xmlns": f"{DISCO}#info"})
        name = item.get("jid", "")
        try:
            info = await stream.iq("get", name, stream.domain, about, 5)
        except (IqError, TimeoutError, NotConnectedError, StanzaError):
            continue
        features = info.iter(f"{{{DISCO}#info}}feature")
        if any(feature.get("var") == UPLOAD for feature in features):
            return name
    return None


class Nothing(Written):
    """Notes nothing: a check writes nothing worth it."""

    def __init__(self) -> None:
        self.earlier = frozenset()

    @override
    def mark(self, parcels: Iterable[int]) -> None:
        """Note nothing."""


class _Nobody:
    """Knows no users and no rooms."""

    async def user(self, mxid: str) -> bool:
        """Tell that there is none."""
        return not mxid

    async def alias(self, alias: str) -> bool:
        """Tell that there is none."""
        return not alias


def _ping_words(errcode: str, words: str) -> str:
    if errcode in ("M_BAD_STATUS", "FI.MAU.MSC2659.BAD_STATUS"):
        return (
            "the homeserver uses another hs_token than ours; restart it with our file"
        )
    return (
        f"the homeserver cannot reach us ({words}); is appservice.url, which is url in"
        " registration.yaml, right from where it runs?"
    )


STEPS: tuple[tuple[str, Step], ...] = (
    ("database", Doctor.database),
    ("homeserver", Doctor.homeserver),
    ("clock", Doctor.clock),
    ("as_token", Doctor.token),
    ("namespaces", Doctor.namespaces),
    ("hs_token", Doctor.way_back),
    ("component", Doctor.component),
    ("upload service", Doctor.upload),
)
