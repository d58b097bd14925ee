"""The implementations of each port, so that one suite runs on all of them."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, update

from bridge.store.engine import parse
from bridge.store.schema import instance
from bridge.store.store import SqlStore
from tests import postgres
from tests.fakes_store import Disk, FakeStore

KEY = bytes(range(32))

AnyStore = SqlStore | FakeStore


class Place:
    """Where a store keeps what it remembers; it can be opened again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._disk = Disk()
        self._opened: list[AnyStore] = []

    async def open(self, key: bytes = KEY) -> AnyStore:
        store: AnyStore = FakeStore(self._disk)
        if self.url:
            store = await SqlStore.open(self.url, key)
        self._opened.append(store)
        return store

    async def reopen(self) -> AnyStore:
        await self.close()
        return await self.open()

    def succeed(self) -> None:
        """Begin a new epoch, as another bridge does if no lock keeps it out."""
        if not self.url:
            self._disk.epoch += 1
            return
        engine = create_engine(parse(self.url), poolclass=NullPool)
        with engine.begin() as admin:
            admin.execute(update(instance).values(epoch=instance.c.epoch + 1))

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    with postgres.cluster() as folder:
        yield folder


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/bridge.db"


@pytest.fixture
def postgresql_url(cluster: Path) -> str:
    return postgres.database(cluster, f"bridge_{secrets.token_hex(4)}")


@pytest.fixture(params=["sqlite_url", "postgresql_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture(params=["", "sqlite_url", "postgresql_url"], ids=lambda p: p or "fake")
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    where = request.getfixturevalue(request.param) if request.param else ""
    here = Place(where)
    yield here
    await here.close()


@pytest.fixture
async def store(place: Place) -> AnyStore:
    return await place.open()
