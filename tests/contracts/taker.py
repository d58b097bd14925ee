"""Takes arrivals for ever and prints each that is safe on disk, until it is killed."""

import asyncio
import sys

from bridge.core.ports import Unit
from bridge.model.delivery import Arrival, Taken
from bridge.model.places import Network, Room
from bridge.store.store import SqlStore

ROOM = Room(Network.MATRIX, "!room:hs")


async def main(url: str) -> None:
    store = await SqlStore.open(url, bytes(range(32)))

    async def take(name: int) -> None:
        count = 0
        while True:
            key = f"{name}.{count}"
            taken = Taken(store.number(), Arrival(ROOM, key, b"raw"))
            await store.commit(Unit(take=[taken]))
            sys.stdout.write(f"{key}\n")
            sys.stdout.flush()
            count += 1

    async with asyncio.TaskGroup() as tasks:
        for name in range(8):
            tasks.create_task(take(name))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
