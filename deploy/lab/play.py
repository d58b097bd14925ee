"""What the people of the demonstration say, and whether it is heard as it should."""

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from deploy.lab.gateway import XmppServer
from deploy.lab.heard import Heard, NotHeardError
from deploy.lab.matrix_people import MatrixPerson, MatrixRefusedError
from deploy.lab.synapse import Synapse
from deploy.lab.words import say
from deploy.lab.xmpp_people import Cast, Entered, XmppPerson

PASSWORD = "demo"
FIRST_S = 30.0

Act = Callable[["Stage"], Awaitable[None]]


class Stage:
    """The people, and the count of what went wrong."""

    def __init__(self, alice: MatrixPerson, juliet: XmppPerson, cast: Cast) -> None:
        self.alice = alice
        self.juliet = juliet
        self.server = cast.server
        self.missing = 0
        self.nicks: dict[str, str] = {}
        self.homeserver = alice.id.partition(":")[2]
        self.ghost = f"@_xmpp_juliet=40{self.server.host}:{self.homeserver}"
        self.puppet = f"alice_{self.homeserver}@{self.server.component}"

    async def juliet_joins(self, room: str) -> Entered:
        """Let Juliet into a room, where a client of hers may have another nick."""
        entered = await self.juliet.joins(room, "Juliet", history=0)
        self.nicks[room] = entered.nick
        return entered

    async def from_xmpp(self, to: str, text: str, room: str, sender: str) -> None:
        """Juliet says something, and Alice has to hear it from *sender*."""
        say(f"  Juliet on XMPP:    {text}")
        began = time.monotonic()
        in_room = to != self.puppet
        await (self.juliet.says_in if in_room else self.juliet.says)(to, text)
        read = text.removeprefix("/me ")
        heard = await self.alice.hears(read, sender, room, FIRST_S)
        self.tell("Alice on Matrix", heard, began)
        if in_room:
            # She sees her own words, once: the next that she hears is these.
            await self.juliet.hears(text, self.nicks[to], to)

    async def from_matrix(self, room: str, text: str, where: str, sender: str) -> None:
        """Alice says something, and Juliet has to hear it from *sender*."""
        say(f"  Alice on Matrix:   {text}")
        began = time.monotonic()
        await self.alice.says(room, text)
        heard = await self.juliet.hears(text, sender, where, FIRST_S)
        self.tell("Juliet on XMPP", heard, began)

    def tell(self, reader: str, heard: Heard, began: float) -> None:
        """Print who has read it, and from whom."""
        taken = (time.monotonic() - began) * 1000
        name = heard.name or heard.sender
        say(f"      ✓ {reader} reads it from {name}  ({taken:.0f} ms)")


async def play(synapse: Synapse, server: XmppServer) -> int:
    """Let them talk; return how many scenes did not go as they should."""
    python = Path(sys.executable)
    async with (
        MatrixPerson(synapse, "Alice", "alice") as alice,
        Cast(python, server) as cast,
    ):
        await alice.log_in(PASSWORD)
        juliet = await cast.person(
            "Juliet", jid=f"juliet@{server.host}", password=PASSWORD
        )
        stage = Stage(alice, juliet, cast)
        for title, act in ACTS:
            say(f"\n{title}")
            try:
                await act(stage)
            except (NotHeardError, MatrixRefusedError) as error:
                say(f"      ✗ {error}")
                stage.missing += 1
        return stage.missing


async def direct_chat(stage: Stage) -> None:
    """Juliet writes to Alice, who answers."""
    alice, juliet = stage.alice, stage.juliet
    text = "Good evening, Alice! Can you read me over there?"
    say(f"  Juliet on XMPP:    {text}")
    began = time.monotonic()
    await juliet.says(stage.puppet, text)
    room = _direct_room(stage)
    if not room:
        room = await alice.is_invited(stage.ghost, FIRST_S)
        say(f"      Alice is invited by {stage.ghost}, and joins")
        await alice.joins(room)
    heard = await alice.hears(text, stage.ghost, room, FIRST_S)
    stage.tell("Alice on Matrix", heard, began)
    to = stage.puppet
    await stage.from_matrix(room, "As if you were next door. ♥", to, to)
    await stage.from_xmpp(to, "Then I shall write more often.", room, stage.ghost)
    await stage.from_matrix(room, "Several lines\ncross as well.", to, to)


async def hosted_room(stage: Stage) -> None:
    """Juliet joins a room of Alice's homeserver."""
    alice = stage.alice
    alias = f"#piazza:{stage.homeserver}"
    room = await alice.resolves(alias)
    if not room:
        room = await alice.makes_room("piazza", name="Piazza")
    address = f"#piazza#{stage.homeserver}@{stage.server.component}"
    say(f"  Juliet on XMPP joins {address}, Alice's Matrix room {alias}")
    entered = await stage.juliet_joins(address)
    if "Alice" not in entered.occupants:
        raise NotHeardError(f"Juliet does not see Alice but {entered.occupants}")
    say(f"      ✓ Juliet sees there: {', '.join(sorted(entered.occupants))}")
    ghost = stage.ghost
    await stage.from_xmpp(address, "What a lively square!", room, ghost)
    await stage.from_matrix(room, "Welcome, Juliet.", address, "Alice")
    await stage.from_xmpp(address, "/me looks around", room, ghost)


async def foreign_muc(stage: Stage) -> None:
    """Alice joins a MUC of Juliet's server."""
    alice = stage.alice
    muc = f"balcony@{stage.server.muc}"
    alias = f"#_xmpp_balcony_{stage.server.muc}:{stage.homeserver}"
    await stage.juliet_joins(muc)
    say(f"  Alice on Matrix joins {alias}, the MUC {muc}")
    room = await alice.joins(alias)
    nick = stage.nicks[muc]
    await stage.from_xmpp(muc, "O Alice, wherefore art thou Alice?", room, nick)
    await stage.from_matrix(room, "Call me what you like.", muc, "Alice")
    await stage.from_xmpp(muc, "Rose, then.", room, nick)


async def plumbed_room(stage: Stage) -> None:
    """Alice links a room of hers with a MUC of Juliet's, who agrees."""
    alice, juliet = stage.alice, stage.juliet
    muc = f"garden@{stage.server.muc}"
    await stage.juliet_joins(muc)
    room = await alice.resolves(f"#garden:{stage.homeserver}")
    if not room:
        # The alias comes last: a play that was broken off before finds no garden.
        room = await alice.makes_room(name="Garden")
        await alice.invites_to(room, f"@xmppbot:{stage.homeserver}")
        await alice.sees_member(room, f"@xmppbot:{stage.homeserver}")
        say(f"  Alice on Matrix:   !xmpp bridge {muc}")
        await alice.hears_next(room)  # the bridge introduces itself
        await alice.says(room, f"!xmpp bridge {muc}")
        await alice.hears_next(room)
        asked = await juliet.hears_next(muc)
        say(f"      ✓ Juliet on XMPP is asked by {asked.sender}")
        say("  Juliet on XMPP:    !matrix accept")
        await juliet.says_in(muc, "!matrix accept")
        await juliet.hears("!matrix accept", stage.nicks[muc], muc)
        await juliet.hears_next(muc)
        linked = await alice.hears_next(room)
        say(f"      ✓ {linked.text}")
        await alice.names(room, f"#garden:{stage.homeserver}")
    await stage.from_matrix(room, "A shared garden.", muc, "Alice")
    await stage.from_xmpp(muc, "With two gates.", room, stage.nicks[muc])


ACTS: tuple[tuple[str, Act], ...] = (
    ("A direct chat", direct_chat),
    ("An XMPP user joins a Matrix room", hosted_room),
    ("A Matrix user joins an XMPP room", foreign_muc),
    ("A Matrix room and an XMPP room are linked, and both sides agree", plumbed_room),
)


def _direct_room(stage: Stage) -> str:
    wanted = {stage.alice.id, stage.ghost}
    for room, members in stage.alice.members.items():
        here = {who for who, how in members.items() if how.get("membership") == "join"}
        if here == wanted:
            return room
    return ""
