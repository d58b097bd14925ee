"""Reactions in chats; when they are told of is in ``test_reactions``."""

import pytest

from bridge.xmpp.reactions import WORDS
from tests.unit.xmpp.elsewhere import parcels
from tests.unit.xmpp.test_chats import (
    ALICE_JID,
    CHAT,
    DIRECT,
    JULIET,
    ChatsWorld,
    world,
)

__all__ = ["world"]

REACTION = (
    f"<message type='chat' from='{JULIET}/balcony' to='{ALICE_JID}' id='r1'>{{}}"
    "<reactions xmlns='urn:xmpp:reactions:0' id='$1'><reaction>+</reaction></reactions>"
    "</message>"
)


@pytest.mark.parametrize("fallback", ["", "<body>+</body>"])
async def test_who_reacts_is_told_once_that_nobody_sees_it(
    world: ChatsWorld, fallback: str
) -> None:
    world.host.portals[CHAT] = DIRECT
    for _ in range(2):
        world.server.deliver(REACTION.format(fallback))
    await world.settle()
    assert await world.read() == [None] * bool(fallback)

    ((room, wires),) = world.host.written
    await world.chats.send(parcels(wires))

    assert room == CHAT
    (told,) = world.server.written
    assert told.get("to") == JULIET
    assert told.findtext("{*}body") == WORDS


async def test_where_there_is_no_chat_a_reaction_is_to_nothing(
    world: ChatsWorld,
) -> None:
    world.server.deliver(REACTION.format(""))
    await world.settle()

    assert world.host.written == []
    assert world.intake.arrivals == {}
