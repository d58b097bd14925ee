import pytest
from slixmpp.xmlstream import ET

from bridge.xmpp.codec.encryption import Encryption, encryption, words

_NS = "jabber:component:accept"


def message(*children: tuple[str, str, dict[str, str]]) -> ET.Element:
    stanza = ET.Element(f"{{{_NS}}}message")
    for tag, text, attributes in children:
        ET.SubElement(stanza, tag, attributes).text = text
    return stanza


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("{eu.siacs.conversations.axolotl}encrypted", Encryption.OMEMO),
        ("{urn:xmpp:omemo:2}encrypted", Encryption.OMEMO),
        ("{urn:xmpp:omemo:1}encrypted", Encryption.OTHER),
        ("{jabber:x:encrypted}x", Encryption.PGP),
        ("{urn:xmpp:openpgp:0}openpgp", Encryption.OX),
    ],
)
def test_an_element_tells_the_encryption(tag: str, expected: Encryption) -> None:
    stanza = message((f"{{{_NS}}}body", "This is encrypted", {}), (tag, "", {}))

    assert encryption(stanza) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("?OTRv23? alice would like to talk", Encryption.OTR),
        ("?OTR:AAMC", Encryption.OTR),
        ("-----BEGIN PGP MESSAGE-----\n\nhQE", Encryption.PGP),
        ("what is ?OTR good for", None),
        ("hello", None),
        ("", None),
    ],
)
def test_a_body_tells_the_encryption(body: str, expected: Encryption | None) -> None:
    assert encryption(message((f"{{{_NS}}}body", body, {}))) is expected


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("urn:xmpp:otr:0", Encryption.OTR),
        ("jabber:x:encrypted", Encryption.PGP),
        ("urn:xmpp:openpgp:0", Encryption.OX),
        ("urn:example:mls", Encryption.OTHER),
    ],
)
def test_what_is_only_named_counts(namespace: str, expected: Encryption) -> None:
    """XEP-0380 §3: the element names how the message is encrypted."""
    named = ("{urn:xmpp:eme:0}encryption", "", {"namespace": namespace})

    assert encryption(message(named)) is expected


def test_the_sender_is_told_what_to_do() -> None:
    said = words(Encryption.OTR, "juliet@capulet.lit", omemo=True)

    assert said.startswith("juliet@capulet.lit writes with OTR")
    assert "with OMEMO or without" in said
    assert "with OMEMO or" not in words(Encryption.PGP, "romeo", omemo=False)
