"""Who belongs to a MUC elsewhere in which people encrypt (XEP-0045 §9.5).

Only a room that shows who its occupants are, and lets in none but its members, can be
encrypted: clients do so for everybody who belongs to it, there or not.
"""

import logging

from bridge.xmpp.codec.xml import node
from bridge.xmpp.component import IqError
from bridge.xmpp.means import Means

logger = logging.getLogger(__name__)

ASK_S = 15.0
MEMBERS_MAX = 500

_ADMIN = "http://jabber.org/protocol/muc#admin"
_BELONGING = ("owner", "admin", "member")


class Members:
    """The members of one MUC; *known* says that the room has told who they are."""

    def __init__(self, muc: str, means: Means) -> None:
        self.known = False
        self._muc = muc
        self._means = means
        self._jids: dict[str, None] = {}

    def others(self) -> list[str]:
        """List all who are not of ours."""
        own = "@" + self._means.domain
        found = (jid for jid in self._jids if not jid.endswith(own))
        return [jid for jid in found if "@" in jid]

    async def ask(self) -> None:
        """Ask the room, which tells members only."""
        found: dict[str, None] = {}
        self.known = False
        try:
            for affiliation in _BELONGING:
                found.update(dict.fromkeys(await self._listed(affiliation)))
        except (IqError, TimeoutError, ConnectionError) as error:
            logger.info("%s: its members are not told: %s", self._muc, error)
            return
        self._jids = {**dict(list(found.items())[:MEMBERS_MAX])}
        self.known = True

    def told(self, jid: str, affiliation: str) -> None:
        """Take note of how somebody stands now."""
        if not jid:
            return
        if affiliation in _BELONGING:
            if len(self._jids) < MEMBERS_MAX:
                self._jids[jid] = None
        else:
            self._jids.pop(jid, None)

    async def _listed(self, affiliation: str) -> list[str]:
        asked = node("item", {"affiliation": affiliation})
        query = node("query", {"xmlns": _ADMIN}, asked)
        answer = await self._means.stream.iq(
            "get", self._muc, self._means.listener, query, ASK_S
        )
        items = answer.iterfind(f"{{{_ADMIN}}}query/{{{_ADMIN}}}item")
        return [item.get("jid", "").partition("/")[0] for item in items]
