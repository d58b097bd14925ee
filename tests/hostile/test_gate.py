"""Whatever text somebody sends, one well-formed stanza leaves, and says the same."""

from xml.etree.ElementTree import Element

from hypothesis import given, strategies as st

from bridge.xmpp.codec.xml import Node
from bridge.xmpp.gate import addressed, clean, serialise
from bridge.xmpp.reader import Reader

DOMAIN = "bridge.example"
ANYTHING = st.text(st.characters(), max_size=80)
SPICY = st.text(
    st.sampled_from("<>&'\"]\r\n\t\x00\x1b\ufffe\ud800\udfff a/="), max_size=30
)
TEXT = ANYTHING | SPICY


def parsed(data: bytes) -> list[Element]:
    reader = Reader()
    reader.feed(b"<stream>")
    return reader.feed(data)


@given(TEXT, TEXT.filter(bool), TEXT)
def test_what_leaves_says_the_same(body: str, to: str, name: str) -> None:
    inside = Node("x", {"xmlns": "urn:x", "name": name}, (body,))
    about = {"from": f"a@{DOMAIN}", "to": to}

    (stanza,) = parsed(serialise(Node("message", about, (inside,)), DOMAIN))

    assert stanza.get("to") == clean(to)
    (child,) = stanza
    assert child.get("name") == clean(name)
    assert (child.text or "") == clean(body)


def test_what_is_printable_is_what_xml_allows() -> None:
    every = (chr(code) for code in range(0x110000))

    printable = "".join(filter(str.isprintable, every))

    assert clean(printable) == printable


@given(TEXT, st.lists(TEXT.filter(bool), max_size=4))
def test_a_fan_out_reaches_each_and_nobody_else(body: str, jids: list[str]) -> None:
    stanza = Node("message", {"from": DOMAIN}, (Node("body", {}, (body,)),))

    stanzas = parsed(addressed(stanza, DOMAIN).fan_out(jids))

    assert [one.get("to") for one in stanzas] == [clean(jid) for jid in jids]
    assert all((one[0].text or "") == clean(body) for one in stanzas)
