from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp.codec.caps import verification
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.muc.stanza import STREAM, to_element
from bridge.xmpp.omemo.means import NotNowError
from bridge.xmpp.omemo.names import LEGACY_DEVICES, OMEMO2_DEVICES
from bridge.xmpp.pep import EVENT, PUBSUB, Pep
from bridge.xmpp.replies import DISCO_INFO, DISCO_ITEMS, Identity, info

ALICE = "alice_hs@bridge.example"
ROMEO = "romeo@montague.example/phone"
TUNE = "http://jabber.org/protocol/tune"


class Tunes:
    """A source with two tunes for Alice."""

    slow = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False

    async def nodes(self, account: str) -> Sequence[str]:
        return [TUNE] if account == ALICE else []

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        self.asked.append(asker)
        if (account, node) != (ALICE, TUNE) or self.silent:
            return None
        return [(one, Node("tune", {"xmlns": TUNE}, (one,))) for one in ("1", "2")]


class World:
    def __init__(self) -> None:
        self.written: list[Node] = []
        self.tunes = Tunes()
        self.persona = info(Identity("client", "phone"), (f"{TUNE}+notify",))
        self.pep = Pep("bridge.example", self._write, self._ask)
        self.pep.add(self.tunes)

    def _write(self, stanza: Node) -> bool:
        self.written.append(stanza)
        return True

    async def _ask(self, to: str, sender: str, payload: Node) -> Element:
        answer = Element(f"{{{STREAM}}}iq")
        answer.append(to_element(self.persona))
        return answer

    async def ask(
        self, payload: Node | None, kind: str = "get", to: str = ALICE
    ) -> Node | None:
        about = {"type": kind, "id": "i", "from": ROMEO, "to": to}
        iq = Element(f"{{{STREAM}}}iq", about)
        if payload is not None:
            iq.append(to_element(payload))
        return await self.pep.answer(iq, jid(ROMEO), jid(to), "@alice:hs")

    async def pubsub(self, child: Node, kind: str = "get") -> Node:
        answer = await self.ask(node("pubsub", {"xmlns": PUBSUB}, child), kind)
        assert answer is not None
        return answer


def jid(text: str) -> Jid:
    found = parse(text)
    assert found is not None
    return found


def path(answer: Node | None, *names: str) -> list[Node]:
    assert answer is not None
    found = [answer]
    for name in names:
        below = [c for one in found for c in one.children if isinstance(c, Node)]
        found = [one for one in below if one.name == name]
    return found


@pytest.fixture
def world() -> World:
    return World()


async def test_everybody_may_read(world: World) -> None:
    answer = await world.pubsub(node("items", {"node": TUNE}))

    items = path(answer, "pubsub", "items", "item")
    assert answer.attributes["type"] == "result"
    assert [one.attributes["id"] for one in items] == ["1", "2"]
    assert world.tunes.asked == ["romeo@montague.example"]


async def test_the_newest_are_returned_if_only_some_are_wanted(world: World) -> None:
    """XEP-0060 §6.5.7."""
    answer = await world.pubsub(node("items", {"node": TUNE, "max_items": "1"}))

    (item,) = path(answer, "pubsub", "items", "item")
    assert item.attributes["id"] == "2"


async def test_items_are_returned_by_id(world: World) -> None:
    wanted = node("items", {"node": TUNE}, node("item", {"id": "1"}))

    (item,) = path(await world.pubsub(wanted), "pubsub", "items", "item")

    assert item.attributes["id"] == "1"


async def test_what_is_not_there_is_not_found_and_nothing_else(world: World) -> None:
    """Profanity needs the code of XEP-0086 before it publishes a list."""
    answer = await world.pubsub(node("items", {"node": "nowhere"}))

    (error,) = path(answer, "error")
    assert error.attributes == {"type": "cancel", "code": "404"}
    assert path(error, "item-not-found")


@pytest.mark.parametrize(
    ("kind", "child"),
    [
        ("get", node("subscriptions")),
        ("get", node("affiliations")),
        ("set", node("publish", {"node": TUNE})),
        ("set", node("retract", {"node": TUNE})),
        ("set", node("items", {"node": TUNE})),
    ],
)
async def test_nobody_may_do_anything_else(
    world: World, kind: str, child: Node
) -> None:
    answer = await world.pubsub(child, kind)

    assert path(answer, "error", "forbidden")
    assert path(answer, "error")[0].attributes["type"] == "auth"


async def test_nothing_at_all_is_forbidden_too(world: World) -> None:
    answer = await world.ask(node("pubsub", {"xmlns": PUBSUB}), "set")

    assert path(answer, "error", "forbidden")


async def test_whoever_subscribes_is_told_of_changes(world: World) -> None:
    subscribe = node("subscribe", {"node": TUNE, "jid": "romeo@montague.example"})
    answer = await world.pubsub(subscribe, "set")

    await world.pep.changed(ALICE, TUNE)

    (said,) = path(answer, "pubsub", "subscription")
    (event,) = world.written
    (item,) = path(event, "event", "items", "item")
    assert said.attributes["subscription"] == "subscribed"
    assert event.attributes == {
        "type": "headline",
        "from": ALICE,
        "to": "romeo@montague.example",
    }
    assert path(event, "event")[0].attributes["xmlns"] == EVENT
    assert item.attributes["id"] == "2"


async def test_whoever_unsubscribes_is_not(world: World) -> None:
    about = {"node": TUNE, "jid": ROMEO}
    await world.pubsub(node("subscribe", about), "set")
    await world.pubsub(node("unsubscribe", about), "set")

    await world.pep.changed(ALICE, TUNE)

    assert world.written == []


@pytest.mark.parametrize("other", ["juliet@capulet.example", "", "@@"])
async def test_nobody_subscribes_others(world: World, other: str) -> None:
    """XEP-0060 §6.1.3.1."""
    answer = await world.pubsub(node("subscribe", {"node": TUNE, "jid": other}), "set")

    assert path(answer, "error", "bad-request")
    assert path(answer, "error", "invalid-jid")


async def test_nobody_subscribes_to_nothing(world: World) -> None:
    answer = await world.pubsub(node("subscribe", {"node": "x", "jid": ROMEO}), "set")

    assert path(answer, "error", "item-not-found")


async def test_subscriptions_have_an_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.pep.SUBSCRIPTIONS_MAX", 1)
    for device in ("a", "b"):
        about = {"node": TUNE, "jid": f"romeo@montague.example/{device}"}
        await world.pubsub(node("subscribe", about), "set")

    await world.pep.changed(ALICE, TUNE)

    (event,) = world.written
    assert event.attributes["to"] == "romeo@montague.example/b"


async def test_an_account_says_that_it_publishes(world: World) -> None:
    answer = await world.ask(node("query", {"xmlns": DISCO_INFO}))

    kinds = [one.attributes for one in path(answer, "query", "identity")]
    named = [one.attributes["var"] for one in path(answer, "query", "feature")]
    assert {"category": "pubsub", "type": "pep"} in kinds
    assert {"category": "account", "type": "registered", "name": "@alice:hs"} in kinds
    assert PUBSUB in named


async def test_an_account_lists_its_nodes(world: World) -> None:
    answer = await world.ask(node("query", {"xmlns": DISCO_ITEMS}))
    nobody = await world.ask(node("query", {"xmlns": DISCO_ITEMS, "node": "x"}))

    (item,) = path(answer, "query", "item")
    assert item.attributes == {"jid": ALICE, "node": TUNE}
    assert path(nobody, "error", "item-not-found")


async def test_a_node_says_what_it_is(world: World) -> None:
    there = await world.ask(node("query", {"xmlns": DISCO_INFO, "node": TUNE}))
    nowhere = await world.ask(node("query", {"xmlns": DISCO_INFO, "node": "x"}))

    (identity,) = path(there, "query", "identity")
    assert identity.attributes["type"] == "leaf"
    assert path(nowhere, "error", "item-not-found")


async def test_the_device_says_what_its_hash_says(world: World) -> None:
    """XEP-0115 §6.2."""
    named = world.pep.caps().attributes
    asked = {"xmlns": DISCO_INFO, "node": f"{named['node']}#{named['ver']}"}

    for one in (asked, {"xmlns": DISCO_INFO}):
        answer = await world.ask(node("query", one), to=f"{ALICE}/matrix")
        (query,) = path(answer, "query")
        assert verification(to_element(query), "sha-1") == named["ver"]
        features = {child.attributes["var"] for child in path(query, "feature")}
        assert features == set(world.pep.features())
    assert f"{LEGACY_DEVICES}+notify" in world.pep.features()
    assert f"{OMEMO2_DEVICES}+notify" in world.pep.features()


async def test_of_another_hash_the_device_knows_nothing(world: World) -> None:
    asked = node("query", {"xmlns": DISCO_INFO, "node": "other#hash"})

    answer = await world.ask(asked, to=f"{ALICE}/matrix")

    assert path(answer, "error", "item-not-found")


async def test_other_questions_are_others_affair(world: World) -> None:
    assert await world.ask(node("ping", {"xmlns": "urn:xmpp:ping"})) is None
    assert await world.ask(None) is None
    pubsub = node("pubsub", {"xmlns": PUBSUB}, node("items", {"node": TUNE}))
    assert await world.ask(pubsub, to=f"{ALICE}/matrix") is None


def presence(world: World, sender: str = ROMEO) -> Element:
    stanza = Element(f"{{{STREAM}}}presence", {"from": sender, "to": ALICE})
    version = verification(to_element(world.persona), "sha-1") or ""
    about = {"hash": "sha-1", "node": "n", "ver": version}
    SubElement(stanza, "{http://jabber.org/protocol/caps}c", about)
    return stanza


async def test_that_something_is_gone_is_told_if_there_are_words_for_it(
    world: World,
) -> None:
    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE))
    world.written.clear()
    world.tunes.silent = True
    await world.pep.changed(ALICE, TUNE)
    assert world.written == []

    await world.pep.changed(ALICE, TUNE, node("silence"))

    (event,) = world.written
    assert path(event, "event", "items", "item", "silence")
    world.tunes.silent = False
    await world.pep.changed(ALICE, TUNE, node("silence"))
    assert not path(world.written[-1], "event", "items", "item", "silence")


async def test_whoever_comes_and_wants_to_know_gets_the_last_item(
    world: World,
) -> None:
    """XEP-0163 §4.1."""
    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE))

    (event,) = world.written
    assert event.attributes["to"] == ROMEO
    assert path(event, "event", "items", "item")[0].attributes["id"] == "2"


async def test_what_is_wanted_is_made_if_it_is_to_be_ready() -> None:
    class Lazy(Tunes):
        async def nodes(self, account: str) -> Sequence[str]:
            return []

    world = World()
    world.pep = Pep("bridge.example", world._write, world._ask)
    world.pep.add(Lazy())
    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE))
    assert world.written == []
    world.pep.forget()

    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE), ready=True)

    assert [one.attributes["to"] for one in world.written] == [ROMEO]


class Away(Tunes):
    """A source that nobody can ask now, as the homeserver is away."""

    async def items(
        self, account: str, node: str, asker: str
    ) -> Sequence[tuple[str, Node]] | None:
        raise NotNowError("remote-server-timeout")


async def test_what_cannot_be_told_now_keeps_nobody_from_the_rest() -> None:
    world = World()
    world.pep = Pep("bridge.example", world._write, world._ask)
    world.pep.add(Away())
    world.pep.add(world.tunes)

    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE))

    assert len(world.written) == 1


async def test_whoever_is_there_is_told_of_changes_once(world: World) -> None:
    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE))
    await world.pubsub(node("subscribe", {"node": TUNE, "jid": ROMEO}), "set")
    world.written.clear()

    await world.pep.changed(ALICE, TUNE)
    await world.pep.changed(ALICE, "nothing")

    assert [one.attributes["to"] for one in world.written] == [ROMEO]


async def test_after_a_lost_stream_nobody_is_told(world: World) -> None:
    await world.pep.presence(presence(world), jid(ROMEO), jid(ALICE))
    world.written.clear()

    world.pep.forget()
    await world.pep.changed(ALICE, TUNE)

    assert world.written == []


async def test_our_own_presence_wants_nothing(world: World) -> None:
    await world.pep.presence(presence(world), jid("x@bridge.example/m"), jid(ALICE))

    assert world.written == []
