"""What the homeserver and its users may ask of us: who exists, and what is where.

Application Service API, "Querying" and "Third-party networks".
"""

from collections.abc import Mapping
from typing import Any, Protocol

PROTOCOL = "xmpp"
_USER, _ROOM = "jid", "room"


class Queries(Protocol):
    """Makes what is asked for, if it can exist, before it answers."""

    async def user(self, mxid: str) -> bool:
        """Tell whether there is such a user of ours; if so, it is registered now."""

    async def alias(self, alias: str) -> bool:
        """Tell whether there is such a room of ours; if so, it is made now."""


class Names(Protocol):
    """The names that one thing has on both networks; empty if it has none there."""

    def ghost(self, jid: str) -> str:
        """Return the MXID of the ghost of a JID."""

    def jid(self, mxid: str) -> str:
        """Return the JID that a Matrix user is, or is reached by."""

    def alias(self, muc: str) -> str:
        """Return the room alias that leads to a MUC."""

    def muc(self, alias: str) -> str:
        """Return the MUC that an alias leads to, or under which its room is."""


class ThirdParty:
    """Answers look-ups of XMPP names, by names alone."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def protocol(self) -> Mapping[str, Any]:
        """Describe XMPP to clients that let people look around."""
        return {
            "user_fields": [_USER],
            "location_fields": [_ROOM],
            "icon": "",
            "field_types": {
                _USER: {
                    "regexp": "([^@/]+@)?[^@/]+",
                    "placeholder": "juliet@capulet.example",
                },
                _ROOM: {
                    "regexp": "[^@/]+@[^@/]+",
                    "placeholder": "orchard@muc.capulet.example",
                },
            },
            "instances": [{"desc": "XMPP", "network_id": PROTOCOL, "fields": {}}],
        }

    def users(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the ghost of a JID."""
        jid = query.get(_USER, "")
        return _user(self._names.ghost(jid) if jid else "", jid)

    def locations(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the alias of a MUC."""
        muc = query.get(_ROOM, "")
        return _location(self._names.alias(muc) if muc else "", muc)

    def users_of(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the JID of a Matrix user."""
        mxid = query.get("userid", "")
        return _user(mxid, self._names.jid(mxid) if mxid else "")

    def locations_of(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the MUC of an alias."""
        alias = query.get("alias", "")
        return _location(alias, self._names.muc(alias) if alias else "")


def _user(mxid: str, jid: str) -> list[Mapping[str, Any]]:
    if not mxid or not jid:
        return []
    return [{"userid": mxid, "protocol": PROTOCOL, "fields": {_USER: jid}}]


def _location(alias: str, muc: str) -> list[Mapping[str, Any]]:
    if not alias or not muc:
        return []
    return [{"alias": alias, "protocol": PROTOCOL, "fields": {_ROOM: muc}}]
