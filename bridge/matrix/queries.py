"""What the homeserver and its users may ask of us: who exists, and what is where.

Application Service API, "Querying" and "Third-party networks".
"""

from collections.abc import Mapping
from typing import Any, Protocol

from bridge.matrix.codec.names import (
    ghost_mxid,
    muc_alias,
    muc_of,
    person_of,
    valid_mxid,
)

PROTOCOL = "xmpp"
_USER, _ROOM = "jid", "room"


class Queries(Protocol):
    """Makes what is asked for, if it can exist, before it answers."""

    async def user(self, mxid: str) -> bool:
        """Tell whether there is such a user of ours; if so, it is registered now."""

    async def alias(self, alias: str) -> bool:
        """Tell whether there is such a room of ours; if so, it is made now."""


class Addresses(Protocol):
    """What the XMPP side knows of its addresses; empty where there is none."""

    def canonical(self, address: str) -> str:
        """Return the bare address that somebody wrote, as it is compared."""

    def stands_for(self, address: str) -> str:
        """Return the MXID or alias for which a canonical address of ours stands."""

    def of(self, name: str) -> str:
        """Return the address of ours that stands for an MXID or an alias."""


class ThirdParty:
    """Answers look-ups of XMPP names on the homeserver *server*, by names alone."""

    def __init__(self, server: str, addresses: Addresses) -> None:
        self._server = server
        self._addresses = addresses

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
        """Find the ghost of a JID, or whose puppet it is."""
        jid = self._addresses.canonical(query.get(_USER, ""))
        if not jid:
            return []
        mxid = self._addresses.stands_for(jid) or ghost_mxid(jid, self._server)
        return _user(mxid, jid) if mxid.startswith("@") else []

    def locations(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the alias of a MUC."""
        muc = self._addresses.canonical(query.get(_ROOM, ""))
        if "@" not in muc:
            return []
        alias = self._addresses.stands_for(muc) or muc_alias(muc, self._server)
        return _location(alias, muc) if alias.startswith("#") else []

    def users_of(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the JID of a Matrix user."""
        mxid = query.get("userid", "")
        if not valid_mxid(mxid):
            return []
        return _user(mxid, person_of(mxid, self._server) or self._addresses.of(mxid))

    def locations_of(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """Find the MUC that an alias leads to, or as which its room is seen."""
        alias = query.get("alias", "")
        if not alias.startswith("#"):
            return []
        muc = self._addresses.canonical(muc_of(alias, self._server) or "")
        return _location(alias, muc or self._addresses.of(alias))


def _user(mxid: str, jid: str) -> list[Mapping[str, Any]]:
    if not mxid or not jid:
        return []
    return [{"userid": mxid, "protocol": PROTOCOL, "fields": {_USER: jid}}]


def _location(alias: str, muc: str) -> list[Mapping[str, Any]]:
    if not alias or not muc:
        return []
    return [{"alias": alias, "protocol": PROTOCOL, "fields": {_ROOM: muc}}]
