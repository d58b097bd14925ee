from pathlib import Path

from sqlalchemy import create_engine

from bridge.core.ports import Unit
from bridge.model.places import Network
from bridge.store import outbox
from bridge.store.commits import Commits
from bridge.store.seal import Seal
from tests.unit.store.world import KEY, database, parcel


def test_a_receipt_that_nobody_waits_for_takes_no_room() -> None:
    seal = Seal(KEY)

    assert outbox.values(parcel(1), seal)[5] is None
    assert outbox.values(parcel(1, receipt=b"r"), seal)[5] is not None


def test_a_lane_is_pruned_at_first_and_then_now_and_then(tmp_path: Path) -> None:
    seal, opened = Seal(KEY), database(tmp_path)
    first, second = Commits(opened, seal), Commits(opened, seal)
    engine = create_engine(f"sqlite:///{tmp_path}/bridge.db")

    def kept() -> int:
        with engine.connect() as connection:
            lane = (Network.XMPP, "7")
            return len(outbox.archive(connection, seal, lane, 9999))

    def keep(commits: Commits, start: int, count: int) -> None:
        parcels = [parcel(n, archived=True) for n in range(start, start + count)]
        commits.write([Unit(parcels=parcels)])
        for one in parcels:
            commits.write([Unit(sent=[one])])

    keep(first, 0, outbox.KEPT_MAX + 30)
    assert kept() <= outbox.KEPT_MAX + outbox.PRUNE_EVERY
    keep(second, 1000, 1)
    assert kept() == outbox.KEPT_MAX

    engine.dispose()
    opened.close()
