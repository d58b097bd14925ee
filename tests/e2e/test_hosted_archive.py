"""What was said in a Matrix room is read again over XMPP (XEP-0313)."""

from xml.etree.ElementTree import Element, SubElement

from deploy.lab.heard import Heard
from deploy.lab.stanzas import condition, stanza_id, tag
from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.rooms import both

MAM = "urn:xmpp:mam:2"


async def test_who_comes_without_history_reads_it_in_the_archive(
    world: World, company: Company, word: str
) -> None:
    """As Conversations, Gajim and Converse.js do."""
    alice, room, juliet, jid = await both(world, company, word)
    event = await alice.says(room, "first")
    live = [await juliet.hears("first", "Alice", jid)]
    await juliet.says_in(jid, "second")
    live.append(await juliet.hears("second", "Juliet", jid))
    romeo = await company.on_xmpp("romeo")

    entered = await romeo.joins(jid, "Romeo", history=0)
    kept = await romeo.archive(jid)

    assert entered.history == []
    assert [said.text for said in kept] == ["first", "second"]
    assert _names(kept, jid) == _names(live, jid)
    assert _names(kept, jid)[0] == event


async def test_more_is_read_than_fits_on_a_page(
    world: World, company: Company, word: str
) -> None:
    """And after a restart, by somebody who is not in the room just then."""
    alice, room, juliet, jid = await both(world, company, word)
    texts = [f"line {number}" for number in range(120)]
    for text in texts:
        await alice.says(room, text)
    for text in texts:
        await juliet.hears(text, "Alice", jid)
    await juliet.leaves(jid, "Juliet")
    await world.restart("bridge")

    kept = await juliet.archive(jid)

    assert [said.text for said in kept] == texts


async def test_the_archive_tells_its_ends_to_those_inside_only(
    world: World, company: Company, word: str
) -> None:
    alice, room, juliet, jid = await both(world, company, word)
    event = await alice.says(room, "all there is")
    await juliet.hears("all there is", "Alice", jid)
    romeo = await company.on_xmpp("romeo")

    inside = await juliet.asks(jid, Element("metadata", {"xmlns": MAM}))
    outside = await romeo.asks(jid, Element("metadata", {"xmlns": MAM}))

    ends = inside.find(tag("metadata", MAM))
    assert ends is not None
    assert [end.get("id") for end in ends] == [event, event]
    assert condition(outside) == "forbidden"


async def test_what_the_archive_does_not_have_is_not_found(
    world: World, company: Company, word: str
) -> None:
    _, _, juliet, jid = await both(world, company, word)
    query = Element("query", {"xmlns": MAM})
    page = SubElement(query, "set", {"xmlns": "http://jabber.org/protocol/rsm"})
    SubElement(page, "after").text = "$never-said"

    answer = await juliet.asks(jid, query, "set")

    assert condition(answer) == "item-not-found"


def _names(said: list[Heard], room: str) -> list[str]:
    raw = [one.raw for one in said]
    return [stanza_id(one, room) for one in raw if isinstance(one, Element)]
