import pytest

from bridge.model.delivery import (
    Delivered,
    Refusal,
    Refused,
)
from bridge.xmpp.muc_secrecy import (
    CROWDED,
)
from tests.unit.xmpp.elsewhere import (
    BOB,
    LISTENER,
    ROOM,
)
from tests.unit.xmpp.muc.cipher import revealed
from tests.unit.xmpp.party import ALICES, BOT, HATTER, Party


@pytest.mark.parametrize("together", [True, False])
async def test_beyond_so_many_puppets_the_bridge_speaks_for_the_rest(
    party: Party, monkeypatch: pytest.MonkeyPatch, *, together: bool
) -> None:
    """Each puppet is a device more for which everybody encrypts; facts B5."""
    monkeypatch.setattr("bridge.xmpp.muc_secrecy.PUPPETS_MAX", 1)
    said = [
        party.writes("first"),
        party.writes("/me waves", 2, by=BOB),
        party.writes("again", 3),
        party.writes("> quoted", 4, by=BOB),
    ]

    if together:
        outcomes = [*await party.sends(*said)]
    else:
        outcomes = [one for parcel in said for one in await party.sends(parcel)]

    assert all(isinstance(one, Delivered) for one in outcomes)
    assert [(s.get("from"), revealed(s)) for s in party.shown()] == [
        (f"{ALICES}/matrix", "first"),
        (LISTENER, "* Bob waves"),
        (f"{ALICES}/matrix", "again"),
        (LISTENER, "Bob:\n> quoted"),
    ]
    assert [way.account for way, _ in party.cipher.sealed] == [ALICES, BOT] * 2
    assert party.around.host.warned == [(ROOM, CROWDED)]
    assert party.around.stay.puppets.seat(BOB.id) is None


async def test_who_is_spoken_for_is_so_after_a_fall_as_well(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.muc_secrecy.PUPPETS_MAX", 0)
    parcel = party.writes("hello", by=BOB)
    await party.sends(parcel)
    party.around.server.written.clear()

    kept = party.around.store.disk.outbox[parcel.id]
    await party.sends(kept)

    assert len(party.cipher.sealed) == 1
    assert all(s.get("from") == LISTENER for s in party.shown())


async def test_in_the_clear_a_crowd_is_spoken_for_as_well(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever came in would be encrypted for from then on."""
    monkeypatch.setattr("bridge.xmpp.muc_secrecy.PUPPETS_MAX", 0)
    party.cipher.without = {HATTER}
    party.allows()

    await party.sends(party.writes("no secret", by=BOB))

    assert party.around.server.heard() == ["Bob: no secret"]


async def test_what_is_too_large_with_a_name_before_it_is_refused(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.xmpp.muc_secrecy.PUPPETS_MAX", 0)
    parcel = party.writes("x" * 1000, by=BOB)
    monkeypatch.setattr("bridge.xmpp.gate.SIZE_BYTES_MAX", 1000)

    assert await party.sends(parcel) == [Refused(Refusal.TOO_LARGE)]
