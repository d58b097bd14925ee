import pytest

from bridge.xmpp.codec.message import around, carried_by, words
from bridge.xmpp.codec.text import Body
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


@pytest.mark.parametrize("styled", [True, False])
@pytest.mark.parametrize("text", ["50 % <off> & \U0001f98a \x07 \r", "]]>", "%b %%"])
@pytest.mark.parametrize("name", ["$event:hs", "'><forged/>"])
def test_plain_words_are_written_as_the_gate_would_write_them(
    name: str, text: str, styled: object
) -> None:
    body = Body(text, styled=bool(styled))
    inside = words(text), *around(styled=body.styled), carried_by(2)

    quick = stencil.spoken(TEA, ("100 %", "0f"), name, body, 2, DOMAIN)
    slow = stencil.said(TEA, ("100 %", "0f"), (name, name), inside, DOMAIN)
    assert quick.to(ROMEO) == slow.to(ROMEO)


def test_plain_words_are_not_more_than_the_gate_allows() -> None:
    with pytest.raises(StanzaError):
        stencil.spoken(TEA, ("romeo", "0f"), "$e", Body("x" * 199_900), 1, DOMAIN)


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
