import asyncio

import pytest

from bridge.xmpp.component import IqError
from bridge.xmpp.selfping import still_in
from tests.unit.xmpp.elsewhere import LISTENER, MUC, build


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (None, True),
        (IqError("not-acceptable", "cancel", ""), False),
        (IqError("not-allowed", "cancel", ""), False),
        (IqError("service-unavailable", "cancel", ""), True),
        (IqError("feature-not-implemented", "cancel", ""), True),
        (IqError("item-not-found", "cancel", ""), True),
        (IqError("remote-server-timeout", "wait", ""), None),
        (IqError("remote-server-not-found", "cancel", ""), None),
        (TimeoutError(), None),
        (ConnectionError(), None),
    ],
)
async def test_what_the_answers_to_a_self_ping_mean(
    error: Exception | None, *, answer: bool | None
) -> None:
    """XEP-0410 §3.2."""
    async with asyncio.TaskGroup() as tasks:
        world = build(tasks)

    async def iq(*_: object) -> None:
        if error is not None:
            raise error

    world.server.iq = iq  # type: ignore[method-assign, assignment]

    assert await still_in(world.means, f"{MUC}/nick", LISTENER) is answer
