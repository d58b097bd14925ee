import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import pytest

from bridge.core.ports import Unit
from bridge.model.pictures import NO_PICTURE, Picture
from bridge.xmpp import persons
from bridge.xmpp.cards import nick
from bridge.xmpp.codec.avatar import METADATA, hint, identifier
from bridge.xmpp.codec.caps import verification
from bridge.xmpp.codec.names import Jid, parse
from bridge.xmpp.codec.xml import node
from bridge.xmpp.disco import Disco
from bridge.xmpp.endtoend import Passage, Sealed
from bridge.xmpp.muc.stanza import to_element
from bridge.xmpp.omemo import accounts
from bridge.xmpp.persons import Persons
from bridge.xmpp.replies import Identity, info
from tests.unit.xmpp.elsewhere import DOMAIN, World, build, stanza

JULIET = "juliet@capulet.lit/balcony"
ALICE = f"alice_hs.example@{DOMAIN}"
AXOLOTL = "eu.siacs.conversations.axolotl"
NICK = "http://jabber.org/protocol/nick"
FACE = Picture(b"face", "image/png", 96, 96)
CAPS = "http://jabber.org/protocol/caps"
PUBSUB = "http://jabber.org/protocol/pubsub"


@dataclass
class PersonsWorld(World):
    persons: Persons

    def asks(self, inside: str, to: str = ALICE, asker: str = JULIET) -> None:
        iq = stanza(f"<iq type='get' id='1' from='{asker}' to='{to}'>{inside}</iq>")
        self.persons.asked(iq, jid(asker), jid(to), "@alice:hs.example")

    def asks_for(self, node: str, to: str = ALICE, asker: str = JULIET) -> None:
        items = f"<items node='{node}'/>"
        self.asks(f"<pubsub xmlns='{PUBSUB}'>{items}</pubsub>", to, asker)

    async def answer(self) -> str:
        async with asyncio.timeout(30):  # the libraries of OMEMO may be loaded first
            while not self.server.written:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0)
        (answer,) = self.server.written
        self.server.written.clear()
        first = answer.find(".//{*}device")
        condition = answer.find("{*}error/{urn:ietf:params:xml:ns:xmpp-stanzas}*")
        if condition is not None:
            return condition.tag.rpartition("}")[2]
        return "" if first is None else first.get("id", "")


def jid(text: str) -> Jid:
    read = parse(text)
    assert read is not None
    return read


@pytest.fixture
async def world() -> AsyncIterator[PersonsWorld]:
    async with asyncio.TaskGroup() as tasks:
        made = build(tasks)
        everybody = Persons(made.means, Disco(DOMAIN).puppet)
        yield PersonsWorld(
            made.means, made.server, made.host, made.intake, made.store, everybody
        )


async def test_a_puppet_has_a_device_once_somebody_looks_for_it(
    world: PersonsWorld,
) -> None:
    world.asks_for(f"{AXOLOTL}.devicelist")
    number = await world.answer()

    assert number.isdigit()
    world.asks_for(f"{AXOLOTL}.devicelist")
    assert await world.answer() == number


async def test_nobody_has_no_device(world: PersonsWorld) -> None:
    world.asks_for(f"{AXOLOTL}.devicelist", f"nobody@{DOMAIN}")

    assert await world.answer() == "item-not-found"


async def test_who_is_unknown_to_the_homeserver_has_no_device(
    world: PersonsWorld,
) -> None:
    world.host.known = False
    world.asks_for(f"{AXOLOTL}.devicelist")

    assert await world.answer() == "item-not-found"


async def test_while_the_homeserver_is_away_nobody_is_said_to_have_no_device(
    world: PersonsWorld,
) -> None:
    """Converse asks no more once it is told item-not-found; facts B3.3."""
    world.host.known = None
    world.asks_for(f"{AXOLOTL}.devicelist")
    assert await world.answer() == "remote-server-timeout"

    world.host.known = True
    world.asks_for(f"{AXOLOTL}.devicelist")
    assert (await world.answer()).isdigit()


async def test_who_asks_for_too_many_devices_may_ask_again(
    world: PersonsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "MADE_AT_ONCE", 0)
    world.asks_for(f"{AXOLOTL}.devicelist")

    assert await world.answer() == "resource-constraint"


async def test_other_questions_are_answered_as_before(world: PersonsWorld) -> None:
    world.asks("<ping xmlns='urn:xmpp:ping'/>")
    await world.settle()

    (answer,) = world.server.written
    assert answer.get("type") == "result"


async def test_a_puppet_has_a_visiting_card(world: PersonsWorld) -> None:
    world.host.names["@alice:hs.example"] = "Alice"
    world.asks("<vCard xmlns='vcard-temp'/>")
    await world.settle()

    (answer,) = world.server.written
    assert answer.get("type") == "result"
    assert answer.findtext("{vcard-temp}vCard/{vcard-temp}FN") == "Alice"


async def test_a_visiting_card_shows_a_picture(world: PersonsWorld) -> None:
    world.host.pictures["@alice:hs.example"] = FACE
    world.asks("<vCard xmlns='vcard-temp'/>")
    await world.settle()

    (answer,) = world.server.written
    assert answer.findtext(".//{vcard-temp}PHOTO/{vcard-temp}TYPE") == "image/png"


async def test_a_card_does_without_a_picture_in_trouble(world: PersonsWorld) -> None:
    world.host.pictures["@alice:hs.example"] = None
    world.asks("<vCard xmlns='vcard-temp'/>")
    await world.settle()

    (answer,) = world.server.written
    assert answer.get("type") == "result"
    assert answer.find(".//{vcard-temp}PHOTO") is None


async def test_a_picture_that_nobody_can_tell_now_may_be_asked_for_again(
    world: PersonsWorld,
) -> None:
    world.host.pictures["@alice:hs.example"] = None
    world.asks_for(METADATA)
    assert await world.answer() == "remote-server-timeout"

    world.host.pictures["@alice:hs.example"] = NO_PICTURE
    world.asks_for(METADATA)
    assert await world.answer() == "item-not-found"


async def test_every_presence_names_the_picture_that_was_asked_for(
    world: PersonsWorld,
) -> None:
    assert [one.name for one in world.persons.bears(ALICE)] == ["c"]
    world.host.pictures["@alice:hs.example"] = FACE
    world.asks_for(METADATA)
    await world.settle()

    assert world.persons.bears(ALICE)[1:] == (hint(identifier(FACE)),)


async def test_too_many_new_pictures_at_once_are_not_looked_at(
    world: PersonsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.asks_for(METADATA)
    await world.settle()
    world.host.pictures["@alice:hs.example"] = FACE
    monkeypatch.setattr(persons, "AT_ONCE_MAX", 0)
    world.persons.repictured(ALICE)
    await world.settle()

    assert world.persons.bears(ALICE)[1:] == (hint(""),)


async def test_nobody_has_no_visiting_card(world: PersonsWorld) -> None:
    world.host.known = False
    world.asks("<vCard xmlns='vcard-temp'/>")

    assert await world.answer() == "item-not-found"


async def test_who_watches_a_nickname_hears_of_another(world: PersonsWorld) -> None:
    """XEP-0172 §4.1, XEP-0060 §7.1.2."""
    world.host.names["@alice:hs.example"] = "Alice"
    about = f"node='{NICK}' jid='{JULIET}'"
    iq = stanza(
        f"<iq type='set' id='1' from='{JULIET}' to='{ALICE}'>"
        f"<pubsub xmlns='{PUBSUB}'><subscribe {about}/></pubsub></iq>"
    )
    world.persons.asked(iq, jid(JULIET), jid(ALICE), "@alice:hs.example")
    await world.settle()
    world.server.written.clear()
    for name in ("Alice", "Al", "Al"):
        assert world.persons.introduce(ALICE, name) == (nick(name),)
        await world.settle()

    (told,) = world.server.written
    assert told.findtext(f".//{{{NICK}}}nick") == "Al"


def comes(world: PersonsWorld, to: str) -> Element:
    """Juliet, who wants to hear of devices, is there, as her presence to *to* says."""
    world.server.features = (f"{AXOLOTL}.devicelist+notify",)
    about = info(Identity("conference", "text", "Tea"), world.server.features)
    version = verification(to_element(about), "sha-1")
    return stanza(
        f"<presence from='{JULIET}' to='{to}'>"
        f"<c xmlns='{CAPS}' hash='sha-1' node='n' ver='{version}'/></presence>"
    )


async def test_who_meets_the_relay_in_a_room_knows_its_devices_at_once(
    world: PersonsWorld,
) -> None:
    """Profanity since 0.15 uses only what it knew before OMEMO was started."""
    world.persons.met(comes(world, f"#hall#hs.example@{DOMAIN}/Juliet"), jid(JULIET))

    number = await world.answer()
    assert number.isdigit()
    world.asks_for(f"{AXOLOTL}.devicelist", f"relay@{DOMAIN}")
    assert await world.answer() == number


async def test_who_was_away_is_told_of_devices_again(world: PersonsWorld) -> None:
    """XEP-0163 §4.3.2: also under the resource that they had before."""
    here = comes(world, ALICE)
    gone = stanza(f"<presence type='unavailable' from='{JULIET}' to='{ALICE}'/>")
    world.asks_for(f"{AXOLOTL}.devicelist")
    number = await world.answer()
    world.persons.seen(here, jid(JULIET), jid(ALICE))
    assert await world.answer() == number

    world.persons.seen(gone, jid(JULIET), jid(ALICE))
    await world.settle()
    world.persons.seen(here, jid(JULIET), jid(ALICE))

    assert await world.answer() == number


async def test_where_omemo_is_off_nobody_hears_of_the_relay(
    bare: PersonsWorld,
) -> None:
    bare.persons.met(comes(bare, f"#hall#hs.example@{DOMAIN}/Juliet"), jid(JULIET))
    await bare.settle()

    assert bare.server.written == []


async def test_somebody_without_a_name_is_not_introduced(world: PersonsWorld) -> None:
    assert world.persons.introduce(ALICE, "") == ()


async def test_too_many_at_once_are_put_off(
    world: PersonsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persons, "AT_ONCE_MAX", 0)
    world.asks_for(f"{AXOLOTL}.devicelist")

    assert await world.answer() == "resource-constraint"


async def test_who_asks_too_much_at_once_keeps_nobody_else_from_asking(
    world: PersonsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persons, "OF_ONE_MAX", 1)
    node = f"{AXOLOTL}.devicelist"
    world.asks_for(node)

    world.asks_for(node)
    assert await world.answer() == "resource-constraint"
    world.asks_for(node, asker="romeo@montague.lit/r")

    async with asyncio.timeout(30):
        while len(world.server.written) < 2:  # noqa: ASYNC110 - a list
            await asyncio.sleep(0)
    assert [answer.get("type") for answer in world.server.written] == ["result"] * 2
    world.server.written.clear()
    world.asks_for(node)
    assert await world.answer()


def event(kind: str) -> Element:
    items = f"<items node='{AXOLOTL}.devicelist'><item id='current'/></items>"
    return stanza(
        f"<message from='juliet@capulet.lit' to='{ALICE}' type='{kind}'>"
        f"<event xmlns='{PUBSUB}#event'>{items}</event></message>"
    )


async def test_what_others_publish_is_no_message(world: PersonsWorld) -> None:
    """Of ours that comes back it is not theirs: ejabberd returns all that was in it."""
    message = stanza(f"<message from='{JULIET}' to='{ALICE}'><body>hi</body></message>")

    assert world.persons.heard(event("headline"), jid("juliet@capulet.lit"))
    assert not world.persons.heard(event("error"), jid("juliet@capulet.lit"))
    assert not world.persons.heard(message, jid(JULIET))


async def test_there_is_hope_once_more_is_known_of_somebody(
    world: PersonsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    hopes: list[str] = []
    monkeypatch.setattr(world.persons.hopes, "heard", hopes.append)
    agreed = stanza(f"<presence type='subscribed' from='{JULIET}' to='{ALICE}'/>")

    world.persons.seen(agreed, jid(JULIET), jid(ALICE))
    world.persons.heard(event("headline"), jid("juliet@capulet.lit"))

    assert hopes == ["juliet@capulet.lit"] * 2


@pytest.fixture
async def bare() -> AsyncIterator[PersonsWorld]:
    """Have the same world, with OMEMO switched off."""
    async with asyncio.TaskGroup() as tasks:
        made = build(tasks)
        everybody = Persons(made.means, Disco(DOMAIN).puppet, sealing=False)
        yield PersonsWorld(
            made.means, made.server, made.host, made.intake, made.store, everybody
        )


async def test_where_omemo_is_off_nobody_has_a_device(bare: PersonsWorld) -> None:
    bare.asks_for(f"{AXOLOTL}.devicelist")

    assert await bare.answer() == "item-not-found"
    assert bare.persons.endtoend is None


async def test_who_cannot_read_a_farewell_sees_that_nobody_is_left_to_seal_for(
    bare: PersonsWorld,
) -> None:
    await bare.persons.farewell(ALICE, "juliet@capulet.lit")

    events = [one.find(".//{*}items") for one in bare.server.written]
    assert [one.get("to") for one in bare.server.written] == ["juliet@capulet.lit"] * 2
    found = {one.get("node"): one for one in events if one is not None}
    assert set(found) == {f"{AXOLOTL}.devicelist", "urn:xmpp:omemo:2:devices"}
    assert all(one.find(".//{*}device") is None for one in found.values())
    assert found[f"{AXOLOTL}.devicelist"].find(f".//{{{AXOLOTL}}}list") is not None


async def test_a_farewell_is_sealed(
    bare: PersonsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XEP-0384 §5.7."""
    said: list[str] = []

    async def opt_out(passage: Passage, reason: str, unit: Unit) -> Sealed:
        said.append(reason)
        return Sealed((node("encrypted", {"xmlns": "urn:xmpp:omemo:2"}),))

    monkeypatch.setattr(bare.persons.omemo, "opt_out", opt_out)
    await bare.persons.farewell(ALICE, "juliet@capulet.lit")

    (written, *_) = bare.server.written
    assert written.find("{urn:xmpp:omemo:2}encrypted") is not None
    assert written.get("to") == "juliet@capulet.lit"
    assert said == [persons.SWITCHED_OFF]


async def test_keys_are_made_anew_after_a_backup(world: PersonsWorld) -> None:
    await world.persons.recover()

    (row,) = await world.store.secrets("omemo epoch")
    assert row.value == b"1"


async def test_whom_the_relay_has_asked_nobody_else_bothers(
    world: PersonsWorld,
) -> None:
    for account in (f"relay@{DOMAIN}", ALICE, f"relay@{DOMAIN}"):
        world.persons._ask_for_subscription(account, "juliet@capulet.lit")
    world.persons._ask_for_subscription(ALICE, "romeo@montague.lit")

    asked = [(one.get("from"), one.get("to")) for one in world.server.written]
    assert asked == [
        (f"relay@{DOMAIN}", "juliet@capulet.lit"),
        (ALICE, "romeo@montague.lit"),
    ]
