"""Finds out the parcel on which the XMPP server closes the stream.

The gate lets nothing pass that a server is known to dislike; for what it does not
know, a parcel that was written just before the stream was lost is sent alone the
next time. If the server closes the stream again and again, and says that this is for
what it was sent, it is never sent again. A server that just falls condemns nothing.
"""

from collections.abc import Iterable, Sequence

from bridge.model.delivery import Later, Outcome, Parcel, Refusal, Refused

CHANCES = 3
SUSPECTS_MAX = 20_000
"""More than can be written within a second."""

REJECTED = Refused(Refusal.REJECTED, "the XMPP server cannot bear the message")


class Poison:
    """Which parcels were there when the stream was lost, and how often for them."""

    def __init__(self) -> None:
        self._losses: dict[int, int] = {}

    def suspect(self, parcels: Iterable[int], *, blamed: bool = True) -> None:
        """Take note that the stream was lost just after *parcels* were written.

        *blamed* tells that the server closed it for what it had been sent.
        """
        losses = self._losses
        for parcel in parcels:
            losses[parcel] = losses.pop(parcel, 0) + blamed
        while len(losses) > SUSPECTS_MAX:
            del losses[next(iter(losses))]

    def portion(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Return what of *parcels* may go together; nothing if the first is bad."""
        if not self._losses:
            return parcels
        losses = self._losses.get(parcels[0].id)
        if losses is not None:
            return parcels[:1] if losses < CHANCES else ()
        for place, parcel in enumerate(parcels):
            if parcel.id in self._losses:
                return parcels[:place]
        return parcels

    def cleared(
        self, parcels: Sequence[Parcel], outcomes: Sequence[Outcome | Later]
    ) -> None:
        """Take note that some of *parcels* have arrived."""
        if self._losses:
            for parcel, outcome in zip(parcels, outcomes, strict=False):
                if not isinstance(outcome, Later):
                    self._losses.pop(parcel.id, None)
