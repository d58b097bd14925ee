from bridge.xmpp.codec.xml import node
from bridge.xmpp.endtoend import EndToEnd
from bridge.xmpp.gate import serialise
from bridge.xmpp.omemo.names import LEGACY, OMEMO2
from bridge.xmpp.omemo.service import Omemo
from tests.unit.xmpp.omemo.world import ALICE, CANARY, ROMEO, World


def takes(encryption: EndToEnd) -> frozenset[str]:
    return encryption.namespaces


async def test_omemo_is_an_encryption_like_any_other(world: World) -> None:
    assert takes(world.omemo) == {LEGACY, OMEMO2}
    assert Omemo.name == "OMEMO"


async def test_what_is_sealed_passes_the_gate(world: World) -> None:
    await world.person()
    sealed = await world.send(CANARY)
    about = {"from": ALICE, "to": ROMEO, "type": "chat"}

    written = serialise(node("message", about, *sealed.children), "bridge.example")

    assert b"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid=" in written
    assert b"prekey='true'" in written
    assert CANARY.encode() not in written


async def test_once_closed_everything_is_read_from_disk_again(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))

    await world.omemo.close()

    assert await world.words(await romeo.seal(ALICE, "two")) == "two"


async def test_a_peer_that_we_talk_with_is_capable_without_a_question(
    world: World,
) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    world.pep.asked.clear()

    assert await world.omemo.capable(ALICE, ROMEO)
    assert world.pep.asked == []


async def test_no_word_lies_on_disk_in_the_clear(world: World) -> None:
    romeo = await world.person()

    await world.words(await romeo.seal(ALICE, CANARY))
    await world.send(CANARY)

    records = world.store.disk.records.values()
    values = [getattr(one, "value", b"") for one in records]
    assert not any(CANARY.encode() in value for value in values)
