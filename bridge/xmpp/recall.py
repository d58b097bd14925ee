"""What was said in a MUC elsewhere while we did not hear it: read again, or held."""

import logging
from xml.etree.ElementTree import Element

from bridge.model.places import Room
from bridge.model.records import Cursor
from bridge.xmpp import archive
from bridge.xmpp.archive import Archive, Archived, TooMuchError
from bridge.xmpp.codec.about import About
from bridge.xmpp.codec.names import parse
from bridge.xmpp.component import IqError
from bridge.xmpp.hearing import Hearing, Mark
from bridge.xmpp.means import Means

logger = logging.getLogger(__name__)

CURSOR = "muc"
HELD_MAX = 10_000
ARCHIVE_TRIES_MAX = 5


class Recall:
    """Catches up with what was said in *room*; what is lost, both sides are told."""

    def __init__(self, room: Room, means: Means, hearing: Hearing) -> None:
        self._room = room
        self._means = means
        self._hearing = hearing
        self._archive = Archive(room.address, means)
        self._faults = 0
        self._held: list[tuple[Element, str]] = []
        self._overflown = False

    def received(self, result: Element) -> None:
        """Take a result of the archive."""
        self._archive.received(result)

    def hold(self, stanza: Element, nick: str) -> None:
        """Keep what is said now until all that was said before has been read."""
        if len(self._held) < HELD_MAX:
            self._held.append((stanza, nick))
        else:
            self._overflown = True

    async def catch_up(self, about: About) -> None:
        """Read what was said while we were away; the first time nothing is."""
        await self._read(about)
        if self._overflown and about.archive:
            # All that was held, and what was not, is in the archive by now.
            self.forget()
            await self._read(about)

    def release(self) -> None:
        """Hear what was held."""
        held, self._held = self._held, []
        for stanza, nick in held:
            self._hearing.hear(stanza, nick)
        if self._overflown:
            self._overflown = False
            self.warn("some of what was said as the bridge came back is lost")

    def forget(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
        self._overflown = False

    def warn(self, words: str) -> None:
        """Let the people of Matrix know what will not reach them."""
        logger.warning("%s: %s", self._room.address, words)
        self._means.host.warn(self._room, f"{self._room.address}: {words}")

    async def _read(self, about: About) -> None:
        mark = self._hearing.mark
        if not mark.stamp:
            self._hearing.mark = Mark.now(await self._newest(about))
            # Without it nobody could tell, after a fall, what we have missed.
            self._means.host.note(
                Cursor(CURSOR, self._room.address, self._hearing.mark.write())
            )
            return
        if not about.archive:
            return
        try:
            async for page in self._archive.after(mark.stanza_id, mark.stamp):
                for one in page:
                    self._recall(one)
        except IqError as error:
            self._faults += 1
            if error.kind == "wait" and self._faults < ARCHIVE_TRIES_MAX:
                raise  # we come in again, and ask again, before we hear on
            self.warn(
                "what was said while the bridge was away is lost: the room's archive"
                f" cannot be read ({error.condition})"
            )
        except TooMuchError:
            self.warn(
                f"more than {archive.TOTAL_MAX} messages were said while the bridge"
                " was away; those after them, until now, are lost"
            )
        self._faults = 0

    async def _newest(self, about: About) -> str:
        """Name the newest message of the archive, if there is one for us."""
        try:
            return await self._archive.newest() if about.archive else ""
        except IqError as error:
            logger.info("%s: no archive: %s", self._room.address, error.condition)
            return ""

    def _recall(self, one: Archived) -> None:
        sender = parse(one.message.get("from", ""))
        if sender is None or sender.bare != self._room.address:
            return
        if one.message.get("type") == "groupchat":
            self._hearing.hear(one.message, sender.resource, one)
