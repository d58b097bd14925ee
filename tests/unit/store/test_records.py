from typing import get_args

import pytest

from bridge.model.places import Network, PortalId
from bridge.model.records import (
    Alias,
    DeadLetter,
    Ghost,
    Kind,
    Portal,
    Record,
    Secret,
    Wish,
)
from bridge.store.errors import SealError
from bridge.store.records import SHELVES, shelf
from bridge.store.seal import Seal
from tests.unit.store.world import KEY


def test_every_class_of_records_has_its_table() -> None:
    assert set(SHELVES) == set(get_args(Record))
    assert shelf(Ghost).table.name == "ghost"


def test_a_row_holds_the_fields_in_their_order() -> None:
    alias = Alias(Network.XMPP, "garden@muc.lit#1", PortalId(7), 3, "@alice:hs")

    row = shelf(Alias).row(alias, Seal(KEY))

    assert row == ("xmpp", "garden@muc.lit#1", 7, 3, "@alice:hs")
    assert shelf(Alias).key(alias) == ("xmpp", "garden@muc.lit#1")


def test_a_key_of_one_field_is_a_row_too() -> None:
    portal = Portal(PortalId(7), Kind.DIRECT, "!room:hs", "chat", "@bot:hs")

    assert shelf(Portal).key(portal) == (7,)


def test_what_is_secret_is_sealed_and_opens_only_in_its_own_row() -> None:
    seal = Seal(KEY)
    owner, name, box = shelf(Secret).row(Secret("olm @bot:hs", "pickle", b"key"), seal)

    assert (owner, name) == ("olm @bot:hs", "pickle")
    assert isinstance(box, bytes)
    assert b"key" not in box
    assert seal.open(b"secret\0olm @bot:hs\0pickle", box) == b"key"
    with pytest.raises(SealError):
        seal.open(b"secret\0olm @bot:hs\0other", box)


def test_a_secret_is_not_shown() -> None:
    assert "key" not in repr(Secret("olm @bot:hs", "pickle", b"key"))


def test_only_a_table_numbered_by_us_is_kept_by_number() -> None:
    kept_by_number = {
        one.kind for one in SHELVES.values() if one.table.kwargs["sqlite_with_rowid"]
    }

    assert kept_by_number == {Portal, DeadLetter, Wish}
