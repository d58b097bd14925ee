"""Waits while a remote is away: one asks whether it is back, everything else rests.

Nothing is given up because a remote is away, however long: all waits in order, and
after a while those who wait are told so, once in each room. Only a message that is
put off again and again while its remote takes others does not hold up its
conversation for ever.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress

from bridge.model.delivery import (
    HOMESERVER,
    XMPP_SERVER,
    Later,
    Parcel,
    Refusal,
    Refused,
)
from bridge.model.places import Network

logger = logging.getLogger(__name__)

PAUSE_S_MIN = 0.5
PAUSE_S_MAX = 30.0
FAR_PAUSE_S_MAX = 5.0
"""For a remote beyond the servers, whose adapter knows by itself when to ask it."""
NOTICE_S = 300.0
BLOCKED_S_MAX = 600.0
RELAPSE_S = 60.0
"""What is away again so soon was never back: nobody is told a second time."""

ENDED_MAX = 1000

WHOLE = {Network.MATRIX: HOMESERVER, Network.XMPP: XMPP_SERVER}
"""The remotes through which everything of a network goes."""

Key = tuple[Network, str]
Tell = Callable[[Parcel, str], None]


class Outage:
    """One remote that is away, and the lanes that wait for it."""

    def __init__(self, remote: str, pause_s_max: float) -> None:
        self.remote = remote
        self.since = asyncio.get_running_loop().time()
        self.waiting: dict[Key, Parcel | None] = {}
        self.told: set[Key] = set()
        self.prober: Key | None = None
        self.timer: asyncio.TimerHandle | None = None
        self._pause_s_max = pause_s_max
        self._pause_s = PAUSE_S_MIN / 2
        self._next = self.since
        self._probing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._over = False

    async def turn(self, key: Key) -> None:
        """Wait until it is over, or until it is the turn of *key* to try."""
        await self._probing.acquire()
        while not self._over:
            wait_s = self._next - asyncio.get_running_loop().time()
            if wait_s <= 0:
                self.prober = key
                return
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
        self._probing.release()

    def failed(self, key: Key, after_s: float) -> None:
        """Take note that it is still away."""
        self._pause_s = min(self._pause_s * 2, self._pause_s_max)
        pause_s = max(after_s, self._pause_s * (80 + secrets.randbelow(41)) / 100)
        self._next = asyncio.get_running_loop().time() + pause_s
        self.release(key)

    def hasten(self) -> None:
        """Let the next one try at once."""
        self._pause_s = PAUSE_S_MIN / 2
        self._next = 0.0
        self._wake.set()

    def end(self) -> None:
        """Let all go on."""
        self._over = True
        self._wake.set()
        if self.timer is not None:
            self.timer.cancel()
        if self.prober is not None:
            self.release(self.prober)

    def release(self, key: Key) -> None:
        """Let the next one try, if it was the turn of *key*."""
        if self.prober == key:
            self.prober = None
            self._probing.release()


class Stuck:
    """A message that is put off though its remote is not away."""

    def __init__(self, parcel: int) -> None:
        self.parcel = parcel
        self.since = asyncio.get_running_loop().time()
        self.told = False


class Outages:
    """What is away at present; false if nothing is, which is all that is asked often.

    *tell* tells the sender of a parcel something in words.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._whole: dict[Network, Outage] = {}
        self._far: dict[str, Outage] = {}
        self._lanes: dict[Key, Outage] = {}
        self._stuck: dict[Key, Stuck] = {}
        self._ended: dict[str, tuple[float, Outage]] = {}

    def __bool__(self) -> bool:
        return bool(self._whole or self._lanes or self._stuck)

    def away(self) -> dict[str, float]:
        """Tell what is away, and for how many seconds."""
        now = asyncio.get_running_loop().time()
        found = (*self._whole.values(), *self._far.values())
        return {outage.remote: now - outage.since for outage in found}

    async def turn(self, key: Key, parcel: Parcel | None) -> None:
        """Wait until a lane may send; *parcel* is the first that somebody waits for."""
        for one in (self._whole.get(key[0]), self._lanes.get(key)):
            if one is not None:
                one.release(key)
        while outage := self._whole.get(key[0]) or self._lanes.get(key):
            outage.waiting[key] = parcel
            if asyncio.get_running_loop().time() - outage.since >= NOTICE_S:
                self._say(outage, key)
            await outage.turn(key)
            outage.waiting.pop(key, None)
            if outage.prober == key:
                return

    def passed(self, key: Key) -> None:
        """Take note that something of a lane has got an answer."""
        self._stuck.pop(key, None)
        for one in (self._whole.get(key[0]), self._lanes.get(key)):
            if one is not None:
                self._end(key[0], one)

    def _end(self, network: Network, outage: Outage) -> None:
        logger.info("%s is back", outage.remote)
        outage.end()
        if self._whole.get(network) is outage:
            del self._whole[network]
        self._far.pop(outage.remote, None)
        self._lanes = {k: v for k, v in self._lanes.items() if v is not outage}
        self._ended.pop(outage.remote, None)
        self._ended[outage.remote] = asyncio.get_running_loop().time(), outage
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def failed(self, key: Key, parcel: Parcel, later: Later) -> Refused | None:
        """Take note that *parcel*, the first of its lane, was put off.

        Return a refusal if that has gone on for so long that it must not block its
        conversation any longer.
        """
        if not later.away:
            return self._put_off(key, parcel, later)
        self._stuck.pop(key, None)
        outage, whole = self._outage(key, later.away), self._whole.get(key[0])
        if whole is not None and whole is not outage and whole.prober == key:
            self._end(key[0], whole)  # whoever got so far has found the server there
        outage.failed(key, later.after_s)
        return None

    def hasten(self, network: Network) -> None:
        """Let somebody try at once: there are signs that the remote is back."""
        if outage := self._whole.get(network):
            outage.hasten()

    def back(self, remote: str) -> None:
        """Let somebody try at once: *remote*, one beyond the servers, is back."""
        if outage := self._far.get(remote):
            outage.hasten()

    def close(self) -> None:
        """Let all go on, as nothing is sent any more."""
        for outage in (*self._whole.values(), *self._far.values()):
            outage.end()
        self._whole, self._far, self._lanes = {}, {}, {}

    def _outage(self, key: Key, remote: str) -> Outage:
        if remote == WHOLE[key[0]]:
            return self._whole.get(key[0]) or self._begin(key, remote)
        outage = self._far.get(remote) or self._begin(key, remote)
        self._lanes[key] = outage
        return outage

    def _begin(self, key: Key, remote: str) -> Outage:
        logger.warning("%s is away; what is for it waits", remote)
        if remote == WHOLE[key[0]]:
            outage = self._whole[key[0]] = Outage(remote, PAUSE_S_MAX)
        else:
            outage = self._far[remote] = Outage(remote, FAR_PAUSE_S_MAX)
        loop = asyncio.get_running_loop()
        ended_at, before = self._ended.pop(remote, (0.0, outage))
        if loop.time() - ended_at < RELAPSE_S:
            outage.since, outage.told = before.since, before.told
        due = outage.since + NOTICE_S
        outage.timer = loop.call_at(due, self._say_all, outage)
        return outage

    def _say_all(self, outage: Outage) -> None:
        for key in tuple(outage.waiting):
            self._say(outage, key)

    def _say(self, outage: Outage, key: Key) -> None:
        parcel = outage.waiting.get(key)
        if parcel is None or key in outage.told:
            return
        outage.told.add(key)
        minutes = int((asyncio.get_running_loop().time() - outage.since) // 60)
        self._tell(
            parcel,
            f"Waiting: {outage.remote} has been away for {minutes} minutes. What you"
            " write is kept, and delivered in order as soon as it is back.",
        )

    def _put_off(self, key: Key, parcel: Parcel, later: Later) -> Refused | None:
        outage = self._whole.get(key[0]) or self._lanes.get(key)
        if outage is not None:
            outage.failed(key, later.after_s)
            return None
        stuck = self._stuck.get(key)
        if stuck is None or stuck.parcel != parcel.id:
            stuck = self._stuck[key] = Stuck(parcel.id)
        waited_s = asyncio.get_running_loop().time() - stuck.since
        if waited_s >= BLOCKED_S_MAX:
            del self._stuck[key]
            logger.warning("parcel %d blocks its lane and is given up", parcel.id)
            return Refused(Refusal.UNREACHABLE, "it was put off for too long")
        if waited_s >= NOTICE_S and not stuck.told and parcel.seq:
            stuck.told = True
            self._tell(
                parcel,
                "Waiting: a message cannot be delivered yet; it will be tried for"
                f" {int((BLOCKED_S_MAX - waited_s) // 60) + 1} more minutes.",
            )
        return None
