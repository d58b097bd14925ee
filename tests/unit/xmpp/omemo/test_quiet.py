import logging

import pytest

from bridge.xmpp.omemo.quiet import LOGGERS, hush
from tests.unit.xmpp.omemo.world import ALICE, CANARY, World


async def test_no_word_and_no_key_reaches_any_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in LOGGERS:
        # As an operator might who looks for a fault.
        logging.getLogger(name).setLevel(logging.DEBUG)
    romeo = await world.person()

    await world.words(await romeo.seal(ALICE, CANARY))
    await world.send(CANARY)

    written = " ".join(record.getMessage() for record in caplog.records)
    assert CANARY not in written
    assert "Plain key material" not in written
    hush()


def test_what_an_operator_must_know_still_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hush()

    logging.getLogger("omemo.core").error("something is broken")

    assert "something is broken" in caplog.text
