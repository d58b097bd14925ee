"""The Olm machine: the one object by which the adapter encrypts and decrypts.

    feed -> received -> commit -> catch_up          keys come in
    event -> decrypt -> Plain | Unknown | Withheld | Rejected
    content -> encrypt -> commit -> PUT             keys go out before it returns

What is given a *unit* changes nothing on disk by itself: it stages into the unit, and
the caller commits it before anything leaves. What is given none commits by itself.
All that asks the homeserver may raise ``MatrixError`` or ``HomeserverDownError``, and
can then simply be asked again.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from bridge.core.ports import Store, Unit
from bridge.matrix.client import MatrixError
from bridge.matrix.megolm import letters, payload, withheld
from bridge.matrix.megolm.account import Accounts
from bridge.matrix.megolm.devices import Devices
from bridge.matrix.megolm.healing import Healing
from bridge.matrix.megolm.inbound import Inbound, Read
from bridge.matrix.megolm.letterbox import Letterbox
from bridge.matrix.megolm.outbound import Outbound, is_unknown_device
from bridge.matrix.megolm.own import Own
from bridge.matrix.megolm.persons import Device
from bridge.matrix.megolm.ports import (
    Encrypted,
    Fault,
    Feed,
    Fingerprint,
    Json,
    KeyServer,
    News,
    Opened,
    Plain,
    Rejected,
    Role,
    SealedRoom,
    ShortCode,
    Shown,
    Stopped,
    Strictness,
    Unknown,
    Withheld,
)
from bridge.matrix.megolm.promises import Promise
from bridge.matrix.megolm.signing import MEGOLM, Seed
from bridge.matrix.megolm.sources import Sources
from bridge.matrix.megolm.vault import Vault
from bridge.matrix.megolm.verifying import Verifying
from bridge.matrix.megolm.waiting import Waiting
from bridge.model.records import Secret

logger = logging.getLogger(__name__)

_OWNER, _EPOCH = "olm", "epoch"


class Machine:
    """Everything of ours that has keys.

    *ours* tells whether an MXID is the bot or a ghost. *on_code* is told who of ours
    is verified by whom over their devices, and what both sides have to show.
    """

    def __init__(
        self,
        server: KeyServer,
        store: Store,
        ours: Callable[[str], bool],
        strictness: Strictness = Strictness.PINNED,
    ) -> None:
        vault = Vault(store)
        self._server = server
        self._vault = vault
        self._accounts = Accounts(server, vault)
        self._devices = Devices(server, vault)
        self._inbound = Inbound(vault)
        self._outbound = Outbound(server, vault, self._devices, ours, strictness)
        self._sources = Sources(self._devices, strictness)
        self._healing = Healing(server, vault, self._devices)
        self._refusals = withheld.Refusals()
        self._waiting = Waiting()
        self._verifying = Verifying()
        self.on_code: Callable[[str, str, ShortCode], None] = lambda *_: None
        self._letterbox = Letterbox(vault, self._devices, self._inbound, self._refusals)

    async def start(self) -> None:
        """Remember what an earlier run knew; asks nothing of the homeserver."""
        epoch = await self._vault.find(_OWNER, _EPOCH)
        self._accounts.epoch = int(epoch or b"0")
        await self._outbound.promises.start()

    async def ensure(self, user: str, role: Role) -> str:
        """Return the device of *user*, set up and signed; make it if need be.

        The user is registered already. A device is never made twice, however many
        ask at once; asking for a role that can do more adds what it needs.
        """
        return (await self._accounts.ensure(user, role)).device

    async def replace(self, user: str) -> None:
        """Give *user* another device when next ensured: somebody has removed it."""
        await self._accounts.replace(user)

    async def device(self, user: str) -> str | None:
        """Return the id of the device of *user*, if it is set up."""
        own = await self._accounts.get(user)
        return own.device if own.ready else None

    async def received(self, unit: Unit, user: str, feed: Feed) -> News:
        """Take in what the feed of *user*'s device brought; asks no homeserver.

        The caller commits *unit* with the feed's token. The same feed may come again.
        """
        own = await self._accounts.get(user)
        keys = [
            await self._letterbox.take(own, unit, event) for event in feed.to_device
        ]
        await self._devices.announce(unit, (*feed.changed, *feed.left))
        if feed.gap:
            self._devices.doubt()
        own.one_time_left = feed.one_time
        own.wants_fallback = feed.fallback is False
        news = frozenset(key for key in keys if key is not None)
        self._waiting.wake(news)
        return News(news)

    async def catch_up(self, user: str) -> None:
        """Do what feeds asked for: upload one-time keys, mend broken Olm sessions.

        To be called after the commit of what ``received`` staged, and at start.
        """
        await self._accounts.restock(user)
        own = await self._accounts.get(user)
        await self._healing.mend(own)
        while own.verifiers:
            await self._reply(own, own.verifiers.pop(0))

    async def decrypt(self, unit: Unit, event: Json) -> Opened:
        """Read an ``m.room.encrypted`` *event*; the same again gives the same.

        It may ask the homeserver for the sender's devices.
        """
        sealed = payload.sealed(event)
        if sealed is None:
            return Rejected(Fault.MALFORMED)
        if sealed.algorithm != MEGOLM:
            return Rejected(Fault.ALGORITHM)
        read = await self._inbound.read(unit, event, sealed)
        if read is None:
            code = self._refusals.why(event, sealed.session_id)
            if code is None:
                return Unknown(sealed.session_id)
            return Withheld(sealed.session_id, code, withheld.words(code))
        trust = read if isinstance(read, Fault) else await self._weigh(read)
        if isinstance(trust, Fault):
            logger.warning("%s is refused: %s", event["event_id"], trust.name)
            return Rejected(trust)
        return trust

    async def _weigh(self, read: Read) -> Plain | Fault:
        trust = await self._sources.weigh(read.source)
        if isinstance(trust, Fault):
            return trust
        return Plain(read.inner.type, read.inner.content, trust)

    async def key(self, room: str, session: str) -> None:
        """Wait until the key of a session has come; the caller sets the time limit."""
        if not await self._inbound.knows((room, session)):
            await self._waiting.wait((room, session))

    async def encrypt(
        self, unit: Unit, sender: str, room: SealedRoom, kind: str, content: Json
    ) -> Encrypted | Stopped:
        """Write *content*, of an event of type *kind*, for who is in *room* now.

        *sender* is registered. Devices that lack the key are sent it first. The
        ratchet's advance is staged: commit *unit* before anything leaves, and never
        encrypt the same again.
        """
        own = await self._accounts.ensure(sender, Role.OCCUPANT)
        try:
            return await self._outbound.encrypt(own, unit, room, (kind, content))
        except MatrixError as error:
            if not is_unknown_device(error):
                raise
        logger.error("%s has lost its device %s: it gets another", sender, own.device)
        await self._accounts.replace(sender)
        own = await self._accounts.ensure(sender, Role.OCCUPANT)
        return await self._outbound.encrypt(own, unit, room, (kind, content))

    @property
    def promised(self) -> Collection[str]:
        """The rooms in which somebody is to be given keys once they have come in."""
        return self._outbound.promises.rooms

    def on_promise(self, told: Callable[[str], None]) -> None:
        """Tell *told* the room whenever a key is put aside there."""
        self._outbound.on_promise = told

    async def admit(self, room: SealedRoom) -> None:
        """Give those who have come into *room* the keys put aside for them."""
        unit = Unit()
        due: dict[str, list[Promise]] = {}
        for promise in self._outbound.promises.of(room.id):
            if promise.guest not in room.members:
                self._outbound.promises.keep(unit, promise)
            elif promise.guest not in room.awaited:
                due.setdefault(promise.sender, []).append(promise)
        if unit.drop:
            await self._vault.commit(unit)
        for sender, promises in due.items():
            own = await self._accounts.ensure(sender, Role.OCCUPANT)
            await self._outbound.admit(own, room, promises)

    async def confirm(self, user: str) -> bool:
        """Accept the new identity of *user*; False if it had not changed."""
        return await self._devices.confirm(user)

    async def changed(self, users: Sequence[str]) -> Sequence[str]:
        """Return those of *users* whose changed identity nobody confirmed yet."""
        persons = [await self._devices.person(user) for user in users]
        return [one.user for one in persons if one.changed]

    async def fingerprint(self, user: str) -> Fingerprint | None:
        """Return what people compare to check the device of *user*."""
        own = await self._accounts.get(user)
        if own.keys is None or not own.ready:
            return None
        return Fingerprint(user, own.device, own.ed25519, Seed(own.keys.master).public)

    async def verify(self, user: str, event: Json) -> Shown:
        """Answer an *event* of a room, decrypted, by which *user* is verified.

        It is one whose type, or msgtype, begins with ``m.key.verification.``. The
        caller sends the replies to the room, and shows the code if there is one.
        """
        ours, sender = await self.fingerprint(user), event["sender"]
        if ours is None:
            return Shown()
        theirs = (await self._devices.of([sender]))[sender]
        return self._verifying.answer(ours, theirs, event)

    async def _reply(self, own: Own, event: Json) -> None:
        """Answer a to-device message of a verification."""
        shown = await self.verify(own.user, event)
        to = Device(event["sender"], shown.device, "", "")
        for kind, content in shown.replies:
            for batch in letters.batches(own, kind, [(to, content)]):
                await self._server.send_to_device(batch)
        if shown.code is not None:
            self.on_code(own.user, to.user, shown.code)

    async def reclaim(self, user: str) -> None:
        """Begin anew if another database was in use at this homeserver meanwhile.

        What it set up has taken the place of our identities; *user* shows whether.
        """
        if await self._accounts.is_ousted(user):
            logger.error(
                "%s: the homeserver knows another identity: was the bridge set up anew,"
                " or is a second one in use? what this one had is put back",
                user,
            )
            await self.recover()

    async def recover(self) -> None:
        """Begin anew after a restored backup, under the same identities.

        No outbound or Olm session from before is used again, and every device is
        replaced when it is next ensured, its identity published again; to be called
        after ``start``.
        """
        self._accounts.epoch += 1
        epoch = str(self._accounts.epoch).encode()
        await self._vault.commit(Unit(put=[Secret(_OWNER, _EPOCH, epoch)]))
        self._accounts.clear()
