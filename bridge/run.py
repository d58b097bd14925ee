"""Runs the bridge from its start to its end, and ends it when asked."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

import uvloop
from typing_extensions import override

from bridge import __version__
from bridge.app import App, Work
from bridge.config import Config
from bridge.ends import complain, open_store
from bridge.model.records import Portal

logger = logging.getLogger(__name__)

T = TypeVar("T")

LAST_S = 4.5
"""When we end, asked to stop, even if something hangs: all that counts is on disk."""


class Tasks(asyncio.TaskGroup):
    """Begin nothing more once one has failed: who tries to ends along with the rest.

    A part with a group of its own hears a moment later than others that all end.
    """

    @override
    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Begin a task, or raise ``CancelledError``."""
        try:
            return super().create_task(coro, name=name, context=context)
        except RuntimeError:
            coro.close()
            raise asyncio.CancelledError from None


def run(config: Config) -> int:
    """Run the bridge until SIGTERM and return the exit code."""
    try:
        uvloop.run(_serve(config))
    except Exception as error:  # noqa: BLE001 - every end has its line and its code
        return complain(error)
    return 0


async def _serve(config: Config) -> None:
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, _ask_to_stop, stop)
    store = await open_store(config)
    try:
        await store.make_headroom()
        async with Tasks() as tasks:
            app = App(config, store, tasks, await store.load(Portal))
            try:
                if await _unless(stop, app.start(), tasks):
                    gc.collect()
                    # Collections cost much and find little.
                    gc.set_threshold(20_000, 50, 100)
                    gc.freeze()  # what is there now stays: nobody looks at it again
                    took = time.monotonic() - began
                    left = f", {app.waiting} messages wait" if app.waiting else ""
                    ready = f"is ready ({took:.1f} s){left}"
                    print(f"xmpp-matrix-bridge {__version__} {ready}")
                    sys.stdout.flush()
                    await stop.wait()
                await app.stop()
            finally:
                await app.close()
    finally:
        await store.close()


def _ask_to_stop(stop: asyncio.Event) -> None:
    if not stop.is_set():
        stop.set()
        last = threading.Timer(LAST_S, _end_anyway)
        last.daemon = True
        last.start()


def _end_anyway() -> None:
    logger.warning("something hangs: ending all the same; what counts is on disk")
    os._exit(0)


async def _unless(stop: asyncio.Event, start: Work, tasks: asyncio.TaskGroup) -> bool:
    """Start, unless asked to stop before; tell whether it is started."""
    starting = tasks.create_task(start, name="start")
    stopping = tasks.create_task(stop.wait(), name="stop")
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return True
    starting.cancel()
    await asyncio.wait((starting,))
    return False
