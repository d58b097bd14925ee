"""The way out to the homeserver: Matrix Client-Server API as the appservice.

    answer = await homeserver.request("GET", join("profile", mxid), user=ghost)

Two ways to fail, and no others: ``MatrixError``, the homeserver understood and says
no; ``HomeserverDownError``, nobody knows what happened, so the same again later.
"""

import os
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
from yarl import URL

from bridge.matrix.codec.tolerant import decode
from bridge.matrix.http import Answer, HttpClient

SEND_TIMEOUT_S = 60
ALIVE_TIMEOUT_S = 10
CONNECTIONS_MAX = 16
RETRY_AFTER_MAX_S = 3600.0

_GATEWAY = (502, 503, 504)
_PASSING = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.UNAUTHORIZED)


class MatrixError(Exception):
    """The homeserver refused a request, with an error of the Matrix spec.

    *retry_after_s* is above 0 if it asks to be asked again later (429).
    """

    def __init__(
        self, status: int, errcode: str, message: str = "", retry_after_s: float = 0
    ) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the very same may be granted later."""
        ours_not = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return ours_not or self.status in _PASSING


class HomeserverDownError(Exception):
    """The homeserver cannot be reached, or its answer tells nothing.

    The request may have had its effect. *status* and *errcode* are what a gateway
    said, if one did.
    """

    def __init__(self, message: str, status: int = 0, errcode: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode


class Homeserver:
    """One homeserver, to which we are an appservice.

    *on_trouble* is called, often, when there is reason to doubt that it still runs.
    *ours* tells whether somebody is a user of ours: we act for nobody else, whatever
    the registration at the homeserver allows.
    """

    def __init__(self, url: str, as_token: str, server_name: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the address of a homeserver: {url}")
        self.server_name = server_name
        self.on_trouble: Callable[[], None] = lambda: None
        self.ours: Callable[[str], bool] = lambda _: True
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._prefix = parts.path.rstrip("/")
        self._token = as_token
        self._session: aiohttp.ClientSession | None = None
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._address = (parts.hostname, parts.port or (443 if self._tls else 80))
        self._hot = HttpClient(
            self._address,
            head=b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n"
            % as_token.encode("ascii"),
            tls=self._tls,
            limit=CONNECTIONS_MAX,
            on_lost=self._trouble,
        )
        self._watched = HttpClient(
            self._address, tls=self._tls, limit=1, on_lost=self._trouble
        )

    async def alive(self) -> bool:
        """Ask whether it runs, over a connection that is kept for that."""
        path = f"{self._prefix}/_matrix/client/versions"
        try:
            answer = await self._watched.request("GET", path, b"", ALIVE_TIMEOUT_S)
        except OSError:
            return False
        return answer.status == HTTPStatus.OK and isinstance(decode(answer.body), dict)

    async def send(self, path_and_query: str, body: bytes) -> Answer:
        """PUT *body* (an event, with its txnId in the path); the one hot call.

        Any status is an answer: ``event_id`` reads it. Raises
        ``HomeserverDownError`` if there is none.
        """
        try:
            return await self._hot.request(
                "PUT", self._prefix + path_and_query, body, SEND_TIMEOUT_S
            )
        except OSError as error:
            self.on_trouble()
            raise HomeserverDownError(_words(error)) from error

    async def request(  # noqa: PLR0913 - a request has that many parts
        self,
        method: str,
        path: str,
        *,
        user: str = "",
        device: str = "",
        query: Mapping[str, str] = {},
        body: object | None = None,
        timeout_s: float = 60,
    ) -> dict[str, Any]:
        """Make a request and return the JSON object that it is answered with.

        *path* comes from ``join``. *user* is who of ours asks, *device* their device;
        without one it is the appservice's own sender.
        """
        if user and not self.ours(user):
            raise MatrixError(403, "M_EXCLUSIVE", "that is no user of ours")
        parameters = urlencode(query)
        target = "&".join(filter(None, (parameters, masquerade(user, device))))
        url = f"{self._base}{self._prefix}{path}{'?' if target else ''}{target}"
        data = msgspec.json.encode(body) if body is not None else None
        answer, wait_s = await self._ask(method, url, data, timeout_s)
        return _checked(answer, wait_s)

    async def fetch(
        self, path: str, query: Mapping[str, str], *, bytes_max: int, timeout_s: float
    ) -> bytes:
        """Download what is at *path*, whatever is said of it.

        Raises as ``request`` does, M_TOO_LARGE as soon as more than *bytes_max* come.
        That it takes long says nothing of the homeserver: what others keep, it has to
        fetch from there.
        """
        url = f"{self._base}{self._prefix}{path}?{urlencode(query)}"
        session = self._session = self._session or self._connected()
        try:
            async with session.get(
                URL(url, encoded=True),
                # A few bytes could become very many.
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                body = await _at_most(bytes_max, response.content)
                if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                    wait_s = _seconds(response.headers.get("Retry-After"))
                    _checked(Answer(response.status, body), wait_s)
                return body
        except (aiohttp.ClientError, OSError) as error:
            raise HomeserverDownError(_words(error)) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._hot.close()
        await self._watched.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self, method: str, url: str, data: bytes | None, timeout_s: float
    ) -> tuple[Answer, float]:
        """Return the answer and the seconds that its headers ask to wait."""
        session = self._session = self._session or self._connected()
        try:
            async with session.request(
                method,
                URL(url, encoded=True),
                data=data,
                # A redirect would carry the token to somebody else.
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                answer = Answer(response.status, await response.read())
                return answer, _seconds(response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError) as error:
            self.on_trouble()
            raise HomeserverDownError(_words(error)) from error

    def _connected(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
            },
        )

    def _trouble(self) -> None:
        self.on_trouble()


def join(*parts: str, version: str = "v3") -> str:
    """Make the path of a client-server endpoint; every part is percent-encoded."""
    quoted = "/".join(quote(part, safe="") for part in parts)
    return f"/_matrix/client/{version}/{quoted}"


def masquerade(user: str, device: str = "") -> str:
    """Write the query by which we act as *user* on *device* (spec 1.17, MSC4326)."""
    if not user:
        return ""
    query = f"user_id={quote(user, safe='')}"
    if not device:
        return query
    name = quote(device, safe="")
    return f"{query}&device_id={name}&org.matrix.msc3202.device_id={name}"


def read(answer: Answer) -> dict[str, Any]:
    """Return the object in *answer*, or raise as ``Homeserver.request`` does."""
    return _checked(answer, 0.0)


def event_id(answer: Answer) -> str:
    """Return the name of the event that ``Homeserver.send`` has made."""
    name = read(answer).get("event_id")
    if not isinstance(name, str) or not name:
        raise HomeserverDownError("an event without a name", answer.status)
    return name


def _checked(answer: Answer, wait_s: float) -> dict[str, Any]:
    status = answer.status
    content = decode(answer.body)
    known: dict[str, Any] = content if isinstance(content, dict) else {}
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        if isinstance(content, dict):
            return known
        raise HomeserverDownError(f"{status} without a JSON object", status)
    errcode = known.get("errcode")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        asked = _seconds(known.get("retry_after_ms"), 1000) or wait_s or 1.0
        raise MatrixError(status, "M_LIMIT_EXCEEDED", "too many requests", asked)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # Often said by a proxy, in HTML; it will say so every time.
        raise MatrixError(status, "M_TOO_LARGE", "too large")
    if status in _GATEWAY or not isinstance(errcode, str):
        code = errcode if isinstance(errcode, str) else ""
        raise HomeserverDownError(f"answered {status} {code}".strip(), status, code)
    raise MatrixError(status, errcode, str(known.get("error", ""))[:500])


async def _at_most(bytes_max: int, stream: aiohttp.StreamReader) -> bytes:
    read = bytearray()
    async for piece in stream.iter_any():
        read += piece
        if len(read) > bytes_max:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise MatrixError(status, "M_TOO_LARGE", "too large")
    return bytes(read)


def _seconds(given: object, per_second: int = 1) -> float:
    """Read a number of seconds that a stranger gives; 0 if it is none."""
    if not isinstance(given, int | float | str):
        return 0.0
    try:
        seconds = float(given) / per_second
    except (ValueError, OverflowError):
        return 0.0
    return min(seconds, RETRY_AFTER_MAX_S) if seconds > 0 else 0.0


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own words name the address in three ways, and TLS where there is none.
        if isinstance(error, aiohttp.ClientSSLError):
            return str(error.os_error)
        number = error.os_error.errno or 0
        return os.strerror(number) if number > 0 else str(error.strerror)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
