"""What OMEMO works with, in words that need none of its libraries."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from xml.etree.ElementTree import Element

from bridge.core.ports import Store
from bridge.xmpp.codec.xml import Node


class NotNowError(Exception):
    """There can be no device at present; the words are the condition of RFC 6120.

    To those who ask, that is not the same as "no device": they do not ask again then.
    """


class Asking(Protocol):
    """The part of the stream that asks; see ``Stream.iq``."""

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element:
        """Ask *to*, as *sender*, and return the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmemoMeans:
    """What OMEMO works with.

    *exists* tells whether a bare address of ours is a puppet that may have a device
    (a portal or a known person of Matrix). *write* writes a stanza at once. *published*
    is awaited with (account, node) after what an account publishes has changed and is
    on disk. *unreadable* is called with (account, peer) when a device list cannot be
    read for want of a subscription: ask for one, politely, once. *relay* asks for those
    of ours who may not read something.
    """

    store: Store
    stream: Asking
    write: Callable[[Node], bool]
    exists: Callable[[str], Awaitable[bool]]
    published: Callable[[str, str], Awaitable[None]]
    unreadable: Callable[[str, str], None]
    relay: str = ""
    label: str = "Matrix bridge"
