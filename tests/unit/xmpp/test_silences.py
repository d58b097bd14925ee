from bridge.xmpp.silences import KNOWN_MAX, SILENT_S, Silences


class Clock:
    """Time as the test wants it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_server_that_answers_nothing_is_known_for_a_while() -> None:
    clock = Clock()
    silences = Silences(clock)
    silences.note("juliet@mute.example/balcony")

    assert silences.expects("nurse@mute.example")
    assert not silences.expects("juliet@capulet.example")

    clock.now = SILENT_S
    assert not silences.expects("nurse@mute.example")


def test_no_more_servers_are_remembered_than_fit() -> None:
    silences = Silences()
    for number in range(KNOWN_MAX + 1):
        silences.note(f"{number}.example")

    assert not silences.expects("0.example")
    assert silences.expects("1.example")
