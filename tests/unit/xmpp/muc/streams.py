"""A stream that leads nowhere."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.xml import Node


@dataclass
class FakeStream:
    """Keeps what is written."""

    connected: bool = True
    data: list[bytes] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    passes: bool = True
    barriers: int = 0
    asked: list[tuple[str, str, Node]] = field(default_factory=list)
    answers: dict[str, Element | Exception] = field(default_factory=dict)

    def write(self, data: bytes, ids: Sequence[int] = ()) -> bool:
        if self.connected:
            self.data.append(data)
            self.ids.extend(ids)
        return self.connected

    async def iq(
        self, kind: str, to: str, sender: str, payload: Node, timeout_s: float
    ) -> Element:
        assert kind == "get"
        self.asked.append((to, sender, payload))
        answer = self.answers[to]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def barrier(self) -> bool:
        self.barriers += 1
        return self.passes and self.connected

    async def drained(self) -> None:
        await asyncio.sleep(0)
