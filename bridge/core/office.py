"""The dead letter office: lists what did not arrive, sends it again, throws it away.

People ask in the room that a letter was sent from or to; the admin by the command
line, which leaves a wish in the database.
"""

import logging
import time
from asyncio import sleep
from collections.abc import Sequence

from bridge.core.directory import Directory
from bridge.core.dispatch import Dispatch
from bridge.core.letters import LANE_MAX, PAGE, expired, now_ms
from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.model.delivery import Refusal
from bridge.model.events import PREFIXES, Command, Rank
from bridge.model.places import Network
from bridge.model.records import DeadLetter, Kind, Wish

logger = logging.getLogger(__name__)

SHOWN_MAX = 20
LOOK_EVERY_S = 2.0
SWEEP_EVERY_S = 3600.0

USAGE = "dead list, dead retry NUMBER (or all), dead drop NUMBER (or all)"


class Office:
    """What becomes of dead letters."""

    def __init__(self, store: Store, directory: Directory, dispatch: Dispatch) -> None:
        self._store = store
        self._directory = directory
        self._dispatch = dispatch
        self._letters = dispatch.letters
        self._swept = -SWEEP_EVERY_S
        self._buried = 0

    async def obey(self, event: Command, words: Sequence[str], unit: Unit) -> str:
        """Do with the letters of a room what *words* say; return the answer."""
        if event.rank < Rank.ADMIN and not self._is_chat(event):
            return "Only admins of this room may see what did not arrive."
        letters = await self._letters.of_lane(self._directory.lane(event.room))
        match words:
            case [] | ["list"]:
                return _listed(letters, event.room.network)
            case ["retry" | "drop" as verb, "all"]:
                return self._all(letters, verb, unit)
            case ["retry" | "drop" as verb, number] if number.isascii():
                found = [one for one in letters if str(one.id) == number]
                return self._all(found, verb, unit) if found else _none(number)
            case _:
                return f"{PREFIXES[event.room.network]} {USAGE}"

    async def run(self) -> None:
        """Fulfil wishes, and throw away what is too old, until cancelled."""
        while True:
            try:
                await self.grant()
                if self._sweep_due():
                    await self.sweep()
            except StoreUnavailableError:
                logger.debug("dead letters cannot be seen to at present")
            except Exception:
                # The end of the line for one look: a broken letter ends nothing else.
                logger.exception("dead letters cannot be seen to")
            await sleep(LOOK_EVERY_S)

    def _sweep_due(self) -> bool:
        """Tell whether it is time to sweep, or whether many have come meanwhile."""
        late = time.monotonic() - self._swept >= SWEEP_EVERY_S
        return late or self._letters.buried - self._buried >= LANE_MAX

    async def grant(self) -> None:
        """Do what the command line has asked for."""
        for wish in await self._store.load(Wish):
            unit = Unit(drop=[wish])
            try:
                await self._grant(wish, unit)
            except StoreUnavailableError:
                raise
            except Exception:
                # The end of the line for one wish.
                logger.exception("dead letter %d cannot be seen to", wish.letter)
            await self._write(unit)

    async def _grant(self, wish: Wish, unit: Unit) -> None:
        letter = await self._store.find(DeadLetter, wish.letter)
        if letter is not None:
            logger.info("dead letter %d: %s: wished for", letter.id, wish.verb)
            self._one(letter, wish.verb, unit)

    async def _write(self, unit: Unit) -> None:
        """Make *unit* durable, however long nothing can be written.

        A letter is revived once: wished for again, it would stay where it is.
        """
        while True:
            try:
                await self._dispatch.commit(unit)
            except StoreUnavailableError:
                logger.debug("what was wished for cannot be written at present")
                await sleep(LOOK_EVERY_S)
            else:
                return

    async def sweep(self) -> None:
        """Throw away the letters that are too old, or too many."""
        # Without what they hold, so that all of them take little room.
        self._swept, self._buried = time.monotonic(), self._letters.buried
        letters: list[DeadLetter] = []
        while page := await self._page(letters[-1].id if letters else 0):
            letters += page
        gone = expired(letters, now_ms())
        if gone:
            logger.warning("%d dead letters are too old or too many: gone", len(gone))
            await self._dispatch.commit(Unit(drop=list(gone)))

    async def _page(self, after: int) -> Sequence[DeadLetter]:
        page = await self._store.letters("", after, PAGE)
        return [_emptied(letter) for letter in page]

    def _is_chat(self, event: Command) -> bool:
        """Tell whether *event* is of the only person of XMPP in a direct chat."""
        portal = self._directory.portal(event.room)
        direct = portal is not None and portal.kind is Kind.DIRECT
        return direct and event.room.network is Network.XMPP

    def _all(self, letters: Sequence[DeadLetter], verb: str, unit: Unit) -> str:
        done = sum(1 for letter in letters if self._one(letter, verb, unit))
        left = len(letters) - done
        what = "will be sent again" if verb == "retry" else "dropped"
        answer = f"{done} of {len(letters)} {what}."
        if left:
            answer += f" {left} would go on in the clear, which is not allowed here."
        return answer

    def _one(self, letter: DeadLetter, verb: str, unit: Unit) -> bool:
        if verb == "retry":
            return self._letters.revive(letter, unit)
        self._letters.forget(letter, unit)
        return True


def _listed(letters: Sequence[DeadLetter], network: Network) -> str:
    if not letters:
        return "Nothing of this room waits undelivered."
    now = now_ms()
    shown = letters[-SHOWN_MAX:]
    lines = [describe(letter, now) for letter in shown]
    if len(shown) < len(letters):
        lines.insert(0, f"The newest {len(shown)} of {len(letters)}:")
    return "\n".join([*lines, f"{PREFIXES[network]} {USAGE}"])


def describe(letter: DeadLetter, now: int) -> str:
    """Say in one line what a letter is, not what it says."""
    said = letter.detail.decode()
    known = letter.why in Refusal.__members__
    why = Refusal[letter.why].value if known else letter.why
    return f"{letter.id}: to {letter.room}, {_ago(now - letter.died_ms)} ago: {why}" + (
        f" ({said})" if said else ""
    )


def _ago(ms: int) -> str:
    minutes = max(ms, 0) // 60_000
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"  # noqa: PLR2004


def _none(number: str) -> str:
    return f"There is no undelivered message {number[:20]} in this room."


def _emptied(letter: DeadLetter) -> DeadLetter:
    return DeadLetter(
        letter.id,
        letter.network,
        letter.lane,
        letter.portal,
        letter.room,
        letter.why,
        letter.died_ms,
        letter.seq,
    )
