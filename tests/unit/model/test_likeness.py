# ruff: noqa: RUF001 - it is about letters that look like others
import pytest

from bridge.model.likeness import skeleton

ALIKE = [
    ("alice", "Alice"),
    ("alice", "\u0430lice"),
    ("alice", "аӏісе"),
    ("alice", "αlιce"),
    ("alice", "a\u200blice"),
    ("alice", "a\u202elice"),
    ("alice", "\uff41lice"),
    ("alice", "A1ice"),
    ("alice", "AIice"),
    ("alice", "a|ice"),
    ("alice", "𝐚𝐥𝐢𝐜𝐞"),
    ("alice", "𝒜lice"),
    ("alice", "ⓐlice"),
    ("alice", "a l i c e"),
    ("alice", "alice\u3164"),
    ("alice", "ali\u0301ce"),
    ("alice", "ᴀʟɪᴄᴇ"),
    ("admin", "аdmіn"),
    ("admin", "adrnin"),
    ("admin", "ADMIN"),
    ("bob", "B0B"),
    ("bob", "воЬ".casefold()),
    ("root", "r00t"),
    ("www", "vvww"),
    ("joe", "ϳοе".replace("ϳ", "j")),
    ("straße", "STRASSE"),
    ("zoë", "zoe"),
    ("support", "ѕupport"),
    ("moss", "m0$5"),
    ("jon smith", "jonsmith"),
]
DIFFERENT = [
    ("alice", "alicia"),
    ("alice", "bob"),
    ("anna", "anne"),
    ("иван", "ivan"),
    ("日本", "本日"),
    ("علي", "ali"),
    ("a", ""),
    ("max", "maxi"),
    ("tim", "tom"),
    ("1", "2"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_that_people_would_mix_up_are_alike(one: str, other: str) -> None:
    """S7, E21."""
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_names_are_not(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)
