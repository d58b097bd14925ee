"""Reads what is committed, on a connection and in a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from bridge.core.ports import StoreUnavailableError
from bridge.store.driver import reason
from bridge.store.engine import reader_engine

T = TypeVar("T")


class Reader:
    """One thread, so that reads never stand in the way of the loop or of commits."""

    def __init__(self, url: URL) -> None:
        self._engine = reader_engine(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-reader")

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what *query* reads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._read, query)

    async def close(self) -> None:
        """Finish what is being read, and end."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()

    def _read(self, query: Callable[[Connection], T]) -> T:
        try:
            return self._read_once(query)
        except DBAPIError:
            # A connection may have died since it was last used: try a new one.
            self._engine.dispose()
        try:
            return self._read_once(query)
        except DBAPIError as error:
            raise StoreUnavailableError(reason(error)) from error

    def _read_once(self, query: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return query(connection)
