import asyncio
import contextlib
from xml.etree.ElementTree import Element

import pytest

from bridge.core.ports import StoreUnavailableError, Unit
from bridge.xmpp.endtoend import Failed
from bridge.xmpp.omemo import upkeep as module
from bridge.xmpp.omemo.names import LEGACY, LEGACY_DEVICES, OMEMO2_DEVICES
from tests.unit.xmpp.omemo.world import ALICE, BOB, ROMEO, Person, World, passage


async def test_a_session_is_confirmed_soon(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))

    await world.omemo.settle()

    (post,) = world.posts
    assert post.attributes["to"] == ROMEO
    assert await romeo.open(ALICE, post.children) is None


async def test_of_many_first_messages_one_is_answered(world: World) -> None:
    """S21: no storm of empty messages."""
    romeo = await world.person()
    for number in range(5):
        await world.words(await romeo.seal(ALICE, str(number)))

    await world.omemo.settle()

    assert len(world.posts) == 1


async def test_whoever_only_writes_hears_of_us_at_times(world: World) -> None:
    """XEP-0384 §6: after 53 messages without an answer, send an empty one."""
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "first"))
    await world.omemo.settle()
    await romeo.open(ALICE, world.posts.pop().children)
    for number in range(60):
        await world.words(await romeo.seal(ALICE, str(number)))

    await world.omemo.settle()

    assert len(world.posts) == 1


async def test_nothing_is_sent_while_a_message_is_not_carried(world: World) -> None:
    romeo = await world.person()
    stanza = await romeo.seal(ALICE, "one")
    unit = Unit()
    await world.omemo.decrypt(stanza, passage(stanza), unit, "arrival")

    await world.omemo.settle()
    before = list(world.posts)
    await world.store.commit(unit)
    await world.omemo.settle()

    assert before == []
    assert len(world.posts) == 1


async def test_it_leaves_only_after_its_ratchet_is_on_disk(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await world.omemo.settle()
    await romeo.open(ALICE, world.posts[0].children)

    world.restart()

    assert await romeo.open(ALICE, (await world.send("two")).children) == "two"


async def test_what_was_due_before_a_restart_is_done_after(world: World) -> None:
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))

    world.restart()
    await world.send("hello")
    await world.omemo.settle()

    assert len(world.posts) == 1


async def test_a_new_device_is_made_known(world: World) -> None:
    await world.omemo.items(BOB, LEGACY_DEVICES, ROMEO)

    await world.omemo.settle()

    assert (BOB, LEGACY_DEVICES) in world.announced


async def test_whoever_has_no_key_for_us_is_shown_our_list_again(
    world: World,
) -> None:
    """E48."""
    romeo = await world.person()
    await world.read(await romeo.seal(BOB, "not for alice"), ALICE)

    await world.omemo.settle()

    assert (ALICE, LEGACY_DEVICES) in world.announced
    assert (ALICE, OMEMO2_DEVICES) in world.announced


async def test_a_session_that_has_no_remedy_is_left(world: World) -> None:
    account = await world.omemo._accounts.find(ALICE)
    assert account is not None

    world.omemo._upkeep.repair(account, LEGACY, ROMEO, 7)
    await world.omemo.settle()

    assert world.posts == []


async def broken(world: World) -> Person:
    """Return somebody whose client was set up anew, and could not be understood."""
    old = await world.person()
    await world.words(await old.seal(ALICE, "one"))
    await world.omemo.settle()
    world.posts.clear()
    new = await Person(world, ROMEO, (LEGACY,)).start_anew(old.id)
    assert isinstance(await world.read(await new.seal(ALICE, "who am I")), Failed)
    return new


async def test_a_session_is_repaired_once_keys_can_be_had(world: World) -> None:
    """Its next message says so: nobody has to wait for an hour."""
    romeo = await broken(world)
    bundle = f"{LEGACY}.bundles:{romeo.id}"
    world.pep.trouble[ROMEO, bundle] = "forbidden"
    await world.omemo.settle()
    assert world.posts == []
    del world.pep.trouble[ROMEO, bundle]
    world.omemo.admitted(ALICE, ROMEO)

    await world.read(await romeo.seal(ALICE, "and now"))
    await world.omemo.settle()

    assert await romeo.open(ALICE, world.posts[0].children) is None
    assert await world.words(await romeo.seal(ALICE, "there")) == "there"


@pytest.fixture
async def hasty(world: World, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Return somebody of whom too many messages are missing to open the next ones."""
    monkeypatch.setattr("bridge.xmpp.omemo.backends.SKIPPED_MAX", 20)
    world.restart()
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    await world.omemo.settle()
    assert await romeo.open(ALICE, world.posts.pop().children) is None
    for _ in range(21):
        await romeo.client.encrypt(frozenset((ALICE,)), {LEGACY: b"lost"})
    assert isinstance(await world.read(await romeo.seal(ALICE, "gone")), Failed)
    return romeo


async def heal(world: World, romeo: Person) -> None:
    assert isinstance(await world.read(await romeo.seal(ALICE, "gone, too")), Failed)
    await world.omemo.settle()

    assert await romeo.open(ALICE, world.posts[0].children) is None
    assert await world.words(await romeo.seal(ALICE, "there")) == "there"


async def test_a_repair_that_could_not_be_told_is_made_again(
    world: World, hasty: Person
) -> None:
    """The stream was lost: the other side knows nothing of the new session."""
    world.connected = False
    await world.omemo.settle()
    world.connected = True

    await heal(world, hasty)


async def test_a_repair_that_could_not_be_kept_is_made_again(
    world: World, hasty: Person
) -> None:
    world.store.broken = True
    with pytest.raises(StoreUnavailableError):
        await world.omemo.settle()
    world.store.broken = False

    await heal(world, hasty)


async def test_a_client_that_was_set_up_anew_is_heard_again(world: World) -> None:
    new = await broken(world)

    await world.omemo.settle()

    assert await new.open(ALICE, world.posts[0].children) is None
    assert await world.words(await new.seal(ALICE, "there")) == "there"


async def test_it_runs_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0)
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))

    await run_until_posted(world)

    assert len(world.posts) == 1


async def test_what_cannot_be_written_does_not_stop_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0)
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "one"))
    world.store.broken = True

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await world.omemo.run()

    assert world.posts == []
    assert "no writing" in caplog.text


async def run_until_posted(world: World) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.omemo.run())
        while not world.posts:  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0)
        running.cancel()


async def test_who_writes_to_the_relay_unlisted_is_asked_soon_to_be_a_contact(
    world: World,
) -> None:
    """Before anybody of Matrix answers: only contacts may read these keys."""
    world.relay = ALICE
    world.restart()
    romeo = await world.person()
    del world.pep.items[ROMEO, LEGACY_DEVICES]
    world.pep.trouble[ROMEO, f"{LEGACY}.bundles:{romeo.id}"] = "forbidden"

    await world.words(await romeo.seal(ALICE, "hello, all of you"))
    await world.omemo.settle()

    assert world.begged == [(ALICE, ROMEO)]


async def test_who_hides_their_keys_holds_up_nobody_elses_sessions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their server may take long, or never answer."""
    world.relay = ALICE
    world.restart()
    romeo = await world.person()
    del world.pep.items[ROMEO, LEGACY_DEVICES]
    await world.words(await romeo.seal(ALICE, "hello, all of you"))
    confirmed: list[int] = []

    async def silent(*_: object) -> Element:
        confirmed.append(len(world.posts))
        raise TimeoutError

    monkeypatch.setattr(world.pep, "iq", silent)
    await world.omemo.settle()

    assert confirmed == [1]


async def test_nobody_else_looks_for_keys_that_nobody_needs_yet(world: World) -> None:
    romeo = await world.person()
    del world.pep.items[ROMEO, LEGACY_DEVICES]
    await world.words(await romeo.seal(ALICE, "hello"))
    asked = len(world.pep.asked)

    await world.omemo.settle()

    assert len(world.pep.asked) == asked


async def test_a_silent_server_holds_up_nobody_elses_sessions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is broken there is repaired when it answers; all else is done before."""
    account = await world.omemo._accounts.find(ALICE)
    assert account is not None
    romeo = await world.person()
    await world.words(await romeo.seal(ALICE, "hello"))
    for number in range(3):
        world.omemo._upkeep.repair(account, LEGACY, f"p{number}@silent.example", 7)
    done: list[int] = []
    at_once = asyncio.Barrier(6)

    async def silent(*_: object) -> Element:
        done.append(len(world.posts))
        if len(done) <= at_once.parties:
            await at_once.wait()
        raise TimeoutError

    monkeypatch.setattr(world.pep, "iq", silent)
    async with asyncio.timeout(5):
        await world.omemo.settle()

    assert set(done) == {1}
