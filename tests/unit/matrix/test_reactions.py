from bridge.matrix.codec.envelope import RawEvent
from bridge.matrix.reactions import REMEMBERED_MAX, TYPE, Reactions


def event(name: str, room: str = "!a:hs") -> RawEvent:
    return RawEvent(name, room, TYPE, "@alice:hs", None, b"{}")


def test_a_room_is_told_once() -> None:
    reactions = Reactions(lambda room: room != "!elsewhere:hs")

    assert not reactions.wants(event("$0", "!elsewhere:hs"))
    assert reactions.wants(event("$1"))
    assert reactions.tells("!a:hs")
    assert not reactions.tells("!a:hs")
    assert not reactions.wants(event("$2"))
    assert reactions.wants(event("$3", "!b:hs"))


def test_only_what_was_a_reaction_can_be_taken_back() -> None:
    reactions = Reactions(lambda _: True)
    reactions.wants(event("$1"))

    assert reactions.takes_back({"redacts": "$1"})
    assert reactions.takes_back({"content": {"redacts": "$1"}})
    for other in ({}, {"redacts": "$2"}, {"redacts": 1}, {"content": ["redacts"]}):
        assert not reactions.takes_back(other)


def test_memory_is_bounded() -> None:
    reactions = Reactions(lambda _: True)
    for number in range(REMEMBERED_MAX + 1):
        reactions.wants(event(f"${number}"))

    assert not reactions.takes_back({"redacts": "$0"})
    assert reactions.takes_back({"redacts": "$1"})
