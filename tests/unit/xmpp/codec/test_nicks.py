import pytest

from bridge.xmpp.codec.nicks import (
    LETTERS_MAX,
    NOBODY,
    safe_nick,
    same_nick_key,
    unique_nick,
)
from bridge.xmpp.codec.prep import resourceprep


@pytest.mark.parametrize(
    ("name", "nick"),
    [
        ("Alice", "Alice"),
        ("Alice B. (work)", "Alice B. (work)"),
        ("  a  b ", "a b"),
        ("a\nb\tc\u3000d", "a b c d"),
        ("Zoë", "Zoë"),
        ("Zoe\u0308", "Zoë"),
        ("①ﬁ", "1fi"),
        ("日本", "日本"),
        ("\U0001f600 Bob \U0001f601", "Bob"),
        ("a\u202eb\u200bc\u2066d\ufeff", "abcd"),
        ("x\u3164\u2800", "x"),
        ("\x00\x1b[31mred", "[31mred"),
        ("علي", "علي"),
        ("علي (Ali)", "علي"),
        ("Ali علي x", "Ali x"),
        ("x" * 100, "x" * LETTERS_MAX),
        ("Z" + "\u0328" * 50 + "a", "Z" + "\u0328" * 3 + "a"),
        ("\U0001f600", "fallback"),
        ("", "fallback"),
    ],
)
def test_a_nick_is_left_alone_by_every_server(name: str, nick: str) -> None:
    """RFC 6122 B; S7; E 5, 6."""
    assert safe_nick(name, "fallback") == nick
    assert resourceprep(nick) == nick


def test_nobody_is_without_a_nick() -> None:
    assert safe_nick("\U0001f600", "\u200b") == NOBODY
    assert safe_nick("") == NOBODY


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "alice"),
        ("\u0410lice", "alice"),
        ("\u03bfm\u03b9", "omi"),
        ("a\u200blice", "alice"),
        ("\uff41lice", "alice"),
        ("x\u3164", "x"),
        ("Straße", "strasse"),
    ],
)
def test_nicks_that_people_would_mix_up_are_the_same(one: str, other: str) -> None:
    """E 6, 21."""
    assert same_nick_key(one) == same_nick_key(other)


def test_other_nicks_are_not() -> None:
    assert same_nick_key("ana") != same_nick_key("aña")
    assert same_nick_key("\x07é") == "\x07é"


def test_a_nick_that_is_taken_gets_a_suffix() -> None:
    assert unique_nick("al", {"bo"}) == "al"
    assert unique_nick("Al", {"al"}) == "Al[m]"
    assert unique_nick("al", {"al", "al[m]", "al[m]2", "al[m]3"}) == "al[m]4"
    assert unique_nick("Al", {"Al": 1}) == "Al[m]"
