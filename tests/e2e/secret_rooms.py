"""People on XMPP who encrypt in rooms; see ``omemo_room_client``."""

import json
import secrets
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from typing_extensions import override

from deploy.lab.heard import PATIENCE_S, Heard
from deploy.lab.stanzas import DISCO_INFO, MUC_ADMIN, MUC_OWNER, tag
from deploy.lab.world import World
from deploy.lab.xmpp_people import Cast, XmppPerson
from tests.e2e.nio_people import NioPerson
from tests.e2e.secret_people import DATA, LEGACY, SecretPerson

PROGRAM = "tests.e2e.omemo_room_client"
CONFERENCE = "{jabber:x:conference}x"


class RoomPerson(SecretPerson):
    """Somebody who encrypts in rooms as well."""

    async def members(self, room: str) -> list[str]:
        """Ask for whom to encrypt, as clients do."""
        found: list[str] = []
        for affiliation in ("owner", "admin", "member"):
            query = Element("query", {"xmlns": MUC_ADMIN})
            SubElement(query, "item", {"affiliation": affiliation})
            answer = await self.asks(room, query)
            assert answer.get("type") == "result", affiliation
            items = answer.iter(tag("item", MUC_ADMIN))
            found.extend(item.get("jid", "") for item in items)
        return found

    async def features(self, room: str) -> set[str]:
        """Ask what *room* is."""
        answer = await self.asks(room, Element("query", {"xmlns": DISCO_INFO}))
        return {one.get("var", "") for one in answer.iter(tag("feature", DISCO_INFO))}

    async def seals_in(self, room: str, text: str) -> str:
        """Say *text* in a room, encrypted for its members; return the id."""
        number = secrets.token_hex(6)
        members = await self.members(room)
        await self._cast.order(
            self.full, "seal in", to=room, text=text, id=number, members=members
        )
        return number

    async def opens_in(
        self, text: str, nick: str, room: str, version: str = LEGACY
    ) -> Heard:
        """Expect *text* as the next message of a room, encrypted."""
        return await self._opened(text, nick, room, version, PATIENCE_S)

    def unopened_in(self, room: str) -> list[str]:
        """List what was said in *room* and could not be read.

        Of what only moves sessions on nobody misses anything.
        """
        return [one for one in self.unopened if json.loads(one)["from"] == room]

    async def closes(self, muc: str, *members: str) -> None:
        """Let only *members* into a MUC, and let them know each other."""
        query = Element("query", {"xmlns": MUC_OWNER})
        form = SubElement(query, "x", {"xmlns": DATA, "type": "submit"})
        fields = {
            "FORM_TYPE": "http://jabber.org/protocol/muc#roomconfig",
            "muc#roomconfig_membersonly": "1",
            "muc#roomconfig_whois": "anyone",
            "muc#roomconfig_persistentroom": "1",
        }
        for name, value in fields.items():
            field = SubElement(form, "field", {"var": name})
            SubElement(field, "value").text = value
        answer = await self.asks(muc, query, "set")
        assert answer.get("type") == "result"
        await self.admits(muc, members)

    async def admits(self, muc: str, members: Iterable[str]) -> None:
        """Make *members* members of a MUC."""
        for member in members:
            query = Element("query", {"xmlns": MUC_ADMIN})
            SubElement(query, "item", {"affiliation": "member", "jid": member})
            answer = await self.asks(muc, query, "set")
            assert answer.get("type") == "result"

    @override
    def _take_opened(self, told: dict[str, str]) -> None:
        if "nick" not in told:
            super()._take_opened(told)
        elif told["text"] is None:
            self.empty += 1
        else:
            room, version = told["from"], told["version"]
            self._ears.put(Heard(room, told["nick"], told["text"], told["id"], version))


async def asked_into(person: XmppPerson) -> str:
    """Wait until *person* is invited; return the room."""

    def find() -> str | None:
        invitations = (stanza.find(CONFERENCE) for stanza in person.all)
        found = (one.get("jid") for one in invitations if one is not None)
        return next(found, None)

    return await person.until(find, "an invitation")


class Company:
    """Brings in people who encrypt, on both networks."""

    def __init__(self, world: World, folder: Path, ends: AsyncExitStack) -> None:
        self._world = world
        self._folder = folder
        self._ends = ends
        self._cast: Cast | None = None

    async def without_omemo(self, name: str) -> XmppPerson:
        """Return somebody of XMPP whose client has no OMEMO."""
        cast = Cast(self._world.python, self._world.xmpp)
        await self._ends.enter_async_context(cast)
        return await cast.person(name)

    async def on_matrix(self, name: str) -> NioPerson:
        """Return somebody of Matrix."""
        localpart = f"{name}-{secrets.token_hex(3)}"
        person = NioPerson(self._world.synapse, localpart, self._folder / localpart)
        return await self._ends.enter_async_context(person)

    async def on_xmpp(
        self, name: str, speaks: str = "legacy", *, same_as: str = ""
    ) -> RoomPerson:
        """Return somebody of XMPP, or one more device of *same_as*."""
        server = self._world.xmpp
        if self._cast is None:
            cast = Cast(self._world.python, server, PROGRAM)
            self._cast = await self._ends.enter_async_context(cast)
        jid = same_as or f"{name}-{secrets.token_hex(3)}@{server.host}"
        device = f"phone-{secrets.token_hex(2)}"
        person = RoomPerson(self._cast, name, jid, "secret", device, speaks)
        await self._cast.enter(person)
        return person
