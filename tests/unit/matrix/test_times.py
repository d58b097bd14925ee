import time
from datetime import UTC, datetime

import pytest

from bridge.matrix.times import sent_at


def test_the_sender_says_when_it_was_sent() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    assert sent_at({"origin_server_ts": int(moment.timestamp() * 1000)}) == moment


@pytest.mark.parametrize("given", [2**63, -1, 0, None, "soon", 1.5, []])
def test_what_cannot_be_is_now(given: object) -> None:
    before = time.time()

    at = sent_at({"origin_server_ts": given}).timestamp()

    assert before - 0.001 <= at <= time.time() + 0.001
