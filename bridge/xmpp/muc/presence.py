"""Writes the presences by which occupants see each other (XEP-0045 §7).

What the room says comes before what the occupant's client says: some clients take the
first ``<x>`` for the room's.
"""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from bridge.model.events import Rank
from bridge.model.places import Network
from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.gate import Addressed, StanzaError, addressed
from bridge.xmpp.muc.stanza import STREAM, TooDeepError, split, to_node
from bridge.xmpp.muc.stencil import BLANK, OCCUPANT_ID, formats, quoted

MUC_USER = "http://jabber.org/protocol/muc#user"
NICK = "http://jabber.org/protocol/nick"

SELF, NON_ANONYMOUS, NICK_ASSIGNED = 110, 100, 210
NICK_CHANGED, BANNED, KICKED = 303, 301, 307
CONFIGURED, REVEALED = 104, 172

STATUS_BYTES_MAX = 4000

_SHARED = frozenset(
    (
        (STREAM, "show"),
        (STREAM, "status"),
        (STREAM, "priority"),
        ("http://jabber.org/protocol/caps", "c"),
        ("vcard-temp:x:update", "x"),
        ("urn:xmpp:idle:1", "idle"),
    )
)

_ROLES = {Rank.GUEST: "visitor", Rank.MEMBER: "participant"}
_AFFILIATIONS = {
    Rank.GUEST: "none",
    Rank.MEMBER: "member",
    Rank.MODERATOR: "member",
    Rank.ADMIN: "admin",
    Rank.OWNER: "owner",
}


class Card(NamedTuple):
    """What others see of an occupant; *jid* and *name* are empty if hidden or same."""

    address: str
    affiliation: str
    role: str
    id: str
    jid: str = ""
    name: str = ""
    status: tuple[Node, ...] = ()


def titles(rank: Rank, network: Network, *, public: bool) -> tuple[str, str]:
    """Translate *rank* to an affiliation and a role (XEP-0045 §5).

    In a public room those of Matrix are members, but guests from XMPP have no lasting
    tie to it. In another one clients encrypt for all members: there only those of
    XMPP are any, and the bridge's relay stands for all of Matrix.
    """
    role = _ROLES.get(rank, "moderator")
    if public is (network is Network.XMPP):
        return "none", role
    if not public:
        return "member", role
    return _AFFILIATIONS[rank], role


def shared(stanza: Element, domain: str) -> tuple[Node, ...]:
    """Return what of a presence the other occupants may see (XEP-0045 §7.7).

    That is nothing if it is too much, or could not be written.
    """
    try:
        kept = [to_node(part) for part in stanza if split(part.tag) in _SHARED]
        if kept:
            whole = addressed(node("presence", {"from": domain}, *kept), domain)
            if len(whole.after) > STATUS_BYTES_MAX:
                return ()
    except (TooDeepError, StanzaError):
        return ()
    return tuple(kept)


def available(card: Card, codes: Sequence[int] = ()) -> Node:
    """Show an occupant; §7.2.2 and §7.7."""
    item = node(
        "item",
        {"affiliation": card.affiliation, "role": card.role, "jid": card.jid},
    )
    name = (node("nick", {"xmlns": NICK}, card.name),) if card.name else ()
    return node(
        "presence",
        {"from": card.address},
        node("x", {"xmlns": MUC_USER}, item, *_codes(codes)),
        node("occupant-id", {"xmlns": OCCUPANT_ID, "id": card.id}),
        *name,
        *card.status,
    )


def unavailable(
    card: Card,
    codes: Sequence[int] = (),
    *,
    nick: str = "",
    actor: str = "",
    reason: str = "",
) -> Node:
    """Show that an occupant is gone (§7.14), or goes by another *nick* now (§7.6)."""
    item = node(
        "item",
        {
            "affiliation": "outcast" if BANNED in codes else card.affiliation,
            "role": card.role if nick else "none",
            "jid": card.jid,
            "nick": nick,
        },
        *((node("actor", {"nick": actor}),) if actor else ()),
        *((node("reason", None, reason),) if reason else ()),
    )
    return node(
        "presence",
        {"from": card.address, "type": "unavailable"},
        node("x", {"xmlns": MUC_USER}, item, *_codes(codes)),
        node("occupant-id", {"xmlns": OCCUPANT_ID, "id": card.id}),
        *card.status,
    )


def belongs(room: str, bare: str, affiliation: str) -> Node:
    """Say who belongs to *room* from now on though they are not in it (§9.3, §9.4)."""
    item = node("item", {"affiliation": affiliation, "jid": bare, "role": "none"})
    attributes = {"type": "normal", "from": room}
    return node("message", attributes, node("x", {"xmlns": MUC_USER}, item))


def _codes(codes: Sequence[int]) -> list[Node]:
    return [node("status", {"code": str(code)}) for code in codes]


class Stencils:
    """Writes the presences of very many occupants without building each as a tree.

    All that look alike but for address, occupant-id, JID and name share a stencil,
    which is cut from a presence written in the ordinary way.
    """

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._cut: dict[tuple[str, str, bool, bool], tuple[bytes, bytes]] = {}

    def available(self, card: Card) -> Addressed:
        """Write the presence of *card*, whose status is not looked at."""
        look = (card.affiliation, card.role, bool(card.jid), bool(card.name))
        before, after = self._cut.get(look) or self._learn(look)
        fill: tuple[bytes, ...] = (card.id.encode(),)
        if card.jid:
            fill = (quoted(card.jid), *fill)
        if card.name:
            fill = (*fill, quoted(card.name))
        return Addressed(before % quoted(card.address), after % fill)

    def _learn(self, look: tuple[str, str, bool, bool]) -> tuple[bytes, bytes]:
        affiliation, role, jid, name = look
        domain = self._domain
        # The gate wants a sender of our domain, which is a blank in whole here.
        address = f"{BLANK}@{domain}"
        card = Card(address, affiliation, role, BLANK, BLANK * jid, BLANK * name)
        before, after = formats(available(card), domain)
        cut = before.replace(b"%b@" + domain.encode(), b"%b"), after
        self._cut[look] = cut
        return cut
