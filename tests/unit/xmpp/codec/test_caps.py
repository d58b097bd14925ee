from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp.codec.caps import FEATURES_MAX, features, verification

INFO = "{http://jabber.org/protocol/disco#info}"
FORM = "{jabber:x:data}"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def query(identities: Sequence[tuple[str, str, str, str]], *named: str) -> Element:
    found = Element(f"{INFO}query")
    for category, kind, lang, name in identities:
        about = {"category": category, "type": kind, "name": name}
        SubElement(found, f"{INFO}identity", {**about, LANG: lang} if lang else about)
    for one in named:
        SubElement(found, f"{INFO}feature", {"var": one})
    return found


SIMPLE = (
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/muc",
    "http://jabber.org/protocol/caps",
)


def software(found: Element) -> None:
    form = SubElement(found, f"{FORM}x", {"type": "result"})
    fields = {
        "FORM_TYPE": ["urn:xmpp:dataforms:softwareinfo"],
        "ip_version": ["ipv4", "ipv6"],
        "os": ["Mac"],
        "os_version": ["10.5.1"],
        "software": ["Psi"],
        "software_version": ["0.11"],
    }
    for name, values in fields.items():
        about = {"var": name}
        if name == "FORM_TYPE":
            about["type"] = "hidden"
        field = SubElement(form, f"{FORM}field", about)
        for value in values:
            SubElement(field, f"{FORM}value").text = value


def test_the_simple_example_of_the_specification() -> None:
    """XEP-0115 §5.2: QgayPKawpkPSDYmwT/WM94uAlu0=."""
    found = query([("client", "pc", "", "Exodus 0.9.1")], *SIMPLE)

    assert verification(found, "sha-1") == "QgayPKawpkPSDYmwT/WM94uAlu0="


def test_the_complex_example_of_the_specification() -> None:
    """XEP-0115 §5.3: q07IKJEyjvHSyhy//CH0CxmKi8w=."""
    found = query(
        [("client", "pc", "en", "Psi 0.11"), ("client", "pc", "el", "\u03a8 0.11")],
        *SIMPLE,
    )
    software(found)

    assert verification(found, "sha-1") == "q07IKJEyjvHSyhy//CH0CxmKi8w="


def test_forms_without_a_type_do_not_count() -> None:
    found = query([("client", "pc", "", "Exodus 0.9.1")], *SIMPLE)
    SubElement(found, f"{FORM}x")

    assert verification(found, "sha-1") == "QgayPKawpkPSDYmwT/WM94uAlu0="


def test_what_is_said_twice_is_ill_formed() -> None:
    """XEP-0115 §5.4: the entire response is ill-formed."""
    same = ("client", "pc", "", "x")
    forms = query([same])
    software(forms)
    software(forms)

    assert verification(query([same], "a", "a"), "sha-1") is None
    assert verification(query([same, same]), "sha-1") is None
    assert verification(forms, "sha-1") is None


@pytest.mark.parametrize("algorithm", ["md5", "", "shake_128"])
def test_only_good_hashes_are_known(algorithm: str) -> None:
    assert verification(query([]), algorithm) is None


def test_nobody_can_do_everything() -> None:
    many = query([], *(str(n) for n in range(FEATURES_MAX + 1)))

    assert verification(many, "sha-256") is None


def test_features_are_listed() -> None:
    assert features(query([], "a", "", "b")) == {"a", "b"}
