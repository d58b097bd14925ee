import asyncio
from dataclasses import replace

import pytest

from bridge.model.delivery import (
    Delivered,
    Later,
    Refusal,
    Refused,
    Unreadable,
)
from bridge.model.events import Message, Protection
from bridge.xmpp.endtoend import Empty, NotForUs
from bridge.xmpp.muc_secrecy import (
    CLEAR_NOW,
    NOBODY,
    NOT_TOLD,
    UNFIT,
    MucSecrecy,
)
from bridge.xmpp.sealed import AGAIN_S
from tests.unit.xmpp.elsewhere import (
    BOB,
    FEATURES,
    LISTENER,
    MUC,
    ROOM,
    TEA,
    build,
)
from tests.unit.xmpp.muc.cipher import BROKEN, NO_DEVICE, REPEATED, revealed, secret
from tests.unit.xmpp.mucs_world import join
from tests.unit.xmpp.party import ALICES, BOBS, BOT, HARE, HATTER, WORDS, Party


async def test_what_came_sealed_is_opened_once_as_the_bridge(party: Party) -> None:
    party.around.server.says("Hatter", "", more=WORDS)

    (event,) = await party.hears()

    assert isinstance(event, Message)
    assert event.content.body.plain == "no room!"
    assert event.protection is Protection.END_TO_END
    ((passage, key),) = party.cipher.opened
    assert (passage.account, passage.peer, passage.to) == (BOT, HATTER, MUC)
    assert key


async def test_others_of_ours_open_it_as_well_lest_they_lose_touch(
    party: Party,
) -> None:
    await party.sends(party.writes("hello"), party.writes("hi", 2, by=BOB))
    party.around.server.says("Hatter", "", more=WORDS)
    await party.hears()
    party.cipher.opened.clear()

    await party.around.mucs._secrecy.follow()

    assert [p.account for p, _ in party.cipher.opened] == [ALICES, BOBS]
    assert [key for _, key in party.cipher.opened] == ["", ""]


async def test_whoever_it_is_sealed_for_opens_it(party: Party) -> None:
    """A client may not know all of our devices yet."""
    await party.sends(party.writes("hello"))
    party.around.server.says("Hatter", "", more=secret("hm", ALICES))

    (event,) = await party.hears()

    assert isinstance(event, Message)
    assert event.content.body.plain == "hm"
    assert [p.account for p, _ in party.cipher.opened] == [BOT, ALICES]


@pytest.mark.parametrize(
    "opened", [BROKEN, NotForUs(empty=False, words="it is broken")]
)
async def test_of_what_cannot_be_read_both_sides_hear(
    party: Party, opened: object
) -> None:
    party.cipher.fails = opened  # type: ignore[assignment]
    party.around.server.says("Hatter", "", more=WORDS)

    (event,) = await party.hears()

    assert isinstance(event, Unreadable)
    assert (event.why, event.detail) == (Refusal.UNDECIPHERABLE, "it is broken")
    ((_, words),) = party.around.host.warned
    assert words == "A message of Hatter could not be read: it is broken"


@pytest.mark.parametrize("opened", [REPEATED, NotForUs(empty=True)])
async def test_what_nobody_misses_is_not_shown(party: Party, opened: object) -> None:
    party.cipher.fails = opened  # type: ignore[assignment]
    party.around.server.says("Hatter", "", more=WORDS)

    assert await party.hears() == [None]
    assert party.around.host.warned == []


async def test_that_somebody_opts_out_is_told(party: Party) -> None:
    party.cipher.fails = Empty("they want no encrypted messages")
    party.around.server.says("Hatter", "", more=WORDS)

    assert await party.hears() == [None]
    ((_, words),) = party.around.host.warned
    assert words == "Hatter: they want no encrypted messages"


async def test_a_puppet_seals_for_all_members_but_those_of_ours(party: Party) -> None:
    party.around.server.deliver(
        f"<message from='{MUC}' to='{LISTENER}'>"
        "<x xmlns='http://jabber.org/protocol/muc#user'>"
        f"<item affiliation='member' jid='{HARE}'/></x></message>"
    )
    await party.around.settle()

    (outcome,) = await party.sends(party.writes("more tea?"))

    assert isinstance(outcome, Delivered)
    (shown,) = party.shown()
    assert revealed(shown) == "more tea?"
    assert (shown.get("from"), shown.get("id")) == (f"{ALICES}/matrix", "$1")
    ((passage, recipients),) = party.cipher.sealed
    assert (passage.account, passage.to) == (ALICES, MUC)
    assert recipients == (HATTER, HARE)


async def test_nothing_is_sealed_twice_and_it_is_on_disk_first(party: Party) -> None:
    parcel = party.writes("more tea?")
    party.around.server.swallows.add(f"{ALICES}/matrix")
    party.around.server.connected = False
    assert isinstance((await party.sends(parcel))[0], Later)
    party.around.server.connected = True
    party.around.server.swallows.clear()

    await party.sends(parcel)
    (kept,) = party.around.store.disk.outbox.values()
    again = MucSecrecy(party.around.means, party.cipher)
    party.around.mucs._mouths[MUC]._secrecy = again
    await party.sends(kept)

    assert b"more tea?" not in kept.wire.data
    assert len(party.cipher.sealed) == 1
    assert not party.around.mucs._secrecy._final


async def test_many_are_sealed_in_their_order(party: Party) -> None:
    sent = [party.writes(f"cup {n}", n) for n in range(1, 11)]

    outcomes = await party.sends(*sent)

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 10
    assert [revealed(s) for s in party.shown()] == [f"cup {n}" for n in range(1, 11)]


async def test_it_is_refused_if_somebody_there_could_not_read_it(party: Party) -> None:
    party.cipher.without = {HATTER}

    (outcome,) = await party.sends(party.writes("more tea?"))

    words = f"{HATTER}: they have no device that uses OMEMO"
    assert outcome == Refused(Refusal.WOULD_EXPOSE, words)
    assert party.shown() == []


async def test_what_was_refused_is_tried_again_once_all_can_read_it(
    party: Party,
) -> None:
    party.cipher.without = {HATTER}
    await party.sends(party.writes("more tea?"))
    party.cipher.without = set()

    party.around.server.says("Hatter", "", more=WORDS)
    await party.hears()
    await party.around.mucs._secrecy.hopes.look(everywhere=False)

    assert party.around.host.retried == [ROOM]


async def test_it_leaves_in_the_clear_if_that_was_allowed(party: Party) -> None:
    party.cipher.without = {HATTER}
    party.allows()

    await party.sends(party.writes("no secret"))

    assert party.around.server.heard() == ["no secret"]


async def test_what_comes_after_trouble_waits(party: Party) -> None:
    await party.sends(party.writes("one"))
    party.cipher.away = {HATTER}

    outcomes = await party.sends(
        party.writes("in the clear", 2, sealed=False), party.writes("two", 3)
    )

    assert isinstance(outcomes[0], Delivered)
    assert outcomes[1:] == [Later(AGAIN_S)]


async def test_for_nobody_nothing_is_said(party: Party) -> None:
    party.around.server.leaves("Hatter")
    await party.around.settle()
    party.around.stay.members.told(HATTER, "none")

    assert await party.sends(party.writes("anybody?")) == [
        Refused(Refusal.WOULD_EXPOSE, NOBODY)
    ]


async def test_if_all_are_away_and_none_could_read_it_they_are_named(
    party: Party,
) -> None:
    party.around.server.leaves("Hatter")
    await party.around.settle()
    party.cipher.without = {HATTER}

    assert await party.sends(party.writes("anybody?")) == [
        Refused(Refusal.WOULD_EXPOSE, f"{HATTER}: {NO_DEVICE}")
    ]

    party.cipher.without = set()
    await party.around.mucs._secrecy.hopes.look(everywhere=True)
    assert party.around.host.retried == [ROOM]


async def test_a_room_that_hides_its_members_cannot_be_sealed_for(
    party: Party,
) -> None:
    party.around.stay.members.known = False

    assert await party.sends(party.writes("hm")) == [
        Refused(Refusal.WOULD_EXPOSE, NOT_TOLD)
    ]


async def test_a_room_that_is_open_again_is_asked_what_it_is(party: Party) -> None:
    """XEP-0045 §10.2.1: the room says that it is another now, not which."""
    party.around.server.features = FEATURES
    party.around.server.deliver(
        f"<message type='groupchat' from='{MUC}' to='{LISTENER}'>"
        "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>"
        "</message>"
    )
    await party.around.settle()

    assert party.around.mucs.protection(TEA) is Protection.TRANSPORT
    assert await party.sends(party.writes("hm")) == [
        Refused(Refusal.WOULD_EXPOSE, UNFIT)
    ]


async def test_a_room_is_answered_as_it_was_written_to(party: Party) -> None:
    party.around.server.says("Hatter", "", "x1", more=WORDS)
    await party.hears()
    await party.sends(party.writes("sealed", 1, sealed=False))
    party.around.server.says("Hatter", "clear", "x2")
    await party.hears()
    await party.sends(party.writes("clear, too", 2, sealed=False))

    first, second = party.shown()
    assert (revealed(first), revealed(second)) == ("sealed", "")
    assert party.around.host.warned == [(ROOM, CLEAR_NOW)]


async def test_that_a_room_is_sealed_outlives_us(party: Party) -> None:
    party.around.server.says("Hatter", "", more=WORDS)
    await party.hears()

    async with asyncio.TaskGroup() as tasks:
        again = party.around.restart(tasks)
        await again.mucs.start()
        assert again.mucs._secrecy._modes == {MUC}
        again.mucs.close()


async def test_as_long_as_nobody_knows_the_room_it_is_promised(party: Party) -> None:
    unknown = replace(TEA, xmpp="vault@muc.example")

    assert party.around.mucs.protection(TEA) is Protection.END_TO_END
    assert party.around.mucs.protection(unknown) is Protection.END_TO_END


async def test_without_a_real_address_it_is_refused_as_unreadable(
    party: Party,
) -> None:
    party.around.stay.hearing.about = replace(
        party.around.stay.hearing.about, features=frozenset(FEATURES)
    )
    party.around.server.says("Hatter", "", more=WORDS)

    (event,) = await party.hears()

    assert isinstance(event, Unreadable)
    assert event.why is Refusal.ENCRYPTED
    assert party.cipher.opened == []


async def test_whose_devices_can_be_checked_are_the_members(party: Party) -> None:
    await party.sends(party.writes("hello"))

    company = party.around.mucs.company(MUC)

    assert company == (BOT, [HATTER], [BOT, ALICES])
    assert party.around.mucs.company("nowhere@muc.example").people == ()


async def test_without_omemo_nothing_is_promised(party: Party) -> None:
    async with asyncio.TaskGroup() as tasks:
        plain = join(build(tasks))

        assert plain.mucs.protection(TEA) is Protection.TRANSPORT


async def test_one_session_that_breaks_keeps_no_other_from_following(
    party: Party, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await party.sends(party.writes("hello"))
    for name in ("x1", "x2"):
        party.around.server.says("Hatter", "", name, more=WORDS)
    await party.hears()
    opened: list[str] = []

    async def decrypt(*_: object) -> None:
        opened.append("")
        raise ValueError

    monkeypatch.setattr(party.cipher, "decrypt", decrypt)
    await party.around.mucs._secrecy.follow()

    assert len(opened) == 2
    assert "cannot be kept" in caplog.text
    assert not party.around.mucs._secrecy._behind


async def test_what_is_too_large_once_sealed_is_refused(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = party.writes("x" * 1000)
    monkeypatch.setattr("bridge.xmpp.gate.SIZE_BYTES_MAX", 1000)

    assert await party.sends(parcel) == [Refused(Refusal.TOO_LARGE)]
