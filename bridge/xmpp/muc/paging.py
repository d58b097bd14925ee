"""Which page of an archive somebody asks for (XEP-0313 §4, XEP-0059)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.xml import Node, node
from bridge.xmpp.muc import refusals
from bridge.xmpp.muc.contents import Contents, Entry
from bridge.xmpp.muc.history import moment
from bridge.xmpp.muc.refusals import Fault
from bridge.xmpp.muc.stanza import child

MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
FORM = "jabber:x:data"
PAGE_MAX = 100
ID_CHARS_MAX = 1000

FIELDS = {
    "with": "jid-single",
    "start": "text-single",
    "end": "text-single",
    "before-id": "text-single",
    "after-id": "text-single",
    "ids": "list-multi",
}
_EVER_MS = 1 << 62
_NONSENSE = Fault("modify", "bad-request", "")
_UNHEARD_OF = Fault("cancel", "feature-not-implemented", "no such field")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query: what may be found, and which page of it.

    *queryid* comes back with each result. The page ends *before*, or begins *after*,
    a message; with *backwards* it is the last one of what may be found.
    """

    queryid: str = ""
    start_ms: int = -_EVER_MS
    end_ms: int = _EVER_MS
    after_id: str = ""
    before_id: str = ""
    ids: frozenset[str] = frozenset()
    after: str = ""
    before: str = ""
    backwards: bool = False
    most: int = PAGE_MAX
    flipped: bool = False

    @classmethod
    def of(cls, query: Element) -> Self | Fault:
        """Read a ``<query/>``.

        *with* is allowed and says nothing: whoever reads a room reads all of it.
        """
        fields = _fields(query)
        if query.get("node"):
            return refusals.NOT_FOUND
        if not fields.keys() <= FIELDS.keys():
            return _UNHEARD_OF
        start_ms = _moment(fields, "start", -_EVER_MS)
        end_ms = _moment(fields, "end", _EVER_MS)
        queryid = query.get("queryid", "")
        if start_ms is None or end_ms is None or len(queryid) > ID_CHARS_MAX:
            return _NONSENSE
        page = child(query, RSM, "set")
        before = _text(page, "before")
        return cls(
            queryid,
            start_ms,
            end_ms,
            _first(fields, "after-id"),
            _first(fields, "before-id"),
            frozenset(fields.get("ids", ())),
            _text(page, "after") or "",
            before or "",
            before is not None,
            _most(_text(page, "max")),
            child(query, MAM, "flip-page") is not None,
        )


class Page(NamedTuple):
    """A page, oldest first; *place* is where it begins among all *total* found.

    It is *complete* if nothing follows it in the direction of reading.
    """

    entries: Sequence[Entry]
    place: int
    total: int
    complete: bool


def page(contents: Contents, asked: Asked) -> Page | None:
    """Find the page; None if it is to begin or end at what is not there."""
    known = _known(contents, (asked.after_id, asked.before_id, *asked.ids))
    bounds = _known(contents, (asked.after, asked.before))
    if known is None or bounds is None:
        return None
    low, high = known.get(asked.after_id, -1), known.get(asked.before_id, _EVER_MS)
    found = [
        entry
        for entry in contents.entries()
        if low < entry.number < high
        and asked.start_ms <= entry.at_ms <= asked.end_ms
        and (not asked.ids or entry.name in asked.ids)
    ]
    low, high = bounds.get(asked.after, -1), bounds.get(asked.before, _EVER_MS)
    rest = [entry for entry in found if low < entry.number < high]
    cut = max(0, len(rest) - asked.most) if asked.backwards else 0
    shown = rest[cut : cut + asked.most]
    place = sum(entry.number < shown[0].number for entry in found) if shown else 0
    return Page(shown, place, len(found), len(shown) == len(rest))


def fin(page: Page) -> Node:
    """Tell which page was shown (XEP-0313 §4.3)."""
    inside = [node("count", None, str(page.total))]
    if page.entries:
        first, last = page.entries[0].name, page.entries[-1].name
        inside[:0] = [
            node("first", {"index": str(page.place)}, first),
            node("last", None, last),
        ]
    about = {"xmlns": MAM, "complete": "true" if page.complete else ""}
    return node("fin", about, node("set", {"xmlns": RSM}, *inside))


def form() -> Node:
    """List what can be asked for (XEP-0313 §4.1.5)."""
    space = "http://jabber.org/protocol/xdata-validate"
    about = {"xmlns": space, "datatype": "xs:string"}
    opened = (node("validate", about, node("open")),)
    name = node("value", None, MAM)
    fields = [
        node("field", {"var": name, "type": kind}, *(opened if name == "ids" else ()))
        for name, kind in FIELDS.items()
    ]
    kind = node("field", {"var": "FORM_TYPE", "type": "hidden"}, name)
    asked = node("x", {"xmlns": FORM, "type": "form"}, kind, *fields)
    return node("query", {"xmlns": MAM}, asked)


def _known(contents: Contents, names: Iterable[str]) -> dict[str, int] | None:
    """Find the numbers of those *names* that are given; None if one is not there."""
    numbers: dict[str, int] = {}
    for name in names:
        entry = contents.find(name)
        if entry is not None:
            numbers[name] = entry.number
        elif name:
            return None
    return numbers


def _fields(query: Element) -> dict[str, list[str]]:
    submitted = child(query, FORM, "x")
    if submitted is None:
        return {}
    return {
        field.get("var", ""): [v.text or "" for v in field.iterfind(f"{{{FORM}}}value")]
        for field in submitted.iterfind(f"{{{FORM}}}field")
        if field.get("var") != "FORM_TYPE"
    }


def _first(fields: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(fields.get(name, ())), "")


def _moment(
    fields: Mapping[str, Sequence[str]], name: str, otherwise: int
) -> int | None:
    given = _first(fields, name)
    return moment(given) if given else otherwise


def _text(page: Element | None, name: str) -> str | None:
    """Return what stands in a child of *page*; None if there is no such child."""
    found = None if page is None else child(page, RSM, name)
    return None if found is None else (found.text or "")


def _most(given: str | None) -> int:
    if given is None or not (given.isascii() and given.isdigit()):
        return PAGE_MAX
    return min(int(given[:9]), PAGE_MAX)
