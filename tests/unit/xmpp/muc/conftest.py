import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.xmpp.muc.cipher import FakeCipher
from tests.unit.xmpp.muc.vault import Vault
from tests.unit.xmpp.muc.world import JULIET, ROMEO, MucWorld, build


@pytest.fixture
async def world() -> AsyncIterator[MucWorld]:
    async with asyncio.TaskGroup() as tasks:
        made = build(tasks)
        await made.hosted.start()
        yield made


@pytest.fixture
async def empty() -> AsyncIterator[Vault]:
    async with asyncio.TaskGroup() as tasks:
        cipher = FakeCipher()
        around = build(tasks, endtoend=cipher)
        await around.hosted.start()
        yield Vault(around, cipher)


@pytest.fixture
async def vault(empty: Vault) -> Vault:
    await empty.enters(ROMEO)
    await empty.enters(JULIET)
    empty.around.written()
    return empty
