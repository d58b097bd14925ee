import pytest

from bridge.xmpp.repeats import KNOWN_MAX, WHILE_S, Repeats

WHO = ("juliet@capulet.lit", "alice_hs@bridge", "m1")
TURN = 1_800_000_000.0
"""A full hour."""


class Clock:
    """Stands still until it is turned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = TURN - 1
        monkeypatch.setattr("bridge.xmpp.repeats.time", self)

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_is_sent_again_has_the_same_name(clock: Clock) -> None:
    named = Repeats()
    first = named.name(*WHO, "soft!")
    clock.now += 2  # the hour has turned

    assert named.name(*WHO, "soft!") == first


def test_it_is_the_same_message_at_the_turn_of_an_hour_when_told_the_time() -> None:
    """A room may stamp its history a little before we had heard it."""
    named = Repeats()

    late, early = (named.name(*WHO, "soft!", at_s=TURN + s) for s in (0.1, -0.1))

    assert late == early
    assert named.name(*WHO, "soft!", at_s=TURN + WHILE_S + 1) != late


@pytest.mark.usefixtures("clock")
def test_other_words_under_the_same_id_are_another_message() -> None:
    named = Repeats()

    assert named.name(*WHO, "soft!") != named.name(*WHO, "what light")


def test_the_same_words_a_while_later_are_another_message(clock: Clock) -> None:
    named = Repeats()
    first = named.name(*WHO, "soft!")
    clock.now += WHILE_S + 1

    assert named.name(*WHO, "soft!") != first


def test_a_later_run_knows_it_within_the_hour(clock: Clock) -> None:
    clock.now += 1

    assert Repeats().name(*WHO, "soft!") == Repeats().name(*WHO, "soft!")


def test_memory_is_bounded(clock: Clock) -> None:
    named = Repeats()
    first = named.name("0")
    for number in range(1, KNOWN_MAX + 1):
        named.name(str(number))
    clock.now += 2

    assert named.name("0") != first
