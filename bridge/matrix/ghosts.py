"""Matrix users of ours: registered with a device, and joined where they speak.

Nobody is registered or joined before they have something to say: joins are what
homeservers are slowest at. What is known to be done is kept, so that a restart
asks nothing again.
"""

import asyncio
import logging
from collections.abc import Sequence

from bridge.core.ports import Store, StoreUnavailableError, Unit
from bridge.matrix.client import Homeserver, MatrixError, join
from bridge.matrix.recent import Locks, Recent
from bridge.model.records import Ghost, Record

logger = logging.getLogger(__name__)

DEVICE = "XMPPBRIDGE"
"""The device in whose name every ghost sends.

Synapse keeps the txnId of a send beyond a restart only for a device.
"""

GHOSTS_MAX = 50_000
NAME_MAX = 200


async def remember(
    store: Store, put: Sequence[Record] = (), drop: Sequence[Record] = ()
) -> None:
    """Change records, however long nothing can be written."""
    while True:
        try:
            await store.commit(Unit(put=list(put), drop=list(drop)))
        except StoreUnavailableError:
            logger.warning("records cannot be written, will be retried")
            await asyncio.sleep(1)
        else:
            return


class Ghosts:
    """Who of ours is known to the homeserver."""

    def __init__(self, homeserver: Homeserver, store: Store) -> None:
        self._homeserver = homeserver
        self._store = store
        self._known: Recent[str, Ghost] = Recent(GHOSTS_MAX)
        self._locks: Locks[str] = Locks()

    async def ensure(self, mxid: str, person: str = "", name: str = "") -> None:
        """Have the ghost *mxid* of *person* registered, and its device.

        A new ghost gets *name* as that of its profile, if it is not empty. Later
        its names are those of its rooms: a change of the profile would go to all.
        """
        if self._known.get(mxid) is not None:
            return
        async with self._locks(mxid):
            if await self.find(mxid) is not None:
                return
            await self._register(mxid, name[:NAME_MAX])
            ghost = Ghost(mxid, person, name[:NAME_MAX])
            await remember(self._store, [ghost])
            self._known.put(mxid, ghost)

    async def find(self, mxid: str) -> Ghost | None:
        """Find the ghost of that name, if it has ever been registered."""
        known = self._known.get(mxid)
        if known is None:
            known = await self._store.find(Ghost, mxid)
            if known is not None:
                self._known.put(mxid, known)
        return known

    async def forget(self, mxid: str) -> None:
        """Have *mxid* registered again before it is next used."""
        known = await self.find(mxid)
        if known is not None:
            self._known.drop(mxid)
            await remember(self._store, drop=[known])

    async def _register(self, mxid: str, name: str) -> None:
        localpart = mxid[1:].partition(":")[0]
        try:
            await self._homeserver.request(
                "POST",
                join("register"),
                body={
                    "type": "m.login.application_service",
                    "username": localpart,
                    # A token for every ghost would be a secret to keep for nothing.
                    "inhibit_login": True,
                },
            )
        except MatrixError as error:
            if error.errcode != "M_USER_IN_USE":
                raise
        await self._add_device(mxid)
        if name:
            path = join("profile", mxid, "displayname")
            await self._homeserver.request(
                "PUT", path, user=mxid, body={"displayname": name}
            )
        logger.debug("%s is registered", mxid)

    async def _add_device(self, mxid: str) -> None:
        """Give *mxid* a device, where an appservice may (spec 1.17, MSC4190).

        Elsewhere they are heard all the same in rooms that are not encrypted, twice
        perhaps if the homeserver and we restart at once.
        """
        try:
            await self._homeserver.request(
                "PUT",
                join("devices", DEVICE),
                user=mxid,
                body={"display_name": "XMPP bridge"},
            )
        except MatrixError as error:
            if error.passing:
                raise
            logger.info("%s can have no device: %s", mxid, error)
