from bridge.xmpp.codec.fault import Fault
from bridge.xmpp.confirm import KNOWN_MAX, Confirmations, Shown


async def test_a_batch_is_over_when_the_fate_of_all_is_known() -> None:
    confirmations = Confirmations()
    batch = confirmations.expect(["a", "b"])

    confirmations.shown("a", "s1")
    assert not await batch.wait(0)
    confirmations.bounced("b", Fault("forbidden"))

    assert await batch.wait(0)
    assert confirmations.fate("a") == Shown("s1")
    assert confirmations.fate("b") == Fault("forbidden")


async def test_what_was_shown_before_is_not_waited_for() -> None:
    confirmations = Confirmations()
    confirmations.shown("a", "s1")

    batch = confirmations.expect(["a"])

    assert batch.open == set()
    assert await batch.wait(0)


async def test_nobody_can_bounce_what_was_shown_or_was_never_said() -> None:
    confirmations = Confirmations()
    confirmations.shown("a", "s1")

    confirmations.bounced("a", Fault("forbidden"))
    confirmations.bounced("b", Fault("forbidden"))

    assert confirmations.fate("a") == Shown("s1")
    assert confirmations.fate("b") is None


async def test_a_lost_stream_ends_the_waiting() -> None:
    confirmations = Confirmations()
    batch = confirmations.expect(["a"])

    confirmations.interrupt()

    assert not await batch.wait(10)
    assert not confirmations.waits("a")


async def test_what_is_said_again_is_waited_for_again() -> None:
    confirmations = Confirmations()
    confirmations.forget(confirmations.expect(["a"]))
    confirmations.shown("a", "")
    confirmations.again("a")

    assert confirmations.expect(["a"]).open == {"a"}


async def test_memory_has_an_end() -> None:
    confirmations = Confirmations()
    for n in range(KNOWN_MAX + 10):
        confirmations.shown(str(n), "")

    assert confirmations.fate("9") is None
    assert confirmations.fate("10") == Shown("")
