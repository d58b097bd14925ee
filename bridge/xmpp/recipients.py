"""Seals what is said in a room for all who belong to it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import EndToEnd, Passage, Sealed, Unsealable

NAMED_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Lacking:
    """It can be sealed for nobody; *words* say who cannot read it, and why.

    All of *jids* are there, and each is to read it; *passing* says that trying again
    soon is worth it. Or else all who belong are *away*: nothing is held up for them,
    but one of them who could read it is enough.
    """

    words: str
    jids: tuple[str, ...] = ()
    passing: bool = False
    away: bool = False


async def seal_for_all(
    endtoend: EndToEnd,
    content: Sequence[Node],
    passage: Passage,
    people: tuple[Sequence[str], Collection[str]],
    unit: Unit,
) -> Sealed | Lacking | None:
    """Seal *content* for *people*: all who belong, and which of them are present.

    None if nobody belongs, so that nobody misses it. Members who are away and have no
    device that can read it hold up nobody else; of those who are there, all can read
    it or none.
    """
    recipients, present = list(people[0]), set(people[1])
    away: list[Unsealable] = []
    while recipients:
        made = await endtoend.encrypt(content, passage, recipients, unit)
        if isinstance(made, Sealed):
            return made
        missing = set(made.jids)
        if not missing or missing & present or missing.isdisjoint(recipients):
            there = tuple(sorted(missing & present))
            return Lacking(_in_words(made.words, there), there, made.passing)
        away.append(made)
        recipients = [one for one in recipients if one not in missing]
    return _all_away(away) if away else None


def _all_away(made: Sequence[Unsealable]) -> Lacking:
    jids: dict[str, set[str]] = {}
    for one in made:
        jids.setdefault(one.words, set()).update(one.jids)
    words = "; ".join(_in_words(why, sorted(whose)) for why, whose in jids.items())
    everybody = tuple(sorted(set().union(*jids.values())))
    return Lacking(words, everybody, away=True)


def _in_words(why: str, jids: Sequence[str]) -> str:
    if not jids:
        return why
    more = len(jids) - NAMED_MAX
    rest = f" and {more} more" if more > 0 else ""
    return f"{', '.join(jids[:NAMED_MAX])}{rest}: {why}"
