"""A short soak; ``python -m tests.faults.soak`` is the long one."""

import secrets

import pytest

from tests.faults.soak import soak
from tests.faults.world import PLACES, FaultyWorld, Ways

USUAL = PLACES[:1]


async def test_a_soak_loses_nothing(
    world: FaultyWorld, ways: Ways, request: pytest.FixtureRequest
) -> None:
    """Row 1, and all others that need no special moment, at random."""
    minutes: float = request.config.getoption("soak_minutes")
    seed = secrets.randbelow(10**6)

    figures = await soak(world, ways, minutes, seed)

    print(f"seed {seed}: {figures}")
    assert figures.wrong == [], f"seed {seed}"
