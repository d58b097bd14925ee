"""Tries everything that the bridge needs, and says for each how to mend it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from bridge import exposure
from bridge.config import Config
from bridge.core.ports import StoreUnavailableError
from bridge.ends import SECOND, StartError, check_name, open_store
from bridge.lookup import Addresses
from bridge.matrix.appservice import Appservice
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.queries import ThirdParty
from bridge.matrix.rehearsal import rehearse
from bridge.xmpp import offline
from bridge.xmpp.component import ComponentRefusedError
from bridge.xmpp.trial import Trial

logger = logging.getLogger(__name__)

CLOCK_S_MAX = 30
ANSWER_S = 15
CHECKER = "_xmpp_check"
TIMEOUT_S = 25

_NO_PING = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_OURS_SAID_NO = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Step:
    """What is tried, under its name, if the step that it *needs* has succeeded."""

    name: str
    take: Callable[["Doctor"], Awaitable[str]]
    needs: str = ""


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
        self._trial = Trial(
            domain=config.xmpp.component,
            secret=config.xmpp.secret,
            host=config.xmpp.address.host,
            port=config.xmpp.address.port,
        )
        self._runs = False
        self._answered: list[int] = []

    async def examine(self) -> int:
        """Take every step and print what comes of it."""
        print(f"✔ configuration: {self._config.directory.resolve()}")
        failed: set[str] = set()
        left_out: set[str] = set()
        for step in STEPS:
            if step.needs in failed | left_out:
                left_out.add(step.name)
                print(f"• {step.name}: not tried; first mend: {step.needs}")
            elif not await self._succeeds(step):
                failed.add(step.name)
        await self._homeserver.close()
        print("All is well." if not failed else f"{len(failed)} to be mended.")
        return 1 if failed else 0

    async def _succeeds(self, step: Step) -> bool:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                said = await step.take(self)
        except Note as note:
            print(f"• {step.name}: {note}")
            return True
        except Finding as finding:
            said = str(finding)
        except TimeoutError:
            said = f"no answer within {TIMEOUT_S} s; is the machine overloaded?"
        except Exception as error:
            logger.exception("%s cannot be tried", step.name)
            said = f"a fault of the bridge ({type(error).__name__}): please report it"
        else:
            print(f"✔ {step.name}: {said}")
            return True
        print(f"✘ {step.name}: {said}")
        return False

    async def database(self) -> str:
        """Open the database and write to it."""
        try:
            store = await open_store(self._config)
        except StartError as error:
            self._runs = error.code == SECOND
            self._leave_alone()
            raise Finding(str(error)) from None
        try:
            counts = await store.counts()
        except StoreUnavailableError as error:
            raise Finding(f"cannot be read: {error}; restore a backup") from None
        finally:
            await store.close()
        return f"{counts['waiting'] + counts['pending']} messages wait in it"

    async def homeserver(self) -> str:
        """Reach the client-server API."""
        try:
            answer = await self._ask("GET", "/_matrix/client/versions")
        except (HomeserverDownError, MatrixError) as error:
            raise Finding(
                f"{self._config.homeserver.url}: {error}; does the homeserver run, and"
                " is homeserver.url right?"
            ) from None
        versions = answer.get("versions")
        if not isinstance(versions, list) or not versions:
            raise Finding("something answers that is no homeserver; is the url right?")
        return f"up to {versions[-1]}"

    async def clock(self) -> str:
        """Compare our clock with the homeserver's."""
        url = f"{self._config.homeserver.url.rstrip('/')}/_matrix/client/versions"
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url) as answer,
            ):
                date = answer.headers.get("Date", "")
        except (aiohttp.ClientError, OSError):
            raise Finding(
                "the homeserver cannot be reached; does it still run?"
            ) from None
        try:
            off_s = abs(parsedate_to_datetime(date).timestamp() - time.time())
        except ValueError:
            raise Note("the homeserver does not tell the time") from None
        if off_s > CLOCK_S_MAX:
            raise Finding(f"{off_s:.0f} s apart from the homeserver's; use NTP on both")
        return "agrees with the homeserver's"

    async def token(self) -> str:
        """Let the homeserver say who we are."""
        try:
            answer = await self._ask("GET", join("account", "whoami"))
        except MatrixError as error:
            raise Finding(
                f"refused ({error.errcode}): the homeserver does not use this"
                " registration.yaml; name it in app_service_config_files and restart"
            ) from None
        except HomeserverDownError as error:
            raise Finding(f"{error}; does the homeserver still run?") from None
        try:
            check_name(answer, self._config.homeserver.name)
        except StartError as error:
            raise Finding(str(error)) from None
        return f"accepted, as {answer.get('user_id')}"

    async def namespaces(self) -> str:
        """Act for a ghost and for the bot."""
        bot = f"@{self._config.appservice.bot}:{self._config.homeserver.name}"
        ghost = f"@{CHECKER}:{self._config.homeserver.name}"
        for mxid in (bot, ghost):
            try:
                await self._register(mxid)
                await self._ask("GET", join("account", "whoami"), user=mxid)
            except MatrixError as error:
                raise Finding(
                    f"we may not act for {mxid} ({error.errcode}): the registration at"
                    " the homeserver is not the one beside the configuration"
                ) from None
            except HomeserverDownError as error:
                raise Finding(f"{error}; does the homeserver still run?") from None
        return f"ghosts and {bot}"

    async def _register(self, mxid: str) -> None:
        body = {
            "type": "m.login.application_service",
            "username": mxid[1:].partition(":")[0],
            "inhibit_login": True,
        }
        try:
            await self._ask("POST", join("register"), body=body)
        except MatrixError as error:
            if error.errcode != "M_USER_IN_USE":
                raise

    async def encryption(self) -> str:
        """Make a device, and have its keys brought."""
        user = f"@{CHECKER}:{self._config.homeserver.name}"
        try:
            way = await rehearse(self._homeserver, user)
        except MatrixError as error:
            raise Note(
                f"this homeserver does not let an appservice have devices ({error}):"
                " encrypted rooms stay closed to XMPP; all others work"
            ) from None
        except HomeserverDownError as error:
            raise Finding(f"{error}; does the homeserver still run?") from None
        return f"devices of our own, keys come by {way}"

    async def way_back(self) -> str:
        """Let the homeserver reach us, with its token (appservice ping)."""
        server = await self._listen()
        try:
            await self._ping()
        except (MatrixError, HomeserverDownError) as error:
            if error.status in _NO_PING:
                raise Note("this homeserver cannot be asked to try") from None
            raise Finding(self._why_no_ping(error)) from None
        finally:
            if server is not None:
                await server.stop()
        who = "the bridge, which runs," if self._runs else "us"
        return f"the homeserver reaches {who} at {self._config.appservice.listen}"

    async def _ping(self) -> None:
        path = join("appservice", self._config.appservice.id, "ping", version="v1")
        try:
            await self._ask("POST", path, body={})
        except (MatrixError, HomeserverDownError) as error:
            if "CONNECTION_FAILED" not in error.errcode:
                raise
            # It may have tried a connection to a bridge that has ended meanwhile.
            await self._ask("POST", path, body={})

    def _why_no_ping(self, error: MatrixError | HomeserverDownError) -> str:
        if error.status == HTTPStatus.FORBIDDEN:
            return (
                f"refused ({error.errcode}): the registration at the homeserver has"
                " another id; give it our registration.yaml and restart it"
            )
        if error.errcode not in ("M_BAD_STATUS", "FI.MAU.MSC2659.BAD_STATUS"):
            return (
                f"the homeserver cannot reach us ({error}); is appservice.url, which"
                " is url in registration.yaml, right from where it runs?"
            )
        if self._runs or any(status in _OURS_SAID_NO for status in self._answered):
            return (
                "the homeserver uses another hs_token than ours; give it our"
                " registration.yaml and restart it"
            )
        return (
            "something else than the bridge answers the homeserver; is url in"
            " registration.yaml right, and is nothing in between?"
        )

    async def _listen(self) -> Appservice | None:
        """Listen as the bridge would; None if the bridge itself does."""
        if self._runs:
            return None

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
        server.app.on_response_prepare.append(self._note_answer)
        listen = config.appservice.listen
        try:
            await server.start(listen.host, listen.port)
        except OSError as error:
            await server.stop()
            raise Finding(
                f"appservice.listen: {listen}: {error.strerror}; stop what listens"
                " there, or choose another port"
            ) from None
        return server

    async def _note_answer(self, _: web.Request, answer: web.StreamResponse) -> None:
        self._answered.append(answer.status)

    async def secrets(self) -> str:
        """See who else could read our secrets, or guess one."""
        config = self._config
        if risks := exposure.risks(config):
            raise Note("; ".join(risks))
        return "only their owner can read them, and nobody can guess them"

    async def component(self) -> str:
        """Shake hands with the XMPP server."""
        self._leave_alone()
        config = self._config.xmpp
        try:
            await self._trial.shake_hands()
        except ComponentRefusedError as error:
            raise Finding(str(error)) from None
        except (OSError, TimeoutError) as error:
            raise Finding(
                f"{config.address}: {str(error) or 'no answer'}; does the XMPP server"
                " listen there for components?"
            ) from None
        return f"{config.component} accepted at {config.address}"

    async def upload(self) -> str:
        """Look for an upload service (XEP-0363) beside the component."""
        self._leave_alone()
        parent = self._config.xmpp.component.partition(".")[2]
        service = await self._trial.upload_service(parent)
        if not service:
            raise Note(
                f"none found at {parent}; needed for files, which do not cross yet"
            )
        return service

    async def offline(self) -> str:
        """See whether the XMPP server is one that loses what it keeps."""
        self._leave_alone()
        parent = self._config.xmpp.component.partition(".")[2]
        name, version = await self._trial.version(parent)
        if not name:
            raise Note(f"{parent} does not tell its version")
        if fault := offline.fault(name, version):
            raise Finding(fault)
        return f"{name} {version} keeps them as far as we know"

    def _leave_alone(self) -> None:
        """Have no second stream under the domain of a bridge that runs.

        Some servers would give it a part of the stanzas.
        """
        if self._runs:
            raise Note("not tried, as the bridge runs; stop it for this")

    async def _ask(self, method: str, path: str, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - as ``request`` does
        return await self._homeserver.request(method, path, timeout_s=ANSWER_S, **asked)


class _Nobody:
    """Knows no users and no rooms."""

    async def user(self, mxid: str) -> bool:
        """Tell that there is none."""
        return not mxid

    async def alias(self, alias: str) -> bool:
        """Tell that there is none."""
        return not alias


STEPS = (
    Step("secrets", Doctor.secrets),
    Step("database", Doctor.database),
    Step("homeserver", Doctor.homeserver),
    Step("clock", Doctor.clock, "homeserver"),
    Step("as_token", Doctor.token, "homeserver"),
    Step("namespaces", Doctor.namespaces, "as_token"),
    Step("encryption", Doctor.encryption, "namespaces"),
    Step("hs_token", Doctor.way_back, "as_token"),
    Step("component", Doctor.component),
    Step("upload service", Doctor.upload, "component"),
    Step("messages for people who are away", Doctor.offline, "component"),
)
