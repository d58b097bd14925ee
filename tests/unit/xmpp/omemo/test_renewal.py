import copy

from bridge.xmpp.endtoend import Failed, Trust
from bridge.xmpp.omemo.names import LEGACY_BUNDLES, LEGACY_DEVICES
from tests.fakes_store import FakeStore
from tests.unit.xmpp.omemo.people import Person
from tests.unit.xmpp.omemo.world import ALICE, ROMEO, World


async def talk(world: World, romeo: Person, *, words: str) -> None:
    assert await world.words(await romeo.seal(ALICE, words)) == words
    assert await romeo.open(ALICE, (await world.send(words)).children) == words


async def test_s24_nothing_that_a_backup_remembers_is_used_again(world: World) -> None:
    """S24: the same keys would seal other words, and their devices drop those."""
    romeo = await world.person()
    await talk(world, romeo, words="before")
    (device,) = await world.omemo.devices(ALICE, ROMEO)
    assert await world.omemo.decide(ALICE, ROMEO, device.fingerprint, Trust.VERIFIED)
    (own,) = await world.omemo.devices(ALICE, ALICE)
    backup = copy.deepcopy(world.store.disk)
    await talk(world, romeo, words="after the backup was made")

    world.store = FakeStore(backup)
    world.omemo = world._service()
    await world.omemo.recover()
    late = await world.read(await romeo.seal(ALICE, "into the gap"))
    await world.omemo.settle()

    assert isinstance(late, Failed)
    assert await romeo.open(ALICE, world.posts[-1].children) is None
    await talk(world, romeo, words="all is well")
    assert [one.trust for one in await world.omemo.devices(ALICE, ROMEO)] == [
        Trust.VERIFIED
    ]
    assert (await world.omemo.devices(ALICE, ALICE))[0].id == own.id


async def test_who_is_not_written_to_has_new_keys_too(world: World) -> None:
    romeo = await world.person()
    await talk(world, romeo, words="before")
    old = await bundle(world)

    world.restart()
    await world.omemo.recover()
    await world.omemo._upkeep._visit()

    assert await romeo.open(ALICE, world.posts[-1].children) is None
    assert await bundle(world) != old
    assert (ALICE, LEGACY_DEVICES) in world.announced


async def test_it_is_done_once(world: World) -> None:
    romeo = await world.person()
    await talk(world, romeo, words="before")
    await world.omemo.recover()
    await talk_after(world, romeo)
    sent = len(world.posts)

    world.restart()
    await talk(world, romeo, words="after a restart")
    await world.omemo.settle()

    assert len(world.posts) == sent


async def talk_after(world: World, romeo: Person) -> None:
    """Let an account be loaded, and say that its sessions are new."""
    await world.omemo.devices(ALICE, ROMEO)
    await world.omemo.settle()
    assert await romeo.open(ALICE, world.posts[-1].children) is None
    await talk(world, romeo, words="anew")
    await world.omemo.settle()


async def bundle(world: World) -> object:
    number = (await world.omemo.devices(ALICE, ALICE))[0].id
    return await world.omemo.items(ALICE, f"{LEGACY_BUNDLES}{number}", ROMEO)
