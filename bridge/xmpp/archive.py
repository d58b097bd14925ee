"""Reads on in the archive of a MUC where the bridge had stopped (XEP-0313, XEP-0059).

A MUC service may be hostile: it never gets more of our time than the limits here.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.etree.ElementTree import Element

from bridge.xmpp.codec.peek import sent_at
from bridge.xmpp.codec.xml import Child, Node, node
from bridge.xmpp.component import IqError
from bridge.xmpp.means import Means

logger = logging.getLogger(__name__)

PAGE = 50
TOTAL_MAX = 10_000
TIMEOUT_S = 30.0

_MAM = "urn:xmpp:mam:2"
_RSM = "http://jabber.org/protocol/rsm"
_FORWARDED = "{urn:xmpp:forward:0}forwarded"
_STREAM = "{jabber:component:accept}"
_CLIENT = "{jabber:client}"


class TooMuchError(Exception):
    """More was said than is read again."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A message of the archive, and its name and time there."""

    stanza_id: str
    at: datetime | None
    message: Element


class Archive:
    """The archive of one MUC, asked one question at a time."""

    def __init__(self, muc: str, means: Means) -> None:
        self._muc = muc
        self._means = means
        self._query = ""
        self._page: list[Archived] = []

    def received(self, result: Element) -> None:
        """Take a result; it counts only as part of the answer that we wait for."""
        if not self._query or result.get("queryid") != self._query:
            logger.debug("%s: an archived message that nobody asked for", self._muc)
            return
        archived = _archived(result)
        if archived is not None and len(self._page) < PAGE:
            self._page.append(archived)

    async def newest(self) -> str:
        """Name the newest message of the archive; empty if there is none.

        Raises what the stream raises.
        """
        last, _ = await self._ask((), "before", "", 1)
        page, self._page = self._page, []
        return last or (page[-1].stanza_id if page else "")

    async def after(self, cursor: str, stamp: str) -> AsyncIterator[Sequence[Archived]]:
        """Read what came after *cursor*, or after *stamp* if it is not known there.

        Raises what the stream raises, and ``TooMuchError`` if there is no end.
        """
        total = 0
        start = () if cursor else _since(stamp)
        while total < TOTAL_MAX:
            try:
                last, complete = await self._ask(start, "after", cursor, PAGE)
            except IqError as error:
                if error.condition != "item-not-found" or start or not stamp:
                    raise
                # XEP-0313 §4.1.2: the archive has forgotten the message since.
                start, cursor = _since(stamp), ""
                continue
            page, self._page = self._page, []
            total += len(page)
            if page:
                yield page
            last = last or (page[-1].stanza_id if page else "")
            if complete or not page or last == cursor:
                return
            cursor = last
        raise TooMuchError

    async def _ask(
        self, start: Sequence[Node], direction: str, place: str, count: int
    ) -> tuple[str, bool]:
        """Fetch a page; return the name of its last message, and if it is the last."""
        self._query, self._page = secrets.token_hex(8), []
        rsm: list[Child] = [node("max", None, str(count))]
        if place or direction == "before":
            rsm.append(Node(direction, {}, (place,) if place else ()))
        query = node(
            "query",
            {"xmlns": _MAM, "queryid": self._query},
            *start,
            node("set", {"xmlns": _RSM}, *rsm),
        )
        means = self._means
        try:
            answer = await means.stream.iq(
                "set", self._muc, means.listener, query, TIMEOUT_S
            )
        finally:
            self._query = ""
        fin = answer.find(f"{{{_MAM}}}fin")
        if fin is None:
            return "", True
        last = fin.findtext(f"{{{_RSM}}}set/{{{_RSM}}}last") or ""
        return last, fin.get("complete") in ("true", "1")


def _since(stamp: str) -> tuple[Node, ...]:
    if not stamp:
        return ()
    return (
        node(
            "x",
            {"xmlns": "jabber:x:data", "type": "submit"},
            _field("FORM_TYPE", _MAM),
            _field("start", stamp),
        ),
    )


def _field(name: str, value: str) -> Node:
    return node("field", {"var": name}, node("value", None, value))


def _archived(result: Element) -> Archived | None:
    forwarded = result.find(_FORWARDED)
    if forwarded is None:
        return None
    message = next((part for part in forwarded if part.tag.endswith("}message")), None)
    if message is None:
        return None
    for element in (message, *message):
        if element.tag.startswith(_CLIENT):
            element.tag = _STREAM + element.tag.removeprefix(_CLIENT)
    return Archived(result.get("id", ""), sent_at(forwarded), message)
