from bridge.core.echoes import ECHO_S, PAUSE_S, Echoes
from bridge.model.places import Network, PortalId

TEA, BOOKS = PortalId(1), PortalId(2)
M, X = Network.MATRIX, Network.XMPP


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def thrown(echoes: Echoes, words: list[str], clock: Clock, step_s: float = 1) -> int:
    """Throw *words* back and forth; return after how many of them it is noticed."""
    for number, said in enumerate(words):
        clock.now += step_s
        if echoes.circles(TEA, (M, X)[number % 2], said):
            return number
    return 0


def test_words_that_come_back_five_times_go_in_circles() -> None:
    clock = Clock()
    echoes = Echoes(clock)

    assert thrown(echoes, ["hi"] * 20, clock) == 5
    assert echoes.paused(TEA)
    assert not echoes.paused(BOOKS)


def test_a_name_before_the_words_hides_nothing() -> None:
    clock = Clock()
    words = ["how are you?"]
    for number in range(8):
        words.append(f"<relay {number}> {words[-1]}")

    assert thrown(Echoes(clock), words, clock) == 5


def test_a_pause_ends() -> None:
    clock = Clock()
    echoes = Echoes(clock)
    thrown(echoes, ["hi"] * 6, clock)

    clock.now += PAUSE_S

    assert not echoes.paused(TEA)


def test_people_may_agree() -> None:
    clock = Clock()

    assert not thrown(Echoes(clock), ["ok"] * 20, clock, ECHO_S + 1)
    assert not thrown(Echoes(clock), ["a", "ok", "b", "ok", "ok", "c"], clock)
    assert not thrown(Echoes(clock), [str(n) for n in range(300)], clock, 0)


def test_one_side_may_repeat_itself() -> None:
    echoes = Echoes(Clock())

    assert not any(echoes.circles(TEA, M, "flood") for _ in range(100))
    assert not any(echoes.circles(BOOKS, M, "") for _ in range(100))


def test_memory_is_bounded_however_many_rooms_there_are() -> None:
    echoes = Echoes(Clock())

    for number in range(6_000):
        echoes.circles(PortalId(number), M, "x" * 10_000)

    assert len(echoes._carried) == 5_000
