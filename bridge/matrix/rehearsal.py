"""Rehearses what encryption asks of a homeserver, with a device that goes again."""

from bridge.matrix.client import Homeserver
from bridge.matrix.megolm.server import HomeserverKeys
from bridge.matrix.pulls import Mark, Pulls

DEVICE = "XMPPCHECK"


async def rehearse(homeserver: Homeserver, user: str) -> str:
    """Make a device of *user*, ask for its keys, and tell how they come.

    Raises as ``Homeserver`` does where the homeserver cannot do all of it.
    """
    keys, pulls = HomeserverKeys(homeserver, user), Pulls(homeserver)
    await keys.put_device(user, DEVICE, "XMPP bridge, a check")
    try:
        await keys.upload_keys(user, DEVICE, {})
        await keys.query_keys([user])
        pulled = await pulls.pull(user, DEVICE, Mark())
    finally:
        await keys.delete_device(user, DEVICE)
    return "sliding sync" if pulled.mark.pos else "/sync"
