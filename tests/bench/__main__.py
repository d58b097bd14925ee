"""Measures the bridge, and beside it a null bridge, and prints a table.

On one core: the bridge is pinned to the first, everything else to the last.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import uvloop

from tests.bench.drive import BenchError, Drive, Figures, Meter, Tally
from tests.bench.fake_homeserver import NAME, FakeHomeserver
from tests.bench.fake_xmpp import DOMAIN, MUC, SECRET, FakeXmpp

JULIET = "juliet@users.bench/phone"
ALIAS = f"#_xmpp_room_muc.bench:{NAME}"
START_S = 30

Say = Callable[[int, str], None]


@dataclass(frozen=True)
class Scenario:
    """What is set up, and how many messages go each way."""

    name: str
    rooms: int = 1
    puppets: int = 0
    count: int = 20_000
    back: int = 10_000


SCENARIOS = (
    Scenario("hosted room"),
    Scenario("100 hosted rooms", rooms=100),
    Scenario("MUC, 100 puppets", puppets=100, count=10_000, back=10_000),
    Scenario("MUC, 1000 puppets", puppets=1000, count=2_000, back=4_000),
)


@dataclass
class Bench:
    """A bridge between the two fakes, and what it has delivered."""

    homeserver: FakeHomeserver
    xmpp: FakeXmpp
    meter: Meter
    to_matrix: Tally
    to_xmpp: Tally


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def bench(
    directory: Path, scenario: Scenario, *, null: bool
) -> AsyncIterator[Bench]:
    """Start the fakes and a bridge between them."""
    to_matrix, to_xmpp = Tally(), Tally()
    homeserver = FakeHomeserver(to_matrix.saw)
    xmpp = FakeXmpp(lambda _, body: to_xmpp.saw(body.decode()))
    ports = await homeserver.listen(), await xmpp.listen(), free_port()
    command = _null(ports, scenario) if null else _bridge(directory, ports)
    log = (directory / "bridge.log").open("w", encoding="utf-8")
    process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - before anything is measured
    os.sched_setaffinity(process.pid, {0})
    try:
        homeserver.bridge = ("127.0.0.1", ports[2])
        homeserver.hs_token = _token(directory)
        async with asyncio.timeout(START_S):
            await xmpp.ready.wait()
            await _listening(ports[2])
        async with asyncio.TaskGroup() as tasks:
            push = tasks.create_task(homeserver.push())
            meter = Meter(process.pid)
            yield Bench(homeserver, xmpp, meter, to_matrix, to_xmpp)
            push.cancel()
    finally:
        process.terminate()
        process.wait(10)


def _null(ports: tuple[int, int, int], scenario: Scenario) -> list[str]:
    numbers = [str(port) for port in (*ports, scenario.puppets)]
    return [sys.executable, "-m", "tests.bench.null_bridge", *numbers]


def _bridge(directory: Path, ports: tuple[int, int, int]) -> list[str]:
    homeserver, xmpp, listen = ports
    command = [sys.executable, "-m", "bridge"]
    options = {
        "server-name": NAME,
        "homeserver": f"http://127.0.0.1:{homeserver}",
        "component": DOMAIN,
        "component-address": f"127.0.0.1:{xmpp}",
        "component-secret": SECRET,
        "listen": f"127.0.0.1:{listen}",
    }
    given = [f"--{option}={value}" for option, value in options.items()]
    subprocess.run(
        [*command, "init", str(directory), *given], check=True, capture_output=True
    )
    return [*command, "run", "--config", str(directory / "config.toml")]


def _token(directory: Path) -> str:
    file = directory / "registration.yaml"
    if not file.exists():
        return ""
    lines = file.read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith("hs_token:"))
    return line.partition(":")[2].strip()


async def _eventually(met: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not met():  # noqa: ASYNC110 - the fakes count, and signal nothing
            await asyncio.sleep(0.05)


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def measure(scenario: Scenario, *, null: bool, quick: bool) -> list[Figures]:
    """Run all phases of a scenario."""
    with tempfile.TemporaryDirectory() as name:
        async with bench(Path(name), scenario, null=null) as made:
            try:
                return await _phases(made, scenario, null=null, quick=quick)
            except (BenchError, TimeoutError) as error:
                log = (Path(name) / "bridge.log").read_text(encoding="utf-8")
                unknown = sorted(made.homeserver.unknown)
                raise BenchError(
                    f"{scenario.name}: {error}; answered 404: {unknown}\n{log[-3000:]}"
                ) from error


async def _phases(
    made: Bench, scenario: Scenario, *, null: bool, quick: bool
) -> list[Figures]:
    say_matrix, say_xmpp = await (
        _muc(made, scenario, null=null)
        if scenario.puppets
        else _hosted(made, scenario, null=null)
    )
    share = 10 if quick else 1
    count, back = scenario.count // share, scenario.back // share
    figures = []
    for way, tally, say, number in (
        ("M→X", made.to_xmpp, say_matrix, count),
        ("X→M", made.to_matrix, say_xmpp, back),
    ):
        drive = Drive(tally, made.meter, say, scenario.rooms)
        await drive.closed(f"{way} warm-up", 200)
        steady = 250 // (2 if quick else 1)
        figures.append(await drive.steady(f"{way} 50/s", steady, 50))
        figures.append(await drive.closed(f"{way} closed", number))
        figures.append(await drive.flood(f"{way} flood", number))
    if made.homeserver.unknown:
        print("answered 404:", *sorted(made.homeserver.unknown)[:5], file=sys.stderr)
    return figures


async def _hosted(made: Bench, scenario: Scenario, *, null: bool) -> tuple[Say, Say]:
    rooms = [f"!bench{number}:{NAME}" for number in range(scenario.rooms)]
    jids = [f"#bench{number}#{NAME}@{DOMAIN}" for number in range(scenario.rooms)]
    members = [f"@member{number}:{NAME}" for number in range(10)]
    for room, jid in zip(rooms, jids, strict=True):
        made.homeserver.members[room] = list(members)
        if not null:
            made.xmpp.enters(jid, JULIET, "juliet")
    if not null:
        await _eventually(lambda: made.xmpp.joined >= scenario.rooms, START_S)
    turn = iter(range(1 << 62))

    def say_matrix(room: int, body: str) -> None:
        made.homeserver.says(rooms[room], members[next(turn) % 10], body)

    return say_matrix, lambda room, body: made.xmpp.says(jids[room], JULIET, body)


async def _muc(made: Bench, scenario: Scenario, *, null: bool) -> tuple[Say, Say]:
    room = f"!{ALIAS[1:].partition(':')[0]}:{NAME}"
    members = [f"@member{number}:{NAME}" for number in range(scenario.puppets)]
    if not null:
        await asyncio.to_thread(_ask_alias, made.homeserver)
        for member in members:
            made.homeserver.joins(room, member)
        for member in members:
            made.homeserver.says(room, member, "hello")
    begun, cpu = time.perf_counter(), made.meter.cpu_s()
    await _eventually(
        lambda: len(made.xmpp.bridge_occupants) >= scenario.puppets, START_S * 10
    )
    spent = (made.meter.cpu_s() - cpu) * 1000 / scenario.puppets
    elapsed = time.perf_counter() - begun
    print(f"  {scenario.puppets} puppets in {elapsed:.1f} s, {spent:.2f} CPU-ms each")
    turn = iter(range(1 << 62))

    def say_matrix(_: int, body: str) -> None:
        made.homeserver.says(room, members[next(turn) % len(members)], body)

    assert MUC
    return say_matrix, lambda _, body: made.xmpp.muc_says("tom", body)


def _ask_alias(homeserver: FakeHomeserver) -> None:
    host, port = homeserver.bridge
    url = f"http://{host}:{port}/_matrix/app/v1/rooms/{quote(ALIAS, safe='')}"
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {homeserver.hs_token}"}
    )
    with urllib.request.urlopen(request, timeout=START_S):  # noqa: S310 - loopback
        pass


def show(scenario: Scenario, ours: Sequence[Figures], null: Sequence[Figures]) -> None:
    """Print a scenario's rows, the null bridge's beside them."""
    print(f"\n{scenario.name}")
    print(
        "  phase            msg/s (null, share)      p50 / p99 ms    CPU ms/msg"
        "    RSS MB  lost doubled inverted"
    )
    for row, limit in zip(ours, null, strict=True):
        print(
            f"  {row.phase:<12}{row.per_s:>10,.0f} ({limit.per_s:,.0f},"
            f" {row.per_s / limit.per_s:.2f})  {row.p50_ms:>8.2f} / {row.p99_ms:<8.2f}"
            f"{row.cpu_ms:>8.3f} ({limit.cpu_ms:.3f}){row.rss_mb:>7.0f}"
            f"{row.lost:>6}{row.doubled:>8}{row.inverted:>9}"
        )


def main() -> None:
    """Measure what was asked for; exit 1 if a message was lost, doubled or inverted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--only", help="scenarios whose name begins with this")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parsed = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    faults = 0
    history = []
    for scenario in SCENARIOS:
        if parsed.only and not scenario.name.startswith(parsed.only):
            continue
        null = uvloop.run(measure(scenario, null=True, quick=parsed.quick))
        ours = uvloop.run(measure(scenario, null=False, quick=parsed.quick))
        show(scenario, ours, null)
        faults += sum(row.lost + row.doubled + row.inverted for row in ours)
        for kind, rows in (("bridge", ours), ("null", null)):
            history += [
                {"scenario": scenario.name, "what": kind} | asdict(r) for r in rows
            ]
    if parsed.json:
        parsed.json.write_text(json.dumps(history, indent=1), encoding="utf-8")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"tests/bench/run: {error}")
