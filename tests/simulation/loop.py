"""An event loop in which a seed decides, time is a number and processes can die.

One thread, no sockets and no wall clock: when nothing is ready, the clock jumps to
the next timer. Callbacks keep their order, as asyncio promises; of tasks that are
woken side by side the seed chooses who goes first.

A process is a context: all that its tasks and callbacks schedule belongs to it. To
kill it is to run none of that any more, at any step, as kill -9 does: no ``finally``,
no farewell. To freeze it (SIGSTOP) is to put that aside until it is thawed.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from tests.simulation.dice import Dice

T = TypeVar("T")

STEPS_MAX = 100_000


class StuckError(Exception):
    """Nothing moves any more, or everything moves for ever."""


class Process:
    """What is killed, frozen and thawed as one; *fuse* counts its steps to death."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.fuse = -1
        self.held: list[Step | TimedStep] = []
        self.died: list[Callable[[], None]] = []
        self.context = copy_context()
        self.context.run(_OWNER.set, self)

    def kill(self) -> None:
        """Let it run no further."""
        if self.alive:
            self.alive = False
            self.held.clear()
            for tell in self.died:
                tell()


_OWNER: ContextVar[Process | None] = ContextVar("owner", default=None)


class Step(asyncio.Handle):
    """A callback, and whose it is."""

    __slots__ = ("is_task", "owner")

    owner: Process | None
    is_task: bool


class TimedStep(asyncio.TimerHandle):
    """A callback for later, and whose it is."""

    __slots__ = ("is_task", "owner")

    owner: Process | None
    is_task: bool


class SimLoop(asyncio.AbstractEventLoop):
    """See above; *faults* are what broke inside callbacks and tasks."""

    def __init__(self, dice: Dice) -> None:
        self.steps = 0
        self.faults: list[str] = []
        self.world = copy_context()
        self._dice = dice
        self._now = 0.0
        self._ready: deque[Step | TimedStep] = deque()
        self._timers: list[tuple[float, int, TimedStep]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._running = False

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]  # no more than is used
        self,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - any callback's
        context: Context | None = None,
    ) -> asyncio.Handle:
        step = Step(callback, args, self, context)
        step.owner = _OWNER.get() if context is None else context.get(_OWNER)
        step.is_task = isinstance(getattr(callback, "__self__", None), asyncio.Task)
        self._ready.append(step)
        return step

    def call_later(  # type: ignore[override]  # same
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - same
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # same
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401 - same
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        step = TimedStep(when, callback, args, self, context)
        step.owner = _OWNER.get() if context is None else context.get(_OWNER)
        step.is_task = False
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, step))
        return step

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: it is left out when its time comes."""

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # same
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # not in types
        task.add_done_callback(self._look)
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if "never retrieved" not in context.get("message", ""):
            self.faults.append(
                f"{context.get('message')}: {context.get('exception')!r}"
            )

    def thaw(self, process: Process) -> None:
        """Let *process* go on with all that waited for it."""
        process.frozen = False
        held, process.held = process.held, []
        self._ready.extend(held)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run *main* to its end, and then nothing any more."""
        self._running = True
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._discard()
            asyncio._set_running_loop(None)
            self._running = False

    def _step(self) -> None:
        if not self._ready:
            self._jump()
        step = self._next()
        owner = step.owner
        if step._cancelled or (owner is not None and not self._may_run(owner, step)):
            return
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise StuckError(
                f"still busy after {STEPS_MAX} steps, at {self._now:.0f} s"
            )
        step._run()

    def _may_run(self, owner: Process, step: Step | TimedStep) -> bool:
        if not owner.alive:
            return False
        if owner.frozen:
            owner.held.append(step)
            return False
        if owner.fuse >= 0:
            owner.fuse -= 1
            if owner.fuse < 0:
                owner.kill()
                return False
        return True

    def _jump(self) -> None:
        """Go to the time of the next timer."""
        while self._timers:
            when, _, timer = heapq.heappop(self._timers)
            if timer._cancelled or (timer.owner is not None and not timer.owner.alive):
                continue
            self._now = max(self._now, when)
            self._ready.append(timer)
            return
        raise StuckError(f"nobody waits for anything, at {self._now:.0f} s")

    def _next(self) -> Step | TimedStep:
        ready = self._ready
        first = ready.popleft()
        if not first.is_task or not ready or not ready[0].is_task:
            return first
        side_by_side = [first]
        while ready and ready[0].is_task:
            side_by_side.append(ready.popleft())
        chosen = side_by_side.pop(self._dice.whole(0, len(side_by_side) - 1))
        ready.extendleft(reversed(side_by_side))
        return chosen

    def _look(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.faults.append(f"task {task.get_name()} fell: {error!r}")

    def _discard(self) -> None:
        """Close what has not ended, so that nothing of it is heard any more."""
        for task in self._tasks:
            if not task.done():
                coroutine = task.get_coro()
                if coroutine is not None:
                    coroutine.close()
        self._ready.clear()
        self._timers.clear()
        self._tasks.clear()


class Nursery(asyncio.TaskGroup):
    """The tasks of one process: killed with it, so nobody has to wait for them."""

    def __init__(self, loop: SimLoop, process: Process) -> None:
        super().__init__()
        self._sim = loop
        self._process = process

    def create_task(  # type: ignore[override]  # same
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        return self._sim.create_task(
            coro, name=name, context=context or self._process.context.copy()
        )
