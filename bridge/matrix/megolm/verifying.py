"""The verifications that are under way; a restart ends them all."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from bridge.matrix.megolm.persons import Person
from bridge.matrix.megolm.ports import Fingerprint, Json, Shown
from bridge.matrix.megolm.sas import (
    PREFIX,
    CancelledError,
    Reply,
    Verification,
    transaction,
)
from bridge.matrix.recent import Recent

logger = logging.getLogger(__name__)

KNOWN_MAX = 200
TIME_LIMIT_S = 600.0

_SILENT = ("cancel", "done", "ready", "accept")


class Verifying:
    """Who verifies whom."""

    def __init__(self) -> None:
        self._known: Recent[tuple[str, str, str], tuple[float, Verification]] = Recent(
            KNOWN_MAX
        )

    def answer(self, ours: Fingerprint, theirs: Person, event: Json) -> Shown:
        """Answer *event* of *theirs*; see ``Machine.verify``."""
        txn = transaction(event)
        kind = _kind(event) if txn else ""
        key = (ours.user, theirs.user, txn)
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] > TIME_LIMIT_S:
            known = None
        if not txn or kind in _SILENT:
            if kind == "cancel":
                self._known.drop(key)
            return Shown()
        if known is None and not _begins(kind, event["content"], ours.user):
            return Shown()  # of an earlier run, or over, or between others
        begun = known or (time.monotonic(), Verification(ours, theirs, txn))
        self._known.put(key, begun)
        return self._step(key, begun[1], kind, event)

    def _step(
        self, key: tuple[str, str, str], one: Verification, kind: str, event: Json
    ) -> Shown:
        shown_before = one.code
        try:
            replies: Sequence[Reply] = one.step(kind, event["content"])
        except CancelledError as over:
            self._known.drop(key)
            replies = [("cancel", {"code": over.code, "reason": over.reason})]
        if replies and replies[-1][0] == "done":
            logger.info("%s has verified %s", one.theirs.user, one.ours.user)
            self._known.drop(key)
        framed = tuple((PREFIX + name, _frame(event, key, c)) for name, c in replies)
        return Shown(framed, one.code if shown_before is None else None, one.device)


def _begins(kind: str, content: Json, user: str) -> bool:
    """Tell whether *user* is asked; in a room one asks another for all to see."""
    if "transaction_id" in content:
        return kind in ("request", "start")
    return kind == "request" and content.get("to") == user


def _kind(event: Json) -> str:
    name = event.get("type")
    if name == "m.room.message":
        name = event["content"].get("msgtype")
    return str(name).removeprefix(PREFIX)


def _frame(event: Json, key: tuple[str, str, str], content: Json) -> dict[str, Any]:
    """Name the verification as *event*, to a device or in a room, does."""
    if "transaction_id" in event["content"]:
        return {**content, "transaction_id": key[2]}
    relation = {"rel_type": "m.reference", "event_id": key[2]}
    return {**content, "m.relates_to": relation}
