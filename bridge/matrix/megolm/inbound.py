"""Megolm sessions of others: bound to who gave them, each message read as one event.

A session is believed only as far as the Olm letter goes that brought it: its room, its
sender, their device. A key that somebody forwards, or that Megolm carried, is none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.megolm import payload
from bridge.matrix.megolm.olm import Letter
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import Fault, Json
from bridge.matrix.megolm.signing import MEGOLM
from bridge.matrix.megolm.vault import PICKLE_KEY, Vault, Warm
from bridge.model.records import Record, Secret

SESSIONS_MAX = 2000
SOURCES_MAX = 20

Key = tuple[str, str]
"""A room and a session id."""


class SourceState(msgspec.Struct, omit_defaults=True):
    """One copy of a session, as it is kept: from whom, and what they proved."""

    sender: str
    curve: str
    ed25519: str
    pickle: str
    device: Device | None = None
    introduction: dict[str, Any] | None = None


class _RoomKey(msgspec.Struct):
    algorithm: str
    room_id: str
    session_id: str
    session_key: str


@dataclass(slots=True)
class Source:
    """One copy of a session, live."""

    state: SourceState
    session: vodozemac.InboundGroupSession


@dataclass(frozen=True, slots=True)
class Read:
    """What an event says, and by whose copy of the session."""

    inner: payload.Payload
    source: SourceState


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[SourceState]).decode


class Session:
    """A session with all copies of it, and which event each index was."""

    def __init__(self, key: Key, kept: bytes | None, seen: dict[int, str]) -> None:
        self.key = key
        self.seen = seen
        self.sources = [
            Source(
                one, vodozemac.InboundGroupSession.from_pickle(one.pickle, PICKLE_KEY)
            )
            for one in (_decode(kept) if kept else ())
        ]

    def of(self, sender: str) -> Source | None:
        """Return the copy that *sender* gave."""
        return next((s for s in self.sources if s.state.sender == sender), None)

    def records(self) -> Iterable[Record]:
        """Write the copies as they stand."""
        states = [one.state for one in self.sources]
        yield Secret(f"megolm {self.key[0]}", self.key[1], _encode(states))

    def mark(self, index: int) -> Iterable[Record]:
        """Write which event *index* was."""
        event = self.seen[index]
        yield Secret(_replays(self.key), str(index), event.encode())


class Inbound:
    """The sessions that were given to us."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._sessions: Warm[Key, Session] = Warm(self._load, SESSIONS_MAX)

    async def _load(self, key: Key) -> Session:
        kept = await self._vault.find(f"megolm {key[0]}", key[1])
        seen = await self._vault.of(_replays(key)) if kept else {}
        return Session(key, kept, {int(k): v.decode() for k, v in seen.items()})

    async def give(self, unit: Unit, letter: Letter) -> Key | None:
        """Take the session that an ``m.room_key`` brought; None if it is no good.

        One that reaches less far back never replaces one that reaches further.
        """
        try:
            given = msgspec.convert(letter.content, _RoomKey)
            new = vodozemac.InboundGroupSession(vodozemac.SessionKey(given.session_key))
        except (ValueError, RecursionError):
            return None
        if given.algorithm != MEGOLM or new.session_id != given.session_id:
            return None
        session = await self._sessions.get((given.room_id, given.session_id))
        unit.late.append(session.records)
        whose = (letter.sender, letter.curve)
        for old in session.sources:
            if (old.state.sender, old.state.curve) == whose:
                if new.first_known_index < old.session.first_known_index:
                    old.session = new
                    old.state.pickle = new.pickle(PICKLE_KEY)
                return session.key
        if len(session.sources) < SOURCES_MAX:
            state = SourceState(
                letter.sender,
                letter.curve,
                letter.ed25519,
                new.pickle(PICKLE_KEY),
                letter.device,
                letter.introduction,
            )
            session.sources.append(Source(state, new))
        return session.key

    async def knows(self, key: Key) -> bool:
        """Tell whether anybody gave us that session."""
        return bool((await self._sessions.get(key)).sources)

    async def read(
        self, unit: Unit, event: Json, sealed: payload.Sealed
    ) -> Read | Fault | None:
        """Read *event*; None if nobody gave us its session."""
        session = await self._sessions.get((event["room_id"], sealed.session_id))
        if not session.sources:
            return None
        source = session.of(event["sender"])
        if source is None:
            return Fault.FOREIGN
        opened = _open(source.session, sealed)
        if isinstance(opened, Fault):
            return opened
        index, plaintext = opened
        if session.seen.setdefault(index, event["event_id"]) != event["event_id"]:
            return Fault.REPLAYED
        unit.late.append(lambda: session.mark(index))
        inner = payload.read(plaintext, event)
        return Fault.MALFORMED if inner is None else Read(inner, source.state)


def _replays(key: Key) -> str:
    return f"replay {key[0]} {key[1]}"


def _open(
    session: vodozemac.InboundGroupSession, sealed: payload.Sealed
) -> tuple[int, bytes] | Fault:
    if not isinstance(sealed.ciphertext, str):
        return Fault.MALFORMED
    try:
        message = vodozemac.MegolmMessage.from_base64(sealed.ciphertext)
        if message.message_index() < session.first_known_index:
            return Fault.TOO_OLD
        opened = session.decrypt(message)
    except vodozemac.DecodeException:
        return Fault.MALFORMED
    except ValueError:
        return Fault.UNDECRYPTABLE
    return opened.message_index, opened.plaintext
