from typing import Any

import pytest
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.megolm.inbound import SOURCES_MAX, Inbound, Read
from bridge.matrix.megolm.olm import Letter
from bridge.matrix.megolm.payload import sealed
from bridge.matrix.megolm.ports import Fault
from bridge.matrix.megolm.vault import Vault
from tests.fakes_store import FakeStore
from tests.unit.matrix.megolm.key_server import Wild
from tests.unit.matrix.megolm.party import ALICE, BOB, ROOM

MEGOLM = "m.megolm.v1.aes-sha2"


class Room:
    """A room where somebody speaks by one session, and what we keep of it."""

    def __init__(self) -> None:
        self.session = vodozemac.GroupSession()
        self.store = FakeStore()
        self.inbound = Inbound(Vault(self.store))

    def restart(self) -> None:
        self.inbound = Inbound(Vault(self.store))

    def key(self) -> dict[str, Any]:
        return {
            "algorithm": MEGOLM,
            "room_id": ROOM,
            "session_id": self.session.session_id,
            "session_key": self.session.session_key.to_base64(),
        }

    async def give(self, content: Wild, sender: str = ALICE, curve: str = "c") -> Wild:
        unit = Unit()
        letter = Letter("m.room_key", content, sender, curve, f"ed of {curve}", None)
        key = await self.inbound.give(unit, letter)
        await self.store.commit(unit)
        return key

    def event(self, number: int = 1, **change: Wild) -> dict[str, Any]:
        raw = b'{"type":"m.room.message","content":{"body":"x"},"room_id":"!room:hs"}'
        content = {
            "algorithm": MEGOLM,
            "session_id": self.session.session_id,
            "ciphertext": self.session.encrypt(raw).to_base64(),
        }
        event = {
            "event_id": f"${number}",
            "room_id": ROOM,
            "sender": ALICE,
            "content": content,
        }
        return event | change

    async def read(self, event: dict[str, Any]) -> Read | Fault | None:
        unit = Unit()
        outside = sealed(event)
        assert outside
        found = await self.inbound.read(unit, event, outside)
        await self.store.commit(unit)
        return found


@pytest.fixture
def room() -> Room:
    return Room()


async def test_a_message_is_read_by_the_session_given(room: Room) -> None:
    key = await room.give(room.key())

    found = await room.read(room.event())

    assert key == (ROOM, room.session.session_id)
    assert isinstance(found, Read)
    assert found.inner.content == {"body": "x"}
    assert found.source.curve == "c"


async def test_without_a_session_nothing_is_read(room: Room) -> None:
    assert await room.read(room.event()) is None


async def test_the_same_event_reads_the_same_again_also_after_a_restart(
    room: Room,
) -> None:
    await room.give(room.key())
    event = room.event()
    first = await room.read(event)

    again = await room.read(event)
    room.restart()

    assert first == again == await room.read(event)


@pytest.mark.parametrize("restart", [False, True])
async def test_a_copy_in_another_event_is_a_replay(room: Room, restart: bool) -> None:  # noqa: FBT001
    """E57, S17: an index is for one event only."""
    await room.give(room.key())
    event = room.event()
    await room.read(event)
    if restart:
        room.restart()

    assert await room.read(event | {"event_id": "$copy"}) is Fault.REPLAYED


async def test_what_another_says_by_the_session_is_foreign(room: Room) -> None:
    """E57, S14: CVE-2025-48937: who gave the session is who speaks by it."""
    await room.give(room.key())

    assert await room.read(room.event(sender=BOB)) is Fault.FOREIGN


async def test_who_gives_a_session_of_another_gets_no_words_of_theirs(
    room: Room,
) -> None:
    await room.give(room.key(), sender=BOB)
    assert await room.read(room.event()) is Fault.FOREIGN

    await room.give(room.key())

    assert isinstance(await room.read(room.event()), Read)


async def test_a_session_is_of_one_room_only(room: Room) -> None:
    """E57."""
    await room.give(room.key())

    assert await room.read(room.event(room_id="!other:hs")) is None


async def test_words_of_another_room_are_refused(room: Room) -> None:
    await room.give(room.key() | {"room_id": "!other:hs"})

    assert await room.read(room.event(room_id="!other:hs")) is Fault.MALFORMED


@pytest.mark.parametrize("better_first", [True, False])
async def test_the_copy_that_reaches_further_back_is_kept(
    room: Room,
    better_first: bool,  # noqa: FBT001
) -> None:
    better = room.key()
    event = room.event()
    worse = room.key()
    for key in (better, worse) if better_first else (worse, better):
        await room.give(key)
    room.restart()

    assert isinstance(await room.read(event), Read)


async def test_what_is_older_than_the_key_is_known_to_be(room: Room) -> None:
    """E58."""
    event = room.event()
    await room.give(room.key())

    assert await room.read(event) is Fault.TOO_OLD


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "m.olm.v1"},
        {"session_id": "another"},
        {"session_key": "AAAA"},
        {"session_key": ""},
        {"session_key": 1},
        {"room_id": None},
    ],
)
async def test_a_key_that_is_none_is_not_taken(
    room: Room, change: dict[str, Any]
) -> None:
    assert await room.give(room.key() | change) is None
    assert room.store.disk.records == {}


@pytest.mark.parametrize("content", [{}, {"algorithm": MEGOLM}])
async def test_a_letter_without_a_key_gives_none(room: Room, content: Wild) -> None:
    assert await room.give(content) is None


@pytest.mark.parametrize(
    ("ciphertext", "fault"),
    [
        ("", Fault.MALFORMED),
        ("A", Fault.MALFORMED),
        ("!!!", Fault.MALFORMED),
        ("A" * 65_536, Fault.MALFORMED),
        ({"curve": {}}, Fault.MALFORMED),
    ],
)
async def test_a_ciphertext_that_is_none_is_refused(
    room: Room, ciphertext: Wild, fault: Fault
) -> None:
    """E59."""
    await room.give(room.key())
    event = room.event()
    event["content"]["ciphertext"] = ciphertext

    assert await room.read(event) is fault


async def test_a_ciphertext_that_was_changed_is_refused_and_marks_nothing(
    room: Room,
) -> None:
    await room.give(room.key())
    event = room.event()
    good = event["content"]["ciphertext"]
    event["content"]["ciphertext"] = good[:30] + "AAAA" + good[34:]

    assert await room.read(event) is Fault.UNDECRYPTABLE
    event["content"]["ciphertext"] = good
    assert isinstance(await room.read(event), Read)


async def test_nobody_fills_the_disk_with_copies(room: Room) -> None:
    for number in range(SOURCES_MAX + 5):
        await room.give(room.key(), sender=f"@{number}:hs")

    session = await room.inbound._sessions.get((ROOM, room.session.session_id))
    assert len(session.sources) == SOURCES_MAX


async def test_it_tells_which_sessions_it_knows(room: Room) -> None:
    assert not await room.inbound.knows((ROOM, room.session.session_id))

    await room.give(room.key())

    assert await room.inbound.knows((ROOM, room.session.session_id))
