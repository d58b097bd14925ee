"""Asks for what is new for one device: its to-device messages and the news of keys.

By simplified sliding sync (MSC4186) with no list of rooms and two extensions, which
costs a homeserver next to nothing; by ``/sync`` where that is not known.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from bridge.matrix.client import Homeserver, MatrixError, join
from bridge.matrix.megolm.ports import Feed

logger = logging.getLogger(__name__)

MESSAGES_MAX = 100
ANSWER_S = 30.0

_SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
_NOT_KNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_NOT_RECOGNIZED = "M_UNRECOGNIZED"
_NOTHING = {"not_types": ["*"]}
_FILTER = msgspec.json.encode(
    {"room": {"rooms": []}, "presence": _NOTHING, "account_data": _NOTHING}
).decode()


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a device has read: *pos* of its connection, *since* of its messages.

    *plain* is the token of ``/sync``.
    """

    pos: str = ""
    since: str = ""
    plain: str = ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What is new, and how far a device has read with it; *more* is there already."""

    feed: Feed
    mark: Mark
    more: bool = False


class Pulls:
    """Asks in whichever way the homeserver knows."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._slides = True

    async def pull(
        self, user: str, device: str, mark: Mark, wait_s: float = 0.0
    ) -> Pulled:
        """Return what is new for a device; wait up to *wait_s* for something."""
        if self._slides:
            try:
                return await self._slide(user, device, mark, wait_s)
            except MatrixError as error:
                if not (error.status in _NOT_KNOWN or error.errcode == _NOT_RECOGNIZED):
                    raise
            logger.info("the homeserver knows no sliding sync: keys come by /sync")
            self._slides = False
        return await self._sync(user, device, mark, wait_s)

    async def _slide(self, user: str, device: str, mark: Mark, wait_s: float) -> Pulled:
        messages: dict[str, object] = {"enabled": True, "limit": MESSAGES_MAX}
        if mark.since:
            messages["since"] = mark.since
        query = {"timeout": str(int(wait_s * 1000))}
        answer = await self._homeserver.request(
            "POST",
            _SLIDING,
            user=user,
            device=device,
            query=query | ({"pos": mark.pos} if mark.pos else {}),
            body={
                "conn_id": "keys",
                "lists": {},
                "extensions": {"to_device": messages, "e2ee": {"enabled": True}},
            },
            timeout_s=wait_s + ANSWER_S,
        )
        brought = _inner(answer, "extensions", "to_device")
        events = _objects(brought.get("events"))
        next_mark = Mark(
            _text(answer, "pos"), _text(brought, "next_batch") or mark.since
        )
        e2ee = _inner(answer, "extensions", "e2ee")
        feed = _feed(events, _inner(e2ee, "device_lists"), e2ee, gap=not mark.pos)
        return Pulled(feed, next_mark, more=len(events) >= MESSAGES_MAX)

    async def _sync(self, user: str, device: str, mark: Mark, wait_s: float) -> Pulled:
        query = {
            "filter": _FILTER,
            "set_presence": "offline",
            "timeout": str(int(wait_s * 1000)) if mark.plain else "0",
        }
        answer = await self._homeserver.request(
            "GET",
            join("sync"),
            user=user,
            device=device,
            query=query | ({"since": mark.plain} if mark.plain else {}),
            timeout_s=wait_s + ANSWER_S,
        )
        events = _objects(_inner(answer, "to_device").get("events"))
        lists = _inner(answer, "device_lists")
        feed = _feed(events, lists, answer, gap=not mark.plain)
        next_mark = Mark(plain=_text(answer, "next_batch"))
        return Pulled(feed, next_mark, more=len(events) >= MESSAGES_MAX)


def _feed(
    events: Sequence[Mapping[str, Any]],
    lists: Mapping[str, Any],
    counts: Mapping[str, Any],
    *,
    gap: bool,
) -> Feed:
    left = counts.get("device_one_time_keys_count")
    one_time = left.get("signed_curve25519", 0) if isinstance(left, dict) else None
    unused = counts.get(
        "device_unused_fallback_key_types",
        counts.get("org.matrix.msc2732.device_unused_fallback_key_types"),
    )
    return Feed(
        to_device=events,
        changed=_words(lists.get("changed")),
        left=_words(lists.get("left")),
        one_time=one_time if isinstance(one_time, int) else None,
        fallback="signed_curve25519" in unused if isinstance(unused, list) else None,
        gap=gap,
    )


def _inner(known: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = known.get(key)
        known = value if isinstance(value, dict) else {}
    return known


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [o for o in value if isinstance(o, dict)] if isinstance(value, list) else []


def _words(value: object) -> tuple[str, ...]:
    known = value if isinstance(value, list) else ()
    return tuple(word for word in known if isinstance(word, str))


def _text(known: Mapping[str, Any], key: str) -> str:
    value = known.get(key)
    return value if isinstance(value, str) else ""
