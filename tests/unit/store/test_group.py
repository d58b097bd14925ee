from bridge.core.ports import Unit
from bridge.model.places import PortalId
from bridge.model.records import Cursor, Kind, Portal
from bridge.store.group import Group
from bridge.store.seal import Seal
from tests.unit.store.world import KEY, parcel, taken

PORTAL = Portal(PortalId(7), Kind.HOSTED, "!room:hs", "#room#hs@bridge.hs", "@bot:hs")


def group(*units: Unit) -> Group:
    return Group(units, Seal(KEY))


def test_rows_of_all_units_stand_together_in_their_order() -> None:
    made = group(
        Unit(take=[taken(1), taken(2)], done=[9]), Unit(take=[taken(3)], done=[8])
    )

    assert made.seqs == [1, 2, 3]
    assert made.take[::5] == [1, 2, 3]
    assert made.done == [9, 8]


def test_what_is_sent_goes_or_is_kept() -> None:
    made = group(Unit(sent=[parcel(1), parcel(2, archived=True)]))

    assert made.sent == [1]
    assert made.keep == [2]
    assert made.kept_lanes == [("xmpp", "7")]


def test_the_last_word_about_a_record_counts() -> None:
    made = group(
        Unit(put=[Cursor("k", "a", "1"), Cursor("k", "b", "1")]),
        Unit(drop=[Cursor("k", "a", "1")]),
        Unit(put=[Cursor("k", "b", "2")]),
    )

    assert made.put(Cursor) == ["k", "b", "2"]
    assert made.drop(Cursor) == ["k", "a"]


def test_within_a_unit_what_is_dropped_is_dropped_last() -> None:
    made = group(Unit(put=[Cursor("k", "a", "1")], drop=[Cursor("k", "a", "1")]))

    assert made.put(Cursor) == []
    assert made.drop(Cursor) == ["k", "a"]


def test_a_closed_portal_closes_its_lane_on_both_networks() -> None:
    made = group(Unit(drop=[PORTAL, Cursor("k", "a", "1")]))

    assert made.closed_lanes == [("matrix", "7"), ("xmpp", "7")]
