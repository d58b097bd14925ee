"""Clocks that jump while the bridge runs; the rows of the fault matrix are named."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.lab import faketime
from deploy.lab.stanzas import tag
from deploy.lab.words import LabError
from tests.e2e.conftest import Company
from tests.faults.town import open_town
from tests.faults.world import FaultyWorld, Ways

JUMPS = ("+1h", "-1h", "+1y", "-1y", "+0")
LINES = 6
SLACK_S = 600
DELAY = tag("delay", "urn:xmpp:delay")

USUAL = ("ejabberd-postgresql",)


class Clock:
    """The bridge's, by the rule in a file."""

    def __init__(self, rule: Path) -> None:
        self._rule = rule
        self.jump("+0")

    def jump(self, by: str) -> None:
        """Let it be wrong by so much from now on."""
        self._rule.write_text(by)


@pytest.fixture
def clock(world: FaultyWorld, tmp_path: Path) -> Iterator[Clock]:
    """A clock that the bridge believes; to be set before it starts."""
    rule = tmp_path / "clock"
    made = Clock(rule)
    try:
        world.wrong_clock(faketime.environment(rule))
    except LabError as error:
        pytest.skip(str(error))
    yield made
    world.wrong_clock({})


async def test_a_clock_that_jumps_changes_nothing(
    clock: Clock, world: FaultyWorld, ways: Ways, company: Company, word: str
) -> None:
    """Row 24: an hour and a year, there and back, in the midst of conversations."""
    town = await open_town(world, company, word)
    await town.speak(LINES)
    for jump in JUMPS:
        clock.jump(jump)
        await town.speak(LINES)
        # So that it has to look for what it may have missed.
        await ways.component.cut_and_joined_again()
        town.stream_fell()
        await ways.homeserver.cut()
        await town.come_back()

    assert await town.wrong() == []
    # It told them when that was said: more than an hour ago, as it believed.
    assert any(stanza.find(DELAY) is not None for stanza in town.romeo.all)
    now = time.time()
    times = [event["origin_server_ts"] / 1000 for event in town.cast.bob.events]
    assert [at for at in times if abs(at - now) > SLACK_S] == []
