"""Measures how a backlog is worked off: memory, order, and who waits for whom.

The real core and the real store, on the disk of --folder, between two networks that
take everything at once. One hot room has half of the backlog, the rest is spread over
many rooms; meanwhile somebody writes in a quiet room, now and then. Run it with
``python -m tests.bench.backlog``.
"""

import argparse
import asyncio
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bridge.core.directory import Directory
from bridge.core.ports import Adapter, State, Unit
from bridge.core.progress import Progress
from bridge.model.delivery import (
    Arrival,
    Delivered,
    Later,
    Outcome,
    Parcel,
    Refusal,
    Route,
    Taken,
    Wire,
)
from bridge.model.events import AnyEvent, Message, Protection, Text
from bridge.model.places import Network, Person, PortalId, Ref, Room
from bridge.model.records import Kind, Portal
from bridge.model.text import RichText
from bridge.store.store import SqlStore
from tests.bench.drive import percentile
from tests.core import join_core
from tests.fakes import FakeMatrixRooms, FakeXmppRooms

MESSAGES = 1_000_000
ROOMS = 1000
TAKE = 1000
ALIVE_EVERY_S = 0.05
NOW = datetime.now(UTC)
MEGABYTE = 1024


class Far:
    """A network that takes all at once, and sees whether the order is kept."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.last: dict[str, int] = {}
        self.arrived = 0
        self.inverted = 0
        self.at: dict[str, float] = {}

    async def read(self, taken: Taken, unit: Unit) -> AnyEvent | None:
        return self.glance(taken.arrival)

    def glance(self, arrival: Arrival) -> Message:
        return Message(
            ref=Ref(self.network, arrival.key),
            room=arrival.room,
            sender=Person(self.network, "somebody"),
            sent_at=NOW,
            name="Somebody",
            content=Text(RichText(arrival.raw.decode())),
        )

    def receipt(self, event: Message) -> bytes:
        return b""

    def prepare(self, event: Message, route: Route) -> Sequence[Wire] | Refusal:
        return [Wire(event.ref.id, event.content.body.plain.encode())]

    async def apply(self, event: State, route: Route) -> Sequence[Wire]:
        return ()

    async def send(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | Later]:
        await asyncio.sleep(0)
        now = time.perf_counter()
        for parcel in parcels:
            self.arrived += 1
            if parcel.wire.key.startswith("alive"):
                self.at[parcel.wire.key] = now
                continue
            number = int(parcel.wire.key)
            self.inverted += number <= self.last.get(parcel.lane, -1)
            self.last[parcel.lane] = number
        return [Delivered()] * len(parcels)

    def settle(self, receipt: bytes, outcome: Outcome) -> Sequence[Wire]:
        return ()

    def notice(self, room: Room, words: str) -> Sequence[Wire]:
        return ()

    def protection(self, portal: Portal) -> Protection:
        return Protection.TRANSPORT


def portal(number: int) -> Portal:
    return Portal(
        PortalId(number), Kind.HOSTED, f"!{number}:hs", f"#{number}#hs@b", agent="@b:hs"
    )


def room(number: int) -> Room:
    return Room(Network.MATRIX, f"!{number}:hs")


async def fill(store: SqlStore, messages: int) -> None:
    """Take in the backlog: every other message is in room 1, the hot one."""
    words = secrets.token_hex(100).encode()
    for start in range(0, messages, TAKE):
        unit = Unit()
        for number in range(start, min(start + TAKE, messages)):
            where = 1 if number % 2 else 2 + number // 2 % ROOMS
            arrival = Arrival(room(where), str(number), words)
            unit.take.append(Taken(store.number(), arrival))
        await store.commit(unit)


def memory_mb() -> int:
    """Tell how much memory we have ever needed."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MEGABYTE


async def drain(store: SqlStore, messages: int) -> bool:
    """Work the backlog off, and print what was measured; tell whether all is well."""
    quiet = ROOMS + 2
    directory = Directory([portal(number) for number in range(1, quiet + 1)])
    near, far = Far(Network.MATRIX), Far(Network.XMPP)
    adapters: dict[Network, Adapter] = {Network.MATRIX: near, Network.XMPP: far}
    before_mb = memory_mb()
    written: dict[str, float] = {}
    async with asyncio.TaskGroup() as tasks:
        hub, dispatch = join_core(
            tasks,
            adapters=adapters,
            store=store,
            directory=directory,
            matrix=FakeMatrixRooms(),
            xmpp=FakeXmppRooms(),
        )
        progress = Progress(store.counts, lambda: hub.depth() + dispatch.depth())
        telling = tasks.create_task(progress.run())
        began = time.perf_counter()
        await hub.start()
        await dispatch.start()
        while far.arrived < messages + len(written):
            name = f"alive {len(written)}"
            written[name] = time.perf_counter()
            await hub.keep([Arrival(room(quiet), name, b"hello")])
            await asyncio.sleep(ALIVE_EVERY_S)
        await hub.wait_empty()
        await dispatch.wait_empty()
        took_s = time.perf_counter() - began
        telling.cancel()
    print(f"{messages} messages, half of them in one of {ROOMS + 1} rooms")
    print(f"worked off in {took_s:.0f} s: {messages / took_s:.0f}/s")
    print(f"memory {before_mb} MB before, at most {memory_mb()} MB")
    return is_well(far, messages, written)


def is_well(far: Far, messages: int, written: dict[str, float]) -> bool:
    """Print what arrived, and how long what was *written* meanwhile took."""
    waits_ms = [(far.at[name] - at) * 1000 for name, at in written.items()]
    lost = messages + len(written) - far.arrived
    p50, p99 = percentile(waits_ms, 0.5), percentile(waits_ms, 0.99)
    print(f"lost or doubled {lost}, inverted {far.inverted}")
    print(f"in a quiet room meanwhile: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return not lost and not far.inverted


async def measure(folder: Path, messages: int) -> bool:
    """Fill a database in *folder*, and drain it after a restart."""
    url, key = f"sqlite:///{folder}/backlog.db", secrets.token_bytes(32)
    store = await SqlStore.open(url, key)
    began = time.perf_counter()
    await fill(store, messages)
    took_s = time.perf_counter() - began
    await store.close()
    print(f"taken in: {messages / took_s:.0f}/s")
    store = await SqlStore.open(url, key)
    try:
        return await drain(store, messages)
    finally:
        await store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return 0 if uvloop.run(measure(Path(folder), given.messages)) else 1


if __name__ == "__main__":
    sys.exit(main())
