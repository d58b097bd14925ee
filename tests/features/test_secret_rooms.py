"""OMEMO in rooms that we host: the real core, the real MUC service, a fake cipher."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bridge.core.directory import Directory
from bridge.core.ports import Adapter
from bridge.model.delivery import Arrival, Delivered, Description, Refusal, Refused
from bridge.model.events import Message, Protection
from bridge.model.places import Network, PortalId
from bridge.model.records import Kind, Portal
from bridge.xmpp.inbound import Inbound
from tests.conftest import said
from tests.core import join_core
from tests.fakes import FakeNetwork
from tests.fakes_store import FakeStore
from tests.features.test_hosted_rooms import (
    ALICE,
    GARDEN,
    Addresses,
    Bridge,
    Rooms,
    Service,
    Valve,
    join,
)
from tests.unit.xmpp.muc.cipher import FALLBACK, FakeCipher, revealed, secret
from tests.unit.xmpp.muc.streams import FakeStream
from tests.unit.xmpp.muc.world import (
    DOMAIN,
    JULIET,
    ROMEO,
    TEA,
    condition,
    name,
    words,
)

RELAY = f"relay@{DOMAIN}"
ROMEOS, JULIETS = "romeo@montague.lit", "juliet@capulet.lit"
NUMBER = PortalId(1)


class Sealing(Service):
    """The MUC service, which keeps what it promises."""

    def protection(self, portal: Portal) -> Protection:
        return Protection.END_TO_END


class Private(Rooms):
    """One encrypted Matrix room, with Alice in it."""

    async def describe(self, room: str) -> Description:
        return Description("Vault", "", (ALICE,), public=False, encrypted=True)


class SecretBridge(Bridge):
    """The bridge, with an encrypted room on both sides."""

    cipher: FakeCipher

    async def whispers(self, text: str, number: int) -> None:
        """Let Alice say something on Matrix that came encrypted."""
        event = said(GARDEN, text, sender="@alice:hs.example", number=number)
        sealed = replace(event, protection=Protection.END_TO_END)
        self.matrix.script[event.ref.id] = sealed
        await self.hub.keep([Arrival(GARDEN, event.ref.id, b"raw")])
        await self.rests()


@pytest.fixture
async def bridge() -> AsyncIterator[SecretBridge]:
    portal = Portal(NUMBER, Kind.HOSTED, GARDEN.address, TEA, "@b", encrypted=True)
    store, directory, stream = FakeStore(), Directory([portal]), FakeStream()
    matrix, rooms, cipher = FakeNetwork(Network.MATRIX), Private(), FakeCipher()
    matrix.protects = Protection.END_TO_END
    adapters: dict[Network, Adapter] = {Network.MATRIX: matrix}
    async with asyncio.TaskGroup() as tasks:
        hub, dispatch = join_core(
            tasks,
            adapters=adapters,
            store=store,
            directory=directory,
            matrix=rooms,
            xmpp=Addresses(),
        )
        inbound = Inbound(hub, Valve())
        service = Sealing(DOMAIN, stream, hub, store, inbound, tasks, endtoend=cipher)
        adapters[Network.XMPP] = service
        await service.start()
        for bare in (ROMEOS, JULIETS):
            service._rooms.set_standing(TEA, bare, "member")
        running = tasks.create_task(inbound.run())
        await hub.start()
        await dispatch.start()
        made = SecretBridge(matrix, service, stream, hub, dispatch, rooms, inbound)
        made.cipher = cipher
        await made.comes(join(ROMEO, "romeo"), join(JULIET, "juliet"))
        made.hears(ROMEO)
        made.hears(JULIET)
        yield made
        running.cancel()


def speak(inside: str, number: str = "m1") -> str:
    return (
        f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='{number}'>"
        f"{inside}</message>"
    )


async def test_what_is_sealed_for_the_relay_reaches_matrix(
    bridge: SecretBridge,
) -> None:
    await bridge.comes(speak(secret("to matrix", RELAY, JULIETS)))

    assert bridge.matrix.said() == ["to matrix"]
    (shown,) = bridge.hears(JULIET)
    assert (revealed(shown), words(shown)) == ("to matrix", FALLBACK)
    assert [revealed(s) for s in bridge.hears(ROMEO)] == ["to matrix"]


async def test_what_came_encrypted_from_matrix_is_sealed_for_all(
    bridge: SecretBridge,
) -> None:
    await bridge.whispers("from matrix", 1)

    for device in (ROMEO, JULIET):
        (shown,) = bridge.hears(device)
        assert (revealed(shown), words(shown)) == ("from matrix", FALLBACK)


async def test_many_cross_both_ways_in_order(bridge: SecretBridge) -> None:
    for number in range(50):
        await bridge.whispers(f"from matrix {number}", number)
    sealed = (speak(secret(f"to {n}", RELAY, JULIETS), f"m{n}") for n in range(50))
    await bridge.comes(*sealed)

    heard = [revealed(s) for s in bridge.hears(JULIET)]
    theirs = [w for w in heard if w.startswith("from")]
    assert theirs == [f"from matrix {n}" for n in range(50)]
    assert bridge.matrix.said() == [f"to {n}" for n in range(50)]


async def test_who_cannot_read_it_is_named_and_nobody_is_shown_it(
    bridge: SecretBridge,
) -> None:
    bridge.cipher.without = {JULIETS}

    await bridge.whispers("from matrix", 1)

    ((_, outcome),) = bridge.matrix.settled
    assert isinstance(outcome, Refused)
    assert outcome.why is Refusal.WOULD_EXPOSE
    assert JULIETS in outcome.detail
    assert bridge.hears(ROMEO) == []
    await bridge.comes(f"<presence type='unavailable' from='{JULIET}' to='{TEA}/x'/>")
    bridge.hears(ROMEO)

    await bridge.whispers("without her", 2)

    assert [revealed(s) for s in bridge.hears(ROMEO)] == ["without her"]


async def test_what_nobody_could_read_as_all_are_away_arrives_once_one_of_them_can(
    bridge: SecretBridge,
) -> None:
    for device in (ROMEO, JULIET):
        await bridge.comes(
            f"<presence type='unavailable' from='{device}' to='{TEA}/x'/>"
        )
    bridge.cipher.without = {ROMEOS, JULIETS}

    await bridge.whispers("from matrix", 1)

    ((_, outcome),) = bridge.matrix.settled
    assert isinstance(outcome, Refused)
    assert outcome.why is Refusal.WOULD_EXPOSE
    bridge.hears(ROMEO)
    bridge.cipher.without = {ROMEOS}
    await bridge.service._secrecy.hopes.look(everywhere=True)
    await bridge.rests()
    bridge.hears(JULIET)
    await bridge.comes(join(JULIET, "juliet"))

    assert [revealed(s) for s in bridge.hears(JULIET) if words(s)] == ["from matrix"]
    ((_, outcome), (_, again)) = bridge.matrix.settled
    assert isinstance(again, Delivered)


async def test_what_is_not_sealed_for_the_relay_is_refused(
    bridge: SecretBridge,
) -> None:
    await bridge.comes(speak(secret("not for you", JULIETS)))

    assert bridge.matrix.said() == []
    (answer,) = bridge.hears(ROMEO)
    assert condition(answer) == "not-acceptable"
    assert bridge.hears(JULIET) == []


async def test_what_came_in_the_clear_is_delivered(bridge: SecretBridge) -> None:
    await bridge.comes(speak("<body>in the clear</body>"))

    said = bridge.matrix.said()
    assert said[-1] == "in the clear" or said[0] == "in the clear"
    assert any("writes without encryption" in words for words in said)
    assert [words(s) for s in bridge.hears(JULIET) if name(s) == "message"] == [
        "in the clear"
    ]


async def test_nothing_is_kept_in_the_clear_once_it_has_left(
    bridge: SecretBridge,
) -> None:
    await bridge.whispers("from matrix", 1)
    await bridge.comes(speak(secret("to matrix", RELAY, JULIETS)))

    kept = await bridge.service._means.store.archive(Network.XMPP, str(NUMBER), 9)
    assert len(kept) == 2
    assert not any(b"matrix</body>" in parcel.wire.data for parcel in kept)


async def test_it_is_refused_where_matrix_would_show_it_to_anybody(
    bridge: SecretBridge,
) -> None:
    bridge.matrix.protects = Protection.TRANSPORT

    await bridge.comes(speak(secret("to matrix", RELAY, JULIETS)))

    assert not any(isinstance(e, Message) for e in bridge.matrix.sent)
    assert bridge.matrix.said() == []
    (answer,) = bridge.hears(ROMEO)
    assert "plaintext allow" in "".join(answer.itertext())
