import pytest

from bridge.model.delivery import (
    Delivered,
    Later,
    Refusal,
    Refused,
    Unreadable,
)
from bridge.model.events import Protection
from bridge.model.places import Network, Room
from bridge.xmpp.endtoend import Empty, NotForUs, Opened
from bridge.xmpp.muc.messages import Spoken
from bridge.xmpp.sealed import AGAIN_S
from tests.unit.xmpp.muc.cipher import (
    BROKEN,
    FALLBACK,
    NO_DEVICE,
    REPEATED,
    revealed,
    secret,
)
from tests.unit.xmpp.muc.vault import ALICES, JULIETS, RELAY, ROMEOS, Vault
from tests.unit.xmpp.muc.world import (
    DOMAIN,
    JULIET,
    ROMEO,
    VAULT,
    build,
    condition,
    nick,
    settled,
    words,
)


async def test_what_came_sealed_is_opened_once_as_the_relay(vault: Vault) -> None:
    await vault.hears(secret("soft!", RELAY, JULIETS))

    (event,) = vault.around.events
    assert isinstance(event, Spoken)
    assert event.content.body.plain == "soft!"
    assert event.protection is Protection.END_TO_END
    ((passage, key),) = vault.cipher.opened
    assert (passage.account, passage.peer, passage.to) == (RELAY, ROMEOS, VAULT)
    assert key


async def test_others_are_shown_what_came_as_it_came(vault: Vault) -> None:
    await vault.hears(secret("soft!", RELAY, JULIETS))

    shown = vault.around.written()
    assert [s.get("to") for s in shown] == [ROMEO, JULIET]
    assert {revealed(s) for s in shown} == {"soft!"}
    assert {words(s) for s in shown} == {FALLBACK}
    assert {s.get("id") for s in shown} == {"m1"}


async def test_what_needs_no_words_is_read_as_well(vault: Vault) -> None:
    """Converse 14 sends no fallback with OMEMO 2."""
    await vault.hears(secret("soft!", RELAY).partition("<body>")[0])

    (event,) = vault.around.events
    assert isinstance(event, Spoken)


@pytest.mark.parametrize("opened", [Empty(), NotForUs(empty=True)])
async def test_what_only_moves_a_session_on_is_shown_to_the_others(
    vault: Vault, opened: Opened
) -> None:
    vault.cipher.fails = opened

    await vault.hears("<encrypted xmlns='eu.siacs.conversations.axolotl'/>")

    assert vault.around.events == [None]
    (later,) = vault.around.host.sent_later
    assert b"<encrypted" in later[1].data


async def test_that_somebody_opts_out_is_told(vault: Vault) -> None:
    vault.cipher.fails = Empty("they do not want encrypted messages any more")

    await vault.hears(secret("x", RELAY))

    (told,) = vault.around.host.warned
    assert told == "romeo: they do not want encrypted messages any more"


@pytest.mark.parametrize(
    "opened", [BROKEN, NotForUs(empty=False, words="it is broken")]
)
async def test_of_what_cannot_be_read_its_sender_hears(
    vault: Vault, opened: Opened
) -> None:
    vault.cipher.fails = opened
    await vault.hears(secret("soft!", JULIETS))

    (event,) = vault.around.events
    assert isinstance(event, Unreadable)
    assert (event.why, event.detail) == (Refusal.UNDECIPHERABLE, "it is broken")
    refused = Refused(event.why, event.detail)
    await vault.around.sends(vault.around.hosted.settle(event.receipt, refused))
    (answer,) = vault.around.written()
    assert condition(answer) == "not-acceptable"


async def test_what_was_opened_before_is_not_shown_twice(vault: Vault) -> None:
    vault.cipher.fails = REPEATED
    await vault.hears(secret("soft!", RELAY))

    assert vault.around.events == [None]
    assert vault.around.host.sent_later == []


async def test_two_that_are_called_the_same_are_told_apart_by_what_is_sealed(
    vault: Vault,
) -> None:
    for text in ("one", "two"):
        vault.around.comes(
            f"<message type='groupchat' from='{ROMEO}' to='{VAULT}' id='same'>"
            f"{secret(text, RELAY)}</message>"
        )

    assert len({arrival.key for arrival in vault.around.inbound.arrivals}) == 2


async def test_a_puppet_seals_with_its_own_device_for_all_members(
    vault: Vault,
) -> None:
    vault.around.hosted._rooms.set_standing(VAULT, "nurse@capulet.lit", "member")

    assert await vault.sends(vault.says("hello & <good> day")) == [Delivered()]

    shown = vault.around.written()
    assert [s.get("to") for s in shown] == [ROMEO, JULIET]
    assert {revealed(s) for s in shown} == {"hello & <good> day"}
    assert {(nick(s), s.get("id"), words(s)) for s in shown} == {
        ("Alice", "$said1", FALLBACK)
    }
    tags = [part.tag for part in shown[0]]
    assert len(tags) == len(set(tags))
    assert "{urn:xmpp:sid:0}stanza-id" in tags
    assert "{urn:xmpp:occupant-id:0}occupant-id" in tags
    ((passage, recipients),) = vault.cipher.sealed
    assert (passage.account, passage.to) == (ALICES, VAULT)
    assert recipients == (ROMEOS, JULIETS, "nurse@capulet.lit")


async def test_what_is_sealed_is_on_disk_and_is_all_that_is_remembered(
    vault: Vault,
) -> None:
    await vault.sends(vault.says("a secret"))

    (kept,) = vault.around.store.archived
    assert b"a secret" not in kept.wire.data
    assert b"<encrypted" in kept.wire.data
    again = build(vault.around.hosted._means.tasks, vault.around.store)
    again.host.portals.update(vault.around.host.portals)
    await again.hosted.start()
    await again.hosted.up()
    await settled()
    again.hosted._rooms.set_standing(VAULT, "nurse@capulet.lit", "member")
    await again.joins("nurse@capulet.lit/x", "nurse", VAULT)
    shown = [s for s in again.written("nurse@capulet.lit/x") if words(s)]
    assert [revealed(s) for s in shown] == ["a secret"]


async def test_nothing_is_sealed_twice(vault: Vault) -> None:
    parcel = vault.says("a secret")
    vault.around.stream.passes = False
    assert await vault.sends(parcel) == [Later()]
    first = vault.around.stream.data.copy()
    vault.around.stream.passes = True
    vault.around.stream.data.clear()

    assert await vault.sends(parcel) == [Delivered()]
    (kept,) = vault.around.store.archived
    assert await vault.sends(kept) == [Delivered()]

    assert vault.around.stream.data == first * 2
    assert len(vault.cipher.sealed) == 1
    assert not vault.around.hosted._secrecy._final


async def test_it_is_refused_if_somebody_who_is_there_could_not_read_it(
    vault: Vault,
) -> None:
    vault.cipher.without = {JULIETS}

    (outcome,) = await vault.sends(vault.says("a secret"))

    assert isinstance(outcome, Refused)
    assert outcome.why is Refusal.WOULD_EXPOSE
    assert outcome.detail == f"{JULIETS}: they have no device that uses OMEMO"
    assert vault.around.stream.data == []


async def test_what_was_refused_is_tried_again_once_all_can_read_it(
    vault: Vault,
) -> None:
    hopes = vault.around.hosted._secrecy.hopes
    vault.cipher.without = {JULIETS}
    await vault.sends(vault.says("a secret"))
    vault.cipher.without = set()
    await hopes.look(everywhere=False)
    assert vault.around.host.retried == []

    await vault.enters(f"{JULIETS}/tablet")
    await hopes.look(everywhere=False)

    assert vault.around.host.retried == [Room(Network.XMPP, VAULT)]


async def test_it_leaves_in_the_clear_if_that_was_allowed(vault: Vault) -> None:
    vault.cipher.without = {JULIETS}
    vault.encrypts(exposed=True)

    assert await vault.sends(vault.says("no secret")) == [Delivered()]

    assert [words(s) for s in vault.around.written(JULIET)] == ["no secret"]


async def test_members_who_are_away_and_have_no_device_hold_up_nobody(
    vault: Vault,
) -> None:
    for bare in ("nurse@capulet.lit", "tybalt@capulet.lit"):
        vault.around.hosted._rooms.set_standing(VAULT, bare, "member")
    vault.cipher.without = {"nurse@capulet.lit"}
    vault.cipher.away = {"tybalt@capulet.lit"}

    assert await vault.sends(vault.says("a secret")) == [Delivered()]

    assert [s for _, s in vault.cipher.sealed] == [(ROMEOS, JULIETS)]


async def test_what_none_of_those_who_are_all_away_could_read_is_refused_in_words(
    empty: Vault,
) -> None:
    for bare in (ROMEOS, JULIETS):
        empty.around.hosted._rooms.set_standing(VAULT, bare, "member")
    empty.cipher.without, empty.cipher.away = {ROMEOS}, {JULIETS}

    (outcome,) = await empty.sends(empty.says("a secret"))

    detail = f"{JULIETS}: their server is away; {ROMEOS}: {NO_DEVICE}"
    assert outcome == Refused(Refusal.WOULD_EXPOSE, detail)


async def test_it_is_tried_again_once_one_of_them_can_read_it(empty: Vault) -> None:
    hopes = empty.around.hosted._secrecy.hopes
    for bare in (ROMEOS, JULIETS):
        empty.around.hosted._rooms.set_standing(VAULT, bare, "member")
    empty.cipher.without = {ROMEOS, JULIETS}
    parcel = empty.says("a secret")
    await empty.sends(parcel)
    await hopes.look(everywhere=True)
    assert empty.around.host.retried == []

    empty.cipher.without = {ROMEOS}
    await hopes.look(everywhere=True)
    outcomes = await empty.sends(parcel)

    assert empty.around.host.retried == [Room(Network.XMPP, VAULT)]
    assert outcomes == [Delivered()]
    shown = await empty.enters(JULIET)
    assert [revealed(s) for s in shown if words(s)] == ["a secret"]


@pytest.mark.parametrize("sealed", [True, False])
async def test_what_may_leave_in_the_clear_is_history_for_those_who_are_all_away(
    empty: Vault, *, sealed: bool
) -> None:
    empty.around.hosted._rooms.set_standing(VAULT, ROMEOS, "member")
    empty.around.hosted._rooms.sealed.add(VAULT)
    empty.cipher.away = {ROMEOS}
    empty.encrypts(exposed=sealed)

    assert await empty.sends(empty.says("no secret", sealed=sealed)) == [Delivered()]

    shown = await empty.enters(ROMEO)
    assert "no secret" in [words(s) for s in shown]


async def test_what_may_be_sealed_later_waits_and_so_does_all_after_it(
    vault: Vault,
) -> None:
    first = vault.says("one")
    await vault.sends(first)
    vault.around.written()
    vault.cipher.away = {JULIETS}
    clear = vault.kept(vault.around.hosted.notice(Room(Network.XMPP, VAULT), "x")[0])

    outcomes = await vault.sends(clear, vault.says("two", number=2), clear)

    assert outcomes == [Delivered(), Later(AGAIN_S)]
    assert [words(s) for s in vault.around.written(JULIET)] == ["x"]


async def test_whose_devices_can_be_checked_are_the_members(vault: Vault) -> None:
    vault.around.hosted._rooms.set_standing(VAULT, "nurse@capulet.lit", "member")

    company = vault.around.hosted.company(VAULT)

    assert company.reader == RELAY
    assert company.people == [ROMEOS, JULIETS, "nurse@capulet.lit"]
    assert ALICES in company.ours
    assert vault.around.hosted.company(f"#nowhere@{DOMAIN}").people == []


async def test_to_an_empty_room_nothing_is_left_in_the_clear(empty: Vault) -> None:
    assert await empty.sends(empty.says("a secret")) == [Delivered()]

    (kept,) = empty.around.store.archived
    assert b"a secret" not in kept.wire.data
    assert empty.around.stream.data == []
    shown = await empty.enters(ROMEO)
    assert [s for s in shown if words(s)] == []


async def test_members_who_are_away_read_it_when_they_come(empty: Vault) -> None:
    empty.around.hosted._rooms.set_standing(VAULT, ROMEOS, "member")

    await empty.sends(empty.says("a secret"))

    shown = await empty.enters(ROMEO)
    assert [revealed(s) for s in shown if words(s)] == ["a secret"]
