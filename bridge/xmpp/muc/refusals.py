"""Refuses stanzas in the words of XMPP (RFC 6120 §8.3, XEP-0045 §7)."""

from typing import NamedTuple
from xml.etree.ElementTree import Element

from bridge.model.delivery import Refusal
from bridge.xmpp import replies
from bridge.xmpp.codec.xml import Node, node


class Fault(NamedTuple):
    """A stanza error: its type, its condition and words for people."""

    kind: str
    condition: str
    text: str


NOT_IN_ROOM = Fault("cancel", "not-acceptable", "you are not in this room")
NO_NICK = Fault("modify", "jid-malformed", "a nick is needed to come in")
NICK_TAKEN = Fault("cancel", "conflict", "somebody else has that nick")
OUTCAST = Fault("auth", "forbidden", "you are banned from this room")
MEMBERS_ONLY = Fault("auth", "registration-required", "only members may come in")
LOST_TOUCH = Fault("cancel", "item-not-found", "you are not in this room; join it")
TOO_BUSY = Fault("wait", "resource-constraint", "too many are waiting")
TOO_FAST = Fault("wait", "policy-violation", Refusal.TOO_FAST.value)
TO_OCCUPANT = Fault("modify", "bad-request", "say it to the room")
NO_SUBJECT = Fault("auth", "forbidden", "the topic is set from Matrix")
NO_WHISPER = Fault(
    "cancel",
    "feature-not-implemented",
    "the bridge cannot carry private messages in a room yet;"
    " write to the person directly",
)
NO_INVITATION = Fault(
    "cancel",
    "feature-not-implemented",
    "the bridge cannot carry invitations through a room yet; tell them its address",
)
UNKNOWN = Fault("cancel", "service-unavailable", "")
NOT_YET = Fault("cancel", "feature-not-implemented", "")
NOT_FOUND = Fault("cancel", "item-not-found", "")
FORBIDDEN = Fault("auth", "forbidden", "")

_CONDITIONS = {
    Refusal.NOT_ALLOWED: ("auth", "forbidden"),
    Refusal.NOT_IN_ROOM: ("auth", "registration-required"),
    Refusal.NO_SUCH_PERSON: ("cancel", "item-not-found"),
    Refusal.NO_SUCH_ROOM: ("cancel", "item-not-found"),
    Refusal.DECLINED: ("auth", "forbidden"),
    Refusal.WOULD_EXPOSE: ("modify", "not-acceptable"),
    Refusal.ENCRYPTED: ("modify", "not-acceptable"),
    Refusal.UNDECIPHERABLE: ("modify", "not-acceptable"),
    Refusal.UNENCRYPTABLE: ("modify", "not-acceptable"),
    Refusal.IN_DOUBT: ("wait", "recipient-unavailable"),
    Refusal.UNSUPPORTED: ("cancel", "feature-not-implemented"),
    Refusal.MALFORMED: ("modify", "bad-request"),
    Refusal.TOO_LARGE: ("modify", "policy-violation"),
    Refusal.TOO_FAST: ("wait", "policy-violation"),
    Refusal.CIRCLES: ("cancel", "policy-violation"),
    Refusal.UNREACHABLE: ("wait", "remote-server-timeout"),
    Refusal.UNCONFIRMED: ("wait", "recipient-unavailable"),
    Refusal.REJECTED: ("cancel", "not-allowed"),
}


def of_refusal(why: Refusal, detail: str = "") -> Fault:
    """Translate *why*; *detail* is what the far network said."""
    kind, condition = _CONDITIONS[why]
    return Fault(kind, condition, f"{why.value}: {detail}" if detail else why.value)


def refuse(stanza: Element, fault: Fault) -> Node | None:
    """Answer *stanza* with *fault*; None if it is an answer itself."""
    if not replies.may_answer(stanza):
        return None
    return replies.error(stanza, *fault)


def moved(stanza: Element, address: str) -> Node | None:
    """Answer that the room is reached at another *address* (RFC 6120 §8.3.3.5)."""
    answer = refuse(stanza, Fault("cancel", "gone", ""))
    if answer is None:
        return None
    text = f"this room is {address}"
    gone = node("gone", {"xmlns": replies.STANZAS}, f"xmpp:{address}?join")
    words = node("text", {"xmlns": replies.STANZAS}, text)
    return answer._replace(children=(node("error", {"type": "cancel"}, gone, words),))
