from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, strategies as st

from bridge.xmpp.muc.contents import Contents
from bridge.xmpp.muc.history import moment
from bridge.xmpp.muc.paging import FIELDS, PAGE_MAX, RSM, Asked, Page, fin, form, page
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.stanza import to_element
from tests.unit.xmpp.muc.world import parsed

NOON_MS = 1_777_636_800_000  # 2026-05-01T12:00:00Z
MINUTE_MS = 60_000


def contents(count: int) -> Contents:
    made = Contents()
    for number in range(count):
        made.add(f"${number}", number * 7, NOON_MS + number * MINUTE_MS)
    return made


def query(rsm: str = "", fields: str = "", more: str = "", about: str = "") -> Element:
    submitted = f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>" if fields else ""
    page = f"<set xmlns='{RSM}'>{rsm}</set>" if rsm else ""
    xml = f"<query xmlns='urn:xmpp:mam:2' {about}>{submitted}{page}{more}</query>"
    return parsed(xml.encode())[0]


def field(name: str, *values: str) -> str:
    inside = "".join(f"<value>{value}</value>" for value in values)
    return f"<field var='{name}'>{inside}</field>"


def asked(rsm: str = "", fields: str = "", more: str = "") -> Asked:
    found = Asked.of(query(rsm, fields, more))
    assert isinstance(found, Asked)
    return found


def found(rsm: str = "", fields: str = "", count: int = 5) -> tuple[str, bool] | None:
    """Return the numbers on the page, and whether it is complete."""
    there = page(contents(count), asked(rsm, fields))
    if there is None:
        return None
    return "".join(e.name[1:] for e in there.entries), there.complete


@pytest.mark.parametrize(
    ("rsm", "shown", "complete"),
    [
        ("", "01234", True),
        ("<max>2</max>", "01", False),
        ("<max>2</max><after>$1</after>", "23", False),
        ("<max>2</max><after>$2</after>", "34", True),
        ("<after>$4</after>", "", True),
        ("<max>2</max><before/>", "34", False),
        ("<max>2</max><before>$3</before>", "12", False),
        ("<max>2</max><before>$2</before>", "01", True),
        ("<before>$0</before>", "", True),
        ("<max>0</max>", "", False),
        ("<max>many</max>", "01234", True),
        ("<max>-1</max>", "01234", True),
    ],
)
def test_pages_are_turned_either_way(rsm: str, shown: str, *, complete: bool) -> None:
    """XEP-0313 §4.3, XEP-0059: oldest first, also on the last page."""
    assert found(rsm) == (shown, complete)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (field("start", "2026-05-01T12:03:00Z"), "34"),
        (field("end", "2026-05-01T12:01:00.000Z"), "01"),
        (field("start", "2026-05-01T14:03:00+02:00"), "34"),
        (field("start", "1970-01-01T00:00:00Z"), "01234"),
        (field("after-id", "$3"), "4"),
        (field("after-id", "$0") + field("before-id", "$3"), "12"),
        (field("ids", "$1", "$4"), "14"),
        (field("with", "juliet@capulet.lit"), "01234"),
        (field("start"), "01234"),
        (field("FORM_TYPE", "urn:xmpp:mam:2"), "01234"),
    ],
)
def test_a_part_of_the_archive_is_asked_for(fields: str, shown: str) -> None:
    """XEP-0313 §4.1."""
    assert found("", fields) == (shown, True)


@pytest.mark.parametrize(
    ("rsm", "fields"),
    [
        ("<after>$9</after>", ""),
        ("<before>$9</before>", ""),
        ("", field("after-id", "$9")),
        ("", field("before-id", "$9")),
        ("", field("ids", "$1", "$9")),
    ],
)
def test_what_is_not_there_is_not_found(rsm: str, fields: str) -> None:
    assert found(rsm, fields) is None


@pytest.mark.parametrize(
    ("fields", "about", "condition"),
    [
        (field("start", "yesterday"), "", "bad-request"),
        (field("end", "2026-13-01T00:00:00Z"), "", "bad-request"),
        (field("free-text"), "", "feature-not-implemented"),
        ("", f"queryid='{'q' * 5000}'", "bad-request"),
        ("", "node='elsewhere'", "item-not-found"),
    ],
)
def test_what_makes_no_sense_is_refused(
    fields: str, about: str, condition: str
) -> None:
    refused = Asked.of(query("", fields, about=about))

    assert isinstance(refused, Fault)
    assert refused.condition == condition


def test_no_page_is_longer_than_the_longest() -> None:
    there = page(contents(PAGE_MAX * 3), asked("<max>999999</max><after>$9</after>"))

    assert there is not None
    assert len(there.entries) == PAGE_MAX
    assert (there.place, there.total, there.complete) == (10, PAGE_MAX * 3, False)


def test_a_page_may_be_flipped() -> None:
    assert asked(more="<flip-page/>").flipped
    assert not asked().flipped


@given(count=st.integers(0, 40), most=st.integers(1, 9), backwards=st.booleans())
def test_whoever_turns_all_pages_has_read_everything_once(
    count: int, most: int, *, backwards: bool
) -> None:
    archive = contents(count)
    read: list[str] = []
    at = ""
    while True:
        turn = f"<before>{at}</before>" if backwards else at and f"<after>{at}</after>"
        there = page(archive, asked(f"<max>{most}</max>{turn}"))
        assert there is not None
        names = [entry.name for entry in there.entries]
        read = names + read if backwards else read + names
        if there.complete:
            break
        at = names[0] if backwards else names[-1]

    assert read == [f"${number}" for number in range(count)]


def test_the_end_names_the_first_and_the_last() -> None:
    there = page(contents(5), asked("<max>2</max><after>$1</after>"))
    assert there is not None

    told = to_element(fin(there))

    assert told.get("complete") is None
    first = told.find(f".//{{{RSM}}}first")
    assert first is not None
    assert (first.text, first.get("index")) == ("$2", "2")
    assert told.findtext(f".//{{{RSM}}}last") == "$3"
    assert told.findtext(f".//{{{RSM}}}count") == "5"
    nothing = to_element(fin(Page((), 0, 0, complete=True)))
    assert nothing.get("complete") == "true"
    assert nothing.find(f".//{{{RSM}}}first") is None


def test_a_message_is_found_by_its_own_time() -> None:
    """Whatever the milliseconds: no message is lost to rounding."""
    assert [moment(f"2026-05-01T12:00:00.{n:03}Z") for n in range(1000)] == [
        NOON_MS + n for n in range(1000)
    ]


def test_all_that_can_be_asked_for_is_listed() -> None:
    listed = to_element(form())

    names = [f.get("var") for f in listed.iter("{jabber:x:data}field")]
    assert names == ["FORM_TYPE", *FIELDS]
