from xml.etree.ElementTree import XML

import pytest

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import (
    SIZE_BYTES_MAX,
    StanzaError,
    addressed,
    clean,
    element_bytes,
    serialise,
)

DOMAIN = "bridge.example"
ALICE = f"alice_hs@{DOMAIN}"


def message(body: str = "hi", **attributes: str) -> Node:
    about = {"from": ALICE, "to": "juliet@capulet.lit", "id": "$1"}
    return node("message", {**about, **attributes}, node("body", None, body))


def test_a_stanza_is_written_as_it_stands() -> None:
    data = serialise(message(), DOMAIN)

    assert data == (
        b"<message from='alice_hs@bridge.example' to='juliet@capulet.lit' id='$1'>"
        b"<body>hi</body></message>"
    )


def test_text_and_attributes_cannot_break_out() -> None:
    data = serialise(message("]]><x/>&amp;", id="'/><message \t\n\r\""), DOMAIN)

    assert b"]]&gt;&lt;x/&gt;&amp;amp;" in data
    assert b"id='&apos;/&gt;&lt;message &#9;&#10;&#13;\"'" in data


def test_what_xml_cannot_carry_becomes_the_replacement_character() -> None:
    assert clean("a\x00\x1b\ufffe\ud800b") == "a\ufffd\ufffd\ufffd\ufffdb"
    assert clean("plain \U0001f600") == "plain \U0001f600"
    data = serialise(message("\x00\ud800\x1b"), DOMAIN)

    assert "\ufffd\ufffd\ufffd".encode() in data


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "capulet.lit",
        "juliet@capulet.lit",
        f"x@sub.{DOMAIN}",
        f"x@{DOMAIN}.evil",
        f"evil/{DOMAIN}",
        f"evil@evil/@{DOMAIN}",
        f"a b@{DOMAIN}",
        f"x@{DOMAIN}/\x00",
    ],
)
def test_nobody_but_our_own_may_send(sender: str) -> None:
    with pytest.raises(StanzaError):
        serialise(message(**{"from": sender}), DOMAIN)


@pytest.mark.parametrize("sender", [DOMAIN, ALICE, f"#r#hs@{DOMAIN}/Nick with / and @"])
def test_everybody_of_ours_may_send(sender: str) -> None:
    assert serialise(message(**{"from": sender}), DOMAIN)


def test_the_domain_is_checked_each_time() -> None:
    serialise(message(), DOMAIN)

    with pytest.raises(StanzaError):
        serialise(message(), "other.example")


@pytest.mark.parametrize(
    "stanza",
    [
        message(to=""),
        message(xmlns="jabber:client"),
        node("stream:features", {"from": ALICE, "to": "x"}),
        node("iq", {"from": ALICE, "to": "x", "id": "1"}),
        node("iq", {"from": ALICE, "to": "x", "type": "get"}),
        message("x" * SIZE_BYTES_MAX),
        node("message", {"from": ALICE, "to": "x"}, node("a b")),
        node("message", {"from": ALICE, "to": "x"}, node("p:b")),
        node("message", {"from": ALICE, "to": "x", "a='": "b"}),
    ],
)
def test_what_is_no_proper_stanza_stays_inside(stanza: Node) -> None:
    with pytest.raises(StanzaError):
        serialise(stanza, DOMAIN)


def test_no_attribute_is_written_twice() -> None:
    data = serialise(Node("message", Twice()), DOMAIN)

    assert XML(data.decode()).attrib == {"from": ALICE, "to": "x"}


class Twice(dict[str, str]):
    """Attributes of which one comes twice."""

    def __init__(self) -> None:
        super().__init__({"from": ALICE, "to": "x"})

    def items(self):  # type: ignore[no-untyped-def] # noqa: ANN201
        return [("from", ALICE), ("to", "x"), ("to", "y")]


def test_deep_nesting_stays_inside() -> None:
    deep = node("x")
    for _ in range(2000):
        deep = Node("x", {}, (deep,))

    with pytest.raises(StanzaError, match="deep"):
        serialise(Node("message", {"from": ALICE, "to": "x"}, (deep,)), DOMAIN)


def test_a_fan_out_is_the_same_stanza_to_each() -> None:
    stanza = addressed(message(), DOMAIN)
    jids = ["a@x/1", "b&<'@y/\x00", "a@x/1"]

    data = stanza.fan_out(jids)

    assert data == b"".join(serialise(message(to=jid), DOMAIN) for jid in jids)
    assert data == stanza.fan_out(jids)
    assert data == b"".join(stanza.to(jid) for jid in jids)
    assert stanza.fan_out([]) == b""


def test_a_fan_out_to_nobody_in_particular_stays_inside() -> None:
    with pytest.raises(StanzaError):
        addressed(message(), DOMAIN).to("")


def test_nothing_that_was_learnt_is_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.xmpp.gate._CACHED_MAX", 1)
    stanza = addressed(message(), DOMAIN)

    assert [stanza.to(jid)[-40:] for jid in ("a@x", "b@x")]
    for number in range(3):
        sender = f"n{number}@{DOMAIN}"
        assert serialise(message(**{"from": sender, f"a{number}": "1"}), DOMAIN)


def test_an_element_that_will_be_sealed_is_checked_as_well() -> None:
    assert (
        element_bytes(node("body", None, "a\x00b")) == "<body>a\ufffdb</body>".encode()
    )
    with pytest.raises(StanzaError):
        element_bytes(node("body", None, "x" * SIZE_BYTES_MAX))
