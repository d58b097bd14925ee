import pytest

from bridge.model.delivery import Refusal
from tests.unit.xmpp.muc.world import (
    JULIET,
    ROMEO,
    TEA,
    VAULT,
    MucWorld,
    condition,
    settled,
)

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
ADMIN = "http://jabber.org/protocol/muc#admin"
OWNER = "http://jabber.org/protocol/muc#owner"
PING = "<ping xmlns='urn:xmpp:ping'/>"


def iq(payload: str, to: str = TEA, kind: str = "get", sender: str = ROMEO) -> str:
    return f"<iq type='{kind}' id='q' from='{sender}' to='{to}'>{payload}</iq>"


def query(space: str, inside: str = "", node: str = "") -> str:
    given = f" node='{node}'" if node else ""
    return f"<query xmlns='{space}'{given}>{inside}</query>"


async def asked(world: MucWorld, xml: str) -> str:
    """Ask, and return the condition of the error, or ``result``."""
    world.written()
    world.comes(xml)
    await settled()
    (answer,) = world.written()
    if answer.get("type") == "result":
        return "result"
    return condition(answer)


@pytest.mark.parametrize("inside", [True, False])
async def test_a_room_describes_itself(world: MucWorld, *, inside: bool) -> None:
    """XEP-0045 §6.4; Conversations asks before every join."""
    if inside:
        await world.joins(ROMEO, "romeo")
        world.written()

    world.comes(iq(query(INFO)))
    await settled()

    (answer,) = world.written()
    (found,) = answer
    identities = [dict(i.attrib) for i in found.iterfind(f"{{{INFO}}}identity")]
    assert identities == [{"category": "conference", "type": "text", "name": "Tea"}]
    features = {f.get("var") for f in found.iterfind(f"{{{INFO}}}feature")}
    assert features >= {
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/muc#stable_id",
        "http://jabber.org/protocol/muc#self-ping-optimization",
        "urn:xmpp:sid:0",
        "urn:xmpp:occupant-id:0",
        "muc_open",
        "muc_public",
        "muc_semianonymous",
        "muc_persistent",
        "muc_unmoderated",
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
    }
    data = "{jabber:x:data}"
    fields = {
        f.get("var"): f.findtext(f"{data}value")
        for f in found.iterfind(f"{data}x/{data}field")
    }
    assert fields["FORM_TYPE"] == "http://jabber.org/protocol/muc#roominfo"
    assert fields["muc#roominfo_subject"] == "all about tea"
    assert fields["muc#roominfo_description"] == "all about tea"
    assert fields["muc#roomconfig_allowpm"] == "none"
    occupants = fields["muc#roominfo_occupants"]
    assert occupants == ("3" if inside else "2")


async def test_a_private_room_tells_strangers_nothing(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo", VAULT)
    world.written()

    world.comes(iq(query(INFO), VAULT, sender=JULIET))
    world.comes(iq(query(INFO), VAULT))

    stranger, member = world.written()
    assert "Vault" not in str([e.attrib for e in stranger.iter()])
    assert "Vault" in str([e.attrib for e in member.iter()])
    assert "muc_membersonly" in str([e.attrib for e in stranger.iter()])


async def test_a_member_sees_a_private_room_that_sleeps(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo", VAULT)
    for room in [world.hosted._rooms.get(VAULT)]:
        assert room is not None
        world.hosted._rooms.close(room)

    assert await asked(world, iq(query(INFO), VAULT)) == "result"
    assert world.hosted._rooms.get(VAULT) is not None


async def test_a_room_that_is_not_there(world: MucWorld) -> None:
    nowhere = "#nowhere#hs.example@bridge.example"

    assert await asked(world, iq(query(INFO), nowhere)) == "item-not-found"
    world.host.broken = True
    assert await asked(world, iq(query(INFO), nowhere)) == "remote-server-timeout"
    world.host.broken = False
    world.host.rooms.pop(TEA)
    world.host.refusals[TEA] = Refusal.UNREACHABLE
    assert await asked(world, iq(query(INFO))) == "item-not-found"


async def test_many_who_ask_at_once_are_all_answered(world: MucWorld) -> None:
    for _ in range(200):
        world.comes(iq(query(INFO)))
    world.comes(iq(query(INFO)))
    await settled()

    kinds = [s.get("type") for s in world.written()]
    assert kinds.count("result") == 200
    assert kinds.count("error") == 1


async def test_self_ping(world: MucWorld) -> None:
    """XEP-0410 §3.2: result if joined, not-acceptable if not; else still joined."""
    mine = f"{TEA}/romeo"
    assert await asked(world, iq(PING, mine)) == "not-acceptable"

    await world.joins(ROMEO, "romeo")
    world.written()

    assert await asked(world, iq(PING, mine)) == "result"
    assert await asked(world, iq(PING, mine, sender=JULIET)) == "not-acceptable"
    assert await asked(world, iq(PING, f"{TEA}/Alice")) == "service-unavailable"
    assert await asked(world, iq(PING, f"{TEA}/gone")) == "item-not-found"
    assert await asked(world, iq(PING)) == "result"


@pytest.mark.parametrize(
    ("payload", "kind", "answer"),
    [
        (query(ITEMS), "get", "result"),
        (query(INFO, node="x-roomuser-item"), "get", "result"),
        (
            query(INFO, node="http://jabber.org/protocol/muc#traffic"),
            "get",
            "item-not-found",
        ),
        ("<vCard xmlns='vcard-temp'/>", "get", "item-not-found"),
        (query("jabber:iq:register"), "get", "feature-not-implemented"),
        (query("jabber:iq:register"), "set", "feature-not-implemented"),
        (query(OWNER), "get", "forbidden"),
        (query(OWNER), "set", "forbidden"),
        (query(ADMIN), "set", "forbidden"),
        (query(ADMIN, "<item affiliation='member'/>"), "get", "forbidden"),
        ("<prefs xmlns='urn:xmpp:mam:2'/>", "get", "service-unavailable"),
        ("<prefs xmlns='urn:xmpp:mam:2'/>", "set", "service-unavailable"),
        ("<a xmlns='u'/><b xmlns='u'/>", "get", "bad-request"),
        ("", "get", "bad-request"),
    ],
)
async def test_other_questions(
    world: MucWorld, payload: str, kind: str, answer: str
) -> None:
    assert await asked(world, iq(payload, kind=kind)) == answer
    await world.joins(ROMEO, "romeo")
    assert await asked(world, iq(payload, kind=kind)) == answer


async def test_an_occupants_vcard_is_not_there(world: MucWorld) -> None:
    await world.joins(ROMEO, "romeo")

    card = iq("<vCard xmlns='vcard-temp'/>", f"{TEA}/Alice")
    assert await asked(world, card) == "item-not-found"


async def test_answers_and_nameless_questions_mean_nothing(world: MucWorld) -> None:
    world.comes(iq(PING, kind="result"))
    world.comes(iq(PING, kind="error"))
    world.comes(iq(PING, kind="nonsense"))
    world.comes(f"<iq type='get' from='{ROMEO}' to='{TEA}'>{PING}</iq>")

    assert world.written() == []


async def test_members_of_a_private_room_are_listed(world: MucWorld) -> None:
    """XEP-0045 §9.5: a client asks for whom it has to encrypt."""
    await world.joins(ROMEO, "romeo", VAULT)
    world.hosted._rooms.set_standing(VAULT, "juliet@capulet.lit", "member")

    lists = {}
    for affiliation in ("owner", "admin", "member"):
        world.written()
        world.comes(iq(query(ADMIN, f"<item affiliation='{affiliation}'/>"), VAULT))
        (answer,) = world.written()
        lists[affiliation] = [i.get("jid") for i in answer.iter(f"{{{ADMIN}}}item")]

    assert lists == {
        "owner": [],
        "admin": [],
        "member": ["romeo@montague.lit", "juliet@capulet.lit"],
    }
    outcasts = iq(query(ADMIN, "<item affiliation='outcast'/>"), VAULT)
    assert await asked(world, outcasts) == "forbidden"
