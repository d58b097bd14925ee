import sqlite3
from pathlib import Path

from sqlalchemy import create_engine

from bridge.core.ports import Unit
from bridge.model.places import Network, PortalId
from bridge.model.records import DeadLetter
from bridge.store import letters
from bridge.store.commits import Commits
from bridge.store.seal import Seal
from tests.unit.store.world import KEY, database

LETTER = DeadLetter(
    3,
    Network.MATRIX,
    "7",
    PortalId(7),
    "!room:hs",
    "REJECTED",
    1,
    2,
    b"canary",
    b"canary",
    b"canary",
)


def test_what_it_said_lies_sealed(tmp_path: Path) -> None:
    here = database(tmp_path)
    Commits(here, Seal(KEY)).write([Unit(put=[LETTER])])
    here.close()
    engine = create_engine(f"sqlite:///{tmp_path}/bridge.db")

    with engine.connect() as connection:
        found = letters.page(connection, Seal(KEY), "7", 0, 9)
    engine.dispose()

    assert found == [LETTER]
    with sqlite3.connect(tmp_path / "bridge.db") as raw:
        rows = raw.execute("SELECT * FROM deadletter").fetchall()
    raw.close()
    assert b"canary" not in b"".join(v for v in rows[0] if isinstance(v, bytes))
