from xml.etree.ElementTree import Element

import pytest
from typing_extensions import override

from bridge.xmpp.reader import Reader
from bridge.xmpp.skipper import Skipper

HEADER = b"<stream xmlns='jabber:component:accept'>"
LISTENER = b"bot@b"


class Counted(Reader):
    """A reader that knows how much it had to parse."""

    def __init__(self) -> None:
        super().__init__()
        self.fed = 0

    @override
    def feed(self, chunk: bytes) -> list[Element]:
        self.fed += chunk.count(b"<message ")
        return super().feed(chunk)


@pytest.fixture
def reader() -> Counted:
    return Counted()


@pytest.fixture
def skipper(reader: Counted) -> Skipper:
    skipper = Skipper(reader, lambda to: to == LISTENER or to.startswith(b"#"))
    skipper.feed(HEADER)
    return skipper


def copies(*jids: str, body: str = "hi") -> bytes:
    return "".join(
        f"<message from='r@m/n' to='{jid}' type='groupchat'>"
        f"<body>{body}</body></message>"
        for jid in jids
    ).encode()


PUPPETS = [f"p{number}@b/n" for number in range(100)]


@pytest.mark.parametrize("place", [0, 1, 50, 100])
def test_of_many_copies_only_the_listeners_is_read(
    skipper: Skipper, reader: Counted, place: int
) -> None:
    jids = [*PUPPETS[:place], "bot@b", *PUPPETS[place:]]

    (stanza,) = skipper.feed(copies(*jids))

    assert stanza.get("to") == "bot@b"
    assert reader.fed <= 2


@pytest.mark.parametrize("size", [1, 7, 40, 83, 500])
def test_copies_are_skipped_across_chunks(
    skipper: Skipper, reader: Counted, size: int
) -> None:
    data = copies(*PUPPETS, "bot@b")

    found = [
        one
        for start in range(0, len(data), size)
        for one in skipper.feed(data[start : start + size])
    ]

    assert [one.get("to") for one in found] == ["bot@b"]
    assert reader.fed <= 4


def test_messages_to_rooms_of_ours_are_all_read(skipper: Skipper) -> None:
    data = copies("#r@b", "#r@b") + copies("#r@b", body="ho")

    assert len(skipper.feed(data)) == 3


def test_what_differs_in_more_than_its_addressee_is_read(skipper: Skipper) -> None:
    data = copies("p1@b", "bot@b") + copies("p1@b", "bot@b", body="ho")

    assert [one[0].text for one in skipper.feed(data)] == ["hi", "ho"]


def test_a_chat_is_never_skipped(skipper: Skipper) -> None:
    data = copies("p1@b", "p2@b").replace(b"groupchat", b"chat")

    assert len(skipper.feed(data)) == 2


def test_a_last_stanza_is_not_held_back(skipper: Skipper) -> None:
    skipper.feed(copies(*PUPPETS))

    assert len(skipper.feed(b"<message from='a@x' to='p1@b' type='error'/>")) == 1
    assert len(skipper.feed(copies("bot@b"))) == 1


def test_a_comment_ends_all_skipping(skipper: Skipper, reader: Counted) -> None:
    found = skipper.feed(copies("p1@b", "p2@b") + b"<!-- x -->")
    found += skipper.feed(copies(*PUPPETS, "bot@b"))

    assert [one.get("to") for one in found] == ["bot@b"]
    assert reader.fed > 100


def test_a_comment_cut_in_two_ends_all_skipping(
    skipper: Skipper, reader: Counted
) -> None:
    skipper.feed(b"<presence/><")
    skipper.feed(b"!-- x -->" + copies(*PUPPETS))

    assert reader.fed == 100


def test_a_comment_before_copies_ends_the_cutting(skipper: Skipper) -> None:
    found = skipper.feed(b"<!-- x --><message />" + copies("p1@b", "bot@b"))

    assert len(found) == 2


def test_too_long_a_stanza_is_not_learnt(skipper: Skipper, reader: Counted) -> None:
    data = copies("p1@b", "p2@b", "bot@b", body="x" * 200_000)

    found = [
        one
        for start in range(0, len(data), 30_000)
        for one in skipper.feed(data[start : start + 30_000])
    ]

    assert len(found) == 1
    assert reader.fed == 3
