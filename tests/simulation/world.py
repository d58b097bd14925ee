"""A world with a bridge in it, played through by seed, and judged.

The bridge is the real core (Hub, Lanes, Dispatch, Provisioning); the rest is
simulated beside this. First people speak while faults come; then all is repaired, and
everything has to come to rest; then the ledger is compared with what was heard.
"""

import asyncio
import logging
from collections.abc import Callable

from bridge.core import lanes
from bridge.core.ports import StoreUnavailableError
from bridge.model.places import PortalId
from bridge.model.records import Kind, Portal, Record
from tests.fakes_store import Disk
from tests.simulation.bridge import Bridge, Surroundings
from tests.simulation.dice import Dice
from tests.simulation.homeserver import SimHomeserver
from tests.simulation.jabber import JabberServer, Muc, Person
from tests.simulation.ledger import Ledger
from tests.simulation.line import Ring
from tests.simulation.loop import SimLoop, StuckError
from tests.simulation.net import Net
from tests.simulation.plan import Plan, plan
from tests.simulation.xmpp import HOSTED, OCCUPANTS

REST_S = 25.0
"""Longer than from one audit to the next."""
QUIET_S_MAX = 900.0
SAME_MOMENT_S = 0.1

TEA = "tea@muc"
PORTALS: tuple[Portal, ...] = (
    Portal(PortalId(1), Kind.DIRECT, "!dm1", "juliet@x alice@b", "@juliet@x"),
    Portal(PortalId(2), Kind.FOREIGN, "!tea", TEA, "@bot"),
    Portal(PortalId(3), Kind.HOSTED, "!hosted", HOSTED, "@bot"),
)
DM2 = "!dm_romeo@x_alice@b"


class Faults(logging.Handler):
    """What the bridge itself did not expect is wrong, though nobody may suffer."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of an exception."""
        if record.exc_info and record.exc_info[0] is not StoreUnavailableError:
            self._wrong.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


class World:
    """See above; *trace* is told in words what happens."""

    def __init__(
        self, seed: int, trace: Callable[[str], None] = lambda _: None
    ) -> None:
        self.dice = Dice(seed)
        self.plan: Plan = plan(self.dice)
        self.loop = SimLoop(self.dice)  # type: ignore[abstract]  # no I/O here
        self.ledger = Ledger()
        self.incidents = 0
        self._froze_at = -SAME_MOMENT_S
        self.trace = trace
        net = Net(self.loop, self.dice)
        net.latency_s = self.plan.latency_s
        net.plain_percent = self.plan.plain_percent
        self.homeserver = SimHomeserver(net, self.ledger, self.plan.moods)
        self.jabber = JabberServer(net)
        disk = Disk(number=10)
        for portal in PORTALS:
            disk.records[_key(portal)] = portal
        self.around = Surroundings(
            self.loop,
            self.dice,
            net,
            disk,
            self.plan.weather,
            self.homeserver,
            self.jabber,
            Ring() if self.plan.ring else None,
            TEA,
        )
        self.bridges: list[Bridge] = []
        self._count = 0
        self._people()

    def run(self) -> list[str]:
        """Play it through; return what is wrong."""
        depth = lanes.DEPTH_MAX, lanes.BATCH_MAX
        faults = Faults(self.ledger.wrong)
        logging.getLogger("bridge").addHandler(faults)
        lanes.DEPTH_MAX, lanes.BATCH_MAX = self.plan.lanes
        try:
            self.loop.run(self._play())
        except StuckError as error:
            self.ledger.wrong.append(f"stuck: {error}")
        finally:
            lanes.DEPTH_MAX, lanes.BATCH_MAX = depth
            logging.getLogger("bridge").removeHandler(faults)
        self.ledger.wrong += self.loop.faults
        return self.ledger.wrong

    def say(self, what: str) -> None:
        """Tell whoever traces what happens."""
        self.trace(f"{self.loop.time():9.3f}  {what}")

    def _people(self) -> None:
        jabber = self.jabber
        jabber.mucs[TEA] = Muc(TEA, jabber)
        for name in ("juliet@x", "romeo@x", "nurse@x"):
            jabber.people[name] = Person(name, "alice@b", "chat", jabber)
        for name in OCCUPANTS:
            jabber.people[name] = Person(name, HOSTED, "room", jabber)
        for room in ("!dm1", "!tea", "!hosted"):
            self.homeserver.make(room.removeprefix("!"))
        self.homeserver.listener = self._listener
        self.homeserver.on_made = self._answer_at_once

    def _listener(self) -> Bridge | None:
        """Choose whom the homeserver reaches: mostly the newest process."""
        listening = [one for one in self.bridges if one.listens]
        if len(listening) > 1 and self.dice.chance(0.2):
            return listening[0]
        return listening[-1] if listening else None

    async def _play(self) -> None:
        loop = self.loop
        pushing = loop.create_task(self.homeserver.run(), name="homeserver")
        supervisor = loop.create_task(self._supervise(), name="supervisor")
        while not self._is_ready():  # noqa: ASYNC110 - of the simulated clock
            await asyncio.sleep(0.1)
        start = loop.time()
        for at, way, words in self.plan.said:
            loop.call_at(start + at, self._speak, way, words)
        for at, fault in self.plan.faults:
            loop.call_at(start + at, self._strike, fault)
        await asyncio.sleep(max(60.0, start + 41.0 - loop.time()))
        await self._repair()
        await self._rest()
        supervisor.cancel()
        pushing.cancel()
        self._judge()

    def _is_ready(self) -> bool:
        return bool(self.bridges) and self.bridges[-1].ready and self._is_in_tea()

    def _is_in_tea(self) -> bool:
        """Tell whether the bridge has noted where in the MUC it began to listen."""
        return any(
            getattr(r, "kind", "") == "muc" for r in self.around.disk.records.values()
        )

    async def _supervise(self) -> None:
        """Start the bridge whenever there is none that runs."""
        while True:
            if not any(
                one.process.alive and not one.process.frozen for one in self.bridges
            ):
                if self.bridges:
                    self.incidents += 1
                await asyncio.sleep(self.dice.delay(0.5))
                self._start()
            await asyncio.sleep(0.2)

    def _start(self) -> None:
        self._count += 1
        bridge = Bridge(f"bridge {self._count}", self.around)
        bridge.process.died.append(lambda: self.say(f"{bridge.process.name} is dead"))
        self.bridges.append(bridge)
        self.say(f"{bridge.process.name} starts")
        bridge.begin()

    def _speak(self, way: str, words: str) -> None:
        name, direction = way.split()
        if direction == "m2x":
            self._on_matrix(name, way, words)
            return
        self.say(f"says {words!r}")
        self.ledger.says(way, words)
        if name == "tea":
            self.jabber.mucs[TEA].say("guest", words)
        elif name == "hosted":
            self.jabber.people[self.dice.pick(OCCUPANTS)].say(words)
        else:
            self.jabber.people["juliet@x" if name == "dm1" else "romeo@x"].say(words)

    def _on_matrix(self, name: str, way: str, words: str) -> None:
        homeserver = self.homeserver
        room = DM2 if name == "dm2" else f"!{name}"
        if not homeserver.up or (name == "dm2" and room not in homeserver.rooms):
            return  # they could not say it; or not yet to the bridge
        if name == "dm3" and room not in homeserver.rooms:
            homeserver.happens(room, "alice", "invite", "nurse@x")
        self.say(f"says {words!r}")
        self.ledger.says(way, words)
        homeserver.happens(room, "alice", "say", words)

    def _answer_at_once(self, room: str) -> None:
        """Let Alice speak in a room before whoever makes it knows that it is there."""
        if room == DM2 and self.dice.chance(0.5):
            self._on_matrix("dm2", "dm2 m2x", "at once")

    def _strike(self, fault: str) -> None:
        self.say(f"fault: {fault}")
        running = [one for one in self.bridges if one.process.alive]
        match fault:
            case "crash" | "freeze" | "stop":
                if running:
                    self._hurt(running[-1], fault)
            case "cut":
                self._cut()
            case "kick":
                self.jabber.mucs[TEA].kick("alice@b")
            case "kick listener":
                self.jabber.mucs[TEA].kick(self.jabber.listener)
            case _:
                self._take_away(fault)

    def _hurt(self, bridge: Bridge, fault: str) -> None:
        if fault == "crash":
            bridge.process.fuse = self.dice.whole(0, 300)
        elif fault == "stop":
            bridge.stop()
        elif not bridge.process.frozen:
            self._freeze(bridge)

    def _take_away(self, fault: str) -> None:
        """Let a server, or the database, be away for a while."""
        if fault == "xmpp restart":
            self.jabber.restart()
            self._later(6.0, lambda: setattr(self.jabber, "up", True))
        elif fault == "homeserver restart":
            self.homeserver.restart()
            self._later(6.0, lambda: setattr(self.homeserver, "up", True))
        else:
            self.plan.weather.away = True
            self._later(5.0, lambda: setattr(self.plan.weather, "away", False))

    def _cut(self) -> None:
        """Break the stream; what a dead process left to the kernel gets through.

        That both go in the same tenth of a second is not survived: the kernel had the
        bytes, and nobody is left to learn that they did not arrive. A process that is
        frozen learns it too late.
        """
        link = self.jabber.link
        just_frozen = self.loop.time() - self._froze_at < SAME_MOMENT_S
        if link is not None and link.process.alive and not just_frozen:
            link.sever()

    def _freeze(self, bridge: Bridge) -> None:
        """Stop a process; its stream is lost, and a successor starts meanwhile."""
        process = bridge.process
        process.frozen = True
        self._froze_at = self.loop.time()
        link = self.jabber.link
        if link is not None and link.process is process:
            self._later(3.0, self._cut)
        self.incidents += 1
        self._later(12.0, lambda: self._thaw(bridge))

    def _thaw(self, bridge: Bridge) -> None:
        if bridge.process.alive and bridge.process.frozen:
            self.say(f"{bridge.process.name} goes on")
            self.loop.thaw(bridge.process)
            self._later(8.0, bridge.process.kill)

    def _later(self, typical_s: float, call: Callable[[], None]) -> None:
        pause_s = self.dice.span(0.3, 2.0) * typical_s
        self.loop.call_later(pause_s, call, context=self.loop.world)

    async def _repair(self) -> None:
        """End all faults."""
        self.say("all is repaired")
        weather, moods = self.plan.weather, self.plan.moods
        weather.fails = weather.doubts = weather.cuts = weather.falls = 0.0
        moods.fails = moods.loses_answer = moods.limits = 0.0
        moods.push_lost = moods.push_again = 0.0
        for bridge in self.bridges[:-1]:
            bridge.process.kill()
        weather.away = False
        self.homeserver.up = self.jabber.up = True

    async def _rest(self) -> None:
        """Wait until nothing is under way, and a while longer."""
        end = self.loop.time() + QUIET_S_MAX
        quiet_since = self.loop.time()
        while self.loop.time() - quiet_since < REST_S:
            await asyncio.sleep(1.0)
            if busy := self._busy():
                quiet_since = self.loop.time()
            if self.loop.time() > end:
                raise StuckError(f"never at rest: {busy}")

    def _busy(self) -> str:
        disk = self.around.disk
        if disk.inbox or disk.outbox:
            return f"on disk: {list(disk.inbox.values())} {list(disk.outbox.values())}"
        if not self.homeserver.idle():
            return "the homeserver has more to push"
        waiting = [p.waiting for p in self.jabber.people.values() if p.waiting]
        return f"not answered: {waiting}" if waiting else ""

    def _judge(self) -> None:
        """Compare what was said with what was heard."""
        ledger, people = self.ledger, self.jabber.people
        crashes = self.incidents + self.jabber.severed
        for name, who in (("dm1", "juliet@x"), ("dm2", "romeo@x"), ("dm3", "nurse@x")):
            heard = [words for _, words in people[who].heard]
            # A machine that falls takes the ring with it: then all may come again that
            # was said while the last commits were under way, but no message more often.
            if not self.plan.ring:
                heard = _thinned(heard, crashes)
            ledger.judge(f"{name} m2x", heard, twice_max=crashes)
            room = DM2 if name == "dm2" else f"!{name}"
            self._judge_room(f"{name} x2m", room, people[who].told, crashes)
        archive = self.jabber.mucs[TEA].archive
        puppets = [one.text for one in archive if one.sender == "alice@b"]
        ledger.judge("tea m2x", puppets)
        told = [one.text[5:] for one in archive if one.text.startswith("told ")]
        self._judge_room("tea x2m", "!tea", told, 0)
        self._judge_hosted(crashes)

    def _judge_hosted(self, crashes: int) -> None:
        ledger = self.ledger
        told: list[str] = []
        for name in OCCUPANTS:
            person = self.jabber.people[name]
            told += person.told
            # What is written again, as nobody knows whether it came, bears the same
            # stanza-id: clients show it once.
            doubt = self.jabber.severed or (crashes > 0 and not self.plan.ring)
            shown = dict.fromkeys(person.heard) if doubt else person.heard
            heard = [words for _, words in shown]
            ledger.judge("hosted m2x", [w for w in heard if "m2x" in w])
            reflected = [w for w in heard if "x2m" in w]
            ledger.judge_reflected("hosted", reflected, self._in("!hosted"))
        self._judge_room("hosted x2m", "!hosted", told, crashes, order=False)

    def _judge_room(
        self,
        way: str,
        room: str,
        told: list[str],
        again_max: int,
        *,
        order: bool = True,
    ) -> None:
        """Compare what was said on XMPP with what a room shows; and who was told."""
        heard = [words for words in self._in(room) if "x2m" in words]
        self.ledger.judge(way, heard, in_order=order)
        self.ledger.told(way, told, again_max=again_max)
        back = [words[5:] for words in self._all_in(room) if words.startswith("told ")]
        # A bounce that reached a process as it was killed: the ring says that the
        # message went out, and nobody is left who knows that it came back.
        bounced = self.plan.ring and way.startswith("dm") and self.incidents > 0
        self.ledger.told(way.replace("x2m", "m2x"), back, may_miss=bounced)

    def _in(self, room: str) -> list[str]:
        return [w for w in self._all_in(room) if not w.startswith(("told ", "state "))]

    def _all_in(self, room: str) -> list[str]:
        if room not in self.homeserver.rooms:
            return []
        return [one.body for one in self.homeserver.rooms[room].events if one.ours]


def _thinned(heard: list[str], often: int) -> list[str]:
    """Leave out what came again, if no message did so more than *often*."""
    fits = all(heard.count(words) <= 1 + often for words in heard)
    return list(dict.fromkeys(heard)) if fits else heard


def _key(record: Record) -> tuple[object, ...]:
    return (type(record), *(getattr(record, name) for name in record.KEY))
