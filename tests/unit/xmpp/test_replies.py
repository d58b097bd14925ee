from xml.etree.ElementTree import Element

import pytest

from bridge.xmpp import replies
from bridge.xmpp.codec.xml import node
from bridge.xmpp.gate import serialise

DOMAIN = "bridge.example"


def stanza(name: str = "message", **attributes: str) -> Element:
    about = {"from": "juliet@capulet.lit/x", "to": f"a@{DOMAIN}", "id": "1"}
    return Element("{jabber:component:accept}" + name, {**about, **attributes})


def test_an_error_goes_back_with_its_reason_and_old_code() -> None:
    """RFC 6120 §8.3.1, XEP-0086."""
    refused = replies.error(stanza(), "cancel", "item-not-found", "nobody <here>")

    assert serialise(refused, DOMAIN) == (
        b"<message from='a@bridge.example' to='juliet@capulet.lit/x' id='1'"
        b" type='error'><error type='cancel' code='404'>"
        b"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        b"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>nobody &lt;here&gt;</text>"
        b"</error></message>"
    )


def test_a_condition_without_an_old_code_has_none() -> None:
    refused = replies.error(stanza(), "modify", "policy-violation")

    assert b"code" not in serialise(refused, DOMAIN)


@pytest.mark.parametrize("kind", ["error", "result"])
def test_answers_are_never_answered_with_errors(kind: str) -> None:
    """RFC 6120 §8.3.1."""
    answer = stanza("iq", type=kind)

    assert not replies.may_answer(answer)
    with pytest.raises(ValueError, match="never"):
        replies.error(answer, "cancel", "item-not-found")


def test_a_result_may_be_empty() -> None:
    assert serialise(replies.result(stanza("iq", type="get")), DOMAIN) == (
        b"<iq from='a@bridge.example' to='juliet@capulet.lit/x' id='1' type='result'/>"
    )


def test_a_description_holds_identity_features_and_forms() -> None:
    identity = replies.Identity("conference", "text", "Tea")
    form = node("x", {"xmlns": "jabber:x:data", "type": "result"})

    described = replies.info(identity, ["urn:a"], [form], name="n")

    assert described.attributes == {"xmlns": replies.DISCO_INFO, "node": "n"}
    assert described.children == (
        node("identity", {"category": "conference", "type": "text", "name": "Tea"}),
        node("feature", {"var": "urn:a"}),
        form,
    )


def test_items_are_listed_by_address_and_name() -> None:
    listed = replies.items([("#r@b", "Room")])

    assert listed.children == (node("item", {"jid": "#r@b", "name": "Room"}),)
