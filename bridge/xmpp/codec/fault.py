"""Errors that come from XMPP, in the words of the model (RFC 6120 §8.3)."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from bridge.model.delivery import Refusal, Refused

_CONDITIONS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
_TEXT_MAX = 300

_WHY = {
    "bad-request": Refusal.REJECTED,
    "conflict": Refusal.REJECTED,
    "forbidden": Refusal.NOT_ALLOWED,
    "gone": Refusal.NO_SUCH_ROOM,
    "item-not-found": Refusal.NO_SUCH_PERSON,
    "jid-malformed": Refusal.NO_SUCH_PERSON,
    "not-acceptable": Refusal.REJECTED,
    "not-allowed": Refusal.NOT_ALLOWED,
    "not-authorized": Refusal.NOT_ALLOWED,
    "policy-violation": Refusal.NOT_ALLOWED,
    "recipient-unavailable": Refusal.UNREACHABLE,
    "registration-required": Refusal.NOT_ALLOWED,
    "remote-server-not-found": Refusal.UNREACHABLE,
    "remote-server-timeout": Refusal.UNREACHABLE,
    "resource-constraint": Refusal.UNREACHABLE,
    "service-unavailable": Refusal.REJECTED,
    "subscription-required": Refusal.NOT_ALLOWED,
}


# RFC 6121 §8.5.1: servers do not tell apart who is not there and who takes nothing.
_NOBODY_PERHAPS = "service-unavailable"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a stanza of ours came back: *kind* is the error's type."""

    condition: str
    kind: str = "cancel"
    text: str = ""


def fault(stanza: Element) -> Fault:
    """Read the error in *stanza*, whatever state it is in."""
    # Its namespace is the stream's or the sender's, as servers please.
    error = next((child for child in stanza if child.tag.endswith("}error")), None)
    condition, text = "undefined-condition", ""
    if error is None:
        return Fault(condition)
    for child in error:
        if not child.tag.startswith(_CONDITIONS):
            continue
        name = child.tag.removeprefix(_CONDITIONS)
        if name == "text":
            text = " ".join((child.text or "").split())[:_TEXT_MAX]
        else:
            condition = name
    return Fault(condition, error.get("type", "cancel"), text)


def refused(fault: Fault, *, room: bool = False) -> Refused:
    """Tell in our words why somebody, or a *room*, did not take a message."""
    why = _WHY.get(fault.condition, Refusal.REJECTED)
    if room and why is Refusal.NO_SUCH_PERSON:
        why = Refusal.NO_SUCH_ROOM
    said = fault.text or fault.condition.replace("-", " ")
    if not room and not fault.text and fault.condition == _NOBODY_PERHAPS:
        said = "perhaps there is nobody of that name"
    return Refused(why, said)
