# ruff: noqa: RUF001, RUF003 - it is about letters that look like others
"""Which names people would mix up, whatever they are made of.

A part of Unicode's own table (UTS 39): the letters of other scripts with which whole
names of Latin letters can be written, and the digits that pass for letters.
"""

import unicodedata
from functools import lru_cache

_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Mn", "Me"))
_BLANK = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
_LIKE = {
    # Cyrillic
    "а": "a", "в": "b", "е": "e", "к": "k", "м": "m", "н": "h", "о": "o", "р": "p",
    "с": "c", "т": "t", "у": "y", "х": "x", "ѕ": "s", "і": "i", "ј": "j", "һ": "h",
    "ӏ": "l", "ԁ": "d", "ԛ": "q", "ԝ": "w", "ѵ": "v", "г": "r", "п": "n", "ь": "b",
    # Greek
    "α": "a", "β": "b", "ε": "e", "ζ": "z", "η": "n", "ι": "i", "κ": "k", "μ": "u",
    "ν": "v", "ο": "o", "ρ": "p", "τ": "t", "υ": "u", "χ": "x", "γ": "y", "ω": "w",
    # Armenian, Cherokee, Latin letters of their own
    "օ": "o", "ս": "u", "հ": "h", "ո": "n", "ց": "g", "զ": "q", "ք": "f", "ꭺ": "a",
    "ᴀ": "a", "ʙ": "b", "ᴄ": "c", "ᴅ": "d", "ᴇ": "e", "ɡ": "g", "ɢ": "g", "ʜ": "h",
    "ɪ": "i", "ᴊ": "j", "ᴋ": "k", "ʟ": "l", "ᴍ": "m", "ɴ": "n", "ᴏ": "o", "ᴘ": "p",
    "ʀ": "r", "ꜱ": "s", "ᴛ": "t", "ᴜ": "u", "ᴠ": "v", "ᴡ": "w", "ʏ": "y", "ᴢ": "z",
    "ɑ": "a", "ɩ": "i", "ı": "i", "ø": "o", "đ": "d", "ħ": "h", "ł": "l", "ŧ": "t",
    # digits and strokes
    "0": "o", "1": "l", "|": "l", "i": "l", "ǀ": "l", "∣": "l", "5": "s", "$": "s",
}  # fmt: skip
_TABLE = {ord(one): other for one, other in _LIKE.items()}
# What a letter became may itself be alike another: "і" is "i", which is like "l".
_TABLE |= {ord(one): _LIKE.get(other, other) for one, other in _LIKE.items()}


@lru_cache(maxsize=16_384)
def skeleton(name: str) -> str:
    """Return what names that look alike have in common."""
    text = name.casefold()
    if not text.isascii():
        seen = unicodedata.normalize("NFKD", text).casefold()
        text = "".join(
            c
            for c in seen
            if c not in _BLANK and unicodedata.category(c) not in _UNSEEN
        )
    alike = text.translate(_TABLE).replace("rn", "m").replace("vv", "w")
    return "".join(alike.split())
