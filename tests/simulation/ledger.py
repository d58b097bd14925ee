"""Who said what, and what reached whom: kept outside of the bridge, judged at the end.

Each message is told from all others by its words. What becomes of it is in its words
too: *forbidden* and *poison* are refused over there, *unreadable* and *unwritable* by
the bridge, *long* goes over in two parts. All others have to arrive.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

REFUSED = ("forbidden", "poison", "unreadable", "unwritable")


@dataclass
class Ledger:
    """What was said, by conversation and direction, in order; and all that is wrong."""

    said: dict[str, list[str]] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def says(self, way: str, words: str) -> None:
        """Take note that somebody said *words*, and that it was accepted."""
        self.said.setdefault(way, []).append(words)

    def forgotten(self, words: set[str]) -> None:
        """Take note of what a homeserver forgot to push: it may come late."""
        self.late |= words

    def judge(
        self,
        way: str,
        heard: Sequence[str],
        *,
        twice_max: int = 0,
        in_order: bool = True,
    ) -> None:
        """Compare what was said on *way* with what was heard at its end."""
        said = self.said.get(way, [])
        wanted = [part for words in said for part in parts_of(words)]
        times = Counter(heard)
        lost = [words for words in wanted if words not in times]
        again = {words: n - 1 for words, n in times.items() if n > 1}
        alien = sorted(set(times) - set(wanted))
        if lost:
            self.wrong.append(f"{way}: lost {lost}")
        if sum(again.values()) > twice_max:
            self.wrong.append(f"{way}: doubled {again}, {twice_max} may be")
        if alien:
            self.wrong.append(f"{way}: heard what must not arrive: {alien}")
        if in_order:
            self._order(way, wanted, list(dict.fromkeys(heard)))

    def judge_reflected(
        self, way: str, shown: Sequence[str], in_matrix: Sequence[str]
    ) -> None:
        """See that what was said is shown as Matrix has it, in its order."""
        wanted = dict.fromkeys(words.partition("#")[0] for words in in_matrix)
        if list(shown) != [words for words in wanted if "x2m" in words]:
            self.wrong.append(f"{way}: shown {list(shown)}, in Matrix {list(wanted)}")

    def told(
        self,
        way: str,
        told: Iterable[str],
        *,
        again_max: int = 0,
        may_miss: bool = False,
    ) -> None:
        """Compare what was refused on *way* with what senders were told."""
        wanted = Counter(w for w in self.said.get(way, []) if is_refused(w))
        times = Counter(told)
        for words in wanted.keys() | times.keys():
            least = 0 if may_miss and "forbidden" in words else wanted[words]
            if not least <= times[words] <= wanted[words] * (1 + again_max):
                self.wrong.append(
                    f"{way}: told {times[words]} times that {words!r} did not cross,"
                    f" instead of {wanted[words]}"
                )

    def _order(self, way: str, wanted: Sequence[str], heard: Sequence[str]) -> None:
        places = {words: place for place, words in enumerate(wanted)}
        last = -1
        for words in heard:
            if words in self.late or words.partition("#")[0] in self.late:
                continue
            place = places.get(words, last)
            if place < last:
                self.wrong.append(f"{way}: {words!r} came after {wanted[last]!r}")
                return
            last = place


def is_refused(words: str) -> bool:
    """Tell whether *words* must not arrive."""
    return any(fate in words for fate in REFUSED)


def parts_of(words: str) -> list[str]:
    """List what has to arrive of *words*."""
    if is_refused(words):
        return []
    return [f"{words}#1", f"{words}#2"] if "long" in words else [words]
