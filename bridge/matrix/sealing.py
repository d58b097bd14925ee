"""Encrypts what we say into encrypted rooms, as the last step before it leaves.

    order -> device -> who may read -> encrypt -> one commit with the ratchet -> PUT

What was encrypted once is on disk as it will leave, and is never encrypted again: a
ratchet that is used twice gives both messages away.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from bridge.core.ports import Store, Unit
from bridge.matrix.audiences import Audiences
from bridge.matrix.client import MatrixError
from bridge.matrix.codec.tolerant import decode
from bridge.matrix.feed import KeyFeed
from bridge.matrix.ghosts import DEVICE
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import Role, SealedRoom, Stopped
from bridge.matrix.recent import Recent
from bridge.matrix.sealed import MEGOLM, Sealed
from bridge.matrix.views import Views
from bridge.matrix.wires import Says, content, packed
from bridge.model.delivery import Parcel, Refusal, Refused

logger = logging.getLogger(__name__)

FINALS_MAX = 10_000
LISTEN_S = 5.0
LOOK_S = 600.0
ENCRYPTED = "m.room.encrypted"

CHANGED = (
    "the encryption identity of {users} has changed; if they say that it was they who"
    " changed it: !xmpp confirm"
)
UNKNOWN_WAY = "its room is encrypted in a way that the bridge does not know"

_CLEAR = frozenset((ENCRYPTED, "m.reaction", "m.room.redaction"))
"""What is never encrypted: servers and clients have to understand it as it is."""


class Sealing:
    """Writes the final bytes of what goes into encrypted rooms.

    *agent* tells who of ours is in a room for sure, and receives its keys; *bot* is
    that for many.
    """

    def __init__(  # noqa: PLR0913 - it is where all of them meet
        self,
        *,
        machine: Machine,
        store: Store,
        sealed: Sealed,
        views: Views,
        audiences: Audiences,
        feed: KeyFeed,
        agent: Callable[[str], str],
        bot: str,
    ) -> None:
        self._machine = machine
        self._store = store
        self._sealed = sealed
        self._audiences = audiences
        self._feed = feed
        self._agent = agent
        self._bot = bot
        self._views = views
        self._looked: Recent[str, float] = Recent(FINALS_MAX)
        self._finals: Recent[str, Says] = Recent(FINALS_MAX)
        self._listened: Recent[str, float] = Recent(FINALS_MAX)
        self._introduced: Recent[str, None] = Recent(FINALS_MAX)

    def __contains__(self, room: object) -> bool:
        return room in self._sealed

    def role(self, user: str, room: str) -> Role:
        """Tell what the device of *user* has to be able to do in *room*."""
        if user == self._bot:
            return Role.BOT
        return Role.CONTACT if user == self._agent(room) else Role.OCCUPANT

    async def final(self, parcel: Parcel, says: Says) -> Says | Refused:
        """Return *says* as it may leave: encrypted, if its room is.

        Raises as ``Homeserver`` and the store do; then nothing has left.
        """
        if says.type in _CLEAR or not await self._is_sealed(says):
            return says
        known = self._finals.get(parcel.wire.key)
        if known is not None:
            return known
        try:
            return await self._seal(parcel, says)
        except MatrixError as error:
            if error.passing:
                raise
            logger.warning("room %s: cannot be encrypted for: %s", says.room, error)
            return Refused(Refusal.UNENCRYPTABLE, error.message[:200])

    async def introduce(self, user: str, room: str) -> bool:
        """Have the device of *user* before they come into *room*, which is encrypted.

        Tell whether it is new: clients have to see it before they read what it wrote.
        """
        if await self._machine.device(user) is not None:
            self._introduced.put(user, None)
            return False
        try:
            await self._machine.ensure(user, self.role(user, room))
        except MatrixError as error:
            logger.info("%s has no device yet: %s", user, error)
            return False  # it is tried again, and told, when there is something to say
        return True

    def is_introduced(self, user: str) -> bool:
        """Tell, from memory, whether *user* has a device."""
        return self._introduced.get(user, False) is None

    def doubt(self) -> None:
        """Look again whether rooms are encrypted: what we are told may be late."""
        self._looked = Recent(FINALS_MAX)

    async def _is_sealed(self, says: Says) -> bool:
        """Tell whether the room is encrypted, looking now and then.

        It may have become so while nobody told us, as when the bridge was down.
        """
        room, now = says.room, time.monotonic()
        if room in self._sealed:
            return True
        looked = self._looked.get(room)
        if looked is not None and now - looked < LOOK_S:
            return False
        try:
            stated = await self._views.content(room, "m.room.encryption", says.user)
        except MatrixError as error:
            if error.passing:
                raise
            return False  # whoever may not look may not speak, either
        if stated:
            await self._sealed.add(room, dict(stated))
            return True
        self._looked.put(room, now)
        return False

    async def _seal(self, parcel: Parcel, says: Says) -> Says | Refused:
        room = await self._audiences.of(says.room)
        if room.encryption.get("algorithm") != MEGOLM:
            return Refused(Refusal.UNENCRYPTABLE, UNKNOWN_WAY)
        await self._machine.ensure(says.user, self.role(says.user, says.room))
        if not room.watched:
            await self._listen(self._agent(says.room))
        plain = decode(bytes(says.content))
        unit = Unit()
        made = await self._machine.encrypt(unit, says.user, room, says.type, plain)
        if isinstance(made, Stopped) and says.own:
            # Those whose identity has changed must not read it, but the others must.
            unit = Unit()
            others = _without(room, made.users)
            made = await self._machine.encrypt(
                unit, says.user, others, says.type, plain
            )
        if isinstance(made, Stopped):
            words = CHANGED.format(users=", ".join(made.users))
            return Refused(Refusal.UNENCRYPTABLE, words)
        sealed = msgspec.structs.replace(
            says, content=content(made.content), type=ENCRYPTED, device=made.device
        )
        wire = replace(parcel.wire, data=packed(sealed))
        unit.final.append(replace(parcel, wire=wire))
        await self._store.commit(unit)
        self._finals.put(parcel.wire.key, sealed)
        return sealed

    async def _listen(self, agent: str) -> None:
        """Ask what *agent* has missed: nobody listens for it, nor hears of devices."""
        now = time.monotonic()
        if now - (self._listened.get(agent) or -LISTEN_S) >= LISTEN_S:
            self._listened.put(agent, now)
            await self._feed.pull(agent)

    async def lost(self, says: Says) -> Says:
        """Return *says* as it can be sent although its device is no more.

        Whoever has its key still reads it; what comes next is of another device.
        """
        await self._machine.replace(says.user)
        self._introduced.drop(says.user)
        return msgspec.structs.replace(says, device=DEVICE)


def _without(room: SealedRoom, users: tuple[str, ...]) -> SealedRoom:
    return replace(room, members=room.members.difference(users))
