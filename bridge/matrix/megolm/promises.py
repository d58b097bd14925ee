"""Keys put aside for who is invited, or has only just come in.

Strict clients read nothing of a sender whom they have not looked up, and never try
again. They look around when they come in; what was said before they are ready they
are given the key of a moment later, as it stood when it was said.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from bridge.core.ports import Unit
from bridge.matrix.megolm.vault import Vault
from bridge.model.records import Secret

OWNER = "promised"


class Promise(msgspec.Struct, frozen=True):
    """The *content* of an ``m.room_key`` of *sender*, which *guest* is to be given."""

    room: str
    sender: str
    guest: str
    session: str
    index: int
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """Name the record."""
        return f"{self.room} {self.sender} {self.session} {self.guest}"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Promise).decode


class Promises:
    """All that is put aside; there is little of it, and seldom for long."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[str, dict[str, Promise]] = {}

    async def start(self) -> None:
        """Remember what an earlier run put aside."""
        for raw in (await self._vault.of(OWNER)).values():
            self._note(_decode(raw))

    @property
    def rooms(self) -> Collection[str]:
        """The rooms for which something is put aside."""
        return tuple(self._known)

    def of(self, room: str) -> list[Promise]:
        """List what is put aside for *room*."""
        return list(self._known.get(room, {}).values())

    def made(self, room: str, sender: str, session: str) -> Collection[str]:
        """Tell to whom the key of a session is promised already."""
        return {
            one.guest
            for one in self.of(room)
            if (one.sender, one.session) == (sender, session)
        }

    def make(self, unit: Unit, promise: Promise) -> None:
        """Put *promise* aside, with *unit*."""
        self._note(promise)
        unit.put.append(_record(promise))

    def keep(self, unit: Unit, promise: Promise) -> None:
        """Forget *promise* with *unit*: it is kept, or nobody waits for it."""
        there = self._known.get(promise.room, {})
        there.pop(promise.name, None)
        if not there:
            self._known.pop(promise.room, None)
        unit.drop.append(Secret(OWNER, promise.name))

    def _note(self, promise: Promise) -> None:
        self._known.setdefault(promise.room, {})[promise.name] = promise


def _record(promise: Promise) -> Secret:
    return Secret(OWNER, promise.name, _encode(promise))
