"""People who want too much, and circles: floods, blocks, loops, rights."""

import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree.ElementTree import tostring

import pytest

from bridge.core.echoes import ECHOES_MAX
from bridge.core.guard import PAUSED, Limits
from bridge.matrix.codec.message import HOPS
from bridge.model.delivery import Refusal
from bridge.model.events import HOPS_MAX
from bridge.model.places import Network, Person, Room
from bridge.model.records import Portal
from tests.homeserver import Event
from tests.hostile.stage import HOSTED, ROMEO, Stage, X, condition, staged
from tests.unit.matrix.world import ALICE, BOT, GHOST, HALL
from tests.unit.xmpp.elsewhere import DOMAIN

PUPPET = f"alice_hs@{DOMAIN}"
EVE = "@eve:evil.example"
SPAMMER = "spammer@spam.example/x"
STRICT = Limits(
    requests_per_minute=3,
    messages_per_minute=10,
    blocked=frozenset(("spam.example", EVE, "!closed:hs")),
)


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, STRICT) as made:
        yield made


def invited(stage: Stage, room: str, who: str, by: str = ALICE) -> Event:
    stage.server.add(room, by, "m.room.create", {}, state_key="")
    joined = {"membership": "join"}
    stage.server.add(room, by, "m.room.member", joined, state_key=by)
    content = {"membership": "invite", "is_direct": True}
    return stage.server.add(room, by, "m.room.member", content, state_key=who)


async def test_e77_a_thousand_invitations_are_mostly_declined(strict: Stage) -> None:
    """E77, S36: who asks too often is turned away, and others are not."""
    ghosts = [f"@_xmpp_user{n}=40capulet.lit:hs" for n in range(60)]
    for number, ghost in enumerate(ghosts):
        await strict.happens(invited(strict, f"!flood{number}:hs", ghost))

    stands = [
        strict.server.membership(f"!flood{number}:hs", ghost)
        for number, ghost in enumerate(ghosts)
    ]
    assert stands.count("join") == 6
    assert stands.count("leave") == 54
    await strict.happens(invited(strict, "!bob:hs", GHOST, "@bob:hs"))
    assert strict.server.membership("!bob:hs", GHOST) == "join"
    await strict.goes_on()


async def test_e77_the_bot_does_not_come_to_everybody_either(strict: Stage) -> None:
    """E77, S39."""
    for number in range(20):
        await strict.happens(invited(strict, f"!flood{number}:hs", BOT))
    await strict.happens(invited(strict, "!eve:hs", BOT, EVE))

    stands = [strict.server.membership(f"!flood{n}:hs", BOT) for n in range(20)]
    assert stands.count("join") <= 6
    assert strict.server.membership("!eve:hs", BOT) == "leave"


async def test_s36_nobody_opens_chats_without_end(strict: Stage) -> None:
    for number in range(20):
        strict.server.profiles[f"@user{number}:hs"] = {}
        await strict.comes(
            f"<message type='chat' from='{ROMEO}' to='user{number}_hs@{DOMAIN}'"
            f" id='{number}'><body>buy!</body></message>"
        )

    refused = [condition(a) for a in strict.written() if a.get("type") == "error"]
    assert len(list(strict.directory)) <= 7
    assert refused.count("policy-violation") >= 14
    await strict.goes_on()


async def test_s36_nobody_has_rooms_opened_without_end(strict: Stage) -> None:
    for number in range(20):
        await strict.comes(
            f"<presence from='{ROMEO}' to='#room{number}#hs@{DOMAIN}/R'>{X}</presence>"
        )

    answers = strict.written("presence")
    refused = [condition(a) for a in answers if a.get("type") == "error"]
    assert refused.count("policy-violation") >= 14
    assert len(strict.server.asked("directory/room")) <= 6
    await strict.goes_on()


async def test_s37_a_flood_is_refused_in_words_and_drowns_nobody(
    strict: Stage,
) -> None:
    """S37: the sender is told, once a minute where all read it."""
    for number in range(100):
        await strict.alice_says(f"flood {number}")
    await strict.romeo_says("and I?", "1")

    assert strict.heard() == [*(f"flood {n}" for n in range(20)), "and I?"]
    told = [words for words in strict.seen() if "too often" in words]
    assert len(told) == 2
    assert strict.seen()[-1] == "and I?"


async def test_s37_without_a_limit_all_of_a_flood_arrives(stage: Stage) -> None:
    """S37, S35: by default nothing is refused; lanes keep one room from others."""
    await stage.happens(
        *(stage.server.say(HALL, ALICE, f"flood {n}") for n in range(500))
    )

    assert stage.heard() == [f"flood {n}" for n in range(500)]


@pytest.mark.parametrize("to", [HOSTED, PUPPET])
async def test_s39_who_is_blocked_is_heard_by_nobody(strict: Stage, to: str) -> None:
    kind = "groupchat" if to == HOSTED else "chat"
    await strict.comes(
        f"<presence from='{SPAMMER}' to='{HOSTED}/Spam'>{X}</presence>",
        f"<message type='{kind}' from='{SPAMMER}' to='{to}' id='1'>"
        "<body>buy!</body></message>",
    )

    (answer,) = strict.written("message", SPAMMER)
    assert condition(answer) in ("forbidden", "not-acceptable")
    assert strict.seen() == []
    assert not any("spam" in user for user in strict.server.users)
    await strict.goes_on()


async def test_s39_who_is_blocked_on_matrix_is_heard_by_nobody(strict: Stage) -> None:
    content = {"membership": "join", "displayname": "Eve"}
    came = strict.server.add(HALL, EVE, "m.room.member", content, state_key=EVE)

    await strict.happens(came, strict.server.say(HALL, EVE, "buy!"))

    assert strict.heard() == []
    assert strict.written("presence") == []
    await strict.goes_on()


async def test_s39_a_blocked_room_is_not_opened(strict: Stage) -> None:
    guest = Person(Network.XMPP, "romeo@montague.lit")
    closed = Room(Network.XMPP, f"!closed#hs@{DOMAIN}")
    muc = Room(Network.XMPP, "any@muc.spam.example")

    assert await strict.hub.open_hosted(closed, guest, "x") is Refusal.NOT_ALLOWED
    assert await strict.hub.open_foreign(muc) is Refusal.NOT_ALLOWED


async def test_e84_what_we_carry_says_so(stage: Stage) -> None:
    """E84, S38."""
    await stage.alice_says("to xmpp", **{HOPS: 1})
    await stage.romeo_says("to matrix", "1")

    (said,) = [s for s in stage.written() if s.find("{*}body") is not None][:1]
    hops = said.find("{xmpp-matrix-bridge:hops:0}hops")
    assert hops is not None
    assert hops.get("count") == "2"
    last = stage.server.rooms[HALL].events[-1]
    assert last["content"][HOPS] == 1


async def test_e84_what_has_crossed_too_often_crosses_no_more(stage: Stage) -> None:
    """E84, S38: in silence, or the answer would go in circles as well."""
    count = f"<hops xmlns='xmpp-matrix-bridge:hops:0' count='{HOPS_MAX}'/>"

    await stage.alice_says("circle", **{HOPS: HOPS_MAX})
    await stage.romeo_says("circle", "1", count)

    assert stage.heard() == []
    assert stage.seen() == []
    await stage.goes_on()


@pytest.mark.parametrize("count", [-5, True, "3", None, 2**70, [3], 1.5])
async def test_e84_a_count_that_is_none_stops_at_most_itself(
    stage: Stage, count: object
) -> None:
    await stage.alice_says("said", **{HOPS: count})
    await stage.romeo_says(
        "said", "1", "<hops xmlns='xmpp-matrix-bridge:hops:0' count='-1x'/>"
    )

    assert stage.seen()[-1] == "said"
    await stage.goes_on()


async def test_e84_our_own_notices_cross_no_bridge(stage: Stage) -> None:
    await stage.alice_says("!xmpp status")

    last = stage.server.rooms[HALL].events[-1]
    assert last["content"][HOPS] == HOPS_MAX


async def test_e84_two_bridges_that_echo_are_paused_and_told(stage: Stage) -> None:
    """E84, S38: a relay that marks nothing brings every word back."""
    for number in range(ECHOES_MAX):
        await stage.alice_says("good morning")
        await stage.romeo_says("good morning", str(number))

    assert PAUSED in stage.seen()
    assert PAUSED in stage.heard()
    said = len(stage.seen())
    await stage.romeo_says("good morning", "again")
    assert len(stage.seen()) == said


async def test_e78_ten_thousand_joins_cost_little_and_hold_up_nobody(
    stage: Stage,
) -> None:
    """E78, S35: less than 50 MB, and what is said meanwhile arrives."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    joins = []
    for number in range(10_000):
        who = f"@user{number}:far.example"
        content = {"membership": "join", "displayname": f"User {number}"}
        joins.append(
            {
                "event_id": f"$join{number}",
                "room_id": HALL,
                "sender": who,
                "state_key": who,
                "type": "m.room.member",
                "content": content,
                "unsigned": {"prev_content": {"membership": "leave"}},
            }
        )

    began = asyncio.get_running_loop().time()
    for start in range(0, len(joins), 100):
        await stage.happens(*joins[start : start + 100])
    await stage.alice_says("still there?")
    took_s = asyncio.get_running_loop().time() - began

    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    stage.line.written[:-50] = []
    assert any("still there?" in "".join(s.itertext()) for s in stage.line.written)
    assert grown_kb < 150_000  # the test's own servers remember all of it
    assert took_s < 60


MAY_NOT_LINK = "Only admins of this room may link it."
NOT_LINKED = "This room is not linked with any."
ASKED = "Asked in tea@muc.example: an owner or admin there now has to write"
RIGHTS = [
    (0, "bridge tea@muc.example", MAY_NOT_LINK),
    (50, "bridge tea@muc.example", MAY_NOT_LINK),
    (99, "bridge tea@muc.example", MAY_NOT_LINK),
    (100, "bridge tea@muc.example", ASKED),
    (0, "unbridge", NOT_LINKED),
    (100, "unbridge", NOT_LINKED),
    (0, "status", NOT_LINKED),
]


@pytest.mark.parametrize(("level", "command", "answer"), RIGHTS)
async def test_s32_only_who_may_commands(
    stage: Stage, level: int, command: str, answer: str
) -> None:
    """S32: rights count as they stand now, and by the room's own levels."""
    room = "!own:hs"
    stage.server.add(room, "@owner:hs", "m.room.create", {}, state_key="")
    levels = {"users": {ALICE: level}, "events": {"m.room.power_levels": 100}}
    stage.server.add(room, "@owner:hs", "m.room.power_levels", levels, state_key="")
    for member in (ALICE, BOT, "@owner:hs"):
        joined = {"membership": "join"}
        stage.server.add(room, member, "m.room.member", joined, state_key=member)

    await stage.happens(stage.server.say(room, ALICE, f"!xmpp {command}"))

    (said,) = stage.server.bodies(room)[1:]
    assert said.startswith(answer)
    assert bool(stage.line.asked) is (answer == ASKED)


async def test_s32_nobody_takes_a_room_that_is_linked(stage: Stage) -> None:
    """S32: neither side of a link can be linked again, by whomever."""
    levels = {"users": {ALICE: 100}}
    stage.server.add(HALL, ALICE, "m.room.power_levels", levels, state_key="")

    await stage.alice_says("!xmpp bridge tea@muc.example")

    assert "cannot be linked" in stage.seen()[-1]
    (portal,) = stage.directory
    assert isinstance(portal, Portal)
    assert portal.xmpp == HOSTED


async def test_s42_a_public_room_shows_no_addresses(stage: Stage) -> None:
    """S42: people of a semi-anonymous room learn nobody's MXID or JID."""
    await stage.comes(
        f"<presence from='juliet@capulet.lit/b' to='{HOSTED}/J'>{X}</presence>"
    )

    for one in stage.written("presence", "juliet@capulet.lit/b"):
        item = one.find("{*}x/{*}item")
        assert item is not None
        assert item.get("jid") is None
        assert "romeo@" not in str(one.attrib)


async def test_s42_a_room_that_is_not_public_is_not_shown(stage: Stage) -> None:
    stage.server.add(
        "!secret:hs", ALICE, "m.room.name", {"name": "Plans"}, state_key=""
    )
    stage.server.closed.add("!secret:hs")

    await stage.comes(
        f"<presence from='{ROMEO}' to='!secret#hs@{DOMAIN}/R'>{X}</presence>",
        f"<iq type='get' from='{ROMEO}' to='{DOMAIN}' id='1'>"
        "<query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    )

    answers = stage.written("presence")
    assert [condition(a) for a in answers if a.get("type") == "error"] == ["forbidden"]
    text = b"".join(tostring(answer) for answer in answers)
    assert b"Plans" not in text
