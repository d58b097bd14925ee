"""What only real servers decide: whether our stream, and the room, survive it."""

from xml.etree.ElementTree import Element, SubElement

from deploy.lab.world import World
from tests.e2e.conftest import Company
from tests.e2e.rooms import both

CONTROLS = "".join(chr(n) for n in (*range(9), 0xB, 0xC, *range(0xE, 0x20)))


async def test_e1_no_character_of_matrix_closes_the_stream(
    world: World, company: Company, word: str
) -> None:
    """E1, S1: one stream error would end every conversation of the bridge. Row 25."""
    alice, room, juliet, jid = await both(world, company, word)

    await alice.says(room, f"a{CONTROLS}\ufffe\uffff\U0001fffez")
    markup = "]]><!-- &bomb; <message to='x'/></body></message>"
    await alice.says(room, markup)
    await alice.says(room, "after it")

    heard = await juliet.hears_next(jid)
    assert heard.text.startswith("a\ufffd")
    assert heard.text.endswith("\U0001fffez")
    await juliet.hears(markup, "Alice", jid)
    await juliet.hears("after it", "Alice", jid)


async def test_e11_no_stanza_is_larger_than_servers_take(
    world: World, company: Company, word: str
) -> None:
    """E11: what grows sixfold when it is written is cut before. Row 25."""
    alice, room, juliet, jid = await both(world, company, word)

    words = "<'\"&>" * 9_000
    await alice.says(room, words)
    await alice.says(room, "after it")

    got = ""
    while len(got) < len(words):
        got += (await juliet.hears_next(jid)).text
    assert got == words
    await juliet.hears("after it", "Alice", jid)


async def test_s9_forged_ids_and_times_suppress_nobody(
    world: World, company: Company, word: str
) -> None:
    """S9, E25, E30, E31: servers take some forgeries away, and let others pass."""
    alice, room, juliet, jid = await both(world, company, word)

    for number in range(2):
        forged = Element("message", {"type": "groupchat", "to": jid, "id": "same"})
        SubElement(forged, "body").text = f"word {number}"
        for by in (jid, juliet.jid, "example.org"):
            about = {"by": by, "id": "$forged"}
            SubElement(forged, "{urn:xmpp:sid:0}stanza-id", about)
            then = {"from": by, "stamp": "2099-01-01T00:00:00Z"}
            SubElement(forged, "{urn:xmpp:delay}delay", then)
        SubElement(forged, "{urn:xmpp:occupant-id:0}occupant-id", {"id": "alice"})
        await juliet.send(forged)

    await alice.hears("word 0", "Juliet", room)
    await alice.hears("word 1", "Juliet", room)
