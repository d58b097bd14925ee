"""Tells which of our messages a MUC has shown to all, and which it has sent back.

A MUC shows every message to its sender and everybody else, or answers with an error
(XEP-0045 §7.4): either is the proof that it has come.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from bridge.xmpp.codec.fault import Fault

KNOWN_MAX = 4096


@dataclass(frozen=True, slots=True)
class Shown:
    """The MUC has shown it; *stanza_id* is the name it bears in the archive."""

    stanza_id: str = ""


class Batch:
    """Messages that were written together and are waited for together."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.open = set(keys)
        self._over = asyncio.get_running_loop().create_future()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until nothing is open; False if that takes too long or is in vain."""
        if not self.open:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._over)
        except TimeoutError:
            return False
        return not self.open

    def close(self, key: str) -> None:
        """Take note that the fate of *key* is known."""
        self.open.discard(key)
        if not self.open:
            self.give_up()

    def give_up(self) -> None:
        """Wait no longer."""
        if not self._over.done():
            self._over.set_result(None)


class Confirmations:
    """The fate of what we said in one MUC."""

    def __init__(self) -> None:
        self._waiting: dict[str, Batch] = {}
        self._fates: OrderedDict[str, Shown | Fault] = OrderedDict()

    def expect(self, keys: Iterable[str]) -> Batch:
        """Wait for *keys*, but for those whose fate is known already."""
        batch = Batch(key for key in keys if key not in self._fates)
        for key in batch.open:
            self._waiting[key] = batch
        return batch

    def forget(self, batch: Batch) -> None:
        """Wait no more for what is open in *batch*."""
        for key in batch.open:
            self._waiting.pop(key, None)

    def shown(self, key: str, stanza_id: str) -> None:
        """Take note that the MUC has shown *key*."""
        self._settle(key, Shown(stanza_id))

    def bounced(self, key: str, fault: Fault) -> None:
        """Take note that *key* has come back; once shown it stays shown."""
        if key in self._waiting:
            self._settle(key, fault)

    def waits(self, key: str) -> bool:
        """Tell whether anybody waits for *key*."""
        return key in self._waiting

    def fate(self, key: str) -> Shown | Fault | None:
        """Tell what became of *key*."""
        return self._fates.get(key)

    def again(self, key: str) -> None:
        """Forget the fate of *key*, which is going to be sent again."""
        self._fates.pop(key, None)

    def interrupt(self) -> None:
        """Give up waiting: the stream is lost."""
        for batch in set(self._waiting.values()):
            batch.give_up()
        self._waiting.clear()

    def _settle(self, key: str, fate: Shown | Fault) -> None:
        batch = self._waiting.pop(key, None)
        # Also what nobody waits for: the archive tells what a former run had sent.
        self._fates[key] = fate
        while len(self._fates) > KNOWN_MAX:
            self._fates.popitem(last=False)
        if batch is not None:
            batch.close(key)
