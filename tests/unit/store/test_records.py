from typing import get_args

from bridge.model.places import Network, PortalId
from bridge.model.records import Alias, Ghost, Kind, Portal, Record
from bridge.store.records import SHELVES, shelf


def test_every_class_of_records_has_its_table() -> None:
    assert set(SHELVES) == set(get_args(Record))
    assert shelf(Ghost).table.name == "ghost"


def test_a_row_holds_the_fields_in_their_order() -> None:
    alias = Alias(Network.XMPP, "garden@muc.lit#1", PortalId(7), 3, "@alice:hs")

    assert shelf(Alias).row(alias) == ("xmpp", "garden@muc.lit#1", 7, 3, "@alice:hs")
    assert shelf(Alias).key(alias) == ("xmpp", "garden@muc.lit#1")


def test_a_key_of_one_field_is_a_row_too() -> None:
    portal = Portal(PortalId(7), Kind.DIRECT, "!room:hs", "chat", "@bot:hs")

    assert shelf(Portal).key(portal) == (7,)


def test_only_a_table_numbered_by_us_is_kept_by_number() -> None:
    kept_by_number = {
        one.kind for one in SHELVES.values() if one.table.kwargs["sqlite_with_rowid"]
    }

    assert kept_by_number == {Portal}
