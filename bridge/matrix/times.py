"""When things happened on Matrix."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def sent_at(event: Mapping[str, Any]) -> datetime:
    """Tell when an event was sent: its sender says so, but never in the future."""
    given = event.get("origin_server_ts")
    now = time.time()
    if not isinstance(given, int) or not 0 < given <= now * 1000:
        return datetime.fromtimestamp(now, UTC)
    return datetime.fromtimestamp(given / 1000, UTC)
