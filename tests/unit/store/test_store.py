from pathlib import Path

import pytest

from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId
from bridge.model.records import Alias
from bridge.store.errors import SealError, StoreError
from bridge.store.store import SqlStore
from tests.unit.store.world import KEY

ALIAS = Alias(Network.MATRIX, "$1", PortalId(7), 3, "@alice:hs")


async def test_a_new_alias_is_found_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqlStore.open(f"sqlite:///{tmp_path}/bridge.db", KEY)
    await store.commit(Unit(put=[ALIAS]))
    with monkeypatch.context() as patched:
        patched.delattr(store, "_reader")

        assert await store.find(Alias, Network.MATRIX, "$1") == ALIAS

    await store.close()


async def test_an_old_alias_is_read(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite:///{tmp_path}/bridge.db", KEY)
    await store.commit(Unit(put=[ALIAS]))
    await store.close()
    store = await SqlStore.open(f"sqlite:///{tmp_path}/bridge.db", KEY)

    assert await store.find(Alias, Network.MATRIX, "$1") == ALIAS

    await store.close()


@pytest.mark.parametrize(
    ("url", "key", "error"),
    [
        ("oracle://hs/bridge", KEY, StoreError),
        ("sqlite:////no/such/folder/bridge.db", KEY, StoreError),
        ("sqlite:///bridge.db", b"short", SealError),
    ],
)
async def test_what_cannot_be_opened_says_why(
    url: str, key: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error, match=": "):
        await SqlStore.open(url, key)
