"""Rooms in which people of both networks meet."""

from contextlib import suppress

from deploy.lab.heard import NotHeardError
from deploy.lab.matrix_people import MatrixPerson
from deploy.lab.stanzas import condition, ping
from deploy.lab.world import World
from deploy.lab.xmpp_people import XmppPerson
from tests.e2e.conftest import Company

AWAY = {
    "forbidden",
    "remote-server-not-found",
    "remote-server-timeout",
    "service-unavailable",
}


async def reachable(person: XmppPerson, puppet: str) -> None:
    """Wait until the bridge is back on the XMPP server: every question is answered.

    One that was handed to a stream which nobody reads any more is not.
    """
    for within_s in (5.0, 5.0, 20.0):
        with suppress(NotHeardError):
            while condition(await person.asks(puppet, ping(), "get", within_s)) in AWAY:
                pass
            return
    raise NotHeardError(f"{puppet} does not answer")


async def until_allowed(person: XmppPerson, room: str) -> None:
    """Read on until it is said that encrypted words may now go on in the clear."""
    while "go on in the clear" not in (await person.hears_next(room)).text:
        pass


async def room_of(
    world: World, company: Company, word: str, name: str = "Alice", **more: object
) -> tuple[MatrixPerson, str, str]:
    """Return somebody of Matrix, their room, and its JID."""
    alice = await company.on_matrix(name)
    room = await alice.makes_room(word, **more)
    return alice, room, world.hosted(word)


async def both(
    world: World, company: Company, word: str
) -> tuple[MatrixPerson, str, XmppPerson, str]:
    """Return two who are in one room, and the room as each knows it."""
    alice, room, jid = await room_of(world, company, word)
    juliet = await company.on_xmpp("juliet")
    await juliet.joins(jid, "Juliet")
    return alice, room, juliet, jid
