"""What puppets look like: a source of PEP (XEP-0084), and for the cards of puppets.

question, or who wants to hear of it -> asked of the core -> answer
another picture in a room -> if anybody was told of one -> looked at again
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from bridge.model.pictures import NO_PICTURE, Picture
from bridge.xmpp.cards import AWAY
from bridge.xmpp.codec import avatar
from bridge.xmpp.codec.avatar import DATA, METADATA
from bridge.xmpp.codec.names import mxid_of
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.means import OWN
from bridge.xmpp.omemo.means import NotNowError

TOLD_MAX: Final = 10_000
AT_ONCE_MAX: Final = 300
"""Pictures may take long: so many are looked for at once, that others are answered."""
LISTED_S: Final = 2.0
CARD_S: Final = 10.0

_NODES: Final = (METADATA, DATA)


class Avatars:
    """The pictures of puppets; holds none of them.

    *ask* looks somebody of Matrix up by their id: None says that nobody can tell now.
    """

    slow = True

    def __init__(self, ask: Callable[[str], Awaitable[Picture | None]]) -> None:
        self._ask = ask
        self._told: OrderedDict[str, str] = OrderedDict()
        self._asking = 0

    async def nodes(self, account: str) -> Sequence[str]:
        """List the nodes that *account* has, if that is soon known; see ``Source``."""
        with suppress(NotNowError, TimeoutError):
            async with asyncio.timeout(LISTED_S):
                if await self._picture(account):
                    return _NODES
        return ()

    async def items(
        self,
        account: str,
        node: str,
        asker: str,  # noqa: ARG002 - the protocol's signature
    ) -> Sequence[tuple[str, Node]] | None:
        """Return the picture of *account*, or what it is; see ``Source``."""
        if node not in _NODES:
            return None
        picture = await self._picture(account)
        if not picture:
            return None
        write = avatar.metadata if node == METADATA else avatar.data
        return ((avatar.identifier(picture), write(picture)),)

    async def photo(self, account: str) -> Sequence[Node]:
        """Write what the card of *account* shows, if that is soon known."""
        with suppress(NotNowError, TimeoutError):
            async with asyncio.timeout(CARD_S):
                if picture := await self._picture(account):
                    return (avatar.photo(picture),)
        return ()

    def hint(self, account: str) -> Sequence[Node]:
        """Write what a presence of *account* says of its picture, if that is known."""
        told = self._told.get(account)
        return () if told is None else (avatar.hint(told),)

    async def has_changed(self, account: str) -> bool:
        """Tell whether *account*, of whom somebody was told, looks different now."""
        before = self._told.get(account)
        if before is None:
            return False
        with suppress(NotNowError):
            now = avatar.identifier(await self._picture(account))
            if now != self._told.get(account):
                self._told[account] = now
                return True
        return False

    async def _picture(self, account: str) -> Picture:
        """Tell what *account* looks like; raises ``NotNowError``."""
        local = account.rpartition("@")[0]
        mxid = None if local in OWN else mxid_of(local)
        if mxid is None:
            return NO_PICTURE
        picture = await self._asked(mxid)
        if picture is None:
            raise NotNowError(AWAY)
        # Not replaced: others may have been told of the one before.
        self._told.setdefault(account, avatar.identifier(picture))
        if len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        return picture

    async def _asked(self, mxid: str) -> Picture | None:
        if self._asking >= AT_ONCE_MAX:
            return None
        self._asking += 1
        try:
            return await self._ask(mxid)
        finally:
            self._asking -= 1
