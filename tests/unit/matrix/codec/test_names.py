import pytest

from bridge.matrix.codec.names import (
    Address,
    ghost_mxid,
    muc_alias,
    muc_of,
    person_of,
    server_of,
    typed_address,
    valid_mxid,
)
from bridge.model.places import Network


@pytest.mark.parametrize(
    ("person", "mxid"),
    [
        ("juliet@capulet.lit", "@_xmpp_juliet=40capulet.lit:hs"),
        ("irc.example", "@_xmpp_irc.example:hs"),
        ("room@muc/Nick", "@_xmpp_room=40muc=2f=4eick:hs"),
        ("room@muc//a+/=", "@_xmpp_room=40muc=2f=2fa=2b=2f=3d:hs"),
        ("a=2fb@x", "@_xmpp_a=3d2fb=40x:hs"),
        ("日@x", "@_xmpp_=e6=97=a5=40x:hs"),
    ],
)
def test_a_ghost_can_be_read_back(person: str, mxid: str) -> None:
    """ARCHITECTURE §5."""
    assert ghost_mxid(person, "hs") == mxid
    assert person_of(mxid, "hs") == person


@pytest.mark.parametrize(
    "mxid",
    [
        "@alice:hs",
        "@_xmpp_a=40b:other",
        "@_xmpp_:hs",
        "@_xmpp_a=61b:hs",  # a letter needs no escape
        "@_xmpp_A=40b:hs",
        "@_xmpp_a=40b=ff:hs",
        "@_xmpp_a=4Z:hs",
        "",
    ],
)
def test_what_is_no_ghost_has_no_person(mxid: str) -> None:
    assert person_of(mxid, "hs") is None


def test_a_name_that_is_too_long_is_a_digest() -> None:
    long = ghost_mxid("x" * 300 + "@y", "hs")

    assert len(long) <= 255
    assert valid_mxid(long)
    assert person_of(long, "hs") is None
    assert long != ghost_mxid("x" * 301 + "@y", "hs")


@pytest.mark.parametrize(
    ("muc", "alias"),
    [
        ("bits@muc.example.org", "#_xmpp_bits_muc.example.org:hs"),
        ("a_b@c_d", "#_xmpp_a_b_c=5fd:hs"),
        ("a=40b@muc", "#_xmpp_a=40b_muc:hs"),
        ("x@[::1]", "#_xmpp_x_[=3a=3a1]:hs"),
        ("комната@muc", "#_xmpp_комната_muc:hs"),
    ],
)
def test_a_muc_is_named_by_an_alias(muc: str, alias: str) -> None:
    assert muc_alias(muc, "hs") == alias
    assert muc_of(alias, "hs") == muc


@pytest.mark.parametrize(
    ("alias", "muc"),
    [
        ("_xmpp_bits_muc.x", "bits@muc.x"),
        ("#_xmpp_bits=40muc.x:hs", "bits@muc.x"),
        ("#_xmpp_my_room=40muc.x:hs", "my_room@muc.x"),
        ("#_xmpp_bits_muc.x:other", None),
        ("#bits_muc.x:hs", None),
        ("#_xmpp_bits:hs", None),
        ("#_xmpp__muc:hs", None),
        ("#_xmpp_a@b_c:hs", None),
        (f"#_xmpp_dm_{'0a' * 16}:hs", None),
        (f"#_xmpp_dm_{'0a' * 15}.example:hs", f"dm@{'0a' * 15}.example"),
    ],
)
def test_aliases_are_read_as_people_write_them(alias: str, muc: str | None) -> None:
    assert muc_of(alias, "hs") == muc


def test_a_muc_with_a_long_name_has_a_digest() -> None:
    alias = muc_alias("я" * 300 + "@muc", "hs")

    assert len(alias.encode()) <= 255
    assert muc_of(alias, "hs") is None


@pytest.mark.parametrize(
    "text", ["@alice:hs", "@Al/ice+ü:hs:8448", "@a:[::1]:80", "@" + "a" * 251 + ":hs"]
)
def test_user_ids(text: str) -> None:
    assert valid_mxid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@:hs",
        "@alice",
        "alice:hs",
        "@a b:hs",
        "@a:h_s",
        "@a\ud800:hs",
        "@a\0:hs",
        "@" + "a" * 252 + ":hs",
    ],
)
def test_what_is_no_user_id(text: str) -> None:
    """E 23."""
    assert not valid_mxid(text)


def test_the_server_of_an_id() -> None:
    assert server_of("@a:hs:8448") == "hs:8448"
    assert server_of("!v12") == ""


def matrix(name: str, *via: str) -> Address:
    return Address(Network.MATRIX, name, via)


def xmpp(name: str) -> Address:
    return Address(Network.XMPP, name)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (" @alice:hs ", matrix("@alice:hs")),
        ("#room:hs", matrix("#room:hs")),
        ("!abc", matrix("!abc")),
        ("matrix:u/alice:hs", matrix("@alice:hs")),
        ("MATRIX:r/room:hs?via=a&action=join&via=b", matrix("#room:hs", "a", "b")),
        ("matrix:roomid/abc/e/ev", matrix("!abc")),
        ("matrix:x/abc", None),
        ("https://matrix.to/#/%23room:hs?via=a", matrix("#room:hs", "a")),
        ("matrix.to/#/@a:hs/$e", matrix("@a:hs")),
        ("https://matrix.to/#/hello", None),
        ("<xmpp:room@muc.x?join>", xmpp("room@muc.x")),
        ("xmpp:a%20b@x", None),
        ("juliet@capulet.lit/phone", xmpp("juliet@capulet.lit")),
        ("#room#hs@bridge.x", xmpp("#room#hs@bridge.x")),
        ("a@[::1]", xmpp("a@[::1]")),
        ("irc.example", xmpp("irc.example")),
        ("two words", None),
        ("", None),
        ("#" + "x" * 300 + ":hs", None),
    ],
)
def test_addresses_as_people_type_them(text: str, address: Address | None) -> None:
    assert typed_address(text) == address
