"""Seals what is said in a room for all who belong to it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from bridge.core.ports import Unit
from bridge.xmpp.codec.xml import Node
from bridge.xmpp.endtoend import EndToEnd, Passage, Sealed, Unsealable


async def seal_for_all(
    endtoend: EndToEnd,
    content: Sequence[Node],
    passage: Passage,
    people: tuple[Sequence[str], Collection[str]],
    unit: Unit,
) -> Sealed | Unsealable | None:
    """Seal *content* for *people*: all who belong, and which of them are present.

    None if there is nobody. Members who are away and have no device that can read it
    hold up nobody; of those who are there, all can read it or none.
    """
    recipients, present = list(people[0]), set(people[1])
    while recipients:
        made = await endtoend.encrypt(content, passage, recipients, unit)
        if isinstance(made, Sealed):
            return made
        missing = set(made.jids)
        if not missing or missing & present or missing.isdisjoint(recipients):
            return replace(made, jids=tuple(sorted(missing & present)))
        recipients = [one for one in recipients if one not in missing]
    return None


def in_words(made: Unsealable) -> str:
    """Say who cannot read it, and why."""
    return f"{', '.join(made.jids)}: {made.words}" if made.jids else made.words
