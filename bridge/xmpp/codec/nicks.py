"""Nicks: what somebody of Matrix may be called in a MUC.

A nick is a resource, so RFC 6122 B says what may be in it; servers answer a nick
that breaks it with an error, or with another nick than the one asked for.
"""

import re
import stringprep as tables
from collections.abc import Container, Iterator
from functools import lru_cache
from itertools import count
from unicodedata import category, ucd_3_2_0

from bridge.xmpp.codec.prep import one_direction, permitted, resourceprep

LETTERS_MAX = 64
MARKS_MAX = 3
SUFFIXES = ("[m]", "[m]2", "[m]3")
NOBODY = "guest"

_INPUT_MAX = 1024
_PLAIN = re.compile(r"[!-~](?: ?[!-~]){0,31}").fullmatch
_SPACES = re.compile(r"\s+")
# Letters and symbols by their category, invisible all the same.
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# UTS 39, as far as whole names can be written with it: Cyrillic, then Greek.
_LOOKALIKES = {
    0x430: "a", 0x432: "b", 0x435: "e", 0x43A: "k", 0x43C: "m", 0x43D: "h",
    0x43E: "o", 0x440: "p", 0x441: "c", 0x442: "t", 0x443: "y", 0x445: "x",
    0x455: "s", 0x456: "i", 0x458: "j", 0x4BB: "h", 0x4CF: "l", 0x501: "d",
    0x3B1: "a", 0x3B2: "b", 0x3B5: "e", 0x3B6: "z", 0x3B7: "h", 0x3B9: "i",
    0x3BA: "k", 0x3BC: "m", 0x3BD: "v", 0x3BF: "o", 0x3C1: "p", 0x3C4: "t",
    0x3C5: "u", 0x3C7: "x", 0x131: "i",
}  # fmt: skip


def safe_nick(name: str, fallback: str = "") -> str:
    """Make a nick of *name*, or of *fallback* if nothing of it is left.

    The nick is its own resourceprep, so that every server leaves it as it is.
    """
    return _safe(name) or _safe(fallback) or NOBODY


def unique_nick(nick: str, taken: Container[str]) -> str:
    """Return *nick*, with a suffix if it is taken.

    *taken* holds nicks, or keys of ``same_nick_key``.
    """
    wanted = (nick + suffix for suffix in _suffixes())
    return next(n for n in wanted if n not in taken and same_nick_key(n) not in taken)


def _suffixes() -> Iterator[str]:
    yield from ("", *SUFFIXES)
    yield from (f"[m]{number}" for number in count(len(SUFFIXES) + 1))


@lru_cache(maxsize=8192)
def same_nick_key(nick: str) -> str:
    """Return what two nicks have in common if people would mix them up.

    Case, width, what cannot be seen and letters of other scripts that look alike
    make no difference.
    """
    if nick.isascii():
        return nick.lower()
    prepared = resourceprep(nick) or nick
    seen = "".join(c for c in prepared if c not in _INVISIBLE)
    return ucd_3_2_0.normalize("NFKC", seen.casefold()).translate(_LOOKALIKES)


@lru_cache(maxsize=8192)
def _safe(name: str) -> str:
    if _PLAIN(name):
        return name
    composed = ucd_3_2_0.normalize("NFKC", name[:_INPUT_MAX])
    kept = "".join(" " if c.isspace() else c for c in composed if _may_stand(c))
    text = _turned(_shortened(_SPACES.sub(" ", kept).strip()))
    return text if resourceprep(text) == text else ""


def _may_stand(char: str) -> bool:
    if char.isspace():
        return True
    if char in _INVISIBLE or tables.in_table_a1(char) or tables.in_table_b1(char):
        return False
    return category(char) != "Cf" and (permitted(char) or tables.in_table_d1(char))


def _shortened(text: str) -> str:
    kept: list[str] = []
    letters = marks = 0
    for char in text:
        if category(char) in ("Mn", "Me"):
            marks += 1
        else:
            letters, marks = letters + 1, 0
        if letters > LETTERS_MAX:
            break
        if marks <= MARKS_MAX:
            kept.append(char)
    return "".join(kept).strip()


def _turned(text: str) -> str:
    """Keep what is written in the direction of the first letter (RFC 3454 §6)."""
    if one_direction(text):
        return text
    strong = (c for c in text if tables.in_table_d1(c) or tables.in_table_d2(c))
    if not tables.in_table_d1(next(strong)):
        return _SPACES.sub(
            " ", "".join(c for c in text if not tables.in_table_d1(c))
        ).strip()
    kept = "".join(c for c in text if not tables.in_table_d2(c))
    return kept.strip("".join({c for c in kept if not tables.in_table_d1(c)}))
