"""Tells the core who comes and goes in a MUC elsewhere, as far as it matters.

A large room is full of people who never say anything; to bring all of them over
would cost both networks much and tell nobody anything. So there only those count
who have spoken, or were told of when it was smaller.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from bridge.core.ports import State, StoreUnavailableError
from bridge.model.events import Join, Leave, Rename
from bridge.model.places import Network, Person, Room
from bridge.model.records import Portal
from bridge.xmpp.calm import Calm
from bridge.xmpp.codec.message import origin_ref
from bridge.xmpp.codec.presence import BANNED, PUT_OUT, Seen
from bridge.xmpp.means import Means
from bridge.xmpp.missing import Missing
from bridge.xmpp.occupancy import Occupancy
from bridge.xmpp.puppets import Puppets

SMALL_MAX = 40
"""Up to so many occupants, all of them are told of."""

CROWD_MAX = 50_000
"""So many occupants are known; whoever comes then can only be heard."""

SPOKEN_MAX = 2_000
"""Beyond so many who have spoken, only those are remembered who are still there."""

NOBODY = Seen("", gone=True, statuses=frozenset())

_EVENT = "presence"


class Watching:
    """The eyes of the bridge in one MUC; *own* is the nick that it bears itself."""

    puppets: Puppets

    def __init__(self, room: Room, means: Means, occupancy: Occupancy) -> None:
        self.own = ""
        self._room = room
        self._means = means
        self._occupancy = occupancy
        self._spoken: set[str] = set()
        self._known: dict[str, Seen] | None = None
        self._entering = False
        self._calm = Calm(self._say)
        self._missing = Missing(occupancy)
        self._recalled = False

    def entering(self) -> None:
        """Take note that all presences will come anew."""
        self._occupancy.clear()
        self._entering = True

    def entered(self, occupants: int = 0) -> None:
        """Take note that everybody who is there has been seen.

        *occupants* is how many there were, if the room has said so.
        """
        self._entering = False
        self._occupancy.complete()
        self._missing.entered(occupants)
        self.announce()

    def inside(self) -> None:
        """Take note that we have heard all that was said while we were away."""
        self._missing.inside()

    def outside(self) -> None:
        """Take note that we see nothing until we have entered again."""
        self._missing.outside()

    def announce(self) -> None:
        """Tell who has come since the core last knew, once it wants to know.

        Who has gone is told of later: they may only be slower than we to come back.
        """
        if self._entering or not len(self._occupancy):
            return
        if self._means.host.portal(self._room) is None:
            return
        here = {self._occupancy.person(seen): seen for seen in self._occupancy}
        for person, seen in (self._known or {}).items():
            if person not in here and self._counts(person, seen):
                self._missing.doubt(person)
        for person, seen in here.items():
            if person not in (self._known or {}):
                self._tell_joined(person, seen)
        self._known = here

    def announce_late(self) -> None:
        """Tell who is there if nobody wanted to know before, and what had to wait."""
        if self._known is None:
            self.announce()
        self._calm.flush()

    async def look(self) -> None:
        """Tell what had to wait, and who has gone while we did not see it.

        One at a time: they are long gone, and may be many.
        """
        self.announce_late()
        portal = self._means.host.portal(self._room) if self._missing.due else None
        if portal is None:
            return
        if not self._recalled:
            with suppress(StoreUnavailableError):  # to be asked again
                await self._recall(portal)
        elif person := self._missing.next():
            somebody = Person(Network.XMPP, person)
            self._calm.tell(person, self._left(somebody, somebody, NOBODY), shown=True)

    def spoke(self, person: str) -> None:
        """Take note that somebody has said something."""
        self._missing.spoke(person)
        self._spoken.add(person)
        if len(self._spoken) > SPOKEN_MAX:
            # Who has left counts again when they speak again.
            self._spoken &= {person, *(self._known or ())}

    def saw(self, seen: Seen) -> None:
        """Take a presence of anybody but the listener."""
        if seen.gone:
            self._gone(seen)
        elif len(self._occupancy) >= CROWD_MAX and seen.nick not in self._occupancy:
            return  # no room has so many, but one that means ill
        elif (before := self._occupancy.enter(seen)) is None or self._changed(
            before, seen
        ):
            self._came(self._occupancy.person(seen), seen)

    def puppet_put_out(self, mxid: str, seen: Seen) -> None:
        """Take note that somebody of the room has put a puppet out of it."""
        linked = self._means.host.portal(self._room) is not None
        if not seen.statuses & PUT_OUT or self._entering or not linked:
            return
        actor = self._occupancy.at(seen.actor) if seen.actor else None
        by = self._room.address if actor is None else self._occupancy.person(actor)
        sender, puppet = Person(Network.XMPP, by), Person(Network.MATRIX, mxid)
        # Who was put out is told so at once.
        self._means.host.tell(self._left(sender, puppet, seen))

    @property
    def _quiet(self) -> bool:
        return self._entering or self._known is None

    def _changed(self, before: Seen, seen: Seen) -> bool:
        return self._occupancy.person(before) != self._occupancy.person(seen)

    def _came(self, person: str, seen: Seen) -> None:
        if self._known is None or self._entering:
            return
        known = self._known.get(person)
        self._known[person] = seen
        if known is None:
            self._tell_joined(person, seen)
        elif known.nick != seen.nick:
            self._tell_renamed(person, seen)

    def _gone(self, seen: Seen) -> None:
        if seen.new_nick:
            # The new presence follows, but what is said between the two has a name.
            renamed = self._occupancy.rename(seen.nick, seen.new_nick)
            if renamed is not None:
                self._came(self._occupancy.person(renamed), renamed)
            return
        there = self._occupancy.at(seen.nick)
        person = "" if there is None else self._occupancy.person(there)
        self._occupancy.leave(seen.nick)
        if there is None or self._quiet or self._occupancy.holder(person) is not None:
            return
        if self._known is not None:
            self._known.pop(person, None)
        self._tell_left(person, replace(seen, jid=there.jid))

    def _counts(self, person: str, seen: Seen) -> bool:
        ours = seen.nick == self.own or self.puppets.bears(seen.nick)
        if ours or seen.jid.endswith("@" + self._means.domain):
            return False
        shown = person in self._spoken or person in self._calm
        return shown or len(self._occupancy) <= SMALL_MAX

    def _tell_joined(self, person: str, seen: Seen) -> None:
        if self._counts(person, seen):
            sender = Person(Network.XMPP, person)
            self._calm.tell(
                person,
                Join(
                    ref=origin_ref(sender, _EVENT),
                    room=self._room,
                    sender=sender,
                    sent_at=datetime.now(UTC),
                    name=seen.nick,
                    rank=seen.rank,
                ),
            )

    def _tell_renamed(self, person: str, seen: Seen) -> None:
        if self._counts(person, seen):
            sender = Person(Network.XMPP, person)
            self._calm.tell(
                person,
                Rename(
                    ref=origin_ref(sender, _EVENT),
                    room=self._room,
                    sender=sender,
                    sent_at=datetime.now(UTC),
                    name=seen.nick,
                ),
            )

    def _tell_left(self, person: str, seen: Seen) -> None:
        if self._counts(person, seen):
            somebody = Person(Network.XMPP, person)
            event = self._left(somebody, somebody, seen)
            self._calm.tell(person, event, shown=person in self._spoken)

    async def _recall(self, portal: Portal) -> None:
        """Learn whom an earlier run has left on Matrix; they count, as they did."""
        shown = await self._means.shown.take(self._means.store, portal.matrix)
        self._recalled = True
        for person in shown:
            self._missing.doubt(person)
            if self._occupancy.holder(person) is not None:
                self._spoken.add(person)

    def _left(self, sender: Person, person: Person, seen: Seen) -> Leave:
        return Leave(
            ref=origin_ref(sender, _EVENT),
            room=self._room,
            sender=sender,
            sent_at=datetime.now(UTC),
            person=person,
            banned=BANNED in seen.statuses,
            reason=seen.reason,
        )

    def _say(self, event: State) -> None:
        # After what was said before it: whoever speaks is shown as being there.
        self._means.inbound.after(partial(self._means.host.tell, event))
