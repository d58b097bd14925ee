"""Answers those who want to see puppets in their contact lists (RFC 6121 §3, §4).

Every puppet that can exist is everybody's contact who asks. Nothing is remembered:
whoever is forgotten asks again.
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from bridge.xmpp import replies
from bridge.xmpp.codec.names import Jid
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.means import RESOURCE


def answer(
    stanza: Element, sender: Jid, to: Jid, bears: Sequence[Node] = (), *, exists: bool
) -> Sequence[Node]:
    """Answer a presence that came to a puppet, who is there and *bears* its caps."""
    kind = stanza.get("type", "")
    if kind not in ("subscribe", "subscribed", "unsubscribe", "probe"):
        return ()
    if not exists:
        if kind == "subscribe":
            return (_presence("unsubscribed", sender, to),)
        return ()
    about = {"from": f"{to.bare}/{RESOURCE}", "to": sender.bare}
    here = node("presence", about, *bears)
    match kind:
        case "subscribe":
            return (_presence("subscribed", sender, to), here)
        case "probe" | "subscribed":
            # XEP-0163 §4.3: who lets us see what they publish is to know our caps.
            return (here,)
        case _:
            return (
                _presence("unsubscribed", sender, to),
                here._replace(attributes={**here.attributes, "type": "unavailable"}),
            )


def nobody(stanza: Element) -> Node | None:
    """Answer a message to somebody who cannot exist."""
    if not replies.may_answer(stanza):
        return None
    return replies.error(stanza, "cancel", "item-not-found", "there is nobody there")


def too_long(stanza: Element) -> Node | None:
    """Answer whoever has an address that no database can index."""
    if stanza.tag.endswith("presence") and stanza.get("type"):
        return None
    if not replies.may_answer(stanza):
        return None
    words = "your address is too long for this bridge"
    return replies.error(stanza, "modify", "policy-violation", words)


def no_room(stanza: Element, domain: str) -> Node | None:
    """Answer who wants to join what cannot be a room (XEP-0045 §7.2)."""
    if not replies.may_answer(stanza):
        return None
    words = f"no room has this address; #room:server is #room#server@{domain}"
    return replies.error(stanza, "cancel", "item-not-found", words)


def _presence(kind: str, sender: Jid, to: Jid) -> Node:
    return node("presence", {"type": kind, "from": to.bare, "to": sender.bare})
