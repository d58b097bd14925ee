"""The bridge's own user: joins where it is invited, and speaks for the bridge."""

import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus

from bridge.matrix.client import Homeserver, HomeserverDownError, MatrixError, join
from bridge.matrix.codec import names
from bridge.matrix.codec.message import HOPS
from bridge.matrix.ghosts import Ghosts
from bridge.matrix.patience import patiently
from bridge.matrix.presences import Presences
from bridge.matrix.views import About, Place, Views
from bridge.matrix.wires import Says, content, wire
from bridge.model.delivery import Refusal, Wire
from bridge.model.events import HOPS_MAX

logger = logging.getLogger(__name__)

NAME = "XMPP bridge"
MEMBERS_MAX = 5_000
WORDS_MAX = 8_000
PATIENCE_S = 300.0

HELLO = (
    "Hello! I connect Matrix with XMPP.\n"
    "To write to somebody on XMPP, start a chat with their ghost here:"
    " juliet@capulet.lit is {ghost}\n"
    "To join a room (MUC) on XMPP, join {alias}\n"
    "To link this room with a MUC, or for more: !xmpp help"
)


class Bot:
    """The user of ours that people can talk to.

    *agent* tells who of ours is in a room for sure, and speaks there. *admits* tells
    whether somebody may invite the bot just now. Rooms with more than *members_max*
    people are not entered; 0 sets no limit.
    """

    def __init__(  # noqa: PLR0913 - it acts in every way a user can
        self,
        *,
        mxid: str,
        homeserver: Homeserver,
        ghosts: Ghosts,
        presences: Presences,
        views: Views,
        agent: Callable[[str], str],
        admits: Callable[[str], bool],
        members_max: int = MEMBERS_MAX,
    ) -> None:
        self.mxid = mxid
        self._homeserver = homeserver
        self._ghosts = ghosts
        self._presences = presences
        self._views = views
        self.agent = agent
        self._admits = admits
        self._members_max = members_max

    async def ensure(self) -> None:
        """Have the bot registered."""
        await self._ghosts.ensure(self.mxid, "", NAME)

    async def join(self, place: Place) -> None:
        """Let the bot into a room, or raise ``MatrixError``; it may be there."""
        await self.ensure()
        # Servers knew this by the first name until spec 1.12, and by the second since.
        query = {k: place.via[0] for k in ("server_name", "via") if place.via}
        path = join("join", place.alias or place.room)
        answer = await self._homeserver.request(
            "POST", path, user=self.mxid, query=query, body={}
        )
        if answer.get("room_id") != place.room:
            raise MatrixError(HTTPStatus.NOT_FOUND, "M_NOT_FOUND", "the alias moved")
        await self._presences.note(place.room, self.mxid, "")

    async def leave(self, room: str) -> None:
        """Let the bot out of a room, or decline an invitation."""
        await self._presences.forget(room, self.mxid)
        path = join("rooms", room, "leave")
        await self._homeserver.request("POST", path, user=self.mxid, body={})

    def objection(self, about: About) -> Refusal | None:
        """Say why nobody of ours should enter such a room."""
        if self.too_large(about):
            return Refusal.TOO_LARGE
        return None

    def too_large(self, about: About | None) -> bool:
        """Tell whether too many people are in a room."""
        return about is not None and 0 < self._members_max < about.size

    async def invited(self, room: str, sender: str) -> bool:
        """Come into *room*, or decline; tell whether the bot is in it now."""
        server = sender.partition(":")[2]
        place = Place(room, (server,) if server else ())
        admitted = self._admits(sender)
        try:
            return await patiently(lambda: self._accept(place, admitted), PATIENCE_S)
        except (MatrixError, HomeserverDownError) as error:
            logger.info("room %s: the bot cannot come in: %s", room, error)
            return False

    async def is_encrypted(self, room: str) -> bool:
        """Tell whether *room*, which the bot is in, is encrypted."""
        try:
            about = await self._views.inside(room, self.mxid)
        except (MatrixError, HomeserverDownError):
            return False  # the event that made it so will tell
        return about.encrypted

    def hello(self, room: str) -> Sequence[Wire]:
        """Say who the bot is, and what it is good for."""
        server = self._homeserver.server_name
        ghost = names.ghost_mxid("juliet@capulet.lit", server)
        alias = names.muc_alias("room@muc.example.org", server)
        return self.notice(room, HELLO.format(ghost=ghost, alias=alias))

    def notice(self, room: str, words: str, to: str = "") -> Sequence[Wire]:
        """Say *words* in *room*, as a reply if *to* is an event."""
        said: dict[str, object] = {
            "msgtype": "m.notice",
            "body": words[:WORDS_MAX],
            "m.mentions": {},
            HOPS: HOPS_MAX,  # what a bridge says of itself crosses no other
        }
        if to:
            said["m.relates_to"] = {"m.in_reply_to": {"event_id": to}}
        return [wire(Says(self.agent(room), room, content(said), own=True))]

    async def _accept(self, place: Place, admitted: object) -> bool:
        await self.ensure()
        about = await self._views.outside(place, self.mxid) if admitted else None
        if not admitted or self.too_large(about):
            logger.info("room %s: the bot declines", place.room)
            await self.leave(place.room)
            return False
        await self.join(place)
        return True
