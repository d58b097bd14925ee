from xml.etree.ElementTree import Element

import pytest

from bridge.model.delivery import Refusal
from bridge.xmpp.muc import refusals
from tests.unit.xmpp.muc.world import ROMEO, TEA


def stanza(kind: str) -> Element:
    attributes = {"type": kind, "from": ROMEO, "to": TEA, "id": "1"}
    return Element("{jabber:component:accept}message", attributes)


@pytest.mark.parametrize("why", list(Refusal))
def test_every_refusal_has_words(why: Refusal) -> None:
    fault = refusals.of_refusal(why, "M_REASON")

    assert fault.text == f"{why.value}: M_REASON"
    assert fault.kind in ("auth", "cancel", "modify", "wait")
    assert refusals.of_refusal(why).text == why.value


@pytest.mark.parametrize("kind", ["error", "result"])
def test_an_answer_is_never_answered(kind: str) -> None:
    """RFC 6120 §8.3.1."""
    assert refusals.refuse(stanza(kind), refusals.FORBIDDEN) is None
    assert refusals.moved(stanza(kind), TEA) is None


def test_an_error_goes_back_where_it_came_from() -> None:
    answer = refusals.refuse(stanza("groupchat"), refusals.NOT_IN_ROOM)

    assert answer is not None
    assert answer.attributes == {"from": TEA, "to": ROMEO, "id": "1", "type": "error"}
