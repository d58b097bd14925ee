import pytest

from bridge.model.delivery import Refusal
from tests.unit.xmpp.muc.world import (
    JULIET,
    ROMEO,
    STANZAS,
    TEA,
    VAULT,
    MucWorld,
    X,
    codes,
    condition,
    nick,
    settled,
)


def knock(jid: str, as_nick: str, room: str = TEA) -> str:
    return f"<presence from='{jid}' to='{room}/{as_nick}'>{X}</presence>"


@pytest.mark.parametrize(
    ("why", "answer"),
    [
        (Refusal.NO_SUCH_ROOM, "item-not-found"),
        (Refusal.NOT_ALLOWED, "forbidden"),
        (Refusal.NOT_IN_ROOM, "registration-required"),
        (Refusal.UNREACHABLE, "remote-server-timeout"),
        (Refusal.REJECTED, "not-allowed"),
    ],
)
async def test_a_room_that_does_not_open_says_why(
    world: MucWorld, why: Refusal, answer: str
) -> None:
    world.host.refusals[TEA] = why

    await world.joins(ROMEO, "romeo")

    (refused,) = world.written()
    assert condition(refused) == answer
    assert refused.get("from") == f"{TEA}/romeo"
    assert why.value in "".join(refused.itertext())


async def test_who_asks_while_the_room_opens_is_answered_once_they_are_in(
    world: MucWorld,
) -> None:
    """Profanity asks right behind its presence for whom to encrypt (RFC 6120 §10.1)."""
    ask = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
    world.host.gate.clear()
    world.comes(knock(ROMEO, "romeo"))
    world.comes(f"<iq type='get' id='1' from='{ROMEO}' to='{TEA}'>{ask}</iq>")
    world.comes(f"<iq type='get' id='2' from='{JULIET}' to='{TEA}'>{ask}</iq>")
    await settled()
    early = world.written()

    world.host.gate.set()
    await settled()

    assert ROMEO not in {stanza.get("to") for stanza in early}
    kinds = [s.tag.rpartition("}")[2] for s in world.written(ROMEO)]
    assert kinds.index("iq") > kinds.index("presence")


async def test_those_who_come_while_a_room_opens_keep_their_order(
    world: MucWorld,
) -> None:
    world.host.gate.clear()
    world.comes(knock(ROMEO, "romeo"))
    world.comes(knock(JULIET, "juliet"))
    world.comes(
        f"<message type='groupchat' from='{ROMEO}' to='{TEA}' id='1'>"
        "<body>hello</body></message>"
    )
    world.comes(f"<presence type='unavailable' from='{JULIET}' to='{TEA}/juliet'/>")
    await settled()
    early = world.written()

    world.host.gate.set()
    await settled()

    assert early == []
    assert world.host.opened == [(TEA, "romeo@montague.lit", "romeo")]
    mine = [(nick(s), s.get("type"), codes(s)) for s in world.written(ROMEO)]
    assert mine[2:] == [
        ("romeo", None, {"110"}),
        ("", "groupchat", set()),
        ("juliet", None, set()),
        ("juliet", "unavailable", set()),
    ]
    assert len(world.inbound.arrivals) == 4


async def test_one_who_may_not_come_in_stops_nobody_else(world: MucWorld) -> None:
    world.host.gate.clear()
    world.host.refusals[TEA] = Refusal.NOT_ALLOWED
    world.comes(knock(ROMEO, "romeo"))
    world.comes(knock(JULIET, "juliet"))
    world.host.gate.set()
    await settled()

    assert [condition(s) for s in world.written()] == ["forbidden"] * 2
    assert [guest for _, guest, _ in world.host.opened] == [
        "romeo@montague.lit",
        "juliet@capulet.lit",
    ]


async def test_a_line_has_an_end(world: MucWorld) -> None:
    world.host.gate.clear()
    world.comes(knock(ROMEO, "romeo"))
    for _ in range(1001):
        world.comes(knock(JULIET, "juliet"))

    assert [condition(s) for s in world.written()] == ["resource-constraint"]
    world.host.gate.set()
    await settled()


async def test_too_many_rooms_at_once_are_refused(world: MucWorld) -> None:
    world.host.gate.clear()
    for number in range(501):
        world.comes(knock(ROMEO, "romeo", f"#r{number}#hs.example@bridge.example"))

    assert [condition(s) for s in world.written()] == ["resource-constraint"]
    world.host.gate.set()
    await settled()


async def test_another_address_of_a_room_leads_to_the_first(world: MucWorld) -> None:
    """RFC 6120 §8.3.3.5: gone, with the address that is right."""
    world.host.portals[VAULT] = world.host.make(TEA)

    await world.joins(ROMEO, "romeo", VAULT)

    (answer,) = world.written()
    assert condition(answer) == "gone"
    assert next(answer.iter(f"{STANZAS}gone")).text == f"xmpp:{TEA}?join"


@pytest.mark.parametrize(
    ("room", "answer"),
    [
        ("#te!a#hs.example@bridge.example", "gone"),
        ("#tea@bridge.example", "item-not-found"),
        ("tea@bridge.example", "item-not-found"),
    ],
)
async def test_an_address_has_one_spelling(
    world: MucWorld, room: str, answer: str
) -> None:
    await world.joins(ROMEO, "romeo", room)

    assert [condition(s) for s in world.written()] == [answer]
    assert world.host.opened == []


async def test_no_nick_and_no_join_are_told_at_once(world: MucWorld) -> None:
    world.comes(f"<presence from='{ROMEO}' to='{TEA}'>{X}</presence>")
    world.comes(f"<presence from='{ROMEO}' to='{TEA}/romeo'/>")

    assert [condition(s) for s in world.written()] == [
        "jid-malformed",
        "item-not-found",
    ]


async def test_whatever_breaks_the_guest_gets_an_answer(world: MucWorld) -> None:
    world.host.broken = True

    await world.joins(ROMEO, "romeo")

    assert [condition(s) for s in world.written()] == ["remote-server-timeout"]
