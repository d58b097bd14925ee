"""What the chats and the rooms ask of an end-to-end encryption, whichever it is.

    arrival -> decrypt -> Plain | Empty | NotForUs | Failed
    content -> encrypt -> Sealed | Unsealable

Rules: nothing here waits for the network longer than 15 s; what changes is staged
into the unit that the caller commits, and is on disk only then; a failure changes
nothing; the same call with the same *key* gives the same answer again.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from xml.etree.ElementTree import Element

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node


class Trust(enum.Enum):
    """How far a device is believed to belong to whom it says; blind until verified."""

    BLIND = "blindly trusted"
    VERIFIED = "verified"
    WAITING = "new since another device was verified"
    DISTRUSTED = "distrusted"
    UNLISTED = "not on a device list that the bridge can read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Who writes to whom, by bare addresses.

    *account* is ours: the puppet, the relay or the bridge. *peer* is the real address
    of the other, never an occupant's. *to* is what the stanza is addressed to: the
    account or the MUC. *at* is when it was sent, if a server says so (XEP-0203).
    """

    account: str
    peer: str
    to: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """What was inside: the children of the message, ready for the codec.

    Legacy clients leave tags beside the ciphertext; those that may stand there are
    among the *content*, the outer body never is. *at* is the time that the sender
    enclosed, if any.
    """

    content: tuple[Node, ...]
    peer: str
    device: int
    trust: Trust
    namespace: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Empty:
    """It moved a session on, or spoke to the bridge alone: nothing to show.

    *words* are for the person of Matrix, if the other side has announced something
    (they opted out of encryption).
    """

    words: str = ""


@dataclass(frozen=True, slots=True)
class NotForUs:
    """It holds no key for our device; *empty* if it says nothing to anybody either.

    Unless *empty*, tell the sender in *words*, at most once an hour per sender:
    *tell* says whether now.
    """

    empty: bool
    words: str = "the message is not encrypted for the bridge; please send it again"
    tell: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot be read; *words* are for both sides. The session is being repaired.

    *passing* says that it may work later, as when the far server is away. *repeated*
    says that it was opened before, so that most likely nobody misses it.
    """

    words: str
    passing: bool = False
    repeated: bool = False


Opened = Plain | Empty | NotForUs | Failed


@dataclass(frozen=True, slots=True)
class Sealed:
    """All that is to stand in the message, for every recipient.

    Next to the ciphertext: the name of the encryption (XEP-0380), the store hint, the
    words for those who cannot read it, and the tags that may stay outside. Add
    nothing that tells of the content. *left_out* are devices that will not read it.
    """

    children: tuple[Node, ...]
    left_out: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Unsealable:
    """It cannot go encrypted to *jids*; *words* say why. Never send it in the clear.

    *passing* says that trying again is worth it.
    """

    words: str
    jids: tuple[str, ...] = ()
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A device of somebody, as clients show it; *label* is what it calls itself."""

    id: int
    fingerprint: str
    trust: Trust
    active: bool
    label: str = ""


class EndToEnd(Protocol):
    """One encryption."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def namespaces(self) -> frozenset[str]:
        """Which elements of a message it can open."""

    async def decrypt(
        self, stanza: Element, passage: Passage, unit: Unit, key: str = ""
    ) -> Opened:
        """Open *stanza*, which has an element of ours; stage what changes into *unit*.

        *key* names the arrival: asked again, the answer is the same and is staged
        again, though the ratchet has moved on.
        """

    async def encrypt(
        self,
        content: Sequence[Node],
        passage: Passage,
        recipients: Sequence[str],
        unit: Unit,
    ) -> Sealed | Unsealable:
        """Seal *content*, the children of a message, for all devices of *recipients*.

        The ciphertext may leave only after *unit*, which must also hold it, is on disk.
        *passage.peer* is ignored. Recipients are real bare addresses, without the
        account.
        """

    async def capable(self, account: str, peer: str) -> bool | None:
        """Tell whether *peer* has a device that *account* can write to.

        None if nobody can say: their list is for contacts only, or their server away.
        May ask their server; what is known answers at once.
        """

    def doubt(self, peer: str) -> None:
        """Ask for the devices of *peer* again when they are next needed."""

    async def devices(self, account: str, peer: str) -> Sequence[Device]:
        """List the devices of *peer* that *account* knows; of *account* if the same."""

    async def decide(
        self, account: str, peer: str, fingerprint: str, trust: Trust
    ) -> bool:
        """Trust or distrust a device from now on; False if there is no such device."""
