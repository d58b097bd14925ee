"""The command ``dead``: what did not arrive, by the admin's command line.

The bridge may run or not: what is asked is left in the database as a wish, which the
bridge fulfils at once, or when it starts.
"""

import sys
import time
from collections.abc import Sequence

from bridge.config import Config
from bridge.core.letters import now_ms
from bridge.core.office import describe
from bridge.core.ports import StoreUnavailableError
from bridge.ends import CONFIG, DATABASE
from bridge.model.records import DeadLetter
from bridge.store.aside import Aside
from bridge.store.errors import StoreError

PATIENCE_S = 10.0
LOOK_EVERY_S = 0.2


def dead(config: Config, verb: str, which: str) -> int:
    """List dead letters, or send again or drop *which*, a number or "all"."""
    if verb != "list" and not which:
        _complain(f"{verb} which? Add a NUMBER from `dead list`, or all")
        return CONFIG
    try:
        with Aside(config.database_url(), config.store.seal_key()) as aside:
            letters = aside.letters()
            if verb == "list":
                return _list(letters)
            chosen = [one for one in letters if which in ("all", str(one.id))]
            if not chosen:
                return _complain(f"there is no undelivered message {which}")
            return _wish(aside, chosen, verb)
    except (StoreError, StoreUnavailableError) as error:
        _complain(str(error))
        return DATABASE


def _list(letters: Sequence[DeadLetter]) -> int:
    now = now_ms()
    for letter in letters:
        print(describe(letter, now))
    print(f"{len(letters)} undelivered")
    return 0


def _wish(aside: Aside, chosen: Sequence[DeadLetter], verb: str) -> int:
    for letter in chosen:
        aside.wish(letter.id, verb)
    end = time.monotonic() + PATIENCE_S
    waiting = [letter.id for letter in chosen]
    while waiting and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)
        waiting = [number for number in waiting if not aside.is_granted(number)]
    if waiting:
        print(f"{len(waiting)} noted: it will be done when the bridge runs")
        return 0
    left = [letter for letter in chosen if aside.letter(letter.id) is not None]
    what = "will be sent again" if verb == "retry" else "dropped"
    print(f"{len(chosen) - len(left)} {what}")
    if left:
        return _complain(
            f"{len(left)} may not leave in the clear: somebody in the room has to allow"
            " it (!xmpp plaintext allow)"
        )
    return 0


def _complain(words: str) -> int:
    print(f"xmpp-matrix-bridge: {words}", file=sys.stderr)
    return 1
