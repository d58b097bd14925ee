import pytest

from bridge.xmpp import contacts
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node
from tests.unit.xmpp.elsewhere import stanza

JULIET = Jid("juliet", "capulet.lit", "balcony")
ALICE = Jid("alice_hs.example", "bridge.example", "")


def answers(kind: str, *, exists: bool = True) -> list[tuple[str, str, str]]:
    presence = stanza(f"<presence type='{kind}'/>")
    return [
        (
            node.attributes.get("type", ""),
            node.attributes["from"],
            node.attributes["to"],
        )
        for node in contacts.answer(presence, JULIET, ALICE, exists=exists)
    ]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("subscribe", ["subscribed", ""]),
        ("unsubscribe", ["unsubscribed", "unavailable"]),
        ("probe", [""]),
        ("subscribed", [""]),
        ("unavailable", []),
        ("error", []),
    ],
)
def test_whoever_asks_sees_a_puppet(kind: str, said: list[str]) -> None:
    """RFC 6121 §3.1.3, §3.3.3, §4.3.2."""
    assert [one for one, _, _ in answers(kind)] == said


def test_a_puppet_is_there_with_its_device() -> None:
    assert answers("probe") == [
        ("", "alice_hs.example@bridge.example/matrix", "juliet@capulet.lit")
    ]


def test_nobody_can_subscribe_to_somebody_who_cannot_be() -> None:
    assert [one for one, _, _ in answers("subscribe", exists=False)] == ["unsubscribed"]
    assert answers("probe", exists=False) == []


def test_who_joins_what_is_no_room_learns_how_rooms_are_called() -> None:
    """XEP-0045 §7.2: a client that hears nothing shows nothing, for ever."""
    join = stanza("<presence from='juliet@capulet.lit/b' to='hall@bridge.example/J'/>")

    answer = contacts.no_room(join, "bridge.example")

    assert answer is not None
    text = str(answer)
    assert "item-not-found" in text
    assert "#room:server is #room#server@bridge.example" in text


def test_an_error_is_never_answered() -> None:
    assert contacts.no_room(stanza("<presence type='error' from='a@b'/>"), "x") is None
    assert contacts.nobody(stanza("<message type='error' from='a@b'/>")) is None
    assert contacts.nobody(stanza("<message type='chat' from='a@b'/>")) is not None


def test_a_puppet_bears_what_it_is_said_to() -> None:
    presence = stanza("<presence type='subscribe'/>")

    said = contacts.answer(presence, JULIET, ALICE, (Node("c", {}, ()),), exists=True)

    assert [one.children for one in said] == [(), (Node("c", {}, ()),)]
