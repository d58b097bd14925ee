from bridge.xmpp.codec.presence import Seen
from bridge.xmpp.occupancy import Occupancy

MUC = "tea@muc.example"


def seen(nick: str, occupant_id: str = "", jid: str = "") -> Seen:
    return Seen(
        nick, gone=False, statuses=frozenset(), occupant_id=occupant_id, jid=jid
    )


def test_an_occupant_id_counts_only_where_the_room_gives_it() -> None:
    occupancy = Occupancy(MUC)
    hatter = seen("Hatter", "id1", "hatter@wonder.example")

    assert occupancy.person(hatter) == "hatter@wonder.example"
    occupancy.occupant_ids = True
    assert occupancy.person(hatter) == f"{MUC}//id1"


def test_without_anything_else_the_nick_is_the_person() -> None:
    assert Occupancy(MUC).person(seen("Hatter")) == f"{MUC}/Hatter"


def test_a_nick_cannot_pass_for_an_occupant_id() -> None:
    occupancy = Occupancy(MUC)
    occupancy.occupant_ids = True
    honest = occupancy.person(seen("Hatter", "id1"))

    assert occupancy.person(seen("/id1")) != honest


def test_somebody_with_two_nicks_stays_until_both_are_gone() -> None:
    occupancy = Occupancy(MUC)
    occupancy.occupant_ids = True
    assert occupancy.enter(seen("a", "id1")) is None
    occupancy.enter(seen("b", "id1"))

    occupancy.leave("a")
    assert occupancy.holder(f"{MUC}//id1") == seen("b", "id1")
    occupancy.leave("b")

    assert occupancy.holder(f"{MUC}//id1") is None
    assert occupancy.leave("b") is None
    assert len(occupancy) == 0


def test_a_second_presence_replaces_the_first() -> None:
    occupancy = Occupancy(MUC)
    occupancy.enter(seen("a"))

    assert occupancy.enter(seen("a", jid="a@b.c")) == seen("a")
    assert "a" in occupancy
    assert occupancy.at("a") == seen("a", jid="a@b.c")
    assert [one.jid for one in occupancy] == ["a@b.c"]
    occupancy.clear()
    assert "a" not in occupancy


def test_a_person_keeps_the_name_under_which_they_came() -> None:
    occupancy = Occupancy(MUC)
    occupancy.enter(seen("a"))
    assert occupancy.rename("nobody", "x") is None

    assert occupancy.rename("a", "b") == seen("b")
    assert occupancy.identity("b") == f"{MUC}/a"
    assert occupancy.identity("a") == f"{MUC}/a\x7f"
    occupancy.enter(seen("a"))
    occupancy.leave("b")
    assert occupancy.leave("a") == seen("a")

    occupancy.enter(seen("a"))
    occupancy.rename("a", "b")
    occupancy.clear()
    occupancy.complete()
    assert occupancy.identity("b") == f"{MUC}/b"
    assert occupancy.identity("a") == f"{MUC}/a"
