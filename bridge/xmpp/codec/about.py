"""What a MUC tells of itself (XEP-0030, XEP-0045 §6.4, XEP-0128)."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element

INFO = "http://jabber.org/protocol/disco#info"
MUC = "http://jabber.org/protocol/muc"
MAM = "urn:xmpp:mam:2"
STANZA_IDS = "urn:xmpp:sid:0"
OCCUPANT_IDS = "urn:xmpp:occupant-id:0"

COUNT_DIGITS_MAX = 9

_DATA = "{jabber:x:data}"


@dataclass(frozen=True, slots=True)
class About:
    """A MUC before one enters it; *occupants* are 0 if it does not say how many."""

    name: str = ""
    description: str = ""
    features: frozenset[str] = frozenset()
    occupants: int = 0

    @property
    def archive(self) -> bool:
        """Whether what was said can be read later."""
        return MAM in self.features

    @property
    def stanza_ids(self) -> bool:
        """Whether ids that claim to be the room's are (XEP-0359 §3, XEP-0313 §5)."""
        return STANZA_IDS in self.features or MAM in self.features

    @property
    def occupant_ids(self) -> bool:
        """Whether occupant-ids are the room's and not their sender's (XEP-0421)."""
        return OCCUPANT_IDS in self.features

    @property
    def secret(self) -> bool:
        """Whether people can encrypt there: all who may read it are known."""
        return self.features >= {"muc_membersonly", "muc_nonanonymous"}

    @property
    def public(self) -> bool:
        """Whether anybody who knows its name may come in.

        A hidden room is only not listed (and so is the Matrix room made for it).
        """
        return not self.features & {"muc_membersonly", "muc_passwordprotected"}


def about(answer: Element) -> About | None:
    """Read the answer to disco#info; None if this is no room to talk in."""
    query = answer.find(f"{{{INFO}}}query")
    if query is None:
        return None
    features = frozenset(f.get("var", "") for f in query.iterfind(f"{{{INFO}}}feature"))
    identities = query.iterfind(f"{{{INFO}}}identity")
    mine = [i for i in identities if i.get("category") == "conference"]
    if not mine or MUC not in features:
        return None
    description = _field(query, "muc#roominfo_description")
    count = _field(query, "muc#roominfo_occupants")[:COUNT_DIGITS_MAX]
    occupants = int(count) if count.isascii() and count.isdecimal() else 0
    return About(mine[0].get("name", ""), description, features, occupants)


def _field(query: Element, name: str) -> str:
    for field in query.iterfind(f"{_DATA}x/{_DATA}field"):
        if field.get("var") == name:
            return (field.findtext(f"{_DATA}value") or "").strip()
    return ""
