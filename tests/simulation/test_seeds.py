"""The real core in a simulated world, and the mutations that must not pass there."""

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.mutations import MUTATIONS, PEERS, caught_after
from tests.simulation.world import World

SEEDS = 200
CHUNK = 25
MUTATED_SEEDS_MAX = 100


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep what is logged out of the report: thousands of lines of no news."""
    bridge = logging.getLogger("bridge")
    bridge.propagate = False
    yield
    bridge.propagate = True


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_is_lost_or_doubled_and_order_is_kept(first: int) -> None:
    wrong = {seed: World(seed).run() for seed in range(first, first + CHUNK)}

    assert {seed: found for seed, found in wrong.items() if found} == {}


def test_a_seed_gives_the_same_again() -> None:
    told: list[list[str]] = [[], []]
    for lines in told:
        World(7, lines.append).run()

    assert len(told[0]) > 20
    assert told[0] == told[1]


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_noticed(name: str) -> None:
    assert 1 <= caught_after(MUTATIONS[name], MUTATED_SEEDS_MAX) <= MUTATED_SEEDS_MAX


def test_the_peers_design_fails_nearly_always() -> None:
    """The measure of the simulation: what others do must not pass for safe."""
    with MUTATIONS[PEERS].applied():
        failed = [seed for seed in range(20) if World(seed).run()]

    assert len(failed) >= 18
