"""People of both networks who encrypt, for tests that bring them together."""

import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from deploy.lab.world import World
from deploy.lab.xmpp_people import Cast
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_people import PROGRAM, SecretPerson


class Two(NamedTuple):
    """Somebody of each network, and what stands for them on the other."""

    alice: NioPerson
    juliet: SecretPerson
    ghost: str
    puppet: str


class Company:
    """Brings in people who encrypt, on both networks."""

    def __init__(self, world: World, folder: Path, ends: AsyncExitStack) -> None:
        self._world = world
        self._folder = folder
        self._ends = ends
        self._cast: Cast | None = None

    async def on_matrix(self, name: str) -> NioPerson:
        """Return somebody of Matrix."""
        localpart = f"{name}-{secrets.token_hex(3)}"
        person = NioPerson(self._world.synapse, localpart, self._folder / localpart)
        return await self._ends.enter_async_context(person)

    async def on_xmpp(
        self, name: str, speaks: str = "legacy", *, same_as: str = ""
    ) -> SecretPerson:
        """Return somebody of XMPP, or one more device of *same_as*."""
        server = self._world.xmpp
        if self._cast is None:
            cast = Cast(self._world.python, server, PROGRAM)
            self._cast = await self._ends.enter_async_context(cast)
        jid = same_as or f"{name}-{secrets.token_hex(3)}@{server.host}"
        device = f"phone-{secrets.token_hex(2)}"
        person = SecretPerson(self._cast, name, jid, "secret", device, speaks)
        await self._cast.enter(person)
        return person

    async def two(self, speaks: str = "legacy") -> Two:
        """Bring in Alice and Juliet, who have never met."""
        alice, juliet = (
            await self.on_matrix("alice"),
            await self.on_xmpp("juliet", speaks),
        )
        return Two(alice, juliet, self._world.ghost(juliet), alice.puppet(self._world))


async def meet(world: World, alice: NioPerson, juliet: SecretPerson) -> str:
    """Let Juliet begin, encrypted; return the Matrix room."""
    await juliet.seals(alice.puppet(world), "a beginning")
    room = await alice.is_invited(world.ghost(juliet))
    await alice.joins(room)
    await alice.hears("a beginning", room, world.ghost(juliet))
    return room
