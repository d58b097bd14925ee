"""Makes arrivals of what is said in a MUC elsewhere, and knows our own words again.

Nothing that a sender can write into a stanza is believed: ids by the room and
occupant-ids count only in rooms that vouch for them (XEP-0359 §6, XEP-0421 §4).
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from bridge.model.delivery import Arrival
from bridge.model.events import Rank, Subject
from bridge.model.places import Network, Person, Room
from bridge.xmpp.archive import Archived
from bridge.xmpp.codec.about import About
from bridge.xmpp.codec.message import (
    archive_ref,
    occupant_id,
    origin_id,
    origin_ref,
    stanza_id as named,
)
from bridge.xmpp.codec.peek import BODY, flat, sent_at, speaks
from bridge.xmpp.codec.presence import real_jid
from bridge.xmpp.confirm import Confirmations
from bridge.xmpp.means import COMMAND, Means
from bridge.xmpp.muc.stanza import TooDeepError, to_node
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.packing import MUC, Heard, pack
from bridge.xmpp.puppets import Puppets

logger = logging.getLogger(__name__)

_SUBJECT = "{jabber:component:accept}subject"
_THREAD = "{jabber:component:accept}thread"

TOPIC_MAX = 10_000


@dataclass(slots=True)
class Mark:
    """How far we have heard: the archive's name and the time of the newest message."""

    stanza_id: str = ""
    stamp: str = ""

    @classmethod
    def read(cls, text: str) -> "Mark":
        """Read what *write* wrote."""
        stamp, _, stanza_id = text.partition(" ")
        return cls(stanza_id, stamp)

    @classmethod
    def now(cls, stanza_id: str) -> "Mark":
        """Mark the end of what has been said so far."""
        return cls(stanza_id, _stamp(datetime.now(UTC)))

    def write(self) -> str:
        """Write the mark on one line."""
        return f"{self.stamp} {self.stanza_id}"


class Hearing:
    """The ears of the bridge in one MUC; *spoke* learns of everybody who speaks.

    As we come in, *former* is how far we had heard before, and what is older than the
    *horizon* was not asked for.
    """

    def __init__(
        self,
        room: Room,
        means: Means,
        occupancy: Occupancy,
        puppets: Puppets,
        confirmations: Confirmations,
        spoke: Callable[[str], None],
    ) -> None:
        self.mark = Mark()
        self.about = About()
        self.nick = ""
        self.horizon = self.former = ""
        self.subject: str | None = None
        self._room = room
        self._means = means
        self._occupancy = occupancy
        self._puppets = puppets
        self._confirmations = confirmations
        self._spoke = spoke

    def hear(self, stanza: Element, nick: str, past: Archived | None = None) -> None:
        """Take a groupchat message that *nick* sent, now or, as *past* says, before."""
        then = sent_at(stanza, self._room.address) if past is None else past.at
        at = then or datetime.now(UTC)
        stanza_id = self._named(stanza) if past is None else past.stanza_id
        name = _own_name(stanza)
        if past is None and then is not None and self._over(then, stanza_id or name):
            self._learn_subject(stanza, then)
            return
        self._advance(stanza_id, at)
        if nick and self._ours(nick, name):
            self._confirmations.shown(name, stanza_id)
            return
        person, standing = self._speaker(stanza, nick, now=(past or then) is None)
        if not speaks(stanza):
            self._set_subject(stanza, person, nick, at)
        elif nick and self._wanted(stanza):
            self._keep(stanza, nick, (person, int(standing), stanza_id, at))

    def _over(self, then: datetime, name: str) -> bool:
        """Tell whether history repeats what was heard, or what was not for us."""
        stamp = _stamp(then)
        return stamp < self.horizon if name else stamp <= self.mark.stamp

    def _advance(self, stanza_id: str, at: datetime) -> None:
        stamp = _stamp(at)
        if stanza_id:
            self.mark = Mark(stanza_id, stamp)
        elif not self.about.archive and stamp > self.mark.stamp:
            self.mark = Mark("", stamp)

    def _ours(self, nick: str, name: str) -> bool:
        """Tell whether a puppet or the bridge itself said it."""
        if nick == self.nick or self._puppets.ours(nick, name):
            return True
        if name.startswith("$") and self._confirmations.waits(name):
            return True
        seen = self._occupancy.at(nick)
        return seen is not None and seen.jid.endswith("@" + self._means.domain)

    def _keep(
        self, stanza: Element, nick: str, known: tuple[str, int, str, datetime]
    ) -> None:
        person, standing, stanza_id, at = known
        muc = self._room.address
        try:
            tree = to_node(stanza)
        except TooDeepError:
            logger.info("%s: of a message that is nested too deeply", muc)
            tree = to_node(flat(stanza))
        at_ms = int(at.timestamp() * 1000)
        jid = self._real(stanza, person) if self.about.secret else ""
        heard = Heard(muc, nick, person, standing, at_ms, stanza_id, tree, jid)
        key = self._key(heard, stanza)
        self._means.inbound.add(Arrival(self._room, key, pack(MUC, heard)))
        self._spoke(person)

    def _key(self, heard: Heard, stanza: Element) -> str:
        """Tell a message from all others, also where the room gives it no name.

        Its sender's id alone does not: clients reuse them.
        """
        if heard.stanza_id:
            return archive_ref(heard.muc, heard.stanza_id).id
        name, body = stanza.get("id", ""), stanza.findtext(BODY) or ""
        if not name:
            return secrets.token_hex(16)
        parts = (heard.muc, heard.nick, name, body)
        return self._means.repeats.name(*parts, at_s=heard.at_ms / 1000)

    def _real(self, stanza: Element, person: str) -> str:
        """Tell whose devices have sealed what came; only they could have."""
        seen = self._occupancy.holder(person)
        return real_jid(stanza) if seen is None else seen.jid

    def _wanted(self, stanza: Element) -> bool:
        """Tell whether anybody could read it: a room may be entered, yet not linked."""
        if self._means.host.portal(self._room) is not None:
            return True
        return (stanza.findtext(BODY) or "").startswith(COMMAND)

    def _speaker(self, stanza: Element, nick: str, *, now: bool) -> tuple[str, Rank]:
        """Name who speaks, or spoke, and what they may do, as far as is certain.

        Who had the nick at another time is not known.
        """
        given = occupant_id(stanza)
        seen = self._occupancy.at(nick) if now else None
        if given and self._occupancy.occupant_ids:
            person = self._occupancy.identity(nick, given)
            seen = self._occupancy.holder(person)
        elif seen is not None:
            person = self._occupancy.person(seen)
        else:
            person = self._occupancy.identity(nick, "")
        return person, Rank.GUEST if seen is None else seen.rank

    def _named(self, stanza: Element) -> str:
        """Return the id that the room gave; two of them are one too many."""
        if not self.about.stanza_ids:
            return ""
        return named(stanza, self._room.address) or ""

    def _learn_subject(self, stanza: Element, then: datetime) -> None:
        """Take note of the subject, which was set *then*, as we come in.

        It is news only if nobody was told before: on Matrix it may be another since.
        """
        if speaks(stanza):
            return
        if _stamp(then) > self.former:
            self._set_subject(stanza, "", "", then)
        elif (topic := _topic(stanza)) is not None:
            self.subject = topic

    def _set_subject(
        self, stanza: Element, person: str, nick: str, at: datetime
    ) -> None:
        """Take note of a new subject."""
        topic = _topic(stanza)
        if topic is None:
            return
        known, self.subject = self.subject, topic
        portal = self._means.host.portal(self._room)
        if portal is None or topic == (portal.topic if known is None else known):
            return
        sender = Person(Network.XMPP, person if nick else self._room.address)
        self._means.host.tell(
            Subject(
                ref=origin_ref(sender, "subject"),
                room=self._room,
                sender=sender,
                sent_at=at,
                name=nick,
                topic=topic,
            )
        )


def _topic(stanza: Element) -> str | None:
    """Read the subject (XEP-0045 §7.2.15: a message without a body); None if none."""
    subject = stanza.find(_SUBJECT)
    if subject is None or stanza.find(_THREAD) is not None:
        return None
    return (subject.text or "").strip()[:TOPIC_MAX]


def _own_name(stanza: Element) -> str:
    """Return the id that its sender gave a message.

    Services older than XEP-0045 1.31 show it under another, but leave inside what was.
    """
    name, origin = stanza.get("id", ""), origin_id(stanza) or ""
    return origin if origin.startswith("$") else name


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
