"""One outbound Megolm session: of one ghost, in one room, and who has its key."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
import vodozemac

from bridge.core.ports import Unit
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.payload import RELATION
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import Batch, Json, SealedRoom
from bridge.matrix.megolm.signing import MEGOLM
from bridge.matrix.megolm.vault import PICKLE_KEY
from bridge.model.records import Record, Secret

MESSAGES_MAX, PERIOD_MS = 100, 604_800_000
"""How long a session lives if the room does not say (spec: m.room.encryption)."""
MESSAGES_LIMIT, PERIOD_MIN_MS = 10_000, 3_600_000

SESSION, SHARED, BATCH = "session ", "shared ", "batch "
TOLD = -1
"""In place of an index: the device was told that it does not get the key."""

_encode = msgspec.json.Encoder().encode


class OutgoingState(msgspec.Struct):
    """The session as it is kept."""

    device: str
    pickle: str
    made_at_ms: int
    visibility: str


class SharedState(msgspec.Struct):
    """Which devices have the key of *session*, from which index on."""

    session: str
    devices: dict[str, int]


_decode_state = msgspec.json.Decoder(OutgoingState).decode
_decode_shared = msgspec.json.Decoder(SharedState).decode
_decode_batch = msgspec.json.Decoder(Batch).decode


def owner(room: str) -> str:
    """Name whose secrets the outbound sessions of a room are."""
    return f"outbound {room}"


class Outgoing:
    """The session by which *user* speaks in *room*; *kept* is what the store has.

    *shared* tells which devices have the key, from which index on. *pending* are
    batches that may not have reached the homeserver. *checked* is for whom all that
    was last found to be complete. *unsaved* is what has to be on disk before anything
    of *pending* leaves.
    """

    def __init__(self, room: str, user: str, kept: Mapping[str, bytes]) -> None:
        self.room = room
        self.user = user
        self.state: OutgoingState | None = None
        self.session = vodozemac.GroupSession()
        self.shared: dict[str, int] = {}
        self.checked: object = None
        self.unsaved: Unit | None = None
        if raw := kept.get(SESSION + user):
            self.state = _decode_state(raw)
            self.session = vodozemac.GroupSession.from_pickle(
                self.state.pickle, PICKLE_KEY
            )
        if raw := kept.get(SHARED + user):
            shared = _decode_shared(raw)
            if shared.session == self.session.session_id:
                self.shared = shared.devices
        mine = f"{BATCH}{user} "
        self.pending = [
            _decode_batch(kept[name]) for name in sorted(kept) if name.startswith(mine)
        ]

    def begin(self, own: Own, room: SealedRoom, now_ms: int) -> None:
        """Take a new session."""
        self.session = vodozemac.GroupSession()
        self.state = OutgoingState(own.device, "", now_ms, room.visibility)
        self.shared = {}

    def lasts(self, own: Own, room: SealedRoom, now_ms: int) -> bool:
        """Tell whether the session may go on by its age and its circumstances."""
        state = self.state
        if state is None:
            return False
        messages, period_ms = limits(room.encryption)
        return (
            (state.device, state.visibility) == (own.device, room.visibility)
            and self.session.message_index < messages
            and 0 <= now_ms - state.made_at_ms < period_ms
        )

    def is_safe(self, wanted: Collection[str]) -> bool:
        """Tell whether nobody has the key who is not among *wanted* any more."""
        return all(a in wanted for a, index in self.shared.items() if index != TOLD)

    def lacks(self, device: Device) -> bool:
        """Tell whether *device* has to be given the key."""
        return self.shared.get(device.address, TOLD) == TOLD

    def key(self) -> dict[str, Any]:
        """Write the ``m.room_key`` for who comes in now (MSC4268: shared history)."""
        assert self.state is not None
        shared = self.state.visibility in ("shared", "world_readable")
        return {
            "algorithm": MEGOLM,
            "room_id": self.room,
            "session_id": self.session.session_id,
            "session_key": self.session.session_key.to_base64(),
            "shared_history": shared,
            "org.matrix.msc3061.shared_history": shared,
        }

    def encrypt(self, own: Own, unit: Unit, kind: str, content: Json) -> dict[str, Any]:
        """Write *content* encrypted; its relation stays outside, as servers need it."""
        inner = {name: value for name, value in content.items() if name != RELATION}
        raw = _encode({"type": kind, "content": inner, "room_id": self.room})
        unit.late.append(self.records)
        sealed: dict[str, Any] = {
            "algorithm": MEGOLM,
            "ciphertext": self.session.encrypt(raw).to_base64(),
            "session_id": self.session.session_id,
            "sender_key": own.curve,
            "device_id": own.device,
        }
        if RELATION in content:
            sealed[RELATION] = content[RELATION]
        return sealed

    def records(self) -> Iterable[Record]:
        """Write the ratchet as it stands."""
        assert self.state is not None
        self.state.pickle = self.session.pickle(PICKLE_KEY)
        yield Secret(owner(self.room), SESSION + self.user, _encode(self.state))

    def all_records(self) -> Iterable[Record]:
        """Write the ratchet, who has it, and what is on its way."""
        yield from self.records()
        shared = SharedState(self.session.session_id, self.shared)
        yield Secret(owner(self.room), SHARED + self.user, _encode(shared))
        for batch in self.pending:
            yield Secret(owner(self.room), self._name(batch), _encode(batch))

    def sent(self, batch: Batch) -> Record:
        """Forget *batch*; return what to drop."""
        self.pending.remove(batch)
        return Secret(owner(self.room), self._name(batch))

    def _name(self, batch: Batch) -> str:
        return f"{BATCH}{self.user} {batch.txn}"


def limits(encryption: Json) -> tuple[int, int]:
    """Return after how many messages and milliseconds a room wants new sessions."""
    messages = _whole(encryption.get("rotation_period_msgs"), MESSAGES_MAX)
    period_ms = _whole(encryption.get("rotation_period_ms"), PERIOD_MS)
    return (
        min(max(messages, 1), MESSAGES_LIMIT),
        min(max(period_ms, PERIOD_MIN_MS), PERIOD_MS),
    )


def _whole(given: object, default: int) -> int:
    is_whole = isinstance(given, int) and not isinstance(given, bool)
    return given if isinstance(given, int) and is_whole else default
