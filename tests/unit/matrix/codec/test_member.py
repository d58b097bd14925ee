import pytest

from bridge.matrix.codec.member import (
    Membership,
    Stand,
    clean_name,
    clean_uri,
    decode,
    decode_creators,
    decode_powers,
    encode,
)
from bridge.model.events import Rank


@pytest.mark.parametrize(
    "content", [None, [], {}, {"membership": 1}, {"membership": "x"}]
)
def test_what_is_no_membership_is_none(content: object) -> None:
    assert decode(content) is None


def test_a_membership_is_read_and_written() -> None:
    content = {
        "membership": "invite",
        "displayname": "Al",
        "reason": "so",
        "is_direct": True,
    }

    assert decode(content) == Membership(Stand.INVITE, "Al", "so", direct=True)
    assert encode(Membership(Stand.INVITE, "Al", "so", direct=True)) == content
    assert encode(Membership(Stand.LEAVE)) == {"membership": "leave"}
    assert decode(
        {"membership": "join", "displayname": {}, "is_direct": 1, "avatar_url": 1}
    ) == Membership(Stand.JOIN)


@pytest.mark.parametrize(
    "picture", ["mxc://hs.example:8448/aA0_-", "mxc://[::1]:1/a", "mxc://1.2.3.4/a"]
)
def test_a_picture_is_a_file_of_a_homeserver(picture: str) -> None:
    content = {"membership": "join", "avatar_url": picture}

    assert decode(content) == Membership(Stand.JOIN, picture=picture)
    assert encode(Membership(Stand.JOIN, picture=picture)) == content


@pytest.mark.parametrize(
    "given",
    ["", "https://hs/a", "mxc://hs", "mxc://hs/", "mxc://../a", "mxc://hs/a/b", "x\n"],
)
def test_what_is_no_file_of_a_homeserver_is_no_picture(given: str) -> None:
    assert clean_uri(given) == ""
    assert encode(Membership(Stand.JOIN, picture=given)) == {"membership": "join"}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Alice", "Alice"),
        (" Alice ", "Alice"),
        ("a\u202eb\u200bc", "abc"),
        ("a\nb\tc\x00", "a b c"),
        ("\ud800é", "é"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u200d", ""),
        ("x" * 100_000, "x" * 100),
        (7, ""),
        (None, ""),
    ],
)
def test_names_are_one_line_that_can_be_seen(given: object, name: str) -> None:
    """E 5, 74."""
    assert clean_name(given) == name


@pytest.mark.parametrize(
    ("content", "rank"),
    [
        ({"users": {"@a:hs": 100}, "events": {"m.room.power_levels": 100}}, Rank.OWNER),
        ({"users": {"@a:hs": 100}}, Rank.OWNER),
        ({"users": {"@a:hs": 50}}, Rank.ADMIN),
        ({"users": {"@a:hs": "50"}, "state_default": "100"}, Rank.MODERATOR),
        ({"users": {"@a:hs": 49}}, Rank.MEMBER),
        ({"users_default": 2**70}, Rank.OWNER),
        ({"events_default": 1}, Rank.GUEST),
        ({"events": {"m.room.message": 10}}, Rank.GUEST),
        ({"events": {"m.room.message": 10}, "users": {"@a:hs": 10}}, Rank.MEMBER),
        ({"kick": 0, "redact": 0, "state_default": 0}, Rank.MEMBER),
        ({"users": {"@a:hs": True}}, Rank.MEMBER),
        ({"users": {"@a:hs": "many"}}, Rank.MEMBER),
        ({"users": {"@a:hs": None}, "users_default": None}, Rank.MEMBER),
        ({"users": []}, Rank.MEMBER),
        ({}, Rank.MEMBER),
        (None, Rank.MEMBER),
    ],
)
def test_levels_make_ranks(content: object, rank: Rank) -> None:
    """E 75."""
    assert decode_powers(content).rank("@a:hs") is rank


def test_creators_stand_above_all_levels_from_version_12() -> None:
    create = {"room_version": "12", "additional_creators": ["@b:hs", 7]}

    assert decode_creators(create, "@a:hs") == {"@a:hs", "@b:hs"}
    assert decode_creators({"room_version": "12"}, "@a:hs") == {"@a:hs"}
    assert decode_powers({}, {"@a:hs"}).rank("@a:hs") is Rank.OWNER


@pytest.mark.parametrize(
    "create", [{"room_version": "11"}, {"room_version": 12}, {}, None]
)
def test_before_version_12_creators_are_like_others(create: object) -> None:
    assert decode_creators(create, "@a:hs") == frozenset()


def test_what_is_not_seen_leaves_no_gap() -> None:
    assert clean_name("\u00a1\r\x1b\x85*") == "\u00a1 *"
