import pytest

from bridge.xmpp.codec.names import (
    Jid,
    chat_address,
    chat_parts,
    jid_called,
    mxid_of,
    occupant_person,
    parse,
    puppet_jid,
    puppet_local,
    room_local,
    room_of,
)


@pytest.mark.parametrize(
    ("text", "jid"),
    [
        ("User@EXAMPLE.org./Phone", Jid("user", "example.org", "Phone")),
        ("irc.example", Jid("", "irc.example")),
        ("irc.example/x", Jid("", "irc.example", "x")),
        ("a@x/b@c/d", Jid("a", "x", "b@c/d")),
        ("#room#hs@x", Jid("#room#hs", "x")),
    ],
)
def test_addresses_are_made_canonical(text: str, jid: Jid) -> None:
    assert parse(text) == jid
    assert parse(jid.full) == jid
    assert parse(jid.bare) == Jid(jid.local, jid.domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@ex.org",
        "a@",
        "a@b@c",
        "a b@ex",
        'a"b@ex',
        "a@ex.org/",
        "/x",
        "a@192.0.2.1:5222",
        "\U0001f600@x",
        "x" * 1024 + "@y",
        "a@y/" + "x" * 1024,
        "a@y/" + "\ud800",
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    """E 18."""
    assert parse(text) is None


@pytest.mark.parametrize(
    ("mxid", "local"),
    [
        ("@alice:hs.org", "alice_hs.org"),
        ("@a_b:hs", "a_b_hs"),
        ("@Alice:hs", r"\41lice_hs"),
        ("@al/ice+x:hs", r"al\2fice+x_hs"),
        ("@alice:hs:8448", r"alice_hs\3a8448"),
        ("@ü:[::1]:80", r"\c3\bc_\5b\3a\3a1\5d\3a80"),
        (r"@a\20b:hs", r"a\5c20b_hs"),
        ("@a#b!c%:hs", r"a\23b\21c\25_hs"),
    ],
)
def test_a_puppet_can_be_read_back(mxid: str, local: str) -> None:
    """ARCHITECTURE §5; peers 4.1: each of these is somebody else at Bifröst."""
    assert puppet_local(mxid) == local
    assert mxid_of(local) == mxid
    assert parse(puppet_jid(mxid, "bridge.x")) == Jid(local, "bridge.x")


@pytest.mark.parametrize(
    "local",
    [
        "alice",
        "_hs",
        "alice_",
        "a%b_hs",  # not how we write it
        r"\61lice_hs",
        r"a\ff_hs",
        r"a\zz_hs",
        r"a\3ab_hs",
        r"a\00_hs",
        r"a_h\5fs",
        "#room#hs",
    ],
)
def test_what_is_no_puppet_is_nobody(local: str) -> None:
    assert mxid_of(local) is None


@pytest.mark.parametrize(
    ("room", "local"),
    [
        ("#room:hs", "#room#hs"),
        ("#Room:hs", r"#\52oom#hs"),
        ("#a b#c@d/e:hs:80", r"#a\20b\23c\40d\2fe#hs\3a80"),
        ("#\U0001f600:hs", r"#\f0\9f\98\80#hs"),
        ("!Abc:hs", r"!\41bc#hs"),
        ("!v12-id_x", "!v12-id_x"),
    ],
)
def test_a_room_can_be_read_back(room: str, local: str) -> None:
    assert room_local(room) == local
    assert room_of(local) == room


@pytest.mark.parametrize(
    ("local", "room"),
    [
        ("#привет#hs", "#привет:hs"),
        ("#a$b%c#hs", "#a$b%c:hs"),
        ("#a#b#hs", "#a#b:hs"),
        ("#room", None),
        ("#room#", None),
        ("##hs", None),
        ("#room#h_s", None),
        ("!", None),
        (r"!\3a", None),
        (r"#\zz#hs", None),
        ("alice_hs", None),
        ("x!room#hs", None),
        ("", None),
    ],
)
def test_rooms_are_read_as_people_write_them(local: str, room: str | None) -> None:
    """E 24."""
    assert room_of(local) == room


def test_a_direct_chat_is_two_addresses() -> None:
    address = chat_address("juliet@capulet.lit", "alice_hs@bridge.x")

    assert chat_parts(address) == ("juliet@capulet.lit", "alice_hs@bridge.x")
    assert chat_parts("room@muc.x") is None


def test_an_occupant_is_known_by_occupant_id_else_by_nick() -> None:
    assert occupant_person("r@muc", "Al") == "r@muc/Al"
    assert occupant_person("r@muc", "Al", "x1") == "r@muc//x1"
    assert len(occupant_person("r@muc", "Al", "x" * 3000)) < len("r@muc//") + 200
    assert occupant_person("r@muc", "/x1") != occupant_person("r@muc", "Al", "x1")


def test_people_are_found_by_the_ids_of_matrix() -> None:
    jid = "alice_hs.example@bridge.example"

    assert jid_called("bridge.example", "@alice:hs.example") == jid
    assert jid_called("bridge.example", "https://matrix.to/#/@alice:hs.example") == jid
    assert jid_called("bridge.example", "alice") is None
