"""How long it took until what was said on one network was shown on the other."""

import time
from collections.abc import Iterator
from contextlib import suppress

from deploy.lab.heard import NotHeardError
from deploy.lab.stanzas import bare, tag
from tests.faults.scenes import Scene
from tests.faults.town import Town

TURN_S = 5.0


class Delays:
    """Watches what those who listen in a town see, and when."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._seen: dict[tuple[str, str], float] = {}
        self._read = {town.juliet: 0, town.romeo: 0}

    async def watch(self) -> None:
        """Take in what comes, for ever."""
        town = self._town
        while True:
            with suppress(NotHeardError):
                await town.romeo.until(self._note_stanzas, "news", TURN_S)
            for person in (town.cast.alice, town.cast.bob):
                with suppress(NotHeardError):
                    await person.until(lambda: None, "news", 0.1)

    def worst(self) -> float:
        """Return the longest delay.

        What its sender had to say again is left out: it was late by then.
        """
        self._note_stanzas()
        self._note_events()
        found = [late for scene in self._town.scenes for late in self._late(scene)]
        return max(found, default=0.0)

    def _late(self, scene: Scene) -> Iterator[float]:
        again = scene.again
        for text, said_at in scene.said.times.items():
            place = scene.places[text.startswith("matrix")]
            seen_at = self._seen.get((place, text))
            if seen_at is not None and text not in again:
                yield seen_at - said_at

    def _note_stanzas(self) -> bool | None:
        """Note what XMPP shows; true if that is more than before."""
        news = None
        for person, read in self._read.items():
            for stanza in person.all[read:]:
                text = stanza.findtext(tag("body"), "")
                place = bare(stanza.get("from", ""))
                self._seen.setdefault((place, text), time.time())
                news = True
            self._read[person] = len(person.all)
        return news

    def _note_events(self) -> None:
        for person in (self._town.cast.alice, self._town.cast.bob):
            for event in person.events:
                text, at = event["content"].get("body"), event["origin_server_ts"]
                self._seen.setdefault((event["room_id"], str(text)), at / 1000)
