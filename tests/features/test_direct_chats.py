"""Direct chats both ways: the real core and XMPP side, a fake Matrix and server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.core.ports import Unit
from bridge.model.delivery import Delivered, Refusal, Refused
from bridge.model.events import Invite, Leave
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from tests.features.across import Across, across
from tests.unit.xmpp.elsewhere import ALICE, ALICES, DOMAIN, NOW, name_of

JULIET = "juliet@capulet.lit"
ALICE_JID = f"alice_hs.example@{DOMAIN}"
CHAT = Room(Network.XMPP, f"{JULIET} {ALICE_JID}")
DM = "!dm:hs.example"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Across]:
    async with (
        asyncio.TaskGroup() as tasks,
        across(tmp_path, tasks=tasks) as made,
    ):
        made.matrix_rooms.made[ALICE.id] = Portal(
            PortalId(0), Kind.DIRECT, DM, "", agent="@_xmpp_juliet:hs"
        )
        yield made


def writes(world: Across, words: str, name: str, to: str = ALICE_JID) -> None:
    world.server.deliver(
        f"<message type='chat' from='{JULIET}/balcony' to='{to}' id='{name}'>"
        f"<body>{words}</body></message>"
    )


async def test_the_first_message_from_xmpp_opens_the_chat(world: Across) -> None:
    writes(world, "soft!", "m1")
    writes(world, "what light?", "m2")
    await world.settles()

    assert world.heard() == ["soft!", "what light?"]
    portal = world.directory.portal(CHAT)
    assert portal is not None
    assert (portal.kind, portal.matrix) == (Kind.DIRECT, DM)


async def test_an_answer_goes_to_whoever_wrote(world: Across) -> None:
    writes(world, "soft!", "m1")
    await world.settles()

    await world.says(DM, "who is there?", "$1")
    await world.says(DM, "speak", "$2")

    assert world.server.heard() == ["who is there?", "speak"]
    first, _ = world.server.written
    assert (first.get("from"), first.get("to")) == (ALICES, JULIET)
    assert [type(outcome) for _, outcome in world.matrix.settled] == [Delivered] * 2


async def test_a_message_that_came_back_is_told_to_its_sender(world: Across) -> None:
    writes(world, "soft!", "m1")
    await world.settles()
    world.server.bounces["$1"] = "service-unavailable"

    await world.says(DM, "who is there?", "$1")
    await world.says(DM, "speak", "$2")

    outcomes = [outcome for _, outcome in world.matrix.settled]
    assert outcomes == [
        Refused(Refusal.REJECTED, "perhaps there is nobody of that name"),
        Delivered(),
    ]


@pytest.mark.parametrize(
    "secret",
    ["?OTR:AAMCdGVzdA==.", "-----BEGIN PGP MESSAGE-----\n\nhQE=\n-----END-----"],
)
async def test_other_encryptions_are_no_words_and_both_sides_are_told(
    world: Across, secret: str
) -> None:
    """XEP-0364, XEP-0027: what nobody can read is not posted as gibberish."""
    writes(world, "soft!", "m1")
    await world.settles()
    world.server.written.clear()

    writes(world, secret, "m2")
    writes(world, secret, "m3")
    await world.settles()

    first, told = world.heard()
    assert first == "soft!"
    assert JULIET in told
    assert "with OMEMO or without encryption" in told
    errors = [one for one in world.server.written if one.get("type") == "error"]
    assert [one.get("id") for one in errors] == ["m2", "m3"]
    assert "OMEMO" in (errors[0].findtext(".//{*}text") or "")


async def test_nobody_of_that_name_is_said_to_be_nobody(world: Across) -> None:
    writes(world, "hello?", "m1", to=f"carol_hs.example@{DOMAIN}")
    await world.settles()

    (error,) = world.server.written
    assert (error.get("type"), error.get("id")) == ("error", "m1")
    assert error.get("to") == f"{JULIET}/balcony"
    assert name_of(error[0][0]) == "item-not-found"
    assert world.heard() == []


async def test_what_came_twice_crosses_once(world: Across) -> None:
    writes(world, "soft!", "m1")
    writes(world, "soft!", "m1")
    await world.settles()
    writes(world, "soft!", "m1")
    await world.settles()

    assert world.heard() == ["soft!"]


async def test_somebody_of_matrix_can_begin(world: Across) -> None:
    juliet = Person(Network.XMPP, JULIET)
    await world.happens(
        Invite(
            ref=Ref(Network.MATRIX, "$invite"),
            room=Room(Network.MATRIX, "!new:hs.example"),
            sender=ALICE,
            sent_at=NOW,
            person=juliet,
            direct=True,
        )
    )

    await world.says("!new:hs.example", "hello Juliet", "$1")
    writes(world, "hello Alice", "m1")
    await world.settles()

    assert world.server.heard() == ["hello Juliet"]
    assert world.heard() == ["hello Alice"]


def invitation(to: str, person: str, name: str, *, direct: bool) -> Invite:
    return Invite(
        ref=Ref(Network.MATRIX, name),
        room=Room(Network.MATRIX, to),
        sender=ALICE,
        sent_at=NOW,
        person=Person(Network.XMPP, person),
        direct=direct,
    )


@pytest.mark.parametrize("direct", [True, False])
async def test_nobody_else_can_be_asked_into_a_conversation_of_two(
    world: Across, *, direct: bool
) -> None:
    """The chat goes on, and whoever asked is told; ``direct`` is a client's word."""
    room = "!new:hs.example"
    await world.happens(invitation(room, JULIET, "$1", direct=True))
    romeo = invitation(room, "romeo@montague.lit", "$2", direct=direct)

    await world.happens(romeo)
    await world.happens(invitation(room, JULIET, "$3", direct=True))
    await world.says(room, "hello Juliet", "$4")

    assert world.matrix_rooms.declined == [romeo]
    (told,) = world.heard()
    assert told.startswith("romeo@montague.lit was not asked in")
    assert world.server.heard() == ["hello Juliet"]


async def test_who_is_in_a_muc_elsewhere_is_for_it_to_say(world: Across) -> None:
    linked = Portal(PortalId(9), Kind.PLUMBED, "!tea:hs", "tea@muc.lit", agent="@bot")
    world.directory.put(linked, Unit())
    romeo = invitation("!tea:hs", "romeo@montague.lit", "$1", direct=False)

    await world.happens(romeo)

    assert world.matrix_rooms.declined == [romeo]
    (told,) = world.heard()
    assert "tea@muc.lit" in told
    assert world.server.heard() == []


async def test_after_a_ghost_was_put_out_the_next_message_starts_anew(
    world: Across,
) -> None:
    """Bifröst #213, #217: such a chat was dead for ever."""
    writes(world, "one", "m1")
    await world.settles()
    await world.happens(
        Leave(
            ref=Ref(Network.MATRIX, "$leave"),
            room=Room(Network.MATRIX, DM),
            sender=ALICE,
            sent_at=NOW,
            person=Person(Network.XMPP, JULIET),
        )
    )
    assert world.directory.portal(CHAT) is None

    writes(world, "two", "m2")
    await world.settles()

    assert [words for words in world.heard() if words in ("one", "two")] == [
        "one",
        "two",
    ]
    assert world.directory.portal(CHAT) is not None


async def test_the_bridge_itself_answers_words_to_it(world: Across) -> None:
    writes(world, "help", "m1", to=f"bridge@{DOMAIN}")
    await world.settles()

    assert "!matrix status" in world.server.heard()[0]
    assert world.server.written[0].get("to") == JULIET


async def test_the_same_id_from_two_people_is_two_messages(world: Across) -> None:
    """Facts/peers 3c.3: Bifröst drops the second."""
    writes(world, "mine", "m1")
    world.server.deliver(
        f"<message type='chat' from='romeo@capulet.lit/x' to='{ALICE_JID}' id='m1'>"
        "<body>mine</body></message>"
    )
    await world.settles()

    assert world.heard() == ["mine", "mine"]
