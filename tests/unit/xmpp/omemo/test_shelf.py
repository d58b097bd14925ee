import pytest
from omemo.storage import NothingException
from omemo.types import JSONType

from bridge.xmpp.omemo.shelf import SKIPPED_KEPT, SKIPPED_STEP, Held, Shelf, row_of

RATCHET = "/urn:xmpp:omemo:2/romeo@x/7/double_ratchet"


async def test_what_is_stored_is_loaded_as_something_of_its_own() -> None:
    shelf = Shelf("omemo a@x", {})
    inside: list[JSONType] = [1, 2]
    await shelf.store("/own_device_id", {"a": inside})
    inside.append(3)

    loaded = (await shelf.load("/own_device_id")).from_just()

    assert loaded == {"a": [1, 2]}


async def test_what_is_not_there_is_nothing() -> None:
    shelf = Shelf("omemo a@x", {})

    with pytest.raises(NothingException):
        (await shelf.load("/own_device_id")).from_just()


async def test_rows_come_back_from_disk() -> None:
    first = Shelf("omemo a@x", {})
    await first.store(RATCHET, {"skipped_message_keys": []})
    await first.store("/own_device_id", 5)

    rows = {one.name: one.value for one in first.records(first.touched())}
    second = Shelf("omemo a@x", rows)

    assert (await second.load("/own_device_id")).from_just() == 5
    assert sorted(rows) == ["own", "session urn:xmpp:omemo:2 romeo@x 7"]


async def test_an_operation_is_undone_whole() -> None:
    shelf = Shelf("omemo a@x", {})
    await shelf.store("/a", 1)
    await shelf.store("/b", 2)
    before = list(shelf.records(frozenset(("own",))))
    shelf.begin()
    await shelf.store("/a", 3)
    await shelf.delete("/b")
    await shelf.store("/c", None)

    shelf.undo()

    assert list(shelf.records(frozenset(("own",)))) == before
    assert shelf.touched() == frozenset()


async def test_a_list_that_nobody_reads_is_not_kept() -> None:
    shelf = Shelf("omemo a@x", {})

    await shelf.store("/urn:xmpp:omemo:2/bare_jids", ["r@x"])

    assert shelf.touched() == frozenset()


async def test_what_has_not_changed_is_not_written() -> None:
    shelf = Shelf("omemo a@x", {})
    await shelf.store("/a", [1])
    shelf.begin()

    await shelf.store("/a", [1])
    await shelf.delete("/b")

    assert shelf.touched() == frozenset()


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("/own_device_id", "own"),
        ("/ikp/key", "own"),
        ("/urn:xmpp:omemo:2/x3dh", "keys urn:xmpp:omemo:2"),
        ("/urn:xmpp:omemo:2/r@x/device_ids", "peer r@x"),
        ("/devices/r@x/list", "peer r@x"),
        ("/devices/r@x/7/active", "peer r@x"),
        ("/trust/r@x/abc=", "peer r@x"),
        ("/optout/r@x/said", "peer r@x"),
        ("/queue/urn:xmpp:omemo:2/r@x", "queue"),
        ("/pep/some.node/current", "pep"),
        ("/opened/any/key", "opened"),
        (RATCHET, "session urn:xmpp:omemo:2 romeo@x 7"),
    ],
)
def test_a_row_holds_what_belongs_together(key: str, row: str) -> None:
    assert row_of(key) == row


async def test_keys_of_messages_that_never_came_are_forgotten_in_time() -> None:
    shelf = Shelf("omemo a@x", {})
    many: list[JSONType] = [{"index": n} for n in range(SKIPPED_KEPT + 50)]
    await shelf.store(RATCHET, {"n": 1, "skipped_message_keys": list(many)})
    await shelf.store(RATCHET, {"n": 2, "skipped_message_keys": list(many)})

    kept = shelf.get(RATCHET)["skipped_message_keys"]

    assert kept == many[SKIPPED_STEP:]


async def test_while_late_messages_still_come_nothing_is_forgotten() -> None:
    shelf = Shelf("omemo a@x", {})
    many: list[JSONType] = [{"index": n} for n in range(SKIPPED_KEPT + 50)]
    await shelf.store(RATCHET, {"skipped_message_keys": list(many)})
    await shelf.store(RATCHET, {"skipped_message_keys": many[1:]})

    assert shelf.get(RATCHET)["skipped_message_keys"] == many[1:]


def test_what_is_held_needs_no_copy() -> None:
    value = [1]

    assert Held(value).maybe(None) is value
    assert Held(value).fmap(len).from_just() == 1
    assert Held(value).is_just


def test_a_secret_does_not_print_what_it_holds() -> None:
    shelf = Shelf("omemo a@x", {})
    shelf.put("/ikp/key", "canary")

    assert "canary" not in repr(list(shelf.records(shelf.touched())))
