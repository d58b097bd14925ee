import pytest

from bridge.matrix import patience
from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.patience import Trials, patiently
from bridge.model.delivery import Later, Refused
from tests.homeserver import Fault
from tests.unit.matrix.world import MatrixWorld


class Moody:
    """Fails with each of *errors*, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def ask(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "yes"


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_S", 0.0)


async def test_a_homeserver_that_is_away_is_asked_again() -> None:
    moody = Moody(HomeserverDownError("away"), MatrixError(429, "M_LIMIT_EXCEEDED"))

    assert await patiently(moody.ask, 10) == "yes"


async def test_a_refusal_is_final() -> None:
    moody = Moody(MatrixError(403, "M_FORBIDDEN"))

    with pytest.raises(MatrixError):
        await patiently(moody.ask, 10)


async def test_patience_ends() -> None:
    moody = Moody(HomeserverDownError("away"), HomeserverDownError("away"))

    with pytest.raises(HomeserverDownError):
        await patiently(moody.ask, -1)


async def test_a_message_that_only_fails_alone_is_given_up(matrix: MatrixWorld) -> None:
    """facts C.6: half a surrogate pair makes Synapse answer 500 for ever."""
    trials = Trials(matrix.homeserver)

    outcomes = [await trials.failed("k") for _ in range(4)]
    trials.passed()
    last = await trials.failed("k")

    assert all(isinstance(outcome, Later) for outcome in outcomes)
    assert isinstance(last, Refused)


async def test_an_ill_homeserver_costs_no_message(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "BLOCKED_S_MAX", -1.0)
    matrix.server.faults.append(Fault("versions", 502, times=100))
    trials = Trials(matrix.homeserver)

    outcomes = [await trials.failed("k") for _ in range(20)]

    assert all(isinstance(outcome, Later) for outcome in outcomes)


async def test_one_message_does_not_block_its_room_for_ever(
    matrix: MatrixWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "BLOCKED_S_MAX", -1.0)
    trials = Trials(matrix.homeserver)

    outcomes = [await trials.failed("k") for _ in range(5)]

    assert isinstance(outcomes[-1], Refused)
