from pathlib import Path

import pytest

from bridge.model.records import Cursor
from bridge.xmpp.written import SLOTS, Written, begin
from tests.fakes_store import FakeStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "written"


def test_what_was_marked_is_known_after_a_crash(path: Path) -> None:
    crashed = Written(path, "db", boot="1")
    crashed.mark([7, 8])
    crashed.mark([9])

    ring = Written(path, "db", boot="1")

    assert ring.earlier == {7, 8, 9}
    assert 8 in ring
    assert 1 not in ring


def test_what_this_run_has_written_is_not_taken_for_an_earlier_one(path: Path) -> None:
    ring = Written(path, "db", boot="1")

    ring.mark([7])

    assert 7 not in ring


def test_a_second_crash_forgets_nothing(path: Path) -> None:
    Written(path, "db", boot="1").mark([1])
    Written(path, "db", boot="1").mark([2])

    assert Written(path, "db", boot="1").earlier == {1, 2}


@pytest.mark.parametrize(("owner", "boot"), [("db", "2"), ("other", "1"), ("db", "")])
def test_another_boot_or_database_knows_nothing(
    path: Path, owner: str, boot: str
) -> None:
    Written(path, "db", boot="1").mark([1])

    assert Written(path, owner, boot).earlier == set()


def test_a_machine_without_a_boot_id_trusts_nothing(path: Path) -> None:
    Written(path, "db", boot="").mark([1])

    assert Written(path, "db", boot="").earlier == set()


def test_the_ring_keeps_the_newest(path: Path) -> None:
    ring = Written(path, "db", boot="1")
    ring.mark(range(1, SLOTS + 11))
    ring.close()

    assert Written(path, "db", boot="1").earlier == set(range(11, SLOTS + 11))


def test_a_foreign_file_is_started_anew(path: Path) -> None:
    path.write_bytes(b"\xff" * 10)

    assert Written(path, "db").earlier == set()
    assert path.stat().st_mode & 0o777 in (0o600, 0o644)


def test_the_ring_is_nobody_elses_to_read(path: Path) -> None:
    Written(path, "db")

    assert path.stat().st_mode & 0o777 == 0o600


def test_this_machine_has_a_boot_id(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Written(path, "db").mark([1])
    assert Written(path, "db").earlier == {1}

    monkeypatch.setattr("bridge.xmpp.written._BOOT_ID", path.parent / "none")
    assert Written(path, "db").earlier == set()


def test_what_a_lost_stream_may_have_swallowed_is_known_no_more(path: Path) -> None:
    Written(path, "db", boot="1").mark([1])
    crashed = Written(path, "db", boot="1")
    crashed.mark([2, 3])

    crashed.forget()
    crashed.mark([4])

    assert Written(path, "db", boot="1").earlier == {1, 4}


def test_what_a_lost_stream_may_have_swallowed_is_doubted_until_it_is_written_again(
    path: Path,
) -> None:
    ring = Written(path, "db", boot="1")
    doubted = ring.marks.doubted
    ring.mark([2, 3])
    assert 2 not in doubted

    ring.forget()
    ring.mark([3])

    assert [one in doubted for one in (2, 3)] == [True, True]
    again = Written(path, "db", boot="1")
    assert again.earlier == {3}
    assert [one in again.doubted for one in (2, 3)] == [True, False]


def test_what_was_routed_before_the_stream_was_lost_is_not_doubted(path: Path) -> None:
    """Else all would come twice that is not on disk as sent when the bridge falls."""
    ring = Written(path, "db", boot="1")
    ring.mark([2, 3])
    routed = ring.count
    ring.mark([4])

    ring.arrived(routed)
    ring.forget()

    again = Written(path, "db", boot="1")
    assert (set(again.earlier), again.doubted.__contains__(4)) == ({2, 3}, True)


def test_what_an_earlier_run_had_written_is_not_doubted(path: Path) -> None:
    Written(path, "db", boot="1").mark([1])
    ring = Written(path, "db", boot="1")

    ring.forget()

    assert 1 not in ring.doubted


@pytest.mark.parametrize(("owner", "boot"), [("db", "2"), ("other", "1"), ("db", "")])
def test_without_a_ring_all_that_waits_is_in_doubt(
    path: Path, owner: str, boot: str
) -> None:
    """The machine may have fallen, or another one has taken over."""
    Written(path, "db", boot="1").mark([1])

    ring = Written(path, owner, boot, since=7)
    ring.forget()

    assert [one in ring.doubted for one in (1, 7, 8)] == [True, True, False]


def test_with_a_ring_it_is_not(path: Path) -> None:
    Written(path, "db", boot="1").mark([1])

    assert 1 not in Written(path, "db", boot="1", since=7).doubted


async def test_the_ring_of_the_last_run_counts(path: Path) -> None:
    store = FakeStore()
    (await begin(path, store)).mark([1])

    assert (await begin(path, store)).earlier == {1}
    assert len(await store.load(Cursor)) == 1


async def test_the_ring_of_a_run_before_the_last_does_not(
    path: Path, tmp_path: Path
) -> None:
    """Row 18: meanwhile another bridge has used the database, with its own ring."""
    store = FakeStore()
    (await begin(path, store)).mark([1])
    await begin(tmp_path / "elsewhere", store)
    waiting = store.number()

    ring = await begin(path, store)

    assert ring.earlier == set()
    assert waiting in ring.doubted
    assert store.number() not in ring.doubted


async def test_a_run_that_was_frozen_changes_nothing_in_the_ring_of_the_next(
    path: Path,
) -> None:
    store = FakeStore()
    frozen = await begin(path, store)
    frozen.mark([1, 2])
    following = await begin(path, store)
    following.mark([3, 4])

    frozen.mark([5])
    frozen.forget()

    assert (await begin(path, store)).earlier == {1, 2, 3, 4}
