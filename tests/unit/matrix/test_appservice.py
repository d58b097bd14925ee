import asyncio
import gzip
import io
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from bridge.core.ports import StoreUnavailableError
from bridge.matrix import appservice as module
from bridge.matrix.appservice import Appservice, RawEvent
from bridge.matrix.numbering import GAPS_MAX
from tests.unit.matrix.test_queries import THIRD_PARTY

TOKEN = {"Authorization": "Bearer hs-token"}
TRANSACTIONS = "/_matrix/app/v1/transactions/"


class Ours:
    """Who and what exists."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def user(self, mxid: str) -> bool:
        self.asked.append(mxid)
        return mxid == "@_xmpp_a/b=25:hs"

    async def alias(self, alias: str) -> bool:
        return alias == "#_xmpp_orchard_muc.lit:hs"


class Town:
    """An appservice, and the homeserver that calls it."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.batches = 0
        self.broken = False
        self.ephemeral: list[bytes] = []
        self.ours = Ours()
        self.appservice = Appservice(
            "hs-token",
            self.keep,
            self.ours,
            THIRD_PARTY,
            ephemeral=self.ephemeral.extend,
            reunited=self.meet,
        )
        self.met: list[list[str]] = []

    async def meet(self, events: Sequence[RawEvent]) -> None:
        self.met.append([event.event_id for event in events])

    async def keep(self, events: Sequence[RawEvent]) -> None:
        if self.broken:
            raise StoreUnavailableError
        self.batches += 1
        self.kept.extend(event.event_id for event in events)

    async def start(self) -> None:
        self.url = f"http://127.0.0.1:{await self.appservice.start('127.0.0.1', 0)}"
        self.session = aiohttp.ClientSession()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] = TOKEN,
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = URL(self.url + path, encoded=True)
        async with self.session.request(
            method, url, data=io.BytesIO(data), headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def push(self, txn: str, *ids: str, room: str = "!r:hs") -> int:
        body = {"events": [said(name, room) for name in ids]}
        return (await self.ask("PUT", TRANSACTIONS + txn, body))[0]


def said(name: str, room: str = "!r:hs") -> dict[str, Any]:
    return {
        "event_id": name,
        "room_id": room,
        "type": "m.room.message",
        "sender": "@alice:hs",
        "content": {"body": "tea"},
    }


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    town = Town()
    await town.start()
    yield town
    await town.session.close()
    await town.appservice.stop()


async def test_a_transaction_is_acknowledged_when_it_is_kept(town: Town) -> None:
    answer = await town.ask(
        "PUT", TRANSACTIONS + "1", {"events": [said("$1"), said("$2")]}
    )

    assert answer == (200, {})
    assert town.kept == ["$1", "$2"]


async def test_the_old_path_still_leads_here(town: Town) -> None:
    assert (await town.ask("PUT", "/transactions/1", {"events": [said("$1")]}))[
        0
    ] == 200
    assert town.kept == ["$1"]


async def test_what_cannot_be_kept_is_asked_for_again(town: Town) -> None:
    town.broken = True
    first = await town.push("1", "$1")
    town.broken = False
    second = await town.push("1", "$1")

    assert (first, second) == (503, 200)
    assert town.kept == ["$1"]


async def test_a_transaction_that_comes_again_is_not_kept_again(town: Town) -> None:
    assert [await town.push("1", "$1") for _ in range(3)] == [200, 200, 200]
    assert town.batches == 1


async def test_a_known_transaction_with_other_events_is_another(town: Town) -> None:
    """A homeserver restored from a backup counts its transactions anew. Row 30."""
    await town.push("1", "$1")
    await town.push("1", "$2")

    assert town.kept == ["$1", "$2"]


async def test_only_some_transactions_are_remembered(town: Town) -> None:
    for number in range(module.TRANSACTIONS_KNOWN_MAX + 1):
        await town.push(str(number))
    await town.push("0", "$1")

    assert len(town.appservice._known) == module.TRANSACTIONS_KNOWN_MAX
    assert town.batches == 1


@pytest.mark.parametrize(
    ("headers", "status", "errcode"),
    [
        ({}, 401, "M_UNAUTHORIZED"),
        ({"Authorization": "Basic hs-token"}, 401, "M_UNAUTHORIZED"),
        ({"Authorization": "Bearer"}, 401, "M_UNAUTHORIZED"),
        ({"Authorization": "Bearer hs-tokem"}, 403, "M_FORBIDDEN"),
        ({"Authorization": "Bearer hs-tökén"}, 403, "M_FORBIDDEN"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", TRANSACTIONS + "1?access_token=hs-token"),
        ("POST", "/_matrix/app/v1/ping"),
        ("GET", "/users/@_xmpp_x:hs"),
        ("GET", "/_matrix/app/v1/thirdparty/protocol/xmpp"),
        ("GET", "/_matrix/app/v1/unknown"),
    ],
)
async def test_only_the_homeserver_gets_in(
    town: Town,
    headers: dict[str, str],
    status: int,
    errcode: str,
    method: str,
    path: str,
) -> None:
    """facts/reliability.md S34: by header only."""
    body = {"events": [said("$1")]}

    answer = await town.ask(method, path, body, headers=headers)

    assert (answer[0], answer[1]["errcode"]) == (status, errcode)
    assert town.kept == []


async def test_a_wrong_token_is_reported_but_not_every_time(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await town.ask("PUT", TRANSACTIONS + "1", headers={"Authorization": "Bearer x"})

    assert caplog.text.count("wrong hs_token") == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"events":5}'])
async def test_what_is_no_transaction_is_refused(town: Town, body: bytes) -> None:
    """facts/reliability.md E 72."""
    assert (await town.ask("PUT", TRANSACTIONS + "1", body))[0] == 400


async def test_a_transaction_that_breaks_off_is_no_fault_of_ours(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes again."""
    port = int(town.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"PUT {TRANSACTIONS}1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
    writer.write(f"{head}Authorization: {TOKEN['Authorization']}\r\n\r\n{{".encode())
    assert await town.push("2", "$2") == 200  # the first is being read
    linger = struct.pack("ii", 1, 0)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
    while "broke off" not in caplog.text:
        assert await town.push("3", "$3") == 200
    assert await reader.read() == b""

    assert [one for one in caplog.records if one.levelname == "ERROR"] == []


async def test_a_malformed_event_harms_no_neighbour(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"events": [said("$1"), {"event_id": "$2"}, said("$3")]}

    answer = await town.ask("PUT", TRANSACTIONS + "1", body)

    assert answer == (200, {})
    assert town.kept == ["$1", "$3"]
    assert town.appservice.malformed == 1
    assert "event '$2' is malformed" in caplog.text


async def test_a_transaction_may_be_large_and_only_a_transaction(town: Town) -> None:
    """facts/reliability.md F12: aiohttp's 1 MiB stops everything for ever."""
    large = said("$1") | {"content": {"body": "x" * 3_000_000}}

    assert (await town.ask("PUT", TRANSACTIONS + "1", {"events": [large]}))[0] == 200
    assert town.appservice.app._client_max_size == 1 << 20


async def test_a_transaction_has_a_limit_all_the_same(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRANSACTION_BYTES_MAX", 100_000)
    bomb = gzip.compress(json.dumps({"events": [], "x": "x" * 1_000_000}).encode())
    headers = TOKEN | {"Content-Encoding": "gzip"}

    answer = await town.ask("PUT", TRANSACTIONS + "1", bomb, headers=headers)

    assert answer[0] == 413


async def test_the_first_events_over_a_new_connection_come_after_a_look_back(
    town: Town,
) -> None:
    """A homeserver that restarted forgot what it was about to push (synapse#11637)."""
    await town.push("1", "$1", "$2")
    await town.push("2", "$3")
    await town.session.close()
    town.session = aiohttp.ClientSession()
    await town.push("3", "$4")

    assert town.met == [["$1", "$2"], ["$4"]]
    assert town.kept == ["$1", "$2", "$3", "$4"]


async def test_a_gap_in_the_numbers_of_transactions_is_looked_into(
    town: Town,
) -> None:
    gaps: list[str] = []
    town.appservice.on_gap = lambda: gaps.append("a gap")
    for txn, event in (("7", "$1"), ("8", "$2"), ("10", "$3"), ("11", "$4")):
        await town.push(txn, event)

    assert town.met == [["$1"], ["$3"]]
    assert gaps == ["a gap"]


async def test_a_gap_makes_every_room_doubtful_until_it_is_looked_into(
    town: Town,
) -> None:
    """Nobody knows of which room the transaction was that is missing."""
    pushes = (("1", "!a"), ("2", "!b"), ("4", "!a"), ("5", "!b"), ("6", "!b"))
    for txn, room in pushes:
        await town.push(txn, f"${txn}", room=room)

    assert town.met == [["$1"], ["$2"], ["$4"], ["$5"]]


async def test_a_homeserver_that_counts_for_others_too_is_not_asked_without_end(
    town: Town,
) -> None:
    """Each gap has all rooms read again, twice."""
    gaps: list[str] = []
    town.appservice.on_gap = lambda: gaps.append("a gap")
    for txn in range(1, 101, 2):
        await town.push(str(txn), f"${txn}")

    assert len(gaps) <= GAPS_MAX
    assert len(town.met) <= 1 + GAPS_MAX


async def test_very_many_rooms_are_looked_into_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOMS_CERTAIN_MAX", 1)
    for txn, room in (("1", "!a"), ("2", "!b"), ("3", "!b")):
        await town.push(txn, f"${txn}", room=room)

    assert town.met == [["$1"], ["$2"], ["$3"]]


async def test_what_is_ephemeral_is_shown_and_not_kept(town: Town) -> None:
    typing = {"type": "m.typing"}

    await town.ask("PUT", TRANSACTIONS + "1", {"events": [], "ephemeral": [typing]})

    assert [json.loads(raw) for raw in town.ephemeral] == [typing]
    assert town.batches == 0


async def test_keys_that_are_pushed_are_left_to_the_feed(town: Town) -> None:
    """F1: they may come twice that way, or never; by the feed they come once."""
    pushed = {
        "events": [],
        "de.sorunome.msc2409.to_device": [{"type": "m.room.encrypted"}],
        "org.matrix.msc3202.device_lists": {"changed": ["@alice:hs"]},
        "org.matrix.msc3202.device_one_time_keys_count": {"@xmppbot:hs": {"D": {}}},
    }

    answered = await town.ask("PUT", TRANSACTIONS + "1", pushed)

    assert answered == (200, {})
    assert town.batches == 0
    assert town.ephemeral == []


async def test_a_ping_is_answered(town: Town) -> None:
    assert await town.ask("POST", "/_matrix/app/v1/ping", {"transaction_id": "1"}) == (
        200,
        {},
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/_matrix/app/v1/users/%40_xmpp_a%2Fb%3D25%3Ahs", 200),
        ("/users/%40_xmpp_a%2Fb%3D25%3Ahs", 200),
        ("/_matrix/app/v1/users/@nobody:hs", 404),
        ("/_matrix/app/v1/rooms/%23_xmpp_orchard_muc.lit%3Ahs", 200),
        ("/rooms/%23nothing%3Ahs", 404),
        ("/_matrix/app/v1/keys/query", 404),
        ("/_matrix/app/v1/thirdparty/protocol/xmpp", 200),
        ("/_matrix/app/v1/thirdparty/protocol/irc", 404),
        ("/_matrix/app/v1/thirdparty/user/xmpp?jid=juliet%40capulet.lit", 200),
        ("/_matrix/app/v1/thirdparty/user/xmpp?jid=a%40b%40c", 404),
        ("/_matrix/app/v1/thirdparty/user?userid=%40alice%3Ahs", 200),
        ("/_matrix/app/unstable/thirdparty/location/xmpp?room=orchard%40muc.lit", 200),
        ("/_matrix/app/v1/thirdparty/location?alias=%23none%3Ahs", 404),
    ],
)
async def test_queries_are_answered(town: Town, path: str, status: int) -> None:
    answer = await town.ask("GET", path)

    assert answer[0] == status
    assert status == 200 or answer[1]["errcode"] in ("M_NOT_FOUND", "M_UNRECOGNIZED")


async def test_whoever_is_looked_up_is_there_from_then_on(town: Town) -> None:
    await town.ask("GET", "/_matrix/app/v1/thirdparty/user/xmpp?jid=a%40b.lit")

    assert town.ours.asked == ["@_xmpp_a=40b.lit:hs"]


async def test_others_may_add_routes() -> None:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"well": True})

    town = Town()
    town.appservice.app.router.add_get("/_bridge/health", health)
    await town.start()

    assert await town.ask("GET", "/_bridge/health", headers={}) == (200, {"well": True})
    await town.session.close()
    await town.appservice.stop()
    await town.appservice.stop()
