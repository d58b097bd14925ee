"""Connections that break in every way; the rows of the fault matrix are named."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.e2e.conftest import Company
from tests.faults.town import open_town
from tests.faults.world import FaultyWorld, Ways

Fault = Callable[[Ways], Awaitable[None]]

WARM = 6
DURING = 16
OFTEN = 8


def http(status: str, body: bytes = b"", missing: int = 0) -> bytes:
    """Write an answer, of which *missing* bytes never come."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) + missing}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


ILL = (
    http("429 Slower", b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 300}'),
    http("500 Oops", b'{"errcode": "M_UNKNOWN"}'),
    http("502 Bad Gateway"),
    http("504 Gateway Timeout", b"<html>Timeout</html>"),
    http("200 OK", b"{", missing=500),
)


async def homeserver_cut(ways: Ways) -> None:
    """Break what is under way to the homeserver (row 10)."""
    await ways.homeserver.cut()


async def homeserver_away(ways: Ways) -> None:
    """Have the homeserver unreachable for a while (rows 8, 40)."""
    await ways.homeserver.black_out(3)


async def homeserver_ill(ways: Ways) -> None:
    """Let the homeserver, or what is before it, answer nothing good (row 10)."""
    for answer in ILL:
        ways.homeserver.answer = answer
        await ways.homeserver.cut()
        await asyncio.sleep(1)
    ways.homeserver.answer = b""


async def reply_halved(ways: Ways) -> None:
    """Break the homeserver's answers in their middle (row 10)."""
    for _ in range(5):
        ways.homeserver.back.cut_after = 100
        await asyncio.sleep(0.3)
    ways.homeserver.back.cut_after = None


async def reply_lost(ways: Ways) -> None:
    """Lose answers of the homeserver to what it has accepted (row 3)."""
    for _ in range(5):
        ways.homeserver.back.hold()
        await ways.homeserver.back.blocks()
        await ways.homeserver.cut()
        ways.homeserver.back.release()
        await asyncio.sleep(0.2)


async def push_reply_lost(ways: Ways) -> None:
    """Lose our answers to transactions, so that they come again (row 6)."""
    for _ in range(3):
        ways.appservice.back.hold()
        await ways.appservice.back.blocks()
        await ways.appservice.cut()
        ways.appservice.back.release()


async def push_cut(ways: Ways) -> None:
    """Break transactions in their middle (row 6)."""
    ways.appservice.there.cut_after = 2000
    await asyncio.sleep(1)
    ways.appservice.there.cut_after = None


async def stream_reset(ways: Ways) -> None:
    """Break the component's stream in the middle of a stanza, both ways (row 15)."""
    ways.component.back.cut_after = 1777
    await asyncio.sleep(1)
    ways.component.there.cut_after = 1777
    await asyncio.sleep(1)
    ways.component.back.cut_after = ways.component.there.cut_after = None


async def stream_cut_often(ways: Ways) -> None:
    """Break the component's stream again and again while people speak (row 15)."""
    for round_ in range(OFTEN):
        await asyncio.sleep(0.2 + 0.07 * round_)
        await ways.component.cut_and_joined_again()


async def xmpp_away(ways: Ways) -> None:
    """Have the XMPP server unreachable, and again as soon as it is back (row 40)."""
    for _ in range(2):
        await ways.component.black_out(1.5)
        await asyncio.sleep(0.5)


async def stream_in_bytes(ways: Ways) -> None:
    """Let the stream pass byte by byte (row 15)."""
    ways.component.back.piece = ways.component.there.piece = 1
    await asyncio.sleep(2)
    ways.component.back.piece = ways.component.there.piece = 65_536


async def stream_stalls(ways: Ways) -> None:
    """Let nothing pass on the stream for a while (row 15)."""
    ways.component.back.hold()
    await asyncio.sleep(3)
    ways.component.back.release()


async def all_slow(ways: Ways) -> None:
    """Slow everything down (row 10)."""
    three = (ways.homeserver, ways.appservice, ways.component)
    for proxy in three:
        proxy.there.pause_s = proxy.back.pause_s = 0.1
    await asyncio.sleep(4)
    for proxy in three:
        proxy.there.pause_s = proxy.back.pause_s = 0


async def swizzle(ways: Ways) -> None:
    """Stop the ways one after another, and let them go in another order (row 37).

    The database is one of them: held on its way, or locked.
    """
    for one in (ways.homeserver, ways.database, ways.appservice, ways.component):
        one.hold()
        await asyncio.sleep(0.7)
    for one in (ways.appservice, ways.component, ways.database, ways.homeserver):
        one.release()
        await asyncio.sleep(0.7)


FAULTS: list[Fault] = [
    homeserver_cut,
    homeserver_away,
    homeserver_ill,
    reply_halved,
    reply_lost,
    push_reply_lost,
    push_cut,
    stream_reset,
    stream_cut_often,
    xmpp_away,
    stream_in_bytes,
    stream_stalls,
    all_slow,
    swizzle,
]
BREAKS_STREAM: dict[Fault, int] = {
    stream_reset: 2,
    stream_cut_often: OFTEN,
    xmpp_away: 2,
}
"""How often: each time, what was not confirmed comes again."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_out_of_order(
    world: FaultyWorld, ways: Ways, company: Company, word: str, fault: Fault
) -> None:
    town = await open_town(world, company, word)
    await town.speak(WARM)
    await town.during(_run(fault, ways), DURING)
    if fault in BREAKS_STREAM:
        for _ in range(BREAKS_STREAM[fault]):
            town.stream_fell()
        await town.come_back()
    await town.speak(WARM)

    assert await town.wrong() == []


async def _run(fault: Fault, ways: Ways) -> None:
    await fault(ways)
