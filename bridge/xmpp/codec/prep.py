"""The three preparations of RFC 6122: of local part, domain and resource.

Done with the tables of the standard library: what a canonical address is must not
depend on whether a library was built with or without its fast half.
"""

import re
import stringprep as tables
from encodings import idna
from ipaddress import AddressValueError, IPv6Address
from unicodedata import ucd_3_2_0

DOMAIN_BYTES_MAX = 255
_INPUT_MAX = 4096

_ASCII_LOCAL = re.compile(r"[!#$%()*+,\-.0-9;=?A-Z\[\\\]^_`a-z{|}~]+").fullmatch
_ASCII_RESOURCE = re.compile(r"[\x20-\x7e]+").fullmatch
_ASCII_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
_DOTS = re.compile("[\u3002\uff0e\uff61]")
# IDNA2003 maps these away although they tell registered domains apart (UTS 46 §7).
_DEVIATIONS = re.compile("([\u00df\u03c2\u200c\u200d])")

_FORBIDDEN = (
    tables.in_table_c12,
    tables.in_table_c21_c22,
    tables.in_table_c3,
    tables.in_table_c4,
    tables.in_table_c5,
    tables.in_table_c6,
    tables.in_table_c7,
    tables.in_table_c8,
    tables.in_table_c9,
)
_NOT_IN_LOCAL = frozenset(" \"&'/:<>@")


def nodeprep(text: str) -> str | None:
    """Make a local part canonical; None if it cannot be one (RFC 6122 A)."""
    if _ASCII_LOCAL(text):
        return text.lower()
    if len(text) > _INPUT_MAX or any(map(tables.in_table_a1, text)):
        return None
    made = "".join(tables.map_table_b2(c) for c in text if not tables.in_table_b1(c))
    made = ucd_3_2_0.normalize("NFKC", made)
    if not _NOT_IN_LOCAL.isdisjoint(made) or not permitted(made):
        return None
    return made


def resourceprep(text: str) -> str | None:
    """Make a resource canonical; None if it cannot be one (RFC 6122 B).

    Code points younger than Unicode 3.2 pass: servers let them pass, and a person
    with an emoji in their nick has to be heard.
    """
    if _ASCII_RESOURCE(text):
        return text
    if len(text) > _INPUT_MAX:
        return None
    made = "".join(c for c in text if not tables.in_table_b1(c))
    made = ucd_3_2_0.normalize("NFKC", made)
    return made if permitted(made) else None


def permitted(text: str) -> bool:
    """Tell whether *text* is not empty, of one direction and has nothing forbidden."""
    if not text or any(table(c) for c in text for table in _FORBIDDEN):
        return False
    return one_direction(text)


def one_direction(text: str) -> bool:
    """Tell whether *text* is written from left to right or from right to left.

    RFC 3454 §6: the latter has to begin and end so, and must not mix.
    """
    if not any(map(tables.in_table_d1, text)):
        return True
    ends = tables.in_table_d1(text[0]) and tables.in_table_d1(text[-1])
    return ends and not any(map(tables.in_table_d2, text))


def a_labels(domain: str) -> str | None:
    """Make a domain canonical: lower case, A-labels, no dot at the end."""
    if domain.startswith("["):
        return _ipv6(domain)
    if len(domain) > _INPUT_MAX:
        return None
    labels = _DOTS.sub(".", domain).removesuffix(".").split(".")
    made = [_a_label(label) for label in labels]
    whole = ".".join(label or "" for label in made)
    return whole if all(made) and len(whole) <= DOMAIN_BYTES_MAX else None


def _a_label(label: str) -> str | None:
    lower = label.lower()
    if not label.isascii():
        try:
            parts = _DEVIATIONS.split(label)
            parts[::2] = map(idna.nameprep, parts[::2])
        except UnicodeError:
            return None
        lower = "".join(parts)
        if not lower.isascii():
            lower = "xn--" + lower.encode("punycode").decode()
    return lower if _ASCII_LABEL(lower) else None


def _ipv6(domain: str) -> str | None:
    if not domain.endswith("]"):
        return None
    try:
        return f"[{IPv6Address(domain[1:-1])}]"
    except AddressValueError:
        return None
