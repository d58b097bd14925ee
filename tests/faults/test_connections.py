"""Connections that break in every way; the rows of the fault matrix are named."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.faults.scenes import Scene, foreign_muc, hosted_room
from tests.faults.world import Ways

Place = Callable[[World, Company, str], Awaitable[Scene]]
Fault = Callable[[Ways], Awaitable[None]]

WARM = 20


async def homeserver_cut(ways: Ways) -> None:
    """Break what is under way to the homeserver (row 10)."""
    await ways.homeserver.cut()


async def homeserver_away(ways: Ways) -> None:
    """Have the homeserver unreachable for a while (row 8)."""
    await ways.homeserver.black_out(3)


async def reply_lost(ways: Ways) -> None:
    """Lose answers of the homeserver to what it has accepted (row 3)."""
    for _ in range(5):
        ways.homeserver.back.hold()
        await asyncio.sleep(0.3)
        await ways.homeserver.cut()
        ways.homeserver.back.release()


async def push_reply_lost(ways: Ways) -> None:
    """Lose our answers to transactions, so that they come again (row 6)."""
    for _ in range(3):
        ways.appservice.back.hold()
        await asyncio.sleep(0.5)
        await ways.appservice.cut()
        ways.appservice.back.release()


async def push_cut(ways: Ways) -> None:
    """Break transactions in their middle (row 2)."""
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
    await asyncio.sleep(5)
    for proxy in three:
        proxy.there.pause_s = proxy.back.pause_s = 0


async def swizzle(ways: Ways) -> None:
    """Stop the ways one after another, and let them go in another order (row 37)."""
    three = (ways.homeserver, ways.appservice, ways.component)
    for proxy in three:
        proxy.there.hold()
        proxy.back.hold()
        await asyncio.sleep(0.7)
    for proxy in (ways.appservice, ways.component, ways.homeserver):
        proxy.there.release()
        proxy.back.release()
        await asyncio.sleep(0.7)


FAULTS: list[Fault] = [
    homeserver_cut,
    homeserver_away,
    reply_lost,
    push_reply_lost,
    push_cut,
    stream_reset,
    stream_in_bytes,
    stream_stalls,
    all_slow,
    swizzle,
]
BREAKS_STREAM: list[Fault] = [stream_reset]


@pytest.mark.parametrize("place", [hosted_room, foreign_muc])
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_out_of_order(
    world: World,
    ways: Ways,
    company: Company,
    word: str,
    place: Place,
    fault: Fault,
) -> None:
    scene = await place(world, company, word)
    await scene.speak(WARM)
    await scene.during(_run(fault, ways))
    if fault in BREAKS_STREAM:
        await scene.sit_down_again()
    await scene.speak(WARM)
    await scene.end()

    assert await scene.verdicts() == []


async def _run(fault: Fault, ways: Ways) -> None:
    await fault(ways)
