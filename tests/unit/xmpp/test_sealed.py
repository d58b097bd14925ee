from datetime import UTC, datetime

import pytest

from bridge.model.delivery import Delivered, Later, Parcel, Wire
from bridge.model.places import Network
from bridge.xmpp import sealed
from bridge.xmpp.sealed import Finals, Strange, Told, passage
from tests.unit.xmpp.elsewhere import MUC, ROOM, stanza
from tests.unit.xmpp.elsewhere_core import Host

ONE, TWO = (Parcel(n, Network.XMPP, "1", Wire(f"{n}", b"")) for n in (1, 2))


def test_what_was_sealed_is_kept_until_its_fate_is_known() -> None:
    finals = Finals[str]()
    finals.keep({1: "one", 2: "two"})

    finals.done((ONE, TWO), (Delivered(), Later()))

    assert (finals.get(ONE), finals.get(TWO)) == (None, "two")


def test_of_what_is_on_its_way_the_newest_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealed, "FINAL_MAX", 1)
    finals = Finals[str]()

    finals.keep({1: "one"})
    finals.keep({2: "two"})

    assert (finals.get(ONE), finals.get(TWO)) == (None, "two")


def test_what_was_told_is_not_told_again() -> None:
    told = Told()

    assert [told.first(what) for what in ("a", "b", "a")] == [True, True, False]


@pytest.mark.parametrize(
    ("inside", "named"),
    [
        ("<body>?OTRv23?</body>", "OTR"),
        ("<body>-----BEGIN PGP MESSAGE-----</body>", "PGP"),
        ("<x xmlns='jabber:x:encrypted'>hQ</x><body>secret</body>", "PGP"),
        ("<openpgp xmlns='urn:xmpp:openpgp:0'>hQ</openpgp>", "OpenPGP"),
        ("<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>", "unknown"),
    ],
)
def test_of_what_cannot_be_read_matrix_is_told_once(inside: str, named: str) -> None:
    host = Host()
    strange = Strange(host, omemo=True)

    for _ in range(2):
        assert strange.met(MUC, "Hatter", stanza(f"<message>{inside}</message>"))

    ((room, said),) = host.warned
    assert room == ROOM
    assert said.startswith("Hatter writes with")
    assert named in said


@pytest.mark.parametrize(("omemo", "strange"), [(True, False), (False, True)])
def test_omemo_is_strange_where_it_is_off(*, omemo: bool, strange: bool) -> None:
    sealed = "<encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted>"
    host = Host()

    for inside in (sealed, "<body>hello</body>"):
        came = stanza(f"<message>{inside}</message>")
        found = Strange(host, omemo=omemo).met(MUC, "Hatter", came)
        assert found is (strange and inside == sealed)

    assert len(host.warned) == strange


def test_a_passage_tells_when_it_was() -> None:
    way = passage("alice@bridge", "juliet@capulet.lit", "room@bridge", 1_000)

    assert way.at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (way.account, way.peer, way.to) == (
        "alice@bridge",
        "juliet@capulet.lit",
        "room@bridge",
    )
