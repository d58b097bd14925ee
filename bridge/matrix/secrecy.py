"""All that has to do with encryption on Matrix, put together.

Whoever of ours is in a room for sure is sent its keys: the bot in rooms, a ghost in a
chat with it. Everybody of ours who speaks in an encrypted room has a device of their
own, signed by their own identity.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.core.ports import Host, Store, StoreUnavailableError
from bridge.matrix.admissions import Admissions
from bridge.matrix.audiences import Audiences
from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError
from bridge.matrix.feed import KeyFeed
from bridge.matrix.late import Lates
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import Fingerprint, News, Role, Strictness
from bridge.matrix.megolm.server import HomeserverKeys
from bridge.matrix.opening import Opening
from bridge.matrix.sealed import MEGOLM, Sealed
from bridge.matrix.sealing import Sealing
from bridge.matrix.sweeping import Sweeping
from bridge.matrix.views import Views

logger = logging.getLogger(__name__)

GROUP = 4
SHOWN_MAX = 12


@dataclass(frozen=True, slots=True)
class Encryption:
    """What an admin wishes: to whom keys are given; *direct* encrypts new chats."""

    strictness: Strictness = Strictness.PINNED
    direct: bool = True


PINNED = Encryption()


class Secrecy:
    """What the adapter asks of the encryption.

    *agent* tells who of ours is in a room for sure, *ours* whether an MXID is a ghost
    or the bot.
    """

    def __init__(  # noqa: PLR0913 - it puts all of them together
        self,
        *,
        homeserver: Homeserver,
        store: Store,
        views: Views,
        sealed: Sealed,
        agent: Callable[[str], str],
        ours: Callable[[str], bool],
        bot: str,
        strictness: Strictness = Strictness.PINNED,
    ) -> None:
        self._keys = HomeserverKeys(homeserver, bot)
        self._sealed = sealed
        self._agent = agent
        self._bot = bot
        self._ours = ours
        self.machine = Machine(self._keys, store, ours, strictness)
        self.audiences = Audiences(homeserver, views, sealed, agent, ours, bot)
        self.admissions = Admissions(self.machine, self.audiences)
        self.lates = Lates(store, agent)
        self.feed = KeyFeed(homeserver, store, self.machine, bot, self._came)
        self._sweeping = Sweeping(store, self.feed, bot)
        self.opening = Opening(self.machine, self.feed, self.lates, agent)
        self.sealing = Sealing(
            machine=self.machine,
            store=store,
            sealed=sealed,
            views=views,
            audiences=self.audiences,
            feed=self.feed,
            agent=agent,
            bot=bot,
        )

    async def start(self, host: Host) -> None:
        """Remember earlier runs."""
        await self.machine.start()
        try:
            await self.machine.reclaim(self._bot)
        except (MatrixError, HomeserverDownError) as error:
            logger.info("whose identity the bot has is not known: %s", error)
        await self.lates.start(host)

    async def recover(self) -> None:
        """Use nothing again that a restored backup remembers; after the start."""
        await self.machine.recover()

    async def has_device(self) -> bool:
        """Tell whether an earlier run has set up the bot's device."""
        return await self.machine.device(self._bot) is not None

    async def run(self) -> None:
        """Listen for keys, and see to what waits for them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.feed.run(), name="keys")
            tasks.create_task(self.lates.run(self.feed), name="late messages")
            tasks.create_task(self.admissions.run(), name="keys for who came in")
            tasks.create_task(self._sweeping.run(), name="inboxes of ghosts")

    async def welcome(self, user: str) -> bool:
        """Have *user*, whom people may write to directly, set up for that.

        What is encrypted before a device is there can be read by nobody. Tell whether
        there is one, or may be one yet.
        """
        try:
            device = await self.machine.ensure(user, Role.CONTACT)
            await self.feed.expect(user, device)
        except (MatrixError, HomeserverDownError, StoreUnavailableError) as error:
            logger.warning("%s cannot be written to encrypted yet: %s", user, error)
            return not isinstance(error, MatrixError) or error.passing
        return True

    async def may_encrypt(self, guest: str) -> bool:
        """Tell whether *guest* has a device that could read what is encrypted."""
        try:
            answer = await self._keys.query_keys([guest])
        except (MatrixError, HomeserverDownError):
            return False
        devices = answer.get("device_keys")
        found = devices.get(guest) if isinstance(devices, dict) else None
        return isinstance(found, Mapping) and any(map(_reads, found.values()))

    async def confirm(self, room: str) -> Sequence[str]:
        """Accept the identities in *room* that have changed; return whose they are."""
        audience = await self.audiences.of(room)
        readers = sorted(one for one in audience.members if not self._ours(one))
        changed = await self.machine.changed(readers)
        return [user for user in changed if await self.machine.confirm(user)]

    async def devices(self, room: str) -> str:
        """Tell how the devices of ours that matter in *room* are checked."""
        there = await self._ours_in(room)
        users = dict.fromkeys((self._bot, self._agent(room), *there))
        prints = [await self.machine.fingerprint(user) for user in users]
        shown = [_shown(one) for one in prints if one is not None]
        if len(shown) > SHOWN_MAX:
            shown[SHOWN_MAX:] = [f"and {len(shown) - SHOWN_MAX} more."]
        return "\n".join(shown) or "The bridge has no device for encryption yet."

    async def _ours_in(self, room: str) -> Sequence[str]:
        """List who of ours may speak in *room*, if it is encrypted."""
        if room not in self._sealed:
            return ()
        try:
            audience = await self.audiences.of(room)
        except (MatrixError, HomeserverDownError):
            return ()  # then those that matter most have to do
        return sorted(filter(self._ours, audience.members))

    def _came(self, news: News) -> None:
        self.lates.came(news)


def _reads(device: object) -> bool:
    algorithms = device.get("algorithms") if isinstance(device, dict) else None
    return isinstance(algorithms, list) and MEGOLM in algorithms


def _shown(one: Fingerprint) -> str:
    return (
        f"{one.user}, device {one.device}: {_grouped(one.ed25519)}\n"
        f"  identity: {_grouped(one.master)}"
    )


def _grouped(key: str) -> str:
    return " ".join(key[n : n + GROUP] for n in range(0, len(key), GROUP))


def encryption_event() -> dict[str, Any]:
    """Write the state that makes a new room encrypted."""
    return {
        "type": "m.room.encryption",
        "state_key": "",
        "content": {"algorithm": MEGOLM},
    }
