import pytest

from bridge.xmpp.codec.prep import (
    a_labels,
    nodeprep,
    one_direction,
    permitted,
    resourceprep,
)


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("User", "user"),
        ("#room#hs", "#room#hs"),
        (r"a\20b", r"a\20b"),
        ("straße", "strasse"),
        ("\uff41", "a"),
        ("a\u200bb", "ab"),
        ("Ä", "ä"),
        ("\u05d0", "\u05d0"),
        ("", None),
        ("\u200b", None),
        ("a b", None),
        ('a"b', None),
        ("a\u00a0b", None),
        ("\uff0f", None),  # becomes a slash
        ("a\x00", None),
        ("\U0001f600", None),
        ("\u05d0a", None),
        ("ü" * 5000, None),
    ],
)
def test_local_parts(given: str, canonical: str | None) -> None:
    """RFC 6122 A; E 18, 19, 22."""
    assert nodeprep(given) == canonical


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("Phone 7", "Phone 7"),
        ("e\u0301", "é"),
        ("\U0001f600", "\U0001f600"),
        ("", None),
        ("\u200b", None),
        ("a\x07", None),
        ("a\u202eb", None),
        ("\u05d0 \u05d1", "\u05d0 \u05d1"),
        ("\u05d0!", None),
        ("ü" * 5000, None),
    ],
)
def test_resources(given: str, canonical: str | None) -> None:
    """RFC 6122 B."""
    assert resourceprep(given) == canonical


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("EXAMPLE.org", "example.org"),
        ("example.org.", "example.org"),
        ("localhost", "localhost"),
        ("my_host", "my_host"),
        ("192.0.2.1", "192.0.2.1"),
        ("[::0:1]", "[::1]"),
        ("bücher.org", "xn--bcher-kva.org"),
        ("Bücher.ORG", "xn--bcher-kva.org"),
        ("xn--bcher-kva.org", "xn--bcher-kva.org"),
        ("ex。org", "ex.org"),
        ("\uff45\uff58.org", "ex.org"),
        ("straße.de", "xn--strae-oqa.de"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("-a.org", None),
        ("a-.org", None),
        ("a b", None),
        ("a:5222", None),
        ("x" * 64, None),
        (".".join(["x" * 60] * 5), None),
        ("\U0001f600\u0000", None),
        ("ü\u202e.org", None),
        ("[::1", None),
        ("[::g]", None),
        ("x" * 5000, None),
    ],
)
def test_domains(given: str, canonical: str | None) -> None:
    """RFC 6122 §2.2; E 20."""
    assert a_labels(given) == canonical


def test_what_runs_both_ways_is_not_permitted() -> None:
    assert one_direction("abc")
    assert one_direction("\u05d0\u05d1")
    assert not one_direction("\u05d0a\u05d1")
    assert not permitted("a\u05d0")
    assert not permitted("")
