"""Says in a MUC elsewhere what people of Matrix said, and makes sure that it came.

ready -> everybody in -> write -> wait until the MUC has shown all of it
"""

import asyncio
import logging
from collections.abc import Sequence

from bridge.model.delivery import Delivered, Later, Outcome, Parcel, Refusal, Refused
from bridge.xmpp.codec.fault import Fault, refused
from bridge.xmpp.codec.message import archive_ref
from bridge.xmpp.confirm import Batch, Shown
from bridge.xmpp.hearing import Mark
from bridge.xmpp.means import Means
from bridge.xmpp.muc_secrecy import MucSecrecy
from bridge.xmpp.packing import Speech
from bridge.xmpp.selfping import still_in
from bridge.xmpp.stay import Stay

logger = logging.getLogger(__name__)

SHOWN_S = 20.0
ROUNDS_MAX = 3

Item = tuple[Parcel, Speech]

_NOT_SHOWN = Refused(Refusal.REJECTED, "the room did not show the message")


class Saying:
    """The mouth of the bridge in one MUC.

    *floor* is how far we may claim to have heard: not past what we are still saying,
    or have yet to say again, or a fall now would make us say it twice.
    """

    def __init__(
        self, means: Means, stay: Stay, secrecy: MucSecrecy | None = None
    ) -> None:
        self._secrecy = secrecy or MucSecrecy(means, None)
        self.floor: Mark | None = None
        self._means = means
        self._stay = stay
        self._speaking = 0
        self._again = self._held = False

    def hold(self) -> None:
        """Claim no more than an earlier run did: what it left may have been shown."""
        self.floor = self._stay.hearing.mark
        self._held = True

    def release(self) -> None:
        """Hold on no longer: by now all of that has been looked at."""
        self._held = False
        self._settle()

    async def say(self, items: Sequence[Item]) -> Sequence[Outcome | Later]:
        """Say *items* in their order; return what became of the first of them."""
        if self.floor is None:
            self.floor = self._stay.hearing.mark
        self._speaking += 1
        outcomes: Sequence[Outcome | Later] = (Later(),)
        try:
            trouble = await self._stay.ready()
            outcomes = await self._sealed(items) if trouble is None else [trouble]
        finally:
            self._speaking -= 1
            self._again = any(isinstance(outcome, Later) for outcome in outcomes)
            self._settle()
        return outcomes

    def _settle(self) -> None:
        if not (self._speaking or self._again or self._held):
            self.floor = None

    async def _sealed(self, items: Sequence[Item]) -> Sequence[Outcome | Later]:
        """Say *items*, sealed if they must be, as far as they can be."""
        if not any(speech.guard for _, speech in items):
            return await self._rounds(items)
        sealed, trouble = await self._secrecy.seal(self._stay, items)
        outcomes = list(await self._rounds(sealed)) if sealed else []
        whole = len(outcomes) == len(sealed)
        if trouble is not None and whole and not _waits(outcomes):
            outcomes.append(trouble)
        self._secrecy.done(items, outcomes)
        return outcomes

    async def _rounds(self, items: Sequence[Item]) -> Sequence[Outcome | Later]:
        fates: dict[str, Outcome | Later] = {}
        for round_ in range(ROUNDS_MAX):
            left = [item for item in items if item[0].wire.key not in fates]
            present = await self._bring_in(left, fates)
            if not present:
                break
            last = round_ == ROUNDS_MAX - 1
            await self._round(present, fates, last=last)
        outcomes: list[Outcome | Later] = []
        for parcel, _ in items:
            outcomes.append(fates.get(parcel.wire.key, Later(1.0)))
            if isinstance(outcomes[-1], Later):
                break
        return outcomes

    async def _bring_in(
        self, items: Sequence[Item], fates: dict[str, Outcome | Later]
    ) -> Sequence[Item]:
        """Have those who speak in the room; return what can be said."""
        present: list[Item] = []
        asked: dict[str, Refused | Later | None] = {"": None}
        for parcel, speech in items:
            if speech.mxid not in asked:
                asked[speech.mxid] = await self._stay.puppets.ensure(
                    speech.mxid, speech.name
                )
            trouble = asked[speech.mxid]
            if trouble is None:
                present.append((parcel, speech))
                continue
            fates[parcel.wire.key] = trouble
            if isinstance(trouble, Later):
                break
        return present

    async def _round(
        self, items: Sequence[Item], fates: dict[str, Outcome | Later], *, last: bool
    ) -> None:
        """Write what has not been shown yet, and wait for it."""
        confirmations = self._stay.confirmations
        # Said before, and nobody knows its fate: it may yet be shown.
        said = {p.wire.key for p, _ in items if confirmations.waits(p.wire.key)}
        batch = confirmations.expect(parcel.wire.key for parcel, _ in items)
        unsaid = [i for i in items if i[0].wire.key in batch.open - said]
        data = b"".join(speech.stanza for _, speech in unsaid)
        if data and not self._means.stream.write(data, [p.id for p, _ in unsaid]):
            batch.give_up()
        silent = await self._is_silent(batch, items)
        if not silent:
            confirmations.forget(batch)
        for parcel, speech in items:
            fate = self._judge(parcel.wire.key, speech, last=last)
            if fate is _NOT_SHOWN and silent:
                fate = Later(2.0, self._stay.address)
            if fate is not None:
                fates[parcel.wire.key] = fate

    async def _is_silent(self, batch: Batch, items: Sequence[Item]) -> bool:
        """Wait until all is shown; tell if instead the room shows no sign of life."""
        stay, began = self._stay, asyncio.get_running_loop().time()
        waiting = [item for item in items if item[0].wire.key in batch.open]
        complete = await batch.wait(SHOWN_S)
        own = [parcel.wire.key for parcel, speech in waiting if not speech.mxid]
        fell_out = any(_is_outside(stay.confirmations.fate(key)) for key in own)
        if (complete and not fell_out) or not self._means.stream.connected:
            return False
        alive = stay.heard_at > began
        return not (await self._look_for(waiting) or alive)

    def _judge(self, key: str, speech: Speech, *, last: bool) -> Outcome | Later | None:
        """Tell what became of *key*; None if it is to be said again."""
        fate = self._stay.confirmations.fate(key)
        if isinstance(fate, Shown):
            room = self._stay.address
            refs = (archive_ref(room, fate.stanza_id),) if fate.stanza_id else ()
            return Delivered(refs)
        if not self._means.stream.connected or not self._stay.live:
            return Later(1.0)
        seat = self._stay.puppets.seat(speech.mxid)
        if fate is None:
            if seat is not None and not seat.within and not last:
                return None
            return _NOT_SHOWN
        self._stay.confirmations.again(key)
        if _is_outside(fate) and not last:
            if seat is not None:
                self._stay.puppets.lost(seat)
            return None
        return _told(fate)

    async def _look_for(self, items: Sequence[Item]) -> bool:
        """Find out whether nothing is shown because we, or the speakers, fell out.

        The answers come after all that was shown before we asked. False if there is
        none.
        """
        stay = self._stay
        if not await stay.check():
            return False
        if not stay.live:
            await stay.ready()
        for mxid in {speech.mxid for _, speech in items}:
            seat = stay.puppets.seat(mxid)
            if seat is None or not seat.within:
                continue
            address = f"{stay.address}/{seat.nick}"
            if await still_in(self._means, address, seat.full) is False:
                logger.info("%s: %s had fallen out without a word", stay.address, mxid)
                stay.puppets.lost(seat)
        return True


def _is_outside(fate: Shown | Fault | None) -> bool:
    """Tell whether who spoke is not in the room, or not any more (XEP-0045 §7.4)."""
    return isinstance(fate, Fault) and fate.condition == "not-acceptable"


def _told(fault: Fault) -> Refused | Later:
    if fault.kind == "wait":
        return Later(2.0)
    return refused(fault, room=True)


def _waits(outcomes: Sequence[Outcome | Later]) -> bool:
    return bool(outcomes) and isinstance(outcomes[-1], Later)
