"""The way in from the homeserver: the Application Service API (spec v1.19).

A transaction is answered 200 when all its events are safe on disk and no sooner,
and nothing else is done before. Which events came already is known by event id, for
ever, by whoever keeps them; transaction ids are only a shortcut.
"""

import asyncio
import hmac
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from bridge.core.ports import StoreUnavailableError
from bridge.matrix.codec.envelope import Push, RawEvent, open_push
from bridge.matrix.numbering import Numbering
from bridge.matrix.queries import PROTOCOL, Queries, ThirdParty

__all__ = ["Appservice", "RawEvent"]

logger = logging.getLogger(__name__)

TRANSACTION_BYTES_MAX = 64 * 1024 * 1024
"""Above aiohttp's 1 MiB: a 413 would stop everything behind it for ever."""
TRANSACTIONS_KNOWN_MAX = 256
CONNECTIONS_KNOWN_MAX = 16
ROOMS_CERTAIN_MAX = 10_000
COMPLAINT_EVERY_S = 60
STOP_TIMEOUT_S = 2.0
TURNS_TO_LEAVE = 2
"""So many turns of the loop what was carried needs to leave: people wait for it, while
the homeserver is in no hurry to be answered."""

_V1 = "/_matrix/app/v1"

Intake = Callable[[Sequence[RawEvent]], Awaitable[None]]
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Appservice:
    """Listens to the homeserver.

    *intake* keeps events: what it returns from is safe. It raises
    ``StoreUnavailableError`` if it cannot; the homeserver will come again. *ephemeral*
    is shown what is not worth keeping. *reunited* is awaited with the first events of
    each room after a new connection: a homeserver that restarted has forgotten what it
    was about to push before them. *on_gap* is called when a transaction is missing.
    Routes may be added to *app* before the start.
    """

    def __init__(
        self,
        hs_token: str,
        intake: Intake,
        queries: Queries,
        third_party: ThirdParty,
        *,
        ephemeral: Callable[[Sequence[bytes]], None] | None = None,
        reunited: Intake | None = None,
    ) -> None:
        self._token = hs_token.encode()
        self._intake = intake
        self._queries = queries
        self._third_party = third_party
        self._ephemeral = ephemeral
        self._reunited = reunited
        self._numbering = Numbering()
        self._met: deque[object] = deque(maxlen=CONNECTIONS_KNOWN_MAX)
        self._certain: set[str] = set()
        self.on_gap: Callable[[], None] = lambda: None
        self._known: dict[tuple[str, ...], None] = {}
        self._complained = -float(COMPLAINT_EVERY_S)
        self._runner: web.AppRunner | None = None
        self.malformed = 0
        self.app = web.Application()
        self._add_routes()

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses if *port* is 0."""
        runner = web.AppRunner(
            self.app, access_log=None, shutdown_timeout=STOP_TIMEOUT_S
        )
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, host, port).start()
        bound: int = runner.addresses[0][1]
        logger.info("listening to the homeserver on %s port %d", host, bound)
        return bound

    async def stop(self) -> None:
        """Listen no longer; a transaction that is being kept is still answered."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _add_routes(self) -> None:
        add = self.app.router.add_route
        for prefix in (_V1, ""):
            add("PUT", prefix + "/transactions/{txn}", self._guard(self._transaction))
            add("GET", prefix + "/users/{user}", self._guard(self._user))
            add("GET", prefix + "/rooms/{alias}", self._guard(self._alias))
        add("POST", _V1 + "/ping", self._guard(_pong))
        third = self._third_party
        for prefix in (_V1, "/_matrix/app/unstable"):
            here = f"{prefix}/thirdparty"
            add("GET", here + "/user", self._found(third.users_of))
            add("GET", here + "/location", self._found(third.locations_of))
            add("GET", f"{here}/user/{PROTOCOL}", self._guard(self._looked_up))
            add("GET", f"{here}/location/{PROTOCOL}", self._found(third.locations))
            add("GET", f"{here}/protocol/{PROTOCOL}", self._guard(self._protocol))
        add("*", "/_matrix/app/{rest:.*}", self._guard(_unrecognised))

    def _guard(self, answering: Answering) -> Answering:
        """Let only the homeserver ask."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            # Never by query: those end up in logs of proxies.
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not token:
                return _error(401, "M_UNAUTHORIZED", "no token")
            given = token.strip().encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, self._token):
                self._complain(request.remote)
                return _error(403, "M_FORBIDDEN", "wrong token")
            return await answering(request)

        return guarded

    async def _transaction(self, request: web.Request) -> web.StreamResponse:
        txn = request.match_info["txn"]
        try:
            body = await _body(request)
        except ConnectionError:
            logger.warning("transaction %r broke off; it comes again", txn[:255])
            return _error(400, "M_NOT_JSON", "the transaction broke off")
        if body is None:
            logger.error(
                "transaction %r is larger than %d bytes: everything behind it waits",
                txn[:255],
                TRANSACTION_BYTES_MAX,
            )
            return _error(413, "M_TOO_LARGE", "the transaction is too large")
        push = open_push(body)
        if push is None:
            logger.error("transaction %r is not one: it stays unread", txn[:255])
            return _error(400, "M_NOT_JSON", "no transaction")
        try:
            await self._meet(request, push)
            await self._keep(txn, push)
        except StoreUnavailableError:
            logger.warning("transaction %r cannot be kept now", txn[:255])
            return _error(503, "M_UNKNOWN", "nothing can be written at present")
        if push.ephemeral and self._ephemeral is not None:
            self._ephemeral(push.ephemeral)
        for _ in range(TURNS_TO_LEAVE):
            await asyncio.sleep(0)
        return _json({})

    async def _meet(self, request: web.Request, push: Push) -> None:
        """Look back before the first events of a room after a new connection or a gap.

        Nobody knows of which room the transaction was that is missing.
        """
        peer = request.transport and request.transport.get_extra_info("peername")
        txn = request.match_info["txn"]
        skips = self._numbering.skips(txn)
        if skips or peer not in self._met or len(self._certain) > ROOMS_CERTAIN_MAX:
            self._met.append(peer)
            self._certain.clear()
        if skips:
            logger.info("a transaction before %r is missing", txn)
            self.on_gap()
        first = [one for one in push.events if one.room_id not in self._certain]
        if first and self._reunited is not None:
            await self._reunited(first)
            self._certain |= {event.room_id for event in first}

    async def _keep(self, txn: str, push: Push) -> None:
        """Keep what came, unless the very same came a moment ago."""
        # A restored homeserver counts its transactions anew: the id is not enough.
        name = (txn, *(event.event_id for event in push.events))
        if name in self._known:
            logger.info("transaction %r came again", txn[:255])
            return
        for event_id in push.malformed:
            logger.warning("event %s is malformed and was skipped", event_id)
        if push.events:
            await self._intake(push.events)
        self.malformed += len(push.malformed)
        self._known[name] = None
        if len(self._known) > TRANSACTIONS_KNOWN_MAX:
            del self._known[next(iter(self._known))]

    async def _user(self, request: web.Request) -> web.StreamResponse:
        return _exists(await self._queries.user(request.match_info["user"]))

    async def _alias(self, request: web.Request) -> web.StreamResponse:
        return _exists(await self._queries.alias(request.match_info["alias"]))

    async def _protocol(self, _: web.Request) -> web.StreamResponse:
        return _json(self._third_party.protocol())

    async def _looked_up(self, request: web.Request) -> web.StreamResponse:
        """Find somebody of XMPP, and have them there for what is said to them next.

        Clients encrypt the very first message for the devices that they find then.
        """
        found = self._third_party.users(request.query)
        for one in found:
            await self._queries.user(one["userid"])
        return _json(found) if found else _exists(found)

    def _found(
        self, look: Callable[[Mapping[str, str]], list[Mapping[str, Any]]]
    ) -> Answering:
        async def answer(request: web.Request) -> web.StreamResponse:
            found = look(request.query)
            return _json(found) if found else _exists(found)

        return self._guard(answer)

    def _complain(self, remote: str | None) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAINT_EVERY_S:
            self._complained = now
            logger.error("%s uses a wrong hs_token; is the registration new?", remote)


async def _body(request: web.Request) -> bytes | None:
    """Read the body, or None if it is too large; other routes keep the low limit."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > TRANSACTION_BYTES_MAX:
                return None
            pieces.append(piece)
    except web.RequestPayloadError:
        return b""  # compressed, it says, and is not
    return b"".join(pieces)


async def _pong(_: web.Request) -> web.StreamResponse:
    return _json({})


async def _unrecognised(_: web.Request) -> web.StreamResponse:
    return _error(404, "M_UNRECOGNIZED", "no such endpoint")


def _exists(found: object) -> web.StreamResponse:
    return _json({}) if found else _error(404, "M_NOT_FOUND", "there is none")


def _error(status: int, errcode: str, words: str) -> web.Response:
    return _json({"errcode": errcode, "error": words}, status)


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(content),
        content_type="application/json",
    )
