"""Answers people who verify a user of ours, in a room or over their devices (SAS).

What is to be compared stands in the log: the operator of the bridge reads it to
whoever asks, by another way than this bridge.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.matrix.client import HomeserverDownError, MatrixError
from bridge.matrix.megolm.machine import Machine
from bridge.matrix.megolm.ports import ShortCode
from bridge.matrix.wires import Says, content, wire
from bridge.model.delivery import Wire

logger = logging.getLogger(__name__)

PREFIX = "m.key.verification."


class Checks:
    """The bridge's part in verifications.

    *agent* tells who of ours is in a room; *say* sends wires to one.
    """

    def __init__(
        self,
        machine: Machine,
        agent: Callable[[str], str],
        say: Callable[[str, Sequence[Wire]], None],
    ) -> None:
        self._machine = machine
        self._agent = agent
        self._say = say
        machine.on_code = _show

    async def answer(self, event: Mapping[str, Any]) -> bool:
        """Answer *event*, decrypted, if it is of a verification; tell whether it is."""
        kind, said = event["type"], event.get("content")
        msgtype = said.get("msgtype") if isinstance(said, dict) else None
        if not kind.startswith(PREFIX) and not str(msgtype).startswith(PREFIX):
            return False
        room = event["room_id"]
        user = self._agent(room)
        try:
            shown = await self._machine.verify(user, event)
        except (MatrixError, HomeserverDownError) as error:
            logger.warning("room %s: nobody can be verified: %s", room, error)
            return True
        replies = [
            wire(Says(user, room, content(reply), own=True, type=name))
            for name, reply in shown.replies
        ]
        if replies:
            self._say(room, replies)
        if shown.code is not None:
            _show(user, event["sender"], shown.code)
        return True


def _show(ours: str, theirs: str, code: ShortCode) -> None:
    pictures = ", ".join(f"{picture} {name}" for picture, name in code.emoji)
    numbers = " ".join(map(str, code.decimals))
    logger.info("%s verifies %s: %s (%s)", theirs, ours, pictures, numbers)
