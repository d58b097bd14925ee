from xml.etree.ElementTree import XML

import pytest

from bridge.model.delivery import Refusal, Refused
from bridge.xmpp.codec.fault import Fault, fault, refused

NS = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"


@pytest.mark.parametrize("space", ["jabber:client", "jabber:component:accept"])
def test_an_error_is_read_in_whatever_namespace(space: str) -> None:
    stanza = XML(
        f"<message xmlns='{space}'><body>mine</body><error type='wait'>"
        f"<odd xmlns='x'/><resource-constraint {NS}/><text {NS}>too\n much</text>"
        "</error></message>"
    )

    assert fault(stanza) == Fault("resource-constraint", "wait", "too much")


@pytest.mark.parametrize("inside", ["", "<error xmlns='a'/>"])
def test_an_error_that_says_nothing_is_one_nevertheless(inside: str) -> None:
    assert fault(XML(f"<m>{inside}</m>")) == Fault("undefined-condition")


@pytest.mark.parametrize(
    ("condition", "room", "why"),
    [
        ("item-not-found", False, Refusal.NO_SUCH_PERSON),
        ("item-not-found", True, Refusal.NO_SUCH_ROOM),
        ("forbidden", True, Refusal.NOT_ALLOWED),
        ("remote-server-timeout", False, Refusal.UNREACHABLE),
        ("not-in-any-list", False, Refusal.REJECTED),
    ],
)
def test_an_error_is_said_in_our_words(
    condition: str, *, room: bool, why: Refusal
) -> None:
    said = refused(Fault(condition), room=room)

    assert said == Refused(why, condition.replace("-", " "))


def test_who_may_not_be_there_is_said_so_but_a_room_is_not_a_person() -> None:
    """RFC 6121 §8.5.1: servers say the same of nobody and of who takes no messages."""
    of_person = refused(Fault("service-unavailable"))
    of_room = refused(Fault("service-unavailable"), room=True)

    assert of_person == Refused(
        Refusal.REJECTED, "perhaps there is nobody of that name"
    )
    assert of_room == Refused(Refusal.REJECTED, "service unavailable")


def test_what_the_other_side_says_goes_first() -> None:
    assert refused(Fault("forbidden", text="go away")).detail == "go away"
