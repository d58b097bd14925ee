import asyncio
from pathlib import Path

import pytest

from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId
from bridge.model.records import DeadLetter, Wish
from bridge.store.aside import Aside
from bridge.store.errors import StoreError
from bridge.store.store import SqlStore
from tests.unit.store.world import KEY


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        number, Network.XMPP, "7", PortalId(7), "a@b", "REJECTED", 1, 2, wires=b"w"
    )


async def test_it_reads_and_wishes_while_the_bridge_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bridge.db"
    store = await SqlStore.open(url, KEY)
    await store.commit(Unit(put=[letter(1), letter(2)]))

    with Aside(url, KEY) as aside:
        assert aside.letters() == [letter(1), letter(2)]
        assert aside.letter(2) == letter(2)
        assert aside.letter(3) is None
        await asyncio.to_thread(aside.wish, 1, "retry")
        await asyncio.to_thread(aside.wish, 1, "drop")
        assert not aside.is_granted(1)
        assert await store.load(Wish) == [Wish(1, "drop")]
        await store.commit(Unit(drop=[Wish(1, "drop")]))
        assert aside.is_granted(1)

    await store.close()


def test_it_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database"):
        Aside(f"sqlite:///{tmp_path}/bridge.db", KEY)

    (tmp_path / "empty.db").touch()
    with (
        pytest.raises(StoreError, match="use the version that runs the bridge"),
        Aside(f"sqlite:///{tmp_path}/empty.db", KEY),
    ):
        raise AssertionError
