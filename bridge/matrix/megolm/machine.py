"""The Olm machine: the one object by which the adapter encrypts and decrypts.

    feed -> received -> commit -> catch_up          keys come in
    event -> decrypt -> Plain | Unknown | Withheld | Rejected
    content -> encrypt -> commit -> PUT             keys go out before it returns

What is given a *unit* changes nothing on disk by itself: it stages into the unit, and
the caller commits it before anything leaves. What is given none commits by itself.
All that asks the homeserver may raise ``MatrixError`` or ``HomeserverDownError``, and
can then simply be asked again.
"""

from collections.abc import Callable, Sequence

from bridge.core.ports import Store, Unit
from bridge.matrix.megolm.ports import (
    Encrypted,
    Feed,
    Fingerprint,
    Json,
    KeyServer,
    News,
    Opened,
    Role,
    SealedRoom,
    Stopped,
    Strictness,
)


class Machine:
    """Everything of ours that has keys.

    *ours* tells whether an MXID is the bot or a ghost.
    """

    def __init__(
        self,
        server: KeyServer,
        store: Store,
        ours: Callable[[str], bool],
        strictness: Strictness = Strictness.PINNED,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Remember what an earlier run knew; asks nothing of the homeserver."""
        raise NotImplementedError

    async def ensure(self, user: str, role: Role) -> str:
        """Return the device of *user*, set up and signed; make it if need be.

        The user is registered already. A device is never made twice, however many
        ask at once; asking for a role that can do more adds what it needs.
        """
        raise NotImplementedError

    async def device(self, user: str) -> str | None:
        """Return the id of the device of *user*, if it is set up."""
        raise NotImplementedError

    async def received(self, unit: Unit, user: str, feed: Feed) -> News:
        """Take in what the feed of *user*'s device brought; asks no homeserver.

        The caller commits *unit* with the feed's token. The same feed may come again.
        """
        raise NotImplementedError

    async def catch_up(self, user: str) -> None:
        """Do what feeds asked for: upload one-time keys, mend broken Olm sessions.

        To be called after the commit of what ``received`` staged, and at start.
        """
        raise NotImplementedError

    async def decrypt(self, unit: Unit, event: Json) -> Opened:
        """Read an ``m.room.encrypted`` *event*; the same again gives the same.

        It may ask the homeserver for the sender's devices.
        """
        raise NotImplementedError

    async def key(self, room: str, session: str) -> None:
        """Wait until the key of a session has come; the caller sets the time limit."""
        raise NotImplementedError

    async def encrypt(
        self, unit: Unit, sender: str, room: SealedRoom, kind: str, content: Json
    ) -> Encrypted | Stopped:
        """Write *content*, of an event of type *kind*, for who is in *room* now.

        *sender* has been ensured. Devices that lack the key are sent it first. The
        ratchet's advance is staged: commit *unit* before anything leaves, and never
        encrypt the same again.
        """
        raise NotImplementedError

    async def confirm(self, user: str) -> bool:
        """Accept the new identity of *user*; False if it had not changed."""
        raise NotImplementedError

    async def changed(self, users: Sequence[str]) -> Sequence[str]:
        """Return those of *users* whose changed identity nobody confirmed yet."""
        raise NotImplementedError

    async def fingerprint(self, user: str) -> Fingerprint | None:
        """Return what people compare to check the device of *user*."""
        raise NotImplementedError

    async def recover(self) -> None:
        """Begin anew after a restored backup, under the same identities.

        No outbound or Olm session from before is used again, and every device is
        replaced when it is next ensured; to be called after ``start``.
        """
        raise NotImplementedError
