"""The end of the bridge at a step that a test names: a request, or a commit."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from bridge.core.ports import Unit
from tests.fakes_store import FakeStore
from tests.homeserver import Fault
from tests.unit.matrix.world import MatrixWorld, adapter_on

NOBODY = ""
"""The path of a fault by which the connection breaks."""


class Death:
    """Ends the bridge of *matrix* at step *at*.

    Two steps a request: it does not get there, its answer does not come back. Two steps
    a commit: it is not made, nobody hears of it. Nothing happens after that.
    """

    def __init__(self, matrix: MatrixWorld, at: int) -> None:
        self._matrix = matrix
        self._at = at
        self._steps = 0
        self._over = asyncio.Event()
        self._commit = matrix.store.commit
        matrix.server._fault = self._request  # type: ignore[method-assign]
        matrix.store.commit = self._written  # type: ignore[method-assign]

    @property
    def came(self) -> bool:
        return self._over.is_set()

    async def during(self, act: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as it is
        """Let *act* go on until it is done, or the end comes; None then."""
        async with asyncio.TaskGroup() as tasks:
            acting = tasks.create_task(act)
            end = tasks.create_task(self._over.wait())
            await asyncio.wait((acting, end), return_when=asyncio.FIRST_COMPLETED)
            end.cancel()
            if not self.came:
                return await acting
            acting.cancel()
            with suppress(asyncio.CancelledError):
                await acting
            return None

    async def is_over(self) -> None:
        """Start another bridge on what the first has left."""
        del self._matrix.server._fault
        self._matrix.store = FakeStore(self._matrix.store.disk)
        # The last requests of the first are answered, if they are, to nobody.
        await self._matrix.homeserver.close()
        self._matrix.adapter = adapter_on(self._matrix.homeserver, self._matrix.store)
        self._matrix.adapter._secrecy.audiences.pause_s = 0.0
        await self._matrix.adapter.start(self._matrix.host)

    def _request(self, path: str) -> Fault | None:
        if self.came:
            return Fault(NOBODY)
        before, after = self._step(), self._step()
        if before or after:
            self._over.set()
            return Fault(NOBODY, after=after)
        return None

    def _written(self, unit: Unit) -> "asyncio.Future[frozenset[int]]":
        never: asyncio.Future[frozenset[int]] = (
            asyncio.get_running_loop().create_future()
        )
        if self.came or unit == Unit():
            return never if self.came else self._commit(unit)
        before, after = self._step(), self._step()
        if before or after:
            self._over.set()
        if not before:
            made = self._commit(unit)
            return never if after else made
        return never

    def _step(self) -> bool:
        self._steps += 1
        return self._steps == self._at
