from pathlib import Path

from sqlalchemy import create_engine

from bridge.core.ports import Unit
from bridge.model.places import Network, Room
from bridge.store import inbox
from bridge.store.commits import Commits
from bridge.store.seal import Seal
from tests.unit.store.world import KEY, ROOM, database, taken


def test_a_row_is_sealed() -> None:
    seal = Seal(KEY)

    row = inbox.values(taken(5), seal)

    assert row[:4] == (5, "matrix", "$5", "!room:hs")
    assert seal.open(inbox.LABEL, bytes(row[4])) == b"raw"  # type: ignore[call-overload]


def test_rooms_are_read_together_in_order_of_seq(tmp_path: Path) -> None:
    seal, opened = Seal(KEY), database(tmp_path)
    units = [Unit(take=[taken(seq)]) for seq in (5, 3, 4)]
    Commits(opened, seal).write(units)
    engine = create_engine(f"sqlite:///{tmp_path}/bridge.db")

    with engine.connect() as connection:
        rooms = [ROOM, Room(Network.XMPP, "!room:hs")]
        found = inbox.waiting(connection, seal, rooms, 0, 2)
        assert found == [taken(3), taken(4)]
        assert inbox.rooms_waiting(connection) == [ROOM]
        assert inbox.count(connection) == 3

    engine.dispose()
    opened.close()
