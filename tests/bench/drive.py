"""Drives a bridge from both ends and counts what comes out.

Message bodies are numbered, so that losses, doubles and inversions are counted in
every run. A *closed* loop keeps 50 messages in flight; *flood* sends all at once.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

IN_FLIGHT = 50
PADDING = "x" * 80
TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The bridge did not do what was asked within the time."""


@dataclass
class Tally:
    """What arrived of the messages of one phase, and when."""

    phase: str = ""
    sent: dict[int, float] = field(default_factory=dict)
    arrived: list[int] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, phase: str) -> None:
        """Forget what was before."""
        self.phase = phase
        self.sent.clear()
        self.arrived.clear()
        self.latencies_ms.clear()

    def saw(self, body: str) -> None:
        """Count a message by its text."""
        phase, _, rest = body.partition("|")
        if phase != self.phase:
            return
        number = int(rest.partition("|")[0])
        self.latencies_ms.append((time.perf_counter() - self.sent[number]) * 1000)
        self.arrived.append(number)
        self.progress.set()

    def lost(self) -> int:
        """Count what did not arrive."""
        return len(self.sent.keys() - set(self.arrived))

    def doubled(self) -> int:
        """Count what arrived more than once."""
        return len(self.arrived) - len(set(self.arrived))

    def inverted(self, rooms: int) -> int:
        """Count neighbours of one room that arrived in the wrong order."""
        last = [-1] * rooms
        wrong = 0
        for number in self.arrived:
            wrong += number < last[number % rooms]
            last[number % rooms] = number
        return wrong


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The result of one phase."""

    phase: str
    count: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    rss_mb: float
    lost: int
    doubled: int
    inverted: int


@dataclass
class Meter:
    """Reads what the bridge's process has used."""

    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads."""
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        """Return its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


class Drive:
    """Runs phases in one direction."""

    def __init__(
        self, tally: Tally, meter: Meter, say: Callable[[int, str], None], rooms: int
    ) -> None:
        self._tally = tally
        self._meter = meter
        self._say = say
        self._rooms = rooms

    async def closed(self, phase: str, count: int) -> Figures:
        """Keep a fixed number in flight."""
        return await self._run(phase, count, IN_FLIGHT)

    async def flood(self, phase: str, count: int) -> Figures:
        """Send all at once."""
        return await self._run(phase, count, count)

    async def steady(self, phase: str, count: int, per_s: float) -> Figures:
        """Send at a fixed rate, for the latency."""
        self._tally.begin(phase)
        begun, cpu = time.perf_counter(), self._meter.cpu_s()
        for number in range(count):
            await asyncio.sleep(max(0, begun + number / per_s - time.perf_counter()))
            self._send(phase, number)
        await self._until(count)
        return self._figures(begun, cpu)

    async def _run(self, phase: str, count: int, in_flight: int) -> Figures:
        tally = self._tally
        tally.begin(phase)
        begun, cpu = time.perf_counter(), self._meter.cpu_s()
        number = 0
        while len(tally.arrived) < count:
            while number < min(count, len(tally.arrived) + in_flight):
                self._send(phase, number)
                number += 1
            await self._until(min(len(tally.arrived) + 1, count))
        return self._figures(begun, cpu)

    def _send(self, phase: str, number: int) -> None:
        self._tally.sent[number] = time.perf_counter()
        self._say(number % self._rooms, f"{phase}|{number}|{PADDING}")

    async def _until(self, count: int) -> None:
        """Wait for *count* arrivals; give up when nothing comes for 20 s."""
        tally = self._tally
        while len(tally.arrived) < count:
            tally.progress.clear()
            try:
                async with asyncio.timeout(20):
                    await tally.progress.wait()
            except TimeoutError:
                raise BenchError(
                    f"{tally.phase}: {tally.lost()} of {len(tally.sent)} lost"
                ) from None

    def _figures(self, begun: float, cpu: float) -> Figures:
        tally = self._tally
        elapsed = time.perf_counter() - begun
        count = len(tally.sent)
        return Figures(
            phase=tally.phase,
            count=count,
            per_s=count / elapsed,
            p50_ms=statistics.median(tally.latencies_ms),
            p99_ms=percentile(tally.latencies_ms, 0.99),
            cpu_ms=(self._meter.cpu_s() - cpu) * 1000 / count,
            rss_mb=self._meter.rss_mb(),
            lost=tally.lost(),
            doubled=tally.doubled(),
            inverted=tally.inverted(self._rooms),
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which *share* of *values* lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
