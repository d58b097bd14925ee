import asyncio
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp import turns
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.iq import IqError
from bridge.xmpp.muc.stanza import STREAM
from bridge.xmpp.omemo import remote as module
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2
from bridge.xmpp.omemo.remote import Remote, State
from bridge.xmpp.omemo.used import Used
from tests.fakes_store import FakeStore
from tests.unit.xmpp.elsewhere import stanza
from tests.unit.xmpp.omemo.world import ALICE, BOB, PUBSUB, ROMEO, World


@pytest.fixture
def remote(world: World) -> Remote:
    return world.omemo._remote


async def test_lists_are_asked_for_once_by_all(world: World, remote: Remote) -> None:
    await world.person()

    await asyncio.gather(*(remote.learn(one, (ROMEO,)) for one in (ALICE, BOB, ALICE)))
    await remote.learn(BOB, (ROMEO,))

    assert len(world.pep.asked) == 2


async def test_who_may_not_read_does_not_keep_others_from_it(
    world: World, remote: Remote
) -> None:
    romeo = await world.person()
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "not-authorized"
    await remote.learn(ALICE, (ROMEO,))
    del world.pep.trouble[ROMEO, LEGACY_DEVICES]

    await remote.learn(BOB, (ROMEO,))

    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert list(found.devices) == [romeo.id]
    assert world.begged == [(ALICE, ROMEO)]


async def test_a_bundle_that_only_contacts_may_read_is_read_by_them(
    world: World, remote: Remote
) -> None:
    romeo = await world.person()
    wanted = (LEGACY, ROMEO, romeo.id)
    node = f"{LEGACY}.bundles:{romeo.id}"
    world.pep.trouble[ROMEO, node] = "forbidden"
    await remote.fetch(ALICE, [wanted])
    del world.pep.trouble[ROMEO, node]

    await remote.fetch(BOB, [wanted])

    assert remote.lack(ALICE, wanted) is State.UNREADABLE
    assert remote.bundle(BOB, wanted) is not None


async def test_a_server_that_refuses_is_not_asked_at_once_again(
    world: World, remote: Remote
) -> None:
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "remote-server-not-found"

    await remote.learn(ALICE, (ROMEO,))
    await remote.learn(ALICE, (ROMEO,))

    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert found.state is State.TROUBLE
    assert len(world.pep.asked) == 2


async def test_an_event_replaces_the_list(world: World, remote: Remote) -> None:
    romeo = await world.person()
    await remote.learn(ALICE, (ROMEO,))
    world.publish(ROMEO, LEGACY_DEVICES, "current", node("list", {"xmlns": LEGACY}))

    assert world.tell_of(ROMEO, LEGACY_DEVICES)

    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert found.state is State.MISSING
    assert romeo.id not in found.devices


@pytest.mark.parametrize(
    "told",
    [
        f"<items node='{LEGACY_DEVICES}'><item id='current'/></items>",
        f"<items node='{LEGACY_DEVICES}'><retract id='old'/></items>",
        f"<items node='{LEGACY_DEVICES}'/>",
        f"<purge node='{LEGACY_DEVICES}'/>",
        f"<delete node='{LEGACY_DEVICES}'/>",
    ],
)
async def test_an_event_that_holds_no_list_has_it_asked_for(
    world: World, remote: Remote, told: str
) -> None:
    """XEP-0060 §7.1.2.2: an event may only say that there is something new."""
    romeo = await world.person()
    await remote.learn(ALICE, (ROMEO,))
    event = f"<event xmlns='{PUBSUB}#event'>{told}</event>"

    assert remote.heard(stanza(f"<message>{event}</message>"), ROMEO)

    assert remote.listed(ALICE, LEGACY, ROMEO) is None
    await remote.learn(ALICE, (ROMEO,))
    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert list(found.devices) == [romeo.id]


async def test_other_events_are_others_affair(world: World, remote: Remote) -> None:
    assert not world.tell_of(ROMEO, "http://jabber.org/protocol/tune")
    assert world.tell_of(ROMEO, f"{LEGACY}.bundles:7")
    assert not remote.heard(Element(f"{{{STREAM}}}message"), ROMEO)


async def test_what_is_doubted_is_asked_for_again(world: World, remote: Remote) -> None:
    await world.person()
    await remote.learn(ALICE, (ROMEO,))

    remote.doubt(ROMEO)

    assert remote.listed(ALICE, LEGACY, ROMEO) is None


async def test_what_is_known_is_forgotten_in_time(
    world: World, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.person()
    monkeypatch.setattr(module, "LIST_KEPT_S", -1)
    monkeypatch.setattr(module, "TROUBLE_KEPT_S", 60)

    world.tell_of(ROMEO, LEGACY_DEVICES)

    assert remote.listed(ALICE, LEGACY, ROMEO) is None


async def test_no_more_is_kept_than_fits(
    world: World, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 2)
    jids = [f"p{n}@x.example" for n in range(3)]

    for jid in jids:
        world.publish(jid, LEGACY_DEVICES, "current", node("list", {"xmlns": LEGACY}))
        world.tell_of(jid, LEGACY_DEVICES)

    known = [remote.listed(ALICE, LEGACY, jid) is not None for jid in jids]
    assert known == [False, True, True]


async def test_a_server_that_answers_with_something_else_has_no_list() -> None:
    async def ask(to: str, sender: str, payload: object) -> Element:
        answer = Element(f"{{{STREAM}}}iq")
        items = SubElement(SubElement(answer, f"{{{PUBSUB}}}pubsub"), "{x}items")
        SubElement(items, f"{{{PUBSUB}}}item")
        return answer

    remote = Remote(ask, lambda *_: None, Used(FakeStore()))
    await remote.learn(ALICE, (ROMEO,))
    await remote.fetch(ALICE, [(OMEMO2, ROMEO, 1)])

    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert found.state is State.MISSING
    assert remote.bundle(ALICE, (OMEMO2, ROMEO, 1)) is None


async def test_a_lost_stream_is_trouble() -> None:
    async def ask(to: str, sender: str, payload: object) -> Element:
        raise ConnectionError

    remote = Remote(ask, lambda *_: None, Used(FakeStore()))
    await remote.learn(ALICE, (ROMEO,))

    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert found.state is State.TROUBLE


async def test_who_is_let_in_asks_again(world: World, remote: Remote) -> None:
    romeo = await world.person()
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "forbidden"
    await remote.learn(ALICE, (ROMEO,))
    del world.pep.trouble[ROMEO, LEGACY_DEVICES]

    world.omemo.admitted(ALICE, ROMEO)
    await remote.learn(ALICE, (ROMEO,))

    found = remote.listed(ALICE, LEGACY, ROMEO)
    assert found is not None
    assert list(found.devices) == [romeo.id]


async def test_what_only_the_relay_may_read_it_reads_for_all(world: World) -> None:
    asked: list[str] = []
    begged: list[tuple[str, str]] = []
    friends: set[str] = set()

    async def ask(to: str, sender: str, payload: Node) -> Element:
        asked.append(sender)
        if sender in friends:
            return Element(f"{{{STREAM}}}iq")
        raise IqError("forbidden", "auth", "")

    remote = Remote(ask, lambda *who: begged.append(who), Used(FakeStore()), BOB)
    await remote.learn(ALICE, (ROMEO,))
    refused = remote.listed(ALICE, LEGACY, ROMEO)
    friends.add(BOB)
    remote.admitted(BOB, ROMEO)
    await remote.learn(ALICE, (ROMEO,))

    assert refused is not None
    assert refused.state is State.UNREADABLE
    assert asked[:4].count(BOB) == 2
    read = remote.listed(ALICE, LEGACY, ROMEO)
    assert read is not None
    assert read.state is State.MISSING
    assert set(begged) == {(ALICE, ROMEO)}


class Silent:
    """Servers some of which never answer."""

    def __init__(self, domain: str = "silent.example") -> None:
        self.domain = domain
        self.asked: list[str] = []
        self.remote = Remote(self._ask, lambda *_: None, Used(FakeStore()))

    async def _ask(self, to: str, sender: str, payload: object) -> Element:
        self.asked.append(to)
        if to.endswith(self.domain):
            await asyncio.Event().wait()
        raise IqError("item-not-found", "cancel", "")

    def people(self, count: int = 20) -> list[str]:
        return [f"p{n}@{self.domain}" for n in range(count)]


async def test_a_server_that_is_silent_keeps_nobody_from_asking_others() -> None:
    """The keys of one conversation are no affair of another."""
    silent = Silent()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(silent.remote.learn(ALICE, silent.people()))
        await asyncio.sleep(0)

        async with asyncio.timeout(5):
            await silent.remote.learn(BOB, (ROMEO,))

        assert silent.remote.listed(BOB, LEGACY, ROMEO) is not None
        assert not waiting.done()
        waiting.cancel()


async def test_who_waits_their_turn_gives_up_with_those_who_were_not_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits longer than one time-out, however many there are."""
    monkeypatch.setattr(turns, "ANSWER_S", 0.01)
    silent = Silent()

    await silent.remote.learn(ALICE, silent.people())

    found = [silent.remote.listed(ALICE, LEGACY, one) for one in silent.people()]
    assert {one.state for one in found if one is not None} == {State.TROUBLE}
    assert len(silent.asked) == turns.OF_ONE_MAX


async def test_a_server_that_is_silent_is_so_to_all_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or each who speaks in a room would wait for it anew."""
    monkeypatch.setattr(turns, "ANSWER_S", 0.01)
    silent = Silent()

    await asyncio.gather(
        *(silent.remote.learn(one, (silent.people()[0],)) for one in (ALICE, BOB))
    )

    found = silent.remote.listed(BOB, LEGACY, silent.people()[0])
    assert found is not None
    assert found.state is State.TROUBLE
    assert len(silent.asked) == 2


async def test_a_bundle_that_nobody_answers_for_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "ANSWER_S", 0.01)
    silent = Silent()
    wanted = (LEGACY, silent.people()[0], 7)

    for one in (ALICE, BOB):
        await silent.remote.fetch(one, [wanted])

    assert silent.remote.lack(BOB, wanted) is State.TROUBLE
    assert len(silent.asked) == 1


async def test_whom_somebody_does_not_answer_keeps_nobody_from_asking(
    world: World, remote: Remote
) -> None:
    """As they are blocked: that says nothing about others of ours."""
    romeo = await world.person()
    world.pep.trouble[ROMEO, LEGACY_DEVICES] = "service-unavailable"
    await remote.learn(ALICE, (ROMEO,))
    del world.pep.trouble[ROMEO, LEGACY_DEVICES]

    await remote.learn(BOB, (ROMEO,))

    found = remote.listed(BOB, LEGACY, ROMEO)
    assert found is not None
    assert list(found.devices) == [romeo.id]
