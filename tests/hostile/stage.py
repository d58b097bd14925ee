"""The whole bridge but its disk, between a homeserver and a server of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from bridge.core.guard import Limits
from bridge.matrix.adapter import MatrixAdapter
from bridge.matrix.client import Homeserver
from bridge.matrix.codec.envelope import open_push
from bridge.model.places import PortalId
from bridge.model.records import Kind, Portal
from tests.core import NO_LIMITS
from tests.fakes_store import FakeStore
from tests.features.across import Joined, joined
from tests.homeserver import AS_TOKEN, Event
from tests.unit.matrix.world import ALICE, BOT, HALL, StrictHomeserver
from tests.unit.xmpp.elsewhere import DOMAIN, name_of, stanza

HOSTED = f"#hall#hs@{DOMAIN}"
ROMEO = "romeo@montague.lit/garden"
X = "<x xmlns='http://jabber.org/protocol/muc'/>"
NS = "{jabber:component:accept}"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
PORTAL = Portal(PortalId(1), Kind.HOSTED, HALL, HOSTED, BOT, alias="#hall:hs")


@dataclass(kw_only=True)
class Stage(Joined):
    """Alice in a Matrix room, Romeo in the MUC that it is on XMPP."""

    server: StrictHomeserver
    matrix: MatrixAdapter
    _read: int = field(default=0)

    async def pushes(self, body: bytes) -> None:
        """Let the homeserver push the bytes of a transaction."""
        push = open_push(body)
        assert push is not None
        arrivals = self.matrix.arrivals(push.events)
        if arrivals:
            await self.hub.keep(arrivals)
        await self.settles()

    async def happens(self, *events: Event) -> None:
        """Let *events* come from the homeserver."""
        import json  # noqa: PLC0415 - what cannot be written strictly is passed as is

        await self.pushes(json.dumps({"events": events}).encode())

    async def alice_says(self, words: object, **content: object) -> Event:
        """Let Alice say something in the hall."""
        said = {"msgtype": "m.text", "body": words} | content
        event = self.server.add(HALL, ALICE, "m.room.message", said)
        await self.happens(event)
        return event

    async def comes(self, *texts: str) -> None:
        """Let stanzas come over the stream, as they are."""
        for text in texts:
            self.xmpp.received(stanza(text))
        await self.settles()

    async def romeo_says(self, words: str, name: str = "", more: str = "") -> None:
        """Let Romeo say something in the hall."""
        await self.comes(
            f"<message type='groupchat' from='{ROMEO}' to='{HOSTED}' id='{name}'>"
            f"<body>{words}</body>{more}</message>"
        )

    def written(self, name: str = "message", to: str = ROMEO) -> list[Element]:
        """List the stanzas of a kind that were written to somebody since last asked."""
        fresh, self._read = self.line.written[self._read :], len(self.line.written)
        return [s for s in fresh if name_of(s) == name and s.get("to") == to]

    def heard(self) -> list[str]:
        """List what Romeo has been told since last asked."""
        bodies = (one.find(f"{NS}body") for one in self.written())
        return [body.text or "" for body in bodies if body is not None]

    def seen(self) -> list[str]:
        """List what has been said in the hall on Matrix by others than Alice."""
        return [
            event["content"]["body"]
            for event in self.server.rooms[HALL].events
            if event["type"] == "m.room.message" and event["sender"] != ALICE
        ]

    async def goes_on(self) -> None:
        """See that the conversation goes on, both ways."""
        self.heard()
        await self.alice_says("still there?")
        assert self.heard() == ["still there?"]
        await self.romeo_says("still here", "last")
        assert self.seen()[-1] == "still here"


def condition(stanza: Element) -> str:
    """Return the condition of an error."""
    assert stanza.get("type") == "error"
    error = stanza.find(f"{NS}error")
    assert error is not None
    return error[0].tag.removeprefix(STANZAS)


@asynccontextmanager
async def staged(folder: Path, limits: Limits = NO_LIMITS) -> AsyncIterator[Stage]:
    """Build everything, and connect it."""
    server = StrictHomeserver()
    await server.start()
    homeserver = Homeserver(server.url, AS_TOKEN, "hs")
    store = FakeStore()
    matrix = MatrixAdapter(homeserver, store, BOT)
    async with (
        asyncio.TaskGroup() as tasks,
        joined(folder, [PORTAL], (matrix, matrix), tasks, store, limits) as ours,
    ):
        stage = Stage(**vars(ours), server=server, matrix=matrix)
        await _opened(stage)
        yield stage
    await homeserver.close()
    await server.stop()


async def _opened(stage: Stage) -> None:
    """Have Alice and the bot in the room, and Romeo in the MUC."""
    stage.server.users.add(BOT)
    stage.server.add(HALL, ALICE, "m.room.create", {}, state_key="")
    stage.server.add(
        HALL, ALICE, "m.room.join_rules", {"join_rule": "public"}, state_key=""
    )
    for member, name in ((ALICE, "Alice"), (BOT, "Bot")):
        content = {"membership": "join", "displayname": name}
        stage.server.add(HALL, member, "m.room.member", content, state_key=member)
    await stage.comes(f"<presence from='{ROMEO}' to='{HOSTED}/Romeo'>{X}</presence>")
    await stage.settles()
    stage.written()
