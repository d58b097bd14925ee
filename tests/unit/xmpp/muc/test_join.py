from dataclasses import replace

import pytest

from bridge.model.events import Join, Leave, Rename
from bridge.model.records import Occupant
from tests.unit.xmpp.muc.vault import Vault
from tests.unit.xmpp.muc.world import (
    ALICE,
    JULIET,
    ROMEO,
    TEA,
    VAULT,
    MucWorld,
    X,
    codes,
    condition,
    item,
    name,
    nick,
)

PHONE = "romeo@montague.lit/phone"


async def test_a_join_is_answered_in_order(world: MucWorld) -> None:
    """XEP-0045 §7.1: presence of others, own presence, history, subject."""
    await world.joins(ROMEO, "romeo")
    await world.says(next(iter(world.host.rooms[TEA].members)).person, "hello")
    world.written()

    await world.joins(JULIET, "juliet")

    seen = world.written(JULIET)
    assert [name(s) for s in seen] == ["presence"] * 4 + ["message"] * 2
    assert [nick(s) for s in seen[:3]] == ["Alice", "Bob", "romeo"]
    assert nick(seen[3]) == "juliet"
    assert codes(seen[3]) == {"110"}
    assert seen[4].find("{urn:xmpp:delay}delay") is not None
    assert [child.tag.rpartition("}")[2] for child in seen[5]] == ["subject"]


async def test_a_subject_ends_the_join_even_if_it_is_empty(world: MucWorld) -> None:
    """XEP-0045 §7.2.15: "the room MUST send a subject even if it is empty"."""
    world.host.make(VAULT)
    world.host.portals.clear()

    await world.joins(ROMEO, "romeo", VAULT)

    last = world.written(ROMEO)[-1]
    assert last.get("from") == VAULT
    assert [child.text for child in last] == [None]


async def test_members_have_affiliations_by_their_rank(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")

    alice, bob, me, _ = world.written(ROMEO)
    assert item(alice).attrib == {"affiliation": "owner", "role": "moderator"}
    assert item(bob).attrib == {"affiliation": "member", "role": "participant"}
    assert item(me).attrib == {"affiliation": "none", "role": "participant"}


async def test_the_true_name_is_told_if_the_nick_is_another(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")

    alice, bob, *_ = world.written(ROMEO)
    assert alice.find("{http://jabber.org/protocol/nick}nick") is None
    assert bob.findtext("{http://jabber.org/protocol/nick}nick") == "Bob \U0001f41d"


async def test_a_private_room_shows_jids_and_says_so(world: MucWorld) -> None:
    """XEP-0045 §7.2.4: status 100 in a non-anonymous room."""
    await world.joins(ROMEO, "romeo", VAULT)

    alice, _, me, _ = world.written(ROMEO)
    assert item(alice).get("jid") == "alice_hs.example@bridge.example"
    assert codes(me) == {"100", "110"}
    assert item(me).get("jid") == "romeo@montague.lit"


async def test_a_nick_that_had_to_be_changed_is_said_so(world: MucWorld) -> None:
    """XEP-0045 §7.2.3: status 210."""
    await world.joins(ROMEO, "romeo")
    world.written()

    await world.joins(PHONE, "someone else")

    *_, me, _ = world.written(PHONE)
    assert nick(me) == "romeo"
    assert codes(me) == {"110", "210"}


async def test_two_devices_sit_behind_one_nick(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    await world.joins(PHONE, "romeo")
    world.written()

    world.comes(f"<presence type='unavailable' from='{ROMEO}' to='{TEA}/romeo'/>")

    seen = world.written()
    assert [(s.get("to"), s.get("type")) for s in seen] == [(ROMEO, "unavailable")]
    world.comes(f"<presence type='unavailable' from='{PHONE}' to='{TEA}/romeo'/>")
    assert {s.get("to") for s in world.written()} == {PHONE, JULIET}


async def test_somebody_elses_nick_is_a_conflict(world: MucWorld) -> None:
    """XEP-0045 §7.2.8: conflict, from the occupant JID that was asked for."""
    await world.joins(ROMEO, "Alice")
    await world.joins(JULIET, "alice")

    seen = world.written()
    assert [condition(s) for s in seen] == ["conflict"] * 2
    assert [s.get("from") for s in seen] == [f"{TEA}/Alice", f"{TEA}/alice"]


async def test_a_join_without_a_nick_is_refused(world: MucWorld) -> None:
    """XEP-0045 §7.2.1: "jid-malformed"."""
    await world.joins(ROMEO, "romeo")
    world.written()
    world.comes(f"<presence from='{JULIET}' to='{TEA}'>{X}</presence>")

    assert [condition(s) for s in world.written()] == ["jid-malformed"]


async def test_others_see_who_comes_and_goes(world: MucWorld) -> None:
    """XEP-0045 §7.14."""
    await world.joins(JULIET, "juliet")
    world.written()
    await world.joins(ROMEO, "romeo")
    come = world.written(JULIET)

    world.comes(
        f"<presence type='unavailable' from='{ROMEO}' to='{TEA}/romeo'>"
        "<status>off</status></presence>"
    )

    gone = world.written()
    assert [nick(s) for s in come] == ["romeo"]
    assert [(s.get("to"), codes(s)) for s in gone] == [
        (ROMEO, {"110"}),
        (JULIET, set()),
    ]
    assert {item(s).get("role") for s in gone} == {"none"}
    assert gone[1].findtext("{jabber:component:accept}status") == "off"


async def test_matrix_learns_who_comes_and_goes(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    await world.joins(PHONE, "romeo")
    world.comes(f"<presence from='{ROMEO}' to='{TEA}/Romeo M'/>")
    for device in (ROMEO, PHONE):
        world.comes(f"<presence type='unavailable' from='{device}' to='{TEA}/x'/>")
    await world.carried()

    assert [type(e) for e in world.events] == [Join, Rename, Leave]
    assert [e.name for e in world.events[:2]] == ["romeo", "Romeo M"]  # type: ignore[union-attr]
    assert {e.sender.id for e in world.events} == {"romeo@montague.lit"}  # type: ignore[union-attr]


async def test_a_change_of_nick_is_shown_to_all(world: MucWorld) -> None:
    """XEP-0045 §7.6: unavailable with 303 and the new nick, then available."""
    await world.joins(JULIET, "juliet")
    await world.joins(ROMEO, "romeo")
    world.written()

    world.comes(f"<presence from='{ROMEO}' to='{TEA}/montague'/>")

    seen = world.written()
    mine = [s for s in seen if s.get("to") == ROMEO]
    theirs = [s for s in seen if s.get("to") == JULIET]
    assert [(nick(s), codes(s)) for s in mine] == [
        ("romeo", {"303", "110"}),
        ("montague", {"110"}),
    ]
    assert [(nick(s), codes(s)) for s in theirs] == [
        ("romeo", {"303"}),
        ("montague", set()),
    ]
    assert item(mine[0]).get("nick") == "montague"


async def test_a_change_to_a_taken_nick_is_a_conflict(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    world.comes(f"<presence from='{ROMEO}' to='{TEA}/Bob'/>")

    assert [condition(s) for s in world.written()] == ["conflict"]


async def test_a_status_is_shown_once(world: MucWorld) -> None:
    """XEP-0045 §7.7; the same presence twice changes nothing."""
    await world.joins(ROMEO, "romeo")
    world.written()
    away = f"<presence from='{ROMEO}' to='{TEA}/romeo'><show>away</show></presence>"

    world.comes(away)
    world.comes(away)

    shown = world.written()
    assert [s.findtext("{jabber:component:accept}show") for s in shown] == ["away"]


async def test_who_lost_their_state_is_told_everything_again(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    first = world.written()

    await world.joins(ROMEO, "romeo")

    again = world.written()
    assert [nick(s) for s in again] == [nick(s) for s in first]
    assert await world.store.load(Occupant) == [Occupant(TEA, ROMEO, "romeo")]


async def test_a_presence_from_outside_is_no_join(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")
    world.written()

    world.comes(f"<presence from='{JULIET}' to='{TEA}/juliet'/>")
    world.comes(f"<presence type='probe' from='{JULIET}' to='{TEA}/juliet'/>")
    world.comes(f"<presence type='unavailable' from='{JULIET}' to='{TEA}/juliet'/>")

    assert [condition(s) for s in world.written()] == ["item-not-found"]


async def test_whoever_cannot_be_reached_is_taken_out(world: MucWorld) -> None:
    """XEP-0045 §18.? and facts: bounces of the kickable kind."""
    await world.joins(ROMEO, "romeo")
    await world.joins(JULIET, "juliet")
    world.written()
    bounce = (
        "<message type='error' from='{}' to='{}'><error type='cancel'>"
        "<{} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    )

    world.comes(bounce.format(ROMEO, TEA, "not-allowed"))
    world.comes(bounce.format(ROMEO, TEA, "recipient-unavailable"))
    world.comes(bounce.format(ROMEO, TEA, "recipient-unavailable"))

    assert [(s.get("to"), nick(s)) for s in world.written()] == [(JULIET, "romeo")]
    assert [o.jid for o in await world.store.load(Occupant)] == [JULIET]


async def test_a_members_only_room_lets_only_members_in(world: MucWorld) -> None:
    """XEP-0045 §7.2.6: "registration-required"; whom Matrix lets in is a member."""
    await world.joins(ROMEO, "romeo", VAULT)
    world.written()

    await world.joins(JULIET, "juliet", VAULT)

    assert [condition(s) for s in world.written()] == ["registration-required"]


async def test_too_many_devices_are_refused(world: MucWorld) -> None:
    for number in range(33):
        await world.joins(f"romeo@montague.lit/{number}", "romeo")

    assert condition(world.written()[-1]) == "resource-constraint"


async def test_what_cannot_be_written_of_a_status_is_left_out(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo", x=f"{X}<status größe='1'>hi</status>")

    assert nick(world.written(ROMEO)[2]) == "romeo"


async def test_who_leaves_a_private_room_stays_a_member(vault: Vault) -> None:
    """XEP-0045 §5.2: an affiliation outlives the visit; Matrix would ask anew."""
    vault.around.comes(f"<presence type='unavailable' from='{ROMEO}' to='{VAULT}/x'/>")

    assert vault.around.inbound.arrivals == []
    assert vault.around.hosted._rooms.standing(VAULT, "romeo@montague.lit") == "member"
    (seen,) = vault.around.written(JULIET)
    assert (seen.get("type"), item(seen).get("affiliation")) == (
        "unavailable",
        "member",
    )


@pytest.mark.parametrize(("by", "nick_of"), [(ALICE.id, "Alice"), ("@gone:hs", "")])
async def test_a_topic_is_of_who_set_it_and_when(
    world: MucWorld, by: str, nick_of: str
) -> None:
    """XEP-0045 §7.2.15; Gajim says "Changed by Unknown", now, of anything else."""
    about = world.host.rooms[TEA]
    world.host.rooms[TEA] = replace(about, topic_by=by, topic_at_ms=1_777_636_800_000)

    await world.joins(ROMEO, "romeo")

    last = world.written(ROMEO)[-1]
    assert (nick(last), last.get("from", "").partition("/")[0]) == (nick_of, TEA)
    (since,) = last.iterfind("{urn:xmpp:delay}delay")
    assert since.attrib == {"from": TEA, "stamp": "2026-05-01T12:00:00.000Z"}
