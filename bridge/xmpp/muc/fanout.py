"""Sends what was prepared to all who are in a room by then."""

import logging
from collections.abc import Sequence

from bridge.model.delivery import (
    Delivered,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Refused,
)
from bridge.xmpp.gate import Addressed
from bridge.xmpp.muc.history import Said
from bridge.xmpp.muc.packing import Sheet, UnknownFormatError, ready
from bridge.xmpp.muc.ports import Means
from bridge.xmpp.muc.rooms import Rooms
from bridge.xmpp.muc.secrecy import Secrecy
from bridge.xmpp.written import Marks

logger = logging.getLogger(__name__)

WRITE_BYTES_MAX = 1 << 20


class Fanout:
    """Writes parcels, what may have arrived already as what it is: history.

    It bears the same stanza-id then, and says when it was said, so that clients which
    have it show it once (XEP-0045 §7.2.15, XEP-0359).
    """

    def __init__(
        self, means: Means, rooms: Rooms, marks: Marks, secrecy: Secrecy
    ) -> None:
        self._means = means
        self._rooms = rooms
        self._marks = marks.earlier
        self._doubted = marks.doubted
        self._secrecy = secrecy

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        """Write *parcels* to whoever is there, then wait until the server has them.

        What nobody is there to hear is history at once.
        """
        outcomes = await self._send(parcels)
        self._secrecy.done(parcels, outcomes)
        return outcomes

    async def _send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        outcomes: list[Outcome | Later] = []
        waiting: list[bytes] = []
        ids: list[int] = []
        written = size = 0
        for parcel, sheet in zip(parcels, await self._sheets(parcels), strict=False):
            if not isinstance(sheet, Sheet):
                outcomes.append(sheet)
                continue
            outcomes.append(Delivered())
            data = self._data(parcel, sheet)
            if not data:
                continue
            waiting.append(data)
            ids.append(parcel.id)
            size += len(data)
            if size > WRITE_BYTES_MAX:
                if not self._means.stream.write(b"".join(waiting), ids):
                    return [Later()]
                written += len(ids)
                waiting, ids, size = [], [], 0
                await self._means.stream.drained()
        if ids and not self._means.stream.write(b"".join(waiting), ids):
            return [Later()]
        if written + len(ids) and not await self._means.stream.barrier():
            return [Later()]
        return outcomes

    async def _sheets(
        self, parcels: Sequence[Parcel]
    ) -> Sequence[Sheet | Refused | Later]:
        """Read what *parcels* hold, sealed if it must be, up to the first trouble."""
        sheets = [_read(parcel) for parcel in parcels]
        if not any(isinstance(sheet, Sheet) and sheet.guard for sheet in sheets):
            return sheets
        guarded = [
            isinstance(sheet, Sheet) and bool(sheet.guard) and p.id not in self._marks
            for p, sheet in zip(parcels, sheets, strict=True)
        ]
        return await self._secrecy.seal(parcels, sheets, guarded)

    def _data(self, parcel: Parcel, sheet: Sheet) -> bytes:
        """Write *sheet* for all its addressees, and remember what it says."""
        stanza, devices = self._addressed(parcel, sheet)
        if not devices or parcel.id in self._marks or not sheet.before:
            return b""
        return stanza.fan_out(devices)

    def _addressed(
        self, parcel: Parcel, sheet: Sheet
    ) -> tuple[Addressed, Sequence[str]]:
        """Write *sheet* as those are to have it whom it is for."""
        stanza = sheet.stanza
        if sheet.to:
            return stanza, sheet.to
        room = self._rooms.of_portal(parcel.portal)
        if room is None:
            return stanza, ()
        devices = list(room.devices)
        if not sheet.at_ms:
            return stanza, devices
        # Whoever comes in from now on reads it in the history.
        said = Said(parcel.id, sheet.at_ms, stanza, parcel.wire.key)
        if not room.history.add(said):
            # So has, meanwhile, who came in since it was first written.
            told = room.told
            devices = [one for one in devices if told.get(one, 0) < parcel.id]
        if parcel.id in self._doubted:
            return room.history.delayed(said), devices
        return stanza, devices


def _read(parcel: Parcel) -> Sheet | Refused:
    try:
        return ready(parcel.wire.data)
    except UnknownFormatError:
        logger.exception("parcel %d is in no format of ours", parcel.id)
        return Refused(Refusal.MALFORMED)
