"""Answers who is who across the bridge: the one place that knows both grammars."""

import logging

from bridge.core.ports import Host
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.codec import names as matrix
from bridge.model.delivery import Refusal
from bridge.model.places import Network, Room
from bridge.xmpp.codec import names as xmpp

logger = logging.getLogger(__name__)


class Addresses:
    """Our addresses on XMPP; see ``queries.Addresses``."""

    def __init__(self, component: str) -> None:
        self._component = component

    def canonical(self, address: str) -> str:
        """Return the bare address that somebody wrote, as it is compared."""
        parsed = xmpp.parse(address)
        return parsed.bare if parsed is not None else ""

    def stands_for(self, address: str) -> str:
        """Return the MXID or alias for which a canonical address of ours stands."""
        parsed = xmpp.parse(address)
        if parsed is None or parsed.domain != self._component:
            return ""
        return xmpp.mxid_of(parsed.local) or xmpp.room_of(parsed.local) or ""

    def of(self, name: str) -> str:
        """Return the address of ours that stands for an MXID or an alias."""
        if matrix.valid_mxid(name):
            return xmpp.puppet_jid(name, self._component)
        if name.startswith("#") and ":" in name:
            return f"{xmpp.room_local(name)}@{self._component}"
        return ""


class Queries:
    """Makes what the homeserver asks for, if it can exist; see ``queries.Queries``."""

    def __init__(self, server: str, matrix_side: MatrixAdapter, host: Host) -> None:
        self._server = server
        self._matrix = matrix_side
        self._host = host

    async def user(self, mxid: str) -> bool:
        """Tell whether there is such a user of ours; if so, it is registered now."""
        person = await self._matrix.person(mxid)
        if person is None or xmpp.parse(person) is None:
            return False
        return await self._matrix.exists(person)

    async def alias(self, alias: str) -> bool:
        """Tell whether there is such a room of ours; if so, it is made now."""
        muc = matrix.muc_of(alias, self._server)
        parsed = xmpp.parse(muc) if muc is not None else None
        if parsed is None:
            return False
        opened = await self._host.open_foreign(Room(Network.XMPP, parsed.bare))
        if isinstance(opened, Refusal):
            logger.info("no room for %s: %s", parsed.bare, opened.name)
            return False
        return True
