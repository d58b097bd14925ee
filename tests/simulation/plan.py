"""What a seed means: who says what when, and which faults come when."""

from dataclasses import dataclass, field

from tests.simulation.dice import Dice
from tests.simulation.homeserver import Moods
from tests.simulation.store import Weather

LOAD_S = 40.0
FAULTS = (
    "crash",
    "crash",
    "crash",
    "freeze",
    "stop",
    "cut",
    "xmpp restart",
    "homeserver restart",
    "homeserver restart",
    "database away",
    "kick",
    "kick listener",
)
LISTENER_GONE = ("crash", "cut", "stop", "xmpp restart", "kick listener")
WAYS = (
    "dm1 m2x",
    "dm1 x2m",
    "dm2 m2x",
    "dm2 x2m",
    "dm3 m2x",
    "dm3 m2x",
    "tea m2x",
    "tea x2m",
    "hosted m2x",
    "hosted x2m",
)
FATES = ("forbidden", "poison", "unreadable", "unwritable", "long")


@dataclass
class Plan:
    """The whole of a run, drawn from a seed before it starts."""

    moods: Moods = field(default_factory=Moods)
    weather: Weather = field(default_factory=Weather)
    lanes: tuple[int, int] = (2000, 64)
    ring: bool = True
    latency_s: float = 0.005
    plain_percent: int = 0
    said: list[tuple[float, str, str]] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)


def plan(dice: Dice) -> Plan:
    """Draw a plan: some seeds are calm, some have a single kind of fault."""
    made = Plan()
    made.moods = _moods(dice)
    made.weather = Weather(
        commit_s=dice.pick((0.0005, 0.003, 0.05)),
        answer_s=dice.pick((0.001, 0.02)),
        fails=dice.pick((0.0, 0.02, 0.5)),
        doubts=dice.pick((0.0, 0.0, 0.2)),
        falls=dice.pick((0.0, 0.05, 0.2)),
        cuts=dice.pick((0.0, 0.0, 0.01)),
        page_max=dice.pick((2, 500)),
    )
    made.lanes = dice.pick(((2000, 64), (2, 2), (3, 3)))
    made.ring = dice.chance(0.5)
    made.latency_s = dice.pick((0.002, 0.005, 0.05))
    _speak(made, dice)
    kinds = FAULTS if dice.chance(0.6) else (dice.pick(FAULTS),)
    for _ in range(dice.whole(0, 7)):
        made.faults.append((dice.span(0.5, LOAD_S), dice.pick(kinds)))
    made.faults.sort()
    _speak_meanwhile(made, dice)
    made.said.sort()
    made.plain_percent = dice.pick((0, 0, 50, 100))
    return made


def _moods(dice: Dice) -> Moods:
    def often(probability: float) -> float:
        return probability if dice.chance(0.3) else 0.0

    return Moods(
        fails=often(0.1),
        loses_answer=often(0.08),
        limits=often(0.1),
        push_lost=often(0.2),
        push_again=often(0.2),
    )


def _speak(made: Plan, dice: Dice) -> None:
    """People speak in bursts."""
    fates = FATES if dice.chance(0.7) else ()
    number = 0
    for _ in range(dice.whole(4, 14)):
        at, way = dice.span(0.0, LOAD_S), dice.pick(WAYS)
        for _ in range(dice.whole(1, 8)):
            number += 1
            words = f"{way} {number}"
            if fates and dice.chance(0.15):
                words = f"{words} {_fit(dice.pick(fates), way)}"
            elif way == "hosted x2m" and dice.chance(0.1):
                words += " joins"
            # Who invites goes on speaking while the ghost is on its way.
            at += dice.pick((0.0, 0.001, 0.05 if way == "dm3 m2x" else 0.3))
            made.said.append((at, way, words.strip()))


def _speak_meanwhile(made: Plan, dice: Dice) -> None:
    """Let the MUC speak while the bridge comes back, and has to catch up."""
    for place, (at, fault) in enumerate(made.faults):
        if fault in LISTENER_GONE and dice.chance(0.5):
            then = at
            for number in range(dice.whole(5, 20)):
                then += dice.pick((0.01, 0.1))
                made.said.append((then, "tea x2m", f"tea x2m {place}/{number}"))


def _fit(fate: str, way: str) -> str:
    """Leave out what nobody can suffer on this way."""
    if fate == "poison" and way.endswith("m2x"):
        return ""
    if fate == "forbidden" and way == "hosted m2x":
        return ""
    return fate
