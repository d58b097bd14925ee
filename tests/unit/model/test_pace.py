from bridge.model.pace import WHO_MAX, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_the_pace() -> None:
    clock = Clock()
    pace = Pace(30, clock=clock)

    assert [pace.allows("a") for _ in range(61)] == [True] * 60 + [False]
    clock.now += 2.0
    assert [pace.allows("a") for _ in range(2)] == [True, False]


def test_nobody_pays_for_others() -> None:
    pace = Pace(1, clock=Clock())
    while pace.allows("a"):
        pass

    assert pace.allows("b")


def test_no_pace_is_no_limit() -> None:
    pace = Pace(0)

    assert all(pace.allows("a") for _ in range(1000))
    assert not len(pace)


def test_a_rest_is_worth_no_more_than_a_burst() -> None:
    clock = Clock()
    pace = Pace(1, clock=clock)
    pace.allows("a")
    clock.now += 1e9

    assert [pace.allows("a") for _ in range(3)] == [True, True, False]


def test_memory_is_bounded_however_many_there_are() -> None:
    pace = Pace(1)

    assert all(pace.allows(number) for number in range(WHO_MAX + 100))

    assert len(pace) == WHO_MAX
