"""Single lines of the design, broken on purpose: the simulation must notice each.

A mutation replaces some text in the source of one function, here and now, and puts
the function back afterwards. The text has to be there: who changes the core learns
which mutation he has to write anew.
"""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from bridge.core import intake
from bridge.core.dispatch import Dispatch
from bridge.core.hub import Hub
from bridge.core.intake import Intake
from bridge.core.lanes import Lanes
from bridge.xmpp.confirm import Confirmations
from tests.fakes_store import FakeStore
from tests.simulation.matrix import SimMatrix
from tests.simulation.stay import Stay
from tests.simulation.store import SimStore


@dataclass(frozen=True)
class Mutation:
    """In *owner*'s function *name*, *old* becomes *new*."""

    owner: type | ModuleType
    name: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Break it for a while."""
        whole = getattr(self.owner, self.name)
        source = textwrap.dedent(inspect.getsource(whole))
        if source.count(self.old) != 1:
            raise ValueError(f"{whole.__qualname__} does not hold once: {self.old}")
        scope: dict[str, object] = {}
        code = compile(source.replace(self.old, self.new), "<mutation>", "exec")
        exec(code, whole.__globals__, scope)  # noqa: S102 - our own source, changed
        setattr(self.owner, self.name, scope[self.name])
        try:
            yield
        finally:
            setattr(self.owner, self.name, whole)


FIRST = 100
"""Mutations are tried with the seeds after this one."""

PEERS = "queues in memory, and answers at once, as the peers have it"

MUTATIONS: dict[str, Mutation] = {
    "the homeserver is answered before the commit": Mutation(
        Intake, "keep", "unfit = await _written(answers)", "unfit = await sleep(0)"
    ),
    "an answer in a room that is being made is nobody's": Mutation(
        Hub,
        "_step",
        "await self._provisioning.resume(item.arrival.room)",
        "await sleep(0)",
    ),
    "what nobody waits for any more is left on disk": Mutation(
        intake,
        "_written",
        "await asyncio.wait([answer])",
        "await answer",
    ),
    "what is carried at once overtakes what waits": Mutation(
        Intake, "_carried", "or not self._idle(room)", ""
    ),
    "what was carried is carried again when it comes again": Mutation(
        FakeStore, "_commit", "if unit.is_void(known):", "if False:"
    ),
    "what was carried before is released again": Mutation(
        Dispatch, "_release", "unit.is_void(known):", "False:"
    ),
    "the same arrival is taken again": Mutation(
        FakeStore, "_take", "key not in self.disk.known", "True"
    ),
    "an arrival is done in a commit of its own": Mutation(
        Dispatch,
        "commit",
        "future = self._store.commit(unit)",
        "done = Unit(done=list(unit.done)); unit.done.clear();"
        " future = self._store.commit(unit);"
        " done.done and future.add_done_callback("
        "lambda _: self._store.commit(done).add_done_callback("
        "lambda f: f.exception()))",
    ),
    "parcels are released before they are on disk": Mutation(
        Dispatch,
        "commit",
        "future.add_done_callback(lambda done: self._release(unit, done))",
        "[self._lanes.put((p.network, p.lane), p) for p in unit.parcels]",
    ),
    "parcels are never released but by a restart": Mutation(
        Dispatch,
        "commit",
        "future.add_done_callback(lambda done: self._release(unit, done))",
        "pass",
    ),
    "a parcel is marked as sent before it is": Mutation(
        Dispatch,
        "_work",
        "outcomes = await self._send(key, through_part(parcels))",
        "self._write(Unit(sent=list(parcels[:1])));"
        " outcomes = await self._send(key, through_part(parcels))",
    ),
    "what has to wait is taken for sent": Mutation(
        Dispatch,
        "_work",
        "if isinstance(outcome, Later):\n            break",
        "if isinstance(outcome, Later):\n            through += 1; continue",
    ),
    "nobody is told how it went": Mutation(
        Dispatch,
        "_settle",
        "self.add(unit, self._directory",
        "(unit, self._directory",
    ),
    "senders are told in a commit of its own": Mutation(
        Dispatch,
        "_settle",
        "self.add(unit, self._directory.near_of(parcel), wires)",
        "asyncio.get_running_loop().call_later(0.05, self.later,"
        " self._directory.near_of(parcel), wires)",
    ),
    "what an earlier run had not sent is forgotten": Mutation(
        Dispatch, "start", "self._lanes.wake(key)", "pass"
    ),
    "a change that cannot be written is dropped": Mutation(
        Dispatch, "_look", "self._unwritten.append(unit)", "return"
    ),
    "a cursor outruns what it relies on": Mutation(
        Dispatch,
        "note",
        "self._write(Unit(put=list(records)))",
        "self._store.commit(Unit(put=list(records))).add_done_callback("
        "lambda f: f.exception())",
    ),
    "a step that cannot be written is dropped": Mutation(
        Hub,
        "_settled",
        "if tried:\n",
        "if True:\n                return\n            if tried:\n",
    ),
    "what cannot be written is overtaken": Mutation(
        Hub, "_work", "while steps and steps[0][2].done():", "while False:"
    ),
    "what an earlier run had not carried is forgotten": Mutation(
        Hub, "start", "self._lanes.wake(self._home(room))", "pass"
    ),
    "what waits already is carried after what was missed": Mutation(
        Hub, "_catch_up", "waiting = {item.arrival.key: item for item in waits}", "pass"
    ),
    "what was carried ahead is carried again": Mutation(
        Hub, "_catch_up", "self._ahead.add(first.seq)", "pass"
    ),
    "a lane has two consumers": Mutation(
        Lanes,
        "_open",
        'self._tasks.create_task(self._drain(key, lane), name="lane")',
        "[self._tasks.create_task(self._drain(key, lane)) for _ in range(2)]",
    ),
    "a full lane drops what comes": Mutation(
        Lanes, "put", "lane.behind = True", "pass"
    ),
    "what came while a lane read on stays on disk": Mutation(
        Lanes, "_fetch", "elif not meanwhile:", "else:"
    ),
    "the new is carried before the old": Mutation(
        Lanes, "__init__", "self._held = held", "self._held = False"
    ),
    "nobody is fenced": Mutation(
        FakeStore, "_fault", "if self.epoch != self.disk.epoch:", "if False:"
    ),
    "numbers begin anew at each start": Mutation(
        SimStore, "__init__", "self._last = disk.number", "self._last = 0"
    ),
    "what may not have been written is read": Mutation(
        SimStore, "_write", "self._unsure |= numbers", "pass"
    ),
    "what failed is not failed together": Mutation(
        SimStore,
        "_fail",
        "group, self._queue = list(self._queue), deque()\n    self._busy = False",
        "group = [self._queue.popleft()]\n    self._busy = bool(self._queue)\n"
        "    self._busy and self._soon()",
    ),
    "a retry has a new txnId": Mutation(
        SimMatrix, "send", "key = parcel.wire.key", "key = self._net.dice.token()"
    ),
    "rooms are not audited": Mutation(
        SimMatrix, "_audit", "for room in rooms:", "for room in ():"
    ),
    "live stanzas are not held during the catch-up": Mutation(
        Stay, "received", "self._held.append(stanza)", "self._hear(stanza)"
    ),
    "the archive is not read": Mutation(
        Stay, "_enter", "if not mark.stamp:", "if True:"
    ),
    "our own words are not known again": Mutation(
        Confirmations, "expect", "if key not in self._fates", "if True"
    ),
    PEERS: Mutation(
        SimStore,
        "commit",
        "answer: Answer = self._sim.create_future()",
        "answer: Answer = self._sim.create_future();"
        " self._commit(replace(unit, take=[], done=[], parcels=[], sent=[], late=[],"
        " put=[r for r in unit.put if type(r).__name__ == 'Portal']),"
        " self._sim.create_future());"
        " answer.set_result(frozenset()); return answer",
    ),
}


def caught_after(mutation: Mutation, seeds: int) -> int:
    """Count the seeds until *mutation* is noticed; 0 if it is not."""
    from tests.simulation.world import World  # noqa: PLC0415 - it imports the mutated

    with mutation.applied():
        for count in range(1, seeds + 1):
            if World(FIRST + count).run():
                return count
    return 0
