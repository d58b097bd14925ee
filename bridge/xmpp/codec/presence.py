"""What a MUC says of its occupants (XEP-0045 §7, XEP-0421)."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from bridge.model.events import Rank

MUC_USER = "http://jabber.org/protocol/muc#user"

_X = f"{{{MUC_USER}}}x"
_ITEM = f"{{{MUC_USER}}}item"
_STATUS = f"{{{MUC_USER}}}status"
_DESTROY = f"{{{MUC_USER}}}destroy"
_REASON = f"{{{MUC_USER}}}reason"
_ACTOR = f"{{{MUC_USER}}}actor"
_OCCUPANT_ID = "{urn:xmpp:occupant-id:0}occupant-id"

SELF = 110
CREATED = 201
BANNED = 301
RENAMED = 303
KICKED = 307
SHUT_DOWN = 332
PUT_OUT = frozenset((BANNED, KICKED))
CONFIGURED = frozenset((104, 172, 173, 174))


@dataclass(frozen=True, slots=True)
class Seen:
    """An occupant, as one presence shows them.

    *jid* is the real one, without its resource, in rooms that show it.
    """

    nick: str
    gone: bool
    statuses: frozenset[int]
    affiliation: str = "none"
    role: str = "none"
    jid: str = ""
    occupant_id: str = ""
    new_nick: str = ""
    reason: str = ""
    actor: str = ""
    destroyed: bool = False

    @property
    def rank(self) -> Rank:
        """What the occupant may do in the room."""
        return rank(self.affiliation, self.role)


def rank(affiliation: str, role: str) -> Rank:
    """Tell what an affiliation and a role allow, in our words (XEP-0045 §5)."""
    if affiliation == "owner":
        return Rank.OWNER
    if affiliation == "admin":
        return Rank.ADMIN
    if role == "moderator":
        return Rank.MODERATOR
    return Rank.GUEST if role == "visitor" else Rank.MEMBER


def is_self(stanza: Element) -> bool:
    """Tell whether a presence is about whom it is sent to."""
    return SELF in _statuses(stanza.find(_X))


def seen(stanza: Element, nick: str) -> Seen:
    """Read a presence that came from *nick*."""
    x = stanza.find(_X)
    item = None if x is None else x.find(_ITEM)
    attributes = {} if item is None else item.attrib
    occupant = stanza.find(_OCCUPANT_ID)
    return Seen(
        nick,
        stanza.get("type") == "unavailable",
        _statuses(x),
        attributes.get("affiliation", "none"),
        attributes.get("role", "none"),
        attributes.get("jid", "").partition("/")[0],
        "" if occupant is None else occupant.get("id", ""),
        attributes.get("nick", ""),
        _text(item, _REASON),
        _actor(item),
        x is not None and x.find(_DESTROY) is not None,
    )


def real_jid(stanza: Element) -> str:
    """Return whose message the archive of a room says that *stanza* is."""
    x = stanza.find(_X)
    item = None if x is None else x.find(_ITEM)
    return "" if item is None else item.get("jid", "").partition("/")[0]


def _statuses(x: Element | None) -> frozenset[int]:
    if x is None:
        return frozenset()
    codes = (status.get("code", "") for status in x.iterfind(_STATUS))
    return frozenset(int(c) for c in codes if len(c) == len("110") and c.isdecimal())


def _text(parent: Element | None, name: str) -> str:
    child = None if parent is None else parent.find(name)
    return "" if child is None else (child.text or "").strip()


def _actor(item: Element | None) -> str:
    actor = None if item is None else item.find(_ACTOR)
    return "" if actor is None else actor.get("nick", "")
