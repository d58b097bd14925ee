"""Measures what a message into an encrypted room of many devices costs the bridge.

The adapter for Matrix with its database on disk, and a homeserver that costs nothing
as it computes in a process of its own. Every device belongs to somebody else, is
signed, and is met for the first time. Run it with ``python -m tests.bench.megolm``.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.client import Homeserver
from bridge.matrix.megolm.ports import Role
from bridge.matrix.wires import Says, content, wire
from bridge.model.delivery import Delivered
from bridge.store.store import SqlStore
from tests.homeserver import AS_TOKEN, Event
from tests.unit.matrix.megolm.party import Party
from tests.unit.matrix.world import (
    ALICE,
    BOT,
    GHOST,
    HALL,
    FakeHost,
    StrictHomeserver,
    parcel,
)

MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2"}
KEY = bytes(32)


async def _serve(devices: int, told: Connection) -> None:
    """Be the homeserver of a room with so many devices, until told to end."""
    server = StrictHomeserver()
    party = await Party(server.keys).start()
    server.users.add(BOT)
    for member in (BOT, ALICE, *(f"@user{number}:hs" for number in range(1, devices))):
        joined: Event = {"membership": "join"}
        server.add(HALL, member, "m.room.member", joined, state_key=member)
        if member != BOT:
            await party.joins(member, Role.CONTACT)
    server.add(HALL, ALICE, "m.room.encryption", dict(MEGOLM), state_key="")
    await server.start()
    told.send(server.url)
    await asyncio.to_thread(told.recv)
    keys = sum(len(one) for one in server.keys.inboxes.values())
    kinds = [event["type"] for event in server.rooms[HALL].events]
    told.send((keys, kinds.count("m.room.encrypted")))
    await server.stop()


def serve(devices: int, told: Connection) -> None:
    """Serve, in a process of its own."""
    asyncio.run(_serve(devices, told))


async def measure(url: str, folder: Path, count: int) -> list[tuple[float, float]]:
    """Say *count* messages; return how long each took, and how long it computed."""
    store = await SqlStore.open(f"sqlite:///{folder}/bridge.db", KEY)
    homeserver = Homeserver(url, AS_TOKEN, "hs")
    adapter = MatrixAdapter(homeserver, store, BOT)
    await adapter.start(FakeHost())
    adapter._secrecy.audiences.pause_s = 0.0  # nobody looks around
    took: list[tuple[float, float]] = []
    for number in range(count):
        said = content({"msgtype": "m.text", "body": f"message {number}"})
        one = parcel(wire(Says(GHOST, HALL, said, "Juliet", "juliet@capulet.lit")))
        began, computed = time.perf_counter(), time.process_time()
        (outcome,) = await adapter.send([one])
        assert isinstance(outcome, Delivered), outcome
        took.append((time.perf_counter() - began, time.process_time() - computed))
    await homeserver.close()
    await store.close()
    return took


def show(took: Sequence[tuple[float, float]], devices: int, keys: int) -> None:
    """Print what it cost."""
    later = [computed * 1000 for _, computed in took[1:]]
    print(f"{devices} devices, {keys} keys sent")
    print(f"first message  {took[0][0]:6.3f} s, {took[0][1]:6.3f} s of CPU")
    print(f"later ones     {statistics.mean(later):6.2f} ms of CPU", end="")
    print(f" (p50 {statistics.median(later):.2f})")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--count", type=int, default=99, help="later messages")
    asked = parser.parse_args()
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=serve, args=(asked.devices, there))
    server.start()
    try:
        with TemporaryDirectory() as folder:
            url, count = here.recv(), asked.count + 1
            took = asyncio.run(measure(url, Path(folder), count))
        here.send("end")
        keys, said = here.recv()
        if said != count:
            raise RuntimeError(f"{said} of {count} messages arrived")
        show(took, asked.devices, keys)
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
