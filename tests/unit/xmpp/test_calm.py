from datetime import UTC, datetime

from bridge.core.ports import State
from bridge.model.events import Join, Leave, Rename
from bridge.model.places import Network, Person, Ref, Room
from bridge.xmpp.calm import ALL_PER_MINUTE, EACH_PER_MINUTE, LATE_MAX, Calm

ROOM = Room(Network.XMPP, "tea@muc.example")
AT = datetime(2026, 5, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Muc:
    """A MUC, and what the core is told of it."""

    def __init__(self) -> None:
        self.told: list[State] = []
        self.clock = Clock()
        self.calm = Calm(self.told.append, self.clock)

    def happens(
        self,
        kind: type[Join | Rename | Leave],
        who: str,
        name: str,
        *,
        shown: bool = False,
    ) -> None:
        person = Person(Network.XMPP, who)
        ref = Ref(Network.XMPP, who)
        if kind is Leave:
            event: State = Leave(
                ref=ref, room=ROOM, sender=person, sent_at=AT, person=person
            )
        else:
            event = kind(ref=ref, room=ROOM, sender=person, sent_at=AT, name=name)  # type: ignore[call-arg]
        self.calm.tell(who, event, shown=shown)

    def waits(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.clock.now += 1
            self.calm.flush()


def test_what_happens_now_and_then_is_told_at_once() -> None:
    muc = Muc()

    muc.happens(Join, "a", "Alice")
    muc.happens(Rename, "a", "Alicia")
    muc.happens(Leave, "a", "")

    assert [type(event) for event in muc.told] == [Join, Rename, Leave]
    assert not len(muc.calm)


def test_a_thousand_changes_of_a_nick_are_a_few() -> None:
    """E78: the last one counts."""
    muc = Muc()
    muc.happens(Join, "a", "0")

    for number in range(1, 1001):
        muc.happens(Rename, "a", str(number))
    muc.waits(60)

    assert len(muc.told) <= EACH_PER_MINUTE * 3
    assert muc.told[-1].name == "1000"


def test_ten_thousand_who_come_and_go_are_a_few() -> None:
    """E78, S35: who was never told of need not be told to have left."""
    muc = Muc()

    for number in range(10_000):
        muc.happens(Join, f"a{number}", "x")
        muc.happens(Leave, f"a{number}", "")
    muc.waits(60)

    assert len(muc.told) <= ALL_PER_MINUTE * 3
    assert not len(muc.calm)
    # nobody whom the core knows is left behind
    here = {e.sender.id for e in muc.told if isinstance(e, Join)}
    gone = {e.sender.id for e in muc.told if isinstance(e, Leave)}
    assert here - gone == set()


def test_all_who_stay_are_told_of_in_the_end() -> None:
    muc = Muc()
    for number in range(300):
        muc.happens(Join, f"a{number}", "x")

    muc.waits(300)

    assert len({event.sender.id for event in muc.told}) == 300


def test_who_is_told_of_late_is_told_of_as_they_stand_then() -> None:
    muc = Muc()
    for number in range(ALL_PER_MINUTE * 2):
        muc.happens(Join, f"a{number}", "x")
    muc.happens(Join, "late", "Lea")
    muc.happens(Rename, "late", "Leah")

    muc.waits(5)

    last = muc.told[-1]
    assert isinstance(last, Join)
    assert last.name == "Leah"


def test_whoever_is_shown_for_another_reason_is_told_of_when_they_leave() -> None:
    muc = Muc()
    for number in range(3 * ALL_PER_MINUTE):
        muc.happens(Join, f"a{number}", "x")

    muc.happens(Leave, "stranger", "")
    muc.happens(Leave, "speaker", "", shown=True)
    muc.waits(300)

    gone = [event.sender.id for event in muc.told if isinstance(event, Leave)]
    assert gone == ["speaker"]


def test_memory_is_bounded() -> None:
    muc = Muc()

    for number in range(5 * LATE_MAX):
        muc.happens(Join, f"a{number}", "x")

    assert len(muc.calm) <= LATE_MAX
