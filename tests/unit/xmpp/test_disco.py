from xml.etree.ElementTree import Element, SubElement

import pytest

from bridge.xmpp import replies
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.disco import Disco, nobody

DOMAIN = "bridge.example"
INFO = f"{{{replies.DISCO_INFO}}}query"
ITEMS = f"{{{replies.DISCO_ITEMS}}}query"


def iq(payload: str = "", kind: str = "get", to: str = DOMAIN, **query: str) -> Element:
    stanza = Element("{jabber:component:accept}iq", id="1", type=kind, to=to)
    stanza.set("from", "juliet@capulet.lit/x")
    if payload:
        SubElement(stanza, payload, query)
    return stanza


def text(answer: Node | None) -> str:
    return str(answer)


@pytest.fixture
def disco() -> Disco:
    return Disco(
        DOMAIN, "1.0", lambda name: "alice_hs@b" if name == "@alice:hs" else None
    )


def test_the_service_is_a_gateway_to_matrix(disco: Disco) -> None:
    """XEP-0100 §5.1; never a conference service, which clients would adopt."""
    answer = text(disco.service(iq(INFO)))

    assert "'category': 'gateway', 'type': 'matrix'" in answer
    assert "jabber:iq:gateway" in answer
    assert "conference" not in answer


def test_the_service_answers_pings_items_and_version(disco: Disco) -> None:
    ping = disco.service(iq("{urn:xmpp:ping}ping"))

    assert ping is not None
    assert ping.attributes["to"] == "juliet@capulet.lit/x"
    assert ping.attributes["from"] == DOMAIN
    assert ping.attributes["type"] == "result"
    assert "disco#items" in text(disco.service(iq(ITEMS)))
    assert "'1.0'" in text(disco.service(iq("{jabber:iq:version}query")))
    assert "version', {}" not in text(
        Disco(DOMAIN).service(iq("{jabber:iq:version}query"))
    )


def test_the_gateway_translates_addresses(disco: Disco) -> None:
    """XEP-0100 §6."""
    asked = iq("{jabber:iq:gateway}query", kind="set")
    SubElement(asked[0], "{jabber:iq:gateway}prompt").text = " @alice:hs "
    wrong = iq("{jabber:iq:gateway}query", kind="set")

    assert "prompt" in text(disco.service(iq("{jabber:iq:gateway}query")))
    assert "alice_hs@b" in text(disco.service(asked))
    assert "item-not-found" in text(disco.service(wrong))
    assert "item-not-found" in text(Disco(DOMAIN).service(asked))


def test_what_is_for_others_is_left_to_them(disco: Disco) -> None:
    assert disco.service(iq(INFO, to=f"alice_hs@{DOMAIN}")) is None


def test_a_puppet_is_an_account(disco: Disco) -> None:
    answer = text(disco.puppet(iq(INFO, to=f"alice_hs@{DOMAIN}"), "Alice"))

    assert "'category': 'account', 'type': 'registered', 'name': 'Alice'" in answer


@pytest.mark.parametrize(
    ("question", "condition"),
    [
        (iq(), "bad-request"),
        (iq("{jabber:iq:private}query"), "service-unavailable"),
        (iq("{urn:xmpp:ping}ping", kind="set"), "service-unavailable"),
        (iq(INFO, node="x"), "item-not-found"),
    ],
)
def test_what_nobody_serves_is_refused(
    disco: Disco, question: Element, condition: str
) -> None:
    assert condition in text(disco.service(question))


def test_nobody_is_not_found() -> None:
    assert "item-not-found" in text(nobody(iq(INFO)))
    assert "service-unavailable" in text(nobody(iq("{urn:xmpp:ping}ping")))
    assert "service-unavailable" in text(nobody(iq()))
