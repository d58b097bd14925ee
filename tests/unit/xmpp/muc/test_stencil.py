import pytest

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import StanzaError, addressed
from bridge.xmpp.muc import stencil
from tests.unit.xmpp.muc.world import DOMAIN, ROMEO, TEA, parsed

BODY = (node("body", None, "50 % <off> & \U0001f98a \x07"),)


def whole(given: str, name: str, inside: tuple[Node, ...]) -> Node:
    return node(
        "message",
        {"type": "groupchat", "from": f"{TEA}/100 %", "id": given},
        *inside,
        node("occupant-id", {"xmlns": stencil.OCCUPANT_ID, "id": "0f"}),
        node("stanza-id", {"xmlns": stencil.STANZA_IDS, "by": TEA, "id": name}),
        node("store", {"xmlns": "urn:xmpp:hints"}),
    )


@pytest.mark.parametrize("inside", [BODY, ()])
@pytest.mark.parametrize("given", ["", "m1", "'/><x> %b & \n"])
@pytest.mark.parametrize("name", ["$event:hs", "'><forged/>"])
def test_what_is_put_together_is_what_the_gate_would_write(
    given: str, name: str, inside: tuple[Node, ...]
) -> None:
    quick = stencil.said(TEA, ("100 %", "0f"), (given, name), inside, DOMAIN)
    slow = addressed(whole(given, name, inside), DOMAIN)

    (one,), (other,) = parsed(quick.to(ROMEO)), parsed(slow.to(ROMEO))
    assert [(e.tag, e.attrib, e.text) for e in one.iter()] == [
        (e.tag, e.attrib, e.text) for e in other.iter()
    ]


def test_the_whole_is_not_larger_than_the_gate_allows() -> None:
    inside = (node("body", None, "x" * 199_900),)

    with pytest.raises(StanzaError):
        stencil.said(TEA, ("romeo", "0f"), ("m1", "$e"), inside, DOMAIN)


def test_what_the_gate_refuses_is_refused() -> None:
    inside = (Node("1st", {}),)

    with pytest.raises(StanzaError):
        stencil.said(TEA, ("romeo", "0f"), ("m1", "$e"), inside, DOMAIN)


@pytest.mark.parametrize("value", ["plain", "<&'\">", "\n\t\r", "\x00\ud800"])
def test_values_are_written_as_the_gate_writes_them(value: str) -> None:
    stanza = parsed(b"<message k='" + stencil.quoted(value) + b"'/>")[0]

    assert stanza.get("k") == value.replace("\x00", "\ufffd").replace(
        "\ud800", "\ufffd"
    )
