from dataclasses import replace

from bridge.core.consent import UNLINKED
from bridge.core.ports import Unit
from bridge.model.delivery import Refusal, Refused
from bridge.model.events import Message, Protection, Rank
from bridge.model.places import Network, Person, Room
from bridge.model.records import Kind, Portal
from tests.conftest import World, said
from tests.fakes import TEA_MATRIX, TEA_XMPP
from tests.unit.core.test_commands import LIBRARY, command


def secret(number: int = 1) -> Message:
    """Make a message that came end-to-end encrypted."""
    plain = said(TEA_MATRIX, "secret", number=number)
    return replace(plain, protection=Protection.END_TO_END)


def enter(world: World, portal: Portal) -> None:
    """Let *portal* be known as it now is."""
    world.directory.put(portal, Unit())


async def test_what_is_encrypted_does_not_go_on_in_the_clear(world: World) -> None:
    await world.happens(secret())

    assert world.xmpp.sent == []
    assert world.matrix.settled[-1][1] == Refused(Refusal.WOULD_EXPOSE)
    assert "!xmpp plaintext allow" in Refusal.WOULD_EXPOSE.value


async def test_an_admin_can_allow_it_and_forbid_it_again(world: World) -> None:
    await world.happens(command(TEA_MATRIX, "plaintext allow"))
    await world.happens(secret(1))
    await world.happens(command(TEA_MATRIX, "plaintext forbid"))
    await world.happens(secret(2))

    assert world.xmpp.said()[1] == "secret"
    assert "go on in the clear" in world.xmpp.said()[0]
    assert "are not delivered" in world.xmpp.said()[2]
    assert world.matrix.said()[0].endswith("!xmpp plaintext forbid")
    assert world.xmpp.said()[0].endswith("!matrix plaintext forbid")
    assert len(world.xmpp.sent) == 3
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    assert await world.store.find(type(portal), portal.id) == portal


async def test_nobody_else_can(world: World) -> None:
    await world.happens(command(TEA_MATRIX, "plaintext allow", Rank.MODERATOR))
    await world.happens(secret())

    assert world.matrix.said()[0] == "Only admins of this room may decide that."
    assert world.xmpp.sent == []


async def test_of_a_direct_chat_its_two_people_decide(world: World) -> None:
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    direct = replace(portal, kind=Kind.DIRECT, xmpp="juliet@x @alice:hs")
    enter(world, direct)

    asked = command(TEA_MATRIX, "plaintext allow", Rank.MEMBER)
    await world.happens(asked, "a stranger's")
    between = world.directory.portal(TEA_MATRIX)
    assert between == direct
    alice = Person(Network.MATRIX, "@alice:hs")
    await world.happens(replace(asked, sender=alice), "Alice's")

    changed = world.directory.portal(TEA_MATRIX)
    assert changed is not None
    assert changed.exposed


async def test_what_the_other_side_encrypts_goes_on(world: World) -> None:
    world.xmpp.protects = Protection.END_TO_END

    await world.happens(secret())

    assert world.xmpp.said() == ["secret"]


async def test_a_plain_message_may_always_be_encrypted(world: World) -> None:
    world.matrix.protects = Protection.END_TO_END

    await world.happens(said(TEA_XMPP, "hello"))

    assert world.matrix.said() == ["hello"]
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    assert portal.encrypted


async def test_nothing_plain_reaches_a_room_that_was_ever_encrypted(
    world: World,
) -> None:
    world.matrix.protects = Protection.END_TO_END
    await world.happens(said(TEA_XMPP, "hello"))
    world.matrix.protects = Protection.TRANSPORT

    await world.happens(said(TEA_XMPP, "again", number=2))

    assert world.matrix.said() == ["hello"]


async def test_a_chat_in_which_xmpp_encrypts_is_encrypted_on_matrix(
    world: World,
) -> None:
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    enter(world, replace(portal, kind=Kind.DIRECT))
    hidden = replace(said(TEA_XMPP, "hidden"), protection=Protection.END_TO_END)

    await world.happens(hidden)

    assert [one.id for one in world.matrix_rooms.protected] == [portal.id]
    changed = world.directory.portal(TEA_MATRIX)
    assert changed is not None
    assert changed.encrypted


async def test_everybody_may_ask_what_is_encrypted(world: World) -> None:
    world.matrix.protects = Protection.END_TO_END

    await world.happens(command(TEA_MATRIX, "devices", Rank.GUEST))
    await world.happens(command(TEA_XMPP, "devices", Rank.GUEST))
    await world.happens(command(LIBRARY, "devices", Rank.GUEST))
    await world.happens(command(LIBRARY, "plaintext allow", Rank.ADMIN))

    answer = world.matrix.said()[0]
    assert f"devices in {TEA_MATRIX.address}" in answer
    assert "Matrix: end-to-end encrypted, as far as the bridge." in answer
    assert "XMPP: not end-to-end encrypted." in answer
    assert "end-to-bridge" in answer
    assert "devices in" not in world.xmpp.said()[0]
    assert world.matrix.said()[-1] == "This room is not linked with any."


async def test_a_room_that_is_open_on_matrix_is_not_called_encrypted_on_xmpp(
    world: World,
) -> None:
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    enter(world, replace(portal, kind=Kind.HOSTED))
    world.xmpp.protects = Protection.END_TO_END

    await world.happens(command(TEA_MATRIX, "devices"))
    world.matrix.protects = Protection.END_TO_END
    await world.happens(command(TEA_MATRIX, "devices", Rank.GUEST))
    await world.happens(command(TEA_MATRIX, "plaintext allow"))
    await world.happens(command(TEA_MATRIX, "devices", Rank.MODERATOR))

    plain, encrypted, _, exposed = world.matrix.said()
    assert "XMPP: not end-to-end encrypted, unless" in plain
    assert "OMEMO, or is refused if somebody there has none." in encrypted
    assert "OMEMO, or in the clear if somebody there has none." in exposed


async def test_without_a_word_the_state_is_told(world: World) -> None:
    await world.happens(command(TEA_MATRIX, "plaintext"))
    await world.happens(command(TEA_MATRIX, "plaintext allow"))
    await world.happens(command(TEA_MATRIX, "plaintext maybe"))

    assert "do not go on in the clear" in world.matrix.said()[0]
    assert "may go on in the clear" in world.matrix.said()[-1]


async def test_a_new_identity_is_confirmed_by_an_admin(world: World) -> None:
    world.matrix_rooms.changed = ["@alice:hs"]
    await world.happens(command(TEA_MATRIX, "confirm", Rank.MEMBER))
    await world.happens(command(TEA_MATRIX, "confirm"))

    assert world.matrix.said() == [
        "Only admins of this room may decide that.",
        "The new encryption identity is accepted of: @alice:hs.",
    ]


async def test_nobody_is_confirmed_who_has_not_changed(world: World) -> None:
    await world.happens(command(TEA_MATRIX, "confirm"))
    world.matrix_rooms.changed = Refusal.UNREACHABLE
    await world.happens(command(TEA_XMPP, "confirm"))
    await world.happens(command(LIBRARY, "confirm"))

    assert world.matrix.said() == [
        "Nobody's encryption identity has changed.",
        "This room is not linked with any.",
    ]
    assert "cannot be read" in world.xmpp.said()[0]


CHAT = "juliet@x @alice:hs"


async def test_the_person_of_matrix_checks_devices_and_decides(world: World) -> None:
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    enter(world, replace(portal, kind=Kind.DIRECT, xmpp=CHAT))
    alice = Person(Network.MATRIX, "@alice:hs")

    for number, words in enumerate(
        ("omemo", "omemo trust 12ab cd", "omemo distrust ff", "omemo trust", "omemo x")
    ):
        asked = replace(command(TEA_MATRIX, words, Rank.MEMBER), sender=alice)
        await world.happens(asked, f"c{number}")

    usage = "!xmpp omemo, omemo trust FINGERPRINT, omemo distrust FINGERPRINT"
    shown = f"devices in {CHAT} for @alice:hs"
    assert world.matrix.said() == [shown, "decided", "decided", usage, usage]
    assert world.xmpp_rooms.devices.decided == [("12abcd", True), ("ff", False)]


async def test_nobody_else_decides_on_devices(world: World) -> None:
    portal = world.directory.portal(TEA_MATRIX)
    assert portal is not None
    enter(world, replace(portal, kind=Kind.DIRECT, xmpp=CHAT))

    await world.happens(command(TEA_MATRIX, "omemo trust 12ab"), "a stranger's")
    await world.happens(command(Room(Network.XMPP, CHAT), "omemo trust 12ab"), "hers")

    refused = "Whose chat it is on Matrix decides that."
    assert world.matrix.said() == [refused]
    assert f"our puppets in {CHAT}" in world.xmpp.said()[-1]
    assert world.xmpp_rooms.devices.decided == []


async def test_in_a_room_everybody_decides_for_themselves(world: World) -> None:
    asked = command(TEA_MATRIX, "omemo", Rank.MEMBER)
    await world.happens(asked, "asked")
    await world.happens(command(TEA_MATRIX, "omemo trust 12ab", Rank.MEMBER), "decided")
    await world.happens(command(TEA_XMPP, "omemo", Rank.MEMBER), "asked on XMPP")

    shown = f"devices in {TEA_XMPP.address} for {asked.sender.id}"
    assert world.matrix.said() == [shown, "decided"]
    assert world.xmpp_rooms.devices.decided == [("12ab", True)]
    assert f"our puppets in {TEA_XMPP.address}" in world.xmpp.said()[-1]


async def test_a_room_that_is_linked_with_none_has_no_devices(world: World) -> None:
    await world.happens(command(Room(Network.MATRIX, "!lonely:hs"), "omemo"))

    assert world.matrix.said() == [UNLINKED]


async def test_of_a_chat_it_is_told_how_it_is_guarded_now(world: World) -> None:
    world.xmpp_rooms.devices.chats = "encrypted with OMEMO"

    await world.happens(command(TEA_XMPP, "devices", Rank.GUEST))

    answer = world.xmpp.said()[0]
    assert "XMPP: encrypted with OMEMO." in answer
    assert f"our puppets in {TEA_XMPP.address}" in answer
    assert "!matrix plaintext" in answer
